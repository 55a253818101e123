package jobspec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// FaultsError lists everything that keeps a flow run from becoming a Job, so that
// a person has to mend it once only.
type FaultsError struct{ Faults []error }

func (e *FaultsError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d faults:", len(e.Faults))
	for i, fault := range e.Faults[:min(len(e.Faults), maxFaults)] {
		fmt.Fprintf(&b, " (%d) %v", i+1, fault)
	}
	if more := len(e.Faults) - maxFaults; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}

// Unwrap returns the faults, for errors.As.
func (e *FaultsError) Unwrap() []error { return e.Faults }

const maxFaults = 20

// faults collects errors while a flow run is read, each once.
type faults []error

// add takes an error apart if it is several; nil is none.
func (f *faults) add(err error) {
	if several, ok := errors.AsType[*FaultsError](err); ok {
		for _, fault := range several.Faults {
			f.add(fault)
		}
		return
	}
	if err == nil || slices.ContainsFunc(*f, func(known error) bool { return known.Error() == err.Error() }) {
		return
	}
	*f = append(*f, err)
}

// err is nil without a fault, and the fault itself if there is one only.
func (f *faults) err() error {
	switch len(*f) {
	case 0:
		return nil
	case 1:
		return (*f)[0]
	}
	return &FaultsError{Faults: *f}
}
