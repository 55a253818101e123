package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/kube"
	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// The start and doctor name a login that cannot be used, and how to renew its entry;
// what is odd about one that can be tried they tell as a warning.
func TestALoginIsNamedByStartAndDoctor(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for name, c := range map[string]struct {
		server, user, problem, mend string
		usable                      bool
	}{
		"gone":       {server: "https://c.example", user: `auth-provider: {name: gcp, config: {access-token: canary-55}}`, problem: `the auth-provider "gcp" of user "u" (context "x"`, mend: "gcloud container clusters get-credentials"},
		"too old":    {server: "https://c.example", user: `exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: aws-iam-authenticator}`, problem: `the exec plugin "aws-iam-authenticator"`, mend: "aws eks update-kubeconfig"},
		"incomplete": {server: "https://c.example", user: `auth-provider: {name: oidc, config: {id-token: canary-55}}`, problem: "its idp-issuer-url is missing", mend: "write idp-issuer-url"},
		"not sent":   {server: "http://c.example", user: "token: canary-55", problem: `the token of user "u" (context "x"`, mend: "https://", usable: true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config.Agent{Kubeconfig: filepath.Join(t.TempDir(), "config")}
			text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}], clusters: [{name: c, cluster: {server: %q}}], users: [{name: u, user: {%s}}]}`, c.server, c.user)
			if err := os.WriteFile(cfg.Kubeconfig, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			err := app.Connect(t.Context(), cfg, slog.New(slog.NewTextHandler(&log, nil)))
			if _, ok := errors.AsType[*config.Error](err); ok == c.usable {
				t.Errorf("got %v, want a config.Error: %v", err, !c.usable)
			}
			verdict := app.Broken
			if c.usable {
				verdict = app.Doubtful
			}
			findings := app.LookForCluster(t.Context(), cfg)
			last := findings[len(findings)-1]
			told := strings.ReplaceAll(fmt.Sprint(err, log.String()), `\"`, `"`)
			tells(t, "start", told, c.problem, c.mend)
			tells(t, "doctor", last.Detail+last.Mend, c.problem, c.mend)
			if last.Verdict != verdict {
				t.Errorf("got %+v, want %s", last, verdict)
			}
		})
	}
}

func tells(t *testing.T, place, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) || strings.Contains(text, "canary") {
			t.Errorf("%s tells %s\nwant %q, and no secret", place, text, w)
		}
	}
}

// What a kubeconfig holds of a login is shown by no error, whoever quotes it.
func TestSecretsOfALoginAreHidden(t *testing.T) {
	t.Parallel()
	secrets := secret.NewSet()
	provider := map[string]string{"id-token": "canary-1", "refresh-token": "canary-2", "client-secret": "canary-3", "access-token": "canary-4", "client-id": "shown"}
	app.ConcealCluster(&kube.Config{REST: &rest.Config{
		Host: "https://u:canary-5@c.example", BearerToken: "canary-6", Password: "canary-7", AuthProvider: &api.AuthProviderConfig{Name: "oidc", Config: provider},
	}}, secrets)
	text := secrets.Line("canary-1 canary-2 canary-3 canary-4 canary-5 canary-6 canary-7 shown", 1000)
	if strings.Contains(text, "canary") || !strings.HasSuffix(text, "shown") {
		t.Errorf("got %q", text)
	}
}
