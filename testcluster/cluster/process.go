package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// marker is the environment variable by which every process of a cluster is found again, also when its starter was
// killed before it could write the process id down.
const marker = "PREFECT_KUBE_CLUSTER_DIR"

func (l Layout) environment() []string {
	return append(os.Environ(), marker+"="+l.Dir, "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "KUBECONFIG=")
}

// program finds a program, also in the folders for administrators that a user's PATH may lack.
func program(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, folder := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
			return path, nil
		}
	}
	return "", err
}

// run carries a command out. Its output appears only in the error.
func (l Layout) run(ctx context.Context, c Command) error {
	path, err := program(c.Args[0])
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, path, c.Args[1:]...)
	command.Env, command.Dir = l.environment(), l.Dir
	command.Stdin = strings.NewReader(c.Input)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(c.Args, " "), err, bytes.TrimSpace(output))
	}
	return nil
}

// start starts a component in a session of its own, so that it outlives the starter, and notes its process id.
func (l Layout) start(c Component) error {
	args, err := l.enter(c)
	if err != nil {
		return fmt.Errorf("start %s: %w", c.Name, err)
	}
	path, err := program(args[0])
	if err != nil {
		return fmt.Errorf("start %s: %w", c.Name, err)
	}
	log, err := os.OpenFile(l.log(c.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", c.Name, err)
	}
	defer log.Close()                          //nolint:errcheck // the component has its own copy
	command := exec.Command(path, args[1:]...) //nolint:noctx // outlives the starter on purpose
	command.Env, command.Dir = l.environment(), l.Dir
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.Name, err)
	}
	return os.WriteFile(l.path("pids", c.Name), []byte(strconv.Itoa(command.Process.Pid)), 0o644)
}

// enter puts nsenter in front of a component that lives in another one's namespaces.
func (l Layout) enter(c Component) ([]string, error) {
	if c.Inside == "" {
		return c.Args, nil
	}
	pid, err := l.pid(c.Inside)
	if err != nil {
		return nil, err
	}
	return append(enterNamespaces(strconv.Itoa(pid)), c.Args...), nil
}

func enterNamespaces(pid string) []string {
	return []string{"nsenter", "--mount=/proc/" + pid + "/ns/mnt", "--pid=/proc/" + pid + "/ns/pid_for_children"}
}

func (l Layout) log(component string) string { return l.path("logs", component+".log") }

func (l Layout) pid(component string) (int, error) {
	data, err := os.ReadFile(l.path("pids", component))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(data))
}

// running says whether a component's process is alive. A process id that another program got is not mistaken for it.
func (l Layout) running(component string) bool {
	pid, err := l.pid(component)
	return err == nil && alive(pid) && l.owns(pid)
}

// started says whether the process of a component that this very program started is still alive. It does not look at the
// environment, which is empty while the kernel loads the program.
func (l Layout) started(component string) bool {
	pid, err := l.pid(component)
	return err == nil && alive(pid)
}

func alive(pid int) bool {
	reap(pid)
	return syscall.Kill(pid, 0) == nil
}

// reap takes the exit status of a process that this program started; otherwise it does nothing.
func reap(pid int) { _, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil) }

// killAll ends every process of the cluster and waits until they are gone. SIGKILL is enough: nothing they write survives,
// and the end of a node's first process ends all of its containers. It looks until it found none twice: a program that is
// just being loaded carries no marker yet.
func (l Layout) killAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var dying []int
	for clean := 0; clean < 2; clean++ {
		found, err := l.processes(ctx)
		if err != nil {
			return fmt.Errorf("find processes of cluster %q: %w", l.Name, err)
		}
		for _, pid := range found {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill process %d of cluster %q: %w", pid, l.Name, err)
			}
		}
		// A dying process has no environment any more, so it is remembered until it is gone.
		dying = slices.DeleteFunc(append(dying, found...), ended)
		if len(dying) > 0 {
			clean = -1
		}
		if !pause(ctx, 20*time.Millisecond) {
			return fmt.Errorf("processes %v of cluster %q do not end", dying, l.Name)
		}
	}
	return nil
}

func ended(pid int) bool { return !alive(pid) || zombie(pid) }

// pause waits, and says whether there is time left.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
