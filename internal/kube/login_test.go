package kube_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/kube"
)

// entry writes a kubeconfig with one user's entry and makes it the one in use.
func entry(t *testing.T, server, user string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: %v}}], users: [{name: u, user: %s}]}`, server, strings.HasPrefix(server, "https"), user)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	outside(t, file)
	return file
}

func login() (*kube.Config, *kube.Client, error) {
	cfg, err := kube.LoadConfig("", "test")
	if err != nil {
		return nil, nil, err
	}
	client, err := kube.NewClient(cfg, slog.New(slog.DiscardHandler))
	return cfg, client, err
}

// pair is a client certificate that ends at a time, and its key, as entries hold them.
func pair(t *testing.T, end time.Time) (certificate, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	data := func(kind string, der []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return data("CERTIFICATE", der), data("PRIVATE KEY", private)
}

// A login that cannot be tried is told with its entry and how to renew it.
func TestLoginsThatCannotBeTried(t *testing.T) {
	certificate, _ := pair(t, time.Now().Add(time.Hour))
	_, other := pair(t, time.Now().Add(time.Hour))
	provider := func(name string) string {
		return fmt.Sprintf(`{auth-provider: {name: %s, config: {access-token: canary-55, expiry: "2099-01-01T00:00:00Z"}}}`, name)
	}
	plugin := func(version, rest string) string {
		return fmt.Sprintf("{exec: {apiVersion: client.authentication.k8s.io/%s, %s}}", version, rest)
	}
	for name, c := range map[string]struct{ user, problem, mend string }{
		"gcp":               {provider("gcp"), `the auth-provider "gcp"`, "gcloud container clusters get-credentials"},
		"azure":             {provider("azure"), `the auth-provider "azure"`, "kubelogin convert-kubeconfig"},
		"openstack":         {provider("openstack"), `the auth-provider "openstack"`, "client-keystone-auth"},
		"of half an issuer": {provider("oidc"), "its idp-issuer-url is missing; its client-id is missing", "write client-id into"},
		"of nobody":         {provider("corp"), `the auth-provider "corp"`, "exec plugin"},
		"beside a token":    {strings.Replace(provider("gcp"), "{", "{token: t, ", 1), `the auth-provider "gcp"`, "gcloud"},
		"old, aws":          {plugin("v1alpha1", "command: aws, args: [eks, get-token]"), "client.authentication.k8s.io/v1alpha1", "aws eks update-kubeconfig --name CLUSTER, or set apiVersion: client.authentication.k8s.io/v1beta1"},
		"old, another":      {plugin("v1alpha1", "command: sh"), `the exec plugin "sh"`, "set apiVersion: client.authentication.k8s.io/v1beta1"},
		"of the future":     {plugin("v9", "command: sh"), "client.authentication.k8s.io/v9", "v1beta1"},
		"no mode":           {plugin("v1", "command: sh"), "interactiveMode is missing", "set interactiveMode: IfAvailable"},
		"not installed":     {plugin("v1beta1", `command: no-such-plugin, installHint: "get it\nat example.org"`), `"no-such-plugin"`, "install it where the agent runs, or use a service account; the image of the agent has no such program (get it at example.org)"},
		"at no path":        {plugin("v1beta1", "command: ./no/such"), "/no/such", "install it"},
		"asks somebody":     {plugin("v1", "command: sh, interactiveMode: Always"), "standard input is no terminal", "interactiveMode: IfAvailable"},
		"several faults":    {plugin("v1alpha1", "command: none/gke-gcloud-auth-plugin"), "there is no such program", "gcloud container clusters get-credentials CLUSTER, or set apiVersion"},
		"no token file":     {"{tokenFile: none}", "none", "correct tokenFile"},
		"no token in it":    {"{tokenFile: config.empty}", "the file is empty", "put a token there"},
		"no certificate":    {"{client-certificate: none, client-key: none}", "none", "correct client-certificate and client-key"},
		"another's key":     {fmt.Sprintf("{client-certificate-data: %s, client-key-data: %s}", certificate, other), "private key does not match", "correct client-certificate"},
		"no certificate?":   {"{client-certificate-data: bm8=, client-key-data: bm8=}", "failed to find any PEM data", "correct client-certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			file := entry(t, "https://c.example:6443", c.user)
			if err := os.WriteFile(filepath.Join(filepath.Dir(file), "config.empty"), []byte(" \n"), 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, err := login()
			e, ok := errors.AsType[*kube.LoginError](err)
			if !ok {
				t.Fatalf("got %v, want a LoginError", err)
			}
			where := fmt.Sprintf(`of user "u" (context "x", %s) cannot be used: `, file)
			if !strings.Contains(e.Problem, c.problem) || !strings.Contains(e.Problem, where) || !strings.Contains(e.Mend, c.mend) || strings.Contains(e.Problem+e.Mend, "canary") {
				t.Errorf("got\n%s\n%s\nwant %q, %q in it", e.Problem, e.Mend, c.problem, c.mend)
			}
		})
	}
}

// idToken is a token of an identity provider that is good for an hour.
func idToken() string {
	part := func(v any) string { data, _ := json.Marshal(v); return base64.RawURLEncoding.EncodeToString(data) } //nolint:errchkjson // maps of numbers
	return part(map[string]string{"alg": "none"}) + "." + part(map[string]int64{"exp": time.Now().Add(time.Hour).Unix()}) + ".x"
}

// The logins that client-go has show the API server what it wants; what is odd is told.
func TestLoginsThatWork(t *testing.T) {
	cert, key := pair(t, time.Now().Add(time.Hour))
	old, oldKey := pair(t, time.Now().Add(-time.Hour))
	var seen string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = strings.TrimSpace(r.Header.Get("Authorization") + " " + r.Header.Get("Impersonate-User"))
		if len(r.TLS.PeerCertificates) > 0 {
			seen += "certificate"
		}
		_, _ = w.Write([]byte(`{"gitVersion": "v1.33.1"}`))
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()
	plugin := func(version string) string {
		return fmt.Sprintf(`{exec: {apiVersion: client.authentication.k8s.io/%s, interactiveMode: Never, command: sh, args: [-c, 'echo "{\"apiVersion\": \"client.authentication.k8s.io/%s\", \"kind\": \"ExecCredential\", \"status\": {\"token\": \"of-%s\"}}"']}}`, version, version, version)
	}
	token := idToken()
	for name, c := range map[string]struct{ user, seen, caution string }{
		"v1beta1":     {plugin("v1beta1"), "Bearer of-v1beta1", ""},
		"v1":          {plugin("v1"), "Bearer of-v1", ""},
		"oidc":        {fmt.Sprintf("{auth-provider: {name: oidc, config: {idp-issuer-url: https://i.example, client-id: c, id-token: %s}}}", token), "Bearer " + token, ""},
		"a token":     {"{token: t}", "Bearer t", ""},
		"a password":  {"{username: a, password: b}", "Basic YTpi", ""},
		"another":     {"{token: t, as: she}", "Bearer t she", ""},
		"certificate": {fmt.Sprintf("{client-certificate-data: %s, client-key-data: %s}", cert, key), "certificate", ""},
		"an old one":  {fmt.Sprintf("{client-certificate-data: %s, client-key-data: %s}", old, oldKey), "certificate", "the client certificate of user"},
		"nothing":     {"{}", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			entry(t, server.URL, c.user)
			cfg, client, err := login()
			if err != nil {
				t.Fatal(err)
			}
			cautions := fmt.Sprint(cfg.Cautions())
			if version, err := client.Version(t.Context()); err != nil || version != "v1.33.1" || seen != c.seen || (len(cfg.Cautions()) > 0) != (c.caution != "") || !strings.Contains(cautions, c.caution) {
				t.Errorf("got %v, sent %q, cautions %s; want %q, %q", err, seen, cautions, c.seen, c.caution)
			}
		})
	}
	server.Close()
	entry(t, server.URL, plugin("v1"))
	if _, client, err := login(); err != nil {
		t.Error(err)
	} else if _, err := client.Version(t.Context()); err == nil || strings.Contains(err.Error(), "exec plugin") {
		t.Errorf("got %v, want that the server is away, and no word of the login", err)
	}
	entry(t, "http://c.example:8080", "{token: t}")
	if cfg, _, err := login(); err != nil || !strings.Contains(fmt.Sprint(cfg.Cautions()), "is not sent") {
		t.Errorf("got %v, want that the token is not sent without TLS", err)
	}
}

// What the API server or the login itself refuses has a mend that fits the login.
func TestLoginsThatAreRefused(t *testing.T) {
	old, oldKey := pair(t, time.Now().Add(-time.Hour))
	status, message := http.StatusUnauthorized, "Unauthorized"
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": %q, "message": %q, "code": %d}`, strings.ReplaceAll(http.StatusText(status), " ", ""), message, status)
	}))
	defer server.Close()
	plugin := func(script string) string {
		return fmt.Sprintf(`{exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: sh, args: [-c, '%s']}}`, script)
	}
	for name, c := range map[string]struct{ user, problem, mend string }{
		"a token":      {"{token: canary-55}", "401", `does not take the token of user "u" (context "x", `},
		"a password":   {"{username: a, password: canary-55}", "401", "Kubernetes takes neither since 1.19"},
		"an old one":   {fmt.Sprintf("{client-certificate-data: %s, client-key-data: %s}", old, oldKey), "401", "does not take the client certificate of user"},
		"nothing":      {"{}", "401", `There is no credential in the entry of user "u"`},
		"oidc":         {"{auth-provider: {name: oidc, config: {idp-issuer-url: https://i.example, client-id: d}}}", `the auth-provider "oidc" of user "u"`, "id-token"},
		"it fails":     {plugin("exit 3"), "failed with exit code 3", "run it by hand to see why: sh …; or renew the entry"},
		"says nothing": {plugin("true"), `the exec plugin "sh" of user "u"`, "run it by hand"},
		"another version": {
			plugin(`echo "{\"apiVersion\": \"client.authentication.k8s.io/v1alpha1\", \"kind\": \"ExecCredential\", \"status\": {\"token\": \"t\"}}"`),
			"client.authentication.k8s.io/v1alpha1", "install a newer release of it, which answers in v1beta1",
		},
	} {
		t.Run(name, func(t *testing.T) { refused(t, server.URL, c.user, c.problem, c.mend) })
	}
	status, message = http.StatusForbidden, `users "she" is forbidden: User "me" cannot impersonate resource "users" in API group "" at the cluster scope`
	refused(t, server.URL, "{token: t, as: she}", "403", `Grant the verb impersonate on "she"`)
}

func refused(t *testing.T, server, user, problem, mend string) {
	t.Helper()
	entry(t, server, user)
	_, client, err := login()
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Jobs(t.Context(), "flows", "")
	e, ok := errors.AsType[*kube.Error](err)
	if !ok || !strings.Contains(e.Error(), problem) || !strings.Contains(e.Mend, mend) || strings.Contains(e.Error(), "canary") {
		t.Errorf("got %v, want %q, and the mend %q", err, problem, mend)
	}
}
