package template_test

import (
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/template"
)

// FuzzShown: whatever follows, the password and the query of a URL are not shown,
// and what is shown stays short.
func FuzzShown(f *testing.F) {
	f.Add("https", "host", "a/b")
	f.Add("s3", "b@c", "k?v#w")
	f.Add("x+y.z", "h#", "@")
	f.Add("gs", "", "//me:@")
	f.Fuzz(func(t *testing.T, scheme, host, rest string) {
		const secret = "hunter2"
		shown := template.Shown(scheme + "://me:" + secret + "@" + host + "/" + rest + "?sig=" + secret)
		other := strings.Contains(scheme+host+rest, secret) || strings.Trim(strings.ToLower(scheme), "abcdefghijklmnopqrstuvwxyz") != "" || scheme == ""
		if len(shown) > 1024 || !other && strings.Contains(shown, secret) {
			t.Errorf("%q is shown", shown)
		}
	})
}
