package cluster

import (
	"errors"
	"fmt"
	"net"
)

// allocate chooses what has to differ between clusters on one machine.
func allocate(o Options) (Layout, error) {
	l := Layout{Name: o.Name, Dir: o.dir(), Bin: o.bin(), Audit: o.Audit}
	others, err := o.layouts()
	if err != nil {
		return l, err
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return l, fmt.Errorf("list network addresses: %w", err)
	}
	if l.Index, err = freeIndex(others, addresses); err != nil {
		return l, err
	}
	l.Ports, err = freePorts()
	return l, err
}

// freeIndex is the lowest index whose network neither another cluster nor any link of this machine uses.
func freeIndex(others []Layout, addresses []net.Addr) (int, error) {
	used := map[int]bool{}
	for _, other := range others {
		used[other.Index] = true
	}
	for index := range maxIndex + 1 {
		if !used[index] && !inUse(net.ParseIP(Layout{Index: index}.HostAddress()), addresses) {
			return index, nil
		}
	}
	return 0, errors.New("no free network between 10.88.0.0 and 10.95.255.0 for the node")
}

func inUse(address net.IP, addresses []net.Addr) bool {
	for _, candidate := range addresses {
		if network, ok := candidate.(*net.IPNet); ok && network.Contains(address) {
			return true
		}
	}
	return false
}

// freePorts asks the kernel for ports that are free now. All are held until the last is found, so they differ.
func freePorts() (Ports, error) {
	var p Ports
	for _, port := range []*int{
		&p.APIServer, &p.Etcd, &p.EtcdPeer, &p.ControllerManager, &p.Scheduler, &p.Kubelet, &p.KubeletHealth, &p.Kwok,
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // returns at once
		if err != nil {
			return p, fmt.Errorf("find a free port: %w", err)
		}
		defer listener.Close() //nolint:errcheck // held on purpose until all are found
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}
