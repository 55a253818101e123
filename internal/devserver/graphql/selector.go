package graphql

import (
	"slices"
	"strconv"
	"strings"
)

// selector is what the arguments of a list say: which rows, in which order, how
// many. With parents it selects the rows of many parents at once, and distinct,
// limit and offset count for each parent.
type selector struct {
	where, order any
	distinct     []string
	limit        *int64
	offset       int64
	// parent is the column that holds the parent's key, empty at the root.
	parent  string
	parents []any
}

func newSelector(args fields) (selector, error) {
	s := selector{where: args.get("where"), order: args.get("order_by")}
	if n, ok := args.get("limit").(int64); ok {
		if n < 0 {
			return s, input("limit must not be negative")
		}
		s.limit = &n
	}
	if n, ok := args.get("offset").(int64); ok {
		if n < 0 {
			return s, input("offset must not be negative")
		}
		s.offset = n
	}
	items, _ := args.get("distinct_on").([]any)
	for _, item := range items {
		if name, ok := item.(string); ok {
			s.distinct = append(s.distinct, name)
		}
	}
	return s, nil
}

// orderTerm is one column of an order: an expression and its direction.
type orderTerm struct{ expr, direction string }

// order compiles order_by: asc puts nulls last, desc puts them first, as
// Postgres does.
func (c *compiler) order(t *table, alias string, order any) ([]orderTerm, error) {
	items, _ := order.([]any)
	var out []orderTerm
	for _, item := range items {
		f, ok := item.(fields)
		if !ok {
			continue
		}
		for _, name := range f.names {
			terms, err := c.orderBy(t, alias, name, f.get(name))
			if err != nil {
				return nil, err
			}
			if out = append(out, terms...); len(out) > maxTerms {
				return nil, input("order_by has more than %d terms", maxTerms)
			}
		}
	}
	return out, nil
}

func (c *compiler) orderBy(t *table, alias, name string, value any) ([]orderTerm, error) {
	if value == nil {
		return nil, nil
	}
	if rel, ok := t.relation(name); ok && !rel.many {
		if err := c.enter(); err != nil {
			return nil, err
		}
		defer c.leave()
		inner := c.newAlias()
		other := c.cat.tables[rel.table]
		terms, err := c.order(other, inner, []any{value})
		for i := range terms {
			terms[i].expr = "(SELECT " + terms[i].expr + " FROM " + quote(other.name) + " " + inner + " WHERE " + col(inner, rel.to) + " = " + col(alias, rel.column) + ")"
		}
		return terms, err
	}
	column, ok := t.column(name)
	if !ok {
		return nil, input("table %s has no column %.60q", t.name, name)
	}
	direction, ok := map[any]string{
		"asc": "ASC NULLS LAST", "asc_nulls_last": "ASC NULLS LAST", "asc_nulls_first": "ASC NULLS FIRST",
		"desc": "DESC NULLS FIRST", "desc_nulls_first": "DESC NULLS FIRST", "desc_nulls_last": "DESC NULLS LAST",
	}[value]
	if !ok {
		return nil, input("order of %s is not known", name)
	}
	if column.absent {
		return nil, nil
	}
	return []orderTerm{{col(alias, name), direction}}, nil
}

// query is the SQL of a selection. Its rows have the wanted columns and, with
// parents, the key of the parent as the last one.
func (c *compiler) query(t *table, columns []string, s selector) (string, error) {
	alias := c.newAlias()
	list, err := selectList(t, alias, columns)
	if err != nil {
		return "", err
	}
	from := " FROM " + quote(t.name) + " " + alias + " WHERE "
	if s.parent != "" {
		list = append(list, col(alias, s.parent)+" AS _k")
		from += col(alias, s.parent) + " IN (SELECT value FROM json_each(" + c.bind(string(marshal(s.parents))) + ")) AND "
	}
	term, err := c.where(t, alias, s.where)
	if err != nil {
		return "", err
	}
	order, err := c.order(t, alias, s.order)
	if err != nil {
		return "", err
	}
	order = append(order, orderTerm{rowOrder(t, alias), "ASC"})
	partition := s.distinctColumns(t, alias)
	if len(partition) == 0 && (s.parent == "" || (s.limit == nil && s.offset == 0)) {
		return "SELECT " + strings.Join(list, ", ") + from + term + orderClause(order) + c.window(s), nil
	}
	return c.ranked(s, list, from+term, order, partition), nil
}

func selectList(t *table, alias string, columns []string) ([]string, error) {
	var list []string
	for i, name := range columns {
		column, ok := t.column(name)
		if !ok {
			return nil, input("table %s has no column %.60q", t.name, name)
		}
		expr := col(alias, name)
		if column.absent {
			expr = "NULL"
		}
		list = append(list, expr+" AS c"+strconv.Itoa(i))
	}
	return list, nil
}

// rowOrder breaks ties by the order of insertion.
func rowOrder(t *table, alias string) string {
	if t.view {
		return col(alias, "id")
	}
	return alias + ".rowid"
}

func (s selector) distinctColumns(t *table, alias string) []string {
	var out []string
	for _, name := range s.distinct {
		if column, ok := t.column(name); ok && !column.absent && !slices.Contains(out, col(alias, name)) {
			out = append(out, col(alias, name))
		}
	}
	return out
}

func orderClause(order []orderTerm) string {
	terms := make([]string, len(order))
	for i, o := range order {
		terms[i] = o.expr + " " + o.direction
	}
	return " ORDER BY " + strings.Join(terms, ", ")
}

// window limits the rows of a whole query. One row more than allowed is read,
// so that too many can be told from just enough.
func (c *compiler) window(s selector) string {
	limit := int64(c.limits.Rows) + 1
	if s.parent == "" && s.limit != nil {
		limit = min(limit, *s.limit)
	}
	text := " LIMIT " + c.bind(limit)
	if s.parent == "" && s.offset > 0 {
		text += " OFFSET " + c.bind(s.offset)
	}
	return text
}

// ranked is a query with distinct_on, or with a limit for each parent: rows are
// numbered in their order, inside their group.
func (c *compiler) ranked(s selector, list []string, from string, order []orderTerm, distinct []string) string {
	inner := slices.Clone(list)
	outer := make([]orderTerm, len(order))
	for i, o := range order {
		name := "_o" + strconv.Itoa(i)
		inner = append(inner, o.expr+" AS "+name)
		outer[i] = orderTerm{name, o.direction}
	}
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i][strings.LastIndex(list[i], " ")+1:]
	}
	if len(distinct) > 0 {
		partition := distinct
		if s.parent != "" {
			partition = append([]string{keyExpr(list)}, distinct...)
		}
		inner = append(inner, "ROW_NUMBER() OVER (PARTITION BY "+strings.Join(partition, ", ")+orderClause(order)+") AS _d")
	}
	query := "SELECT " + strings.Join(inner, ", ") + from
	if len(distinct) > 0 {
		query = "SELECT * FROM (" + query + ") WHERE _d = 1"
	}
	if s.parent != "" && (s.limit != nil || s.offset > 0) {
		query = "SELECT *, ROW_NUMBER() OVER (PARTITION BY _k" + orderClause(outer) + ") AS _r FROM (" + query + ")"
		query = "SELECT * FROM (" + query + ") WHERE _r > " + c.bind(s.offset)
		if s.limit != nil {
			query += " AND _r <= " + c.bind(s.offset+*s.limit)
		}
	}
	return "SELECT " + strings.Join(names, ", ") + " FROM (" + query + ")" + orderClause(outer) + c.window(s)
}

// keyExpr is the expression of the parent's key, the last of the list.
func keyExpr(list []string) string { return strings.TrimSuffix(list[len(list)-1], " AS _k") }

// count is the SQL that counts the rows of a selection, for each parent if there
// are parents.
func (c *compiler) count(t *table, s selector, column string, distinct bool) (string, error) {
	s.order = nil
	columns := []string{}
	what := "count(*)"
	if column != "" {
		columns = append(columns, column)
		what = "count(c0)"
		if distinct {
			what = "count(DISTINCT c0)"
		}
	}
	if s.parent == "" && len(columns) == 0 {
		columns = append(columns, "id")
	}
	inner, err := c.query(t, columns, s)
	if err != nil {
		return "", err
	}
	if s.parent == "" {
		return "SELECT " + what + " FROM (" + inner + ")", nil
	}
	return "SELECT " + what + ", _k FROM (" + inner + ") GROUP BY _k", nil
}
