package graphql_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/devserver/graphql"
	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

func generations() []store.Generation { return []store.Generation{store.Server0, store.Server1} }

func TestSchemaGolden(t *testing.T) {
	t.Parallel()
	for _, gen := range generations() {
		got, err := graphql.Schema(gen)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", "schema-"+string(gen)+".graphql")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("schema of %s (-want +got):\n%s", gen, diff)
		}
	}
}

const introspection = `query IntrospectionQuery {
  __schema {
    queryType { name } mutationType { name } subscriptionType { name }
    types { ...FullType }
    directives { name description locations args { ...InputValue } }
  }
}
fragment FullType on __Type {
  kind name description
  fields(includeDeprecated: true) { name description args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason }
  inputFields { ...InputValue }
  interfaces { ...TypeRef }
  enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
  possibleTypes { ...TypeRef }
}
fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
fragment TypeRef on __Type {
  kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } }
}`

type typeRef struct {
	Kind, Name string
	OfType     *typeRef
}

func (r typeRef) String() string {
	switch r.Kind {
	case "NON_NULL":
		return r.OfType.String() + "!"
	case "LIST":
		return "[" + r.OfType.String() + "]"
	}
	return r.Name
}

type introspected struct {
	Data struct {
		Schema struct {
			QueryType, MutationType struct{ Name string }
			Types                   []struct {
				Kind, Name  string
				Fields      []struct{ Name string }
				InputFields []struct {
					Name string
					Type typeRef
				}
			}
		} `json:"__schema"`
	}
}

// TestIntrospection runs the query of ordinary tools and looks at what tells
// the generations apart.
func TestIntrospection(t *testing.T) {
	t.Parallel()
	want := map[store.Generation]map[string]string{
		store.Server0: {"get_runs_in_queue_input": "before DateTime, labels [String!]", "set_flow_run_state_input": "flow_run_id UUID!, state JSON!, version Int!"},
		store.Server1: {"get_runs_in_queue_input": "tenant_id UUID!, before DateTime, labels [String!]", "set_flow_run_state_input": "flow_run_id UUID!, version Int, state JSON!"},
	}
	for _, gen := range generations() {
		b := newBackend(t, gen, graphql.Limits{})
		var doc introspected
		text := b.text(t, introspection, "")
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Data.Schema.QueryType.Name != "Query" || doc.Data.Schema.MutationType.Name != "Mutation" {
			t.Fatalf("%s: roots are %+v", gen, doc.Data.Schema)
		}
		got := map[string]string{}
		for _, typ := range doc.Data.Schema.Types {
			var list []string
			for _, f := range typ.InputFields {
				list = append(list, f.Name+" "+f.Type.String())
			}
			if _, ok := want[gen][typ.Name]; ok {
				got[typ.Name] = strings.Join(list, ", ")
			}
		}
		if diff := cmp.Diff(want[gen], got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", gen, diff)
		}
	}
}

func TestTypeIntrospection(t *testing.T) {
	t.Parallel()
	b := newBackend(t, store.Server0, graphql.Limits{})
	got := b.text(t, `{ __type(name: "order_by") { __typename kind enumValues { name } fields { name } } none: __type(name: "tenant") { name } }`, "")
	want := `{"data":{"__type":{"__typename":"__Type","kind":"ENUM","enumValues":[{"name":"asc"},{"name":"asc_nulls_first"},{"name":"asc_nulls_last"},` +
		`{"name":"desc"},{"name":"desc_nulls_first"},{"name":"desc_nulls_last"}],"fields":null},"none":null}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

type fieldRef struct {
	Name string
	Type typeRef
}

// everything selects every field of a table, and the id of every relation.
func everything(fields []fieldRef, roots map[string]bool) string {
	var sel strings.Builder
	for _, f := range fields {
		named := strings.Trim(f.Type.String(), "[]!")
		switch {
		case strings.HasSuffix(named, "_aggregate"):
			fmt.Fprintf(&sel, "%s { aggregate { count } nodes { id } } ", f.Name)
		case roots[named]:
			fmt.Fprintf(&sel, "%s { id } ", f.Name)
		default:
			fmt.Fprintf(&sel, "%s ", f.Name)
		}
	}
	return sel.String()
}

// TestCatalogueMatchesDatabase selects every column and every relation of every
// table, which fails if the catalogue names something the database lacks.
func TestCatalogueMatchesDatabase(t *testing.T) {
	t.Parallel()
	for _, gen := range generations() {
		b := newBackend(t, gen, graphql.Limits{})
		var doc struct {
			Data struct {
				Schema struct {
					QueryType struct {
						Fields []struct {
							Name string
							Type typeRef
						}
					}
					Types []struct {
						Name   string
						Fields []fieldRef
					}
				} `json:"__schema"`
			}
		}
		text := b.text(t, `{ __schema { queryType { fields { name type { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } }
			types { name fields { name args { name } type { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } }`, "")
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		roots := map[string]bool{}
		for _, f := range doc.Data.Schema.QueryType.Fields {
			roots[f.Name] = f.Type.Kind == "NON_NULL"
		}
		tables := 0
		for _, typ := range doc.Data.Schema.Types {
			if !roots[typ.Name] || strings.HasSuffix(typ.Name, "_aggregate") {
				continue
			}
			tables++
			sel := everything(typ.Fields, roots)
			query := fmt.Sprintf("{ %[1]s { %[2]s } %[1]s_aggregate { aggregate { count } nodes { id } } %[1]s_by_pk(id: \"%[3]s\") { %[2]s } }",
				typ.Name, sel, "00000000-0000-4000-8000-000000000000")
			if res := b.do(t, query, ""); len(res.Errors()) > 0 {
				t.Errorf("%s: %s: %v", gen, query, res.Errors()[0])
			}
		}
		if tables < 10 {
			t.Errorf("%s: only %d tables", gen, tables)
		}
	}
}

// TestEveryMutationIsAnswered sends each mutation an empty input of its type:
// the answer may be any error but that the mutation is not supported.
func TestEveryMutationIsAnswered(t *testing.T) {
	t.Parallel()
	for _, gen := range generations() {
		b := newBackend(t, gen, graphql.Limits{})
		var doc struct {
			Data struct {
				Type struct {
					Fields []struct {
						Name string
						Args []struct{ Type typeRef }
						Type struct{ Fields []struct{ Name string } }
					}
				} `json:"__type"`
			}
		}
		const ref = "kind name ofType { kind name ofType { kind name ofType { kind name } } }"
		text := b.text(t, `{ __type(name: "Mutation") { fields { name args { type { `+ref+` } } type { fields { name } } } } }`, "")
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		for _, f := range doc.Data.Type.Fields {
			values := map[string]any{}
			for name, typ := range inputFields(t, b, strings.TrimSuffix(f.Args[0].Type.String(), "!")) {
				if strings.HasSuffix(typ, "!") {
					values[name] = sample(typ)
				}
			}
			vars, err := json.Marshal(map[string]any{"in": values})
			if err != nil {
				t.Fatal(err)
			}
			answer := b.text(t, fmt.Sprintf("mutation($in: %s) { %s(input: $in) { __typename } }", f.Args[0].Type, f.Name), string(vars))
			if strings.Contains(answer, "not supported") || strings.Contains(answer, "internal error") || strings.Contains(answer, "Cannot query") {
				t.Errorf("%s: %s: %s", gen, f.Name, answer)
			}
		}
	}
}

func inputFields(t *testing.T, b backend, name string) map[string]string {
	t.Helper()
	var doc struct {
		Data struct {
			Type struct {
				InputFields []struct {
					Name string
					Type typeRef
				}
			} `json:"__type"`
		}
	}
	text := b.text(t, `query($n: String!) { __type(name: $n) { inputFields { name type { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } }`,
		`{"n": "`+name+`"}`)
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range doc.Data.Type.InputFields {
		out[f.Name] = f.Type.String()
	}
	return out
}

func sample(typ string) any {
	switch strings.TrimSuffix(typ, "!") {
	case "UUID":
		return "00000000-0000-4000-8000-000000000000"
	case "Int":
		return 1
	case "JSON":
		return map[string]any{}
	case "String":
		return "x"
	}
	return []any{}
}
