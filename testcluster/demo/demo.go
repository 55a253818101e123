// Package demo shows the main job of prefect-kube on real input: a real flow, registered by the real Prefect client, runs
// in a pod of a real cluster. It puts the other packages of this module and the built binary together and knows nothing
// that they know already.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/prefect-kube/prefect-kube/testcluster/cluster"
	"github.com/prefect-kube/prefect-kube/testcluster/flowimage"
)

// Options say what the demo uses.
type Options struct {
	// Cluster is started, or found running.
	Cluster cluster.Options
	// Current is the reader's own cluster instead; nil means that Cluster is used.
	Current *cluster.Target
	Builder flowimage.Builder
	// Binary is the built prefect-kube.
	Binary string
	// Out gets the story.
	Out io.Writer
	// Stay keeps everything up after the run until ctx ends.
	Stay bool
}

// version is the Prefect that the demo uses, flow the stored flow that it runs.
const version, flow, namespace, label = "1.4.1", "two-tasks", "prefect-demo", "demo"

// ErrNoSuccess means that the flow run ended, but not as Success.
var ErrNoSuccess = errors.New("the flow run did not reach Success")

// Run shows the demo. It returns nil only if the flow run reached Success. When ctx ends, or the run is over and Stay is
// not set, all that was started is taken down.
func Run(ctx context.Context, o Options) (err error) {
	d := &show{o: o, began: time.Now()}
	defer func() {
		d.say("")
		err = errors.Join(err, d.takeDown(context.WithoutCancel(ctx)))
	}()
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"Kubernetes is ready", d.startCluster},
		{"image with real Prefect " + version + " is in the cluster", d.prepareImage},
		{"development backend answers", d.startBackend},
		{"agent is connected", d.startAgent},
		{"flow " + flow + " is registered by the real client, and a run created", d.register},
	}
	for _, step := range steps {
		started := time.Now()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		d.say("%6.1fs  %s", time.Since(started).Seconds(), step.name)
	}
	if err := d.follow(ctx); err != nil {
		return err
	}
	d.explain()
	if o.Stay {
		<-ctx.Done()
	}
	return nil
}

// show is one demo under way.
type show struct {
	o      Options
	began  time.Time
	target cluster.Target
	image  string
	client flowimage.Client
	dir    string
	url    string
	run    string
	// undo takes down what was started, in the order of starting.
	undo []func(context.Context) error
}

func (d *show) say(format string, args ...any) { _, _ = fmt.Fprintf(d.o.Out, format+"\n", args...) }

func (d *show) later(undo func(context.Context) error) { d.undo = append(d.undo, undo) }

// takeDown undoes everything in the reverse order.
func (d *show) takeDown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	started := time.Now()
	var errs []error
	for _, undo := range slices.Backward(d.undo) {
		errs = append(errs, undo(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take down: %w", err)
	}
	d.say("%6.1fs  everything is taken down", time.Since(started).Seconds())
	return nil
}

func (d *show) startCluster(ctx context.Context) error {
	if d.o.Current != nil {
		d.target = *d.o.Current
		return d.startNamespace(ctx)
	}
	d.later(func(ctx context.Context) error { return cluster.Down(ctx, d.o.Cluster) })
	c, err := cluster.Up(ctx, d.o.Cluster)
	if err != nil {
		return err
	}
	d.target = c.Target()
	if !d.target.RunsCode {
		return errors.New("only a simulated node can be had here, and no flow code can run there: run it as root on Linux, or with CLUSTER=current and FLOW_IMAGE")
	}
	return d.startNamespace(ctx)
}

// startNamespace makes the demo's own namespace. One that a killed demo left behind goes first.
func (d *show) startNamespace(ctx context.Context) error {
	if d.target.CheckNamespace(ctx, namespace) == nil {
		if _, err := d.target.Run(ctx, "", "delete", "namespace", namespace, "--wait"); err != nil {
			return err
		}
	}
	if err := d.target.CreateNamespace(ctx, namespace); err != nil {
		return err
	}
	d.later(func(ctx context.Context) error { return d.target.DeleteNamespace(ctx, namespace) })
	return nil
}

func (d *show) prepareImage(ctx context.Context) error {
	var err error
	if d.client, err = d.o.Builder.Client(ctx, version); err != nil {
		return err
	}
	if d.image = d.target.Image(version); d.image != "" {
		return nil
	}
	image, err := d.o.Builder.Image(ctx, version)
	if err != nil {
		return err
	}
	c, err := cluster.Open(d.o.Cluster)
	if err != nil {
		return err
	}
	d.image = image.Ref
	return c.ImportImage(ctx, image.Tar)
}

func (d *show) startBackend(ctx context.Context) error {
	var err error
	if d.dir, err = os.MkdirTemp("", "prefect-kube-demo-"); err != nil {
		return err
	}
	d.later(func(context.Context) error { return os.RemoveAll(d.dir) })
	address, err := freeAddress(ctx, d.target.HostAddress)
	if err != nil {
		return err
	}
	d.url = "http://" + address
	if err := d.start("backend", "dev", "--listen", address); err != nil {
		return err
	}
	return d.await(ctx, "backend", func(ctx context.Context) error { return d.query(ctx, `query { hello }`, nil) })
}

func (d *show) startAgent(ctx context.Context) error {
	address, err := freeAddress(ctx, "127.0.0.1")
	if err != nil {
		return err
	}
	err = d.start("agent", "agent", "kubernetes", "start", "--namespace", namespace, "--api", d.url, "--label", label, "--agent-address", "http://"+address)
	if err != nil {
		return err
	}
	return d.await(ctx, "agent", func(ctx context.Context) error { return ready(ctx, "http://"+address+"/readyz") })
}

func (d *show) register(ctx context.Context) error {
	var err error
	d.run, err = d.client.Register(ctx, flowimage.Registration{Server: d.url, Home: d.dir, Flow: flow, Image: d.image, Labels: []string{label}})
	return err
}

// start starts the binary in the background with its log in the demo's folder. The group of the terminal does not reach
// it: Ctrl-C is ours, and each program is then asked to leave in its turn.
func (d *show) start(name string, args ...string) error {
	log, err := os.Create(d.logFile(name))
	if err != nil {
		return err
	}
	command := exec.Command(d.o.Binary, args...) //nolint:noctx // it outlives the step that starts it and is stopped by name
	command.Env = append(os.Environ(), "PREFECT__BACKEND=server", "HOME="+d.dir)
	if d.target.Kubeconfig != "" {
		command.Env = append(command.Env, "KUBECONFIG="+d.target.Kubeconfig)
	}
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	d.later(func(ctx context.Context) error {
		return errors.Join(leave(ctx, command), log.Close())
	})
	return nil
}

func (d *show) logFile(name string) string { return filepath.Join(d.dir, name+".log") }

// leave asks a program to end and waits; one that does not is killed.
func leave(ctx context.Context, command *exec.Cmd) error {
	_ = command.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	stop := context.AfterFunc(ctx, func() { _ = command.Process.Kill() })
	defer stop()
	timer := time.AfterFunc(30*time.Second, func() { _ = command.Process.Kill() })
	defer timer.Stop()
	err := command.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("%s ended with %s", filepath.Base(command.Path), exit.ProcessState)
	}
	return err
}

// await repeats a check until it passes. If it never does, the program's log is shown.
func (d *show) await(ctx context.Context, name string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(d.logFile(name)) // the error says enough without it
			return fmt.Errorf("%w; its log:\n%s", err, log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func freeAddress(ctx context.Context, host string) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
