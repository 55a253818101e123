// Package template reads job templates from where a path points to: a file of
// this machine, an HTTP server, S3 or Google Cloud Storage. It knows schemes,
// sizes and time limits, and takes credentials from the surroundings as the
// clients of the clouds do. What is in a template is the business of package
// jobspec.
package template

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/prefect-kube/prefect-kube/internal/regular"
)

const (
	// limit is the largest template that is read, in bytes. A Job has 1.5 MiB at most.
	limit = 1 << 20
	// defaultTimeout bounds one Read, redirects and repetitions included.
	defaultTimeout = 10 * time.Second
)

// Options are what a Loader can be told.
type Options struct {
	// Timeout bounds one Read; zero means ten seconds.
	Timeout time.Duration
	// Roots are the certificate authorities that vouch for servers; nil means those
	// of the system. S3 also trusts those of AWS_CA_BUNDLE.
	Roots *x509.CertPool
	// Sources say what flow runs may name; the zero value is DefaultSources.
	Sources Sources
	// Own is the path of the agent's own template, which is always read.
	Own string
	// Base sends the requests for http, https, gs and gcs; nil means over the
	// network, through Proxy.
	Base http.RoundTripper
	// Proxy finds the proxy of a request; nil means that of the environment.
	Proxy func(*http.Request) (*url.URL, error)
}

// Loader reads templates. It may be used by many goroutines at once. It connects
// to nothing before Read needs it.
type Loader struct {
	timeout time.Duration
	roots   *x509.CertPool
	sources Sources
	own     string
	proxy   func(*http.Request) (*url.URL, error)
	// base goes anywhere, guard where flow runs may lead the agent.
	base   http.RoundTripper
	guard  *guard
	files  regular.Reader
	closed chan struct{}

	// clients guards s3 and google. Making one may wait for files and for the network.
	clients sync.Mutex
	s3      *s3.Client
	google  *http.Client

	mu      sync.Mutex
	flights map[string]*flight
	kept    int
}

// New returns a Loader.
func New(o Options) *Loader {
	l := &Loader{
		timeout: o.Timeout, roots: o.Roots, sources: o.Sources, own: o.Own, base: o.Base,
		closed: make(chan struct{}), flights: map[string]*flight{},
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	l.proxy = o.Proxy
	if l.timeout <= 0 {
		l.timeout = defaultTimeout
	}
	l.guard = &guard{sources: o.Sources, free: o.Base, guarded: o.Base}
	if o.Base == nil {
		free, near := transport(o.Roots), transport(o.Roots)
		free.Proxy, near.DialContext = o.Proxy, dialer().DialContext
		l.base, l.guard.free, l.guard.guarded, l.guard.proxy = free, free, near, free.Proxy
	}
	return l
}

func transport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: idlePerHost, IdleConnTimeout: time.Minute,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
	}
}

// Close ends Reads under way and the connections that are kept for the next one,
// except those to S3, which end by themselves. It is called once.
func (l *Loader) Close() {
	close(l.closed)
	for _, t := range []http.RoundTripper{l.base, l.guard.guarded} {
		(&http.Client{Transport: t}).CloseIdleConnections()
	}
}

// idlePerHost lets Jobs that start together share connections.
const idlePerHost = 16

// Read returns the text behind a path as it was written in a run config or on the
// command line, as Prefect 1.4.1 reads them (utilities/filesystems.py): a plain
// path, file:, local: or agent:, all on this machine; http: and https: by a plain
// GET; s3: with the credentials, region and endpoint of the AWS environment; gs:
// and gcs: with Google's default credentials. Texts have at most 1 MiB and must not be
// changed. What another machine answers counts for a minute, whoever asks, and what
// came of no one in time too. Errors are of type *Error, or ctx's own.
func (l *Loader) Read(ctx context.Context, path string) ([]byte, error) {
	f := l.share(ctx, path, time.Now())
	select {
	case <-f.done:
		return f.text, f.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Text is Read where nothing but the time limit ends it.
func (l *Loader) Text(path string) ([]byte, error) { return l.Read(context.Background(), path) }

// decide says whether a path may be read.
func (l *Loader) decide(path string) decision {
	if path == l.own {
		return allowed
	}
	return l.sources.of(path)
}

func (l *Loader) read(ctx context.Context, path string) ([]byte, error) {
	if l.decide(path) == refused {
		return nil, &Error{Problem: unreadable, Mend: elsewhere, detail: errSource.Error()}
	}
	switch where := parse(path); where.scheme {
	case "", "file", "local", "agent":
		return l.readFile(ctx, where, path)
	case "http", "https":
		return l.readHTTP(ctx, path)
	case "s3":
		return l.readS3(ctx, where)
	case "gs", "gcs":
		return l.readGoogle(ctx, where)
	default:
		return nil, &Error{Problem: "unsupported scheme " + where.scheme + ":", Mend: "use a path, file, agent, https, s3 or gs"}
	}
}

// Remote reports whether a path leads to another machine, whose answer may change.
func Remote(path string) bool {
	return slices.Contains([]string{"http", "https", "s3", "gs", "gcs"}, parse(path).scheme)
}

// location is a path taken apart as Python's urlsplit does.
type location struct{ scheme, host, path string }

func parse(path string) location {
	where := location{path: path}
	scheme, rest, found := strings.Cut(path, ":")
	if found && isScheme(scheme) {
		where.scheme, where.path = strings.ToLower(scheme), rest
	}
	if after, ok := strings.CutPrefix(where.path, "//"); ok {
		end := strings.IndexAny(after, "/?#")
		if end < 0 {
			end = len(after)
		}
		where.host, where.path = after[:end], after[end:]
	}
	return where
}

func isScheme(text string) bool {
	for i, r := range text {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", r)) {
			return false
		}
	}
	return text != ""
}

// key is the name of an object in a bucket.
func (l location) key() string {
	path, _, _ := strings.Cut(l.path, "#")
	path, _, _ = strings.Cut(path, "?")
	return strings.TrimLeft(path, "/")
}

// checkObject refuses what names no object.
func (l location) checkObject() error {
	if l.host == "" || l.key() == "" {
		return &Error{Problem: "names no object in a bucket", Mend: "write " + l.scheme + "://BUCKET/KEY"}
	}
	return nil
}
