package devserver_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/devserver"
)

// ask sends a good request with the given Host and headers.
func ask(t *testing.T, s *devserver.Server, host string, to net.Addr, headers ...string) int {
	t.Helper()
	ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, to)
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/graphql", strings.NewReader(`{"query": "{ hello }"}`))
	req.Host = host
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, req)
	return rec.Code
}

func TestOnlyKnownHostsAreAnswered(t *testing.T) {
	t.Parallel()
	const everywhere = "localhost localhost:4200 localhost:80 LocalHost: localhost. localhost.:4200 127.0.0.1 127.0.0.1:9 [::1] [::1]:4200 [0:0::1]:1 [::ffff:127.0.0.1]:80"
	for listen, c := range map[string]struct{ good, bad string }{
		"127.0.0.1:0": {
			"", " evil.example evil.example:4200 localhost.evil.example localhost:4200@evil.example localhost:x localhost:70000 localhost:1:2 localhost.. [localhost]:80 " +
				"127.0.0.2 127.1 2130706433 0.0.0.0 10.1.2.3 ::1:4200 [::2] [fe80::1] prefect.local.evil.example",
		},
		"127.0.0.3:0":       {"127.0.0.3:4200", "127.0.0.2"},
		"0.0.0.0:0":         {"0.0.0.0:4200 10.1.2.3:4200", "10.1.2.4:4200 evil.example:4200"},
		":0":                {"10.1.2.3 [::ffff:10.1.2.3]:1", "10.1.2.4 evil.example "},
		"[::ffff:7f00:1]:0": {"", "10.1.2.3"},
		"localhost:0":       {"", "10.1.2.3"},
	} {
		s := newServer(t, devserver.Options{AllowHosts: []string{"Prefect.Local.", "[2001:DB8::1]"}, Listen: listen})
		to := &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 4200}
		for host := range strings.FieldsSeq(everywhere + " prefect.local PREFECT.local.:80 [2001:db8::1]:4200 " + c.good) {
			if status := ask(t, s, host, to); status != http.StatusOK {
				t.Errorf("listening on %s: Host %q: status %d", listen, host, status)
			}
		}
		for host := range strings.SplitSeq(c.bad, " ") {
			if status := ask(t, s, host, to); status != http.StatusMisdirectedRequest {
				t.Errorf("listening on %s: Host %q: status %d, want 421", listen, host, status)
			}
		}
	}
}

func TestOtherOriginsAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t, devserver.Options{})
	for name, c := range map[string]struct {
		headers []string
		want    int
	}{
		"own page":            {[]string{"Origin", "http://localhost:4200", "Sec-Fetch-Site", "same-origin"}, 200},
		"own page, old":       {[]string{"Origin", "http://localhost:4200"}, 200},
		"other site":          {[]string{"Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		"other port":          {[]string{"Origin", "http://localhost:3000", "Sec-Fetch-Site", "same-site"}, 403},
		"other site, old":     {[]string{"Origin", "http://evil.example:4200"}, 403},
		"no origin of a page": {[]string{"Origin", "null"}, 403},
	} {
		if status := ask(t, s, "localhost:4200", nil, c.headers...); status != c.want {
			t.Errorf("%s: status %d, want %d", name, status, c.want)
		}
	}
}
