package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/rest"

	"github.com/prefect-kube/prefect-kube/internal/plain"
	"github.com/prefect-kube/prefect-kube/internal/retryhttp"
)

// Jobs are the verbs used on Jobs of one namespace.
type Jobs interface {
	Create(ctx context.Context, job *batchv1.Job, o metav1.CreateOptions) (*batchv1.Job, error)
	Get(ctx context.Context, name string, o metav1.GetOptions) (*batchv1.Job, error)
	List(ctx context.Context, o metav1.ListOptions) (*batchv1.JobList, error)
	Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
	Patch(ctx context.Context, name string, kind types.PatchType, data []byte, o metav1.PatchOptions, subresources ...string) (*batchv1.Job, error)
	Delete(ctx context.Context, name string, o metav1.DeleteOptions) error
}

// Pods are the verbs used on Pods of one namespace.
type Pods interface {
	List(ctx context.Context, o metav1.ListOptions) (*corev1.PodList, error)
	Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
	Delete(ctx context.Context, name string, o metav1.DeleteOptions) error
}

// Client talks to one cluster. Its methods are safe for concurrent use.
type Client struct {
	host  string
	ca    []byte
	batch rest.Interface
	core  rest.Interface
	// access is where our own rights are asked for.
	access rest.Interface
	codec  runtime.ParameterCodec
	clock  *serverClock
	// weigher looks at answers that are decoded here.
	weigher *weigher
	asker
	// known holds the namespaces that were asked for, true if the UID was read.
	known sync.Map
}

// errAddress stands for an error that may quote an address with a password in it.
var errAddress = errors.New("the address of the server cannot be used, and is not shown since it holds a credential: write it as https://host:6443")

// NewClient makes a client. It opens no connection; the error means that the
// configuration itself cannot be used, such as a certificate that does not parse.
func NewClient(cfg *Config, log *slog.Logger) (*Client, error) {
	scheme := runtime.NewScheme()
	if err := addToScheme(scheme); err != nil {
		return nil, fmt.Errorf("register Kubernetes types: %w", err)
	}
	c := &Client{host: cfg.REST.Host, codec: runtime.NewParameterCodec(scheme), clock: &serverClock{}, asker: asker{log: log, login: cfg.Login}}
	if err := cfg.Login.check(); err != nil {
		return nil, err
	}
	rc := rest.CopyConfig(cfg.REST)
	codec := newCodec(scheme)
	rc.NegotiatedSerializer, c.weigher = codec, codec.weigher
	// Answers in protobuf cost a fraction of the memory of a list in JSON.
	rc.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	rc.ContentType = runtime.ContentTypeJSON
	rc.WarningHandlerWithContext = warnings{log: log}
	rc.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return &transport{next: retryhttp.NoRedirects(next), clock: c.clock}
	})
	if err := rest.LoadTLSFiles(rc); err != nil {
		return nil, fmt.Errorf("read certificates of %s: %w", cfg.Source, err)
	}
	c.ca = rc.CAData
	if err := c.connect(rc); err != nil {
		if strings.Contains(rc.Host, "@") {
			err = errAddress
		}
		return nil, fmt.Errorf("client for %s: %w", cfg.Source, err)
	}
	return c, nil
}

func addToScheme(scheme *runtime.Scheme) error {
	if err := batchv1.AddToScheme(scheme); err != nil {
		return err
	}
	if err := authorizationv1.AddToScheme(scheme); err != nil {
		return err
	}
	return corev1.AddToScheme(scheme)
}

func (c *Client) connect(rc *rest.Config) error {
	hc, err := rest.HTTPClientFor(rc)
	if err != nil {
		return err
	}
	if c.login.waits() {
		hc = &http.Client{Transport: newGate(hc.Transport, c.login)}
	}
	if c.batch, err = forGroup(rc, hc, "/apis", batchv1.SchemeGroupVersion); err != nil {
		return err
	}
	if c.access, err = forGroup(rc, hc, "/apis", authorizationv1.SchemeGroupVersion); err != nil {
		return err
	}
	c.core, err = forGroup(rc, hc, "/api", corev1.SchemeGroupVersion)
	return err
}

func forGroup(rc *rest.Config, hc *http.Client, path string, gv schema.GroupVersion) (rest.Interface, error) {
	gc := rest.CopyConfig(rc)
	gc.APIPath, gc.GroupVersion = path, &gv
	return rest.RESTClientForConfigAndClient(gc, hc)
}

// ServerNow is the time on the API server's clock, to about a second. Before
// the first answer it is our own.
func (c *Client) ServerNow() time.Time { return c.clock.now() }

// JobsIn are the Jobs of a namespace.
func (c *Client) JobsIn(namespace string) Jobs {
	return resource[*batchv1.Job, *batchv1.JobList]{gentype.NewClientWithList("jobs", c.batch, c.codec, namespace,
		func() *batchv1.Job { return &batchv1.Job{} }, func() *batchv1.JobList { return &batchv1.JobList{} }), c.asker}
}

// PodsIn are the Pods of a namespace.
func (c *Client) PodsIn(namespace string) Pods {
	return resource[*corev1.Pod, *corev1.PodList]{gentype.NewClientWithList("pods", c.core, c.codec, namespace,
		func() *corev1.Pod { return &corev1.Pod{} }, func() *corev1.PodList { return &corev1.PodList{} }), c.asker}
}

// warnings passes what the API server warns about, such as a Job that violates
// a pod security level, to the log.
type warnings struct{ log *slog.Logger }

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (w warnings) HandleWarningHeaderWithContext(ctx context.Context, code int, _, text string) {
	const miscellaneous = 299 // the only code the API server sends
	if code == miscellaneous && text != "" {
		w.log.DebugContext(ctx, "warned by the api server", slog.String("reason", plain.Line(text, maxCause)))
	}
}
