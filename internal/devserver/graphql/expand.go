package graphql

import (
	"fmt"
	"strings"
)

const comparisons = `
scalar uuid
scalar timestamptz
scalar jsonb
scalar interval

enum order_by { asc asc_nulls_first asc_nulls_last desc desc_nulls_first desc_nulls_last }

`

// expand writes what Hasura generates for the tables: object types, filters,
// orders, aggregates and the fields of the Query type.
func (c *catalogue) expand() string {
	var b strings.Builder
	b.WriteString(comparisons)
	for _, typ := range []string{"uuid", "String", "Int", "Boolean", "timestamptz", "interval", "jsonb"} {
		b.WriteString(comparison(typ))
	}
	for _, name := range c.names {
		c.tables[name].expand(&b)
	}
	b.WriteString("type Query {\n")
	for _, name := range c.names {
		fmt.Fprintf(&b, "  %s%s: [%s!]!\n", name, listArguments(name), name)
		fmt.Fprintf(&b, "  %s_aggregate%s: %s_aggregate!\n", name, listArguments(name), name)
		fmt.Fprintf(&b, "  %s_by_pk(id: uuid!): %s\n", name, name)
	}
	b.WriteString("}\n\n")
	return b.String()
}

func comparison(typ string) string {
	ops := fmt.Sprintf("_eq: %[1]s _neq: %[1]s _gt: %[1]s _gte: %[1]s _lt: %[1]s _lte: %[1]s _in: [%[1]s!] _nin: [%[1]s!] _is_null: Boolean", typ)
	switch typ {
	case "String":
		ops += " _like: String _nlike: String _ilike: String _nilike: String"
	case "jsonb":
		ops = "_eq: jsonb _neq: jsonb _is_null: Boolean _contains: jsonb _has_key: String _has_keys_all: [String!] _has_keys_any: [String!]"
	}
	return fmt.Sprintf("input %s_comparison_exp { %s }\n\n", typ, ops)
}

func listArguments(table string) string {
	return fmt.Sprintf("(where: %[1]s_bool_exp, order_by: [%[1]s_order_by!], limit: Int, offset: Int, distinct_on: [%[1]s_select_column!])", table)
}

func (t *table) expand(b *strings.Builder) {
	var object, filter, order, names strings.Builder
	for _, col := range t.columns {
		mark := ""
		if col.required {
			mark = "!"
		}
		fmt.Fprintf(&object, "  %s: %s%s\n", col.name, col.typ, mark)
		fmt.Fprintf(&filter, "  %s: %s_comparison_exp\n", col.name, col.typ)
		fmt.Fprintf(&order, "  %s: order_by\n", col.name)
		fmt.Fprintf(&names, " %s", col.name)
	}
	for _, rel := range t.relations {
		fmt.Fprintf(&filter, "  %s: %s_bool_exp\n", rel.name, rel.table)
		if !rel.many {
			fmt.Fprintf(&object, "  %s: %s\n", rel.name, rel.table)
			fmt.Fprintf(&order, "  %s: %s_order_by\n", rel.name, rel.table)
			continue
		}
		fmt.Fprintf(&object, "  %s%s: [%s!]!\n", rel.name, listArguments(rel.table), rel.table)
		fmt.Fprintf(&object, "  %s_aggregate%s: %s_aggregate!\n", rel.name, listArguments(rel.table), rel.table)
	}
	fmt.Fprintf(b, "type %s {\n%s}\n\n", t.name, &object)
	fmt.Fprintf(b, "input %[1]s_bool_exp {\n  _and: [%[1]s_bool_exp]\n  _or: [%[1]s_bool_exp]\n  _not: %[1]s_bool_exp\n%[2]s}\n\n", t.name, &filter)
	fmt.Fprintf(b, "input %s_order_by {\n%s}\n\n", t.name, &order)
	fmt.Fprintf(b, "enum %s_select_column {%s }\n\n", t.name, &names)
	fmt.Fprintf(b, "type %[1]s_aggregate {\n  aggregate: %[1]s_aggregate_fields\n  nodes: [%[1]s!]!\n}\n\n", t.name)
	fmt.Fprintf(b, "type %[1]s_aggregate_fields {\n  count(columns: [%[1]s_select_column!], distinct: Boolean): Int\n}\n\n", t.name)
}
