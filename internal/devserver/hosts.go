package devserver

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// hosts are the names and addresses that requests may be made to. A web page can
// give its own name the address of this machine (DNS rebinding): its requests
// are of one origin for the browser, and only their Host tells whose they are.
type hosts struct {
	known map[string]bool
	// every is set when the server listens at all addresses of the machine. Then the
	// address that a connection was made to is known too: an address cannot be
	// rebound.
	every bool
}

func newHosts(listen string, allowed []string) hosts {
	h := hosts{known: map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true}}
	own, _, err := net.SplitHostPort(listen)
	if err == nil {
		allowed = append([]string{own}, allowed...)
	}
	addr, err := netip.ParseAddr(own)
	h.every = own == "" || (err == nil && addr.IsUnspecified())
	for _, name := range allowed {
		if name = hostName(name); name != "" {
			h.known[name] = true
		}
	}
	return h
}

// only lets requests to known hosts through.
func (h hosts) only(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostOf(r.Host)
		if !h.known[host] && !h.own(r, host) {
			refuse(w, http.StatusMisdirectedRequest, fmt.Sprintf(
				"Host %.100q is not one that this development backend answers for. If it is yours, start the backend with --allow-host and that name.", r.Host))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (h hosts) own(r *http.Request, host string) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return h.every && ok && host == hostName(local.AddrPort().Addr().String())
}

// hostOf is the host of a Host header in the form of hostName, empty if the
// header is none.
func hostOf(header string) string {
	host := header
	if name, port, err := net.SplitHostPort(header); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil && port != "" {
			return ""
		}
		host = name
	}
	if inside, ok := strings.CutPrefix(header, "["); ok && !strings.Contains(strings.SplitN(inside, "]", 2)[0], ":") {
		return "" // brackets are for IPv6 addresses
	}
	return hostName(host)
}

// hostName gives the spellings of a name or address one form: without brackets,
// zone and final dot, in lower case.
func hostName(name string) string {
	if inside, ok := strings.CutPrefix(name, "["); ok {
		name = strings.TrimSuffix(inside, "]")
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if addr, err := netip.ParseAddr(name); err == nil {
		return addr.Unmap().WithZone("").String()
	}
	return name
}
