// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"

	"github.com/betawerk/pkb-go/tokenstore"
)

// What is wrong with the database, for errors.Is. None of them is about a link: no
// patient has to do anything.
var (
	// ErrReadOnly: the database takes no writes, as a replica does, or a primary
	// after a failover. Point the *sql.DB at the primary.
	ErrReadOnly = errors.New("the database is read-only; connect to the primary")
	// ErrFull: there is no room for the row. Make some.
	ErrFull = errors.New("the database has no room left")
	// ErrUnavailable: the database could not be reached, went away, or did not answer
	// in time. What was sent may have been done or not.
	// It is tokenstore.ErrUnavailable, too.
	ErrUnavailable error = temporary("the database is not available")
	// ErrBusy: the database undid the statement, again and again: deadlocks,
	// serialization failures, a locked file. Nothing was written. It is
	// tokenstore.ErrUnavailable, too.
	ErrBusy error = temporary("the database is too busy")
	// ErrNoTable: there is no table, or it is not this package's. Call Migrate, or
	// run Schema.
	ErrNoTable = errors.New("the table is absent or has other columns; call Migrate or run Schema")
	// ErrRefused: the database refuses this user or this statement.
	ErrRefused = errors.New("the database refused the statement; the user needs SELECT, INSERT, UPDATE and DELETE on the table")
	// ErrSettings: a setting of the connections, or a pooler, hides or mixes up what
	// they write. The text names it; see Store.Check. Nothing was written.
	ErrSettings = errors.New("the connections are not set up for this store")
)

// temporary is an error that ends by itself.
type temporary string

func (e temporary) Error() string      { return string(e) }
func (temporary) Is(target error) bool { return target == tokenstore.ErrUnavailable }

// Error is a failure of the database. Its text has the database's own code and no
// value of a row, which the driver's text may repeat.
type Error struct {
	// Op is the operation: load, save, delete, list, count, migrate or check.
	Op string
	// Code is the database's own: a SQLSTATE, MySQL's or SQLite's number, or
	// empty.
	Code string

	kind  error
	text  string
	cause error
}

// Error implements error.
func (e *Error) Error() string {
	text := "sqlstore: " + e.Op + ": "
	if e.kind != nil {
		text += e.kind.Error()
	} else {
		text += "the database failed"
	}
	if e.text != "" {
		text += ": " + e.text
	}
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	return text
}

// Unwrap returns one of this package's errors, and the driver's for errors.As; the
// driver's text may repeat values of a row.
func (e *Error) Unwrap() []error {
	if e.kind == nil {
		return []error{e.cause}
	}
	return []error{e.kind, e.cause}
}

// Format implements fmt.Formatter: every verb prints the text alone.
func (e *Error) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.Error()) }

// explain turns a driver's error into one of this package's.
func (s *Store) explain(op string, err error) error {
	e := &Error{Op: op, cause: err, Code: code(err)}
	switch {
	case strings.HasSuffix(err.Error(), "database is closed"): // database/sql has no value for it
		return tokenstore.ErrClosed
	case kindOf(s.dialect, e.Code) != nil: // first: drivers wrap the server's error in one of the connection
		e.kind = kindOf(s.dialect, e.Code)
	case gone(err):
		e.kind, e.text = ErrUnavailable, dialled(err)
	}
	switch {
	case errors.Is(e.kind, errDuplicate):
		return tokenstore.ErrConflict
	case errors.Is(e.kind, ErrSettings):
		e.text = poolerText
	}
	return e
}

// gone reports whether an error means that the connection, or its time, has ended.
func gone(err error) bool {
	var network net.Error
	for _, is := range []error{
		sql.ErrConnDone, driver.ErrBadConn, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, context.DeadlineExceeded, context.Canceled,
	} {
		if errors.Is(err, is) {
			return true
		}
	}
	// go-sql-driver's value for a connection that broke in the middle cannot be
	// imported here.
	return errors.As(err, &network) || strings.HasSuffix(err.Error(), "invalid connection")
}

// dialled returns the text of an error of package net, which has an address and
// nothing of a statement; "" if there is none.
func dialled(err error) string {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e.Error()
	}
	return ""
}

// errDuplicate: the row to insert exists.
var errDuplicate = errors.New("duplicate key")

// kinds are the meanings of codes.
var kinds = map[Dialect]map[string]error{
	// SQLSTATE: PostgreSQL, appendix A.
	Postgres: {
		"40001": ErrBusy, "40P01": ErrBusy, "55P03": ErrBusy,
		"25006": ErrReadOnly,
		"53100": ErrFull, "53200": ErrFull,
		"53300": ErrUnavailable, "57P01": ErrUnavailable, "57P02": ErrUnavailable, "57P03": ErrUnavailable, "57014": ErrUnavailable,
		"57P05": ErrUnavailable, "58000": ErrUnavailable, "58030": ErrUnavailable,
		"08P01": ErrUnavailable, // PgBouncer's for whatever it cannot do; Check knows it better
		"42P05": ErrSettings, "26000": ErrSettings,
		"08000": ErrUnavailable, "08003": ErrUnavailable, "08006": ErrUnavailable, "08001": ErrUnavailable, "40003": ErrUnavailable,
		"42P01": ErrNoTable, "42703": ErrNoTable, "3F000": ErrNoTable, "42804": ErrNoTable,
		"42501": ErrRefused, "28000": ErrRefused, "28P01": ErrRefused, "3D000": ErrRefused,
	},
	// MySQL and MariaDB, server error codes.
	MySQL: {
		"1062": errDuplicate,
		"1213": ErrBusy, "1205": ErrBusy, "1020": ErrBusy, "3572": ErrBusy, "1615": ErrBusy,
		"1290": ErrReadOnly, "1792": ErrReadOnly, "1836": ErrReadOnly, "3100": ErrReadOnly,
		"1021": ErrFull, "1114": ErrFull, "3019": ErrFull, "1041": ErrFull,
		"1040": ErrUnavailable, "1053": ErrUnavailable, "1077": ErrUnavailable, "1158": ErrUnavailable, "1159": ErrUnavailable, "1160": ErrUnavailable,
		"1161": ErrUnavailable, "1203": ErrUnavailable, "1317": ErrUnavailable, "1927": ErrUnavailable, "3024": ErrUnavailable, "1969": ErrUnavailable,
		"1047": ErrUnavailable, // Galera: the node is not in the cluster
		"1146": ErrNoTable, "1054": ErrNoTable, "1049": ErrNoTable, "1136": ErrNoTable,
		"1044": ErrRefused, "1045": ErrRefused, "1142": ErrRefused, "1143": ErrRefused,
	},
	// SQLite, primary result codes.
	SQLite: {
		"5": ErrBusy, "6": ErrBusy,
		"8": ErrReadOnly, "13": ErrFull, "7": ErrFull,
		"9": ErrUnavailable, "10": ErrUnavailable, "14": ErrUnavailable,
		"1": ErrNoTable, "3": ErrRefused, "23": ErrRefused, "26": ErrNoTable,
	},
}

func kindOf(d Dialect, code string) error { return kinds[d][code] }

// code finds the database's own code in a driver's error. Drivers cannot be imported
// here, and have no interface in common but SQLState; so their fields are read by
// name: Code (lib/pq, mattn/go-sqlite3) and Number (go-sql-driver/mysql), and the
// method Code (modernc.org/sqlite, ncruces/go-sqlite3, which has a type of its own
// for the number).
func code(err error) string {
	if err == nil {
		return ""
	}
	type state interface {
		error
		SQLState() string
	}
	if e, ok := errors.AsType[state](err); ok {
		return e.SQLState()
	}
	type number interface {
		error
		Code() int
	}
	if e, ok := errors.AsType[number](err); ok {
		return fmt.Sprint(e.Code() & 0xff) // the primary code of an extended one
	}
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.ValueOf(err)
		if m := v.MethodByName("Code"); m.IsValid() && m.Type().NumIn() == 0 && m.Type().NumOut() == 1 && m.Type().Out(0).Kind() == reflect.Uint8 {
			return fmt.Sprint(m.Call(nil)[0].Uint())
		}
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			continue
		}
		for _, name := range []string{"Number", "Code"} {
			switch f := v.FieldByName(name); f.Kind() {
			case reflect.String:
				return f.String()
			case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
				return fmt.Sprint(f.Int())
			case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
				return fmt.Sprint(f.Uint())
			}
		}
	}
	return ""
}
