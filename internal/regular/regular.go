// Package regular reads files that a person named, in a bounded time. A named pipe,
// a device, a mount whose server is away and a file without an end keep nobody
// waiting. It refuses to know what is in a file.
package regular

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
)

// Limit bounds one Read. A file of a mount whose server is away is given up then.
const Limit = 10 * time.Second

// Error says why a file is not read although it is there. What the operating system
// refuses is a *fs.PathError instead.
type Error struct {
	// Path is the file, Problem what is wrong, such as: is a pipe, not a regular file.
	Path, Problem string
	late, large   bool
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s", e.Path, e.Problem) }

// Late reports whether the file was given up. It may be readable later.
func (e *Error) Late() bool { return e.late }

// Large reports whether the file has more bytes than were wanted.
func (e *Error) Large() bool { return e.large }

// Reader reads files. While a file that was given up still hangs, further Reads of
// it end at once, so that a mount whose server is away costs one goroutine and not
// one for each Read. Its methods are safe for concurrent use; the zero value is ready.
type Reader struct {
	mu    sync.Mutex
	hangs map[string]bool
	// read stands in for the file system in tests.
	read func(path string, most int64, end time.Time) ([]byte, error)
}

// Read is Reader.Read where nothing but Limit ends it.
func Read(path string, most int64) ([]byte, error) { return new(Reader).within(nil, path, most) }

type content struct {
	data []byte
	err  error
}

// Read returns the content of a regular file of at most so many bytes. Errors are of
// type *Error or *fs.PathError, or ctx's own.
func (r *Reader) Read(ctx context.Context, path string, most int64) ([]byte, error) {
	data, err := r.within(ctx.Done(), path, most)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return data, err
}

func (r *Reader) within(ended <-chan struct{}, path string, most int64) ([]byte, error) {
	if r.hanging(path) {
		return nil, &Error{Path: path, Problem: "cannot be read: an earlier try still waits for it", late: true}
	}
	read := r.read
	if read == nil {
		read = readFile
	}
	end := time.Now().Add(Limit)
	done := make(chan content, 1)
	go func() { // what waits in the kernel cannot be ended, only left alone
		data, err := read(path, most, end)
		done <- content{data, err}
		r.came(path)
	}()
	timer := time.NewTimer(Limit)
	defer timer.Stop()
	select {
	case c := <-done:
		return c.data, c.err
	case <-ended:
	case <-timer.C:
	}
	return r.giveUp(path, done)
}

// giveUp takes what came in the last moment, and otherwise remembers that nothing did.
func (r *Reader) giveUp(path string, done <-chan content) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case c := <-done:
		return c.data, c.err
	default:
	}
	if r.hangs == nil {
		r.hangs = map[string]bool{}
	}
	r.hangs[path] = true
	return nil, &Error{Path: path, Problem: fmt.Sprintf("was not there after %s", Limit), late: true}
}

func (r *Reader) hanging(path string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hangs[path]
}

func (r *Reader) came(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.hangs, path)
}

// readFile looks before it opens, since opening a device may do something, and after
// it, since the file may be another by then.
func readFile(path string, most int64, end time.Time) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil {
		err = check(path, info, most)
	}
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // a person named the file on purpose
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // read only
	if info, err = file.Stat(); err == nil {
		err = check(path, info, most)
	}
	if err != nil {
		return nil, err
	}
	// Some files of /proc call themselves regular and wait for data all the same. What
	// knows no deadline does not wait in the poller.
	_ = file.SetReadDeadline(end)
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	switch {
	case err == nil && int64(len(data)) > most:
		return nil, tooLarge(path, most)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &Error{Path: path, Problem: "has no end", late: true}
	}
	return data, err
}

func check(path string, info fs.FileInfo, most int64) error {
	switch {
	case !info.Mode().IsRegular():
		return &Error{Path: path, Problem: "is " + kindOf(info.Mode()) + ", not a regular file"}
	case info.Size() > most:
		return tooLarge(path, most)
	}
	return nil
}

func tooLarge(path string, most int64) error {
	return &Error{Path: path, Problem: fmt.Sprintf("is larger than %d bytes", most), large: true}
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}
