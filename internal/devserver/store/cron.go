package store

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// cron is a parsed cron line: a bit per allowed value.
type cron struct {
	minute, hour, day, month, weekday uint64
	// dayOr joins day and weekday with "or" when both are restricted.
	dayOr bool
}

type cronField struct {
	name     string
	min, max int
	names    string
}

func cronFields() []cronField {
	return []cronField{
		{"minute", 0, 59, ""},
		{"hour", 0, 23, ""},
		{"day", 1, 31, ""},
		{"month", 1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"},
		{"weekday", 0, 7, "sun mon tue wed thu fri sat"},
	}
}

func cronClock(line string, dayOr bool, zone *time.Location) (func(time.Time) (time.Time, bool), error) {
	c, err := parseCron(line, dayOr)
	if err != nil {
		return nil, err
	}
	return func(after time.Time) (time.Time, bool) { return c.next(after.In(zone)) }, nil
}

// parseCron reads the five fields of a cron line, or one of the names @hourly,
// @daily, @midnight, @weekly, @monthly, @yearly, @annually.
func parseCron(line string, dayOr bool) (cron, error) {
	if len(line) > 256 {
		return cron{}, errors.New("cron: longer than 256 characters")
	}
	switch strings.TrimSpace(line) {
	case "@hourly":
		line = "0 * * * *"
	case "@daily", "@midnight":
		line = "0 0 * * *"
	case "@weekly":
		line = "0 0 * * 0"
	case "@monthly":
		line = "0 0 1 * *"
	case "@yearly", "@annually":
		line = "0 0 1 1 *"
	}
	fields, words := cronFields(), strings.Fields(strings.ToLower(line))
	if len(words) != len(fields) {
		return cron{}, fmt.Errorf("cron: want 5 fields, got %d", len(words))
	}
	var sets [5]uint64
	for i, f := range fields {
		set, err := f.parse(words[i])
		if err != nil {
			return cron{}, fmt.Errorf("cron: %s: %w", f.name, err)
		}
		sets[i] = set
	}
	c := cron{minute: sets[0], hour: sets[1], day: sets[2], month: sets[3], weekday: sets[4]}
	if c.weekday&(1<<7) != 0 {
		c.weekday = c.weekday&^(1<<7) | 1
	}
	c.dayOr = dayOr && !strings.HasPrefix(words[2], "*") && words[2] != "?" && !strings.HasPrefix(words[4], "*") && words[4] != "?"
	return c, nil
}

func (f cronField) parse(word string) (uint64, error) {
	var set uint64
	for part := range strings.SplitSeq(word, ",") {
		one, err := f.part(part)
		if err != nil {
			return 0, err
		}
		set |= one
	}
	return set, nil
}

func (f cronField) part(part string) (uint64, error) {
	span, stepText, stepped := strings.Cut(part, "/")
	step := 1
	if stepped {
		n, err := strconv.Atoi(stepText)
		if err != nil || n < 1 || n > f.max {
			return 0, fmt.Errorf("invalid step %q", stepText)
		}
		step = n
	}
	low, high := f.min, f.max
	if f.name == "weekday" {
		high = 6
	}
	if span != "*" && span != "?" {
		from, to, ranged := strings.Cut(span, "-")
		n, err := f.value(from)
		if err != nil {
			return 0, err
		}
		low = n
		if ranged {
			if high, err = f.value(to); err != nil {
				return 0, err
			}
		} else if !stepped {
			high = n
		}
	}
	return f.span(low, high, step)
}

// span also accepts a range that runs over the end, such as fri-mon.
func (f cronField) span(low, high, step int) (uint64, error) {
	var set uint64
	if low > high {
		size := f.max - f.min + 1
		if f.name == "weekday" {
			size = 7
		}
		for v := low; v <= high+size; v += step {
			set |= 1 << ((v-f.min)%size + f.min)
		}
		return set, nil
	}
	for v := low; v <= high; v += step {
		set |= 1 << v
	}
	return set, nil
}

func (f cronField) value(text string) (int, error) {
	for i, name := range strings.Fields(f.names) {
		if text == name {
			return f.min + i, nil
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < f.min || n > f.max {
		return 0, fmt.Errorf("invalid value %q, want %d to %d", text, f.min, f.max)
	}
	return n, nil
}

// next walks the wall clock of the zone. It gives up after 40 years and a day more, in which
// the 29th of February falls on each day of the week.
func (c cron) next(after time.Time) (time.Time, bool) {
	y, m, d := after.Date()
	day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	for end := day.AddDate(40, 0, 1); day.Before(end); {
		switch {
		case c.month&(1<<int(day.Month())) == 0:
			day = time.Date(day.Year(), day.Month()+1, 1, 0, 0, 0, 0, time.UTC)
			continue
		case c.onDay(day):
			if t, ok := c.inDay(day, after); ok {
				return t, true
			}
		}
		day = day.AddDate(0, 0, 1)
	}
	return time.Time{}, false
}

// inDay is the first time of a day after the given one.
func (c cron) inDay(day, after time.Time) (time.Time, bool) {
	for h := range 24 {
		if c.hour&(1<<h) == 0 {
			continue
		}
		for mi := range 60 {
			if c.minute&(1<<mi) == 0 {
				continue
			}
			t := time.Date(day.Year(), day.Month(), day.Day(), h, mi, 0, 0, after.Location())
			if t.After(after) {
				return t, true
			}
		}
	}
	return time.Time{}, false
}

func (c cron) onDay(t time.Time) bool {
	day, weekday := c.day&(1<<t.Day()) != 0, c.weekday&(1<<int(t.Weekday())) != 0
	if c.dayOr {
		return day || weekday
	}
	return day && weekday
}
