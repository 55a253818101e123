package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

const (
	maxClocks  = 100
	maxFilters = 20
	// maxTries bounds the search when filters refuse most events of a clock.
	maxTries = 10_000
)

// Schedule is a parsed schedule of Prefect 0.x or 1.x (prefect/serialization/
// schedule.py): clocks make events, filters drop some.
type Schedule struct {
	Clocks []Clock
	keep   []func(time.Time) bool
	adjust []func(time.Time) time.Time
}

// Clock makes events. Parameters and labels go to the runs it starts.
type Clock struct {
	Parameters map[string]json.RawMessage
	// Labels are nil if the clock has none of its own.
	Labels []string
	from   time.Time
	until  *time.Time
	next   func(after time.Time) (time.Time, bool)
}

// Event is one future run of a schedule.
type Event struct {
	Start      time.Time
	Parameters map[string]json.RawMessage
	Labels     []string
}

// key names the event. Clocks with parameters or labels of their own may start
// runs at the same time.
func (e Event) key() string {
	key := FormatTime(e.Start)
	if len(e.Parameters) == 0 && e.Labels == nil {
		return key
	}
	sum := sha256.Sum256(append(mustJSON(e.Parameters), mustJSON(e.Labels)...))
	return key + ":" + hex.EncodeToString(sum[:8])
}

type scheduleDoc struct {
	Clocks      []clockDoc  `json:"clocks"`
	Filters     []filterDoc `json:"filters"`
	OrFilters   []filterDoc `json:"or_filters"`
	NotFilters  []filterDoc `json:"not_filters"`
	Adjustments []filterDoc `json:"adjustments"`
}

type filterDoc struct {
	Fn string `json:"fn"`
}

type clockDoc struct {
	Type       string                     `json:"type"`
	Start      *dateDoc                   `json:"start_date"`
	End        *dateDoc                   `json:"end_date"`
	Interval   json.Number                `json:"interval"`
	Cron       string                     `json:"cron"`
	DayOr      *bool                      `json:"day_or"`
	Dates      []dateDoc                  `json:"dates"`
	Parameters map[string]json.RawMessage `json:"parameter_defaults"`
	Labels     []string                   `json:"labels"`
}

// dateDoc is {"dt": local time, "tz": zone}, or a timestamp as text.
type dateDoc struct{ time.Time }

// UnmarshalJSON reads both forms.
func (d *dateDoc) UnmarshalJSON(raw []byte) error {
	doc := struct{ Dt, Tz string }{Tz: "UTC"}
	var err error
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		err = json.Unmarshal(raw, &doc)
	} else {
		err = json.Unmarshal(raw, &doc.Dt)
	}
	if err != nil {
		return err
	}
	zone, err := location(doc.Tz)
	if err != nil {
		return err
	}
	t, err := ParseTime(doc.Dt)
	if err != nil {
		return err
	}
	if strings.ContainsAny(doc.Dt[min(len(doc.Dt), 10):], "Z+-") {
		d.Time = t.In(zone)
		return nil
	}
	d.Time = time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone)
	return nil
}

// location refuses "Local", which would make a schedule depend on the machine.
func location(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		name = "UTC"
	}
	if len(name) > 64 {
		return nil, refuse("invalid time zone")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, refuse("invalid time zone %q", name)
	}
	return zone, nil
}

// ParseSchedule reads a serialized schedule with cron, interval and dates
// clocks. What it does not know (rules of recurrence, other filters than
// weekday and weekend) is an error that names it.
func ParseSchedule(raw json.RawMessage) (*Schedule, error) {
	var doc scheduleDoc
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, refuse("Invalid schedule: %v", err)
	}
	if len(doc.Clocks) > maxClocks || len(doc.Filters)+len(doc.OrFilters)+len(doc.NotFilters)+len(doc.Adjustments) > maxFilters {
		return nil, refuse("Invalid schedule: more than %d clocks or %d filters", maxClocks, maxFilters)
	}
	s := &Schedule{}
	for i, c := range doc.Clocks {
		clock, err := parseClock(c)
		if err != nil {
			return nil, refuse("Invalid schedule: clocks[%d]: %v", i, err)
		}
		s.Clocks = append(s.Clocks, clock)
	}
	return s, s.parseFilters(doc)
}

func parseClock(c clockDoc) (Clock, error) {
	out := Clock{Parameters: c.Parameters, Labels: c.Labels}
	zone := time.UTC
	if c.Start != nil {
		out.from, zone = c.Start.Time, c.Start.Location()
	}
	if c.End != nil {
		out.until = &c.End.Time
	}
	var err error
	switch {
	case c.Type == "CronClock" || (c.Type == "" && c.Cron != ""):
		out.next, err = cronClock(c.Cron, c.DayOr == nil || *c.DayOr, zone)
	case c.Type == "IntervalClock" || (c.Type == "" && c.Interval != ""):
		out.next, err = intervalClock(c.Interval, out.from)
	case c.Type == "DatesClock" || (c.Type == "" && c.Dates != nil):
		out.next = datesClock(c.Dates)
	default:
		err = refuse("type %.40q is not known here", c.Type)
	}
	return out, err
}

// intervalClock counts from the start date, 2019-01-01 without one. Whole days
// are days of the calendar of its zone.
func intervalClock(micros json.Number, from time.Time) (func(time.Time) (time.Time, bool), error) {
	n, err := micros.Float64()
	if err != nil || n < 1e6 || n > 1e15 {
		return nil, refuse("interval: want microseconds, at least a second")
	}
	step := time.Duration(n) * time.Microsecond
	if from.IsZero() {
		from = time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	days := int(step / (24 * time.Hour))
	if step%(24*time.Hour) != 0 {
		return func(after time.Time) (time.Time, bool) {
			if after.Before(from) {
				return from, true
			}
			k := int64(after.Sub(from)/step) + 1
			return from.Add(time.Duration(k) * step), true
		}, nil
	}
	return func(after time.Time) (time.Time, bool) {
		k := max(int(after.Sub(from).Hours()/24)/days-1, 0)
		t := from.AddDate(0, 0, k*days)
		for !t.After(after) {
			k++
			t = from.AddDate(0, 0, k*days)
		}
		return t, true
	}, nil
}

func datesClock(dates []dateDoc) func(time.Time) (time.Time, bool) {
	sorted := slices.SortedFunc(slices.Values(dates), func(a, b dateDoc) int { return a.Compare(b.Time) })
	return func(after time.Time) (time.Time, bool) {
		for _, d := range sorted {
			if d.After(after) {
				return d.Time, true
			}
		}
		return time.Time{}, false
	}
}

func (s *Schedule) parseFilters(doc scheduleDoc) error {
	var either []func(time.Time) bool
	for _, f := range doc.OrFilters {
		fn, err := dayFilter(f.Fn)
		if err != nil {
			return err
		}
		either = append(either, fn)
	}
	if len(either) > 0 {
		s.keep = append(s.keep, func(t time.Time) bool {
			return slices.ContainsFunc(either, func(f func(time.Time) bool) bool { return f(t) })
		})
	}
	for _, f := range doc.Filters {
		fn, err := dayFilter(f.Fn)
		if err != nil {
			return err
		}
		s.keep = append(s.keep, fn)
	}
	for _, f := range doc.NotFilters {
		fn, err := dayFilter(f.Fn)
		if err != nil {
			return err
		}
		s.keep = append(s.keep, func(t time.Time) bool { return !fn(t) })
	}
	for _, f := range doc.Adjustments {
		if !strings.HasSuffix(f.Fn, ".next_weekday") {
			return refuse("Invalid schedule: adjustment %.80q is not known here", f.Fn)
		}
		s.adjust = append(s.adjust, nextWeekday)
	}
	return nil
}

func dayFilter(name string) (func(time.Time) bool, error) {
	switch {
	case strings.HasSuffix(name, ".is_weekday"):
		return isWeekday, nil
	case strings.HasSuffix(name, ".is_weekend"):
		return func(t time.Time) bool { return !isWeekday(t) }, nil
	}
	return nil, refuse("Invalid schedule: filter %.80q is not known here", name)
}

func isWeekday(t time.Time) bool { return t.Weekday() != time.Saturday && t.Weekday() != time.Sunday }

func nextWeekday(t time.Time) time.Time {
	for !isWeekday(t) {
		t = t.AddDate(0, 0, 1)
	}
	return t
}

// Next returns the first n events after now, earliest first.
func (s *Schedule) Next(now time.Time, n int) []Event {
	var all []Event
	for _, c := range s.Clocks {
		after := now
		if c.from.After(now) {
			after = c.from.Add(-time.Nanosecond)
		}
		made := 0
		for range maxTries {
			t, ok := c.next(after)
			if !ok || made >= n || (c.until != nil && t.After(*c.until)) {
				break
			}
			after = t
			if slices.ContainsFunc(s.keep, func(keep func(time.Time) bool) bool { return !keep(t) }) {
				continue
			}
			for _, adjust := range s.adjust {
				t = adjust(t)
			}
			all = append(all, Event{Start: t, Parameters: c.Parameters, Labels: c.Labels})
			made++
		}
	}
	slices.SortStableFunc(all, func(a, b Event) int { return a.Start.Compare(b.Start) })
	return all[:min(n, len(all))]
}
