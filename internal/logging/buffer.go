package logging

import (
	"io"
	"sync"
	"time"
)

// MaxBuffered is how many bytes a Buffer holds for a reader that does not read.
const MaxBuffered = 1 << 20

// Buffer passes lines on in the background, so that whoever writes never waits. While
// nobody reads, it holds a bounded number of bytes and drops and counts the lines that
// are too many; so it does with lines that cannot be written at all.
type Buffer struct {
	out io.Writer
	// notice logs how many lines were dropped.
	notice func(lines int)

	mu      sync.Mutex
	waiting [][]byte
	size    int
	dropped int
	// writing is set while lines are being passed on, and idle is closed when that ends.
	writing bool
	idle    chan struct{}
}

// NewBuffer makes a Buffer in front of a writer. Each Write to it is one line.
func NewBuffer(out io.Writer) *Buffer { return &Buffer{out: out, notice: func(int) {}} }

// OnDrop sets what is called after lines were dropped, when the writer works again. It
// may write to the Buffer.
func (b *Buffer) OnDrop(notice func(lines int)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notice = notice
}

// Write keeps a copy of a line and returns at once. It never fails.
func (b *Buffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.size+len(line) > MaxBuffered {
		b.dropped++
		return len(line), nil
	}
	b.waiting = append(b.waiting, append([]byte(nil), line...))
	b.size += len(line)
	if !b.writing {
		b.writing, b.idle = true, make(chan struct{})
		go b.pass() // ends when nothing is left to be written
	}
	return len(line), nil
}

// pass writes until nothing is left.
func (b *Buffer) pass() {
	for {
		line, ok := b.next()
		if !ok {
			return
		}
		_, err := b.out.Write(line)
		b.written(line, err)
	}
}

func (b *Buffer) next() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		b.writing = false
		close(b.idle)
		return nil, false
	}
	line := b.waiting[0]
	b.waiting = b.waiting[1:]
	return line, true
}

func (b *Buffer) written(line []byte, err error) {
	b.mu.Lock()
	b.size -= len(line)
	if err != nil {
		b.dropped++
	}
	dropped, notice := b.dropped, b.notice
	tell := err == nil && dropped > 0 && b.size < MaxBuffered/2 // not for every line that gets in
	if tell {
		b.dropped = 0
	}
	b.mu.Unlock()
	if tell {
		notice(dropped)
	}
}

// Flush waits until every line was passed on, but no longer than a limit.
func (b *Buffer) Flush(limit time.Duration) {
	b.mu.Lock()
	writing, idle := b.writing, b.idle
	b.mu.Unlock()
	if !writing {
		return
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}
