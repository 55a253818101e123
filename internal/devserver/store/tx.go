package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
)

// handle is one connection with its prepared statements.
type handle struct {
	db    *sql.DB
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	// inUse is held by the operation that has it.
	inUse sync.Mutex
}

// close also closes the statements: with an open one SQLite keeps the connection,
// and the files beside the database.
func (h *handle) close() error {
	var errs []error
	for _, st := range h.stmts {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, h.conn.Close(), h.db.Close())...)
}

// tx is a transaction on one connection.
type tx struct {
	s *Store
	h *handle
}

// row is a record to insert: column to value.
type row map[string]any

func take(ctx context.Context, pool chan *handle) (*handle, error) {
	select {
	case h := <-pool:
		return h, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// update runs fn in a writing transaction; an error undoes all of it.
func (s *Store) update(ctx context.Context, fn func(context.Context, *tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.inTx(ctx, s.writers, "BEGIN IMMEDIATE", func(ctx context.Context, t *tx) error {
		// A caller who leaves must not cut a write in half, and the driver pays for a
		// context that can end with a goroutine per statement.
		return fn(context.WithoutCancel(ctx), t)
	})
}

// view runs fn on one consistent state of the database. Others may wait for the
// connection, so that fn gets only so much time for it.
func (s *Store) view(ctx context.Context, fn func(context.Context, *tx) error) error {
	return s.inTx(ctx, s.readers, "BEGIN", func(ctx context.Context, t *tx) error {
		limited, cancel := context.WithTimeout(ctx, s.opts.ReadTimeout)
		defer cancel()
		err := fn(limited, t)
		if err != nil && limited.Err() != nil && ctx.Err() == nil {
			return refuse("Query took longer than %v. Ask for less, or with a simpler filter.", s.opts.ReadTimeout)
		}
		return err
	})
}

func (s *Store) inTx(ctx context.Context, pool chan *handle, begin string, fn func(context.Context, *tx) error) (err error) {
	h, err := take(ctx, pool)
	if err != nil {
		return err
	}
	h.inUse.Lock()
	defer func() {
		h.inUse.Unlock()
		pool <- h
		if _, ok := errors.AsType[*sqlite.Error](err); ok {
			err = s.named(err)
		}
	}()
	t := &tx{s: s, h: h}
	if _, err := t.exec(ctx, begin); err != nil {
		return err
	}
	if err := fn(ctx, t); err != nil {
		t.rollback(ctx)
		return err
	}
	if _, err := t.exec(ctx, "COMMIT"); err != nil {
		t.rollback(ctx)
		return err
	}
	return nil
}

// rollback must also work after the caller has gone, or the connection would
// stay inside a transaction for the next one. An error of it says that SQLite
// has rolled back already, so there is nothing to report.
func (t *tx) rollback(ctx context.Context) {
	_, _ = t.h.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
}

func (t *tx) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if st, ok := t.h.stmts[query]; ok {
		return st, nil
	}
	if len(t.h.stmts) >= maxStatements {
		for q, st := range t.h.stmts {
			_ = st.Close()
			delete(t.h.stmts, q)
		}
	}
	st, err := t.h.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	t.h.stmts[query] = st
	return st, nil
}

func (t *tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	st, err := t.prepared(ctx, query) //nolint:sqlclosecheck // kept for the next use; the pool closes it
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// each calls scan for every row of the answer.
func (t *tx) each(ctx context.Context, query string, args []any, scan func(*sql.Rows) error) error {
	st, err := t.prepared(ctx, query) //nolint:sqlclosecheck // kept for the next use; the pool closes it
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// one reads the first row into dest and reports whether there was one.
func (t *tx) one(ctx context.Context, query string, args []any, dest ...any) (bool, error) {
	found := false
	err := t.each(ctx, query, args, func(r *sql.Rows) error {
		if found {
			return nil
		}
		found = true
		return r.Scan(dest...)
	})
	return found, err
}

// strings reads the first column of every row.
func (t *tx) strings(ctx context.Context, query string, args ...any) ([]string, error) {
	var out []string
	err := t.each(ctx, query, args, func(r *sql.Rows) error {
		var v string
		if err := r.Scan(&v); err != nil {
			return err
		}
		out = append(out, v)
		return nil
	})
	return out, err
}

// insert adds a record; created and updated are filled in.
func (t *tx) insert(ctx context.Context, table string, r row) error {
	now := t.now()
	for _, c := range []string{"created", "updated"} {
		if _, ok := r[c]; !ok {
			r[c] = now
		}
	}
	columns := make([]string, 0, len(r))
	for c := range r {
		columns = append(columns, c)
	}
	slices.Sort(columns)
	args := make([]any, len(columns))
	for i, c := range columns {
		args[i] = r[c]
		columns[i] = `"` + c + `"`
	}
	query := fmt.Sprintf("INSERT INTO %s (%s) VALUES (?%s)", table, strings.Join(columns, ","), strings.Repeat(",?", len(columns)-1))
	_, err := t.exec(ctx, query, args...)
	return err
}

// now is the time of the store as it is written to the database. It never
// repeats, so that rows of one transaction keep their order under order_by.
func (t *tx) now() string { return FormatTime(t.s.tick()) }

func (s *Store) tick() time.Time {
	for {
		last := s.last.Load()
		next := max(s.opts.Now().UnixMicro(), last+1)
		if s.last.CompareAndSwap(last, next) {
			return time.UnixMicro(next).UTC()
		}
	}
}

// Row is one record of a query, in the order of the selected columns.
type Row []any

// Reader reads by SQL on one consistent state of the database.
type Reader struct{ t *tx }

// View runs fn on one consistent state of the database. The reader is valid
// only inside fn, which must not call other methods of the store.
func (s *Store) View(ctx context.Context, fn func(context.Context, Reader) error) error {
	return s.view(ctx, func(ctx context.Context, t *tx) error { return fn(ctx, Reader{t}) })
}

// Each calls fn for every row of a query. The query text must come from the
// program, never from a request; values go into args.
func (r Reader) Each(ctx context.Context, query string, args []any, fn func(Row) error) error {
	var dest []any
	return r.t.each(ctx, query, args, func(rows *sql.Rows) error {
		if dest == nil {
			names, err := rows.Columns()
			if err != nil {
				return err
			}
			dest = make([]any, len(names))
		}
		rec := make(Row, len(dest))
		for i := range rec {
			dest[i] = &rec[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		return fn(rec)
	})
}
