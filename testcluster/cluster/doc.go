// Package cluster starts and removes a small Kubernetes cluster of real upstream programs on this machine.
//
// It knows which programs a cluster consists of, how each is started and when it is ready, and how to find and remove
// every trace of them. A cluster is described as data: Plan turns a Layout (name, folder, ports, kind of node) into
// steps, one dull loop carries them out, and DryRun prints them. Everything that is started lies below one folder,
// which is written down before the first step; Down needs nothing else, so it also removes what a killed Up had begun.
//
// A real node runs containerd and the kubelet in a process namespace and a mount namespace of their own: when the first
// process of that namespace dies, the kernel ends every container and drops every mount.
//
// The package knows nothing of Prefect and never touches a cluster it did not start, except for namespaces it created
// in the reader's own cluster (Current).
package cluster
