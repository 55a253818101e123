package template

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// DefaultSources are all kinds of sources, without the addresses that lead back to
// the machine or to its neighbours on the link.
const DefaultSources = "file,http,https,s3,gs"

// Sources say where flow runs may let the agent read templates. The zero value is
// what DefaultSources says.
type Sources struct {
	any bool
	// kinds are schemes, except those of more.
	kinds []string
	// beginnings are those of plain paths and of addresses.
	beginnings []string
	set        bool
}

// AnySource allows everything.
func AnySource() Sources { return Sources{any: true, set: true} }

// ParseSources reads any, none, or a list of file, http, https, s3, gs, and of
// beginnings such as /etc/templates/ or https://templates.example/jobs/. All that
// is wrong is in the error, one line each.
func ParseSources(list []string) (Sources, error) {
	s := Sources{set: true}
	var problems []error
	for _, word := range list {
		switch scheme := parse(word).scheme; {
		case word == "any" || word == "none":
			if len(list) > 1 {
				problems = append(problems, fmt.Errorf("%q stands alone; remove it, or the others", word))
			}
			s.any = word == "any"
		case slices.Contains([]string{"file", "http", "https", "s3", "gs"}, word):
			s.kinds = append(s.kinds, word)
		case strings.HasPrefix(word, "/") || slices.Contains([]string{"http", "https", "s3", "gs"}, scheme) && parse(word).host != "":
			s.beginnings = append(s.beginnings, beginning(word))
		default:
			problems = append(problems, errors.New("names no source; use any, none, file, http, https, s3, gs, or a beginning such as /etc/templates/ or https://templates.example/"))
		}
	}
	return s, errors.Join(problems...)
}

// beginning ends with a slash, so that https://a.example does not begin
// https://a.example.evil.
func beginning(word string) string {
	if strings.HasSuffix(word, "/") {
		return word
	}
	return word + "/"
}

// decision is what becomes of a path or address.
type decision uint8

const (
	refused decision = iota
	// guarded may lead anywhere but back to the machine or to the link.
	guarded
	// allowed was named by the operator.
	allowed
)

// of decides about a path as it was written in a run config.
func (s Sources) of(path string) decision {
	switch where := parse(path); where.scheme {
	case "", "file", "local", "agent":
		return s.file(where.path)
	case "gs", "gcs":
		return s.object("gs", where)
	case "s3":
		return s.object("s3", where)
	}
	u, err := url.Parse(path)
	if err != nil {
		return guarded // said where the address is used
	}
	return s.address(u)
}

func (s Sources) file(name string) decision {
	name = path.Clean(name)
	return s.either("file", slices.ContainsFunc(s.beginnings, func(b string) bool { return strings.HasPrefix(name+"/", b) }))
}

func (s Sources) object(kind string, where location) decision {
	name := kind + "://" + where.host + "/" + where.key()
	if s.either(kind, slices.ContainsFunc(s.beginnings, func(b string) bool { return strings.HasPrefix(name, b) })) == refused {
		return refused
	}
	return allowed // its servers are those of the operator's environment
}

// address decides about one address, each one that a redirect leads to too.
func (s Sources) address(u *url.URL) decision {
	name := strings.ToLower(u.Scheme) + "://" + strings.ToLower(u.Host) + path.Clean("/"+u.Path)
	return s.either(strings.ToLower(u.Scheme), slices.ContainsFunc(s.beginnings, func(b string) bool {
		return strings.HasPrefix(name+"/", b)
	}))
}

func (s Sources) either(kind string, named bool) decision {
	switch {
	case s.any || named:
		return allowed
	case !s.set || slices.Contains(s.kinds, kind):
		return guarded
	}
	return refused
}

// metadata are addresses at which clouds answer machines with credentials, as far
// as they are not link-local.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd20:ce::254"), // AWS, Google
	netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("192.0.0.192"), // Alibaba, Azure, Oracle
}

// near reports whether an address leads to the machine itself, to its neighbours on
// the link, or to what a cloud tells the machine alone. An IPv4 address inside an
// IPv6 address counts as itself.
func near(a netip.Addr) bool {
	a = inner4(a.Unmap().WithZone(""))
	return a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast() || slices.Contains(metadata, a) ||
		a.Is4() && a.As4()[0] == 0 // this network: Linux takes it for the machine
}

// inner4 is the IPv4 address of IPv4-compatible addresses, NAT64 and 6to4.
func inner4(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return a
	}
	raw := a.As16()
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(raw[i : i+4])) }
	switch {
	case netip.MustParsePrefix("::/96").Contains(a) && a != netip.IPv6Loopback(), netip.MustParsePrefix("64:ff9b::/96").Contains(a):
		return at(12)
	case netip.MustParsePrefix("2002::/16").Contains(a):
		return at(2)
	}
	return a
}

// literal is the address that a host is, in each way that inet_aton takes: as one
// number to four, decimal, octal or hexadecimal.
func literal(host string) (netip.Addr, bool) {
	host = strings.TrimSuffix(host, ".")
	if a, err := netip.ParseAddr(host); err == nil {
		return a, true
	}
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var value uint64
	for i, part := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		n, err := strconv.ParseUint(part, 0, bits)
		if err != nil || strings.Contains(part, "_") {
			return netip.Addr{}, false
		}
		value = value<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}
