package prefect1_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// slow answers within 50 ms, and takes its time over a nested answer where one of
// the bad runs is asked for.
type slow struct {
	bad  map[string]bool
	late time.Duration
	// long is set where the trouble is in the states behind the newest ones.
	long bool
}

func (s slow) RoundTrip(req *http.Request) (*http.Response, error) {
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	var rows []string
	text, pause := "", 50*time.Millisecond
	for _, id := range queue25() {
		if !strings.Contains(string(data), fmt.Sprintf(`\"%s\"`, id)) {
			continue
		}
		states := ""
		if s.long && s.bad[string(id)] {
			states = strings.Repeat(`{"version":2,"serialized_state":{"type":"Running"}},`, 19) + `{"version":1,"serialized_state":{"type":"Running"}}`
		}
		rows = append(rows, fmt.Sprintf(`{"id":%q,"version":1,"serialized_state":{"type":"Scheduled"},"states":[%s]}`, id, states))
		if s.bad[string(id)] && (!s.long || strings.Contains(string(data), "limit: 500")) {
			text, pause = strings.Repeat("[", 600), s.late
		}
	}
	if text == "" {
		text = `{"data":{"flow_run":[` + strings.Join(rows, ",") + `]}}`
	}
	select {
	case <-req.Context().Done():
		return nil, req.Context().Err()
	case <-time.After(pause):
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: req}, nil
}

func queue25() []flowrun.ID {
	var ids []flowrun.ID
	for i := range 25 {
		ids = append(ids, flowrun.ID(fmt.Sprintf("r%d", i)))
	}
	return ids
}

// Runs whose answers are too large and slow to come do not keep the others from
// being read, within the time of a poll and with half of it left.
func TestSlowHostileRunsDoNotStallTheQueue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		late time.Duration
		bad  map[string]bool
		long bool
	}{
		"one":                      {3 * time.Second, map[string]bool{"r17": true}, false},
		"the first":                {3 * time.Second, map[string]bool{"r0": true}, false},
		"three":                    {3 * time.Second, map[string]bool{"r1": true, "r9": true, "r24": true}, false},
		"slower than half a poll":  {10 * time.Second, map[string]bool{"r3": true}, false},
		"slower than a whole poll": {time.Minute, map[string]bool{"r3": true, "r4": true}, false},
		"long histories":           {3 * time.Second, map[string]bool{"r3": true, "r4": true, "r5": true}, true},
		"long and slow histories":  {time.Minute, map[string]bool{"r3": true, "r4": true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, err := prefect1.New(prefect1.Options{
					API: "http://p.test", CoreVersion: prefect1.Version1, HTTP: &http.Client{Transport: slow{c.bad, c.late, c.long}}, Logger: slog.New(slog.DiscardHandler),
				})
				if err != nil {
					t.Fatal(err)
				}
				read := polls(t, client)
				for _, id := range queue25() {
					if read[id] == c.bad[string(id)] {
						t.Errorf("%s: readable is %v after 4 polls", id, read[id])
					}
				}
			})
		})
	}
}

// polls says which runs could be read in any of four polls.
func polls(t *testing.T, client *prefect1.Client) map[flowrun.ID]bool {
	t.Helper()
	read := map[flowrun.ID]bool{}
	for range 4 {
		for _, run := range poll(t, client) {
			read[run.ID] = read[run.ID] || run.Err == nil
		}
	}
	return read
}

// poll reads all runs within 15 s. One that works leaves time to use what was read,
// and loses no run.
func poll(t *testing.T, client *prefect1.Client) []prefect1.FlowRun {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	runs, err := client.FlowRuns(ctx, queue25(), time.Now())
	switch {
	case err != nil && !errors.Is(err, context.DeadlineExceeded):
		t.Fatal(err)
	case err == nil && (ctx.Err() != nil || len(runs) != 25):
		t.Errorf("got %d runs, context %v; want all of them and time left", len(runs), ctx.Err())
	}
	return runs
}
