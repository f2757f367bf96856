// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// Open your database as you always do, with your driver, and pass it on.
func Example() {
	db, err := sql.Open("pgx", "postgres://app@db.example/app") // with _ "github.com/jackc/pgx/v5/stdlib"
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.Postgres})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := store.Migrate(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(store) // pkb.New(pkb.Config{Store: store, ...})
	// Output: sqlstore.Store
}

// The driver "pgx" of these tests is the scripted database.
func init() { sql.Register("pgx", scripted{}) }

type scripted struct{}

func (scripted) Open(string) (driver.Conn, error) { return conn{&script{}}, nil }

// script is a database that responds to each statement with the next error, and with
// one affected row when there is none left.
type script struct {
	errs []error
	sent int
	// hang means that statements do not return until their contexts end.
	hang bool
}

func (s *script) Connect(context.Context) (driver.Conn, error) { return conn{s}, nil }
func (s *script) Driver() driver.Driver                        { return nil }

type conn struct{ *script }

func (conn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not prepared here") }
func (conn) Close() error                        { return nil }
func (conn) Begin() (driver.Tx, error)           { return nil, errors.New("no transactions here") }

func (c conn) next(ctx context.Context) error {
	c.sent++
	if c.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if len(c.errs) == 0 {
		return nil
	}
	err := c.errs[0]
	c.errs = c.errs[1:]
	return err
}

func (c conn) ExecContext(ctx context.Context, _ string, _ []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(1), c.next(ctx)
}

func (c conn) QueryContext(ctx context.Context, _ string, _ []driver.NamedValue) (driver.Rows, error) {
	if err := c.next(ctx); err != nil {
		return nil, err
	}
	return noRows{}, nil
}

// noRows is an empty result.
type noRows struct{}

func (noRows) Columns() []string         { return []string{"column"} }
func (noRows) Close() error              { return nil }
func (noRows) Next([]driver.Value) error { return io.EOF }

// The errors of common drivers, as they look from outside.
type (
	pgError     struct{ code string } // pgx and lib/pq
	mysqlError  struct{ Number uint16 }
	modernError struct{ code int }
	mattnError  struct{ Code int }
	// ncrucesError looks like a net.Error, and is none.
	ncrucesError struct{ code ncrucesCode }
	ncrucesCode  uint8
)

func (e *ncrucesError) Error() string     { return "secret-canary" }
func (e *ncrucesError) Code() ncrucesCode { return e.code }
func (e *ncrucesError) Timeout() bool     { return false }
func (e *ncrucesError) Temporary() bool   { return true }

func (e *pgError) Error() string     { return "secret-canary" }
func (e *pgError) SQLState() string  { return e.code }
func (e *mysqlError) Error() string  { return "Duplicate entry 'secret-canary'" }
func (e *modernError) Error() string { return "secret-canary" }
func (e *modernError) Code() int     { return e.code }
func (e mattnError) Error() string   { return "secret-canary" }

func store(t *testing.T, s *script, d sqlstore.Dialect) *sqlstore.Store {
	t.Helper()
	db := sql.OpenDB(s)
	t.Cleanup(func() { _ = db.Close() })
	st, err := sqlstore.New(db, sqlstore.Config{Dialect: d})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// Every failure has an error of its own, and none of the driver's text.
func TestFailuresHaveNames(t *testing.T) {
	for name, test := range map[string]struct {
		dialect sqlstore.Dialect
		err     error
		want    error
	}{
		"PostgreSQL read-only":       {sqlstore.Postgres, &pgError{"25006"}, sqlstore.ErrReadOnly},
		"PostgreSQL disk full":       {sqlstore.Postgres, &pgError{"53100"}, sqlstore.ErrFull},
		"PostgreSQL shutting down":   {sqlstore.Postgres, &pgError{"57P01"}, sqlstore.ErrUnavailable},
		"PostgreSQL no table":        {sqlstore.Postgres, fmt.Errorf("wrapped: %w", &pgError{"42P01"}), sqlstore.ErrNoTable},
		"PostgreSQL no right":        {sqlstore.Postgres, &pgError{"42501"}, sqlstore.ErrRefused},
		"CockroachDB unknown result": {sqlstore.Postgres, &pgError{"40003"}, sqlstore.ErrUnavailable},
		"MySQL read-only":            {sqlstore.MySQL, &mysqlError{1290}, sqlstore.ErrReadOnly},
		"MySQL full":                 {sqlstore.MySQL, &mysqlError{1114}, sqlstore.ErrFull},
		"MySQL duplicate":            {sqlstore.MySQL, &mysqlError{1062}, tokenstore.ErrConflict},
		"MySQL no table":             {sqlstore.MySQL, &mysqlError{1146}, sqlstore.ErrNoTable},
		"SQLite read-only":           {sqlstore.SQLite, &modernError{8 | 3<<8}, sqlstore.ErrReadOnly},
		"SQLite full":                {sqlstore.SQLite, mattnError{13}, sqlstore.ErrFull},
		"SQLite, ncruces, read-only": {sqlstore.SQLite, &ncrucesError{8}, sqlstore.ErrReadOnly},
		"SQLite, ncruces, full":      {sqlstore.SQLite, &ncrucesError{13}, sqlstore.ErrFull},
		"SQLite, ncruces, no table":  {sqlstore.SQLite, &ncrucesError{1}, sqlstore.ErrNoTable},
		"MySQL killed connection":    {sqlstore.MySQL, errors.New("invalid connection"), sqlstore.ErrUnavailable},
		"MySQL closed connection":    {sqlstore.MySQL, fmt.Errorf("secret-canary: %w", net.ErrClosed), sqlstore.ErrUnavailable},
		"pooler, name in use":        {sqlstore.Postgres, &pgError{"42P05"}, sqlstore.ErrSettings},
		"pooler, name unknown":       {sqlstore.Postgres, &pgError{"26000"}, sqlstore.ErrSettings},
		"pooler, no server":          {sqlstore.Postgres, &pgError{"08P01"}, sqlstore.ErrUnavailable},
		"no such host":               {sqlstore.Postgres, &net.DNSError{Err: "no such host", Name: "db.example"}, sqlstore.ErrUnavailable},
		"connection refused":         {sqlstore.MySQL, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}, sqlstore.ErrUnavailable},
		"connection lost":            {sqlstore.Postgres, io.ErrUnexpectedEOF, sqlstore.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := store(t, &script{errs: []error{test.err}}, test.dialect)
			_, err := s.Save(t.Context(), tokenstore.Record{AppUserID: "a"})
			if !errors.Is(err, test.want) {
				t.Errorf("Save: %v, want %v", err, test.want)
			}
			if text := fmt.Sprintf("%v %+v %#v %s", err, err, err, err); strings.Contains(text, "canary") {
				t.Errorf("the error repeats what the driver wrote: %s", text)
			}
		})
	}
}

// What the database has undone is retried; what may have been done is not.
func TestOnlyWhatWasUndoneIsRepeated(t *testing.T) {
	for name, test := range map[string]struct {
		dialect sqlstore.Dialect
		err     error
		sent    int
	}{
		"PostgreSQL serialization failure": {sqlstore.Postgres, &pgError{"40001"}, 3},
		"PostgreSQL deadlock":              {sqlstore.Postgres, &pgError{"40P01"}, 3},
		"MySQL deadlock":                   {sqlstore.MySQL, &mysqlError{1213}, 3},
		"SQLite busy":                      {sqlstore.SQLite, &modernError{5}, 3},
		"SQLite busy, ncruces":             {sqlstore.SQLite, &ncrucesError{5}, 3},
		"PostgreSQL shutting down":         {sqlstore.Postgres, &pgError{"57P01"}, 1},
		"connection lost":                  {sqlstore.Postgres, io.ErrUnexpectedEOF, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				script := &script{errs: []error{test.err, test.err}}
				_, err := store(t, script, test.dialect).Save(t.Context(), tokenstore.Record{AppUserID: "a"})
				if script.sent != test.sent || (err == nil) != (test.sent > 1) {
					t.Errorf("sent %d times with %v, want %d times", script.sent, err, test.sent)
				}
			})
		})
	}
}

// A database that does not respond is given up; a caller that gives up gets its own
// error.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store(t, &script{hang: true}, sqlstore.Postgres)
		start := time.Now()
		if _, err := s.Save(t.Context(), tokenstore.Record{AppUserID: "a"}); !errors.Is(err, sqlstore.ErrUnavailable) || time.Since(start) != 5*time.Second {
			t.Errorf("Save: %v after %v, want ErrUnavailable after 5s", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Load(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sqlstore.ErrUnavailable) {
			t.Errorf("Load: %v, want the caller's own deadline", err)
		}
	})
}

// A primary that was promoted without the last writes sees writes on versions from
// which others were made before: none gets the version of a lost write.
func TestVersionsOfLostWritesAreNotUsedAgain(t *testing.T) {
	s := store(t, &script{}, sqlstore.Postgres) // accepts any version as the current one
	for _, base := range []uint64{0, 7} {
		const writes = 20
		seen := map[uint64]bool{}
		for range writes {
			r, err := s.Save(t.Context(), tokenstore.Record{AppUserID: "a", Version: base})
			if err != nil {
				t.Fatal(err)
			}
			if base > 0 && (r.Version <= base || r.Version > base+1<<20) {
				t.Errorf("version %d follows %d", r.Version, base)
			}
			seen[r.Version] = true
		}
		if len(seen) < writes-2 { // two of 20 may meet by chance, and three pairs do not
			t.Errorf("%d writes on version %d share %d versions", writes, base, len(seen))
		}
	}
	if _, err := s.Save(t.Context(), tokenstore.Record{AppUserID: "a", Version: math.MaxInt64}); !errors.Is(err, tokenstore.ErrConflict) {
		t.Errorf("Save on the last version that the column takes: %v, want ErrConflict", err)
	}
}

func TestClosedDatabase(t *testing.T) {
	db := sql.OpenDB(&script{})
	s, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), "a"); !errors.Is(err, tokenstore.ErrClosed) {
		t.Errorf("Load: %v, want ErrClosed", err)
	}
}

func TestNewRefuses(t *testing.T) {
	db := sql.OpenDB(&script{})
	t.Cleanup(func() { _ = db.Close() })
	for name, test := range map[string]struct {
		db   *sql.DB
		c    sqlstore.Config
		says string
	}{
		"no database":      {nil, sqlstore.Config{Dialect: sqlstore.Postgres}, "*sql.DB"},
		"no dialect":       {db, sqlstore.Config{}, "choose Postgres"},
		"unknown dialect":  {db, sqlstore.Config{Dialect: "oracle"}, "choose Postgres"},
		"injected table":   {db, sqlstore.Config{Dialect: sqlstore.MySQL, Table: "a`; DROP TABLE b; --"}, "Table"},
		"injected schema":  {db, sqlstore.Config{Dialect: sqlstore.Postgres, Schema: `a"b`}, "Schema"},
		"schema in SQLite": {db, sqlstore.Config{Dialect: sqlstore.SQLite, Schema: "app"}, "no schemas"},
		"negative timeout": {db, sqlstore.Config{Dialect: sqlstore.SQLite, Timeout: -1}, "Timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := sqlstore.New(test.db, test.c); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("New: %v, want a text with %q", err, test.says)
			}
		})
	}
}

// The schema that a host runs itself names the host's table everywhere.
func TestSchemaNames(t *testing.T) {
	for _, d := range []sqlstore.Dialect{sqlstore.Postgres, sqlstore.MySQL, sqlstore.SQLite} {
		db := sql.OpenDB(&script{})
		t.Cleanup(func() { _ = db.Close() })
		c := sqlstore.Config{Dialect: d, Table: "patients"}
		if d != sqlstore.SQLite {
			c.Schema = "app"
		}
		s, err := sqlstore.New(db, c)
		if err != nil {
			t.Fatal(err)
		}
		sql := s.Schema()
		if strings.Contains(sql, "pkb_links") {
			t.Errorf("%s: %s", d, sql)
		}
		for _, index := range []string{"patients_tend", "patients_public", "patients_claim"} {
			if !strings.Contains(sql, " "+index+" ") {
				t.Errorf("%s: no index %s: %s", d, index, sql)
			}
		}
		if err := s.Migrate(t.Context()); err != nil {
			t.Errorf("%s: Migrate: %v", d, err)
		}
	}
}
