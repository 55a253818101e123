package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/app"
)

// The secrets of TestNoSecretLeavesTheProgram: each kind of place has its own.
const (
	keySecret = "CANARYAPIKEY55"
	urlUser   = "CANARYUSER66"
	urlSecret = "CANARYPW77"
	kubeToken = "CANARYKUBE88"
)

// chatty repeats what it was sent, in the words of Kubernetes and of Prefect, and ends
// in the middle or leads elsewhere where a path asks for that.
func chatty(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	text := fmt.Sprintf("%s %s %v %s", r.Method, r.URL, r.Header, body)
	var answer any = map[string]any{"errors": []any{map[string]any{"message": text}}}
	code := http.StatusBadRequest
	switch {
	case r.Header.Get("Proxy-Authorization") != "":
		code, answer = http.StatusProxyAuthRequired, text
	case strings.HasPrefix(r.URL.Path, "/half"):
		w.Header().Set("Content-Length", "100000")
	case strings.HasPrefix(r.URL.Path, "/moved"):
		w.Header().Set("Location", "http://"+urlUser+":"+urlSecret+"@elsewhere.example/?key="+keySecret)
		code = http.StatusFound
	case strings.HasPrefix(r.URL.Path, "/api") || r.URL.Path == "/version":
		code = http.StatusForbidden
		answer = map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": code, "message": text}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer)
}

// with puts user information into an address.
func with(info, address string) string { return strings.Replace(address, "://", "://"+info+"@", 1) }

func TestNoSecretLeavesTheProgram(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(chatty))
	t.Cleanup(server.Close)
	address, info := server.URL, urlUser+":"+urlSecret
	for name, c := range map[string]struct {
		variables []string
		// user and cluster are lines of the kubeconfig.
		user, cluster string
	}{
		"an answer that is cut off":      {variables: []string{"PREFECT__CLOUD__API=" + with(info, address) + "/half"}},
		"a server that repeats":          {variables: []string{"PREFECT__CLOUD__API=" + with(info, address)}},
		"a redirect with a password":     {variables: []string{"PREFECT__CLOUD__API=" + address + "/moved"}},
		"a token in the place of a name": {variables: []string{"PREFECT__CLOUD__API=" + with(urlUser, address)}},
		"a token in the query":           {variables: []string{"PREFECT__CLOUD__API=" + address + "?apikey=" + urlSecret}},
		"of another address":             {variables: []string{"PREFECT__CLOUD__GRAPHQL=" + with(info, address) + "/half?apikey=" + keySecret}},
		"without a scheme":               {variables: []string{"PREFECT__CLOUD__API=" + info + "@host:4200/x"}},
		"another without a scheme":       {variables: []string{"PREFECT__CLOUD__GRAPHQL=" + info + "@host:4200/x"}},
		"no address at all":              {variables: []string{"PREFECT__CLOUD__API=http://" + urlUser + ":a/" + urlSecret + " x@host:port"}},
		"a proxy that repeats":           {variables: []string{"HTTP_PROXY=" + with(info, address), "PREFECT__CLOUD__API=http://prefect.invalid:4200"}},
		"a proxy that is none":           {variables: []string{"HTTP_PROXY=http://" + urlUser + ":%zz" + urlSecret + "@host"}},
		"a cluster that repeats":         {user: "token: " + kubeToken},
		"a cluster with a password":      {user: "username: " + urlUser + "\n    password: " + urlSecret},
		"a password for the cluster":     {cluster: "server: " + with(info, address)},
		"a proxy of the cluster":         {cluster: "server: http://kubernetes.invalid\n    proxy-url: " + with(info, address)},
		"one that cannot be parsed":      {cluster: "server: " + address + "\n    proxy-url: http://" + urlUser + ":%zz" + urlSecret + "@host"},
		"nor one with a space in it":     {cluster: "server: " + address + "\n    proxy-url: 'http://" + urlUser + ":" + urlSecret + " " + urlSecret + "@127.0.0.1:1'"},
		"nor that":                       {cluster: "server: " + address + "\n    proxy-url: '" + urlUser + ":" + urlSecret + "@host:1:2'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.cluster == "" {
				c.cluster = "server: " + address
			}
			home := t.TempDir()
			kubeconfig := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"+
				"users:\n- name: u\n  user:\n    %s\nclusters:\n- name: c\n  cluster:\n    %s\n", c.user, c.cluster)
			if err := os.WriteFile(filepath.Join(home, "kubeconfig"), []byte(kubeconfig), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(home, "run.json"), []byte(`{"id": "1"}`), 0o600); err != nil {
				t.Fatal(err)
			}
			env := append([]string{
				"PATH=" + os.Getenv("PATH"), "HOME=" + home, "KUBECONFIG=" + filepath.Join(home, "kubeconfig"), "NO_PROXY=none",
				"PREFECT__BACKEND=server", "PREFECT__CLOUD__API=" + address, "PREFECT__CLOUD__API_KEY=" + keySecret,
			}, c.variables...)
			for _, line := range []string{"doctor", "doctor --output json", "render 00000000-0000-0000-0000-000000000001", "render --server " + filepath.Join(home, "run.json")} {
				cmd := exec.CommandContext(t.Context(), "prefect-kube", strings.Fields(line)...)
				cmd.Env = env
				output, _ := cmd.CombinedOutput() // most of them fail
				hides(t, line, string(output))
			}
			hides(t, "agent", atWork(t, env))
		})
	}
}

// What install prints for the operator holds the secrets, in objects of kind Secret.
func TestInstallPrintsSecretsAsSecrets(t *testing.T) {
	t.Parallel()
	for name, api := range map[string]string{
		"name and password": "https://" + urlUser + ":" + urlSecret + "@prefect.example", "name": "https://" + urlUser + "@prefect.example",
		"query": "https://prefect.example/?apikey=" + urlSecret,
	} {
		var out, log bytes.Buffer
		args := []string{"prefect-kube", "agent", "kubernetes", "install", "--rbac", "--key", keySecret, "--api", api}
		code := run(t.Context(), args, []string{"HOME=" + t.TempDir(), "PREFECT__BACKEND=server"}, streams{out: &out, err: &log}, commands{install: app.Install})
		if code != exitClean || !strings.Contains(out.String(), "CANARY") {
			t.Errorf("%s: exit code %d and\n%s%s", name, code, log.String(), out.String())
		}
		hides(t, name, log.String()+"-")
		for document := range strings.SplitSeq(out.String(), "---\n") {
			if !strings.Contains(document, "\nkind: Secret\n") {
				hides(t, name, document+"-")
			}
		}
	}
}

// atWork is what an agent logs and what its page says, once it is at work or has given up.
func atWork(t *testing.T, env []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // for an agent that hangs
	defer cancel()
	cmd := exec.CommandContext(ctx, "prefect-kube", "agent", "kubernetes", "start", "--agent-address", "http://127.0.0.1:0")
	cmd.Env = env
	r, w := pipe(t)
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	var shown bytes.Buffer
	lines, served := bufio.NewReader(io.TeeReader(r, &shown)), ""
	for {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var line struct{ Level, Msg, Address string }
		_ = json.Unmarshal(text, &line) // a usage error is none
		if line.Msg == "agent address served" {
			served = line.Address
		}
		if line.Level == "WARN" && served != "" {
			shown.Write(readyz(t, "http://"+served+"/readyz"))
			served = ""
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		}
	}
	_ = cmd.Wait() // it may have given up
	return shown.String()
}

func readyz(t *testing.T, address string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%s answers %d, %v", address, resp.StatusCode, err)
	}
	return body
}

func hides(t *testing.T, of, text string) {
	t.Helper()
	if text == "" {
		t.Errorf("%s says nothing", of)
	}
	for _, hidden := range []string{"CANARY", base64.StdEncoding.EncodeToString([]byte(urlUser + ":" + urlSecret)), base64.StdEncoding.EncodeToString([]byte(urlUser))[:12]} {
		if strings.Contains(text, hidden) {
			t.Errorf("%s shows %s:\n%s", of, hidden, text)
		}
	}
}
