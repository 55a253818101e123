package graphql

import (
	"bytes"
	"slices"

	"github.com/vektah/gqlparser/v2/ast"
)

func marshal(v any) []byte {
	var b bytes.Buffer
	writeJSON(&b, v)
	return b.Bytes()
}

// selected is one key of an answer: a field with all the selections made under
// that key.
type selected struct {
	key   string
	field *ast.Field
	sets  []ast.SelectionSet
}

// collect lists the keys of selection sets in order: fragments expanded, @skip
// and @include obeyed, equal keys merged. The types here have no interfaces or
// unions, so a fragment that passed validation always applies.
func (c *coercer) collect(sets ...ast.SelectionSet) []*selected {
	var out []*selected
	index := map[string]*selected{}
	c.collectInto(&out, index, sets)
	return out
}

func (c *coercer) collectInto(out *[]*selected, index map[string]*selected, sets []ast.SelectionSet) {
	for _, sel := range slices.Concat(sets...) {
		switch sel := sel.(type) {
		case *ast.Field:
			if !c.skipped(sel.Directives) {
				collectField(out, index, sel)
			}
		case *ast.InlineFragment:
			if !c.skipped(sel.Directives) {
				c.collectInto(out, index, []ast.SelectionSet{sel.SelectionSet})
			}
		case *ast.FragmentSpread:
			if !c.skipped(sel.Directives) && sel.Definition != nil {
				c.collectInto(out, index, []ast.SelectionSet{sel.Definition.SelectionSet})
			}
		}
	}
}

func collectField(out *[]*selected, index map[string]*selected, f *ast.Field) {
	one := index[f.Alias]
	if one == nil {
		one = &selected{key: f.Alias, field: f}
		index[f.Alias] = one
		*out = append(*out, one)
	}
	one.sets = append(one.sets, f.SelectionSet)
}

func (c *coercer) skipped(list ast.DirectiveList) bool {
	return c.condition(list.ForName("skip"), false) || !c.condition(list.ForName("include"), true)
}

func (c *coercer) condition(d *ast.Directive, missing bool) bool {
	if d == nil {
		return missing
	}
	arg := d.Arguments.ForName("if")
	if arg == nil {
		return missing
	}
	if arg.Value.Kind == ast.Variable {
		b, _ := c.vars[arg.Value.Raw].(bool)
		return b
	}
	return arg.Value.Raw == "true"
}
