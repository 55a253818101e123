package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// double is a Prefect server that answers from memory with what it has encoded
// before, so that it costs little beside the agent. It hands flow runs out, shows
// the claims that are written as the states that count, and counts calls.
type double struct {
	mu     sync.Mutex
	runs   []doubleRun
	prefix uint32
	// first is the first run that nobody has claimed.
	first int
	stats stats
}

type doubleRun struct {
	id    string
	start time.Time
	offer []byte
	// claim is the state that was written last, nil if none was.
	claim json.RawMessage
}

// stats are what a double has seen.
type stats struct {
	// Calls are the calls by their root field; reads of offers, which belong to a
	// poll, are counted apart as callOffers.
	Calls map[string]int `json:"calls"`
	// FirstPoll is when the first get_runs_in_queue arrived, in nanoseconds of Unix time.
	FirstPoll int64 `json:"first_poll"`
	// Logged is the number of run log lines.
	Logged int `json:"logged"`
}

const (
	callQueue  = "get_runs_in_queue"
	callOffers = "flow_run of a poll"
	callRead   = "flow_run"
	callClaim  = "set_flow_run_states"
	callLogs   = "write_run_logs"
	callClaims = "claims of a sweep"
	callLate   = "late runs of a sweep"
)

// polls and rest part the calls in those that come with time and the others.
func (s stats) polls() int {
	return s.Calls[callQueue] + s.Calls[callOffers] + s.Calls[callClaims] + s.Calls[callLate]
}

func (s stats) rest() int {
	all := 0
	for _, n := range s.Calls {
		all += n
	}
	return all - s.polls()
}

// since is what was counted after an earlier moment.
func (s stats) since(before stats) stats {
	calls := maps.Clone(s.Calls)
	for name, n := range before.Calls {
		calls[name] -= n
	}
	return stats{Calls: calls, FirstPoll: s.FirstPoll, Logged: s.Logged - before.Logged}
}

func newDouble(prefix uint32) *double {
	return &double{prefix: prefix, stats: stats{Calls: map[string]int{}}}
}

// serveDouble listens on a free port of the loopback, writes the address and
// serves until ctx ends.
func serveDouble(ctx context.Context, out io.Writer) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: newDouble(uint32(time.Now().UnixNano())).routes(), ReadHeaderTimeout: time.Minute} //nolint:gosec // any bits do
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error { <-ctx.Done(); return server.Close() })
	group.Go(func() error { _, err := fmt.Fprintf(out, "http://%s\n", listener.Addr()); return err })
	return group.Wait()
}

func (d *double) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", d.graphql)
	mux.HandleFunc("POST /release", func(_ http.ResponseWriter, r *http.Request) {
		count, _ := strconv.Atoi(r.FormValue("count")) // ours
		d.release(count, time.Now())
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		_ = json.NewEncoder(w).Encode(d.stats) // the reader notices
	})
	return mux
}

// release makes runs due.
func (d *double) release(count int, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for range count {
		id := fmt.Sprintf("%08x-0000-4000-8000-%012x", d.prefix, len(d.runs))
		d.runs = append(d.runs, doubleRun{id: id, start: now, offer: encodeOffer(id, now)})
	}
}

func (d *double) graphql(w http.ResponseWriter, r *http.Request) {
	var request struct{ Query, Variables string }
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := d.answer(request.Query, request.Variables, time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer) // the agent notices
}

func (d *double) answer(query, variables string, now time.Time) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	call := rootField(query)
	d.stats.Calls[call]++
	switch call {
	case callQueue:
		if d.stats.FirstPoll == 0 {
			d.stats.FirstPoll = now.UnixNano()
		}
		return d.queue(), nil
	case callOffers, callRead:
		return d.read(idsIn(query))
	case callClaims:
		return d.claims(query), nil
	case callLate:
		return d.late(query)
	case callClaim:
		return d.claim(variables)
	case callLogs:
		return d.log(variables)
	}
	if fixed, ok := fixedAnswers()[call]; ok {
		return []byte(fixed), nil
	}
	return nil, fmt.Errorf("no answer for %s", query)
}

// rootField names the field that a document asks for.
func rootField(query string) string {
	switch {
	case strings.Contains(query, `_eq: "Submitted"`):
		return callClaims
	case strings.Contains(query, "scheduled: flow_run(where"):
		return callLate
	case strings.Contains(query, "flow_run(where") && strings.Contains(query, "_or:"):
		return callOffers
	case strings.Contains(query, "flow_run(where"):
		return callRead
	}
	for _, name := range []string{callQueue, callClaim, callLogs} {
		if strings.Contains(query, name+"(") {
			return name
		}
	}
	for name := range fixedAnswers() {
		if strings.Contains(query, name) {
			return name
		}
	}
	return "unknown"
}

// idsIn are the ids of the first list in a document.
func idsIn(query string) []string {
	_, rest, _ := strings.Cut(query, "[")
	list, _, _ := strings.Cut(rest, "]")
	var ids []string
	for part := range strings.SplitSeq(list, ",") {
		ids = append(ids, strings.Trim(part, ` "`))
	}
	return ids
}

// pollSize is how many runs one answer of get_runs_in_queue holds at most.
const pollSize = 25

func (d *double) queue() []byte {
	for d.first < len(d.runs) && d.runs[d.first].claim != nil {
		d.first++
	}
	answer := []byte(`{"data":{"get_runs_in_queue":{"flow_run_ids":[`)
	found := 0
	for i := d.first; i < len(d.runs) && found < pollSize; i++ {
		if d.runs[i].claim != nil {
			continue
		}
		if found++; found > 1 {
			answer = append(answer, ',')
		}
		answer = append(append(append(answer, '"'), d.runs[i].id...), '"')
	}
	return append(answer, `]}}}`...)
}

// pageOfSweep is how many runs one answer to a sweep holds at most.
const pageOfSweep = 200

// claims are the claimed runs behind the id that a document names. The ids of runs
// are in the order of their numbers.
func (d *double) claims(query string) []byte {
	after := textBehind(query, "_gt: ")
	from, _ := slices.BinarySearchFunc(d.runs, after, func(r doubleRun, id string) int { return strings.Compare(r.id, id) })
	var rows []string
	for _, r := range d.runs[from:] {
		if r.claim != nil && r.id != after && len(rows) < pageOfSweep {
			rows = append(rows, `{"id":"`+r.id+`","version":2}`)
		}
	}
	return []byte(`{"data":{"flow_run":[` + strings.Join(rows, ",") + `]}}`)
}

// late are the runs that nobody has claimed by the time that a document names.
func (d *double) late(query string) ([]byte, error) {
	by, err := time.Parse(time.RFC3339Nano, textBehind(query, "_lte: "))
	if err != nil {
		return nil, err
	}
	var rows []string
	for _, r := range d.runs[d.first:] {
		if r.claim == nil && !r.start.After(by) && len(rows) < pageOfSweep && strings.Contains(query, "offset: 0)") {
			rows = append(rows, `{"id":"`+r.id+`","labels":[]}`)
		}
	}
	return []byte(`{"data":{"running":[],"scheduled":[` + strings.Join(rows, ",") + `]}}`), nil
}

// textBehind is the first text in quotes behind a word, empty if there is none.
func textBehind(query, word string) string {
	_, rest, _ := strings.Cut(query, word+`"`)
	text, _, _ := strings.Cut(rest, `"`)
	return text
}

// find is the run of an id, which ends with its number.
func (d *double) find(id string) (*doubleRun, error) {
	number, err := strconv.ParseInt(id[strings.LastIndexByte(id, '-')+1:], 16, 32)
	if err != nil || int(number) >= len(d.runs) || d.runs[number].id != id {
		return nil, fmt.Errorf("no flow run %q", id)
	}
	return &d.runs[number], nil
}

func (d *double) read(ids []string) ([]byte, error) {
	answer := []byte(`{"data":{"flow_run":[`)
	for i, id := range ids {
		run, err := d.find(id)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			answer = append(answer, ',')
		}
		answer = append(answer, run.encode()...)
	}
	return append(answer, `]}}`...), nil
}

// encode is the run as a read shows it: as offered, or with the claim.
func (r *doubleRun) encode() []byte {
	if r.claim == nil {
		return r.offer
	}
	head, rest, _ := bytes.Cut(r.offer, []byte(offered))
	_, rows, _ := bytes.Cut(rest, []byte(`"states":[`))
	return slices.Concat(head, []byte(`"version":2,"state":"Submitted","serialized_state":`), r.claim,
		[]byte(`,"states":[{"version":2,"serialized_state":`), r.claim, []byte(`},`), rows)
}

func (d *double) claim(variables string) ([]byte, error) {
	var in struct {
		Input struct {
			States []struct {
				ID    string          `json:"flow_run_id"`
				State json.RawMessage `json:"state"`
			} `json:"states"`
		} `json:"input"`
	}
	if err := json.Unmarshal([]byte(variables), &in); err != nil {
		return nil, err
	}
	answer := []byte(`{"data":{"set_flow_run_states":{"states":[`)
	for i, s := range in.Input.States {
		run, err := d.find(s.ID)
		if err != nil {
			return nil, err
		}
		run.claim = s.State
		if i > 0 {
			answer = append(answer, ',')
		}
		answer = append(append(append(answer, `{"id":"`...), s.ID...), `","status":"SUCCESS","message":null}`...)
	}
	return append(answer, `]}}}`...), nil
}

func (d *double) log(variables string) ([]byte, error) {
	var in struct {
		Input struct {
			Logs []struct{} `json:"logs"`
		} `json:"input"`
	}
	if err := json.Unmarshal([]byte(variables), &in); err != nil {
		return nil, err
	}
	d.stats.Logged += len(in.Input.Logs)
	return []byte(`{"data":{"write_run_logs":{"success":true}}}`), nil
}
