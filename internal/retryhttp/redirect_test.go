package retryhttp_test

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/badserver"
	"github.com/prefect-kube/prefect-kube/internal/retryhttp"
)

// Nothing goes to where a redirect leads, and the error names it without secrets.
func TestNoRedirectIsFollowed(t *testing.T) {
	t.Parallel()
	const from = "https://p.test:4200/graphql"
	for location, to := range map[string]string{
		"http://p.test:4200/graphql":              "http://p.test:4200/graphql",
		"https://p.test/graphql":                  "https://p.test/graphql",
		"https://q.test:4200/login":               "https://q.test:4200/login",
		"https://p.test:4200/graphql/":            "https://p.test:4200/graphql/",
		"/other":                                  "https://p.test:4200/other",
		"//q.test/x":                              "https://q.test/x",
		"http://u:hunter2@q.test/x?k=hunter3#frg": "http://q.test/x",
		"https://q.test/hunter22":                 "https://q.test/[redacted]",
		"https://q.test/%1b[2J":                   "https://q.test/%1B%5B2J",
		"https://q.test/%zz":                      "",
		"http://":                                 "",
		"":                                        "",
	} {
		for _, code := range []int{301, 302, 303, 307, 308} {
			server := badserver.New(t, badserver.Redirect(code, location))
			client := &http.Client{Transport: retryhttp.NoRedirects(server.Transport(t))}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, from, strings.NewReader("query"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer hunter22")
			resp, err := client.Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			redirect, ok := errors.AsType[*retryhttp.RedirectError](err)
			if !ok || redirect.Code != code || redirect.To != to || redirect.Temporary() || strings.Contains(err.Error(), "hunter") {
				t.Errorf("%d to %q: got %v, want %q in it", code, location, err, to)
			}
			if !strings.Contains(err.Error(), strconv.Itoa(code)) || len(server.Requests()) != 1 {
				t.Errorf("%d to %q: got %v and the requests %+v, want one", code, location, err, server.Requests())
			}
		}
	}
}
