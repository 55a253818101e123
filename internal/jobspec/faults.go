package jobspec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// FaultsError lists what keeps a flow run from becoming a Job, the first twenty
// faults at least, so that a person has to mend it once only.
type FaultsError struct {
	Faults []error
	// More is how many are not listed.
	More int
}

func (e *FaultsError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d faults:", len(e.Faults)+e.More)
	for i, fault := range e.Faults {
		fmt.Fprintf(&b, " (%d) %v", i+1, fault)
	}
	if e.More > 0 {
		fmt.Fprintf(&b, " and %d more", e.More)
	}
	return b.String()
}

// Unwrap returns the faults, for errors.As.
func (e *FaultsError) Unwrap() []error { return e.Faults }

const maxFaults = 20

// faults collects errors while a flow run is read, each once.
type faults struct {
	list []error
	more int
}

// add takes an error apart if it is several; nil is none.
func (f *faults) add(err error) {
	if several, ok := errors.AsType[*FaultsError](err); ok {
		for _, fault := range several.Faults {
			f.add(fault)
		}
		f.more += several.More
		return
	}
	switch {
	case err == nil:
	case len(f.list) == maxFaults:
		f.more++
	case !slices.ContainsFunc(f.list, func(known error) bool { return known.Error() == err.Error() }):
		f.list = append(f.list, err)
	}
}

// err is nil without a fault, and the fault itself if there is one only.
func (f *faults) err() error {
	switch len(f.list) + f.more {
	case 0:
		return nil
	case 1:
		return f.list[0]
	}
	return &FaultsError{Faults: f.list, More: f.more}
}
