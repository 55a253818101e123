package prefect1_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// Which credentials an agent can have on Cloud: the code of 0.11.0 wants a token with
// RUNNER scope, that of 1.4.1 anything with a tenant, given or its own.
func TestCredentialsOnCloud(t *testing.T) {
	t.Parallel()
	scope := func(text string) string { return `{"data":{"auth_info":{"api_token_scope":` + text + `}}}` }
	tenant := func(text string) string { return `{"data":{"auth_info":{"tenant_id":` + text + `}}}` }
	for name, c := range map[string]struct{ version, tenant, answer, want, err string }{
		"agent's token":       {version: prefect1.Version0, answer: scope(`"RUNNER"`)},
		"user's token":        {version: prefect1.Version0, answer: scope(`"USER"`), err: `the token has the scope "USER": an agent needs a token with RUNNER scope; create one with`},
		"key":                 {version: prefect1.Version1, answer: tenant(`"t"`), want: "t"},
		"token as key":        {version: prefect1.Version1, answer: tenant(`null`), err: "an API token was used as an API key"},
		"token with a tenant": {version: prefect1.Version1, tenant: "mine", answer: refused, want: "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := prefect1.New(prefect1.Options{
				API: "http://p.test", CoreVersion: c.version, Cloud: true, TenantID: c.tenant, Logger: slog.New(slog.DiscardHandler),
				HTTP: &http.Client{Transport: &server{answers: map[string][]string{
					"auth_info": {c.answer}, "register_agent": {`{"data":{"register_agent":{"id":"a"}}}`}, "hello": {`{"data":{"hello":"hi"}}`},
				}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			err = client.Connect(t.Context(), prefect1.Registration{Name: "n"})
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, want %q in it", err, c.err)
			}
			if got := client.TenantID(); got != c.want {
				t.Errorf("got tenant %q, want %q", got, c.want)
			}
		})
	}
}
