package cluster

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFreeIndexAvoidsClustersAndLinks(t *testing.T) {
	t.Parallel()
	link := func(cidr string) net.Addr {
		address, network, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		return &net.IPNet{IP: address, Mask: network.Mask}
	}
	tests := map[string]struct {
		others    []Layout
		addresses []net.Addr
		want      int
	}{
		"first":                {nil, nil, 0},
		"another cluster":      {[]Layout{{Index: 0}, {Index: 2}}, nil, 1},
		"a link":               {[]Layout{{Index: 0}}, []net.Addr{link("10.88.1.7/24")}, 2},
		"podman's own network": {nil, []net.Addr{link("10.88.0.1/16")}, 256},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := freeIndex(test.others, test.addresses)
			if err != nil || got != test.want {
				t.Errorf("freeIndex = %d, %v, want %d", got, err, test.want)
			}
		})
	}
	if _, err := freeIndex(nil, []net.Addr{link("10.0.0.1/8")}); err == nil {
		t.Error("freeIndex finds room where there is none")
	}
}

func TestClustersDifferInEveryName(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for index := range maxIndex + 1 {
		l := Layout{Index: index}
		for _, name := range []string{l.Bridge(), l.HostAddress(), l.podNetwork(), l.bridgeMAC()} {
			if other, ok := seen[name]; ok {
				t.Fatalf("indexes %d and %d share %s", other, index, name)
			}
			seen[name] = index
			if net.ParseIP(l.HostAddress()) == nil {
				t.Fatalf("index %d has the address %s", index, l.HostAddress())
			}
		}
	}
}

func TestFreePortsDiffer(t *testing.T) {
	t.Parallel()
	p, err := freePorts()
	if err != nil {
		t.Fatal(err)
	}
	all := []int{p.APIServer, p.Etcd, p.EtcdPeer, p.ControllerManager, p.Scheduler, p.Kubelet, p.KubeletHealth, p.Kwok}
	seen := map[int]bool{}
	for _, port := range all {
		if port == 0 || seen[port] {
			t.Errorf("ports are %v", all)
		}
		seen[port] = true
	}
}

func TestNodeIsReady(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		`{"status":{"conditions":[{"type":"DiskPressure","status":"False"},{"type":"Ready","status":"True"}]}}`: "",
		`{"status":{"conditions":[{"type":"Ready","status":"False","message":"no network"}]}}`:                  "node is not ready: no network",
		`{"status":{}}`: "node has not reported yet",
		`[]`:            "read node: json: cannot unmarshal array into Go value of type struct { Status struct { Conditions []struct { Type string; Status string; Message string } } }",
	}
	for body, want := range tests {
		got := ""
		if err := nodeIsReady([]byte(body)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestMissingNamesEachPackageOnce(t *testing.T) {
	t.Parallel()
	needs := []need{
		{what: "sh", pkg: "dash"},
		{what: "no-such-program-1", pkg: "one"},
		{what: "no-such-program-2", pkg: "one"},
		{what: "a plugin", places: []string{"/no/such/place", "/"}, pkg: "two"},
		{what: "another", places: []string{"/no/such/place"}, pkg: "three"},
	}
	if diff := cmp.Diff([]string{"one", "three"}, missing(needs)); diff != "" {
		t.Errorf("missing packages (-want +got):\n%s", diff)
	}
}

func TestSuitsRefusesAnotherKind(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		running Layout
		asked   Options
		ok      bool
	}{
		"anything":     {Layout{Nodes: Simulated}, Options{Nodes: Auto}, true},
		"same":         {Layout{Nodes: Real, Audit: true}, Options{Nodes: Real, Audit: true}, true},
		"other kind":   {Layout{Nodes: Simulated}, Options{Nodes: Real}, false},
		"no audit log": {Layout{Nodes: Real}, Options{Nodes: Auto, Audit: true}, false},
	}
	for name, test := range tests {
		if err := suits(test.running, test.asked); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNameServersOfPods(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	const text = "# a comment\nsearch example.org\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver\n" +
		"nameserver 192.0.2.2\nnameserver nonsense\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := nameServers(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, got); diff != "" {
		t.Errorf("name servers (-want +got):\n%s", diff)
	}
}
