package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const stateFile = "state.json"

// lock makes one Up or Down per cache the only one. The kernel lifts it when the process ends, however it ends.
func (o Options) lock() (unlock func(), err error) {
	if err := os.MkdirAll(o.clusters(), 0o755); err != nil {
		return nil, fmt.Errorf("create cluster folder: %w", err)
	}
	folder, err := os.Open(o.clusters())
	if err != nil {
		return nil, fmt.Errorf("lock clusters: %w", err)
	}
	descriptor := int(folder.Fd())
	if err := syscall.Flock(descriptor, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		o.say("waiting for another up or down to end ...")
		if err := syscall.Flock(descriptor, syscall.LOCK_EX); err != nil {
			return nil, errors.Join(fmt.Errorf("lock clusters: %w", err), folder.Close())
		}
	}
	return func() { _ = folder.Close() }, nil // closing lifts the lock
}

// load reads a cluster's layout. The error is fs.ErrNotExist when there is no such cluster.
func load(dir string) (Layout, error) {
	var l Layout
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return l, err
	}
	if err := json.Unmarshal(data, &l); err != nil {
		return l, fmt.Errorf("read %s: %w", filepath.Join(dir, stateFile), err)
	}
	if l.Dir != dir {
		return l, fmt.Errorf("read %s: it describes %s; was the folder moved?", filepath.Join(dir, stateFile), l.Dir)
	}
	return l, nil
}

// save writes the layout before anything of the cluster exists.
func (l Layout) save() error {
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return fmt.Errorf("create folder of cluster %q: %w", l.Name, err)
	}
	return writeJSON(l.path(stateFile), l)
}

// names lists the clusters that have a folder, half started or not.
func (o Options) names() ([]string, error) {
	entries, err := os.ReadDir(o.clusters())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list clusters: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// layouts lists the clusters other than o's that were written down.
func (o Options) layouts() ([]Layout, error) {
	names, err := o.names()
	if err != nil {
		return nil, err
	}
	var all []Layout
	for _, name := range names {
		if name == o.Name {
			continue
		}
		l, err := load(filepath.Join(o.clusters(), name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// journal notes that a step begins, so that the reader of a killed start sees how far it came.
func (l Layout) journal(step string) error {
	file, err := os.OpenFile(l.path("journal"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	_, err = file.WriteString(step + "\n")
	return errors.Join(err, file.Close())
}

// writeJSON replaces the file in one go: a reader finds the old content or the new one.
func writeJSON(path string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(path+".new", path)
}
