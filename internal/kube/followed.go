package kube

import (
	"context"
	"errors"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// followed is a watch that its line sees begin, live and end.
type followed struct {
	line   *line
	source watch.Interface
	result chan watch.Event
	// listing says that what was there before is still being sent, listed how much of it
	// came, seen how many events came at all.
	listing      bool
	listed, seen int
	// wanted ends with Stop, ctx also when a timer finds the watch too slow.
	wanted, ctx    context.Context //nolint:containedctx // a watch lives longer than the call that opens it
	stop           context.CancelFunc
	giveUp         context.CancelCauseFunc
	whole, silence *time.Timer
}

// open sends the request, with an end to the whole watch and to a silence in its list.
func (f *followed) open(ctx context.Context, o metav1.ListOptions, send func(context.Context, metav1.ListOptions) (watch.Interface, error)) (watch.Interface, error) {
	limit := requestLimit
	if o.TimeoutSeconds != nil {
		limit = time.Duration(*o.TimeoutSeconds)*time.Second + watchSlack
	}
	f.wanted, f.stop = context.WithCancel(ctx)
	f.ctx, f.giveUp = context.WithCancelCause(f.wanted)
	f.whole = f.after(limit)
	f.silence = f.after(firstSilence)
	if !f.listing {
		f.silence.Stop()
	}
	source, err := send(f.ctx, o) //nolint:contextcheck // it is ctx, with an end
	if slow, ok := f.slow(); ok && err != nil {
		return nil, slow
	}
	return source, err
}

func (f *followed) after(d time.Duration) *time.Timer {
	return time.AfterFunc(d, func() { f.giveUp(&slowError{limit: d, err: errors.New("the watch is silent")}) })
}

// slow is why the watch was given up, if it was.
func (f *followed) slow() (*slowError, bool) {
	return errors.AsType[*slowError](context.Cause(f.ctx))
}

// ResultChan implements watch.Interface.
func (f *followed) ResultChan() <-chan watch.Event { return f.result }

// Stop implements watch.Interface.
func (f *followed) Stop() {
	f.whole.Stop()
	f.silence.Stop()
	f.stop()
}

// run passes events on until the watch ends.
func (f *followed) run() {
	defer close(f.result)
	defer f.Stop()
	defer f.source.Stop()
	err := f.follow()
	if f.listing {
		f.line.room.leave(f.listed)
	}
	if slow, ok := f.slow(); ok {
		err = slow
		if f.listing {
			f.send(slow.event())
		}
	}
	beyond := context.Cause(f.ctx)
	if _, full := errors.AsType[*fullError](beyond); full || errors.Is(beyond, errImproper) {
		err = beyond
		f.send(again(err))
	}
	f.line.closed(err)
}

func (f *followed) follow() error {
	for {
		select {
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		case event, ok := <-f.source.ResultChan():
			_, slow := f.slow()
			switch {
			case !ok || slow:
				return nil
			case event.Type == watch.Error:
				f.send(event)
				return apierrors.FromObject(event.Object)
			}
			if f.see(event) {
				f.send(event)
			}
		}
	}
}

// see follows a streamed list to its end, and looks now and then whether what came since
// is more than can be kept. It is false for what is not passed on.
func (f *followed) see(event watch.Event) bool {
	const often = 500
	f.seen++
	switch {
	case !proper(event.Object):
		f.giveUp(errImproper)
		return false
	case !f.listing:
		if f.seen%often == 0 && f.line.room.full() {
			f.giveUp(&fullError{f.line.room.most})
		}
	case event.Type == watch.Bookmark && endsList(event.Object):
		f.listing = false
		f.line.room.leave(f.listed)
		f.silence.Stop()
		f.line.open()
	default:
		f.silence.Reset(firstSilence)
		if f.listed++; !f.line.room.enter(1) {
			f.giveUp(&fullError{f.line.room.most})
		}
	}
	return true
}

func (f *followed) send(event watch.Event) {
	select {
	case <-f.wanted.Done():
	case f.result <- event:
	}
}

// endsList reports whether a bookmark says that what follows are changes.
func endsList(object runtime.Object) bool {
	m, err := meta.Accessor(object)
	return err == nil && m.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true"
}

// event lets client-go ask for a plain list where a streamed one does not come: the
// server may be too old for it.
func (e *slowError) event() watch.Event {
	return watch.Event{Type: watch.Error, Object: &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusGatewayTimeout, Reason: metav1.StatusReasonTimeout, Message: e.Error(),
	}}
}

// again lets client-go read everything anew after a watch that brought more than can be
// kept: what it brought may never have been there.
func again(err error) watch.Event {
	return watch.Event{Type: watch.Error, Object: &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusGone, Reason: metav1.StatusReasonExpired, Message: err.Error(),
	}}
}
