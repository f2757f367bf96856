// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// Check finds out whether the table is there, and whether the connections are set
// so that what one of them writes is kept, and seen by all. Migrate ends with it; a
// host that runs Schema with a tool of its own calls it at the start. It writes
// nothing. It returns ErrNoTable, ErrReadOnly, ErrSettings with the setting to
// change, or another *Error.
func (s *Store) Check(ctx context.Context) error {
	err := s.do(ctx, "check", func(ctx context.Context) error {
		switch s.dialect {
		case Postgres:
			return s.checkPostgres(ctx)
		case MySQL:
			return s.checkMySQL(ctx)
		}
		return s.checkSQLite(ctx)
	})
	if err == nil {
		_, err = s.Load(ctx, "")
	}
	if errors.Is(err, tokenstore.ErrNotFound) {
		return nil
	}
	return err
}

// unfit is ErrSettings with what to change.
func unfit(what string, cause error) error {
	return &Error{Op: "check", Code: code(cause), kind: ErrSettings, text: what, cause: cause}
}

// The settings to change.
const (
	poolerText = "a pooler hands each statement to another connection, and the driver prepares statements: " +
		"with pgx set default_query_exec_mode=exec, with lib/pq binary_parameters=yes, in the DSN; or pool by sessions"
	autocommitText = "autocommit is off, so that nobody else sees what is written: remove autocommit=0 from the DSN"
	galeraText     = "this is Galera, whose nodes lag behind each other: add wsrep_sync_wait=7 to the DSN"
	memoryText     = "each connection has a database of its own, as :memory: does: use a file, or SetMaxOpenConns(1)"
)

// checkMySQL reads the session's variables, which the DSN sets for all connections.
func (s *Store) checkMySQL(ctx context.Context) error {
	rows, err := s.db.QueryContext(ctx, "SHOW VARIABLES WHERE Variable_name IN ('autocommit', 'wsrep_on', 'wsrep_sync_wait', 'transaction_read_only', 'tx_read_only')")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err has the error
	is := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		is[strings.ToLower(name)] = strings.ToUpper(value)
	}
	wait, _ := strconv.Atoi(is["wsrep_sync_wait"])
	switch {
	case rows.Err() != nil:
		return rows.Err()
	case is["autocommit"] == "OFF":
		return unfit(autocommitText, nil)
	case is["wsrep_on"] == "ON" && wait&allStatements != allStatements:
		return unfit(galeraText, nil)
	case is["transaction_read_only"] == "ON" || is["tx_read_only"] == "ON":
		return &Error{Op: "check", kind: ErrReadOnly}
	}
	return nil
}

// allStatements of wsrep_sync_wait: reads, updates and deletes, inserts.
const allStatements = 1 | 2 | 4

// checkSQLite looks whether two connections see the same table.
func (s *Store) checkSQLite(ctx context.Context) error {
	return s.withTwo(ctx, func(a, b *sql.Conn) error {
		first, second := s.reads(ctx, a), s.reads(ctx, b)
		if (first == nil) != (second == nil) {
			return unfit(memoryText, errors.Join(first, second))
		}
		return first
	})
}

// reads sends one of the store's statements, as prepared as the driver likes.
func (s *Store) reads(ctx context.Context, c *sql.Conn) error {
	var one int
	err := c.QueryRowContext(ctx, s.exists, []byte(nil)).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

// withTwo runs f with two connections, if the pool may have as many.
func (s *Store) withTwo(ctx context.Context, f func(a, b *sql.Conn) error) error {
	if s.db.Stats().MaxOpenConnections == 1 {
		return nil // so nothing comes between two statements
	}
	a, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }() // back to the pool
	b, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	return f(a, b)
}

// checkPostgres looks whether the server takes writes, and whether a pooler is in
// between that a driver's prepared statements do not survive.
func (s *Store) checkPostgres(ctx context.Context) error {
	var readOnly string
	err := s.db.QueryRowContext(ctx, "SHOW transaction_read_only").Scan(&readOnly)
	switch {
	case confused(err):
		return unfit(poolerText, err)
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return err
	case readOnly == "on":
		return &Error{Op: "check", kind: ErrReadOnly}
	}
	pooled := false
	err = s.withTwo(ctx, func(a, b *sql.Conn) error {
		pooled, err = s.moved(ctx, a, b)
		return err
	})
	if err == nil && pooled {
		err = s.mixed(ctx)
	}
	if confused(err) {
		return unfit(poolerText, err)
	}
	return err
}

// confused reports whether an error is of a statement that was prepared on another
// connection, or by another client on this one. (PostgreSQL: appendix A.)
func confused(err error) bool {
	switch code(err) {
	case "42P05", "26000", "08P01":
		return true
	}
	return false
}

// moved reports whether connection a is handed to another session of the server when
// b occupies the one that it had.
func (s *Store) moved(ctx context.Context, a, b *sql.Conn) (bool, error) {
	before, err := s.session(ctx, a)
	if err != nil {
		return false, err
	}
	// A pooler by statements takes no transaction: then b waits in a statement.
	if _, err := b.ExecContext(ctx, "BEGIN"); err != nil {
		return true, nil //nolint:nilerr // only a pooler refuses it
	}
	defer func() { _, _ = b.ExecContext(ctx, "ROLLBACK") }()
	if _, err := s.session(ctx, b); err != nil {
		return true, err
	}
	after, err := s.session(ctx, a)
	return before != after, err
}

// session sends one of the store's statements, and returns which session of the server
// a connection has.
func (s *Store) session(ctx context.Context, c *sql.Conn) (pid int64, err error) {
	if err := s.reads(ctx, c); err != nil {
		return 0, err
	}
	err = c.QueryRowContext(ctx, "SELECT pg_backend_pid()").Scan(&pid)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return pid, err
}

// mixed has several connections ask at the same time, and returns an error if one
// gets what another asked for: a driver that prepares and runs a statement in two
// steps may run another client's, behind a pooler.
func (s *Store) mixed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, mixFor)
	defer cancel()
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		found error
		asked atomic.Int64
	)
	for i := range mixers {
		all.Go(func() {
			err := s.ask(ctx, strings.Repeat("x", i+1), &asked)
			mu.Lock()
			defer mu.Unlock()
			if found == nil && err != nil && ctx.Err() == nil {
				found = err
				cancel()
			}
		})
	}
	all.Wait()
	return found
}

// As many connections ask so often, or for so long if the database is busy.
const (
	mixers = 8
	mixAll = 10_000
	mixFor = 5 * time.Second
)

// ask asks for its own text until all have asked often enough or ctx ends, in
// statements of two shapes.
func (s *Store) ask(ctx context.Context, own string, asked *atomic.Int64) error {
	for ctx.Err() == nil && asked.Add(2) <= mixAll {
		var first, second string
		if err := s.db.QueryRowContext(ctx, "SELECT $1::text", own).Scan(&first); err != nil {
			return err
		}
		if err := s.db.QueryRowContext(ctx, "SELECT $1::text || $2::text", own, own).Scan(&second); err != nil {
			return err
		}
		if first != own || second != own+own {
			return unfit(poolerText, nil)
		}
	}
	return ctx.Err()
}
