// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"

	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// database is a kind of database.
type database struct {
	name    string
	dialect sqlstore.Dialect
	driver  driver.Driver
	// scratch makes an empty one.
	scratch func(ctx context.Context) (dsn string, drop func() error, err error)
	// private starts a server of its own; nil where there is no server.
	private func(ctx context.Context) (*services.Server, error)
}

var (
	sqliteDatabase   = database{name: "SQLite", dialect: sqlstore.SQLite, driver: &sqlite.Driver{}, scratch: scratchSQLite}
	postgresDatabase = database{
		name: "PostgreSQL", dialect: sqlstore.Postgres, driver: &stdlib.Driver{},
		scratch: services.ScratchPostgres, private: services.StartPostgres,
	}
	mariaDatabase = database{
		name: "MariaDB", dialect: sqlstore.MySQL, driver: &mysql.MySQLDriver{},
		scratch: services.ScratchMariaDB, private: services.StartMariaDB,
	}
	databases = []database{sqliteDatabase, postgresDatabase, mariaDatabase}
)

// scratchSQLite makes a file, as a host with several processes would use it.
func scratchSQLite(context.Context) (dsn string, drop func() error, err error) {
	dir, err := os.MkdirTemp("", "pkb-stores-")
	if err != nil {
		return "", nil, err
	}
	return "file:" + filepath.Join(dir, "links.db") + "?_pragma=journal_mode(wal)&_pragma=busy_timeout(10000)&_pragma=synchronous(full)",
		func() error { return os.RemoveAll(dir) }, nil
}

// open opens a database; what passes the driver is counted in calls, unless
// that is nil.
func (d database) open(dsn string, calls *atomic.Int64) (*sql.DB, error) {
	if calls == nil {
		calls = new(atomic.Int64)
	}
	return sql.OpenDB(&connector{d.driver, dsn, calls}), nil
}

// store returns a store in a database, migrated.
func (d database) store(ctx context.Context, db *sql.DB) (*sqlstore.Store, error) {
	s, err := sqlstore.New(db, sqlstore.Config{Dialect: d.dialect})
	if err != nil {
		return nil, err
	}
	return s, s.Migrate(ctx)
}

// connector counts what goes to the server: each statement that is sent, and
// each that is prepared.
type connector struct {
	driver driver.Driver
	dsn    string
	calls  *atomic.Int64
}

// Driver implements driver.Connector.
func (c *connector) Driver() driver.Driver { return c.driver }

// Connect implements driver.Connector.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	var inner driver.Conn
	var err error
	if with, ok := c.driver.(driver.DriverContext); ok {
		var there driver.Connector
		if there, err = with.OpenConnector(c.dsn); err == nil {
			inner, err = there.Connect(ctx)
		}
	} else {
		inner, err = c.driver.Open(c.dsn)
	}
	if err != nil {
		return nil, err
	}
	conn, ok := inner.(fullConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%T lacks what is counted", inner), inner.Close())
	}
	return &counted{fullConn: conn, calls: c.calls}, nil
}

// fullConn is what the three drivers' connections have in common.
type fullConn interface {
	driver.Conn
	driver.ExecerContext
	driver.QueryerContext
	driver.ConnPrepareContext
	driver.Pinger
	driver.SessionResetter
}

// counted is a connection.
type counted struct {
	fullConn
	calls *atomic.Int64
}

func (c *counted) count(err error) {
	if !errors.Is(err, driver.ErrSkip) { // that one went nowhere
		c.calls.Add(1)
	}
}

// ExecContext implements driver.ExecerContext.
func (c *counted) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	res, err := c.fullConn.ExecContext(ctx, query, args)
	c.count(err)
	return res, err
}

// QueryContext implements driver.QueryerContext.
func (c *counted) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.fullConn.QueryContext(ctx, query, args)
	c.count(err)
	return rows, err
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *counted) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	stmt, err := c.fullConn.PrepareContext(ctx, query)
	c.count(err)
	if err != nil {
		return nil, err
	}
	full, ok := stmt.(fullStmt)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%T lacks what is counted", stmt), stmt.Close())
	}
	return &countedStmt{full, c}, nil
}

// CheckNamedValue implements driver.NamedValueChecker.
func (c *counted) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.fullConn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

type fullStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// countedStmt is a prepared statement.
type countedStmt struct {
	fullStmt
	conn *counted
}

// ExecContext implements driver.StmtExecContext.
func (s *countedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.conn.calls.Add(1)
	return s.fullStmt.ExecContext(ctx, args)
}

// QueryContext implements driver.StmtQueryContext.
func (s *countedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.conn.calls.Add(1)
	return s.fullStmt.QueryContext(ctx, args)
}
