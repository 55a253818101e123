package jobspec

import (
	"fmt"
	"slices"
	"strings"
)

// Warning is something that a flow run's author should know about its Job: the
// Job is made, but not all of it is as it was written.
type Warning struct {
	// Place is where it stands, such as spec.template.spec.tolerationz (line 3,
	// column 5 of "job.yaml") or run_config.image.
	Place string
	// Text is what happens, Mend what to do about it.
	Text, Mend string
	// OfAgent is whether the agent's own settings are to blame, and not the flow.
	OfAgent bool
}

func (w Warning) String() string {
	text := w.Place + " " + w.Text
	if w.Mend != "" {
		text += "; " + w.Mend
	}
	return text
}

// maxWarnings bounds what is told of one Job.
const maxWarnings = 30

// warnings are in the order in which they were found, each once.
type warnings struct {
	list []Warning
	more int
}

func (l *warnings) add(place, text, mend string) {
	l.put(Warning{Place: place, Text: text, Mend: mend})
}

func (l *warnings) put(w Warning) {
	if slices.Contains(l.list, w) {
		return
	}
	if len(l.list) == maxWarnings {
		l.more++
		return
	}
	l.list = append(l.list, w)
}

// all are the warnings; the last says how many were left out.
func (l *warnings) all() []Warning {
	if l.more == 0 {
		return l.list
	}
	return append(l.list, Warning{Place: "job", Text: fmt.Sprintf("has %d more warnings", l.more), Mend: "correct those above and start the flow run again"})
}

// maxNames bounds a list of names in a warning.
const maxNames = 40

// enumerate writes names as "a, b and c".
func enumerate(names []string) string {
	if more := len(names) - maxNames; more > 0 {
		names = append(names[:maxNames:maxNames], fmt.Sprintf("%d more", more))
	}
	short := make([]string, len(names))
	for i, name := range names {
		short[i] = shorten(name)
	}
	last := len(short) - 1
	if last < 1 {
		return strings.Join(short, "")
	}
	return strings.Join(short[:last], ", ") + " and " + short[last]
}
