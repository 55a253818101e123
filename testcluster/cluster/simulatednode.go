package cluster

import "strconv"

// simulatedNode is what kwok manages: it accepts Pods and reports them as running, then as done when a Job owns them.
const simulatedNode = `apiVersion: v1
kind: Node
metadata:
  name: ` + nodeName + `
  annotations: {kwok.x-k8s.io/node: fake, node.alpha.kubernetes.io/ttl: "0"}
  labels: {kubernetes.io/hostname: ` + nodeName + `, kubernetes.io/os: linux, type: kwok}
status:
  allocatable: {cpu: "64", memory: 256Gi, pods: "10000"}
  capacity: {cpu: "64", memory: 256Gi, pods: "10000"}
`

func simulated(l Layout) []Step {
	kwok := Component{
		Name: "kwok",
		Args: []string{
			l.binary("kwok"),
			flag("kubeconfig", l.Kubeconfig()),
			"--manage-all-nodes",
			flag("node-lease-duration-seconds", 40),
			flag("server-address", "127.0.0.1:"+strconv.Itoa(l.Ports.Kwok)),
		},
		Ready: []Probe{{URL: "http://127.0.0.1:" + strconv.Itoa(l.Ports.Kwok) + "/healthz"}},
	}
	return []Step{{
		Name:       "starting the simulated node",
		Components: []Component{kwok},
		After:      []Command{kubectl(l, simulatedNode, "apply", "--filename=-")},
		Ready:      []Probe{nodeReady(l)},
	}}
}

func kubectl(l Layout, input string, args ...string) Command {
	return Command{Args: append([]string{l.binary("kubectl"), flag("kubeconfig", l.Kubeconfig())}, args...), Input: input}
}

func nodeReady(l Layout) Probe { return Probe{Node: l.Server() + "/api/v1/nodes/" + nodeName} }
