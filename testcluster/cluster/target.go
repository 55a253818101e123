package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
)

// ownerLabel marks the namespaces that a Target made. It touches no other.
const ownerLabel = "prefect-kube.test/created-by"

// owner is ownerLabel's value.
const owner = "testcluster"

// Target is a cluster that tests and the demo run against: one that Up started, or the reader's own. It sees
// namespaces only, never nodes.
type Target struct {
	// Kubeconfig is the file to use; Kubectl the program.
	Kubeconfig, Kubectl string
	// HostAddress is where Pods reach this machine.
	HostAddress string
	// RunsCode is false when the node is simulated: Pods then only seem to run.
	RunsCode bool
	// FlowImage is the image of all flows where none can be imported; VERSION in it stands for Prefect's version. Empty on
	// our own cluster.
	FlowImage string
}

// Target returns the cluster as something to run tests against.
func (c *Cluster) Target() Target {
	return Target{
		Kubeconfig:  c.Kubeconfig(),
		Kubectl:     c.Kubectl(),
		HostAddress: c.HostAddress(),
		RunsCode:    c.Nodes == Real,
	}
}

// Image is FlowImage for a version of Prefect, empty where images are imported.
func (t Target) Image(version string) string {
	return strings.ReplaceAll(t.FlowImage, "VERSION", version)
}

// Current returns the cluster of the reader's kubeconfig, for CLUSTER=current. getenv looks up FLOW_IMAGE, an image with
// Prefect and the test flows that this cluster can pull, and HOST_ADDRESS, where its Pods reach this machine; without
// the latter the address towards the API server is taken.
func Current(ctx context.Context, getenv func(string) string) (Target, error) {
	t := Target{Kubectl: "kubectl", Kubeconfig: getenv("KUBECONFIG"), RunsCode: true, FlowImage: getenv("FLOW_IMAGE"), HostAddress: getenv("HOST_ADDRESS")}
	if t.FlowImage == "" {
		return t, errors.New("use the current cluster: set FLOW_IMAGE to an image with Prefect and the test flows that it can pull")
	}
	server, err := t.Run(ctx, "", "config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}")
	if err != nil {
		return t, fmt.Errorf("use the current cluster: %w", err)
	}
	if t.HostAddress == "" {
		if t.HostAddress, err = addressTowards(ctx, string(server)); err != nil {
			return t, fmt.Errorf("find where Pods reach this machine (set HOST_ADDRESS): %w", err)
		}
	}
	return t, nil
}

// addressTowards is this machine's address on the way to the server. No packet is sent.
func addressTowards(ctx context.Context, server string) (string, error) {
	parsed, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	connection, err := (&net.Dialer{}).DialContext(ctx, "udp", net.JoinHostPort(parsed.Hostname(), "443"))
	if err != nil {
		return "", err
	}
	defer connection.Close() //nolint:errcheck // nothing was sent
	address, ok := connection.LocalAddr().(*net.UDPAddr)
	if !ok || address.IP.IsLoopback() {
		return "", fmt.Errorf("the API server %s is on loopback", server)
	}
	return address.IP.String(), nil
}

// Run runs kubectl against the cluster with the given standard input and returns its standard output.
func (t Target) Run(ctx context.Context, input string, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, t.Kubectl, args...)
	if t.Kubeconfig != "" {
		command.Env = append(os.Environ(), "KUBECONFIG="+t.Kubeconfig)
	}
	command.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.Bytes(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// CreateNamespace makes a namespace and marks it as ours. One that exists already is refused.
func (t Target) CreateNamespace(ctx context.Context, name string) error {
	manifest := fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: %q, labels: {%s: %s}}\n", name, ownerLabel, owner)
	_, err := t.Run(ctx, manifest, "create", "--filename=-")
	return err
}

// DeleteNamespace deletes a namespace with all that is in it, without waiting for the end. One that CreateNamespace did
// not make is refused.
func (t Target) DeleteNamespace(ctx context.Context, name string) error {
	if err := t.CheckNamespace(ctx, name); err != nil {
		return err
	}
	_, err := t.Run(ctx, "", "delete", "namespace", name, "--wait=false")
	return err
}

// CheckNamespace returns an error unless CreateNamespace made the namespace.
func (t Target) CheckNamespace(ctx context.Context, name string) error {
	label, err := t.Run(ctx, "", "get", "namespace", name,
		"--output=jsonpath={.metadata.labels."+strings.ReplaceAll(ownerLabel, ".", `\.`)+"}")
	if err != nil {
		return err
	}
	if string(label) != owner {
		return fmt.Errorf("namespace %q is not ours: label %s is %q", name, ownerLabel, label)
	}
	return nil
}
