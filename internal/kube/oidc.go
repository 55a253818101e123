package kube

// The one auth-provider that client-go still has: kubeconfigs from before exec plugins
// name it, and kubectl takes them.
import _ "k8s.io/client-go/plugin/pkg/client/auth/oidc"
