package graphql

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

// maxJSONDepth stays well below what SQLite's JSON functions can read.
const maxJSONDepth = 200

// fields is a value of an input type. It keeps the order of its fields, which
// counts in order_by.
type fields struct {
	names  []string
	values map[string]any
}

func (f fields) get(name string) any { return f.values[name] }

// coercer turns values of a request into Go values by the type the schema
// gives: Int is int64, Boolean is bool, String, uuid, timestamptz and enums are
// string, UUID is a lower-case string, DateTime is time.Time, JSON and jsonb are
// json.RawMessage exactly as sent, a list is []any, an input type is fields. A
// single value where a list is wanted counts as a list of one.
type coercer struct {
	schema *ast.Schema
	vars   map[string]any
}

// variables coerces the variables of an operation. Unknown fields, missing
// required ones and wrong types are errors that name the place.
func (c *coercer) variables(op *ast.OperationDefinition, raw map[string]json.RawMessage) *Error {
	c.vars = map[string]any{}
	for _, def := range op.VariableDefinitions {
		value, given := raw[def.Variable]
		switch {
		case given:
			v, err := c.fromJSON(def.Type, value, "$"+def.Variable)
			if err != nil {
				return err
			}
			c.vars[def.Variable] = v
		case def.DefaultValue != nil:
			v, err := c.fromLiteral(def.Type, def.DefaultValue, "$"+def.Variable)
			if err != nil {
				return err
			}
			c.vars[def.Variable] = v
		case def.Type.NonNull:
			return input("variable $%s of required type %s was not provided", def.Variable, def.Type)
		}
	}
	return nil
}

func (c *coercer) fromJSON(typ *ast.Type, raw json.RawMessage, path string) (any, *Error) {
	raw = bytes.TrimSpace(raw)
	if string(raw) == "null" {
		if typ.NonNull {
			return nil, input("%s: expected value of type %s, got null", path, typ)
		}
		return nil, nil
	}
	if typ.Elem != nil {
		return c.listFromJSON(typ, raw, path)
	}
	def := c.schema.Types[typ.NamedType]
	if def == nil {
		return nil, input("%s: unknown type %s", path, typ)
	}
	if def.Kind == ast.InputObject {
		return c.objectFromJSON(def, raw, path)
	}
	if def.Name == "JSON" || def.Name == "jsonb" {
		if err := store.CheckDepth(raw, maxJSONDepth); err != nil {
			return nil, input("%s: %v", path, err)
		}
		return raw, nil
	}
	var v any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, input("%s: %v", path, err)
	}
	return c.scalar(def, v, path)
}

func (c *coercer) listFromJSON(typ *ast.Type, raw json.RawMessage, path string) (any, *Error) {
	items := []json.RawMessage{raw}
	if raw[0] == '[' {
		items = nil
		if err := json.Unmarshal(raw, &items); err != nil {
			return nil, input("%s: %v", path, err)
		}
	}
	out := make([]any, len(items))
	for i, item := range items {
		v, err := c.fromJSON(typ.Elem, item, path+"["+strconv.Itoa(i)+"]")
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func (c *coercer) objectFromJSON(def *ast.Definition, raw json.RawMessage, path string) (any, *Error) {
	var doc map[string]json.RawMessage
	if raw[0] != '{' {
		return nil, input("%s: expected an object of type %s", path, def.Name)
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, input("%s: %v", path, err)
	}
	for name := range doc {
		if def.Fields.ForName(name) == nil {
			return nil, input("%s: field %.60q is not defined by type %s", path, name, def.Name)
		}
	}
	out := fields{values: map[string]any{}}
	for _, f := range def.Fields {
		value, ok := doc[f.Name]
		if !ok {
			if f.Type.NonNull && f.DefaultValue == nil {
				return nil, input("%s: field %s of required type %s was not provided", path, f.Name, f.Type)
			}
			continue
		}
		v, err := c.fromJSON(f.Type, value, path+"."+f.Name)
		if err != nil {
			return nil, err
		}
		out.names = append(out.names, f.Name)
		out.values[f.Name] = v
	}
	return out, nil
}

// arguments coerces the arguments of a field.
func (c *coercer) arguments(f *ast.Field) (fields, *Error) {
	out := fields{values: map[string]any{}}
	for _, arg := range f.Arguments {
		def := f.Definition.Arguments.ForName(arg.Name)
		if def == nil || c.unset(arg.Value) {
			continue
		}
		v, err := c.fromLiteral(def.Type, arg.Value, f.Name+"."+arg.Name)
		if err != nil {
			return out, err
		}
		out.names = append(out.names, arg.Name)
		out.values[arg.Name] = v
	}
	return out, nil
}

func (c *coercer) unset(v *ast.Value) bool {
	if v.Kind != ast.Variable {
		return false
	}
	_, ok := c.vars[v.Raw]
	return !ok
}

func (c *coercer) fromLiteral(typ *ast.Type, v *ast.Value, path string) (any, *Error) {
	if v.Kind == ast.Variable {
		return c.fromVariable(typ, v.Raw, path)
	}
	if v.Kind == ast.NullValue {
		if typ.NonNull {
			return nil, input("%s: expected value of type %s, got null", path, typ)
		}
		return nil, nil
	}
	if typ.Elem != nil {
		return c.listFromLiteral(typ, v, path)
	}
	def := c.schema.Types[typ.NamedType]
	if def == nil {
		return nil, input("%s: unknown type %s", path, typ)
	}
	if def.Kind == ast.InputObject {
		return c.objectFromLiteral(def, v, path)
	}
	if def.Name == "JSON" || def.Name == "jsonb" {
		var b bytes.Buffer
		c.literalJSON(&b, v)
		return json.RawMessage(b.Bytes()), nil
	}
	switch v.Kind {
	case ast.IntValue, ast.FloatValue:
		return c.scalar(def, json.Number(v.Raw), path)
	case ast.BooleanValue:
		return c.scalar(def, v.Raw == "true", path)
	case ast.StringValue, ast.BlockValue, ast.EnumValue:
		return c.scalar(def, v.Raw, path)
	case ast.ListValue, ast.ObjectValue, ast.Variable, ast.NullValue:
	}
	return nil, input("%s: expected value of type %s", path, typ)
}

// fromVariable returns a coerced variable. A single value where a list is wanted
// becomes a list here too.
func (c *coercer) fromVariable(typ *ast.Type, name, path string) (any, *Error) {
	v := c.vars[name]
	if v == nil && typ.NonNull {
		return nil, input("%s: expected value of type %s, got null", path, typ)
	}
	if _, isList := v.([]any); typ.Elem != nil && v != nil && !isList {
		return []any{v}, nil
	}
	return v, nil
}

func (c *coercer) listFromLiteral(typ *ast.Type, v *ast.Value, path string) (any, *Error) {
	if v.Kind != ast.ListValue {
		one, err := c.fromLiteral(typ.Elem, v, path)
		return []any{one}, err
	}
	out := make([]any, len(v.Children))
	for i, child := range v.Children {
		one, err := c.fromLiteral(typ.Elem, child.Value, path+"["+strconv.Itoa(i)+"]")
		if err != nil {
			return nil, err
		}
		out[i] = one
	}
	return out, nil
}

func (c *coercer) objectFromLiteral(def *ast.Definition, v *ast.Value, path string) (any, *Error) {
	if v.Kind != ast.ObjectValue {
		return nil, input("%s: expected an object of type %s", path, def.Name)
	}
	out := fields{values: map[string]any{}}
	for _, child := range v.Children {
		f := def.Fields.ForName(child.Name)
		if f == nil {
			return nil, input("%s: field %.60q is not defined by type %s", path, child.Name, def.Name)
		}
		if c.unset(child.Value) && !f.Type.NonNull {
			continue
		}
		one, err := c.fromLiteral(f.Type, child.Value, path+"."+child.Name)
		if err != nil {
			return nil, err
		}
		out.names = append(out.names, child.Name)
		out.values[child.Name] = one
	}
	return out, nil
}

// literalJSON writes a literal as the JSON it stands for; numbers keep their
// digits.
func (c *coercer) literalJSON(b *bytes.Buffer, v *ast.Value) {
	switch v.Kind {
	case ast.Variable:
		writeJSON(b, c.vars[v.Raw])
	case ast.StringValue, ast.BlockValue, ast.EnumValue:
		writeJSON(b, v.Raw)
	case ast.ListValue:
		b.WriteByte('[')
		for i, child := range v.Children {
			if i > 0 {
				b.WriteByte(',')
			}
			c.literalJSON(b, child.Value)
		}
		b.WriteByte(']')
	case ast.ObjectValue:
		b.WriteByte('{')
		for i, child := range v.Children {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(b, child.Name)
			b.WriteByte(':')
			c.literalJSON(b, child.Value)
		}
		b.WriteByte('}')
	case ast.FloatValue, ast.IntValue:
		writeJSON(b, json.Number(v.Raw))
	case ast.BooleanValue, ast.NullValue:
		b.WriteString(v.Raw)
	}
}

func (c *coercer) scalar(def *ast.Definition, v any, path string) (any, *Error) {
	wrong := func() (any, *Error) { return nil, input("%s: value cannot represent type %s", path, def.Name) }
	text, isText := v.(string)
	switch def.Name {
	case "Int":
		n, ok := v.(json.Number)
		i, err := strconv.ParseInt(string(n), 10, 32)
		if !ok || err != nil {
			return wrong()
		}
		return i, nil
	case "Boolean":
		if b, ok := v.(bool); ok {
			return b, nil
		}
		return wrong()
	case "UUID":
		if !isText || !isUUID(text) {
			return wrong()
		}
		return strings.ToLower(text), nil
	case "DateTime":
		return c.dateTime(text, isText, path)
	}
	if !isText {
		return wrong()
	}
	if def.Kind == ast.Enum && !slices.ContainsFunc(def.EnumValues, func(e *ast.EnumValueDefinition) bool { return e.Name == text }) {
		return nil, input("%s: %.60q is not a value of %s", path, text, def.Name)
	}
	return text, nil
}

func (c *coercer) dateTime(text string, isText bool, path string) (any, *Error) {
	if !isText {
		return nil, input("%s: value cannot represent type DateTime", path)
	}
	t, err := store.ParseTime(text)
	if err != nil {
		return nil, input("%s: %v", path, err)
	}
	return t, nil
}

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$`)

func isUUID(text string) bool { return len(text) <= 36 && uuidForm.MatchString(text) }

// timeOf returns an optional DateTime.
func timeOf(v any) *time.Time {
	if t, ok := v.(time.Time); ok {
		return &t
	}
	return nil
}
