package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait. It only matters when something is broken.
const patience = 90 * time.Second

// process is a program that runs as long as its test, or until it is stopped.
type process struct {
	t       *testing.T
	name    string
	command *exec.Cmd
	log     *os.File
	done    chan struct{}
	// exits is the exit code that it shall end with.
	exits int
}

// start starts the program with its output in a log that is printed when the test fails.
func start(t *testing.T, dir, name, path string, args ...string) *process {
	t.Helper()
	command := exec.Command(path, args...)
	command.Env = environment(dir)
	return startCommand(t, dir, name, command)
}

// environment is what the program sees. The variables of the tests themselves are no settings of it.
func environment(home string) []string {
	inherited := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PREFECT_KUBE_") })
	return append(inherited, "HOME="+home, "KUBECONFIG="+shared.target.Kubeconfig, "PREFECT__BACKEND=server")
}

// startCommand is start for a command that is made already.
func startCommand(t *testing.T, dir, name string, command *exec.Cmd) *process {
	t.Helper()
	log, err := logFile(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, name: name, command: command, log: log, done: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = log, log
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.command.Wait() // the status is read by whoever asks
	}()
	t.Cleanup(func() {
		if state := p.stop(); state.ExitCode() != p.exits {
			t.Errorf("%s: %v, want exit code %d", name, state, p.exits)
		}
		if t.Failed() {
			log := p.output()
			t.Logf("%s %v, its log:\n%s", name, p.command.ProcessState, log[max(0, len(log)-16<<10):])
		}
		_ = log.Close()
	})
	return p
}

func (p *process) signal() { _ = p.command.Process.Signal(syscall.SIGTERM) } // it may have left already

// stop asks the program to leave and waits for it. It returns how the program ended.
func (p *process) stop() *os.ProcessState {
	p.t.Helper()
	p.signal()
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.t.Errorf("%s does not leave when asked", p.name)
		_ = p.command.Process.Kill()
		<-p.done
	}
	return p.command.ProcessState
}

func (p *process) output() string {
	data, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// line is a line of an agent's log.
type line struct {
	Time      time.Time
	Message   string `json:"msg"`
	Phase     string
	FlowRunID string `json:"flow_run_id"`
}

// lines returns the log so far, without what is no JSON.
func (p *process) lines() []line {
	var lines []line
	for text := range strings.Lines(p.output()) {
		var l line
		if json.Unmarshal([]byte(text), &l) == nil {
			lines = append(lines, l)
		}
	}
	return lines
}

// awaitLine waits until the log holds the text.
func (p *process) awaitLine(text string) {
	p.t.Helper()
	p.await("its log has "+text, func(context.Context) error {
		if !strings.Contains(p.output(), text) {
			return errors.New("not yet")
		}
		return nil
	})
}

// await waits until the check passes; a program that has left fails the test at once.
func (p *process) await(what string, check func(context.Context) error) {
	p.t.Helper()
	eventually(p.t, what, func(ctx context.Context) error {
		select {
		case <-p.done:
			p.t.Fatalf("%s: %s left: %v", what, p.name, p.command.ProcessState)
		default:
		}
		return check(ctx)
	})
}

// eventually repeats the check until it passes or patience ends.
func eventually(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited %v until %s: %v", patience, what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func healthy(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", url, response.Status)
	}
	return errors.Join(err, response.Body.Close())
}
