package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const namespaceTerminating = corev1.NamespaceTerminatingCause

// Submit creates a Job whose name is fixed. A Job of this name that is already
// there is no error: it is returned with created false, and the caller looks at
// whose it is. What may pass (429, 5xx, a lost connection) is sent again until
// ctx ends, since the name makes a second Job impossible; Retry-After is obeyed.
// The server gets the deadline of ctx too, so that nothing happens after it. An answer
// that has been the same for ten seconds is returned as an *Error that Lasts; the
// caller may go on with another Submit.
func (c *Client) Submit(ctx context.Context, job *batchv1.Job) (inCluster *batchv1.Job, created bool, err error) {
	jobs := c.JobsIn(job.Namespace)
	var last refusal
	pause := firstPause
	for {
		inCluster, err = jobs.Create(ctx, job, metav1.CreateOptions{})
		err = last.see(ctx, err)
		switch {
		case err == nil:
			return inCluster, true, nil
		case apierrors.IsAlreadyExists(err):
			inCluster, err = c.existing(ctx, jobs, job)
			return inCluster, false, err
		case temporary(err) && last.lasts() && ctx.Err() == nil:
			return nil, false, &Error{Op: fmt.Sprintf("create jobs %q in namespace %q", job.Name, job.Namespace), Mend: mend(err, "create", "jobs", job.Namespace), Err: err, lasts: true}
		case !temporary(err) || !wait(ctx, max(retryAfter(err), jitter(pause))):
			return nil, false, fail(err, "create", "jobs", job.Namespace, job.Name)
		}
		pause = min(2*pause, lastPause)
	}
}

// existing reads the Job that has the name.
func (c *Client) existing(ctx context.Context, jobs Jobs, job *batchv1.Job) (*batchv1.Job, error) {
	pause := firstPause
	for {
		found, err := jobs.Get(ctx, job.Name, metav1.GetOptions{})
		switch {
		case err == nil:
			return found, nil
		case apierrors.IsNotFound(err):
			return nil, &VanishedError{Namespace: job.Namespace, Job: job.Name}
		case !temporary(err) || !wait(ctx, max(retryAfter(err), jitter(pause))):
			return nil, fail(err, "get", "jobs", job.Namespace, job.Name)
		}
		pause = min(2*pause, lastPause)
	}
}

const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// jitter spreads a pause over half of it to all of it.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2) //nolint:gosec // spreads load, guards nothing
}

// wait reports whether d has passed; it returns at once if ctx ends before d
// could pass.
func wait(ctx context.Context, d time.Duration) bool {
	if left, ok := remaining(ctx); ok && left <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Stop ends the Pods of exactly the Job that was looked at, in the version that was
// looked at, and keeps the Job and its name: it sets the parallelism to 0. A Job that
// is gone is success; one that is another by now is a conflict, or invalid where only
// the UID differs.
func (c *Client) Stop(ctx context.Context, namespace, name, uid, resourceVersion string) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]string{"uid": uid, "resourceVersion": resourceVersion},
		"spec":     map[string]int{"parallelism": 0},
	})
	if err == nil {
		_, err = c.JobsIn(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fail(err, "patch", "jobs", namespace, name)
}

// Delete deletes exactly the Job that was looked at, in the version that was
// looked at, and its Pods in the background. A Job that is gone is success.
func (c *Client) Delete(ctx context.Context, namespace, name, uid, resourceVersion string) error {
	u := types.UID(uid)
	err := c.JobsIn(namespace).Delete(ctx, name, metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: &u, ResourceVersion: &resourceVersion},
		PropagationPolicy: new(metav1.DeletePropagationBackground),
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fail(err, "delete", "jobs", namespace, name)
}

// DeletePod deletes exactly the Pod that was looked at. A Pod that is gone is success.
func (c *Client) DeletePod(ctx context.Context, namespace, name, uid string) error {
	u := types.UID(uid)
	err := c.PodsIn(namespace).Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &u}})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fail(err, "delete", "pods", namespace, name)
}
