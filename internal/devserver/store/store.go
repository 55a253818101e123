// Package store keeps the data of the development backend in SQLite and applies
// the rules of Prefect Server to it: how a flow, a flow run and a state come to
// be, which runs are due, what the background services change. It knows nothing
// of GraphQL and HTTP; it offers named operations, and read access by SQL for
// the package that compiles queries. No time is read but the one given to it.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	_ "modernc.org/sqlite" // the driver, registered as "sqlite"
)

// Generation names the Prefect Server whose rules apply.
type Generation string

// The generations. Server0 is the server that lived inside prefect 0.11.0,
// Server1 is the separate server of 2022 that the 1.x clients speak to.
const (
	Server0 Generation = "0.11"
	Server1 Generation = "1.x"
)

const (
	readers       = 8
	maxStatements = 256
)

// Options are the settings of a store. The zero value is an empty temporary store
// with the rules of Server1.
type Options struct {
	// File is the path of the database. Empty means a temporary one that has no name
	// once it is open, so that nobody else finds it and nothing of it is left.
	File string
	// Generation selects the rules; empty means Server1.
	Generation Generation
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// ReadTimeout is how long one read may hold its connection, 2 s if zero.
	ReadTimeout time.Duration
	// BetweenReadAndInsert, if set, is called while a flow run state is written:
	// after the version of the run was read and before the row is inserted, with no
	// lock held. Both servers have this gap and no unique key, so two writers at
	// once can leave two rows of one version. It makes that reproducible.
	BetweenReadAndInsert func(ctx context.Context, flowRunID string)
	// Queue, if set, is asked before a Running state is accepted. Answering true
	// makes the answer QUEUED and leaves the run as it is, as the hosted service
	// does at a concurrency limit. Kind is flow_run or task_run.
	Queue func(ctx context.Context, kind, runID string) bool
}

// Store is the database. Its methods may be called from many goroutines.
type Store struct {
	opts     Options
	handles  []*handle
	writers  chan *handle
	readers  chan *handle
	last     atomic.Int64
	tenantID string
	locks    submittedLocks
	sizes    limits
}

// limits bound foreign input; they are fields so that tests can lower them.
type limits struct {
	// state and flow are in bytes.
	state, flow int
	// tasks and edges are those of one flow: each run of it gets so many task runs.
	tasks, edges int
}

// Open opens or creates the database, brings it to the newest schema and makes
// sure that the default tenant exists.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if opts.Generation == "" {
		opts.Generation = Server1
	}
	if opts.Generation != Server0 && opts.Generation != Server1 {
		return nil, fmt.Errorf("unknown generation %q, want %q or %q", opts.Generation, Server0, Server1)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.ReadTimeout == 0 {
		opts.ReadTimeout = 2 * time.Second
	}
	s := &Store{opts: opts, sizes: limits{state: 1_000_000, flow: 64 << 20, tasks: 20_000, edges: 100_000}}
	file := opts.File
	if file == "" {
		dir, err := temporary()
		if err != nil {
			return nil, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		file = filepath.Join(dir, "dev.db")
	}
	if err := s.prepare(ctx, file); err != nil {
		return nil, errors.Join(s.named(err), s.Close())
	}
	return s, nil
}

// named says which database an error is about.
func (s *Store) named(err error) error {
	if s.opts.File == "" {
		return fmt.Errorf("temporary database: %w", err)
	}
	return fmt.Errorf("database %s: %w", s.opts.File, err)
}

// Generation reports whose rules the store applies.
func (s *Store) Generation() Generation { return s.opts.Generation }

// TenantID is the id of the default tenant.
func (s *Store) TenantID() string { return s.tenantID }

// Now is the time of the store's clock.
func (s *Store) Now() time.Time { return s.opts.Now() }

// Close closes the database, after the operations that run. SQLite brings what was
// written into the one file when its last connection goes.
func (s *Store) Close() error {
	var errs []error
	for _, h := range slices.Backward(s.handles) { // readers may not write, so the writer is the last
		h.inUse.Lock()
		errs = append(errs, h.close())
		h.inUse.Unlock()
	}
	s.handles = nil
	if err := errors.Join(errs...); err != nil {
		return s.named(err)
	}
	return nil
}

func (s *Store) prepare(ctx context.Context, file string) error {
	if err := own(file); err != nil {
		return err
	}
	writer, err := s.open(ctx, s.dsn(file, "journal_mode(wal)"))
	if err != nil {
		return err
	}
	s.writers = make(chan *handle, 1)
	s.writers <- writer
	if err := s.migrate(ctx); err != nil {
		return err
	}
	s.readers = make(chan *handle, readers)
	for range readers {
		reader, err := s.open(ctx, s.dsn(file, "query_only(1)"))
		if err != nil {
			return err
		}
		s.readers <- reader
	}
	return s.ensureTenant(ctx)
}

func (s *Store) ensureTenant(ctx context.Context) error {
	err := s.update(ctx, func(ctx context.Context, t *tx) error {
		found, err := t.one(ctx, "SELECT id FROM tenant ORDER BY created LIMIT 1", nil, &s.tenantID)
		if err != nil || found {
			return err
		}
		s.tenantID = newID()
		return t.insert(ctx, "tenant", row{"id": s.tenantID, "name": "default", "slug": "default"})
	})
	if err != nil {
		return fmt.Errorf("create default tenant: %w", err)
	}
	return nil
}

// dsn puts the pragmas into the name, busy timeout first, so that every
// connection has them.
func (s *Store) dsn(file, role string) string {
	synchronous := "synchronous(normal)"
	if s.opts.File == "" {
		synchronous = "synchronous(off)"
	}
	q := url.Values{"_pragma": {"busy_timeout(5000)", "foreign_keys(1)", "temp_store(memory)", "cache_size(-8000)", role, synchronous}}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: q.Encode()}
	return u.String()
}

func (s *Store) open(ctx context.Context, name string) (*handle, error) {
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	h := &handle{db: db, conn: conn, stmts: map[string]*sql.Stmt{}}
	s.handles = append(s.handles, h)
	// The first read opens the files beside the database, too.
	return h, conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(new(int))
}

func newID() string { return uuid.NewString() }
