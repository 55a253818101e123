package template_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/prefect-kube/prefect-kube/internal/template"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const job = "kind: Job"

type want struct{ path, text, err string }

func (w want) check(t *testing.T, l *template.Loader) {
	t.Helper()
	text, err := l.Read(t.Context(), w.path)
	if string(text) != w.text || (err == nil) != (w.err == "") {
		t.Errorf("%s: %.40q, %v; want %q and an error with %q", w.path, text, err, w.text, w.err)
	}
	if err == nil {
		return
	}
	if e, ok := errors.AsType[*template.Error](err); !ok || !strings.Contains(err.Error(), w.err) || !strings.HasPrefix(err.Error(), fmt.Sprintf("job template %q: ", e.Path)) {
		t.Errorf("%s: %T %v, want an *Error with its path and %q", w.path, err, err, w.err)
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%s: error %v tells a secret", w.path, err)
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{"job.yaml": job, "a#b?c.yaml": job, "empty": "", "full": strings.Repeat("x", 1<<20), "large": strings.Repeat("x", 1<<20+1)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(syscall.Mkfifo("pipe", 0o600), os.Symlink("job.yaml", "link"), os.Symlink("loop", "loop")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "job.yaml")
	for _, w := range []want{
		{file, job, ""},
		{"job.yaml", job, ""},
		{"./link", job, ""},
		{"a#b?c.yaml", job, ""},
		{"file://" + file, job, ""},
		{"local://" + file, job, ""},
		{"agent://" + file, job, ""},
		{"FILE://localhost" + file, job, ""},
		{"agent:job.yaml", job, ""},
		{"empty", "", ""},
		{"full", strings.Repeat("x", 1<<20), ""},
		{"large", "", "is larger than 1048576 bytes; make it smaller"},
		{file + ".no", "", "no such file or directory; check the path"},
		{"", "", "no such file or directory"},
		{"agent://etc/no.yaml", "", "no such file or directory: '/no.yaml'; check"},
		{"file://job.yaml", "", "names a host, but no file; write file:///PATH"},
		{"file://", "", "no such file or directory"},
		{dir, "", "is a directory, not a regular file"},
		{"pipe", "", "is a pipe, not a regular file"},
		{"/dev/zero", "", "is a device, not a regular file"},
		{"loop", "", "too many levels of symbolic links"},
		{"a\x00b", "", "invalid argument"},
		{"ftp://me:s3cret@host/job.yaml", "", "unsupported scheme ftp:; use a path"},
		{"C:\\job.yaml", "", "unsupported scheme c:"},
	} {
		w.check(t, template.New(template.Options{Sources: template.AnySource()}))
	}
	if _, err := template.New(template.Options{Sources: template.AnySource()}).Read(t.Context(), "no.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
}

// pages are what the double of a web server answers.
func pages(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Cookie")+r.Header.Get("Authorization") != "" && !strings.HasPrefix(r.URL.Path, "/mine") {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	switch r.URL.Path {
	case "/job.yaml":
		_, _ = w.Write([]byte(job))
	case "/mine":
		if user, password, _ := r.BasicAuth(); user == "me" && password == "s3cret" {
			_, _ = w.Write([]byte(job))
		}
	case "/again":
		http.Redirect(w, r, "/job.yaml", http.StatusFound)
	case "/loop":
		http.Redirect(w, r, "/loop?sig=s3cret", http.StatusFound)
	case "/away":
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	case "/down":
		http.Redirect(w, r, "http://127.0.0.1:1/job.yaml", http.StatusFound)
	case "/large":
		_, _ = w.Write([]byte(strings.Repeat("x", 1<<20+1)))
	case "/login":
		_, _ = w.Write([]byte("\n<!DOCTYPE html><title>Sign in</title>"))
	case "/slow":
		<-r.Context().Done()
	case "/broken":
		panic(http.ErrAbortHandler)
	case "/busy":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "/secret":
		w.WriteHeader(http.StatusForbidden)
	default:
		http.NotFound(w, r)
	}
}

func TestReadHTTP(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(pages))
	t.Cleanup(server.Close)
	l := template.New(template.Options{Sources: template.AnySource(), Base: server.Client().Transport})
	slow := template.New(template.Options{Sources: template.AnySource(), Timeout: 300 * time.Millisecond, Base: server.Client().Transport})
	host := strings.TrimPrefix(server.URL, "http://")
	for _, w := range []want{
		{server.URL + "/job.yaml", job, ""},
		{"HTTP://" + host + "/job.yaml?sig=s3cret#x", job, ""},
		{"http://me:s3cret@" + host + "/mine", job, ""},
		{server.URL + "/again", job, ""},
		{server.URL + "/loop", "", "is redirected more than 5 times; name the last address"},
		{server.URL + "/away", "", "unsupported protocol scheme"},
		{server.URL + "/large", "", "is larger than 1048576 bytes"},
		{server.URL + "/login", "", "is an HTML page, not a template; name the address of the raw text"},
		{server.URL + "/broken?sig=s3cret", "", "EOF"},
		{server.URL + "/busy", "", "the server answers 503 Service Unavailable; try again later"},
		{server.URL + "/secret?sig=s3cret", "", "the server answers 403 Forbidden; let the agent read it"},
		{"http://me:s3cret@" + host + "/mine/no?sig=s3cret#s3cret", "", "the server answers 404 Not Found; check the address"},
		{"http://127.0.0.1:1/job.yaml?sig=s3cret", "", "connection refused"},
		{"http://me:s3cret@[bad", "", "is not a valid URL; correct it"},
		{"http:///job.yaml", "", "names no host"},
	} {
		w.check(t, l)
	}
	want{server.URL + "/slow?sig=s3cret", "", "was not there after 300ms; check that the agent can reach the address"}.check(t, slow)
}

func TestRedirectsStayEncrypted(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(pages))
	t.Cleanup(server.Close)
	l := template.New(template.Options{Sources: template.AnySource(), Base: server.Client().Transport})
	want{server.URL + "/again", job, ""}.check(t, l)
	want{server.URL + "/down", "", "is redirected from https to http"}.check(t, l)
}

func TestProxyIsAsked(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		map[string]http.HandlerFunc{"web.example": pages, "s3.example": bucket, "gs.example": objects("")}[r.URL.Host](w, r)
	}))
	t.Cleanup(proxy.Close)
	// The process reads its proxies once, so a process of its own must be asked.
	if os.Getenv("TEMPLATE_TEST_PROXY") == "" {
		child(t, "TestProxyIsAsked", "HTTP_PROXY="+proxy.URL, "TEMPLATE_TEST_PROXY=1", "STORAGE_EMULATOR_HOST=http://gs.example",
			"AWS_ENDPOINT_URL=http://s3.example", "AWS_ACCESS_KEY_ID=AKID", "AWS_SECRET_ACCESS_KEY=s3cret")
		return
	}
	l := template.New(template.Options{Sources: template.AnySource(), Roots: x509.NewCertPool()})
	defer l.Close()
	for _, path := range []string{"http://web.example/job.yaml", "s3://templates/team a/job.yaml", "gs://templates/team/job a.yaml"} {
		want{path, job, ""}.check(t, l)
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(pages))
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	l := template.New(template.Options{Sources: template.AnySource(), Base: roundTripper(func(r *http.Request) (*http.Response, error) {
		cancel(stopped)
		return server.Client().Transport.RoundTrip(r)
	})})
	if _, err := l.Read(ctx, server.URL+"/slow"); !errors.Is(err, stopped) {
		t.Errorf("Read: %v, want %v", err, stopped)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTemporary(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(pages))
	t.Cleanup(server.Close)
	l := template.New(template.Options{Sources: template.AnySource(), Base: server.Client().Transport})
	slow := template.New(template.Options{Sources: template.AnySource(), Timeout: 200 * time.Millisecond, Base: server.Client().Transport})
	for path, want := range map[string]bool{"/busy": true, "/no": false, "/login": false, "/secret": false} {
		if _, err := l.Read(t.Context(), server.URL+path); err == nil || temporary(err) != want {
			t.Errorf("%s: %v, want temporary %v", path, err, want)
		}
	}
	if _, err := slow.Read(t.Context(), server.URL+"/slow"); !temporary(err) {
		t.Errorf("/slow: %v, want it temporary", err)
	}
}

func temporary(err error) bool {
	e, ok := errors.AsType[*template.Error](err)
	return ok && e.Temporary()
}

func TestShown(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"https://me:pw@host/a?sig=1#x": "https://host/a", "https://host/a@b": "https://host/a@b", "/a#b?c": "/a#b?c",
		"s3://b/k?versionId=1": "s3://b/k", "https://a@b@host/x": "https://host/x", "//me:pw@host/x": "//host/x", "": "",
	} {
		if got := template.Shown(path); got != want {
			t.Errorf("Shown(%q) is %q, want %q", path, got, want)
		}
	}
}
