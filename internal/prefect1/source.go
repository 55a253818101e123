package prefect1

import (
	"context"
	"io"

	"github.com/prefect-kube/prefect-kube/internal/retryhttp"
)

// How many bytes of an answer are read, by what was asked for.
const (
	// oneThing is for a word, an id or a yes.
	oneThing = 64 << 10
	// manyNames is for up to a few hundred names, ids or small settings.
	manyNames = 1 << 20
	// maxAnswer is for flow runs. 25 of them with their histories are a few hundred KiB;
	// more is read in several answers (see divide).
	maxAnswer = 4 << 20
	// perWrite is for what a server says of one state that was written.
	perWrite = 4 << 10
)

const (
	// ordinary is the size up to which any number of answers is read at the same time.
	ordinary = 512 << 10
	// largeTogether is how many larger ones are.
	largeTogether = 2
)

// source is the body of an answer within its bounds. Its own error is kept, since it is
// about the connection or the bounds and not about the text.
type source struct {
	ctx  context.Context //nolint:containedctx // a reader has no other place for it
	body io.Reader
	left int64 // what may still be read
	most int64
	read int64

	depth   depth
	large   chan struct{}
	isLarge bool
	err     error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.body.Read(p[:min(int64(len(p)), s.left+1)])
	s.left, s.read = s.left-int64(n), s.read+int64(n)
	switch {
	case s.left < 0:
		err = &retryhttp.TooLargeError{Limit: s.most}
	case !s.depth.allows(p[:n]):
		err = &DepthError{Limit: maxDepth}
	case s.read > ordinary && !s.isLarge:
		if waited := s.enter(); waited != nil {
			err = waited
		}
	}
	if err != nil && err != io.EOF { //nolint:errorlint // as readers compare it
		s.err = err
		return 0, err
	}
	return n, err
}

// enter waits until few enough large answers are read.
func (s *source) enter() error {
	select {
	case s.large <- struct{}{}:
		s.isLarge = true
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// leave lets the next large answer in.
func (s *source) leave() {
	if s.isLarge {
		<-s.large
	}
}
