package store_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

func TestScheduleNext(t *testing.T) {
	t.Parallel()
	const utc = `"start_date": {"dt": "2020-01-01T00:00:00", "tz": "UTC"}`
	for name, c := range map[string]struct{ clocks, want string }{
		"interval":             {`[{"type": "IntervalClock", "interval": 3600000000, ` + utc + `}]`, "11-23T13:00 11-23T14:00 11-23T15:00"},
		"interval, no start":   {`[{"type": "IntervalClock", "interval": 5400000000}]`, "11-23T13:30 11-23T15:00 11-23T16:30"},
		"interval in future":   {`[{"type": "IntervalClock", "interval": 3600000000, "start_date": {"dt": "2026-12-01T00:30:00", "tz": "UTC"}}]`, "12-01T00:30 12-01T01:30 12-01T02:30"},
		"days of the calendar": {`[{"type": "IntervalClock", "interval": 86400000000, "start_date": {"dt": "2026-03-01T09:00:00", "tz": "Europe/Berlin"}}]`, "11-24T08:00 11-25T08:00 11-26T08:00"},
		"hourly since year 2":  {`[{"type": "IntervalClock", "interval": 3600000000, "start_date": {"dt": "0002-01-01T00:30:00", "tz": "UTC"}}]`, "11-23T12:30 11-23T13:30 11-23T14:30"},
		"daily since year 2":   {`[{"type": "IntervalClock", "interval": 86400000000, "start_date": {"dt": "0002-01-01T09:00:00", "tz": "UTC"}}]`, "11-24T09:00 11-25T09:00 11-26T09:00"},
		"cron since year 2":    {`[{"type": "CronClock", "cron": "0 9 * * *", "start_date": {"dt": "0002-01-01T09:00:00", "tz": "UTC"}}]`, "11-24T09:00 11-25T09:00 11-26T09:00"},
		"starts after 2200":    {`[{"type": "IntervalClock", "interval": 3600000000, "start_date": {"dt": "2201-01-01T00:00:00", "tz": "UTC"}}, {"type": "DatesClock", "dates": ["9999-01-01T00:00:00+00:00"]}]`, ""},
		"every 31 years":       {`[{"type": "IntervalClock", "interval": 978307200000000, "start_date": {"dt": "2020-01-01T00:00:00", "tz": "UTC"}}]`, "01-01T00:00 01-01T00:00 01-02T00:00"},
		"never kept":           {`[{"type": "CronClock", "cron": "* * * * *"}], "filters": [{"fn": "f.is_weekend"}, {"fn": "f.is_weekday"}]`, ""},
		"kept by one of two":   {`[{"type": "CronClock", "cron": "0 0 * * fri,sat"}], "or_filters": [{"fn": "f.is_weekend"}, {"fn": "f.is_weekday"}], "not_filters": [{"fn": "f.is_weekend"}]`, "11-27T00:00 12-04T00:00 12-11T00:00"},
		"ends":                 {`[{"type": "IntervalClock", "interval": 3600000000, ` + utc + `, "end_date": {"dt": "2026-11-23T13:59:00", "tz": "UTC"}}]`, "11-23T13:00"},
		"cron":                 {`[{"type": "CronClock", "cron": "15 8 * * mon-fri"}]`, "11-24T08:15 11-25T08:15 11-26T08:15"},
		"cron in a zone":       {`[{"type": "CronClock", "cron": "0 9 * * *", "start_date": {"dt": "2020-01-01T00:00:00", "tz": "America/New_York"}}]`, "11-23T14:00 11-24T14:00 11-25T14:00"},
		"cron steps":           {`[{"type": "CronClock", "cron": "*/20 12 * * *"}]`, "11-23T12:20 11-23T12:40 11-24T12:00"},
		"cron day or weekday":  {`[{"type": "CronClock", "cron": "0 0 25 * sun"}]`, "11-25T00:00 11-29T00:00 12-06T00:00"},
		"cron day and weekday": {`[{"type": "CronClock", "cron": "0 0 25 * fri", "day_or": false}]`, "12-25T00:00 06-25T00:00 02-25T00:00"},
		"cron leap day":        {`[{"type": "CronClock", "cron": "0 0 29 2 *"}]`, "02-29T00:00 02-29T00:00 02-29T00:00"},
		"cron leap Monday":     {`[{"type": "CronClock", "cron": "0 0 29 2 mon", "day_or": false}]`, "02-29T00:00 02-29T00:00 02-29T00:00"},
		"cron name":            {`[{"type": "CronClock", "cron": "@monthly"}]`, "12-01T00:00 01-01T00:00 02-01T00:00"},
		"cron over the end":    {`[{"type": "CronClock", "cron": "0 0 * * fri-mon"}]`, "11-27T00:00 11-28T00:00 11-29T00:00"},
		"never":                {`[{"type": "CronClock", "cron": "0 0 31 2 *"}]`, ""},
		"dates":                {`[{"type": "DatesClock", "dates": [{"dt": "2026-12-24T18:00:00", "tz": "UTC"}, "2026-11-01T00:00:00+00:00", "2026-11-24T00:00:00+00:00"]}]`, "11-24T00:00 12-24T18:00"},
		"two clocks":           {`[{"type": "CronClock", "cron": "30 * * * *"}, {"type": "IntervalClock", "interval": 3600000000, ` + utc + `}]`, "11-23T12:30 11-23T13:00 11-23T13:30"},
		"weekdays only":        {`[{"type": "CronClock", "cron": "0 0 * * *"}], "filters": [{"fn": "prefect.schedules.filters.is_weekend", "kwargs": {}}]`, "11-28T00:00 11-29T00:00 12-05T00:00"},
		"not weekends":         {`[{"type": "CronClock", "cron": "0 0 * * sat,sun,mon"}], "not_filters": [{"fn": "prefect.schedules.filters.is_weekend"}]`, "11-30T00:00 12-07T00:00 12-14T00:00"},
		"next weekday":         {`[{"type": "CronClock", "cron": "0 0 * * sat"}], "adjustments": [{"fn": "prefect.schedules.adjustments.next_weekday"}]`, "11-30T00:00 12-07T00:00 12-14T00:00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := store.ParseSchedule(json.RawMessage(`{"type": "Schedule", "clocks": ` + c.clocks + `}`))
			if err != nil {
				t.Fatal(err)
			}
			events, err := s.Next(t.Context(), newClock().now, 3)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range events {
				got = append(got, e.Start.UTC().Format("01-02T15:04"))
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// TestScheduleSearchEnds gives each kind of clock filters that refuse all its
// events, a hundred times. The time limit is far above what that takes.
func TestScheduleSearchEnds(t *testing.T) {
	t.Parallel()
	for name, clock := range map[string]string{
		"minutes": `"type": "IntervalClock", "interval": 60000000, "start_date": {"dt": "0002-01-01T00:00:00", "tz": "UTC"}`,
		"days":    `"type": "IntervalClock", "interval": 86400000000, "start_date": {"dt": "0002-01-01T00:00:00", "tz": "UTC"}`,
		"weeks":   `"type": "IntervalClock", "interval": 604800000000, "start_date": {"dt": "2020-01-04T00:00:00", "tz": "Europe/Berlin"}`,
		"cron":    `"type": "CronClock", "cron": "0 0 * * sat"`,
		"leap":    `"type": "CronClock", "cron": "0 0 29 2 sat", "day_or": false`,
		"never":   `"type": "CronClock", "cron": "* * 31 2 *"`,
	} {
		for _, filters := range []string{`"filters": [{"fn": "f.is_weekday"}, {"fn": "f.is_weekend"}]`, `"filters": [{"fn": "f.is_weekday"}]`} {
			s, err := store.ParseSchedule(json.RawMessage(`{"clocks": [` + strings.TrimSuffix(strings.Repeat(`{`+clock+`},`, 100), ",") + `], ` + filters + `}`))
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
			if _, err := s.Next(ctx, newClock().now, 10); err != nil {
				t.Errorf("%s, %s: %v", name, filters, err)
			}
			stop()
			if _, err := s.Next(ctx, newClock().now, 10); err == nil && !strings.Contains(filters, "weekend") {
				t.Errorf("%s: the search goes on after its request", name)
			}
		}
	}
}

func TestScheduleRefusals(t *testing.T) {
	t.Parallel()
	for schedule, want := range map[string]string{
		`[]`: "Invalid schedule", `{"clocks": [{"type": "RRuleClock"}]}`: `clocks[0]: type "RRuleClock"`, `{"clocks": [{}]}`: "clocks[0]",
		`{"clocks": [{"type": "CronClock", "cron": "* * * *"}]}`:                                                     "want 5 fields, got 4",
		`{"clocks": [{"type": "CronClock", "cron": "61 * * * *"}]}`:                                                  `minute: invalid value "61"`,
		`{"clocks": [{"type": "CronClock", "cron": "*/0 * * * *"}]}`:                                                 "minute: invalid step",
		`{"clocks": [{"type": "CronClock", "cron": "* * * foo *"}]}`:                                                 "month: invalid value",
		`{"clocks": [{"type": "IntervalClock", "interval": 0}]}`:                                                     "interval",
		`{"clocks": [{"type": "IntervalClock", "interval": 1e300}]}`:                                                 "interval",
		`{"clocks": [{"type": "CronClock", "cron": "* * * * *", "start_date": {"dt": "2020-01-01", "tz": "Mars"}}]}`: "invalid time zone",
		`{"clocks": [], "filters": [{"fn": "my.own"}]}`:                                                              `filter "my.own"`,
		`{"clocks": [], "adjustments": [{"fn": "my.own"}]}`:                                                          `adjustment "my.own"`,
		`{"clocks": [], "x": "` + strings.Repeat("x", 1_000_000) + `"}`:                                              "longer than 1000000 bytes",
		`{"clocks": [` + strings.Repeat(`{},`, 100) + `{}]}`:                                                         "more than 100 clocks",
	} {
		if _, err := store.ParseSchedule(json.RawMessage(schedule)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s: error is %v, want %q", schedule, err, want)
		}
	}
}

const hourly = `"schedule": {"type": "Schedule", "clocks": [{"type": "IntervalClock", "interval": 3600000000, "labels": LABELS, "parameter_defaults": PARAMETERS, "start_date": {"dt": "2020-01-01T00:00:00", "tz": "UTC"}}]}`

func scheduled(labels, parameters string) string {
	return strings.NewReplacer("LABELS", labels, "PARAMETERS", parameters).Replace(hourly)
}

func TestSchedulerKeepsTenRunsAhead(t *testing.T) {
	t.Parallel()
	for _, gen := range []store.Generation{store.Server0, store.Server1} {
		f := open(t, store.Options{Generation: gen})
		flow := f.flow(`{"name": "f", ` + scheduled("null", "{}") + `}`)
		count := func() any { return f.value("SELECT count(*) FROM flow_run WHERE auto_scheduled = 1") }
		if got := count(); got != int64(0) {
			t.Errorf("inactive schedule made %v runs", got)
		}
		for range 2 {
			if ok, err := f.SetScheduleActive(t.Context(), flow); !ok || err != nil {
				t.Fatalf("activate: %v, %v", ok, err)
			}
		}
		if got := count(); got != int64(10) {
			t.Errorf("activating made %v runs, want 10", got)
		}
		f.clock.now = f.clock.now.Add(2 * time.Hour)
		if n, err := f.ScheduleFlowRuns(t.Context()); n != 2 || err != nil {
			t.Errorf("two hours later %d runs were made, want 2: %v", n, err)
		}
		if ok, err := f.SetScheduleInactive(t.Context(), flow); !ok || err != nil {
			t.Fatalf("deactivate: %v, %v", ok, err)
		}
		if got := count(); got != int64(0) {
			t.Errorf("%v runs are left after deactivating", got)
		}
	}
}

func TestClockLabelsAndParameters(t *testing.T) {
	t.Parallel()
	f := open(t, store.Options{})
	flow := f.flow(`{"name": "f", "parameters": [{"name": "n", "required": true}], ` + scheduled(`["gpu"]`, `{"n": 7}`) + `}`)
	if _, err := f.SetScheduleActive(t.Context(), flow); err != nil {
		t.Fatal(err)
	}
	if got := f.value("SELECT count(*) FROM flow_run WHERE labels = '[\"gpu\"]' AND json_extract(parameters, '$.n') = 7"); got != int64(10) {
		t.Errorf("%v runs have the labels and parameters of the clock", got)
	}
	bare := f.flow(`{"name": "g", "parameters": [{"name": "n", "required": true}], ` + scheduled("null", "{}") + `}`)
	if _, err := f.SetScheduleActive(t.Context(), bare); err == nil || !strings.Contains(err.Error(), "required parameters") {
		t.Errorf("error is %v", err)
	}
}

// TestFlowsAreBounded refuses what would keep everybody else from writing.
func TestFlowsAreBounded(t *testing.T) {
	t.Parallel()
	f := open(t, store.Options{})
	flow := f.flow(`{"name": "f", "tasks": [{"slug": "a"}, {"slug": "b"}]}`)
	tasks := `[` + strings.TrimSuffix(strings.Repeat(`{"slug": "a"},`, 20_000), ",") + `]`
	if err := f.RegisterTasks(t.Context(), flow, json.RawMessage(tasks)); err == nil || !strings.Contains(err.Error(), "20000 tasks") {
		t.Errorf("tasks: error is %v", err)
	}
	edges := `[` + strings.TrimSuffix(strings.Repeat(`{"upstream_task": "a", "downstream_task": "b"},`, 100_001), ",") + `]`
	if err := f.RegisterEdges(t.Context(), flow, json.RawMessage(edges)); err == nil || !strings.Contains(err.Error(), "100000 edges") {
		t.Errorf("edges: error is %v", err)
	}
}
