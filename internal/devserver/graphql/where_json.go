package graphql

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

const maxContainsDepth = 16

// jsonOperator compiles the operators of jsonb columns.
func (c *compiler) jsonOperator(name, op string, value any) (string, error) {
	switch op {
	case "_eq", "_neq":
		raw, _ := value.(json.RawMessage)
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw); err != nil {
			return "", input("invalid JSON in filter: %v", err)
		}
		sign := " = "
		if op == "_neq" {
			sign = " <> "
		}
		return "json(" + name + ")" + sign + "json(" + c.bind(compact.String()) + ")", nil
	case "_contains":
		raw, _ := value.(json.RawMessage)
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		var v any
		if err := dec.Decode(&v); err != nil {
			return "", input("invalid JSON in filter: %v", err)
		}
		return c.containsRoot(jsonNode{typ: "json_type(" + name + ")", tree: name, atom: "json_extract(" + name + ", '$')"}, v)
	case "_has_key":
		return c.hasKey(name, value), nil
	case "_has_keys_all", "_has_keys_any":
		items, _ := value.([]any)
		if len(items) > maxTerms {
			return "", input("list has more than %d values", maxTerms)
		}
		var terms []string
		for _, item := range items {
			terms = append(terms, c.hasKey(name, item))
		}
		if op == "_has_keys_all" {
			return join(terms, " AND ", alwaysTrue), nil
		}
		return join(terms, " OR ", alwaysFalse), nil
	}
	return "", input("operator %.60q is not known for jsonb", op)
}

// hasKey is Postgres' ? operator: a key of an object or a text in a list.
func (c *compiler) hasKey(name string, key any) string {
	a := c.newAlias()
	text := c.bind(key)
	again := c.bind(key)
	return "EXISTS (SELECT 1 FROM json_each(" + name + ") " + a + " WHERE (json_type(" + name + ") = 'object' AND " + a + ".key = " + text +
		") OR (json_type(" + name + ") = 'array' AND " + a + ".type = 'text' AND " + a + ".value = " + again + "))"
}

// jsonNode names a JSON value in SQL: its type, itself as JSON, and its value
// where it is a scalar.
type jsonNode struct{ typ, tree, atom string }

func child(alias string) jsonNode {
	return jsonNode{typ: alias + ".type", tree: alias + ".value", atom: alias + ".value"}
}

// containsRoot adds the one exception of Postgres: a list contains a scalar
// that is one of its elements.
func (c *compiler) containsRoot(n jsonNode, v any) (string, error) {
	term, err := c.contains(n, v, 0)
	switch v.(type) {
	case map[string]any, []any:
		return term, err
	}
	if err != nil {
		return "", err
	}
	inList, err := c.containsList(n, []any{v}, 0)
	return "(" + term + " OR " + inList + ")", err
}

// contains is Postgres' @> operator: objects by key, lists by any order,
// scalars by equality.
func (c *compiler) contains(n jsonNode, v any, depth int) (string, error) {
	if c.terms++; c.terms > maxTerms || depth > maxContainsDepth {
		return "", input("_contains has more than %d terms or %d levels", maxTerms, maxContainsDepth)
	}
	switch v := v.(type) {
	case map[string]any:
		return c.containsObject(n, v, depth)
	case []any:
		return c.containsList(n, v, depth)
	case nil:
		return n.typ + " = 'null'", nil
	case bool:
		if v {
			return n.typ + " = 'true'", nil
		}
		return n.typ + " = 'false'", nil
	case string:
		return "(" + n.typ + " = 'text' AND " + n.atom + " = " + c.bind(v) + ")", nil
	}
	number, _ := v.(json.Number)
	if i, err := number.Int64(); err == nil {
		return "(" + n.typ + " IN ('integer', 'real') AND " + n.atom + " = " + c.bind(i) + ")", nil
	}
	f, err := number.Float64()
	if err != nil {
		return "", input("invalid number in filter")
	}
	return "(" + n.typ + " IN ('integer', 'real') AND " + n.atom + " = " + c.bind(f) + ")", nil
}

func (c *compiler) containsObject(n jsonNode, v map[string]any, depth int) (string, error) {
	terms := []string{n.typ + " = 'object'"}
	for _, key := range slices.Sorted(maps.Keys(v)) {
		a := c.newAlias()
		name := c.bind(key)
		inner, err := c.contains(child(a), v[key], depth+1)
		if err != nil {
			return "", err
		}
		terms = append(terms, "EXISTS (SELECT 1 FROM json_each("+guard(n, "object")+") "+a+" WHERE "+a+".key = "+name+" AND "+inner+")")
	}
	return "(" + strings.Join(terms, " AND ") + ")", nil
}

func (c *compiler) containsList(n jsonNode, v []any, depth int) (string, error) {
	terms := []string{n.typ + " = 'array'"}
	for _, item := range v {
		a := c.newAlias()
		inner, err := c.contains(child(a), item, depth+1)
		if err != nil {
			return "", err
		}
		terms = append(terms, "EXISTS (SELECT 1 FROM json_each("+guard(n, "array")+") "+a+" WHERE "+inner+")")
	}
	return "(" + strings.Join(terms, " AND ") + ")", nil
}

// guard keeps json_each away from texts that are no JSON: SQL may look at the
// parts of a condition in any order.
func guard(n jsonNode, typ string) string {
	return "CASE WHEN " + n.typ + " = '" + typ + "' THEN " + n.tree + " END"
}
