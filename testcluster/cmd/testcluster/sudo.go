package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"github.com/prefect-kube/prefect-kube/testcluster/cluster"
)

const why = "A real node needs root: it starts containers, a network bridge and cgroups, all removed again by `down`."

// elevate runs the same command as root when that is needed and granted; handled is true when it did. Without a
// terminal, without sudo, or when the reader declines, the caller goes on as it is.
func (p program) elevate(ctx context.Context, s settings, args []string) (handled bool, err error) {
	if !p.mayElevate() {
		return false, nil
	}
	// Root shall compile nothing: it would leave files in the reader's build cache that the reader cannot replace.
	if err := cluster.Prepare(ctx, s.Options); err != nil {
		return false, err
	}
	if !p.ask(ctx, why+"\nsudo asks for your password once; press Ctrl-C there for a simulated node.") {
		return false, nil
	}
	return true, p.asRoot(ctx, s, args)
}

// elevateDown does the same for down, when a cluster to be removed has a real node.
func (p program) elevateDown(ctx context.Context, s settings, args []string) (handled bool, err error) {
	if os.Geteuid() == 0 || !cluster.NeedsRoot(s.Options, s.all) {
		return false, nil
	}
	if !p.mayElevate() || !p.ask(ctx, "The cluster has a real node: removing it needs root.") {
		return false, nil // cluster.Down says what is wrong
	}
	return true, p.asRoot(ctx, s, args)
}

func (p program) mayElevate() bool {
	if runtime.GOOS != "linux" || os.Geteuid() == 0 {
		return false
	}
	if _, err := exec.LookPath("sudo"); err != nil {
		p.say("there is no sudo to become root with")
		return false
	}
	terminal, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		p.say("there is no terminal to ask for sudo on")
		return false
	}
	return terminal.Close() == nil
}

// ask says why and lets sudo check the password.
func (p program) ask(ctx context.Context, reason string) bool {
	p.say("%s", reason)
	check := exec.CommandContext(ctx, "sudo", "--validate")
	check.Stdin, check.Stdout, check.Stderr = os.Stdin, p.progress, p.progress
	return check.Run() == nil
}

func (p program) asRoot(ctx context.Context, s settings, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	line := append([]string{"--non-interactive", "env"}, passed(os.Environ())...)
	line = append(line, cluster.CacheVariable+"="+s.Cache, self)
	command := exec.CommandContext(ctx, "sudo", append(line, args...)...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, p.out, p.progress
	if err := command.Run(); err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return fmt.Errorf("as root: exit status %d", exit.ExitCode())
		}
		return fmt.Errorf("run as root: %w", err)
	}
	return nil
}

// passed selects the environment that root's run needs: where programs and packages come from.
func passed(environment []string) []string {
	var kept []string
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		switch {
		case name == "PATH", name == "PYTHON", name == "DEBIAN_MIRROR", strings.HasPrefix(name, "PIP_"),
			strings.HasSuffix(strings.ToLower(name), "_proxy"):
			kept = append(kept, variable)
		}
	}
	return kept
}

// handOver gives the kubeconfig to the reader who called sudo.
func handOver(kubeconfig string) error {
	uid, err := strconv.Atoi(os.Getenv("SUDO_UID"))
	if err != nil || os.Geteuid() != 0 {
		return nil //nolint:nilerr // not called through sudo
	}
	return os.Chown(kubeconfig, uid, -1)
}
