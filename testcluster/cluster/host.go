package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/prefect-kube/prefect-kube/testcluster/image"
)

// need is a program or folder of which one place is enough, and the Debian package that brings it.
type need struct {
	what   string
	places []string
	pkg    string
}

func nodeNeeds() []need {
	programs := []struct{ name, pkg string }{
		{"containerd", "containerd"},
		{"containerd-shim-runc-v2", "containerd"},
		{"ctr", "containerd"},
		{"runc", "runc"},
		{"iptables", "iptables"},
		{"ip", "iproute2"},
		{"nsenter", "util-linux"},
		{"unshare", "util-linux"},
		{"mount", "mount"},
	}
	needs := []need{{what: "CNI plugin bridge", places: cniPlaces("bridge"), pkg: "containernetworking-plugins"}}
	for _, p := range programs {
		needs = append(needs, need{what: p.name, pkg: p.pkg})
	}
	return needs
}

func cniPlaces(plugin string) []string {
	return []string{filepath.Join("/usr/lib/cni", plugin), filepath.Join("/opt/cni/bin", plugin)}
}

func (n need) met() bool {
	if n.places != nil {
		return slices.ContainsFunc(n.places, exists)
	}
	_, err := program(n.what)
	return err == nil
}

// missing returns the packages to install, each once.
func missing(needs []need) []string {
	var packages []string
	for _, n := range needs {
		if !n.met() && !slices.Contains(packages, n.pkg) {
			packages = append(packages, n.pkg)
		}
	}
	return packages
}

// chooseNodes settles Auto. When a real node cannot be had it says why, in one line.
func chooseNodes(ctx context.Context, o Options) (Nodes, error) {
	switch o.Nodes {
	case Simulated:
		o.say("the node is simulated, as asked: no flow code can run there")
		return Simulated, nil
	case None:
		o.say("no node and no controllers, as asked: Jobs stay as they are")
		return None, nil
	case Auto, Real:
	}
	err := realNodePossible(ctx, o)
	if err == nil {
		return Real, nil
	}
	if o.Nodes == Real {
		return "", fmt.Errorf("start a real node: %w", err)
	}
	o.say("the node is simulated, so no flow code can run there: %v", err)
	return Simulated, nil
}

func realNodePossible(ctx context.Context, o Options) error {
	if runtime.GOOS != "linux" {
		return errors.New("a real node needs Linux")
	}
	if os.Geteuid() != 0 {
		return errors.New("a real node needs root")
	}
	if err := install(ctx, o, missing(nodeNeeds())); err != nil {
		return err
	}
	if output, err := exec.CommandContext(ctx, "unshare", "--fork", "--pid", "--mount-proc", "true").CombinedOutput(); err != nil {
		return fmt.Errorf("this machine grants no namespaces: %w: %s", err, strings.TrimSpace(string(output)))
	}
	if _, err := cgroupHierarchies(); err != nil {
		return err
	}
	return nil
}

// InstallPackage installs the Debian package when the program is missing.
func InstallPackage(ctx context.Context, o Options, program, pkg string) error {
	o, err := o.complete()
	if err != nil {
		return err
	}
	return install(ctx, o, missing([]need{{what: program, pkg: pkg}}))
}

// install asks apt for the packages, and refreshes its lists only when they do not know them.
func install(ctx context.Context, o Options, packages []string) error {
	if len(packages) == 0 {
		return nil
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("please install: %s", strings.Join(packages, " "))
	}
	o.say("installing %s ...", strings.Join(packages, ", "))
	arguments := append([]string{"install", "--yes", "--quiet", "--no-install-recommends"}, packages...)
	if _, err = aptGet(ctx, apt, arguments...); err == nil {
		return nil
	}
	if _, err := aptGet(ctx, apt, "update", "--quiet"); err != nil {
		o.say("refreshing the package lists met trouble: %v", err)
	}
	output, err := aptGet(ctx, apt, arguments...)
	if err != nil {
		return fmt.Errorf("install %s: %w: %s", strings.Join(packages, " "), err, output)
	}
	return nil
}

func aptGet(ctx context.Context, apt string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, apt, args...)
	command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	output, err := command.CombinedOutput()
	return strings.TrimSpace(string(output)), err
}

// inspectHost fills in what a real node's description takes from the machine.
func (l *Layout) inspectHost(ctx context.Context, o Options) error {
	var err error
	if l.Cgroups, err = cgroupHierarchies(); err != nil {
		return err
	}
	for _, place := range cniPlaces("bridge") {
		if exists(place) {
			l.CNI = filepath.Dir(place)
			break
		}
	}
	// systemd-resolved's own address is loopback, which a Pod cannot reach.
	l.ResolvConf = "/etc/resolv.conf"
	if upstream := "/run/systemd/resolve/resolv.conf"; exists(upstream) {
		l.ResolvConf = upstream
	}
	if l.NameServers, err = nameServers(l.ResolvConf); err != nil {
		return err
	}
	l.PauseTar, err = image.Pause().Build(ctx, o.images())
	return err
}

// cgroupHierarchies lists where cgroups are made: one folder with version 2, one per controller with version 1.
func cgroupHierarchies() ([]string, error) {
	const root = "/sys/fs/cgroup"
	if exists(filepath.Join(root, "cgroup.controllers")) {
		return []string{root}, nil
	}
	file, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	defer file.Close() //nolint:errcheck // read only
	var found []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 2 && fields[2] == "cgroup" && strings.HasPrefix(fields[1], root+"/") {
			found = append(found, fields[1])
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no cgroups are mounted below " + root)
	}
	return found, lines.Err()
}

// nameServers reads the IPv4 servers of a resolv.conf, of which the kubelet takes three.
func nameServers(resolvConf string) ([]string, error) {
	data, err := os.ReadFile(resolvConf)
	if err != nil {
		return nil, fmt.Errorf("find name servers: %w", err)
	}
	var servers []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" || len(servers) == 3 {
			continue
		}
		if address := net.ParseIP(fields[1]); address != nil && address.To4() != nil {
			servers = append(servers, address.String())
		}
	}
	return servers, nil
}
