package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// process is a program that was started and will be stopped.
type process struct {
	name    string
	started time.Time
	pid     int
	log     string
	// cancel asks the program to end with SIGTERM; wait is its end.
	cancel context.CancelFunc
	wait   func() error
	ended  <-chan struct{}
}

// stopping is how long a program may take to end after SIGTERM.
const stopping = 90 * time.Second

// launch starts a program. It ends with ctx or with stop. What it writes goes to
// a file in dir; standard output goes to out if that is not nil.
func launch(ctx context.Context, dir, name string, env []string, out io.Writer, args ...string) (*process, error) {
	log, err := os.CreateTemp(dir, name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the program has its own copy
	ctx, cancel := context.WithCancel(ctx)
	command := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // the program under measurement
	command.Env, command.Stdout, command.Stderr = env, log, log
	if out != nil {
		command.Stdout = out
	}
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = stopping
	// An interrupt from the terminal reaches us alone, and we stop the others in order.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := &process{name: name, started: time.Now(), log: log.Name(), cancel: cancel}
	if err := command.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.pid = command.Process.Pid
	var group errgroup.Group
	ended := make(chan struct{})
	group.Go(func() error { defer close(ended); return command.Wait() })
	p.wait, p.ended = group.Wait, ended
	return p, nil
}

// during ends with ctx and with the program, so that nobody waits for a dead one.
func (p *process) during(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	var group errgroup.Group
	group.Go(func() error {
		select {
		case <-p.ended:
			cancel(fmt.Errorf("%s has ended", p.name))
		case <-ctx.Done():
		}
		return nil
	})
	return ctx, func() { cancel(nil); _ = group.Wait() }
}

// stop ends the program. A program that was told to end and says so with
// SIGTERM or with exit code 0 has done well.
func (p *process) stop() error {
	p.cancel()
	err := p.wait()
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return nil
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM: //nolint:forcetypeassert // Linux
		return nil
	}
	return fmt.Errorf("%s: %w%s", p.name, err, p.tail())
}

// tail is the end of the program's log, for errors.
func (p *process) tail() string {
	data, err := os.ReadFile(p.log)
	if err != nil || len(data) == 0 {
		return ""
	}
	const most = 2000
	return "\nlast lines of " + p.name + ":\n" + string(data[max(0, len(data)-most):])
}

// environment is what a program gets: the caller's configuration of Prefect must
// not change the measurement.
func environment(home string, more ...string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}
	return append(env, more...)
}

// usage is what a process has used so far.
type usage struct {
	cpu time.Duration
	// resident and peak are bytes.
	resident, peak int64
}

// tick is the unit of CPU times in /proc/PID/stat, the same on every Linux
// architecture that Go runs on.
const tick = 10 * time.Millisecond

func usageOf(pid int) (usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat")) //nolint:gosec // below /proc
	if err != nil {
		return usage{}, fmt.Errorf("read usage: %w", err)
	}
	status, err := os.ReadFile(filepath.Join(dir, "status")) //nolint:gosec // below /proc
	if err != nil {
		return usage{}, fmt.Errorf("read usage: %w", err)
	}
	return parseUsage(stat, status)
}

// parseUsage reads both files; see proc(5).
func parseUsage(stat, status []byte) (usage, error) {
	// The name of the program, in parentheses, may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const utime, stime = 11, 12
	if len(fields) <= stime {
		return usage{}, errors.New("read usage: too few fields in stat")
	}
	var u usage
	for _, at := range []int{utime, stime} {
		ticks, err := strconv.ParseInt(string(fields[at]), 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("read usage: field %d of stat: %w", at, err)
		}
		u.cpu += time.Duration(ticks) * tick
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			continue // another line
		}
		switch name {
		case "VmRSS":
			u.resident = kib << 10
		case "VmHWM":
			u.peak = kib << 10
		}
	}
	return u, nil
}
