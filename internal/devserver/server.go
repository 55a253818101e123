// Package devserver is the development backend: the GraphQL API of Prefect
// Server, of 0.11 or of 1.x, that Python clients, flow processes and agents of
// these versions speak, on SQLite and in one process. It listens, limits and
// decodes requests and runs the background services; what a request means is
// the business of its subpackages. It has no accounts: every request is
// accepted, so it belongs on a loopback address.
package devserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prefect-kube/prefect-kube/internal/devserver/graphql"
	"github.com/prefect-kube/prefect-kube/internal/devserver/store"
)

// Generation names the Prefect Server whose API is offered.
type Generation = store.Generation

// The generations: Server0 is the server inside prefect 0.11.0, Server1 the
// server of 2022 that 1.x clients speak to.
const (
	Server0 = store.Server0
	Server1 = store.Server1
)

// Options are the settings of a Server. The zero value is usable.
type Options struct {
	// Listen is the address to listen on, 127.0.0.1:4200 if empty. Port 0 picks a
	// free one; see Addr.
	Listen string
	// AllowHosts are names and addresses that requests may be made to, besides those
	// of this machine and the host of Listen. Requests to others are refused.
	AllowHosts []string
	// DB is the file of the database; empty means a temporary one.
	DB string
	// Generation selects the API, Server1 if empty.
	Generation Generation
	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// Logger receives what an operator would want to know; nil discards it.
	Logger *slog.Logger
	// MaxBody is the largest request body in bytes, 5 MiB if zero, as at the
	// gateway of both servers. The flows inside are compressed.
	MaxBody int64
	// RequestTimeout bounds the work for one request, 30 s if zero.
	RequestTimeout time.Duration
	// Limits bound documents.
	Limits graphql.Limits
	// SchedulerEvery, LazarusEvery and ZombiesEvery are the pauses between passes
	// of the background services: 5 min, 10 min and 2 min if zero, as at the
	// servers; negative turns a service off. Server0 has only the scheduler.
	SchedulerEvery, LazarusEvery, ZombiesEvery time.Duration
	// BetweenReadAndInsert and Queue are hooks for tests, see store.Options.
	BetweenReadAndInsert func(ctx context.Context, flowRunID string)
	Queue                func(ctx context.Context, kind, runID string) bool
}

func (o Options) withDefaults() Options {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:4200"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxBody == 0 {
		o.MaxBody = 5 << 20
	}
	for value, standard := range map[*time.Duration]time.Duration{
		&o.RequestTimeout: 30 * time.Second, &o.SchedulerEvery: 5 * time.Minute, &o.LazarusEvery: 10 * time.Minute, &o.ZombiesEvery: 2 * time.Minute,
	} {
		if *value == 0 {
			*value = standard
		}
	}
	return o
}

// Server is the development backend.
type Server struct {
	opts     Options
	store    *store.Store
	executor *graphql.Executor
	handler  http.Handler
	listener net.Listener
}

// New opens the database and the listening socket, so that Addr is known; it
// serves nothing before Run. Close it also if Run is never called.
func New(ctx context.Context, opts Options) (*Server, error) {
	opts = opts.withDefaults()
	db, err := store.Open(ctx, store.Options{
		File: opts.DB, Generation: opts.Generation, Now: opts.Now, BetweenReadAndInsert: opts.BetweenReadAndInsert, Queue: opts.Queue,
	})
	if err != nil {
		return nil, err
	}
	executor, err := graphql.New(db, opts.Limits, opts.Logger)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", opts.Listen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", opts.Listen, err), db.Close())
	}
	s := &Server{opts: opts, store: db, executor: executor, listener: listener}
	s.handler = s.routes()
	return s, nil
}

// Handler answers requests without a socket, for embedding and tests.
func (s *Server) Handler() http.Handler { return s.handler }

// Addr is the address the server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// TenantID is the id of the default tenant.
func (s *Server) TenantID() string { return s.store.TenantID() }

// SetVersionLocking turns version locking of the flow group of a flow on or
// off, which no mutation of the open source servers does. It reports whether
// the flow exists.
func (s *Server) SetVersionLocking(ctx context.Context, flowID string, on bool) (bool, error) {
	return s.store.SetFlowGroupSetting(ctx, flowID, "version_locking_enabled", on)
}

// Run serves requests and runs the background services until ctx ends; it
// returns nil then, and no goroutine of it is left.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		WriteTimeout: s.opts.RequestTimeout + 30*time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelWarn),
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve on %s: %w", s.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(stop); err != nil {
			return errors.Join(fmt.Errorf("stop serving: %w", err), server.Close())
		}
		return nil
	})
	for _, service := range s.services() {
		g.Go(func() error { return service.run(ctx, s.opts.Logger) })
	}
	return g.Wait()
}

// Close frees the socket and the database.
func (s *Server) Close() error {
	err := s.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, s.store.Close())
}
