package cluster

import (
	"fmt"
	"strconv"
)

// auditPolicy records who asked for what, not the bodies: they would hold secrets.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

func flag(name string, value any) string { return fmt.Sprintf("--%s=%v", name, value) }

func etcd(l Layout) Component {
	client := fmt.Sprintf("http://127.0.0.1:%d", l.Ports.Etcd)
	peer := fmt.Sprintf("http://127.0.0.1:%d", l.Ports.EtcdPeer)
	return Component{
		Name: "etcd",
		Args: []string{
			l.binary("etcd"),
			flag("data-dir", l.path("etcd")),
			"--unsafe-no-fsync", // the data lives no longer than the cluster
			flag("listen-client-urls", client),
			flag("advertise-client-urls", client),
			flag("listen-peer-urls", peer),
			flag("initial-advertise-peer-urls", peer),
			flag("initial-cluster", "default="+peer),
		},
		Ready: []Probe{{URL: client + "/health"}},
	}
}

func apiServer(l Layout) Component {
	args := []string{
		l.binary("kube-apiserver"),
		flag("etcd-servers", fmt.Sprintf("http://127.0.0.1:%d", l.Ports.Etcd)),
		flag("bind-address", "127.0.0.1"),
		flag("secure-port", l.Ports.APIServer),
		// Given, because the default is looked up in the routing table and a machine may be offline.
		flag("advertise-address", l.HostAddress()),
		flag("service-account-key-file", l.path("pki", "sa.pub")),
		flag("service-account-signing-key-file", l.path("pki", "sa.key")),
		flag("service-account-issuer", "https://kubernetes.default.svc"),
		flag("tls-cert-file", l.path("pki", "apiserver.crt")),
		flag("tls-private-key-file", l.path("pki", "apiserver.key")),
		flag("client-ca-file", l.path("pki", "ca.crt")),
		flag("authorization-mode", "Node,RBAC"),
		flag("service-cluster-ip-range", serviceRange),
		"--allow-privileged",
		flag("kubelet-preferred-address-types", "InternalIP,Hostname"),
		flag("kubelet-certificate-authority", l.path("pki", "ca.crt")),
		flag("kubelet-client-certificate", l.path("pki", "admin.crt")),
		flag("kubelet-client-key", l.path("pki", "admin.key")),
	}
	if l.Audit {
		args = append(args, flag("audit-log-path", l.AuditLog()), flag("audit-policy-file", l.path("audit-policy.yaml")))
	}
	return Component{Name: "kube-apiserver", Args: args, Ready: []Probe{{URL: l.Server() + "/readyz"}}}
}

func controllerManager(l Layout) Component {
	return Component{
		Name: "kube-controller-manager",
		Args: append(manager(l, "kube-controller-manager", l.Ports.ControllerManager),
			flag("service-account-private-key-file", l.path("pki", "sa.key")),
			flag("root-ca-file", l.path("pki", "ca.crt")),
			flag("use-service-account-credentials", false)),
		Ready: []Probe{
			{URL: "https://127.0.0.1:" + strconv.Itoa(l.Ports.ControllerManager) + "/healthz"},
			{URL: l.Server() + "/api/v1/namespaces/default/serviceaccounts/default"},
		},
	}
}

func scheduler(l Layout) Component {
	return Component{
		Name:  "kube-scheduler",
		Args:  manager(l, "kube-scheduler", l.Ports.Scheduler),
		Ready: []Probe{{URL: "https://127.0.0.1:" + strconv.Itoa(l.Ports.Scheduler) + "/healthz"}},
	}
}

// manager holds the flags that the controller manager and the scheduler have in common.
func manager(l Layout, name string, port int) []string {
	return []string{
		l.binary(name),
		flag("bind-address", "127.0.0.1"),
		flag("secure-port", port),
		flag("tls-cert-file", l.path("pki", "apiserver.crt")),
		flag("tls-private-key-file", l.path("pki", "apiserver.key")),
		flag("kubeconfig", l.Kubeconfig()),
		flag("leader-elect", false),
		flag("kube-api-qps", 1000),
		flag("kube-api-burst", 2000),
	}
}

func api(l Layout) []Step {
	return []Step{
		{Name: "starting etcd", Components: []Component{etcd(l)}},
		{Name: "starting kube-apiserver", Components: []Component{apiServer(l)}},
	}
}

func managers(l Layout) []Step {
	return []Step{{
		Name:       "starting kube-controller-manager and kube-scheduler",
		Components: []Component{controllerManager(l), scheduler(l)},
	}}
}
