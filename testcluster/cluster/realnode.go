package cluster

import (
	"fmt"
	"path/filepath"
	"strings"
)

// sharedDir is a folder outside the cluster that a node's program insists on. Inside the node's mount namespace a folder
// of the cluster lies over it.
type sharedDir struct{ host, own string }

// sharedDirs lists them: the shims' sockets and runc's state, the kubelet's device plugin socket, libcni's results,
// the kubelet's links to container logs and mount's own table. None of these paths can be configured.
func sharedDirs() []sharedDir {
	return []sharedDir{
		{"/run/containerd", "run-containerd"},
		{"/var/lib/kubelet", "var-lib-kubelet"},
		{"/var/lib/cni", "var-lib-cni"},
		{"/var/log/containers", "var-log-containers"},
		{"/run/mount", "run-mount"},
	}
}

// enterNode is the first process of the node's namespaces. It becomes containerd.
func enterNode(l Layout) string {
	var script strings.Builder
	script.WriteString("# The first process of the node's own process and mount namespaces.\nset -e\n")
	for _, shared := range sharedDirs() {
		fmt.Fprintf(&script, "mount --no-mtab --bind %s %s\n", l.path(shared.own), shared.host)
	}
	fmt.Fprintf(&script, "exec containerd --config %s\n", l.path("containerd.toml"))
	return script.String()
}

func containerdConfig(l Layout) string {
	return fmt.Sprintf(`version = 2
root = %q
state = %q
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.internal.v1.opt"]
  path = %q
`, l.path("ctd", "root"), l.path("ctd", "state"), l.socket(), l.CNI, l.path("cni"), l.path("ctd", "opt"))
}

// networkConfig leaves masquerading to one rule for the whole bridge (rules): the plugin's own chains, one per Pod, would
// outlive a killed node.
func networkConfig(l Layout) string {
	return fmt.Sprintf(`{"cniVersion": "1.0.0", "name": %q, "plugins": [{"type": "bridge", "bridge": %q, "isGateway": true,
 "ipMasq": false, "ipam": {"type": "host-local", "dataDir": %q,
 "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`, l.Bridge(), l.Bridge(), l.path("ipam"), l.podNetwork())
}

func kubeletConfig(l Layout) string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %s
port: %d
healthzBindAddress: 127.0.0.1
healthzPort: %d
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %q}}
authorization: {mode: Webhook}
tlsCertFile: %q
tlsPrivateKeyFile: %q
cgroupDriver: cgroupfs
cgroupRoot: /%s
enforceNodeAllocatable: []
containerRuntimeEndpoint: %q
podLogsDir: %q
volumePluginDir: %q
resolvConf: %q
clusterDomain: cluster.local
clusterDNS: [%s]
makeIPTablesUtilChains: false
failSwapOn: false
failCgroupV1: false
evictionHard: {nodefs.available: "1%%", imagefs.available: "1%%"}
imageGCHighThresholdPercent: 100
maxPods: 240
`, l.HostAddress(), l.Ports.Kubelet, l.Ports.KubeletHealth, l.path("pki", "ca.crt"), l.path("pki", "kubelet.crt"),
		l.path("pki", "kubelet.key"), l.Bridge(), "unix://"+l.socket(), l.path("pod-logs"), l.path("volume-plugins"),
		l.ResolvConf, strings.Join(l.NameServers, ", "))
}

// rule is one packet filter rule, without its -I or -D.
type rule struct{ table, chain, spec string }

// rules let Pods of the bridge reach this machine, the API server under its cluster address, and the world. Each
// names the bridge, so Down can remove them without reading what others have set.
func rules(l Layout) []rule {
	b := l.Bridge()
	return []rule{
		{"filter", "INPUT", "-i " + b + " -j ACCEPT"},
		{"filter", "FORWARD", "-i " + b + " -j ACCEPT"},
		{"filter", "FORWARD", "-o " + b + " -j ACCEPT"},
		{"nat", "PREROUTING", fmt.Sprintf("-i %s -d %s/32 -p tcp --dport 443 -j DNAT --to-destination 127.0.0.1:%d",
			b, serviceAddress, l.Ports.APIServer)},
		{"nat", "POSTROUTING", fmt.Sprintf("-s %s ! -o %s -j MASQUERADE", l.podNetwork(), b)},
	}
}

func (r rule) command(action string) Command {
	args := []string{"iptables", "--wait", "-t", r.table, action, r.chain}
	return Command{Args: append(args, strings.Fields(r.spec)...)}
}

func network(l Layout) Step {
	commands := []Command{
		{Args: []string{"ip", "link", "add", l.Bridge(), "address", l.bridgeMAC(), "type", "bridge"}},
		{Args: []string{"ip", "addr", "add", l.HostAddress() + "/24", "dev", l.Bridge()}},
		{Args: []string{"ip", "link", "set", l.Bridge(), "up"}},
		// Lets the API server's rule lead from the bridge to loopback; the setting goes with the bridge.
		sysctl("net/ipv4/conf/"+l.Bridge()+"/route_localnet", "1"),
		sysctl("net/ipv4/ip_forward", "1"),
	}
	for _, r := range rules(l) {
		commands = append(commands, r.command("-I"))
	}
	return Step{Name: "creating bridge " + l.Bridge(), Commands: commands}
}

func sysctl(key, value string) Command {
	return Command{Args: []string{"sh", "-c", "echo " + value + " > /proc/sys/" + key}}
}

func nodeFiles(l Layout) Step {
	step := Step{
		Name: "preparing the node",
		Files: []File{
			{Path: l.path("enter-node.sh"), Mode: 0o644, Content: enterNode(l)},
			{Path: l.path("containerd.toml"), Mode: 0o644, Content: containerdConfig(l)},
			{Path: l.path("cni", "10-bridge.conflist"), Mode: 0o644, Content: networkConfig(l)},
			{Path: l.path("kubelet.yaml"), Mode: 0o644, Content: kubeletConfig(l)},
		},
	}
	for _, own := range []string{"ctd", "ipam", "pod-logs", "volume-plugins"} {
		step.Dirs = append(step.Dirs, l.path(own))
	}
	for _, shared := range sharedDirs() {
		step.Dirs = append(step.Dirs, l.path(shared.own), shared.host)
	}
	for _, hierarchy := range l.Cgroups {
		step.Dirs = append(step.Dirs, filepath.Join(hierarchy, l.Bridge()))
	}
	return step
}

func containerd(l Layout) Component {
	return Component{
		Name: "containerd",
		Args: []string{
			"unshare", "--fork", "--kill-child", "--pid", "--mount-proc", "--propagation=private",
			"sh", l.path("enter-node.sh"),
		},
		Ready: []Probe{{Socket: l.socket()}},
	}
}

func kubelet(l Layout) Component {
	return Component{
		Name:   "kubelet",
		Inside: "containerd",
		Args: []string{
			l.binary("kubelet"),
			flag("config", l.path("kubelet.yaml")),
			flag("kubeconfig", l.path("kubelet.kubeconfig")),
			flag("hostname-override", nodeName),
			flag("root-dir", l.path("kubelet")),
			flag("cert-dir", l.path("kubelet", "pki")),
			flag("node-ip", l.HostAddress()),
		},
	}
}

func realNode(l Layout) []Step {
	return []Step{
		network(l),
		nodeFiles(l),
		{
			Name:       "starting containerd",
			Components: []Component{containerd(l)},
			After:      []Command{importImage(l, l.PauseTar)},
		},
		{Name: "starting kubelet", Components: []Component{kubelet(l)}, Ready: []Probe{nodeReady(l)}},
	}
}

func importImage(l Layout, tar string) Command {
	return Command{Args: []string{"ctr", "--address", l.socket(), "--namespace", "k8s.io", "images", "import", tar}}
}
