// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// database is a host's, with its table of links.
type database struct {
	*sqlstore.Store
	db      *sql.DB
	dialect sqlstore.Dialect
	meter   *meter // shows that reading it goes on
}

// open opens the database of -db, which must be there.
func (c *call) open() (*database, error) {
	db, err := open("-db", c.db, sqlstore.Config{Table: c.table, Schema: c.schema}, false)
	if err == nil {
		db.meter = c.meter
	}
	return db, err
}

// open opens a database. No error repeats its address, which may hold a
// password.
func open(flagName, address string, cfg sqlstore.Config, create bool) (*database, error) {
	if address == "" {
		return nil, failed(exitUsage, "no database: give %s", flagName)
	}
	driver, dsn, dialect, err := locate(address, create)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flagName, err)
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, failed(exitUsage, "%s is not an address that the driver %s understands", flagName, driver)
	}
	db.SetMaxOpenConns(4)
	cfg.Dialect = dialect
	store, err := sqlstore.New(db, cfg)
	if err != nil {
		return nil, errors.Join(&failure{exitUsage, err}, db.Close())
	}
	return &database{Store: store, db: db, dialect: dialect}, nil
}

// locate returns the driver and its DSN for an address.
func locate(address string, create bool) (driver, dsn string, dialect sqlstore.Dialect, err error) {
	switch scheme, _, _ := strings.Cut(address, "://"); scheme {
	case "postgres", "postgresql":
		if _, err := pgx.ParseConfig(address); err != nil {
			return "", "", "", failed(exitUsage, "it is not an address of PostgreSQL, such as postgres://user@host:5432/database?sslmode=require")
		}
		return "pgx", address, sqlstore.Postgres, nil
	case "mysql", "mariadb":
		dsn, err := mysqlDSN(address)
		return "mysql", dsn, sqlstore.MySQL, err
	}
	if strings.Contains(address, "@tcp(") || strings.Contains(address, "@unix(") {
		if _, err := mysql.ParseDSN(address); err != nil {
			return "", "", "", failed(exitUsage, "it is not a DSN of go-sql-driver/mysql, such as user:password@tcp(127.0.0.1:3306)/app")
		}
		return "mysql", address, sqlstore.MySQL, quietMySQL()
	}
	path, err := filepath.Abs(address)
	if err != nil {
		return "", "", "", err
	}
	pragmas := "_pragma=busy_timeout(10000)&_pragma=synchronous(full)"
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !create { //nolint:gosec // it is the operator's own file
		return "", "", "", failed(exitStore, "there is no file %s; is it another directory, or was postgres:// or mysql:// left out?", address)
	} else if errors.Is(err, fs.ErrNotExist) {
		// Nobody else may read it.
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // it is the operator's own file
		if err == nil {
			err = file.Close()
		}
		if err != nil {
			return "", "", "", failed(exitStore, "the file cannot be made: %w", errors.Unwrap(err))
		}
		pragmas += "&_pragma=journal_mode(wal)" // kept in the file, so an existing file is left as it is
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: pragmas}
	return "sqlite", u.String(), sqlstore.SQLite, nil
}

// mysqlDSN turns mysql://user:password@host:port/database?option=value into
// what the driver takes.
func mysqlDSN(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") == "" {
		return "", failed(exitUsage, "it is not an address such as mysql://user:password@host:3306/database")
	}
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.DBName = "tcp", u.Host, strings.Trim(u.Path, "/")
	if u.Port() == "" {
		cfg.Addr = net.JoinHostPort(u.Hostname(), "3306")
	}
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	dsn := cfg.FormatDSN()
	if u.RawQuery != "" {
		separator := "?"
		if strings.Contains(dsn, "?") {
			separator = "&"
		}
		dsn += separator + u.RawQuery
	}
	if _, err := mysql.ParseDSN(dsn); err != nil {
		return "", failed(exitUsage, "it has options that go-sql-driver/mysql does not know")
	}
	return dsn, quietMySQL()
}

// quietMySQL keeps the driver from logging what its errors have too.
func quietMySQL() error { return mysql.SetLogger(log.New(io.Discard, "", 0)) }

// close ends the connections.
func (d *database) close() { _ = d.db.Close() }

// pageSize is how many records are read at a time.
const pageSize = 500

// records yields all records, in the byte order of their app_user_id. An error
// ends the sequence.
func (d *database) records(ctx context.Context) iter.Seq2[tokenstore.Record, error] {
	return func(yield func(tokenstore.Record, error) bool) {
		show, n := d.meter.reading(), 0
		defer d.meter.clear()
		for after := ""; ; n += pageSize {
			show(n)
			page, err := d.List(ctx, after, pageSize)
			if err != nil {
				yield(tokenstore.Record{}, storeFailed(err))
				return
			}
			if len(page) == 0 {
				return
			}
			for _, r := range page {
				if !yield(r, nil) {
					return
				}
			}
			after = page[len(page)-1].AppUserID
		}
	}
}

// linkName is what observe.LinkName returns.
var linkName = regexp.MustCompile(`^[0-9a-f]{12}$`)

// find returns the record of a user, by the app_user_id or the name for the link in the
// log.
func (d *database) find(ctx context.Context, user string) (tokenstore.Record, error) {
	r, err := d.Load(ctx, user)
	switch {
	case err == nil:
		return r, nil
	case !errors.Is(err, tokenstore.ErrNotFound):
		return r, storeFailed(err)
	case linkName.MatchString(user):
		for r, err := range d.records(ctx) {
			if err != nil || observe.LinkName(r.AppUserID) == user {
				return r, err
			}
		}
	}
	return r, failed(exitNoLink, "%s has no link, and had none recently; pkbctl links lists them", user)
}

// readOnly is a store that a client can read and not write. It is volatile, because it
// keeps nothing, so its client needs no keys.
type readOnly struct{ *database }

var errReadOnly = errors.New("this command writes nothing")

// Save implements tokenstore.Store.
func (readOnly) Save(context.Context, tokenstore.Record) (tokenstore.Record, error) {
	return tokenstore.Record{}, errReadOnly
}

// Delete implements tokenstore.Store.
func (readOnly) Delete(context.Context, string, uint64) error { return errReadOnly }

// Volatile implements tokenstore.Volatile.
func (readOnly) Volatile() bool { return true }
