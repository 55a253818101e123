package graphql

import (
	"strconv"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

const (
	maxTerms         = 1000
	maxRelations     = 20
	maxRelationDepth = 4
	maxPattern       = 200
	alwaysTrue       = "1"
	alwaysFalse      = "0"
)

// compiler turns filters and orders into SQL. Every name comes from the
// catalogue, every value becomes a placeholder.
type compiler struct {
	cat    *catalogue
	limits Limits
	args   []any
	terms  int
	alias  int
	// relations are those of the filter and the order so far, below those around the
	// term that is compiled.
	relations, below int
}

// enter counts a relation that a filter or an order looks through. Each one
// below another multiplies what is looked at.
func (c *compiler) enter() error {
	c.relations++
	if c.below++; c.below > maxRelationDepth || c.relations > maxRelations {
		return input("filter or order looks through more than %d relations, or through %d one below the other", maxRelations, maxRelationDepth)
	}
	return nil
}

func (c *compiler) leave() { c.below-- }

func (c *compiler) bind(v any) string {
	c.args = append(c.args, v)
	return "?"
}

func (c *compiler) newAlias() string {
	c.alias++
	return "a" + strconv.Itoa(c.alias)
}

func quote(name string) string { return `"` + name + `"` }

func col(alias, name string) string { return alias + "." + quote(name) }

// where compiles a filter of a table. Null and {} mean no condition.
func (c *compiler) where(t *table, alias string, filter any) (string, error) {
	f, ok := filter.(fields)
	if !ok {
		return alwaysTrue, nil
	}
	var terms []string
	for _, name := range f.names {
		if c.terms++; c.terms > maxTerms {
			return "", input("filter has more than %d terms", maxTerms)
		}
		term, err := c.term(t, alias, name, f.get(name))
		if err != nil {
			return "", err
		}
		if term != alwaysTrue {
			terms = append(terms, term)
		}
	}
	return join(terms, " AND ", alwaysTrue), nil
}

func join(terms []string, with, none string) string {
	switch len(terms) {
	case 0:
		return none
	case 1:
		return terms[0]
	}
	return "(" + strings.Join(terms, with) + ")"
}

func (c *compiler) term(t *table, alias, name string, value any) (string, error) {
	if value == nil {
		return alwaysTrue, nil
	}
	switch name {
	case "_and":
		terms, err := c.list(t, alias, value)
		return join(terms, " AND ", alwaysTrue), err
	case "_or":
		terms, err := c.list(t, alias, value)
		if len(terms) > 1 {
			// Agents ask for ids and "Scheduled or Running". The plus keeps SQLite from
			// walking all runs in these states instead of looking the ids up.
			return "+" + join(terms, " OR ", alwaysFalse), err
		}
		return join(terms, " OR ", alwaysFalse), err
	case "_not":
		term, err := c.where(t, alias, value)
		return "NOT (" + term + ")", err
	}
	if rel, ok := t.relation(name); ok {
		return c.exists(rel, alias, value)
	}
	column, ok := t.column(name)
	if !ok {
		return "", input("table %s has no column %.60q", t.name, name)
	}
	return c.compare(column, alias, value)
}

func (c *compiler) list(t *table, alias string, value any) ([]string, error) {
	items, _ := value.([]any)
	terms := make([]string, 0, len(items))
	for _, item := range items {
		term, err := c.where(t, alias, item)
		if err != nil {
			return nil, err
		}
		terms = append(terms, term)
	}
	return terms, nil
}

func (c *compiler) exists(rel relation, alias string, value any) (string, error) {
	if err := c.enter(); err != nil {
		return "", err
	}
	defer c.leave()
	other := c.cat.tables[rel.table]
	inner := c.newAlias()
	term, err := c.where(other, inner, value)
	if err != nil {
		return "", err
	}
	return "EXISTS (SELECT 1 FROM " + quote(other.name) + " " + inner + " WHERE " + col(inner, rel.to) + " = " + col(alias, rel.column) + " AND " + term + ")", nil
}

func (c *compiler) compare(column column, alias string, value any) (string, error) {
	ops, _ := value.(fields)
	var terms []string
	for _, op := range ops.names {
		if c.terms++; c.terms > maxTerms {
			return "", input("filter has more than %d terms", maxTerms)
		}
		term, err := c.operator(column, alias, op, ops.get(op))
		if err != nil {
			return "", err
		}
		if term != alwaysTrue {
			terms = append(terms, term)
		}
	}
	return join(terms, " AND ", alwaysTrue), nil
}

// operator compiles one comparison. A null operand means no condition: both
// servers run Hasura with that rule.
func (c *compiler) operator(column column, alias, op string, value any) (string, error) {
	if value == nil {
		return alwaysTrue, nil
	}
	name := col(alias, column.name)
	if column.absent {
		name = "NULL"
	}
	switch op {
	case "_is_null":
		if value == true {
			return name + " IS NULL", nil
		}
		return name + " IS NOT NULL", nil
	case "_in", "_nin":
		return c.member(column, name, op, value)
	case "_like", "_nlike", "_ilike", "_nilike":
		return c.like(name, op, value)
	}
	if column.typ == "jsonb" {
		return c.jsonOperator(name, op, value)
	}
	sign, ok := map[string]string{"_eq": "=", "_neq": "<>", "_gt": ">", "_gte": ">=", "_lt": "<", "_lte": "<="}[op]
	if !ok {
		return "", input("operator %.60q is not known", op)
	}
	v, err := operand(column, value)
	if err != nil {
		return "", err
	}
	return name + " " + sign + " " + c.bind(v), nil
}

// member passes the list as one JSON value, so that the text of the statement
// does not depend on its length.
func (c *compiler) member(column column, name, op string, value any) (string, error) {
	items, _ := value.([]any)
	if len(items) > c.limits.List {
		return "", input("%s: list has more than %d values", column.name, c.limits.List)
	}
	values := make([]any, len(items))
	for i, item := range items {
		v, err := operand(column, item)
		if err != nil {
			return "", err
		}
		values[i] = v
	}
	not := ""
	if op == "_nin" {
		not = "NOT "
	}
	return name + " " + not + "IN (SELECT value FROM json_each(" + c.bind(string(marshal(values))) + "))", nil
}

// operand brings a value into the form it has in the database.
func operand(column column, value any) (any, error) {
	switch v := value.(type) {
	case string:
		switch column.typ {
		case "uuid":
			if !isUUID(v) {
				return nil, input("invalid input syntax for type uuid: %.60q", v)
			}
			return strings.ToLower(v), nil
		case "timestamptz":
			t, err := store.ParseTime(v)
			if err != nil {
				return nil, input("%s: %v", column.name, err)
			}
			return store.FormatTime(t), nil
		}
		return v, nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case int64:
		return v, nil
	}
	return nil, input("%s: value cannot represent type %s", column.name, column.typ)
}

// like keeps the difference of LIKE and ILIKE, which SQLite's LIKE does not
// have: the first becomes GLOB.
func (c *compiler) like(name, op string, value any) (string, error) {
	pattern, _ := value.(string)
	if len(pattern) > maxPattern {
		return "", input("pattern is longer than %d characters", maxPattern)
	}
	sign := "LIKE"
	if strings.HasSuffix(op, "nlike") || op == "_nilike" {
		sign = "NOT LIKE"
	}
	if strings.Contains(op, "ilike") {
		return name + " " + sign + " " + c.bind(pattern) + ` ESCAPE '\'`, nil
	}
	return name + " " + strings.Replace(sign, "LIKE", "GLOB", 1) + " " + c.bind(globOf(pattern)), nil
}

func globOf(pattern string) string {
	var b strings.Builder
	escaped := false
	for _, r := range pattern {
		switch {
		case !escaped && r == '\\':
			escaped = true
			continue
		case !escaped && r == '%':
			b.WriteByte('*')
		case !escaped && r == '_':
			b.WriteByte('?')
		case strings.ContainsRune("*?[", r):
			b.WriteString("[" + string(r) + "]")
		default:
			b.WriteRune(r)
		}
		escaped = false
	}
	return b.String()
}
