package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Down removes the cluster and every trace of it: processes, mounts, links, packet filter rules, cgroups and files.
// Containers get no time to say goodbye. It also removes what a killed Up had begun, and does nothing when there is no
// such cluster. Binaries and images stay in the cache, packages stay installed.
func Down(ctx context.Context, o Options) error {
	o, err := o.complete()
	if err != nil {
		return err
	}
	unlock, err := o.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return down(ctx, o)
}

// DownAll removes every cluster of the cache.
func DownAll(ctx context.Context, o Options) error {
	o, err := o.complete()
	if err != nil {
		return err
	}
	names, err := o.names()
	if err != nil {
		return err
	}
	var failures []error
	for _, name := range names {
		o.Name = name
		failures = append(failures, Down(ctx, o))
	}
	return errors.Join(failures...)
}

func down(ctx context.Context, o Options) error {
	l, err := load(o.dir())
	if errors.Is(err, fs.ErrNotExist) {
		// Nothing is started before the layout is written.
		return errors.Join(os.RemoveAll(o.dir()), o.leaveHost())
	}
	if err != nil {
		return err
	}
	if l.Nodes == Real && os.Geteuid() != 0 {
		return fmt.Errorf("cluster %q has a real node: only root can remove it", l.Name)
	}
	o.say("removing cluster %s ...", l.Name)
	if err := l.killAll(ctx); err != nil {
		return err
	}
	if l.Nodes == Real {
		if err := errors.Join(l.unmount(), l.removeCgroups(ctx), l.removeNetwork(ctx)); err != nil {
			return fmt.Errorf("remove node of cluster %q: %w", l.Name, err)
		}
	}
	if err := l.removeFiles(); err != nil {
		return fmt.Errorf("remove files of cluster %q: %w", l.Name, err)
	}
	return o.leaveHost()
}

// leaveHost restores the machine's settings when no real node is left.
func (o Options) leaveHost() error {
	others, err := o.layouts()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(others, func(l Layout) bool { return l.Nodes == Real }) {
		return nil
	}
	return restoreHostSettings(o.clusters())
}

// unmount drops mounts below the cluster's folder that are visible from outside. There are none as long as the node's
// mount namespace does its work; without this, removing files would reach through a mount.
func (l Layout) unmount() error {
	points, err := mountsBelow(l.Dir)
	if err != nil {
		return err
	}
	for _, point := range slices.Backward(points) {
		if err := detach(point); err != nil {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
	}
	return nil
}

func mountsBelow(dir string) ([]string, error) {
	file, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // read only
	var points []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			points = append(points, fields[1])
		}
	}
	return points, lines.Err()
}

// removeCgroups removes the node's cgroup in every hierarchy, deepest first. Containers that are just dying keep theirs
// busy for a moment.
func (l Layout) removeCgroups(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		roots, err := l.cgroups()
		if err != nil {
			return err
		}
		failures := make([]error, len(roots))
		for n, root := range roots {
			failures[n] = removeTree(root)
		}
		err = errors.Join(failures...)
		if err == nil || !pause(ctx, 50*time.Millisecond) {
			return err
		}
	}
}

// cgroups finds the node's cgroup by name: container runtimes also use hierarchies that the kubelet does not.
func (l Layout) cgroups() ([]string, error) {
	var found []string
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		matches, err := filepath.Glob(pattern + l.Bridge())
		if err != nil {
			return nil, err
		}
		found = append(found, matches...)
	}
	return found, nil
}

// removeTree removes a tree of cgroups. Only their folders can be removed; the files in them go along.
func removeTree(root string) error {
	var folders []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, folder := range slices.Backward(folders) {
		if err := syscall.Rmdir(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove cgroup %s: %w", folder, err)
		}
	}
	return nil
}

// removeNetwork removes the rules, the links of Pods and the bridge.
func (l Layout) removeNetwork(ctx context.Context) error {
	for _, r := range rules(l) {
		for l.run(ctx, r.command("-C")) == nil {
			if err := l.run(ctx, r.command("-D")); err != nil {
				return err
			}
		}
	}
	ports, err := filepath.Glob("/sys/class/net/" + l.Bridge() + "/brif/*")
	if err != nil {
		return err
	}
	for _, link := range append(ports, "/sys/class/net/"+l.Bridge()) {
		// The kernel removes a Pod's link together with its network namespace, so it may be gone by now.
		err := l.run(ctx, Command{Args: []string{"ip", "link", "delete", filepath.Base(link)}})
		if err != nil && exists(link) {
			return err
		}
	}
	return nil
}

// removeFiles removes the layout last: as long as it exists, another Down can finish the work.
func (l Layout) removeFiles() error {
	entries, err := os.ReadDir(l.Dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() != stateFile {
			if err := os.RemoveAll(l.path(entry.Name())); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(l.Dir)
}

// NeedsRoot says whether Down, or DownAll, would have to remove a real node.
func NeedsRoot(o Options, all bool) bool {
	o, err := o.complete()
	if err != nil {
		return false
	}
	names := []string{o.Name}
	if all {
		if names, err = o.names(); err != nil {
			return false
		}
	}
	return slices.ContainsFunc(names, func(name string) bool {
		l, err := load(filepath.Join(o.clusters(), name))
		return err == nil && l.Nodes == Real
	})
}
