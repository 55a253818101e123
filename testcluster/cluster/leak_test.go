package cluster_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/testcluster/cluster"
)

// cannotRun skips with a line that the summary of all tests looks for. It fails where CI=true promises everything.
func cannotRun(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	_, _ = fmt.Fprintln(os.Stdout, "cannot run: cluster tests:", reason)
	t.Skip(reason)
}

// needPrograms returns the cache that holds the built programs.
func needPrograms(t *testing.T) (cache string) {
	t.Helper()
	if testing.Short() {
		t.Skip("clusters are started: not with -short")
	}
	cache, err := cluster.DefaultCache()
	if err != nil {
		cannotRun(t, err.Error())
	}
	built, err := filepath.Glob(filepath.Join(cache, "bin", "kubernetes-*", "kwok"))
	if err != nil || len(built) == 0 {
		cannotRun(t, "the Kubernetes programs are not built yet: run testcluster up once")
	}
	return cache
}

func needRealNode(t *testing.T) (cache string) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		cannotRun(t, "a real node needs root on Linux")
	}
	return needPrograms(t)
}

// starter runs the command as a user does, in a cache of its own that shares the built programs.
type starter struct{ program, cache string }

func newStarter(t *testing.T, programs string) starter {
	t.Helper()
	// The path of t.TempDir holds the test's name and is too long for sockets.
	cache, err := os.MkdirTemp("", "leak") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(cache) })
	s := starter{program: filepath.Join(t.TempDir(), "testcluster"), cache: cache}
	build := exec.Command("go", "build", "-o", s.program, "../cmd/testcluster")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, output)
	}
	if err := os.Mkdir(filepath.Join(s.cache, "clusters"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, shared := range []string{"bin", "images"} {
		// On a fresh machine the folder of images is not there yet, and a link to nothing cannot be made a folder.
		if err := os.MkdirAll(filepath.Join(programs, shared), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(programs, shared), filepath.Join(s.cache, shared)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s starter) command(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, s.program, args...)
	command.Env = append(os.Environ(), cluster.CacheVariable+"="+s.cache)
	return command
}

func (s starter) run(t *testing.T, args ...string) string {
	t.Helper()
	output, err := s.command(context.WithoutCancel(t.Context()), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, output)
	}
	return string(output)
}

// killAfter runs the command and kills it, and it alone, a moment after its nth line. It returns false when the command
// came to its end before.
func (s starter) killAfter(t *testing.T, n int, moment time.Duration, args ...string) bool {
	t.Helper()
	command := s.command(t.Context(), args...)
	progress, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(progress)
	seen := 0
	for seen < n && lines.Scan() {
		seen++
	}
	if seen == n {
		time.Sleep(moment) // the very thing under test is an end at an arbitrary time
		_ = command.Process.Signal(syscall.SIGKILL)
	}
	_ = command.Wait()
	return seen == n && !command.ProcessState.Success()
}

func TestDownLeavesNothingOfAKilledUp(t *testing.T) {
	s := newStarter(t, needRealNode(t))
	t.Cleanup(func() { s.run(t, "down", "--all") })
	before := snapshot(t, s.cache)
	for _, moment := range []time.Duration{0, 250 * time.Millisecond} {
		for step := 1; s.killAfter(t, step, moment, "up", "--nodes=real"); step++ {
			t.Logf("killed %v after line %d, journal: %q", moment, step, journal(s.cache))
			s.run(t, "down")
			compare(t, before, snapshot(t, s.cache))
		}
		s.run(t, "down")
	}
}

func TestDownFinishesAKilledDown(t *testing.T) {
	s := newStarter(t, needRealNode(t))
	t.Cleanup(func() { s.run(t, "down", "--all") })
	before := snapshot(t, s.cache)
	s.run(t, "up", "--nodes=real")
	for _, moment := range []time.Duration{0, 20 * time.Millisecond, 60 * time.Millisecond, 100 * time.Millisecond} {
		s.killAfter(t, 1, moment, "down")
	}
	s.run(t, "down")
	compare(t, before, snapshot(t, s.cache))
}

func TestUpReplacesWhatAKilledUpLeft(t *testing.T) {
	s := newStarter(t, needRealNode(t))
	t.Cleanup(func() { s.run(t, "down", "--all") })
	s.killAfter(t, 3, 0, "up", "--nodes=real")
	if said := s.run(t, "up", "--nodes=real"); !strings.Contains(said, "removing the remains") {
		t.Errorf("up says: %s", said)
	}
}

func TestTwoClustersSideBySide(t *testing.T) {
	s := newStarter(t, needRealNode(t))
	t.Cleanup(func() { s.run(t, "down", "--all") })
	before := snapshot(t, s.cache)
	s.run(t, "up", "--nodes=real", "--name=one")
	alone := snapshot(t, s.cache)
	s.run(t, "up", "--nodes=real", "--name=two")
	s.run(t, "down", "--name=two")
	compare(t, alone, snapshot(t, s.cache))
	if said := s.run(t, "up", "--name=one"); !strings.Contains(said, "is running already") {
		t.Errorf("the first cluster suffered when the second was removed: %s", said)
	}
	s.run(t, "down", "--all")
	compare(t, before, snapshot(t, s.cache))
}

func journal(cache string) []string {
	data, _ := os.ReadFile(filepath.Join(cache, "clusters", cluster.DefaultName, "journal")) // none before the first step
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// traces is what a cluster could leave behind, by kind.
type traces map[string][]string

func compare(t *testing.T, want, got traces) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("traces (-before +after):\n%s", diff)
	}
}

// snapshot is incomplete where only root on Linux sees everything; a real node needs that too.
func snapshot(t *testing.T, cache string) traces {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return traces{"clusters": folder(t, filepath.Join(cache, "clusters"), 9)}
	}
	return traces{
		"processes": clusterProcesses(t),
		"mounts":    lines(t, "cat", "/proc/self/mounts"),
		"links":     lines(t, "sh", "-c", "ip -oneline link | cut -d: -f2"),
		"addresses": lines(t, "sh", "-c", "ip -oneline -4 address | awk '{print $2, $4}'"),
		"netns":     folder(t, "/run/netns", 1),
		"rules":     slices.DeleteFunc(lines(t, "iptables-save"), func(line string) bool { return !strings.HasPrefix(line, "-A") }),
		"cgroups":   lines(t, "find", "/sys/fs/cgroup", "-type", "d"),
		"sysctls": lines(t, "sh", "-c", "cd /proc/sys; grep -H . net/ipv4/ip_forward vm/overcommit_memory vm/panic_on_oom "+
			"kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes"),
		"clusters": folder(t, filepath.Join(cache, "clusters"), 9),
		"run":      folder(t, "/run", 3),
		"var":      slices.Concat(folder(t, "/var/lib", 1), folder(t, "/var/log", 1)),
		"etc":      slices.Concat(folder(t, "/etc", 1), folder(t, "/opt", 1)),
	}
}

// clusterProcesses lists processes that bear a cluster's mark, are one of its programs, or live in a process namespace
// of their own. Others come and go on a machine that is in use.
func clusterProcesses(t *testing.T) []string {
	t.Helper()
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"etcd", "kube", "kwok", "containerd", "runc", "pause", "ctr", "unshare", "nsenter"}
	var found []string
	pids, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		stat, err := os.ReadFile(filepath.Join(pid, "stat"))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			continue
		}
		name, _, _ := strings.Cut(strings.SplitAfterN(string(stat), "(", 2)[1], ")")
		environment, _ := os.ReadFile(filepath.Join(pid, "environ"))
		namespace, err := os.Readlink(filepath.Join(pid, "ns", "pid"))
		if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(name, n) }) ||
			bytes.Contains(environment, []byte("PREFECT_KUBE_CLUSTER_DIR=")) || err == nil && namespace != own {
			found = append(found, filepath.Base(pid)+" "+name)
		}
	}
	slices.Sort(found)
	return found
}

func lines(t *testing.T, program string, args ...string) []string {
	t.Helper()
	output, err := exec.Command(program, args...).Output()
	if err != nil {
		t.Fatalf("%s %v: %v", program, args, err)
	}
	all := strings.Split(strings.TrimSpace(string(output)), "\n")
	slices.Sort(all)
	return all
}

func folder(t *testing.T, root string, depth int) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		found = append(found, path)
		if entry.IsDir() && strings.Count(path[len(root):], "/") >= depth {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
