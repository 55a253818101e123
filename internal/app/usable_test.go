package app_test

import (
	"context"
	"encoding/pem"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/config"
)

func resolve(t *testing.T, core string, flags map[string][]string, env ...string) config.Agent {
	t.Helper()
	cfg, err := config.ResolveAgent(core, config.Sources{Env: append([]string{"PREFECT__BACKEND=server"}, env...), HomeDir: t.TempDir(), Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// What cannot be used is a configuration error before anything is connected to.
func TestStartRefusesWhatCannotBeUsed(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	for name, c := range map[string]struct {
		flags map[string][]string
		env   string
		want  []string
	}{
		"keep":             {flags: map[string][]string{"keep": {"storrage,cpu-limit"}}, want: []string{`--keep: "storrage"`, "did you mean storage?"}},
		"keep, none":       {flags: map[string][]string{"keep": {"everything of it"}}, want: []string{"--keep", "use storage, "}},
		"keep, fixed":      {flags: map[string][]string{"keep": {"name"}}, want: []string{`--keep: "name" cannot be kept`}},
		"tenant":           {flags: map[string][]string{"tenant-id": {"ten"}}, want: []string{"--tenant-id, PREFECT__CLOUD__TENANT_ID: is not the id"}},
		"template":         {flags: map[string][]string{"job-template": {"file://" + missing}}, want: []string{"--job-template", missing}},
		"template, scheme": {flags: map[string][]string{"job-template": {"foo://x"}}, want: []string{"--job-template: ", "unsupported scheme foo:", "s3"}},
		"template, file:":  {flags: map[string][]string{"job-template": {"file:" + missing}}, want: []string{"--job-template: ", missing}},
		"sources":          {flags: map[string][]string{"template-sources": {"ftp, x", "https"}}, want: []string{"--template-sources: names no source; use any"}},
		"sources, alone":   {env: "PREFECT_KUBE_TEMPLATE_SOURCES=none,file", want: []string{`--template-sources: "none" stands alone`}},
		"namespace":        {flags: map[string][]string{"namespace": {"A_B"}}, want: []string{"--namespace, NAMESPACE: is not a name", "such as my-name"}},
		"account":          {flags: map[string][]string{"service-account-name": {"B A"}}, want: []string{"--service-account-name, SERVICE_ACCOUNT_NAME: is not a name"}},
		"image":            {flags: map[string][]string{"default-job-image": {"Bad Image"}}, want: []string{"--default-job-image, PREFECT_KUBE_DEFAULT_JOB_IMAGE: is not the name"}},
		"variable":         {flags: map[string][]string{"env": {"Ä=hunter2"}}, want: []string{"--env, PREFECT__CLOUD__AGENT__ENV_VARS: the name of variable 1 "}},
		"label":            {flags: map[string][]string{"label": {"a", ""}}, want: []string{"--label: a label is empty"}},
		"address":          {flags: map[string][]string{"agent-address": {"here"}}, want: []string{"--agent-address: must specify port", "such as http://:8080"}},
		"several":          {flags: map[string][]string{"namespace": {"A"}}, env: "PREFECT_KUBE_DEFAULT_JOB_IMAGE=A B", want: []string{"--namespace", "\n--default-job-image"}},
		"certificates":     {env: "REQUESTS_CA_BUNDLE=" + missing, want: []string{"REQUESTS_CA_BUNDLE: ", missing}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := resolve(t, config.Core1, c.flags, c.env)
			// The cluster is asked for nothing before all is known to be usable.
			err := app.StartAgentOver(t.Context(), cfg, nil, nil, slog.New(slog.DiscardHandler))
			if _, ok := errors.AsType[*config.Error](err); !ok {
				t.Fatalf("got %v, want a configuration error", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
		})
	}
}

// What Kubernetes takes is not refused, nor what variables of old manifests hold: an
// API that answers nonsense is waited for.
func TestStartTakesWhatKubernetesTakes(t *testing.T) {
	t.Parallel()
	refuse := roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("away") })
	for _, core := range []string{config.Core0, config.Core1} {
		cfg := resolve(t, core, map[string][]string{"max-polls": {"-1"}, "env": {"A.B-c=x", "1="}, "namespace": {"0-a"}, "job-template": {"S3://bucket/key"}},
			"PREFECT__CLOUD__AGENT__LABELS=['', 'é\tx']", "IMAGE_PULL_SECRETS=a.b", "JOB_MEM_REQUEST=1.5Gi", "JOB_CPU_LIMIT=0", "JOB_CPU_REQUEST=1e-1",
			"PREFECT_KUBE_DEFAULT_JOB_IMAGE=registry:5000/a/b:c@sha256:00", "IMAGE_PULL_POLICY=Never", "SERVICE_ACCOUNT_NAME=")
		ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if err := app.StartAgentOver(ctx, cfg, refuse, refuse, slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("%s: got %v", core, err)
		}
		stop()
	}
}

func TestResourceManagerRefusesWhatCannotBeUsed(t *testing.T) {
	t.Parallel()
	cfg, err := config.ResolveResourceManager(config.Sources{Env: []string{"PREFECT__BACKEND=server", "NAMESPACE=A_B"}})
	if err != nil {
		t.Fatal(err)
	}
	err = app.ResourceManagerOver(t.Context(), cfg, nil, nil, slog.New(slog.DiscardHandler))
	if _, ok := errors.AsType[*config.Error](err); !ok || !strings.Contains(err.Error(), "--namespace, NAMESPACE: is not a name") {
		t.Errorf("got %v, want a configuration error", err)
	}
}

// A bundle of certificate authorities takes the place of the system's, for the
// Prefect API and job templates, as in Python's requests.
func TestCertificateAuthorities(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server.StartTLS()
	t.Cleanup(server.Close)
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own := write("hashed/own.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	noise := write("noise", []byte("no certificate"))
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env     []string
		trusted bool
		refused string
	}{
		"system":                {},
		"requests":              {env: []string{"REQUESTS_CA_BUNDLE=" + own, "SSL_CERT_FILE=" + noise}, trusted: true},
		"curl":                  {env: []string{"CURL_CA_BUNDLE=" + own, "SSL_CERT_FILE=" + noise}, trusted: true},
		"openssl":               {env: []string{"SSL_CERT_FILE=" + own, "REQUESTS_CA_BUNDLE="}, trusted: true},
		"directory":             {env: []string{"REQUESTS_CA_BUNDLE=" + filepath.Dir(own)}, trusted: true},
		"requests beats curl":   {env: []string{"REQUESTS_CA_BUNDLE=" + noise, "CURL_CA_BUNDLE=" + own}, refused: "REQUESTS_CA_BUNDLE: no certificate in"},
		"nothing in it":         {env: []string{"CURL_CA_BUNDLE=" + noise}, refused: "CURL_CA_BUNDLE: no certificate in"},
		"nothing in directory":  {env: []string{"SSL_CERT_FILE=" + dir + "/"}, refused: "SSL_CERT_FILE: no certificate in"},
		"not there":             {env: []string{"SSL_CERT_FILE=" + dir + "/none"}, refused: "SSL_CERT_FILE: "},
		"a pipe":                {env: []string{"SSL_CERT_FILE=" + pipe}, refused: "SSL_CERT_FILE: " + pipe + " is a pipe"},
		"a device":              {env: []string{"REQUESTS_CA_BUNDLE=/dev/zero"}, refused: "REQUESTS_CA_BUNDLE: /dev/zero is a device"},
		"requests, unset again": {env: []string{"REQUESTS_CA_BUNDLE="}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkTrust(t, resolve(t, config.Core1, map[string][]string{"template-sources": {server.URL}}, c.env...), server.URL, c.trusted, c.refused)
		})
	}
}

func checkTrust(t *testing.T, cfg config.Agent, url string, trusted bool, refused string) {
	t.Helper()
	transport, err := app.Network(cfg)
	job, errJob := app.JobSettings(cfg)
	if refused != "" {
		for _, err := range []error{err, errJob} {
			if _, ok := errors.AsType[*config.Error](err); !ok || !strings.Contains(err.Error(), refused) {
				t.Errorf("got %v, want %q in it", err, refused)
			}
		}
		return
	}
	if err := errors.Join(err, errJob); err != nil {
		t.Fatal(err)
	}
	defer transport.CloseIdleConnections()
	if err := get(t, transport, url); (err == nil) != trusted {
		t.Errorf("got %v, want trust %v", err, trusted)
	}
	if _, err := job.Template(url); (err == nil) != trusted {
		t.Errorf("job template: got %v, want trust %v", err, trusted)
	}
}

func get(t *testing.T, transport http.RoundTripper, url string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.Body.Close()
}

func TestProxiesOfTheEnvironment(t *testing.T) {
	t.Parallel()
	const api, plain, direct = "https://api.example/graphql", "http://api.example", "https://a.inside.example"
	for _, c := range []struct {
		env  []string
		want map[string]string
	}{
		{[]string{"HTTPS_PROXY=http://secure:8443", "HTTP_PROXY=http://plain:8080", "ALL_PROXY=http://all:1", "NO_PROXY=direct.example,.inside.example"}, map[string]string{api: "http://secure:8443", plain: "http://plain:8080", direct: ""}},
		{[]string{"https_proxy=http://u:p@secure:8443", "all_proxy=socks5://all:1080", "no_proxy=inside.example"}, map[string]string{api: "http://u:p@secure:8443", plain: "socks5://all:1080", direct: ""}},
		{[]string{"ALL_PROXY=all:3128"}, map[string]string{api: "http://all:3128", plain: "http://all:3128", direct: "http://all:3128", "http://127.0.0.1:4200": ""}},
		{nil, map[string]string{api: "", plain: ""}},
	} {
		transport, err := app.Network(resolve(t, config.Core1, nil, c.env...))
		if err != nil {
			t.Fatal(err)
		}
		for url, want := range c.want {
			proxy, err := transport.Proxy(httptest.NewRequest(http.MethodPost, url, http.NoBody))
			got := ""
			if proxy != nil {
				got = proxy.String()
			}
			if err != nil || got != want {
				t.Errorf("%q: %s through %q, %v, want %q", c.env, url, got, err, want)
			}
		}
	}
}

// 0.11.0 sends its requests to cloud.graphql, which follows from cloud.api unless it
// is set by itself.
func TestRequestsGoToCloudGraphQL(t *testing.T) {
	t.Parallel()
	for env, want := range map[string]string{
		"PREFECT__CLOUD__API=http://api.test/":                                              "http://api.test/graphql/alpha",
		"PREFECT__CLOUD__GRAPHQL=http://api.test/graphql/":                                  "http://api.test/graphql",
		"PREFECT__CLOUD__GRAPHQL=${cloud.api}/graphql\nPREFECT__CLOUD__API=http://x.test:1": "http://x.test:1/graphql",
	} {
		asked := make(chan string, 16)
		prefect := roundTripper(func(req *http.Request) (*http.Response, error) {
			select {
			case asked <- req.URL.String():
			default:
			}
			return &http.Response{StatusCode: http.StatusBadRequest, Body: http.NoBody, Header: http.Header{}, Request: req}, nil
		})
		cluster := roundTripper(func(req *http.Request) (*http.Response, error) {
			body := io.NopCloser(strings.NewReader(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default","uid":"u"}}`))
			return &http.Response{StatusCode: http.StatusOK, Body: body, Header: http.Header{"Content-Type": {"application/json"}}, Request: req}, nil
		})
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		done := make(chan error, 1)
		cfg := resolve(t, config.Core0, nil, strings.Split(env, "\n")...)
		go func() { done <- app.StartAgentOver(ctx, cfg, prefect, cluster, slog.New(slog.DiscardHandler)) }()
		select {
		case got := <-asked:
			if got != want {
				t.Errorf("%s: asked %s, want %s", env, got, want)
			}
		case err := <-done:
			t.Fatalf("%s: ended: %v", env, err)
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", env, err)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// Whatever the agent can be configured with must be read by someone.
func TestEveryFieldOfTheConfigurationIsRead(t *testing.T) {
	t.Parallel()
	elsewhere := map[string]string{"LogLevel": "the command line makes the logger of it"}
	for _, c := range []struct {
		kind  reflect.Type
		files []string
		bases []string
	}{
		{reflect.TypeFor[config.Agent](), []string{"app.go", "usable.go", "deploy.go", "exposed.go"}, []string{"cfg", "s.cfg"}},
		{reflect.TypeFor[config.ResourceManager](), []string{"resource_manager.go"}, []string{"m"}},
		{reflect.TypeFor[config.Install](), []string{"install.go"}, []string{"cfg"}},
		{reflect.TypeFor[config.Render](), []string{"render.go"}, []string{"cfg"}},
		{reflect.TypeFor[config.Dev](), []string{"dev.go"}, []string{"cfg"}},
	} {
		read := fieldsRead(t, c.files, c.bases)
		for _, field := range reflect.VisibleFields(c.kind) {
			inherited := len(field.Index) > 1 && field.Name != "Warnings" // of the agent, seen above
			if !field.Anonymous && !inherited && elsewhere[field.Name] == "" && !read[field.Name] {
				t.Errorf("nobody reads %s.%s", c.kind, field.Name)
			}
		}
	}
}

// fieldsRead lists what stands behind the dots of some names in files.
func fieldsRead(t *testing.T, files, bases []string) map[string]bool {
	t.Helper()
	read := map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if selector, ok := n.(*ast.SelectorExpr); ok {
				for _, base := range bases {
					if base == spelled(selector.X) {
						read[selector.Sel.Name] = true
					}
				}
			}
			return true
		})
	}
	return read
}

func spelled(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return spelled(x.X) + "." + x.Sel.Name
	default:
		return ""
	}
}

// render, which may need no connection, refuses what start refuses.
func TestUnreadableCredential(t *testing.T) {
	t.Parallel()
	_, err := app.JobSettings(resolve(t, config.Core1, nil, "PREFECT__CLOUD__API_KEY_FILE=/nowhere/key"))
	if e, ok := errors.AsType[*config.Error](err); !ok || e.Place != "PREFECT__CLOUD__API_KEY_FILE" {
		t.Errorf("got %v, want an error that names the variable", err)
	}
}
