package kube

import (
	// The one auth-provider that client-go still has: kubeconfigs from before exec plugins
	// name it, and kubectl takes them.
	_ "k8s.io/client-go/plugin/pkg/client/auth/oidc"
)
