package flowrun

import (
	"encoding/json"
	"time"
)

// StateType is the class name of a state, such as Scheduled or Running.
type StateType string

// The state types of Prefect 0.x and 1.x (prefect/engine/state.py).
const (
	Pending          StateType = "Pending"
	Scheduled        StateType = "Scheduled"
	Paused           StateType = "Paused"
	Resume           StateType = "Resume"
	Retrying         StateType = "Retrying"
	Submitted        StateType = "Submitted"
	Queued           StateType = "Queued"
	ClientFailed     StateType = "ClientFailed"
	Running          StateType = "Running"
	Cancelling       StateType = "Cancelling"
	Finished         StateType = "Finished"
	Looped           StateType = "Looped"
	Success          StateType = "Success"
	Cached           StateType = "Cached"
	Mapped           StateType = "Mapped"
	Skipped          StateType = "Skipped"
	Cancelled        StateType = "Cancelled"
	Failed           StateType = "Failed"
	TimedOut         StateType = "TimedOut"
	TriggerFailed    StateType = "TriggerFailed"
	ValidationFailed StateType = "ValidationFailed"
)

type class struct{ scheduled, finished bool }

var classes = map[StateType]class{
	Pending:          {},
	Scheduled:        {scheduled: true},
	Paused:           {scheduled: true},
	Resume:           {scheduled: true},
	Retrying:         {scheduled: true},
	Submitted:        {},
	Queued:           {scheduled: true},
	ClientFailed:     {},
	Running:          {},
	Cancelling:       {},
	Finished:         {finished: true},
	Looped:           {finished: true},
	Success:          {finished: true},
	Cached:           {finished: true},
	Mapped:           {finished: true},
	Skipped:          {finished: true},
	Cancelled:        {finished: true},
	Failed:           {finished: true},
	TimedOut:         {finished: true},
	TriggerFailed:    {finished: true},
	ValidationFailed: {finished: true},
}

// Known reports whether t is a state type of Prefect 0.x or 1.x.
func (t StateType) Known() bool { _, ok := classes[t]; return ok }

// IsScheduled reports whether a run in this state waits for its start time. It
// is the rule of 0.12.2 and later, where Queued counts too.
func (t StateType) IsScheduled() bool { return classes[t].scheduled }

// IsFinished reports whether the state is final.
func (t StateType) IsFinished() bool { return classes[t].finished }

// State is one state of a flow run.
type State struct {
	Type    StateType
	Message string
	// Start is when a scheduled state may be acted on; zero where the state has none.
	Start time.Time
	// Mark is what one of our processes left in the state; its zero value means
	// that somebody else wrote it.
	Mark Mark
	// Data is the state as it travels, every key kept.
	Data json.RawMessage
}

// MarkKind says why one of our processes wrote a state.
type MarkKind uint8

// Foreign: the flow process, a person, Prefect's own services. Claim: Submitted,
// ours. Verdict: Failed, ours. PutBack: the counting state written again after a
// void write of ours had covered it.
const (
	Foreign MarkKind = iota
	Claim
	Verdict
	PutBack
)

func (k MarkKind) String() string {
	switch k {
	case Foreign:
		return "foreign"
	case Claim:
		return "claim"
	case Verdict:
		return "verdict"
	case PutBack:
		return "put-back"
	}
	return "unknown"
}

// Mark is what we write into the context of a state, so that every replica can
// fold a history alike.
type Mark struct {
	Kind MarkKind
	// Agent is unique per process.
	Agent string
	// Place is the namespace that gets the Job.
	Place Place
	// Namespace and Job name the Job that a claim promises.
	Namespace, Job string
	// On and OnType name the state that the write rests on.
	On     int
	OnType StateType
}

// Snapshot is a flow run as it was read.
type Snapshot struct {
	ID ID
	// Version and State are those of the row written last: the state shown.
	Version int
	State   State
	// History holds the newest rows, in any order. It is empty where the server
	// offers none.
	History []Row
	// Err says why the run exists but cannot be read; only the ID counts then.
	Err error
}

// Blind reports whether somebody may have had the run before, and the server does
// not say who.
func (s Snapshot) Blind() bool { return len(s.History) == 0 && s.Version > 1 }

// Standing is what the run's history means. Where the server offers none, the
// state shown is all there is, and a claim rests on the Scheduled row it names.
func (s Snapshot) Standing() Standing {
	if len(s.History) > 0 {
		return Fold(s.History)
	}
	rows := []Row{{Version: s.Version, State: s.State}}
	if s.State.Mark.Kind == Claim {
		rows = append(rows, Row{Version: s.State.Mark.On, State: State{Type: Scheduled}})
	}
	return Fold(rows)
}

// Write is a state to be set on a flow run.
type Write struct {
	FlowRunID ID
	// Version is the version of the run that the write rests on; servers that
	// lock versions refuse the write if the run has moved on.
	Version int
	Type    StateType
	Message string
	Mark    Mark
	// Inner is the state that a Submitted state wraps, as it travelled.
	Inner json.RawMessage
}
