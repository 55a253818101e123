package graphql

import (
	"errors"
	"sync"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// Limits bound a document before anything is done with it. Zero fields take the
// default.
type Limits struct {
	// Depth is how many fields may stand above a field, 7 as at the gateway of both
	// servers. Introspection is not counted.
	Depth int
	// Fields is how many fields a document may ask for, with fragments expanded.
	Fields int
	// Roots is how many root fields, aliases included, an operation may have.
	Roots int
	// Tokens is how many tokens a document may have.
	Tokens int
	// List is how many values a list in a filter may have.
	List int
	// Rows is how many rows one selection may yield.
	Rows int
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		value    *int
		standard int
	}{{&l.Depth, 7}, {&l.Fields, 2000}, {&l.Roots, 100}, {&l.Tokens, 400_000}, {&l.List, 10_000}, {&l.Rows, 100_000}} {
		if *f.value <= 0 {
			*f.value = f.standard
		}
	}
	return l
}

const (
	// maxNesting bounds brackets, because the parser is recursive.
	maxNesting = 64
	// Only short documents are kept: the long ones carry their data inside.
	maxCached     = 512
	maxCachedSize = 8 << 10
)

// documents parses and validates documents and remembers the good ones. A
// document does not change once it is validated, so it may be shared.
type documents struct {
	schema *ast.Schema
	rules  *rules.Rules
	limits Limits

	mu    sync.Mutex
	known map[string]*ast.QueryDocument
}

func (d *documents) load(text string) (*ast.QueryDocument, []*Error) {
	d.mu.Lock()
	doc, ok := d.known[text]
	d.mu.Unlock()
	if ok {
		return doc, nil
	}
	doc, errs := d.parse(text)
	if errs != nil || len(text) > maxCachedSize {
		return doc, errs
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil || len(d.known) >= maxCached {
		d.known = map[string]*ast.QueryDocument{}
	}
	d.known[text] = doc
	return doc, nil
}

func (d *documents) parse(text string) (*ast.QueryDocument, []*Error) {
	if nesting(text) > maxNesting {
		return nil, []*Error{fail(codeParse, "document is nested deeper than %d levels", maxNesting)}
	}
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, d.limits.Tokens)
	if e, ok := errors.AsType[*gqlerror.Error](err); ok {
		return nil, fromList(codeParse, gqlerror.List{e})
	}
	if err != nil {
		return nil, []*Error{fail(codeParse, "%v", err)}
	}
	if e := d.limits.check(doc); e != nil {
		return nil, []*Error{e}
	}
	if errs := validator.ValidateWithRules(d.schema, doc, d.rules); len(errs) > 0 {
		return nil, fromList(codeValidation, errs)
	}
	return doc, nil
}

// nesting is the deepest nesting of brackets outside of texts and comments.
func nesting(text string) int {
	depth, deepest := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[', '(':
			depth++
			deepest = max(deepest, depth)
		case '}', ']', ')':
			depth--
		case '#':
			for i < len(text) && text[i] != '\n' && text[i] != '\r' {
				i++
			}
		case '"':
			i = skipText(text, i)
		}
	}
	return deepest
}

// skipText returns the index of the last character of the text that begins at i.
func skipText(text string, i int) int {
	if len(text) >= i+3 && text[i:i+3] == `"""` {
		for i += 3; i < len(text); i++ {
			if text[i] == '\\' && len(text) >= i+4 && text[i:i+4] == `\"""` {
				i += 3
				continue
			}
			if len(text) >= i+3 && text[i:i+3] == `"""` {
				return i + 2
			}
		}
		return i
	}
	for i++; i < len(text) && text[i] != '"' && text[i] != '\n'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i
}

// check bounds depth and size with fragments expanded, before the validator
// sees the document: some of its rules grow with the expanded size.
func (l Limits) check(doc *ast.QueryDocument) *Error {
	m := &measure{doc: doc, known: map[string]extent{}, open: map[string]bool{}}
	for _, op := range doc.Operations {
		if n := m.roots(op.SelectionSet); n > l.Roots {
			return fail(codeValidation, "operation has more than %d root fields", l.Roots)
		}
		e := m.selection(op.SelectionSet)
		if m.cycle {
			return fail(codeValidation, "fragments spread themselves")
		}
		if e.fields > l.Fields {
			return fail(codeValidation, "document asks for more than %d fields", l.Fields)
		}
		if e.depth > l.Depth+1 {
			return fail(codeValidation, "operation exceeds maximum depth of %d", l.Depth)
		}
	}
	return nil
}

type extent struct{ fields, depth int }

type measure struct {
	doc   *ast.QueryDocument
	known map[string]extent
	open  map[string]bool
	cycle bool
}

const saturated = 1 << 30

// selection counts the fields of a selection set and its levels. Each fragment
// is looked at once.
func (m *measure) selection(set ast.SelectionSet) extent {
	var sum extent
	for _, sel := range set {
		var e extent
		switch sel := sel.(type) {
		case *ast.Field:
			e = m.selection(sel.SelectionSet)
			e.fields++
			e.depth++
			if len(sel.Name) > 1 && sel.Name[:2] == "__" {
				e.depth = 0
			}
		case *ast.InlineFragment:
			e = m.selection(sel.SelectionSet)
		case *ast.FragmentSpread:
			e = m.fragment(sel.Name)
		}
		sum.fields = min(sum.fields+e.fields, saturated)
		sum.depth = max(sum.depth, e.depth)
	}
	return sum
}

func (m *measure) fragment(name string) extent {
	if e, ok := m.known[name]; ok {
		return e
	}
	def := m.doc.Fragments.ForName(name)
	if def == nil || m.open[name] {
		m.cycle = m.cycle || def != nil
		return extent{}
	}
	m.open[name] = true
	e := m.selection(def.SelectionSet)
	delete(m.open, name)
	m.known[name] = e
	return e
}

func (m *measure) roots(set ast.SelectionSet) int {
	n := 0
	for _, sel := range set {
		switch sel := sel.(type) {
		case *ast.Field:
			n++
		case *ast.InlineFragment:
			n += m.roots(sel.SelectionSet)
		case *ast.FragmentSpread:
			n += m.fragment(sel.Name).fields
		}
	}
	return n
}
