// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package statements counts what a program sends to its database, where it passes the
// driver.
package statements

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Counter is what was sent.
type Counter struct {
	// Executed is how many statements were executed, and Prepared, how many were
	// prepared before.
	Executed, Prepared atomic.Int64

	mu    sync.Mutex
	texts map[string]struct{}
}

// Texts returns the statements, each once.
func (c *Counter) Texts() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.texts))
}

func (c *Counter) executes(text string) {
	c.Executed.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.texts == nil {
		c.texts = map[string]struct{}{}
	}
	c.texts[text] = struct{}{}
}

// counterKey is the key of a counter in a context.
type counterKey struct{}

// With returns a context whose statements are counted in c as well.
func With(ctx context.Context, c *Counter) context.Context {
	return context.WithValue(ctx, counterKey{}, c)
}

// Open opens a database, and counts what is sent to it.
func Open(d driver.Driver, dsn string, c *Counter) *sql.DB {
	return sql.OpenDB(&connector{d, dsn, c})
}

type connector struct {
	driver driver.Driver
	dsn    string
	all    *Counter
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
	return &counted{fullConn: conn, all: c.all}, nil
}

// fullConn is what the connections of the drivers here have in common.
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
	all *Counter
}

func (c *counted) executed(ctx context.Context, text string, err error) {
	if errors.Is(err, driver.ErrSkip) {
		return // that one went nowhere
	}
	c.all.executes(text)
	if also, ok := ctx.Value(counterKey{}).(*Counter); ok {
		also.executes(text)
	}
}

// ExecContext implements driver.ExecerContext.
func (c *counted) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	res, err := c.fullConn.ExecContext(ctx, query, args)
	c.executed(ctx, query, err)
	return res, err
}

// QueryContext implements driver.QueryerContext.
func (c *counted) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.fullConn.QueryContext(ctx, query, args)
	c.executed(ctx, query, err)
	return rows, err
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *counted) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	stmt, err := c.fullConn.PrepareContext(ctx, query)
	c.all.Prepared.Add(1)
	if err != nil {
		return nil, err
	}
	full, ok := stmt.(fullStmt)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%T lacks what is counted", stmt), stmt.Close())
	}
	return &countedStmt{full, c, query}, nil
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
	text string
}

// ExecContext implements driver.StmtExecContext.
func (s *countedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	res, err := s.fullStmt.ExecContext(ctx, args)
	s.conn.executed(ctx, s.text, err)
	return res, err
}

// QueryContext implements driver.StmtQueryContext.
func (s *countedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := s.fullStmt.QueryContext(ctx, args)
	s.conn.executed(ctx, s.text, err)
	return rows, err
}
