package store

// StateType is the class name of a state (prefect/engine/state.py). The backend
// has its own table of them on purpose: it stands in for a server that shares
// no code with the agent.
type StateType string

// The state types the server itself looks at.
const (
	Pending    StateType = "Pending"
	Scheduled  StateType = "Scheduled"
	Paused     StateType = "Paused"
	Resume     StateType = "Resume"
	Retrying   StateType = "Retrying"
	Queued     StateType = "Queued"
	Submitted  StateType = "Submitted"
	Running    StateType = "Running"
	Cancelling StateType = "Cancelling"
	Cancelled  StateType = "Cancelled"
	Success    StateType = "Success"
	Failed     StateType = "Failed"
)

// Known reports whether t is a state type of Prefect 0.x or 1.x.
func (t StateType) Known() bool {
	switch t { //nolint:exhaustive // the rest is asked below
	case Pending, Submitted, Running, Cancelling, "ClientFailed":
		return true
	}
	return t.IsScheduled() || t.IsFinished()
}

// IsScheduled reports whether a run in this state waits for its start time; the
// queue offers such runs.
func (t StateType) IsScheduled() bool {
	switch t { //nolint:exhaustive // the subclasses of Scheduled, and Queued
	case Scheduled, Paused, Resume, Retrying, Queued:
		return true
	}
	return false
}

// IsFinished reports whether the state is final.
func (t StateType) IsFinished() bool {
	switch t { //nolint:exhaustive // the subclasses of Finished
	case Success, Failed, Cancelled, "Finished", "Looped", "Cached", "Mapped", "Skipped", "TimedOut", "TriggerFailed", "ValidationFailed":
		return true
	}
	return false
}

// endsRun reports whether the timestamp of the state is the end time of a run;
// it is the list of the servers' database trigger.
func (t StateType) endsRun() bool {
	switch t { //nolint:exhaustive // the list of the trigger
	case Success, Failed, "Cached", "TimedOut", "Looped", Cancelled:
		return true
	}
	return false
}
