package cluster

import (
	"fmt"
	"slices"
)

// Plan describes the whole cluster: the steps that start it, in order. It is a pure function of its arguments.
func Plan(l Layout, c Certificates) []Step {
	steps := append([]Step{groundwork(l, c)}, api(l)...)
	switch l.Nodes {
	case None:
		return steps
	case Real:
		return slices.Concat(steps, managers(l), realNode(l))
	case Auto, Simulated:
	}
	return slices.Concat(steps, managers(l), simulated(l))
}

func groundwork(l Layout, c Certificates) Step {
	step := Step{
		Name: "writing certificates",
		Dirs: []string{l.path("pki"), l.path("logs"), l.path("pids"), l.path("cni")},
		Files: []File{
			{Path: l.Kubeconfig(), Mode: 0o600, Content: kubeconfig(l, c.CA, c.Admin)},
			{Path: l.path("kubelet.kubeconfig"), Mode: 0o600, Content: kubeconfig(l, c.CA, c.Kubelet)},
			{Path: l.path("pki", "ca.crt"), Mode: 0o644, Content: c.CA},
			{Path: l.path("pki", "sa.pub"), Mode: 0o644, Content: c.ServiceAccount.Certificate},
			{Path: l.path("pki", "sa.key"), Mode: 0o600, Content: c.ServiceAccount.Key},
		},
	}
	for _, pair := range []struct {
		name string
		Pair
	}{{"apiserver", c.APIServer}, {"admin", c.Admin}, {"kubelet", c.Kubelet}} {
		step.Files = append(step.Files,
			File{Path: l.path("pki", pair.name+".crt"), Mode: 0o644, Content: pair.Certificate},
			File{Path: l.path("pki", pair.name+".key"), Mode: 0o600, Content: pair.Key})
	}
	if l.Audit {
		step.Files = append(step.Files, File{Path: l.path("audit-policy.yaml"), Mode: 0o644, Content: auditPolicy})
	}
	return step
}

// kubeconfig holds its certificates inside, so that it can be copied and read without the cluster's folder.
func kubeconfig(l Layout, ca string, user Pair) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: %[1]s, cluster: {server: %[2]q, certificate-authority-data: %[3]s}}]
users: [{name: %[1]s, user: {client-certificate-data: %[4]s, client-key-data: %[5]s}}]
contexts: [{name: %[1]s, context: {cluster: %[1]s, user: %[1]s}}]
current-context: %[1]s
`, l.Name, l.Server(), encode(ca), encode(user.Certificate), encode(user.Key))
}
