package graphql

import (
	"context"
	"slices"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

// rowReader runs selections of tables. Each relation costs one query per level,
// however many rows there are.
type rowReader struct {
	cat    *catalogue
	values *coercer
	limits Limits
	budget *budget
	read   store.Reader
}

// record is a row on its way into the answer.
type record struct {
	out *object
	row store.Row
	// parent is the key of the parent, nil at the root.
	parent any
}

// plan is what a selection set needs from its table.
type plan struct {
	table   *table
	keys    []*selected
	columns []string
}

func (r *rowReader) plan(t *table, keys []*selected) plan {
	p := plan{table: t, keys: keys}
	for _, k := range keys {
		if _, ok := t.column(k.field.Name); ok {
			p.need(k.field.Name)
		}
		if rel, ok := t.relation(strings.TrimSuffix(k.field.Name, "_aggregate")); ok {
			p.need(rel.column)
		}
	}
	if len(p.columns) == 0 {
		p.need("id")
	}
	return p
}

func (p *plan) need(name string) {
	if !slices.Contains(p.columns, name) {
		p.columns = append(p.columns, name)
	}
}

func (p *plan) value(row store.Row, name string) any { return row[slices.Index(p.columns, name)] }

// rows reads the rows of a selection with everything below them.
func (r *rowReader) rows(ctx context.Context, t *table, s selector, keys []*selected) ([]record, error) {
	p := r.plan(t, keys)
	c := &compiler{cat: r.cat, limits: r.limits}
	query, err := c.query(t, p.columns, s)
	if err != nil {
		return nil, err
	}
	var records []record
	err = r.read.Each(ctx, query, c.args, func(row store.Row) error {
		if len(records) == r.limits.Rows {
			return input("selection of %s has more than %d rows; add a limit", t.name, r.limits.Rows)
		}
		one := record{out: &object{}, row: row}
		if s.parent != "" {
			one.parent = row[len(row)-1]
		}
		records = append(records, one)
		return r.budget.take(weight(row))
	})
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if err := r.fill(ctx, p, records, k); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// fill sets one key in all records.
func (r *rowReader) fill(ctx context.Context, p plan, records []record, k *selected) error {
	if err := r.budget.take(valueWeight * len(records)); err != nil {
		return err
	}
	name := k.field.Name
	if name == "__typename" {
		for _, rec := range records {
			rec.out.set(k.key, p.table.name)
		}
		return nil
	}
	if column, ok := p.table.column(name); ok {
		i := slices.Index(p.columns, name)
		for _, rec := range records {
			rec.out.set(k.key, answerValue(column, rec.row[i]))
		}
		return nil
	}
	if rel, ok := p.table.relation(name); ok {
		return r.fillRelation(ctx, p, records, k, rel)
	}
	rel, ok := p.table.relation(strings.TrimSuffix(name, "_aggregate"))
	if !ok {
		return input("table %s has no field %.60q", p.table.name, name)
	}
	return r.fillAggregate(ctx, p, records, k, rel)
}

// answerValue brings a database value into the form of the answer.
func answerValue(column column, v any) any {
	switch v := v.(type) {
	case string:
		if column.typ == "jsonb" {
			return jsonText(v)
		}
		return v
	case int64:
		if column.typ == "Boolean" {
			return v != 0
		}
		return v
	}
	return v
}

func (r *rowReader) childSelector(p plan, records []record, k *selected, rel relation) (selector, error) {
	args, e := r.values.arguments(k.field)
	if e != nil {
		return selector{}, e
	}
	s, err := newSelector(args)
	s.parent = rel.to
	seen := map[any]bool{}
	for _, rec := range records {
		v := p.value(rec.row, rel.column)
		if v == nil || seen[v] {
			continue
		}
		seen[v] = true
		s.parents = append(s.parents, v)
	}
	return s, err
}

func (r *rowReader) fillRelation(ctx context.Context, p plan, records []record, k *selected, rel relation) error {
	s, err := r.childSelector(p, records, k, rel)
	if err != nil {
		return err
	}
	children := map[any][]any{}
	if len(s.parents) > 0 {
		below, err := r.rows(ctx, r.cat.tables[rel.table], s, r.values.collect(k.sets...))
		if err != nil {
			return err
		}
		for _, c := range below {
			children[c.parent] = append(children[c.parent], c.out)
		}
	}
	for _, rec := range records {
		list := children[p.value(rec.row, rel.column)]
		switch {
		case rel.many && list == nil:
			rec.out.set(k.key, []any{})
		case rel.many:
			rec.out.set(k.key, list)
		case len(list) == 0:
			rec.out.set(k.key, nil)
		default:
			rec.out.set(k.key, list[0])
		}
	}
	return nil
}

func (r *rowReader) fillAggregate(ctx context.Context, p plan, records []record, k *selected, rel relation) error {
	s, err := r.childSelector(p, records, k, rel)
	if err != nil {
		return err
	}
	byParent, err := r.aggregate(ctx, r.cat.tables[rel.table], s, r.values.collect(k.sets...))
	if err != nil {
		return err
	}
	for _, rec := range records {
		rec.out.set(k.key, byParent(p.value(rec.row, rel.column)))
	}
	return nil
}

// aggregate answers T_aggregate. The result gives the object of one parent; at
// the root the parent is nil.
func (r *rowReader) aggregate(ctx context.Context, t *table, s selector, keys []*selected) (func(parent any) *object, error) {
	parts := make([]func(any) any, len(keys))
	for i, k := range keys {
		var err error
		switch k.field.Name {
		case "aggregate":
			parts[i], err = r.aggregateFields(ctx, t, s, r.values.collect(k.sets...))
		case "nodes":
			parts[i], err = r.nodes(ctx, t, s, r.values.collect(k.sets...))
		default:
			parts[i] = func(any) any { return t.name + "_aggregate" }
		}
		if err != nil {
			return nil, err
		}
	}
	return func(parent any) *object {
		out := &object{}
		for i, k := range keys {
			out.set(k.key, parts[i](parent))
		}
		return out
	}, nil
}

func (r *rowReader) nodes(ctx context.Context, t *table, s selector, keys []*selected) (func(any) any, error) {
	lists := map[any][]any{}
	if s.parent == "" || len(s.parents) > 0 {
		rows, err := r.rows(ctx, t, s, keys)
		if err != nil {
			return nil, err
		}
		for _, rec := range rows {
			lists[rec.parent] = append(lists[rec.parent], rec.out)
		}
	}
	return func(parent any) any {
		if list := lists[parent]; list != nil {
			return list
		}
		return []any{}
	}, nil
}

func (r *rowReader) aggregateFields(ctx context.Context, t *table, s selector, keys []*selected) (func(any) any, error) {
	counts := make([]map[any]int64, len(keys))
	for i, k := range keys {
		if k.field.Name != "count" {
			continue
		}
		n, err := r.count(ctx, t, s, k)
		if err != nil {
			return nil, err
		}
		counts[i] = n
	}
	return func(parent any) any {
		out := &object{}
		for i, k := range keys {
			if counts[i] == nil {
				out.set(k.key, t.name+"_aggregate_fields")
				continue
			}
			out.set(k.key, counts[i][parent])
		}
		return out
	}, nil
}

func (r *rowReader) count(ctx context.Context, t *table, s selector, k *selected) (map[any]int64, error) {
	args, e := r.values.arguments(k.field)
	if e != nil {
		return nil, e
	}
	column := ""
	names, _ := args.get("columns").([]any)
	if len(names) > 1 {
		return nil, input("count of more than one column is not supported here")
	}
	if len(names) == 1 {
		column, _ = names[0].(string)
	}
	out := map[any]int64{}
	if s.parent != "" && len(s.parents) == 0 {
		return out, nil
	}
	c := &compiler{cat: r.cat, limits: r.limits}
	query, err := c.count(t, s, column, args.get("distinct") == true)
	if err != nil {
		return nil, err
	}
	return out, r.read.Each(ctx, query, c.args, func(row store.Row) error {
		var parent any
		if len(row) > 1 {
			parent = row[1]
		}
		out[parent], _ = row[0].(int64)
		return r.budget.take(weight(row))
	})
}
