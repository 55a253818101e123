package graphql

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

// Executor answers GraphQL requests for one generation. It may be used by many
// goroutines.
type Executor struct {
	store     *store.Store
	cat       *catalogue
	schema    *ast.Schema
	documents documents
	limits    Limits
	log       *slog.Logger
	mutations map[string]mutation
}

// Request is one GraphQL request.
type Request struct {
	Query, OperationName string
	// Variables are the values of the variables as JSON.
	Variables map[string]json.RawMessage
	// AgentID and CoreVersion come from the X-PREFECT-AGENT-ID and
	// X-PREFECT-CORE-VERSION headers; empty if absent.
	AgentID, CoreVersion string
}

// Response is the answer to a request.
type Response struct {
	// Executed tells an answer from a refused document or refused variables, which
	// Apollo Server answers with status 400.
	Executed bool
	data     any
	errors   []*Error
}

// New prepares an executor for the generation of the store.
func New(s *store.Store, limits Limits, log *slog.Logger) (*Executor, error) {
	cat, schema, err := loadSchema(s.Generation())
	if err != nil {
		return nil, err
	}
	limits = limits.withDefaults()
	return &Executor{
		store: s, cat: cat, schema: schema, limits: limits, log: log, mutations: mutations(),
		documents: documents{schema: schema, rules: rules.NewDefaultRules(), limits: limits},
	}, nil
}

// JSON is the text of the answer. One that would be larger than 64 MiB becomes
// an error.
func (r *Response) JSON() []byte {
	o := &object{}
	if len(r.errors) > 0 {
		list := make([]any, len(r.errors))
		for i, e := range r.errors {
			list[i] = e
		}
		o.set("errors", list)
	}
	if r.Executed {
		o.set("data", r.data)
	}
	var b bytes.Buffer
	e := encoder{b: &b, limit: maxAnswer}
	if e.write(o); !e.over {
		return b.Bytes()
	}
	return tooLarge().JSON()
}

func tooLarge() *Response { return &Response{Executed: true, errors: []*Error{errTooLarge()}} }

// Errors returns the errors of the answer.
func (r *Response) Errors() []*Error { return r.errors }

// run is the execution of one operation.
type run struct {
	*Executor
	request Request
	values  *coercer
	budget  *budget
	errors  []*Error
}

// Execute parses, validates and runs a request.
func (e *Executor) Execute(ctx context.Context, req Request) *Response {
	doc, errs := e.documents.load(req.Query)
	if errs != nil {
		return &Response{errors: errs}
	}
	op, err := operation(doc, req.OperationName)
	if err != nil {
		return &Response{errors: []*Error{err}}
	}
	r := &run{Executor: e, request: req, values: &coercer{schema: e.schema}, budget: &budget{left: maxAnswer}}
	if err := r.values.variables(op, req.Variables); err != nil {
		return &Response{errors: []*Error{err}}
	}
	if op.Operation == ast.Subscription {
		return &Response{errors: []*Error{fail(codeValidation, "subscriptions are not supported")}}
	}
	data, ok := r.operation(ctx, op)
	if r.budget.left < 0 {
		return tooLarge()
	}
	res := &Response{Executed: true, errors: r.errors}
	if ok {
		res.data = data
	}
	return res
}

func operation(doc *ast.QueryDocument, name string) (*ast.OperationDefinition, *Error) {
	if name == "" && len(doc.Operations) > 1 {
		return nil, fail(codeInput, "must provide operation name if query contains multiple operations")
	}
	if op := doc.Operations.ForName(name); op != nil {
		return op, nil
	}
	return nil, fail(codeInput, "unknown operation named %.60q", name)
}

// operation runs the root fields one after the other. A failed query field
// that may not be null takes the whole data with it.
func (r *run) operation(ctx context.Context, op *ast.OperationDefinition) (*object, bool) {
	out, whole := &object{}, true
	for _, k := range r.values.collect(op.SelectionSet) {
		value, err := r.root(ctx, op.Operation, k)
		if err != nil {
			r.fail(ctx, k, []any{k.key}, err)
			whole = whole && (k.field.Definition == nil || !k.field.Definition.Type.NonNull)
			value = nil
		}
		out.set(k.key, value)
	}
	return out, whole
}

func (r *run) fail(ctx context.Context, k *selected, path []any, err error) {
	e := answer(err)
	if e.cause != nil && !errors.Is(err, context.Canceled) {
		r.log.ErrorContext(ctx, "operation failed", slog.String("component", k.field.Name), slog.Any("error", e.cause))
	}
	one := *e
	one.Path = path
	if p := k.field.Position; p != nil {
		one.Locations = []Location{{Line: p.Line, Column: p.Column}}
	}
	r.errors = append(r.errors, &one)
}

func (r *run) root(ctx context.Context, kind ast.Operation, k *selected) (any, error) {
	if k.field.Name == "__typename" {
		if kind == ast.Mutation {
			return "Mutation", nil
		}
		return "Query", nil
	}
	args, e := r.values.arguments(k.field)
	if e != nil {
		return nil, e
	}
	if kind == ast.Mutation {
		return r.mutate(ctx, k, args)
	}
	if value, ok, err := r.tableField(ctx, k, args); ok {
		return value, err
	}
	if strings.HasPrefix(k.field.Name, "__") {
		return r.introspect(k, args), nil
	}
	payload, err := r.queryField(ctx, k.field.Name, args)
	if err != nil {
		return nil, err
	}
	return r.complete(ctx, k, k.field.Definition.Type, payload, []any{k.key}), nil
}

// tableField answers T, T_by_pk and T_aggregate.
func (r *run) tableField(ctx context.Context, k *selected, args fields) (value any, ok bool, err error) {
	name := k.field.Name
	keys := r.values.collect(k.sets...)
	reader := func(rd store.Reader) *rowReader {
		return &rowReader{cat: r.cat, values: r.values, limits: r.limits, budget: r.budget, read: rd}
	}
	s, err := newSelector(args)
	if err != nil {
		return nil, true, err
	}
	if t := r.cat.tables[name]; t != nil {
		err = r.store.View(ctx, func(ctx context.Context, rd store.Reader) error {
			value, err = list(reader(rd).rows(ctx, t, s, keys))
			return err
		})
		return value, true, err
	}
	if t := r.cat.tables[strings.TrimSuffix(name, "_by_pk")]; t != nil && strings.HasSuffix(name, "_by_pk") {
		s.where = fields{names: []string{"id"}, values: map[string]any{"id": fields{names: []string{"_eq"}, values: map[string]any{"_eq": args.get("id")}}}}
		err = r.store.View(ctx, func(ctx context.Context, rd store.Reader) error {
			found, err := reader(rd).rows(ctx, t, s, keys)
			if len(found) > 0 {
				value = found[0].out
			}
			return err
		})
		return value, true, err
	}
	if t := r.cat.tables[strings.TrimSuffix(name, "_aggregate")]; t != nil && strings.HasSuffix(name, "_aggregate") {
		err = r.store.View(ctx, func(ctx context.Context, rd store.Reader) error {
			of, err := reader(rd).aggregate(ctx, t, s, keys)
			if err == nil {
				value = of(nil)
			}
			return err
		})
		return value, true, err
	}
	return nil, false, nil
}

func list(records []record, err error) (any, error) {
	out := make([]any, len(records))
	for i, rec := range records {
		out[i] = rec.out
	}
	return out, err
}

// payload is the result of a named operation: field to value. A value may be an
// error, which then belongs to that field alone.
type payload map[string]any

// complete brings a payload into the selected form.
func (r *run) complete(ctx context.Context, k *selected, typ *ast.Type, value any, path []any) any {
	switch v := value.(type) {
	case error:
		r.fail(ctx, k, path, v)
		return nil
	case payload:
		out, keys := &object{}, r.values.collect(k.sets...)
		if r.budget.take(rowWeight+valueWeight*len(keys)) != nil {
			return nil
		}
		for _, inner := range keys {
			if inner.field.Name == "__typename" {
				out.set(inner.key, typ.Name())
				continue
			}
			out.set(inner.key, r.complete(ctx, inner, inner.field.Definition.Type, v[inner.field.Name], append(slices.Clip(path), inner.key)))
		}
		return out
	case []payload:
		out := make([]any, len(v))
		for i, one := range v {
			out[i] = r.complete(ctx, k, typ, one, append(slices.Clip(path), i))
		}
		return out
	}
	return value
}
