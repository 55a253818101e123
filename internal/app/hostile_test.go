package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lmittmann/tint"
)

// hostileBackend answers whatever asks for one run with a text of its own.
type hostileBackend struct {
	*backend
	id    string
	text  func() io.Reader
	asked atomic.Int64
	read  atomic.Int64
}

func (h *hostileBackend) RoundTrip(req *http.Request) (*http.Response, error) {
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(data))
	resp, err := h.backend.RoundTrip(req)
	if err != nil || h.text == nil || !bytes.Contains(data, []byte("flow_run(where")) || !bytes.Contains(data, []byte(h.id)) {
		return resp, err
	}
	h.asked.Add(1)
	resp.Body = io.NopCloser(io.TeeReader(h.text(), counter{&h.read}))
	return resp, nil
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) { c.n.Add(int64(len(p))); return len(p), nil }

// repeatedText is a text n times.
type repeatedText struct {
	text string
	n    int
	rest string
}

func (r *repeatedText) Read(p []byte) (int, error) {
	if r.rest == "" {
		if r.n == 0 {
			return 0, io.EOF
		}
		batch := min(r.n, 4096)
		r.rest, r.n = strings.Repeat(r.text, batch), r.n-batch
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// A run whose object is hostile costs bounded memory and fails alone: the run that
// is offered beside it gets its Job.
func TestHostileFlowRun(t *testing.T) {
	t.Parallel()
	const mebibyte = 1 << 20
	v := readVector(t, filepath.Join("..", "..", "conformance", "http", "1.4.1", "deploy-null-parameters.json"))
	good := strings.TrimSuffix(strings.TrimSpace(strings.SplitN(string(v.Input.Backend["flow_run"][0].Data), "[", 2)[1]), "}")
	good = strings.TrimSuffix(strings.TrimSpace(good), "]")
	open := `{"data":{"flow_run":[{"id":"` + otherID + `","version":1,"serialized_state":{"type":"Scheduled"},"name":"`
	for name, c := range map[string]struct {
		text  func() io.Reader // nil: the run is as it should be, but for its name
		queue func() string
		most  int64 // bytes read
	}{
		"100 MiB": {
			text: func() io.Reader {
				return io.MultiReader(strings.NewReader(open), &repeatedText{text: "x", n: 100 * mebibyte})
			},
			most: 80 * mebibyte,
		},
		"nested": {
			text: func() io.Reader {
				return io.MultiReader(strings.NewReader(open+`x","flow":{"storage":`), &repeatedText{text: "[", n: 5000}, &repeatedText{text: "]", n: 5000}, strings.NewReader(`}}]}}`))
			},
			most: mebibyte,
		},
		"no run at all": {text: func() io.Reader {
			return strings.NewReader(`{"data":{"flow_run":[7, null, "x", {"id":{}}, {"id":"a) ,b"}, {"id":"` + otherID + `", "version": "1"},` + good + `]}}`)
		}, most: mebibyte},
		"a million ids": {
			queue: func() string {
				var ids strings.Builder
				for i := range 800_000 {
					fmt.Fprintf(&ids, `,"00000000-0000-4000-8000-%012d"`, i)
				}
				return ids.String()
			},
		},
		"escapes in its name": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := readVector(t, filepath.Join("..", "..", "conformance", "http", "1.4.1", "deploy-null-parameters.json"))
			more := ""
			if c.queue != nil {
				more = c.queue()
			}
			v.Input.Backend["get_runs_in_queue"] = []answer{{Data: json.RawMessage(`{"get_runs_in_queue":{"flow_run_ids":["` + runID + `","` + otherID + `"` + more + `]}}`)}}
			escape(&v)
			v.Input.Command = []string{"agent", "kubernetes", "start", "--max-polls", "3"}
			h := &hostileBackend{id: otherID, text: c.text}
			out := v.against(t, h)
			runs := out.started()
			wantOther := c.text == nil
			if !slices.Contains(runs, runID) {
				t.Errorf("got Jobs of %q, want one of %s; log:\n%.4000s", runs, runID, out.log)
			}
			if slices.Contains(runs, otherID) != wantOther {
				t.Errorf("got Jobs of %q, a Job of the hostile run: want %v", runs, wantOther)
			}
			if h.read.Load() > c.most && c.most > 0 {
				t.Errorf("read %d bytes in %d answers, want at most %d", h.read.Load(), h.asked.Load(), c.most)
			}
			if strings.ContainsRune(out.log, '\x1b') {
				t.Errorf("an escape sequence in the log:\n%q", out.log)
			}
		})
	}
}

// escape offers a second run whose names hold escape sequences.
func escape(v *vector) {
	var data struct {
		Runs []map[string]any `json:"flow_run"`
	}
	a := &v.Input.Backend["flow_run"][0]
	convert(a.Data, &data)
	other := clone(data.Runs[0])
	other["id"] = otherID
	both, _ := json.Marshal(map[string]any{"flow_run": append(data.Runs, other)})
	const name = `"\u001b]0;pwned\u0007\u001b[2J"`
	a.Data = json.RawMessage(strings.ReplaceAll(string(both), `"name":"ETL"`, `"name":`+name))
}

// started are the runs that have a Job.
func (o outcome) started() []string {
	var runs []string
	for _, e := range o.exchanges {
		if e.API == "kubernetes" && e.Request.Method == http.MethodPost {
			body, _ := e.Request.Body.(map[string]any)
			labels, _ := metadata(body)["labels"].(map[string]any)
			runs = append(runs, text(labels["prefect.io/flow_run_id"]))
		}
	}
	return runs
}

// against runs the case over another backend, with a log as on a terminal.
func (v *vector) against(t *testing.T, h *hostileBackend) outcome {
	t.Helper()
	core, src := v.sources(t)
	var out outcome
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(v.Input.Now))
		var log bytes.Buffer
		r := &recorder{}
		out.cluster = newCluster(r, v.Input.Cluster)
		h.backend = &backend{recorder: r, script: v.Input.Backend}
		out.exit = runAgent(t.Context(), core, src, h, out.cluster, slog.New(tint.NewTextHandler(&log, &tint.Options{NoColor: true, Level: slog.LevelDebug})), time.Minute)
		out.exchanges, out.log = r.exchanges, log.String()
	})
	return out
}
