package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sort"
	"strings"
	"time"
)

const (
	// Only short schedules are read: what is in them is looked at again and again.
	maxSchedule = 1_000_000
	maxClocks   = 100
	maxFilters  = 20
	// maxTries bounds the search when filters refuse one event of a clock after the
	// other. Each try passes over all refused days, a week at most, so these are years.
	maxTries = 2000
	// Events are looked for in these years.
	firstYear, lastYear = 1970, 2200
)

// Schedule is a parsed schedule of Prefect 0.x or 1.x (prefect/serialization/
// schedule.py): clocks make events, filters drop some.
type Schedule struct {
	Clocks []Clock
	// refused are the days of the week that the filters drop.
	refused [7]bool
	// onWeekday moves events of a weekend to the Monday after it.
	onWeekday bool
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
type dateDoc struct{ Dt, Tz string }

// UnmarshalJSON reads both forms.
func (d *dateDoc) UnmarshalJSON(raw []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		type plain dateDoc
		return json.Unmarshal(raw, (*plain)(d))
	}
	return json.Unmarshal(raw, &d.Dt)
}

// zones are the time zones of a schedule, by name. To load one is slow.
type zones map[string]*time.Location

func (z zones) time(d dateDoc) (time.Time, error) {
	zone, err := z.location(d.Tz)
	if err != nil {
		return time.Time{}, err
	}
	t, err := ParseTime(d.Dt)
	if err != nil {
		return time.Time{}, err
	}
	if strings.ContainsAny(d.Dt[min(len(d.Dt), 10):], "Z+-") {
		return t.In(zone), nil
	}
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone), nil
}

// location refuses "Local", which would make a schedule depend on the machine.
func (z zones) location(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		name = "UTC"
	}
	if zone, ok := z[name]; ok {
		return zone, nil
	}
	if len(name) > 64 {
		return nil, refuse("invalid time zone")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, refuse("invalid time zone %q", name)
	}
	z[name] = zone
	return zone, nil
}

// ParseSchedule reads a serialized schedule with cron, interval and dates
// clocks. What it does not know (rules of recurrence, other filters than
// weekday and weekend) is an error that names it.
func ParseSchedule(raw json.RawMessage) (*Schedule, error) {
	if len(raw) > maxSchedule {
		return nil, refuse("Invalid schedule: longer than %d bytes", maxSchedule)
	}
	var doc scheduleDoc
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, refuse("Invalid schedule: %v", err)
	}
	if len(doc.Clocks) > maxClocks || len(doc.Filters)+len(doc.OrFilters)+len(doc.NotFilters)+len(doc.Adjustments) > maxFilters {
		return nil, refuse("Invalid schedule: more than %d clocks or %d filters", maxClocks, maxFilters)
	}
	s, known := &Schedule{}, zones{}
	for i, c := range doc.Clocks {
		clock, err := known.clock(c)
		if err != nil {
			return nil, refuse("Invalid schedule: clocks[%d]: %v", i, err)
		}
		s.Clocks = append(s.Clocks, clock)
	}
	return s, s.parseFilters(doc)
}

func (z zones) clock(c clockDoc) (out Clock, err error) {
	out = Clock{Parameters: c.Parameters, Labels: c.Labels}
	zone := time.UTC
	if c.Start != nil {
		if out.from, err = z.time(*c.Start); err != nil {
			return out, err
		}
		zone = out.from.Location()
	}
	if c.End != nil {
		until, err := z.time(*c.End)
		if err != nil {
			return out, err
		}
		out.until = &until
	}
	switch {
	case c.Type == "CronClock" || (c.Type == "" && c.Cron != ""):
		out.next, err = cronClock(c.Cron, c.DayOr == nil || *c.DayOr, zone)
	case c.Type == "IntervalClock" || (c.Type == "" && c.Interval != ""):
		out.next, err = intervalClock(c.Interval, out.from)
	case c.Type == "DatesClock" || (c.Type == "" && c.Dates != nil):
		out.next, err = z.datesClock(c.Dates)
	default:
		err = refuse("type %.40q is not known here", c.Type)
	}
	return out, err
}

const microsADay = 24 * 3600 * 1_000_000

// intervalClock counts from the start date, 2019-01-01 without one. Whole days
// are days of the calendar of its zone. It counts in microseconds, of which
// thousands of years fit into an integer; a Duration holds 292 years.
func intervalClock(micros json.Number, from time.Time) (func(time.Time) (time.Time, bool), error) {
	n, err := micros.Float64()
	if err != nil || n < 1e6 || n > 1e15 {
		return nil, refuse("interval: want microseconds, at least a second")
	}
	step := int64(n)
	if from.IsZero() {
		from = time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	first := from.UnixMicro()
	if step%microsADay != 0 {
		return func(after time.Time) (time.Time, bool) {
			if after.Before(from) {
				return from, true
			}
			k := (after.UnixMicro()-first)/step + 1
			return time.UnixMicro(first + k*step).In(from.Location()), true
		}, nil
	}
	days := int(step / microsADay)
	return func(after time.Time) (time.Time, bool) {
		k := max(int((after.UnixMicro()-first)/step)-1, 0)
		t := from.AddDate(0, 0, k*days)
		for !t.After(after) {
			k++
			t = from.AddDate(0, 0, k*days)
		}
		return t, true
	}, nil
}

func (z zones) datesClock(dates []dateDoc) (func(time.Time) (time.Time, bool), error) {
	sorted := make([]time.Time, len(dates))
	for i, d := range dates {
		var err error
		if sorted[i], err = z.time(d); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(sorted, time.Time.Compare)
	return func(after time.Time) (time.Time, bool) {
		i := sort.Search(len(sorted), func(i int) bool { return sorted[i].After(after) })
		if i == len(sorted) {
			return time.Time{}, false
		}
		return sorted[i], true
	}, nil
}

// parseFilters reads filters as days of the week: those that are known ask for
// nothing else.
func (s *Schedule) parseFilters(doc scheduleDoc) error {
	either := [7]bool{}
	for _, f := range doc.OrFilters {
		kept, err := dayFilter(f.Fn)
		if err != nil {
			return err
		}
		for day := range either {
			either[day] = either[day] || kept[day]
		}
	}
	for day := range either {
		s.refused[day] = len(doc.OrFilters) > 0 && !either[day]
	}
	for i, f := range slices.Concat(doc.Filters, doc.NotFilters) {
		kept, err := dayFilter(f.Fn)
		if err != nil {
			return err
		}
		for day := range kept {
			s.refused[day] = s.refused[day] || kept[day] == (i >= len(doc.Filters))
		}
	}
	for _, f := range doc.Adjustments {
		if !strings.HasSuffix(f.Fn, ".next_weekday") {
			return refuse("Invalid schedule: adjustment %.80q is not known here", f.Fn)
		}
		s.onWeekday = true
	}
	return nil
}

// dayFilter is the days of the week that a filter keeps.
func dayFilter(name string) (kept [7]bool, err error) {
	isWeekday := strings.HasSuffix(name, ".is_weekday")
	if !isWeekday && !strings.HasSuffix(name, ".is_weekend") {
		return kept, refuse("Invalid schedule: filter %.80q is not known here", name)
	}
	for day := range kept {
		weekend := time.Weekday(day) == time.Saturday || time.Weekday(day) == time.Sunday
		kept[day] = weekend != isWeekday
	}
	return kept, nil
}

// Next returns the first n events after now, earliest first. It ends with ctx.
func (s *Schedule) Next(ctx context.Context, now time.Time, n int) ([]Event, error) {
	var all []Event
	if !slices.Contains(s.refused[:], false) {
		return nil, nil
	}
	for _, c := range s.Clocks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, t := range s.times(c, now, n) {
			all = append(all, Event{Start: t, Parameters: c.Parameters, Labels: c.Labels})
		}
	}
	slices.SortStableFunc(all, func(a, b Event) int { return a.Start.Compare(b.Start) })
	return all[:min(n, len(all))], nil
}

// times are the first n times of a clock after now.
func (s *Schedule) times(c Clock, now time.Time, n int) []time.Time {
	var out []time.Time
	after := now
	if first := time.Date(firstYear, 1, 1, 0, 0, 0, 0, time.UTC); first.After(after) {
		after = first.Add(-time.Nanosecond)
	}
	if c.from.After(after) {
		after = c.from.Add(-time.Nanosecond)
	}
	for tries := 0; tries < maxTries && len(out) < n; tries++ {
		t, ok := c.next(after)
		if !ok || t.Year() > lastYear || (c.until != nil && t.After(*c.until)) {
			break
		}
		if after = t; s.refused[t.Weekday()] {
			after = s.lastRefused(t)
			continue
		}
		for s.onWeekday && (t.Weekday() == time.Saturday || t.Weekday() == time.Sunday) {
			t = t.AddDate(0, 0, 1)
		}
		out = append(out, t)
	}
	return out
}

// lastRefused is the end of the days that are refused in a row from t on.
func (s *Schedule) lastRefused(t time.Time) time.Time {
	days := 1
	for s.refused[(int(t.Weekday())+days)%7] {
		days++
	}
	year, month, day := t.Date()
	end := time.Date(year, month, day+days, 0, 0, 0, 0, t.Location()).Add(-time.Nanosecond)
	if end.Before(t) { // in a zone that puts its clocks back at midnight
		return t
	}
	return end
}
