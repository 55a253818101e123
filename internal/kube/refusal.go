package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// lasting is for how long an answer must repeat before whoever waits should know.
const lasting = 10 * time.Second

// refusal is the answer that a request got again and again. Its zero value is none.
type refusal struct {
	err   error
	kind  string
	since time.Time
}

// see notes an answer, and returns what to go on with: where our time is up before
// there is another answer, the last one says more.
func (r *refusal) see(ctx context.Context, err error) error {
	status := apierrors.APIStatus(nil)
	if err == nil || !errors.As(err, &status) {
		if r.err != nil && ctx.Err() != nil {
			return r.err
		}
		*r = refusal{}
		return err
	}
	// Messages may hold times or ids.
	if kind := fmt.Sprint(status.Status().Code, status.Status().Reason); kind != r.kind {
		r.kind, r.since = kind, time.Now()
	}
	r.err = err
	return err
}

// lasts reports whether the answer has been the same for long.
func (r *refusal) lasts() bool { return r.err != nil && time.Since(r.since) >= lasting }
