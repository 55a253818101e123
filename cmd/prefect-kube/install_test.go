package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/app"
)

// TestInstall: stdout holds the YAML and nothing else, and what is wrong is exit
// code 2 and one line that names the flag.
func TestInstall(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"agent install kubernetes --rbac -b server -f -p x", exitClean, ""},
		{"agent kubernetes install -k K -n flows -l a -e A=b=c", exitClean, ""},
		{"agent kubernetes install --reference 0.11.0", exitClean, ""},
		{"agent install", exitUsage, "NAME"},
		{"agent install local", exitUsage, "kubernetes"},
		{"agent install kubernetes hunter2", exitUsage, "unexpected extra argument"},
		{"agent install hunter2", exitUsage, "use kubernetes"},
		{"agent install kubernetes --name x", exitUsage, "--name"},
		{"agent kubernetes install --resource-manager -t hunter2", exitClean, ""},
		{"agent kubernetes install -t hunter2 -k hunter2", exitUsage, "--key, --token"},
		{"agent kubernetes install -e hunter2", exitUsage, "--env"},
		{"agent kubernetes install --cpu-limit 1core", exitUsage, "--cpu-limit"},
		{"agent kubernetes install -n My_Flows", exitUsage, "--namespace"},
		{"agent kubernetes install --reference 2.0.0", exitUsage, "--reference"},
		{"agent kubernetes install --keep everything", exitUsage, "--keep"},
	} {
		var out, errors bytes.Buffer
		code := run(t.Context(), strings.Fields("prefect-kube "+c.args), nil, streams{out: &out, err: &errors}, commands{install: app.Install})
		if code != c.code || !strings.Contains(errors.String(), c.says) || strings.Contains(errors.String(), "hunter2") {
			t.Errorf("%s: got exit code %d and %q, want %d and %q", c.args, code, errors.String(), c.code, c.says)
		}
		if got := strings.HasPrefix(out.String(), "---\n"); got != (code == exitClean) || code != exitClean && out.Len() > 0 {
			t.Errorf("%s: stdout is\n%s", c.args, out.String())
		}
	}
}
