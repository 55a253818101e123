package app

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// clockTolerance is how far two clocks may be apart. A Date header has whole seconds.
const clockTolerance = 5 * time.Second

// dated notes by how much a server's clock is ahead of ours, as the Date headers of
// its answers have it.
type dated struct {
	next  http.RoundTripper
	ahead atomic.Pointer[time.Duration]
}

// RoundTrip implements http.RoundTripper.
func (d *dated) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := time.Now()
	resp, err := d.next.RoundTrip(req)
	if err != nil {
		return resp, err
	}
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		ahead := aheadBy(at, sent, time.Now())
		d.ahead.Store(&ahead)
	}
	return resp, nil
}

// aheadBy is how far the second that begins at lies outside of the time between
// a request and its answer: a server may write its Date at any moment of that.
func aheadBy(at, sent, received time.Time) time.Duration {
	switch {
	case at.After(received):
		return at.Sub(received)
	case at.Add(time.Second).Before(sent):
		return at.Add(time.Second).Sub(sent)
	}
	return 0
}

// lookAtClocks compares this machine's clock with those of both servers. Ours decides
// which flow runs are due, that of the API server how old a Job is.
func lookAtClocks(_ context.Context, p *patient) []Finding {
	var findings []Finding
	var right []string
	for _, c := range []struct {
		name string
		seen *dated
	}{{"the Prefect API", p.prefectTime}, {"the API server", p.clusterTime}} {
		ahead := c.seen.ahead.Load()
		switch {
		case ahead == nil:
		case ahead.Abs() > clockTolerance:
			way := map[bool]string{true: "behind", false: "ahead of"}[*ahead > 0]
			findings = append(findings, doubtful("set both clocks by NTP: this machine's clock decides when a scheduled flow run is due",
				"the clock of this machine is about %v %s that of %s", ahead.Abs().Round(clockTolerance), way, c.name)...)
		default:
			right = append(right, c.name)
		}
	}
	if findings != nil {
		return findings
	}
	return healthy("this machine's agrees with: %s", cmp.Or(strings.Join(right, ", "), "none that tells its time"))
}
