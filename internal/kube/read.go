package kube

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/gentype"
)

const (
	// maxEvents bounds how many events are read at once, to a page.
	maxEvents = 5000
	// maxLog bounds what is read of one log to find its end.
	maxLog = 8 << 20
)

// Place is what a namespace is known by: its UID, which a namespaced Role can let us
// read and which is empty where that is forbidden, and a digest of the cluster's CA
// (its address, if the CA is not pinned) and the namespace's name. A namespace that
// does not exist is a *NamespaceError. What is answered in its place is an error that
// may pass.
func (c *Client) Place(ctx context.Context, namespace string) (uid, digest string, err error) {
	namespaces := resource[*corev1.Namespace, *corev1.NamespaceList]{gentype.NewClientWithList("namespaces", c.core, c.codec, "",
		func() *corev1.Namespace { return &corev1.Namespace{} }, func() *corev1.NamespaceList { return &corev1.NamespaceList{} }), c.asker}
	ns, err := namespaces.Get(ctx, namespace, metav1.GetOptions{})
	switch {
	case err == nil && (ns.UID == "" || ns.Name != namespace):
		err = errNoNamespace
	case err == nil:
		c.known.Store(namespace, true)
		return string(ns.UID), c.digest(namespace), nil
	case apierrors.IsForbidden(err) && !c.knows(namespace):
		if _, told := c.known.LoadOrStore(namespace, false); !told {
			c.log.WarnContext(ctx, "own namespace not readable, so its place is known by cluster and name",
				slog.Any("error", fail(err, "get", "namespaces", namespace, namespace)))
		}
		return "", c.digest(namespace), nil
	case apierrors.IsNotFound(err):
		return "", "", &NamespaceError{Namespace: namespace}
	}
	return "", "", fail(err, "get", "namespaces", namespace, namespace)
}

// errNoNamespace is an answer that cannot be the namespace that was asked for.
var errNoNamespace = errors.New("the answer is not that namespace: it has another name or no UID")

// knows reports whether the namespace's UID was read before. A refusal after that
// is trouble, not another place: an API server that starts refuses for a moment.
func (c *Client) knows(namespace string) bool {
	read, _ := c.known.Load(namespace)
	return read == true
}

// digest stands for a namespace of this cluster where its UID is not known.
func (c *Client) digest(namespace string) string {
	cluster := c.ca
	if len(cluster) == 0 {
		cluster = []byte(c.host)
	}
	sum := sha256.New()
	_, _ = fmt.Fprintf(sum, "%d\x00%s\x00%s", len(cluster), cluster, namespace)
	return hex.EncodeToString(sum.Sum(nil))[:32]
}

// Jobs lists the Jobs that a label selector names, as the cluster's quorum
// knows them now; an empty selector names all.
func (c *Client) Jobs(ctx context.Context, namespace, selector string) ([]batchv1.Job, error) {
	items, err := whole(ctx, jobsOf(c.JobsIn(namespace)), metav1.ListOptions{LabelSelector: selector}, maxItems)
	return items, fail(err, "list", "jobs", namespace, "")
}

// EachJob visits the Jobs that a label selector names, as many as there may be, since it
// keeps none. A list that begins again visits some of them again.
func (c *Client) EachJob(ctx context.Context, namespace, selector string, visit func(*batchv1.Job)) error {
	_, _, err := read(ctx, jobsOf(c.JobsIn(namespace)), metav1.ListOptions{LabelSelector: selector}, maxItems,
		func(j *batchv1.Job) struct{} { visit(j); return struct{}{} })
	return fail(err, "list", "jobs", namespace, "")
}

// Pods lists the Pods that a label selector names, as the cluster's quorum
// knows them now; an empty selector names all.
func (c *Client) Pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	items, err := whole(ctx, podsOf(c.PodsIn(namespace)), metav1.ListOptions{LabelSelector: selector}, maxItems)
	return items, fail(err, "list", "pods", namespace, "")
}

func jobsOf(jobs Jobs) book[*batchv1.JobList, batchv1.Job] {
	return book[*batchv1.JobList, batchv1.Job]{jobs.List, func(l *batchv1.JobList) []batchv1.Job { return l.Items }}
}

func podsOf(pods Pods) book[*corev1.PodList, corev1.Pod] {
	return book[*corev1.PodList, corev1.Pod]{pods.List, func(l *corev1.PodList) []corev1.Pod { return l.Items }}
}

// Events lists the events about the object of the given name, of any kind, in no
// certain order.
func (c *Client) Events(ctx context.Context, namespace, name string) ([]corev1.Event, error) {
	return c.events(ctx, namespace, "involvedObject.name="+name)
}

// Warnings lists the events of a namespace that tell of trouble, in no certain
// order and up to a bound.
func (c *Client) Warnings(ctx context.Context, namespace string) ([]corev1.Event, error) {
	return c.events(ctx, namespace, "type="+corev1.EventTypeWarning)
}

func (c *Client) events(ctx context.Context, namespace, selector string) ([]corev1.Event, error) {
	events := resource[*corev1.Event, *corev1.EventList]{gentype.NewClientWithList("events", c.core, c.codec, namespace,
		func() *corev1.Event { return &corev1.Event{} }, func() *corev1.EventList { return &corev1.EventList{} }), c.asker}
	list := book[*corev1.EventList, corev1.Event]{events.List, func(l *corev1.EventList) []corev1.Event { return l.Items }}
	items, err := whole(ctx, list, metav1.ListOptions{FieldSelector: selector}, maxEvents)
	if errors.Is(err, errEndless) {
		err = nil
	}
	return items, fail(err, "list", "events", namespace, "")
}

// PodLog reads the end of a container's log: the last lines of it (all, if zero)
// and of those the last bytes (all, if zero). Previous asks for the run of the
// container before its last restart.
func (c *Client) PodLog(ctx context.Context, namespace, pod, container string, previous bool, lines int64, limit int) (string, error) {
	opts := &corev1.PodLogOptions{Container: container, Previous: previous}
	if lines > 0 {
		opts.TailLines = &lines
	}
	text, err := within(ctx, c.asker, func(ctx context.Context) (string, error) {
		stream, err := c.core.Get().Namespace(namespace).Resource("pods").Name(pod).SubResource("log").
			VersionedParams(opts, c.codec).Stream(ctx)
		if err != nil {
			return "", err
		}
		defer stream.Close() //nolint:errcheck // nothing is left to be lost
		return tail(stream, limit)
	})
	return text, fail(err, "get", "pods/log", namespace, pod)
}

// tail keeps the last bytes of a stream. The server's own limitBytes would keep
// the first ones of the lines asked for, where the cause of death is not.
func tail(r io.Reader, limit int) (string, error) {
	var kept []byte
	block := make([]byte, 32<<10)
	for total := 0; total < maxLog; {
		n, err := r.Read(block)
		total += n
		kept = append(kept, block[:n]...)
		if limit > 0 && len(kept) > limit {
			kept = append([]byte(nil), kept[len(kept)-limit:]...)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return string(kept), err
		}
	}
	return string(bytes.ToValidUTF8(kept, []byte("?"))), nil
}
