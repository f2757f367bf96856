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
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// A setting that hides writes is named before the first link is kept. (On real
// engines: internal/integration/drivers.)
func TestMigrateRefusesSettingsThatHideWrites(t *testing.T) {
	for name, test := range map[string]struct {
		variables map[string]string
		want      error
		says      string
	}{
		"as it comes":           {map[string]string{"autocommit": "ON"}, nil, ""},
		"autocommit is off":     {map[string]string{"autocommit": "OFF"}, sqlstore.ErrSettings, "autocommit=0"},
		"Galera, as it comes":   {map[string]string{"wsrep_on": "ON", "wsrep_sync_wait": "0"}, sqlstore.ErrSettings, "wsrep_sync_wait=7"},
		"Galera, reads only":    {map[string]string{"wsrep_on": "ON", "wsrep_sync_wait": "1"}, sqlstore.ErrSettings, "wsrep_sync_wait=7"},
		"Galera, everything":    {map[string]string{"wsrep_on": "ON", "wsrep_sync_wait": "15"}, nil, ""},
		"Galera that is not on": {map[string]string{"wsrep_on": "OFF", "wsrep_sync_wait": "0"}, nil, ""},
		"read-only":             {map[string]string{"transaction_read_only": "ON"}, sqlstore.ErrReadOnly, "primary"},
	} {
		t.Run(name, func(t *testing.T) {
			db := sql.OpenDB(variables(test.variables))
			t.Cleanup(func() { _ = db.Close() })
			s, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.MySQL})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Migrate(t.Context()); !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("Migrate: %v, want %v with %q", err, test.want, test.says)
			}
		})
	}
}

func ExampleStore_Check() {
	db := sql.OpenDB(variables{"autocommit": "OFF"}) // sql.Open("mysql", "app@tcp(db.example)/app?autocommit=0")
	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.MySQL})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := store.Check(context.Background()); errors.Is(err, sqlstore.ErrSettings) {
		fmt.Println(err)
	}
	// Output: sqlstore: check: the connections are not set up for this store: autocommit is off, so that nobody else sees what is written: remove autocommit=0 from the DSN
}

// variables is a MySQL with these variables, and an empty table.
type variables map[string]string

func (v variables) Connect(context.Context) (driver.Conn, error) { return mysqlConn{v}, nil }
func (v variables) Driver() driver.Driver                        { return nil }

type mysqlConn struct{ variables }

func (mysqlConn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not prepared here") }
func (mysqlConn) Close() error                        { return nil }
func (mysqlConn) Begin() (driver.Tx, error)           { return nil, errors.New("no transactions here") }

func (mysqlConn) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(0), nil
}

func (c mysqlConn) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	if !strings.HasPrefix(query, "SHOW VARIABLES") {
		return noRows{}, nil
	}
	r := &variableRows{}
	for name, value := range c.variables {
		r.left = append(r.left, [2]string{name, value})
	}
	return r, nil
}

type variableRows struct{ left [][2]string }

func (*variableRows) Columns() []string { return []string{"Variable_name", "Value"} }
func (*variableRows) Close() error      { return nil }

func (r *variableRows) Next(into []driver.Value) error {
	if len(r.left) == 0 {
		return io.EOF
	}
	into[0], into[1] = r.left[0][0], r.left[0][1]
	r.left = r.left[1:]
	return nil
}

// A server that has forgotten a prepared statement, as proxies make it, is sent the
// statement as text, and nothing is prepared any more.
func TestForgottenStatementsAreSentAsText(t *testing.T) {
	server := &forgetful{}
	db := sql.OpenDB(server)
	t.Cleanup(func() { _ = db.Close() })
	s, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.MySQL})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := s.List(t.Context(), "", 1); err != nil {
			t.Fatal(err)
		}
	}
	if server.prepared != 1 || server.asText != 3 {
		t.Errorf("%d statements were prepared and %d sent as text, want 1 and 3", server.prepared, server.asText)
	}
}

// forgetful is a server that forgets each statement as soon as it is prepared.
type forgetful struct{ prepared, asText int }

func (f *forgetful) Connect(context.Context) (driver.Conn, error) { return forgetfulConn{f}, nil }
func (f *forgetful) Driver() driver.Driver                        { return nil }

type forgetfulConn struct{ *forgetful }

func (forgetfulConn) Close() error              { return nil }
func (forgetfulConn) Begin() (driver.Tx, error) { return nil, errors.New("no transactions here") }

func (c forgetfulConn) Prepare(string) (driver.Stmt, error) {
	c.prepared++
	return forgottenStmt{}, nil
}

func (c forgetfulConn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	c.asText++
	return noRows{}, nil
}

type forgottenStmt struct{}

func (forgottenStmt) Close() error                               { return nil }
func (forgottenStmt) NumInput() int                              { return -1 }
func (forgottenStmt) Exec([]driver.Value) (driver.Result, error) { return nil, &mysqlError{1243} }
func (forgottenStmt) Query([]driver.Value) (driver.Rows, error)  { return nil, &mysqlError{1243} }
