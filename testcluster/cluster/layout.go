package cluster

import (
	"fmt"
	"path/filepath"
)

// Ports are the TCP ports of one cluster's programs, chosen free when it is first started.
type Ports struct {
	APIServer         int
	Etcd              int
	EtcdPeer          int
	ControllerManager int
	Scheduler         int
	Kubelet           int
	KubeletHealth     int
	Kwok              int
}

// Layout is everything the description of a cluster depends on. It is written to the cluster's folder before
// anything is started and is all that Down reads.
type Layout struct {
	Name string
	// Dir is the folder that holds all of the cluster's files.
	Dir string
	// Bin is the folder of the Kubernetes programs.
	Bin string
	// Index makes the bridge, its network and the cgroup unique on this machine: 0 to maxIndex.
	Index int
	Ports Ports
	// Nodes is Real, Simulated or None.
	Nodes Nodes
	Audit bool
	// CNI is the folder of the network plugins, ResolvConf the file Pods get their name servers from, PauseTar the
	// image of a Pod's sandbox, Cgroups the machine's cgroup hierarchies. A real node only.
	CNI        string
	ResolvConf string
	// NameServers are given to Pods as the cluster's: there is none of its own, and the kubelet warns when told so.
	NameServers []string
	PauseTar    string
	Cgroups     []string
}

// nodeName is the name of the only node.
const nodeName = "node1"

// maxIndex ends the networks at 10.95.255.0, below the range of services.
const maxIndex = 8*256 - 1

// serviceAddress is the cluster address of the API server, the first of serviceRange.
const (
	serviceAddress = "10.96.0.1"
	serviceRange   = "10.96.0.0/16"
)

func (l Layout) path(parts ...string) string {
	return filepath.Join(append([]string{l.Dir}, parts...)...)
}

// Kubeconfig is the path of the administrator's kubeconfig.
func (l Layout) Kubeconfig() string { return l.path("admin.kubeconfig") }

// AuditLog is the path of the audit log; it exists only with Audit.
func (l Layout) AuditLog() string { return l.path("logs", "audit.log") }

// Server is the URL of the API server.
func (l Layout) Server() string { return fmt.Sprintf("https://127.0.0.1:%d", l.Ports.APIServer) }

// HostAddress is the address under which Pods of a real node reach this machine: that of the bridge.
func (l Layout) HostAddress() string { return l.network() + ".1" }

// Bridge is the name of the network link Pods hang on, and of the cgroup they live in.
func (l Layout) Bridge() string { return fmt.Sprintf("pkube%d", l.Index) }

func (l Layout) podNetwork() string { return l.network() + ".0/24" }

func (l Layout) network() string { return fmt.Sprintf("10.%d.%d", 88+l.Index/256, l.Index%256) }

// bridgeMAC is fixed: a bridge without one takes over a port's address, and every connection from a Pod to the host
// dies when Pods come and go.
func (l Layout) bridgeMAC() string {
	return fmt.Sprintf("0a:58:0a:%02x:%02x:01", 88+l.Index/256, l.Index%256)
}

func (l Layout) socket() string { return l.path("ctd", "containerd.sock") }

func (l Layout) binary(name string) string { return filepath.Join(l.Bin, name) }
