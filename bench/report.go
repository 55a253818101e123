package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is the table of all rounds.
type report struct {
	settings
	size   int64
	rounds []round
}

// line is one line of the table: what it says of one result, and of the bare loop
// of the same round. Values of zero were not measured.
type line struct {
	name, target string
	value        func(r, bare result) float64
	format       func(float64) string
}

func (p report) lines() []line {
	perRun := func(calls func(stats) int) func(r, _ result) float64 {
		return func(r, _ result) float64 { return float64(calls(r.many)) / float64(p.runs) }
	}
	return []line{
		{"jobs accepted per second", "", func(r, _ result) float64 { return r.rate }, number("%.0f")},
		{"of the bare loop", ">= 70 %", func(r, bare result) float64 { return 100 * r.rate / bare.rate }, number("%.0f %%")},
		{"from due to the last job", "", func(r, _ result) float64 { return r.whole.Seconds() }, number("%.1f s")},
		{"callers", "", func(r, _ result) float64 { return float64(r.callers) }, number("%.0f")},
		{"first poll after exec", "< 0.5 s", func(r, _ result) float64 { return r.firstPoll.Seconds() }, number("%.2f s")},
		{"resident, idle", "< 40 MiB", func(r, _ result) float64 { return mebibytes(r.idle) }, number("%.1f MiB")},
		{"resident, peak", "", func(r, _ result) float64 { return mebibytes(r.peak) }, number("%.1f MiB")},
		{"agent's CPU per start", "", func(r, _ result) float64 { return milliseconds(r.cpu) }, number("%.2f ms")},
		{"Prefect side's CPU, whole", "", func(r, _ result) float64 { return r.served.Seconds() }, number("%.2f s")},
		{"calls per run, 25 a poll", "<= 1", perRun(stats.rest), number("%.2f")},
		{"  polls per run, 25 a poll", "", perRun(stats.polls), number("%.2f")},
		{"calls for a run alone", "<= 5", func(r, _ result) float64 { return float64(r.alone.rest()) }, number("%.0f")},
		{"  polls meanwhile", "", func(r, _ result) float64 { return float64(r.alone.polls()) }, number("%.0f")},
	}
}

func number(format string) func(float64) string {
	return func(v float64) string { return fmt.Sprintf(format, v) }
}

func mebibytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// write prints medians, and behind them the lowest and the highest of all rounds.
func (p report) write(out io.Writer) error {
	names := append([]string{bareTitle}, titles(p.columns)...)
	if _, err := fmt.Fprintf(out, "%d flow runs due at once, %d rounds: median (lowest to highest)\n\n", p.runs, len(p.rounds)); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "\t%s\ttarget\n", strings.Join(names, "\t")) // Flush has the error
	for _, l := range p.lines() {
		_, _ = fmt.Fprint(w, l.name)
		for _, name := range names {
			_, _ = fmt.Fprint(w, "\t", p.cell(l, name))
		}
		_, _ = fmt.Fprint(w, "\t", l.target, "\n")
	}
	_, _ = fmt.Fprintf(w, "size of the program\t\t%.1f MiB\n", mebibytes(p.size))
	return w.Flush()
}

func (p report) cell(l line, name string) string {
	var values []float64
	for _, r := range p.rounds {
		values = append(values, l.value(r[name], r[bareTitle]))
	}
	slices.Sort(values)
	low, high := l.format(values[0]), l.format(values[len(values)-1])
	switch middle := median(values); {
	case middle == 0:
		return "-"
	case low == high:
		return l.format(middle)
	default:
		return fmt.Sprintf("%s (%s to %s)", l.format(middle), unit(low), unit(high))
	}
}

// unit leaves the unit of a number out.
func unit(text string) string {
	number, _, _ := strings.Cut(text, " ")
	return number
}

// median is that of a sorted list; of two in the middle it is the lower one.
func median[T cmp.Ordered](sorted []T) T { return sorted[(len(sorted)-1)/2] }
