package jobspec

import (
	"net/netip"
	"net/url"
	"strings"
)

// Loopback reports whether an address of an API is one of the machine that asks.
// In a Pod that is the Pod itself.
func Loopback(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.Unmap().IsLoopback() || ip.IsUnspecified())
}

// What is wrong with a loopback address in a Job.
const (
	loopbackText = "is a loopback address, which in a Pod is the Pod itself: the flow run reaches no Prefect API"
	loopbackMend = "give an address that Pods reach"
)

// warnLoopback looks at the address that the flow run will use: the last of its
// name, as Kubernetes does.
func (h *hardening) warnLoopback() {
	env, _ := h.container["env"].([]any)
	address := ""
	for _, item := range env {
		if variable, ok := item.(Tree); ok && variable["name"] == envAPI {
			address, _ = variable["value"].(string)
		}
	}
	if Loopback(address) && h.pod["hostNetwork"] != true {
		h.warnings.put(Warning{Place: envAPI, Text: loopbackText, Mend: loopbackMend, OfAgent: address == h.settings.API})
	}
}
