package kube

import (
	"context"
	"time"

	"k8s.io/client-go/util/workqueue"
)

// ahead is how many due groups wait outside the queue, so that a taker can have
// many at once.
const ahead = 256

// groups is the queue of groups that are due. client-go's queue gives a name to
// one taker at a time and merges what comes meanwhile, but cannot be left when a
// context ends; a channel behind it can.
type groups struct {
	due   chan string
	queue workqueue.TypedDelayingInterface[string]
}

func newGroups() *groups { return &groups{due: make(chan string, ahead)} }

// start makes the queue, whose own goroutine ends with shutDown.
func (g *groups) start() { g.queue = workqueue.NewTypedDelayingQueue[string]() }

func (g *groups) shutDown() { g.queue.ShutDown() }

// run hands names over until shutDown.
func (g *groups) run(ctx context.Context) {
	for {
		name, shutdown := g.queue.Get()
		if shutdown {
			return
		}
		select {
		case g.due <- name:
		case <-ctx.Done():
			return
		}
	}
}

func (g *groups) add(name string) {
	if name != "" {
		g.queue.Add(name)
	}
}

func (g *groups) take(ctx context.Context, limit int) ([]string, error) {
	var taken []string
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case name := <-g.due:
		taken = append(taken, name)
	}
	for len(taken) < limit {
		select {
		case name := <-g.due:
			taken = append(taken, name)
		default:
			return taken, nil
		}
	}
	return taken, nil
}

func (g *groups) done(name string) { g.queue.Done(name) }

func (g *groups) again(name string, after time.Duration) { g.queue.AddAfter(name, after) }
