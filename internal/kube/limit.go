package kube

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/gentype"
)

// requestLimit bounds every request but a watch: all its tries, the pauses that the
// server asks for between them, and the answer to its last byte. What takes longer is
// given up, and sent again by whoever wants it.
const requestLimit = time.Minute

// asker is who sends requests: where client-go's words about them go, and the login.
type asker struct {
	log   *slog.Logger
	login *Login
}

// within runs a request within requestLimit, and explains a refusal of the login.
func within[T any](ctx context.Context, a asker, request func(context.Context) (T, error)) (T, error) {
	limited, cancel := context.WithTimeout(chatter(ctx, a.log), requestLimit)
	defer cancel()
	got, err := request(limited)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		err = &slowError{limit: requestLimit, err: err}
	}
	return got, a.login.explain(err)
}

// slowError is a request that was given up.
type slowError struct {
	limit time.Duration
	err   error
}

func (e *slowError) Error() string {
	return fmt.Sprintf("no whole answer within %v: %v", e.limit, e.err)
}

func (e *slowError) Unwrap() error { return e.err }

// object is one of a kind that the API server keeps.
type object interface {
	runtime.Object
	metav1.Object
}

// resource are the verbs on the objects of a kind, each within the limit. Its Watch has
// none: see line.
type resource[T object, L runtime.Object] struct {
	*gentype.ClientWithList[T, L]
	asker
}

func (r resource[T, L]) Create(ctx context.Context, obj T, o metav1.CreateOptions) (T, error) {
	return within(ctx, r.asker, func(ctx context.Context) (T, error) { return r.ClientWithList.Create(ctx, obj, o) })
}

func (r resource[T, L]) Get(ctx context.Context, name string, o metav1.GetOptions) (T, error) {
	return within(ctx, r.asker, func(ctx context.Context) (T, error) { return r.ClientWithList.Get(ctx, name, o) })
}

func (r resource[T, L]) List(ctx context.Context, o metav1.ListOptions) (L, error) {
	return within(ctx, r.asker, func(ctx context.Context) (L, error) { return r.ClientWithList.List(ctx, o) })
}

func (r resource[T, L]) Patch(ctx context.Context, name string, kind types.PatchType, data []byte, o metav1.PatchOptions, subresources ...string) (T, error) {
	return within(ctx, r.asker, func(ctx context.Context) (T, error) {
		return r.ClientWithList.Patch(ctx, name, kind, data, o, subresources...)
	})
}

func (r resource[T, L]) Delete(ctx context.Context, name string, o metav1.DeleteOptions) error {
	_, err := within(ctx, r.asker, func(ctx context.Context) (none struct{}, err error) {
		return none, r.ClientWithList.Delete(ctx, name, o)
	})
	return err
}
