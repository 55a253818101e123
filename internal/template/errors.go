package template

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/prefect-kube/prefect-kube/internal/plain"
)

// Error says why a template cannot be read.
type Error struct {
	// Path is the template's path, without what may be secret: the user and
	// password of a URL, its query and its fragment.
	Path string
	// Problem is what went wrong, Mend what to do about it.
	Problem, Mend string

	cause     error
	detail    string
	temporary bool
	busy      bool
	// status is that of the HTTP answer, zero without one.
	status int
}

func (e *Error) Error() string {
	text := fmt.Sprintf("job template %q: %s", e.Path, e.Problem)
	if e.Mend != "" {
		text += "; " + e.Mend
	}
	return text
}

// Unwrap returns the cause, such as fs.ErrNotExist.
func (e *Error) Unwrap() error { return e.cause }

// Detail says more than Error, for the agent's own log: what kept the agent from
// another machine is not for the author of a flow, who could find out so what is
// where behind the agent. It is empty where Error says all.
func (e *Error) Detail() string { return e.detail }

const (
	unreadable = "is not read: its server does not answer, or the operator of the agent does not allow it with --template-sources"
	elsewhere  = "check the address, or put the template into the run config; the agent's log says more to its operator"
)

// Temporary reports whether the same path may be readable later without anybody
// mending something.
func (e *Error) Temporary() bool { return e.temporary }

// Busy reports whether the path was not even tried, since other Reads take long.
func (e *Error) Busy() bool { return e.busy }

const smaller = "make it smaller; a Job cannot have more"

func tooLarge() error {
	return &Error{Problem: fmt.Sprintf("is larger than %d bytes", limit), Mend: smaller}
}

// explain makes an *Error of any error; late means that the time limit ended the Read.
func (l *Loader) explain(path string, late bool, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		_, network := errors.AsType[net.Error](err)
		e = &Error{Problem: inner(err).Error(), cause: err, temporary: network}
	}
	if late {
		e.Problem, e.temporary = fmt.Sprintf("was not there after %s", l.timeout), true
	}
	if e.temporary && e.Mend == "" {
		e.Mend = "check that the agent can reach the address"
	}
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	if unknown {
		e.Mend, e.temporary = "name a file with the authority's certificate in REQUESTS_CA_BUNDLE", false
	}
	e.Problem = plain.Line(e.Problem, maxProblem)
	_, kept := errors.AsType[*hiddenError](err)
	if kept && !ok || late && Remote(path) && l.decide(path) != allowed {
		e.Problem, e.Mend, e.detail = unreadable, elsewhere, e.Problem
	}
	e.Path = Shown(path)
	return e
}

// inner is an error without the URL of its request, which may hold a secret.
func inner(err error) error {
	for {
		wrapped, ok := errors.AsType[*url.Error](err)
		if !ok {
			return err
		}
		err = wrapped.Err
	}
}

const (
	maxPath    = 1024
	maxProblem = 512
)

// Shown is a path without what may be secret in it. Plain paths stay as they are.
func Shown(path string) string {
	where := parse(path)
	if where.scheme == "" && where.host == "" {
		return plain.Line(path, maxPath)
	}
	path, _, _ = strings.Cut(path, "#")
	path, _, _ = strings.Cut(path, "?")
	if at := strings.LastIndexByte(where.host, '@'); at >= 0 {
		path = strings.Replace(path, where.host, where.host[at+1:], 1)
	}
	return plain.Line(path, maxPath)
}
