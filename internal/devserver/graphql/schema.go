// Package graphql is the GraphQL side of the development backend: the schema of
// each generation of Prefect Server, parsing and validation of documents, and
// their execution. Query fields are those Hasura makes from tables; filters and
// orders are compiled to SQL with placeholders only, from the tables, columns
// and operators listed here. Mutations call the named operations of the store,
// which holds the rules. It knows no HTTP and reads no clock.
package graphql

import (
	"embed"
	"fmt"
	"strings"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

//go:embed sdl/*.graphql
var sdl embed.FS

// catalogue lists the tables that a generation shows.
type catalogue struct {
	tables map[string]*table
	names  []string
}

// table is an allow-listed table with its columns and relations.
type table struct {
	name      string
	columns   []column
	relations []relation
	byName    map[string]int
	byRel     map[string]int
	// view tells that the table has no rowid of its own.
	view bool
}

type column struct {
	name string
	// typ is uuid, String, Int, Boolean, timestamptz, interval or jsonb.
	typ      string
	required bool
	// absent columns are declared by the server but never filled here.
	absent bool
}

// relation leads from column of its table to the column named to of another.
type relation struct {
	name, table, column, to string
	many                    bool
}

func (t *table) column(name string) (column, bool) {
	i, ok := t.byName[name]
	if !ok {
		return column{}, false
	}
	return t.columns[i], true
}

func (t *table) relation(name string) (relation, bool) {
	i, ok := t.byRel[name]
	if !ok {
		return relation{}, false
	}
	return t.relations[i], true
}

// Schema returns the whole schema of a generation as SDL. Tests use it to check
// the documents that an agent sends.
func Schema(gen store.Generation) (string, error) {
	cat, err := newCatalogue(gen)
	if err != nil {
		return "", err
	}
	return cat.schema(gen)
}

func (c *catalogue) schema(gen store.Generation) (string, error) {
	var b strings.Builder
	b.WriteString(c.expand())
	name := "sdl/server1.graphql"
	if gen == store.Server0 {
		name = "sdl/server0.graphql"
	}
	for _, file := range []string{"sdl/shared.graphql", name} {
		text, err := sdl.ReadFile(file)
		if err != nil {
			return "", err
		}
		b.Write(text)
	}
	return b.String(), nil
}

func loadSchema(gen store.Generation) (*catalogue, *ast.Schema, error) {
	cat, err := newCatalogue(gen)
	if err != nil {
		return nil, nil, err
	}
	text, err := cat.schema(gen)
	if err != nil {
		return nil, nil, err
	}
	schema, err := gqlparser.LoadSchema(&ast.Source{Name: "schema", Input: text})
	if err != nil {
		return nil, nil, fmt.Errorf("load schema of %s: %w", gen, err)
	}
	return cat, schema, nil
}

func newCatalogue(gen store.Generation) (*catalogue, error) {
	text, err := sdl.ReadFile("sdl/tables.graphql")
	if err != nil {
		return nil, err
	}
	doc, err := parser.ParseSchema(&ast.Source{Name: "tables.graphql", Input: string(text)})
	if err != nil {
		return nil, fmt.Errorf("read tables: %w", err)
	}
	c := &catalogue{tables: map[string]*table{}}
	for _, def := range doc.Definitions {
		if !inGeneration(def.Directives, gen) {
			continue
		}
		c.tables[def.Name] = newTable(def, gen)
		c.names = append(c.names, def.Name)
	}
	return c, nil
}

func newTable(def *ast.Definition, gen store.Generation) *table {
	t := &table{name: def.Name, byName: map[string]int{}, byRel: map[string]int{}, view: def.Name == "schedule"}
	for _, f := range def.Fields {
		if !inGeneration(f.Directives, gen) {
			continue
		}
		rel := f.Directives.ForName("rel")
		if rel == nil {
			t.byName[f.Name] = len(t.columns)
			t.columns = append(t.columns, column{name: f.Name, typ: f.Type.Name(), required: f.Type.NonNull, absent: f.Name == "duration"})
			continue
		}
		t.byRel[f.Name] = len(t.relations)
		t.relations = append(t.relations, relation{
			name: f.Name, table: f.Type.Name(), many: f.Type.Elem != nil,
			column: rel.Arguments.ForName("column").Value.Raw, to: rel.Arguments.ForName("to").Value.Raw,
		})
	}
	return t
}

func inGeneration(list ast.DirectiveList, gen store.Generation) bool {
	in := list.ForName("in")
	return in == nil || in.Arguments.ForName("gen").Value.Raw == string(gen)
}
