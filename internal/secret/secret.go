// Package secret holds a credential so that it cannot be printed by accident, and
// hides credentials in texts that leave the process. It knows two sources, a text
// and a file that is read again for every use. It refuses to know what the
// credential is for.
package secret

import (
	"bytes"
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/prefect-kube/prefect-kube/internal/regular"
)

// maxFile bounds what is read of a credential file, in bytes.
const maxFile = 64 << 10

const redacted = "[redacted]"

// Value is a credential. The zero Value is none. Every way to print it, alone
// or inside a struct, gives "[redacted]" or, where no credential is set,
// nothing; only Reveal gives the text. A Value may be copied and used by
// several goroutines.
type Value struct {
	// A closure hides the text even where a Value sits in an unexported field:
	// fmt calls no methods there, and with a verb that does not fit it follows
	// pointers. Of a function it prints an address.
	reveal func() (string, error)
	// follow calls a function with each text that a file has held and will hold.
	follow func(func(string))
	path   string
}

// New makes a Value of a text. The empty text is none.
func New(text string) Value {
	if text == "" {
		return Value{}
	}
	return Value{reveal: func() (string, error) { return text, nil }}
}

// File makes a Value of the content of a file, without surrounding white space.
// The file is read by each Reveal, so that a rotated credential is used at once.
// The empty path is none.
func File(path string) Value {
	if path == "" {
		return Value{}
	}
	f := &file{path: path}
	return Value{reveal: f.read, follow: f.follow, path: path}
}

// IsSet reports whether there is a credential. It reads no file.
func (v Value) IsSet() bool { return v.reveal != nil }

// Path is the file that the credential comes from, empty where it is a text.
func (v Value) Path() string { return v.path }

// Reveal returns the credential, empty if none is set. A file that is missing or
// empty for a moment, as happens while it is replaced, yields the text read
// before; the error names the file if there is none.
func (v Value) Reveal() (string, error) {
	if v.reveal == nil {
		return "", nil
	}
	return v.reveal()
}

type file struct {
	path   string
	reader regular.Reader

	mu   sync.Mutex
	last string
	// told get each new text.
	told []func(string)
}

func (f *file) follow(tell func(string)) {
	_, _ = f.read() // whoever uses it sees the error
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, tell)
	tell(f.last)
}

func (f *file) read() (string, error) {
	text, err := f.load()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && text != f.last {
		f.last = text
		for _, tell := range f.told {
			tell(text)
		}
	}
	if f.last == "" {
		return "", err
	}
	return f.last, nil
}

// load ends in a bounded time: it is done before requests that others wait for.
func (f *file) load() (string, error) {
	data, err := f.reader.Read(context.Background(), f.path, maxFile)
	if err != nil {
		return "", fmt.Errorf("read credential: %w", err)
	}
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return "", fmt.Errorf("read credential: %s is empty", f.path)
	}
	return string(data), nil
}

// Equal reports whether both reveal the same text. It is what go-cmp compares by.
func (v Value) Equal(o Value) bool {
	a, errA := v.Reveal()
	b, errB := o.Reveal()
	return errA == nil && errB == nil && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// String returns the placeholder.
func (v Value) String() string {
	if v.reveal == nil {
		return ""
	}
	return redacted
}

// Format writes the placeholder for every verb, %x and %#v included.
func (v Value) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, v.String())
}

// GoString returns the placeholder.
func (v Value) GoString() string { return v.String() }

// LogValue returns the placeholder.
func (v Value) LogValue() slog.Value { return slog.StringValue(v.String()) }

// MarshalText returns the placeholder; JSON and YAML encoders use it.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }
