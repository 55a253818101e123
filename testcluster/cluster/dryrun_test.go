package cluster_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/testcluster/cluster"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func example(nodes cluster.Nodes) cluster.Layout {
	l := cluster.Layout{
		Name:  "example",
		Dir:   "/cache/clusters/example",
		Bin:   "/cache/bin/kubernetes",
		Index: 3,
		Ports: cluster.Ports{
			APIServer: 6443, Etcd: 2379, EtcdPeer: 2380, ControllerManager: 10257, Scheduler: 10259,
			Kubelet: 10250, KubeletHealth: 10248, Kwok: 10247,
		},
		Nodes: nodes,
	}
	if nodes == cluster.Real {
		l.Audit = true
		l.CNI, l.ResolvConf, l.PauseTar = "/usr/lib/cni", "/etc/resolv.conf", "/cache/images/pause.tar"
		l.NameServers = []string{"192.0.2.1"}
		l.Cgroups = []string{"/sys/fs/cgroup"}
	}
	return l
}

func TestDryRunPrintsWhatUpDoes(t *testing.T) {
	t.Parallel()
	for _, nodes := range []cluster.Nodes{cluster.Real, cluster.Simulated, cluster.None} {
		t.Run(string(nodes), func(t *testing.T) {
			t.Parallel()
			var got bytes.Buffer
			if err := cluster.DryRun(&got, example(nodes)); err != nil {
				t.Fatal(err)
			}
			golden(t, string(nodes)+".golden", got.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("run with -update if this is meant (-want +got):\n%s", diff)
	}
}
