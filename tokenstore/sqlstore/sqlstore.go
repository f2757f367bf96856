// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package sqlstore keeps links in the host's own database, through the *sql.DB that
// the host has already: PostgreSQL, MySQL and MariaDB, SQLite. The host brings the
// driver; this package imports none.
//
//	db, err := sql.Open("pgx", dsn)
//	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.Postgres})
//	err = store.Migrate(ctx) // or run store.Schema() with your own tool
//
// Each call is one statement: no transaction and no connection is held between two
// of them, so a pool of one connection is enough, and a refresh never holds one
// while it waits for PKB. The statement itself compares and swaps, which makes a
// write correct at every isolation level.
//
// On PostgreSQL, calls of Load that come while one is on its way are sent together, as
// one statement for up to 32 rows, and so are those of Save whose record holds a lease,
// as it does before a token is presented. None waits for longer than 5 ms for that. Such
// a statement waits for no lock, and what it has not done is sent by itself. A Save that
// gives a lease back, with the new tokens, always is: no other row delays it, or fails
// with it.
//
// # What the database must promise
//
// Every later read sees an acknowledged write. So the *sql.DB must reach the
// primary, and not a read replica. On a cluster that replicates after acknowledging
// (MySQL or MariaDB with asynchronous replicas, PostgreSQL without
// synchronous_commit), a failover may bring back an older row: a process that still
// knows the newer one restores it, and where none does, the patient must approve
// again. Versions are not used again even then: each Save steps by a random amount.
// Galera needs wsrep_sync_wait=7 in the DSN. SQLite needs a local file, WAL, a busy
// time-out, and synchronous=FULL if acknowledged writes are to survive a loss of
// power. running.md, one directory up, has settings and failovers for each.
//
// Overwritten and deleted data leaves the table at once. Free pages, logs and
// backups of the database may keep it for as long as they do; it is sealed there as
// it was in the table.
//
// # Drivers and poolers
//
// Each driver and setting that was tried, directly and through a pooler, is a row of
// drivers.md, in this directory. A pooler that hands out another connection for each
// transaction, as PgBouncer can, needs a driver that does not prepare statements:
// pgx with default_query_exec_mode=exec, or lib/pq with binary_parameters=yes. Migrate
// and Check find out, and return ErrSettings.
//
// CockroachDB and Aurora have not been tested. CockroachDB speaks PostgreSQL's
// dialect, and reports contention as SQLSTATE 40001, which is retried here, and an
// unknown outcome as 40003, which is returned. Aurora's writer endpoint is a primary,
// and its failover looks like a lost connection and then like a read-only server,
// both of which are errors of their own below.
package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// Config describes the database. Only Dialect is required.
type Config struct {
	// Dialect is Postgres, MySQL or SQLite.
	Dialect Dialect
	// Table is the name of the table; "" means "pkb_links".
	Table string
	// Schema is the schema (in MySQL: the database) of the table; "" means the
	// connection's own. SQLite has none.
	Schema string
	// Timeout bounds each statement; 0 means 5 seconds.
	Timeout time.Duration
}

// Store is a tokenstore.Store in a database. Its methods are safe for concurrent
// use; errors are those of tokenstore, of the context, or an *Error. It does not
// close the *sql.DB.
type Store struct {
	db      *sql.DB
	dialect Dialect
	table   string // quoted, with its schema
	bare    string
	schema  string
	timeout time.Duration

	load, insert, update, delete, exists, list, find, count, due, dueWithin, countWithin string

	loadAll, leaseAll string // of together
	loads, leases     together

	mu   sync.Mutex
	kept map[string]*sql.Stmt // prepared statements
	// forgets: the server, or a proxy, has forgotten a prepared statement.
	forgets atomic.Bool
}

var (
	_ tokenstore.Store     = (*Store)(nil)
	_ tokenstore.Lister    = (*Store)(nil)
	_ tokenstore.Finder    = (*Store)(nil)
	_ tokenstore.Counter   = (*Store)(nil)
	_ tokenstore.Scheduler = (*Store)(nil)
)

// identifier matches table names that need no escaping when quoted.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,47}$`)

// New returns a store in db. It sends nothing yet: call Migrate, or run Schema,
// before the first use.
func New(db *sql.DB, c Config) (*Store, error) {
	if db == nil {
		return nil, errors.New("sqlstore: no *sql.DB; open one with your driver, and keep it open for as long as the store is used")
	}
	if _, ok := dialects[c.Dialect]; !ok {
		return nil, fmt.Errorf("sqlstore: Dialect is %q; choose Postgres, MySQL (also for MariaDB) or SQLite", c.Dialect)
	}
	if c.Table == "" {
		c.Table = defaultTable
	}
	for what, name := range map[string]string{"Table": c.Table, "Schema": c.Schema} {
		if name != "" && !identifier.MatchString(name) {
			return nil, fmt.Errorf("sqlstore: %s is %q; use letters, digits and underscores, 48 at most, not beginning with a digit", what, name)
		}
	}
	if c.Schema != "" && c.Dialect == SQLite {
		return nil, fmt.Errorf("sqlstore: Schema is %q; SQLite has no schemas, leave it empty", c.Schema)
	}
	if c.Timeout < 0 {
		return nil, fmt.Errorf("sqlstore: Timeout is %v; it bounds each statement, leave it 0 for 5 s", c.Timeout)
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	s := &Store{db: db, dialect: c.Dialect, bare: c.Table, schema: c.Schema, timeout: c.Timeout}
	s.write()
	s.loads.send, s.leases.send = s.loadTogether, s.leaseTogether
	return s, nil
}

// String implements fmt.Stringer: a Store prints nothing of its database.
func (s *Store) String() string { return "sqlstore.Store" }

// Format implements fmt.Formatter.
func (s *Store) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// Load implements tokenstore.Store.
func (s *Store) Load(ctx context.Context, appUserID string) (rec tokenstore.Record, err error) {
	if !dialects[s.dialect].together {
		return s.loadOne(ctx, appUserID)
	}
	e := &errand{ctx: ctx, rec: tokenstore.Record{AppUserID: appUserID}}
	err = s.loads.do(e, func() (err error) {
		e.rec, err = s.loadOne(ctx, appUserID)
		return err
	})
	if err != nil {
		return tokenstore.Record{}, err
	}
	return e.rec, nil
}

func (s *Store) loadOne(ctx context.Context, appUserID string) (rec tokenstore.Record, err error) {
	err = s.do(ctx, "load", func(ctx context.Context) error {
		rec, err = scan(s.queryRow(ctx, s.load, []byte(appUserID)))
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return tokenstore.Record{}, tokenstore.ErrNotFound
	}
	if err != nil {
		return tokenstore.Record{}, err
	}
	return rec, nil
}

// Save implements tokenstore.Store.
func (s *Store) Save(ctx context.Context, rec tokenstore.Record) (tokenstore.Record, error) {
	next, err := rec.Prepare()
	if err != nil {
		return tokenstore.Record{}, err
	}
	if tooLarge(next) {
		return tokenstore.Record{}, tokenstore.ErrInvalid
	}
	if rec.Version > math.MaxInt64-maxStep {
		return tokenstore.Record{}, tokenstore.ErrConflict // never given out
	}
	row := "" // as JSON, if it may be sent with others
	if rec.Version == 0 {
		// The first version of a new row is random, so that it differs from those of
		// a row that was deleted.
		next.Version = 1 + random()>>2
	} else {
		// So is the step to the next one, so that a primary that was promoted
		// without the last writes does not give their versions to others.
		next.Version += 1 + random()%maxStep
		row = s.lease(next)
	}
	one := func() error { return s.saveOne(ctx, next, rec.Version) }
	if row == "" {
		err = one()
	} else {
		err = s.leases.do(&errand{ctx: ctx, rec: next, was: rec.Version, row: row}, one)
	}
	if err != nil {
		return tokenstore.Record{}, err
	}
	return next, nil
}

// saveOne inserts a record, or replaces a version of it.
func (s *Store) saveOne(ctx context.Context, next tokenstore.Record, was uint64) error {
	statement, args := s.insert, values(next)
	if was != 0 {
		statement, args = s.update, append(args, []byte(next.AppUserID), signed(was))
	}
	return s.do(ctx, "save", func(ctx context.Context) error {
		n, err := s.exec(ctx, statement, args...)
		if err == nil && n == 0 {
			return tokenstore.ErrConflict
		}
		return err
	})
}

// maxStep is the most by which a version grows.
const maxStep = 1 << 20

func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// Delete implements tokenstore.Store.
func (s *Store) Delete(ctx context.Context, appUserID string, version uint64) error {
	return s.do(ctx, "delete", func(ctx context.Context) error {
		n, err := int64(0), error(nil)
		if version <= math.MaxInt64 {
			n, err = s.exec(ctx, s.delete, []byte(appUserID), signed(version))
		}
		if err != nil || n > 0 {
			return err
		}
		var one int
		switch err := s.queryRow(ctx, s.exists, []byte(appUserID)).Scan(&one); {
		case errors.Is(err, sql.ErrNoRows):
			return tokenstore.ErrNotFound
		case err != nil:
			return err
		}
		return tokenstore.ErrConflict
	})
}

// List implements tokenstore.Lister.
func (s *Store) List(ctx context.Context, after string, limit int) ([]tokenstore.Record, error) {
	if limit <= 0 {
		return nil, nil
	}
	return s.page(ctx, "list", s.list, []byte(after), limit)
}

// FindPublicID implements tokenstore.Finder.
func (s *Store) FindPublicID(ctx context.Context, publicID string, limit int) ([]tokenstore.Record, error) {
	if publicID == "" || limit <= 0 {
		return nil, nil
	}
	return s.page(ctx, "find", s.find, publicID, publicID, limit)
}

// Due implements tokenstore.Scheduler.
func (s *Store) Due(ctx context.Context, before time.Time, limit int) ([]tokenstore.Record, error) {
	if limit <= 0 {
		return nil, nil
	}
	return s.page(ctx, "due", s.due, before.UnixMicro(), limit)
}

// DueWithin is Due for the records whose AppUserID begins with prefix, for
// tokenstore.WithPrefix.
func (s *Store) DueWithin(ctx context.Context, prefix string, before time.Time, limit int) ([]tokenstore.Record, error) {
	if limit <= 0 || prefix == "" {
		return nil, nil
	}
	return s.page(ctx, "due", s.dueWithin, before.UnixMicro(), []byte(prefix), after(prefix), limit)
}

// CountWithin is Count for the records whose AppUserID begins with prefix, for
// tokenstore.WithPrefix.
func (s *Store) CountWithin(ctx context.Context, prefix string) (n int, err error) {
	if prefix == "" {
		return 0, nil
	}
	err = s.do(ctx, "count", func(ctx context.Context) error {
		return s.queryRow(ctx, s.countWithin, []byte(prefix), after(prefix)).Scan(&n)
	})
	return n, err
}

// after returns the first id after all that begin with prefix: no byte of UTF-8 is
// 0xff.
func after(prefix string) []byte {
	b := []byte(prefix)
	b[len(b)-1]++
	return b
}

func (s *Store) page(ctx context.Context, op, query string, args ...any) (page []tokenstore.Record, err error) {
	err = s.do(ctx, op, func(ctx context.Context) error {
		page = page[:0]
		return s.each(ctx, query, args, func(rows *sql.Rows) error {
			r, err := scan(rows)
			page = append(page, r)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

// each reads the rows that a query returns.
func (s *Store) each(ctx context.Context, query string, args []any, read func(*sql.Rows) error) error {
	rows, err := s.query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err has the error
	for rows.Next() {
		if err := read(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Count implements tokenstore.Counter.
func (s *Store) Count(ctx context.Context) (n int, err error) {
	err = s.do(ctx, "count", func(ctx context.Context) error {
		return s.db.QueryRowContext(ctx, s.count).Scan(&n)
	})
	return n, err
}

func (s *Store) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	var res sql.Result
	err := s.send(ctx, statement, func(p prepared) (err error) {
		res, err = p.exec(ctx, args...)
		return err
	})
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (s *Store) queryRow(ctx context.Context, statement string, args ...any) (row *sql.Row) {
	_ = s.send(ctx, statement, func(p prepared) error {
		row = p.queryRow(ctx, args...)
		return row.Err()
	}) // the row has the error
	return row
}

func (s *Store) query(ctx context.Context, statement string, args ...any) (rows *sql.Rows, err error) {
	err = s.send(ctx, statement, func(p prepared) (err error) {
		rows, err = p.query(ctx, args...) //nolint:rowserrcheck,sqlclosecheck // the caller does
		return err
	})
	return rows, err
}

// prepared is a statement, and how to send it.
type prepared struct {
	db   *sql.DB
	text string
	stmt *sql.Stmt // nil: as text
}

func (p prepared) exec(ctx context.Context, args ...any) (sql.Result, error) {
	if p.stmt != nil {
		return p.stmt.ExecContext(ctx, args...)
	}
	return p.db.ExecContext(ctx, p.text, args...)
}

func (p prepared) queryRow(ctx context.Context, args ...any) *sql.Row {
	if p.stmt != nil {
		return p.stmt.QueryRowContext(ctx, args...)
	}
	return p.db.QueryRowContext(ctx, p.text, args...)
}

func (p prepared) query(ctx context.Context, args ...any) (*sql.Rows, error) {
	if p.stmt != nil {
		return p.stmt.QueryContext(ctx, args...)
	}
	return p.db.QueryContext(ctx, p.text, args...)
}

// forgotten is MySQL's code for a statement that was prepared, and is not any more:
// proxies hand over connections of the server. Nothing was done.
const forgotten = "1243"

// send sends a statement, prepared if possible. Once one has been forgotten, no more
// are kept.
func (s *Store) send(ctx context.Context, statement string, with func(prepared) error) error {
	p := prepared{s.db, statement, s.prepare(ctx, statement)}
	err := with(p)
	if p.stmt != nil && s.dialect == MySQL && code(err) == forgotten {
		s.forgets.Store(true)
		err = with(prepared{db: s.db, text: statement})
	}
	return err
}

// prepare returns a statement that stays prepared, or nil where that is not wanted
// or not possible.
func (s *Store) prepare(ctx context.Context, statement string) *sql.Stmt {
	if !dialects[s.dialect].prepare || s.forgets.Load() {
		return nil
	}
	s.mu.Lock()
	p := s.kept[statement]
	s.mu.Unlock()
	if p != nil {
		return p
	}
	p, err := s.db.PrepareContext(ctx, statement)
	if err != nil {
		return nil // the error is returned when the statement is sent
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if first := s.kept[statement]; first != nil {
		_ = p.Close() // another goroutine was faster
		return first
	}
	if s.kept == nil {
		s.kept = map[string]*sql.Stmt{}
	}
	s.kept[statement] = p
	return p
}

// tries bounds how often a statement is sent that the database undid.
const tries = 10

// do runs one statement within the store's time-out. It retries what the database
// reports as undone (a deadlock, a serialization failure, a locked file), and never
// what may have been done.
func (s *Store) do(ctx context.Context, op string, f func(context.Context) error) error {
	return s.attempt(ctx, op, tries, f)
}

// attempt is do with so many tries.
func (s *Store) attempt(ctx context.Context, op string, tries int, f func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for try := 1; ; try++ {
		err := limited.Err()
		if err == nil {
			err = f(limited)
		}
		switch {
		case err == nil, errors.Is(err, sql.ErrNoRows), errors.Is(err, tokenstore.ErrConflict), errors.Is(err, tokenstore.ErrNotFound):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if e, ok := errors.AsType[*Error](err); ok {
			return e // of a check
		}
		e := s.explain(op, err)
		if errors.Is(e, tokenstore.ErrConflict) || errors.Is(e, tokenstore.ErrClosed) {
			return e
		}
		if limited.Err() != nil {
			return &Error{Op: op, kind: ErrUnavailable, text: fmt.Sprintf("no response within %v", s.timeout), cause: err}
		}
		if !errors.Is(e, ErrBusy) || try == tries {
			return e
		}
		base := time.Millisecond << min(try, 7)
		wait := time.NewTimer(base/2 + mathrand.N(base))
		select {
		case <-wait.C:
		case <-limited.Done():
			wait.Stop()
		}
	}
}

// maxText bounds the short texts of a record, in bytes: every column stores that
// without cutting it.
const (
	maxText  = 4096
	maxState = 32
)

func tooLarge(r tokenstore.Record) bool {
	for _, text := range []string{r.Environment, r.ClientID, r.Cause, r.PublicID, r.Claim, r.Lease.Owner, r.KeyID} {
		if len(text) > maxText {
			return true
		}
	}
	return len(r.State) > maxState || max(r.Generation, r.Lease.Beat) > math.MaxInt64
}
