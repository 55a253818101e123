package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// column is one way to run the agent.
type column struct {
	title string
	// dev puts the development backend in the place of the double.
	dev  bool
	args []string
}

func agentColumns() []column {
	return []column{
		{title: "agent"},
		{title: "exclusive", args: []string{"--exclusive-labels"}},
		{title: "dev", dev: true},
	}
}

func titles(columns []column) []string {
	var all []string
	for _, c := range columns {
		all = append(all, c.title)
	}
	return all
}

// result is what one column showed in one round. A zero means not measured.
type result struct {
	rate float64
	// whole is from the moment the runs were due (in dev: from exec) to the last Job.
	whole time.Duration
	// callers is set for the bare loop only.
	callers   int
	firstPoll time.Duration
	// idle and peak are resident bytes.
	idle, peak int64
	// cpu is the agent's CPU time for one start, served that of the Prefect side.
	cpu, served time.Duration
	// many are the calls for all runs at once, alone those for one run by itself.
	many, alone stats
}

func (s settings) agent(ctx context.Context, api string, c column) (*process, error) {
	args := []string{s.binary, "agent", "kubernetes", "start", "--namespace", namespace, "--api", api, "--max-poll-interval", "1s"}
	return launch(ctx, s.dir, "agent", environment(s.dir, "KUBECONFIG="+s.kubeconfig, "PREFECT__BACKEND=server"), nil, append(args, c.args...)...)
}

// run measures one column on an empty namespace.
func (s settings) run(ctx context.Context, c column) (result, error) {
	if err := s.cluster.clear(ctx); err != nil {
		return result{}, err
	}
	measure := s.onDouble
	if c.dev {
		measure = s.onDev
	}
	r, err := measure(ctx, c)
	if err != nil {
		return r, fmt.Errorf("column %s: %w", c.title, err)
	}
	return r, nil
}

// onDev fills the backend before the agent starts, since filling costs it more
// than serving.
func (s settings) onDev(ctx context.Context, c column) (r result, err error) {
	backend, err := s.startDev(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, backend.stop()) }()
	if err := backend.fill(ctx, s.runs); err != nil {
		return r, err
	}
	agent, err := s.agent(ctx, backend.url, c)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, agent.stop()) }()
	ctx, done := agent.during(ctx)
	defer done()
	if err := s.starts(ctx, agent, backend.process, agent.started, &r); err != nil {
		return r, fmt.Errorf("%w%s", err, agent.tail())
	}
	return r, nil
}

// onDouble goes through an agent's life: first poll, idle, all runs at once, one
// run alone.
func (s settings) onDouble(ctx context.Context, c column) (r result, err error) {
	double, err := s.startDouble(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, double.stop()) }()
	agent, err := s.agent(ctx, double.url, c)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, agent.stop()) }()
	ctx, done := agent.during(ctx)
	defer done()
	if err := s.live(ctx, agent, double, &r); err != nil {
		return r, fmt.Errorf("%w%s", err, agent.tail())
	}
	return r, nil
}

func (s settings) live(ctx context.Context, agent *process, double *doubleProcess, r *result) error {
	before, err := double.await(ctx, func(st stats) bool { return st.FirstPoll != 0 })
	if err != nil {
		return err
	}
	r.firstPoll = time.Unix(0, before.FirstPoll).Sub(agent.started)
	const idle = 5 * time.Second
	if err := sleep(ctx, idle); err != nil {
		return err
	}
	rest, err := usageOf(agent.pid)
	if err != nil {
		return err
	}
	r.idle = rest.resident
	before, err = double.stats(ctx)
	if err != nil {
		return err
	}
	due := time.Now()
	if err := double.release(ctx, s.runs); err != nil {
		return err
	}
	if err := s.starts(ctx, agent, double.process, due, r); err != nil {
		return err
	}
	after, err := double.await(ctx, func(st stats) bool { return st.Logged >= s.runs })
	if err != nil {
		return err
	}
	r.many = after.since(before)
	if err := double.release(ctx, 1); err != nil {
		return err
	}
	one, err := double.await(ctx, func(st stats) bool { return st.Logged > s.runs })
	r.alone = one.since(after)
	return err
}

// starts follows the Jobs of all runs and what the two processes use for them.
func (s settings) starts(ctx context.Context, agent, served *process, due time.Time, r *result) error {
	var before, after [2]usage
	var err error
	for i, p := range []*process{agent, served} {
		if before[i], err = usageOf(p.pid); err != nil {
			return err
		}
	}
	if r.rate, err = s.cluster.follow(ctx, s.runs); err != nil {
		return err
	}
	r.whole = time.Since(due)
	for i, p := range []*process{agent, served} {
		if after[i], err = usageOf(p.pid); err != nil {
			return err
		}
	}
	r.peak = after[0].peak
	r.cpu = (after[0].cpu - before[0].cpu) / time.Duration(s.runs)
	r.served = after[1].cpu - before[1].cpu
	return nil
}

// doubleProcess is a double in a process of its own.
type doubleProcess struct {
	*process
	url string
}

func (s settings) startDouble(ctx context.Context) (*doubleProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer reader.Close() //nolint:errcheck // read only
	p, err := launch(ctx, s.dir, modeDouble, environment(s.dir), writer, self, modeDouble)
	if err := errors.Join(err, writer.Close()); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the double gives no address: %w%s", err, p.tail()), p.stop())
	}
	return &doubleProcess{process: p, url: strings.TrimSpace(line)}, nil
}

func (d *doubleProcess) stats(ctx context.Context) (stats, error) {
	var st stats
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"/stats", nil)
	if err != nil {
		return st, err
	}
	return st, fetch(req, &st)
}

func (d *doubleProcess) release(ctx context.Context, count int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"/release?count="+strconv.Itoa(count), nil)
	if err != nil {
		return err
	}
	var nothing any
	if err := fetch(req, &nothing); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("release runs: %w", err)
	}
	return nil
}

// await looks until the double has seen what is waited for.
func (d *doubleProcess) await(ctx context.Context, seen func(stats) bool) (stats, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("the double waited %s in vain", patience))
	defer cancel()
	for {
		st, err := d.stats(ctx)
		if err != nil || seen(st) {
			return st, err
		}
		if err := sleep(ctx, sampling); err != nil {
			return st, err
		}
	}
}
