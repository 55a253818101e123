package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	// firstSilence bounds the time between two events while a watch still sends what is
	// there, and the time to its first one. A server sends these without a pause; one that
	// does not know streamed lists never ends them.
	firstSilence = 30 * time.Second
	// watchSlack is what a watch may take longer than it said.
	watchSlack = 30 * time.Second
	// settled is how long a watch must live before the copy counts as read again.
	settled = 10 * time.Second
)

// line is how the copy reads the objects of one label. It keeps the requests apart,
// gives each of them an end, and knows since when nothing is read.
type line struct {
	resource string
	room     *room

	mu   sync.Mutex
	pace pace
	// synced says that everything was read once.
	synced bool
	// lost is since when nothing is read, zero while something is, and why is the last
	// error. opened is when the watch under way began, zero without one.
	lost, opened time.Time
	why          error
}

// newLine makes a line that has read nothing yet.
func newLine(resource string, r *room) *line {
	return &line{resource: resource, room: r, lost: time.Now(), why: errors.New("not read yet")}
}

// turn lets the next request begin, and is false if ctx ended first.
func (l *line) turn(ctx context.Context) bool {
	l.mu.Lock()
	pause := l.pace.next(time.Now())
	l.mu.Unlock()
	return ctx.Err() == nil && (pause == 0 || wait(ctx, pause))
}

// unread is since when nothing is read, and why; zero while all is well.
func (l *line) unread(now time.Time) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.opened.IsZero() && now.Sub(l.opened) >= settled {
		l.lost, l.why = time.Time{}, nil
	}
	return l.lost, l.why
}

// failed notes that a request led to nothing.
func (l *line) failed(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost.IsZero() {
		l.lost = time.Now()
	}
	l.why = err
}

// open notes that a watch is under way, and all that was there is read. After a loss
// it must live for a moment to count.
func (l *line) open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opened = time.Now(); !l.synced {
		l.synced, l.lost, l.why = true, time.Time{}, nil
	}
}

// closed notes that the watch ended, for better or worse.
func (l *line) closed(err error) {
	l.mu.Lock()
	now := time.Now()
	lived := now.Sub(l.opened)
	if l.opened.IsZero() {
		lived = 0
	}
	if lived >= settled {
		l.lost, l.why = time.Time{}, nil
	}
	l.opened = time.Time{}
	l.pace.lived(lived)
	l.mu.Unlock()
	if err == nil {
		err = fmt.Errorf("the watch ended after %v", lived.Round(time.Millisecond))
	}
	l.failed(err)
}

// listLimit bounds a list with all its pages.
const listLimit = 5 * time.Minute

// list reads all objects as the quorum knows them now, whatever client-go would like
// to know: of a list from the cache of the API server there are no pages. Each page is
// reduced before the next one is read.
func list[L runtime.Object, T any](ctx context.Context, l *line, b book[L, T], selector string, keep func(*T) runtime.Object) (runtime.Object, error) {
	if !l.turn(ctx) {
		return nil, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	pages, took := visit(l.room, b)
	defer func() { l.room.leave(*took) }()
	items, version, err := read(ctx, pages, metav1.ListOptions{LabelSelector: selector}, l.room.most+1, keep)
	l.failed(err)
	return &reduced{ListMeta: metav1.ListMeta{ResourceVersion: version}, Items: items}, err
}

// watch opens a watch. It ends by itself where the server does not end it.
func (l *line) watch(ctx context.Context, o metav1.ListOptions, send func(context.Context, metav1.ListOptions) (watch.Interface, error)) (watch.Interface, error) {
	if !l.turn(ctx) {
		return nil, context.Cause(ctx)
	}
	f := &followed{line: l, result: make(chan watch.Event), listing: o.SendInitialEvents != nil && *o.SendInitialEvents}
	source, err := f.open(ctx, o, send)
	if err != nil {
		f.Stop()
		l.failed(err)
		return nil, err
	}
	if f.source = source; !f.listing {
		l.open()
	}
	go f.run()
	return f, nil
}
