package kube

import (
	"math/rand/v2"
	"time"
)

const (
	// free is how many requests in a row may follow each other at once: a streamed list
	// that the server does not know, a list, a watch, and one more.
	free = 4
	// longestPace is the longest pause between two requests, steady how long a watch must
	// have lived before the next request need not wait for anything.
	longestPace = 30 * time.Second
	steady      = time.Minute
)

// pace keeps requests that lead to nothing apart, whatever the answers are.
type pace struct {
	// row is how many requests came since a watch lived long, last when the last began.
	row  int
	last time.Time
}

// next is how long the next request has to wait.
func (p *pace) next(now time.Time) time.Duration {
	wait := max(0, p.last.Add(p.pause()).Sub(now))
	p.row++
	p.last = now.Add(wait)
	return wait
}

// pause doubles from a second on, less up to a quarter so that many processes do not
// ask at once.
func (p *pace) pause() time.Duration {
	if p.row < free {
		return 0
	}
	pause := min(time.Second<<min(p.row-free, 6), longestPace)
	return pause - rand.N(pause/4) //nolint:gosec // spreads load, guards nothing
}

// lived tells how long a watch was open.
func (p *pace) lived(d time.Duration) {
	if d >= steady {
		p.row = 0
	}
}
