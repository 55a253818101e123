package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Cluster is a running cluster.
type Cluster struct{ Layout }

// Up starts the cluster, or returns the running one of that name when it is healthy. One that is not healthy, because its
// starter was killed or its programs have died, is removed and started afresh. When Up itself fails, what it had begun is
// left for its logs to be read; Down or the next Up removes it.
func Up(ctx context.Context, o Options) (*Cluster, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	unlock, err := o.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	l, err := load(o.dir())
	if err == nil && l.healthy(ctx) {
		o.say("cluster %s is running already", o.Name)
		return &Cluster{l}, suits(l, o)
	}
	if err == nil || !errors.Is(err, fs.ErrNotExist) || exists(o.dir()) {
		o.say("removing the remains of cluster %s ...", o.Name)
		if err := down(ctx, o); err != nil {
			return nil, err
		}
	}
	return create(ctx, o)
}

// suits refuses to hand a cluster of one kind to a caller who asked for another.
func suits(l Layout, o Options) error {
	if o.Nodes != Auto && o.Nodes != l.Nodes {
		return fmt.Errorf("cluster %q runs with a %s node: take it down first, or choose another name", l.Name, l.Nodes)
	}
	if o.Audit && !l.Audit {
		return fmt.Errorf("cluster %q runs without an audit log: take it down first, or choose another name", l.Name)
	}
	return nil
}

func create(ctx context.Context, o Options) (*Cluster, error) {
	nodes, err := chooseNodes(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := Build(ctx, o); err != nil {
		return nil, err
	}
	l, err := allocate(o)
	if err != nil {
		return nil, err
	}
	if l.Nodes = nodes; nodes == Real {
		if err := l.inspectHost(ctx, o); err != nil {
			return nil, err
		}
	}
	certificates, err := NewCertificates(l, time.Now())
	if err != nil {
		return nil, err
	}
	if err := l.save(); err != nil {
		return nil, err
	}
	if nodes == Real {
		if err := saveHostSettings(o.clusters()); err != nil {
			return nil, err
		}
	}
	return &Cluster{l}, l.carryOut(ctx, o, Plan(l, certificates))
}

// carryOut is the starting loop.
func (l Layout) carryOut(ctx context.Context, o Options, steps []Step) error {
	for _, step := range steps {
		if err := l.journal(step.Name); err != nil {
			return err
		}
		o.say("%s ...", step.Name)
		if err := l.do(ctx, step); err != nil {
			return fmt.Errorf("%s: %w", step.Name, err)
		}
	}
	return nil
}

func (l Layout) do(ctx context.Context, s Step) error {
	if err := writeFiles(s.Dirs, s.Files); err != nil {
		return err
	}
	if err := l.runAll(ctx, s.Commands); err != nil {
		return err
	}
	for _, c := range s.Components {
		if err := l.start(c); err != nil {
			return err
		}
	}
	for _, c := range s.Components {
		for _, probe := range c.Ready {
			if err := l.await(ctx, probe, []Component{c}); err != nil {
				return err
			}
		}
	}
	if err := l.runAll(ctx, s.After); err != nil {
		return err
	}
	for _, probe := range s.Ready {
		if err := l.await(ctx, probe, s.Components); err != nil {
			return err
		}
	}
	return nil
}

func (l Layout) runAll(ctx context.Context, commands []Command) error {
	for _, c := range commands {
		if err := l.run(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func writeFiles(dirs []string, files []File) error {
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, file := range files {
		if err := os.MkdirAll(filepath.Dir(file.Path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file.Path, []byte(file.Content), file.Mode); err != nil {
			return err
		}
	}
	return nil
}

// healthy says whether every component runs and answers.
func (l Layout) healthy(ctx context.Context) bool {
	client, err := l.client()
	if err != nil {
		return false
	}
	for _, step := range Plan(l, Certificates{}) {
		for _, c := range step.Components {
			if !l.running(c.Name) || !yes(ctx, client, c.Ready) {
				return false
			}
		}
		if !yes(ctx, client, step.Ready) {
			return false
		}
	}
	return true
}

func yes(ctx context.Context, client *http.Client, probes []Probe) bool {
	for _, probe := range probes {
		if probe.ask(ctx, client) != nil {
			return false
		}
	}
	return true
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
