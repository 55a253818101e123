package logging_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/logging"
)

// reader is who reads a log: while it pauses, writing waits; when it is gone, it fails.
type reader struct {
	mu   sync.Mutex // held while it pauses
	gone bool
	text bytes.Buffer
}

func (r *reader) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return 0, errors.New("broken pipe")
	}
	return r.text.Write(line)
}

func (r *reader) set(gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = gone
}

func buffered(r *reader) *logging.Buffer {
	b := logging.NewBuffer(r)
	b.OnDrop(func(lines int) { _, _ = fmt.Fprintf(b, "%d dropped\n", lines) })
	return b
}

// Everything that is logged arrives, in its order, if somebody reads.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	r := &reader{}
	b := buffered(r)
	var want strings.Builder
	for i := range 10000 {
		line := fmt.Sprintln(i)
		want.WriteString(line)
		_, _ = b.Write([]byte(line))
	}
	b.Flush(time.Minute)
	if got := r.text.String(); got != want.String() {
		t.Errorf("got %d bytes, want %d", len(got), want.Len())
	}
}

// Whoever logs never waits. What is too much is dropped and counted.
func TestAReaderThatPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pipe := make(slow)
		b := logging.NewBuffer(pipe)
		b.OnDrop(func(lines int) { _, _ = fmt.Fprintf(b, "%d dropped\n", lines) })
		line := bytes.Repeat([]byte("x"), 1<<10)
		for range 2 * logging.MaxBuffered / len(line) {
			_, _ = b.Write(line)
		}
		began := time.Now()
		if b.Flush(time.Second); time.Since(began) != time.Second {
			t.Errorf("the end waited for %v, want 1s", time.Since(began))
		}
		kept, last := 0, ""
		for range logging.MaxBuffered/len(line) + 1 {
			kept++
			last = <-pipe
		}
		if last != "1024 dropped\n" {
			t.Errorf("after %d lines it says %q", kept, last)
		}
		_, _ = b.Write([]byte("again"))
		if got := <-pipe; got != "again" {
			t.Errorf("then it says %q", got)
		}
		b.Flush(time.Second)
	})
}

// slow takes a line whenever somebody reads.
type slow chan string

func (s slow) Write(line []byte) (int, error) {
	s <- string(line)
	return len(line), nil
}

func TestAReaderThatIsGone(t *testing.T) {
	t.Parallel()
	r := &reader{gone: true}
	b := buffered(r)
	for range 3 {
		if _, err := b.Write([]byte("lost\n")); err != nil {
			t.Errorf("got %v", err)
		}
	}
	b.Flush(time.Minute)
	r.set(false)
	_, _ = b.Write([]byte("back\n"))
	b.Flush(time.Minute)
	if got := r.text.String(); got != "back\n3 dropped\n" {
		t.Errorf("got %q", got)
	}
}
