package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// settings are what the caller chose, and what every column needs.
type settings struct {
	runs, rounds       int
	binary, kubeconfig string
	columns            []column
	progress           io.Writer
	// dir holds logs while the program runs.
	dir     string
	cluster *cluster
	// job is the body that the agent sends to create a Job.
	job []byte
	// callers is the number with which the bare loop is fastest.
	callers int
}

// round is one result for each column, by its title.
type round map[string]result

// bareTitle is the reference that the others are compared with.
const bareTitle = "bare loop"

func (s settings) measure(ctx context.Context, out io.Writer) (err error) {
	if s.dir, err = os.MkdirTemp("", "prefect-kube-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	if s.binary, err = filepath.Abs(s.binary); err != nil {
		return err
	}
	binary, err := os.Stat(s.binary)
	if err != nil {
		return fmt.Errorf("look at the program (make build makes it): %w", err)
	}
	if s.cluster, err = openCluster(s.kubeconfig); err != nil {
		return err
	}
	if err := s.cluster.prepare(ctx); err != nil {
		return fmt.Errorf("prepare the cluster: %w", err)
	}
	if s.job, err = s.learn(ctx); err != nil {
		return err
	}
	if s.callers, err = s.sweep(ctx); err != nil {
		return err
	}
	var rounds []round
	for n := range s.rounds {
		r, err := s.round(ctx, n)
		if err != nil {
			return fmt.Errorf("round %d: %w", n+1, err)
		}
		rounds = append(rounds, r)
	}
	return errors.Join(s.cluster.clear(ctx), report{settings: s, size: binary.Size(), rounds: rounds}.write(out))
}

// learn lets the agent start some runs, which also warms the API server up, and
// takes the Job of one.
func (s settings) learn(ctx context.Context) ([]byte, error) {
	s.say("warming up ...")
	s.runs = 8 * pollSize
	if _, err := s.run(ctx, agentColumns()[0]); err != nil {
		return nil, err
	}
	shown, err := s.cluster.anyJob(ctx)
	if err != nil {
		return nil, err
	}
	return asSent(shown)
}

// round measures every column once, between two runs of the bare loop, whose mean
// is what the columns are compared with. Each second round goes backwards, so that
// what changes slowly, such as the size of the database, favours nobody.
func (s settings) round(ctx context.Context, n int) (round, error) {
	columns := slices.Clone(s.columns)
	if n%2 == 1 {
		slices.Reverse(columns)
	}
	before, err := s.loop(ctx, s.runs, s.callers)
	if err != nil {
		return nil, err
	}
	out := round{}
	for _, c := range columns {
		r, err := s.run(ctx, c)
		if err != nil {
			return nil, err
		}
		out[c.title] = r
		s.say("round %d: %s: %.0f jobs/s", n+1, c.title, r.rate)
	}
	after, err := s.loop(ctx, s.runs, s.callers)
	s.say("round %d: %s: %.0f and %.0f jobs/s", n+1, bareTitle, before, after)
	out[bareTitle] = result{rate: (before + after) / 2, callers: s.callers}
	return out, err
}

// mostCallers ends the sweep of the bare loop, which doubles from one.
const mostCallers = 64

// sweep finds the number of callers with which the bare loop is fastest.
func (s settings) sweep(ctx context.Context) (callers int, err error) {
	var best float64
	for n := 1; n <= mostCallers; n *= 2 {
		rate, err := s.loop(ctx, max(s.runs/5, mostCallers), n)
		if err != nil {
			return 0, err
		}
		s.say("sweep: %d callers: %.0f jobs/s", n, rate)
		if rate > best {
			best, callers = rate, n
		}
	}
	return callers, nil
}

// loop runs the bare loop once, in a process of its own.
func (s settings) loop(ctx context.Context, count, callers int) (rate float64, err error) {
	if err := s.cluster.clear(ctx); err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	file := filepath.Join(s.dir, "job.json")
	if err := os.WriteFile(file, s.job, 0o600); err != nil {
		return 0, err
	}
	p, err := launch(ctx, s.dir, modeBare, environment(s.dir, "KUBECONFIG="+s.kubeconfig), nil,
		self, modeBare, "-job", file, "-count", strconv.Itoa(count), "-callers", strconv.Itoa(callers))
	if err != nil {
		return 0, err
	}
	rate, err = s.cluster.follow(ctx, count)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("bare loop with %d callers: %w%s", callers, err, p.tail()), p.stop())
	}
	return rate, p.wait()
}

func (s settings) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.progress, format+"\n", args...) // progress only
}
