package config

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/prefect-kube/prefect-kube/internal/secret"
)

// Proxies are the proxies for addresses with http and https, with their passwords. Bypass
// lists the hosts that are asked without one, as NO_PROXY does.
type Proxies struct {
	HTTP, HTTPS secret.Value
	Bypass      string
}

// Func finds the proxy of a request, as http.ProxyFromEnvironment does.
func (p Proxies) Func() func(*http.Request) (*url.URL, error) {
	plain, errPlain := p.HTTP.Reveal()
	safe, errSafe := p.HTTPS.Reveal()
	find := (&httpproxy.Config{HTTPProxy: plain, HTTPSProxy: safe, NoProxy: p.Bypass}).ProxyFunc()
	return func(r *http.Request) (*url.URL, error) {
		if err := cmp.Or(errPlain, errSafe); err != nil {
			return nil, err
		}
		return find(r.URL)
	}
}

// proxiesByScheme takes what ALL_PROXY names where no other variable does, as Python's
// requests (utils.py, select_proxy).
func (s *stack) proxiesByScheme() Proxies {
	of := func(names ...string) string {
		i := slices.IndexFunc(names, func(name string) bool { return s.vars[name] != "" })
		if i < 0 {
			return ""
		}
		return s.vars[names[i]]
	}
	hidden := func(text string) secret.Value {
		if text == "" {
			return secret.Value{}
		}
		return secret.New(text)
	}
	return Proxies{
		HTTP:   hidden(of("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")),
		HTTPS:  hidden(of("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")),
		Bypass: of("NO_PROXY", "no_proxy"),
	}
}

// proxyNames are the variables that name proxies, as Go and Python's requests read them.
func proxyNames() []string {
	return []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"}
}

// proxies checks the variables that name proxies, which net/http passes over
// silently where it cannot read them: the credential would leave without the proxy.
func (s *stack) proxies() (found []secret.Value, problems []error) {
	for _, name := range proxyNames() {
		text := s.vars[name]
		if text == "" {
			continue
		}
		u := parseProxy(text)
		if u == nil {
			problems = append(problems, &Error{
				Place: name, Problem: "is not the address of a proxy",
				Mend: "write one such as http://proxy.example:3128 or http://name:password@proxy.example:3128, with %25 for each % of a password",
			})
			continue
		}
		if u.User != nil {
			found = append(found, userSecrets(u.User)...)
		}
	}
	return found, problems
}

// parseProxy reads an address as golang.org/x/net/http/httpproxy does, where http is
// what a missing scheme stands for. It is nil for what is none.
func parseProxy(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		if strings.Contains(text, "://") {
			return nil
		}
		u, err = url.Parse("http://" + text)
	}
	if err != nil || u.Hostname() == "" || !isPort(u.Port()) || strings.Count(u.Host, ":") > 1 && !strings.HasPrefix(u.Host, "[") {
		return nil
	}
	return u
}

func isPort(text string) bool {
	if text == "" {
		return true
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}
