package graphql

import (
	"maps"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// introspect answers __schema and __type from the schema itself.
func (r *run) introspect(k *selected, args fields) any {
	in := &introspection{schema: r.schema, values: r.values, budget: r.budget}
	if k.field.Name == "__type" {
		def := r.schema.Types[text(args, "name")]
		if def == nil {
			return nil
		}
		return in.each(k, "__Type", in.definition(def))
	}
	return in.each(k, "__Schema", in.root())
}

type introspection struct {
	schema *ast.Schema
	values *coercer
	budget *budget
}

// property answers one field of an introspection object.
type property func(k *selected) any

func (in *introspection) each(k *selected, typename string, of map[string]property) any {
	out, keys := &object{}, in.values.collect(k.sets...)
	if in.budget.take(rowWeight+valueWeight*len(keys)) != nil {
		return nil // types name each other without an end
	}
	for _, inner := range keys {
		switch answer := of[inner.field.Name]; {
		case inner.field.Name == "__typename":
			out.set(inner.key, typename)
		case answer != nil:
			out.set(inner.key, answer(inner))
		default:
			out.set(inner.key, nil)
		}
	}
	return out
}

func constant(v any) property { return func(*selected) any { return v } }

func described(text string) property {
	if text == "" {
		return constant(nil)
	}
	return constant(text)
}

func (in *introspection) root() map[string]property {
	named := func(def *ast.Definition) property {
		return func(k *selected) any {
			if def == nil {
				return nil
			}
			return in.each(k, "__Type", in.definition(def))
		}
	}
	return map[string]property{
		"queryType": named(in.schema.Query), "mutationType": named(in.schema.Mutation), "subscriptionType": named(in.schema.Subscription),
		"types": func(k *selected) any {
			list := []any{}
			for _, name := range slices.Sorted(maps.Keys(in.schema.Types)) {
				list = append(list, in.each(k, "__Type", in.definition(in.schema.Types[name])))
			}
			return list
		},
		"directives": func(k *selected) any {
			list := []any{}
			for _, name := range slices.Sorted(maps.Keys(in.schema.Directives)) {
				list = append(list, in.each(k, "__Directive", in.directive(in.schema.Directives[name])))
			}
			return list
		},
	}
}

func (in *introspection) directive(d *ast.DirectiveDefinition) map[string]property {
	locations := []any{}
	for _, l := range d.Locations {
		locations = append(locations, string(l))
	}
	return map[string]property{
		"name": constant(d.Name), "description": described(d.Description), "locations": constant(locations),
		"isRepeatable": constant(d.IsRepeatable), "args": in.arguments(d.Arguments),
	}
}

func (in *introspection) definition(def *ast.Definition) map[string]property {
	of := map[string]property{
		"kind": constant(string(def.Kind)), "name": constant(def.Name), "description": described(def.Description),
	}
	switch def.Kind {
	case ast.Object, ast.Interface:
		of["fields"] = in.fields(def)
		of["interfaces"] = constant([]any{})
	case ast.InputObject:
		of["inputFields"] = in.inputFields(def)
	case ast.Enum:
		of["enumValues"] = in.enumValues(def)
	case ast.Scalar, ast.Union:
	}
	return of
}

func (in *introspection) fields(def *ast.Definition) property {
	return func(k *selected) any {
		list := []any{}
		for _, f := range def.Fields {
			if strings.HasPrefix(f.Name, "__") {
				continue
			}
			list = append(list, in.each(k, "__Field", map[string]property{
				"name": constant(f.Name), "description": described(f.Description), "args": in.arguments(f.Arguments),
				"type": in.typ(f.Type), "isDeprecated": constant(false),
			}))
		}
		return list
	}
}

func (in *introspection) arguments(args ast.ArgumentDefinitionList) property {
	return func(k *selected) any {
		list := []any{}
		for _, a := range args {
			list = append(list, in.each(k, "__InputValue", map[string]property{
				"name": constant(a.Name), "description": described(a.Description), "type": in.typ(a.Type),
				"defaultValue": defaultValue(a.DefaultValue), "isDeprecated": constant(false),
			}))
		}
		return list
	}
}

func (in *introspection) inputFields(def *ast.Definition) property {
	return func(k *selected) any {
		list := []any{}
		for _, f := range def.Fields {
			list = append(list, in.each(k, "__InputValue", map[string]property{
				"name": constant(f.Name), "description": described(f.Description), "type": in.typ(f.Type),
				"defaultValue": defaultValue(f.DefaultValue), "isDeprecated": constant(false),
			}))
		}
		return list
	}
}

func defaultValue(v *ast.Value) property {
	if v == nil {
		return constant(nil)
	}
	return constant(v.String())
}

func (in *introspection) enumValues(def *ast.Definition) property {
	return func(k *selected) any {
		list := []any{}
		for _, v := range def.EnumValues {
			list = append(list, in.each(k, "__EnumValue", map[string]property{
				"name": constant(v.Name), "description": described(v.Description), "isDeprecated": constant(false),
			}))
		}
		return list
	}
}

// typ writes a type with its wrappers, outermost first.
func (in *introspection) typ(t *ast.Type) property {
	return func(k *selected) any {
		switch {
		case t.NonNull:
			inner := *t
			inner.NonNull = false
			return in.each(k, "__Type", map[string]property{"kind": constant("NON_NULL"), "ofType": in.typ(&inner)})
		case t.Elem != nil:
			return in.each(k, "__Type", map[string]property{"kind": constant("LIST"), "ofType": in.typ(t.Elem)})
		}
		return in.each(k, "__Type", in.definition(in.schema.Types[t.NamedType]))
	}
}
