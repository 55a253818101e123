package store

import "fmt"

// CodeVersionLocking is the code of a state refused for its version.
const CodeVersionLocking = "VERSION_LOCKING_ERROR"

// Error is a refusal whose text is meant for the client.
type Error struct {
	// Code is the extensions.code of the answer; empty for the ordinary one.
	Code    string
	Message string
}

// Error returns the text for the client.
func (e *Error) Error() string { return e.Message }

func refuse(format string, args ...any) error {
	return &Error{Message: fmt.Sprintf(format, args...)}
}
