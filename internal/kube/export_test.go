package kube

import (
	"context"
	"net/http"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// GateOver gives the login that next does the limit of each request. It is by a plugin.
func GateOver(next http.RoundTripper, command string, args ...string) http.RoundTripper {
	return newGate(next, &Login{user: clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{Command: command, Args: args}}, where: `of user "me"`})
}

// Sent tells the gate that a request has its credential.
func Sent(ctx context.Context) { sent(ctx) }

// Capacity is how many Jobs and Pods a copy keeps with a memory limit in bytes.
var Capacity = capacity

// Full is the error of a copy without room.
func Full(most int) error { return &fullError{most} }
