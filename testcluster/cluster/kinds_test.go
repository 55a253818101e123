package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/testcluster/cluster"
	"github.com/prefect-kube/prefect-kube/testcluster/image"
)

// kind is a running cluster of one kind of node, with what a case needs.
type kind struct {
	s       starter
	cluster *cluster.Cluster
	options cluster.Options
}

func (k kind) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	output, err := k.cluster.Target().Run(t.Context(), "", args...)
	if err != nil {
		t.Fatal(err)
	}
	return string(output)
}

// cases hold for every kind of node.
func cases() map[string]func(*testing.T, kind) {
	return map[string]func(*testing.T, kind){
		"up again finds it running": upAgain,
		"a job completes":           jobCompletes,
		"namespaces":                namespaces,
		"logs":                      logs,
		"audit log":                 auditLog,
		"another kind is refused":   anotherKind,
	}
}

func TestEveryKindOfNode(t *testing.T) {
	for _, nodes := range []cluster.Nodes{cluster.Simulated, cluster.Real} {
		t.Run(string(nodes), func(t *testing.T) {
			need := needPrograms
			if nodes == cluster.Real {
				need = needRealNode
			}
			s := newStarter(t, need(t))
			before := snapshot(t, s.cache)
			s.run(t, "up", "--nodes="+string(nodes), "--audit")
			t.Cleanup(func() { s.run(t, "down") })
			options := cluster.Options{Cache: s.cache}
			c, err := cluster.Open(options)
			if err != nil {
				t.Fatal(err)
			}
			for name, test := range cases() {
				t.Run(name, func(t *testing.T) { test(t, kind{s, c, options}) })
			}
			if during := snapshot(t, s.cache); cmp.Equal(before, during) {
				t.Error("a running cluster leaves no traces that this test could miss later")
			}
			s.run(t, "down")
			compare(t, before, snapshot(t, s.cache))
		})
	}
}

func upAgain(t *testing.T, k kind) {
	if said := k.s.run(t, "up"); !strings.Contains(said, "is running already") {
		t.Errorf("up says: %s", said)
	}
	said := strings.Split(strings.TrimSpace(k.s.run(t, "up")), "\n")
	if got, want := said[len(said)-1], "export KUBECONFIG="+k.cluster.Kubeconfig(); got != want {
		t.Errorf("the last line is %q, want %q", got, want)
	}
}

func jobCompletes(t *testing.T, k kind) {
	tar, err := image.Job().Build(t.Context(), filepath.Join(k.s.cache, "images"))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.cluster.ImportImage(t.Context(), tar); err != nil {
		t.Fatal(err)
	}
	k.kubectl(t, "create", "job", "hello", "--image="+image.Job().Ref)
	k.kubectl(t, "wait", "--for=condition=Complete", "--timeout=60s", "job/hello")
	if k.cluster.Nodes == cluster.Real {
		if got := k.kubectl(t, "logs", "job/hello"); !strings.HasPrefix(got, "flow run") {
			t.Errorf("the Pod's log is %q", got)
		}
	}
	// Left running on purpose: Down has to end it.
	k.kubectl(t, "run", "forever", "--image="+image.Pause().Ref, "--image-pull-policy=Never")
	k.kubectl(t, "wait", "--for=condition=Ready", "--timeout=60s", "pod/forever")
}

func namespaces(t *testing.T, k kind) {
	target := k.cluster.Target()
	if err := target.CreateNamespace(t.Context(), "ours"); err != nil {
		t.Fatal(err)
	}
	if err := target.CreateNamespace(t.Context(), "ours"); err == nil {
		t.Error("a namespace that exists is created once more")
	}
	if err := target.DeleteNamespace(t.Context(), "ours"); err != nil {
		t.Errorf("delete our own: %v", err)
	}
	k.kubectl(t, "create", "namespace", "foreign")
	if err := target.DeleteNamespace(t.Context(), "foreign"); err == nil || !strings.Contains(err.Error(), "not ours") {
		t.Errorf("deleting a foreign namespace: %v", err)
	}
	if got := k.kubectl(t, "get", "namespace", "foreign", "--output=jsonpath={.status.phase}"); got != "Active" {
		t.Errorf("the foreign namespace is %s", got)
	}
}

func logs(t *testing.T, k kind) {
	var all bytes.Buffer
	if err := cluster.Logs(k.options, &all); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		if !strings.Contains(all.String(), fmt.Sprintf("==> %s <==\n", name)) {
			t.Errorf("the log of %s is missing", name)
		}
	}
}

func auditLog(t *testing.T, k kind) {
	k.kubectl(t, "get", "configmaps", "--namespace=kube-public")
	data, err := os.ReadFile(k.cluster.AuditLog())
	if err != nil || !strings.Contains(string(data), "/api/v1/namespaces/kube-public/configmaps") {
		t.Errorf("the request is not in the audit log of %d bytes: %v", len(data), err)
	}
}

func anotherKind(t *testing.T, k kind) {
	other := map[cluster.Nodes]cluster.Nodes{cluster.Real: cluster.Simulated, cluster.Simulated: cluster.Real}[k.cluster.Nodes]
	output, err := k.s.command(context.WithoutCancel(t.Context()), "up", "--nodes="+string(other)).CombinedOutput()
	if err == nil || !strings.Contains(string(output), "take it down first") {
		t.Errorf("%v: %s", err, output)
	}
}
