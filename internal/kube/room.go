package kube

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// room bounds what all lines of a Watch keep together: so many objects in the copy, and
// as many in lists that are on their way.
type room struct {
	most int
	// copied counts the objects in the copy.
	copied func() int
	listed atomic.Int64
}

// enter takes room for objects of a list, and is false where there is none.
func (r *room) enter(objects int) bool { return r.listed.Add(int64(objects)) <= int64(r.most) }

// leave gives it back.
func (r *room) leave(objects int) { r.listed.Add(-int64(objects)) }

// full reports whether the copy has more than there is room for.
func (r *room) full() bool { return r.copied() > r.most }

// fullError says what to do about it.
type fullError struct{ most int }

func (e *fullError) Error() string {
	return fmt.Sprintf("there are more than %d Jobs and Pods of flow runs, which is what the memory has room for: "+
		"delete finished ones, or raise the memory limit of the container (outside one, GOMEMLIMIT=512MiB)", e.most)
}

// capacity is how many Jobs and Pods are kept by a process with a memory limit in bytes:
// as many as fit beside the rest of it, and never fewer than without a limit.
func capacity(limit int64) int {
	const rest, each, most = 64 << 20, 2 << 10, 1_000_000
	if limit == math.MaxInt64 {
		return maxItems
	}
	return int(min(max((limit-rest)/each, maxItems), most))
}

// visit reads pages for as long as there is room, and says how much they took.
func visit[L runtime.Object, T any](r *room, b book[L, T]) (pages book[L, T], took *int) {
	took = new(int)
	send := func(ctx context.Context, o metav1.ListOptions) (L, error) {
		page, err := b.send(ctx, o)
		if err != nil {
			return page, err
		}
		items := b.items(page)
		*took += len(items)
		if !r.enter(len(items)) {
			return page, &fullError{r.most}
		}
		for i := range items {
			if !proper(any(&items[i])) {
				return page, errImproper
			}
		}
		return page, nil
	}
	return book[L, T]{send, b.items}, took
}

// errImproper is an object that no API server would have taken.
var errImproper = &largeError{what: "a name, an id or a label is longer than any of Kubernetes"}

// proper reports whether what is kept of an object's identity is as short as in Kubernetes:
// what is kept of many objects adds up.
func proper(obj any) bool {
	const longestName, longestLabel = 253, 63
	o, ok := obj.(metav1.Object)
	if !ok {
		return true
	}
	for _, text := range []string{o.GetName(), o.GetNamespace(), string(o.GetUID()), o.GetResourceVersion()} {
		if len(text) > longestName {
			return false
		}
	}
	for _, value := range o.GetLabels() {
		if len(value) > longestLabel {
			return false
		}
	}
	return true
}
