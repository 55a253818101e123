package kube

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	pageSize = 500
	// maxItems bounds a list in objects, and maxList in bytes what is read of objects
	// that are kept whole. There is a request at most for each perPage objects: so many
	// of 100 KB fill a page.
	maxItems = 45_000
	perPage  = 20
	maxList  = 32 << 20
	// maxToken bounds what a server gives to be sent back with the next request. It is
	// part of an address, and has a few hundred bytes.
	maxToken = 8 << 10
)

// errEndless is a list with more objects than anybody has.
var errEndless = errors.New("the list goes on behind more objects than are kept")

// book is a list that is read page by page.
type book[L runtime.Object, T any] struct {
	send  func(context.Context, metav1.ListOptions) (L, error)
	items func(L) []T
}

// read follows a list to its end, up to so many objects, and keeps of each what keep
// returns. A page that is too large is asked for in parts, the pages behind it in larger
// ones again: large objects often come in a row. A continue token that expired
// on the way (410) means that the list begins again, twice at most: what was read so far
// belongs to no single moment.
func read[L runtime.Object, T, K any](ctx context.Context, b book[L, T], o metav1.ListOptions, most int, keep func(*T) K) (all []K, version string, err error) {
	o.Limit = pageSize
	for sent, restarts := 0, 0; sent < max(most/perPage, 1) && len(all) < most; sent++ {
		page, err := b.send(ctx, o)
		_, large := errors.AsType[*largeError](err)
		switch {
		case large && o.Limit > 1:
			o.Limit = max(1, o.Limit/4)
			continue
		case apierrors.IsResourceExpired(err) && o.Continue != "" && restarts < 2:
			restarts++
			all, o.Continue = nil, ""
			continue
		case err != nil:
			return nil, "", err
		}
		items := b.items(page)
		for i := range items {
			all = append(all, keep(&items[i]))
		}
		list, err := meta.ListAccessor(page)
		if err != nil || list.GetContinue() == "" {
			return all, list.GetResourceVersion(), err
		}
		o.Continue, o.Limit = list.GetContinue(), min(2*o.Limit, pageSize)
		if len(o.Continue) > maxToken {
			return nil, "", &largeError{what: "where the list goes on"}
		}
	}
	return all, "", errEndless
}

// whole is read for objects that are kept whole.
func whole[L runtime.Object, T any](ctx context.Context, b book[L, T], o metav1.ListOptions, most int) ([]T, error) {
	all, _, err := read(context.WithValue(ctx, allowanceKey{}, &allowance{left: maxList}), b, o, most, func(item *T) T { return *item })
	return all, err
}

// allowance is what the requests of a context may read together, one after the other.
type allowance struct{ left int }

type allowanceKey struct{}

// allowed is what one answer may have, and notes that it takes so much.
func allowed(ctx context.Context) (most int, took func(int)) {
	a, ok := ctx.Value(allowanceKey{}).(*allowance)
	if !ok {
		return maxAnswer, func(int) {}
	}
	return min(maxAnswer, a.left), func(n int) { a.left -= n }
}

// reduced is a list of what is kept of objects.
type reduced struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []runtime.Object
}

// DeepCopyObject implements runtime.Object. Nobody changes what is in the list.
func (r *reduced) DeepCopyObject() runtime.Object { return &reduced{r.TypeMeta, r.ListMeta, r.Items} }
