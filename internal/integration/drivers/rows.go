// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "github.com/lib/pq"              // the driver "postgres"
	_ "github.com/mattn/go-sqlite3"    // the driver "sqlite3"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/betawerk/pkb-go/internal/integration/drivers/trial"
	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// way is a driver and how it sends: name is for sql.Open, and param is added to the
// DSN.
type way struct{ driver, setting, name, param string }

var postgresWays = []way{
	{"pgx", "as it comes", "pgx", ""},
	{"pgx", "default_query_exec_mode=cache_describe", "pgx", "default_query_exec_mode=cache_describe"},
	{"pgx", "default_query_exec_mode=describe_exec", "pgx", "default_query_exec_mode=describe_exec"},
	{"pgx", "default_query_exec_mode=exec", "pgx", "default_query_exec_mode=exec"},
	{"pgx", "default_query_exec_mode=simple_protocol", "pgx", "default_query_exec_mode=simple_protocol"},
	{"lib/pq", "as it comes", "postgres", ""},
	{"lib/pq", "binary_parameters=yes", "postgres", "binary_parameters=yes"},
}

var mariaWays = []way{
	{"go-sql-driver/mysql", "as it comes", "mysql", ""},
	{"go-sql-driver/mysql", "interpolateParams=true", "mysql", "interpolateParams=true"},
	{"go-sql-driver/mysql", "clientFoundRows=true", "mysql", "clientFoundRows=true"},
	{"go-sql-driver/mysql", "sql_mode='ANSI'", "mysql", "sql_mode=" + url.QueryEscape("'ANSI'")},
	{"go-sql-driver/mysql", "tx_isolation='SERIALIZABLE'", "mysql", "tx_isolation=" + url.QueryEscape("'SERIALIZABLE'")},
	{"go-sql-driver/mysql", "sql_safe_updates=1", "mysql", "sql_safe_updates=1"},
	{"go-sql-driver/mysql", "autocommit=0", "mysql", "autocommit=0"},
	{"go-sql-driver/mysql", "tx_read_only=1", "mysql", "tx_read_only=1"},
}

var sqliteWays = []way{
	{"modernc.org/sqlite", "a file, WAL, busy_timeout", "sqlite", "file:%s?_pragma=journal_mode(wal)&_pragma=busy_timeout(10000)"},
	{"modernc.org/sqlite", ":memory:", "sqlite", ":memory:"},
	{"mattn/go-sqlite3", "a file, WAL, busy_timeout", "sqlite3", "file:%s?_journal_mode=WAL&_busy_timeout=10000"},
	{"mattn/go-sqlite3", ":memory:", "sqlite3", ":memory:"},
}

// poolers are PgBouncer's ways to pool; "" is none.
var poolers = []string{"", "session", "transaction", "statement"}

// attempt is a row that is still to be filled in.
type attempt struct {
	trial.Row
	try func(context.Context, *trial.Row) error
}

// tryAll tries every way on every engine, two at a time: most of the time goes by in
// the servers.
func tryAll(ctx context.Context, crowd time.Duration) ([]trial.Row, error) {
	dir, err := os.MkdirTemp("", "pkb-drivers-")
	if err != nil {
		return nil, err
	}
	all := slices.Concat(onPostgres(crowd), onMaria(crowd), onSQLite(dir, crowd))
	rows, failed := make([]trial.Row, len(all)), make([]error, len(all))
	var under sync.WaitGroup
	places := make(chan struct{}, 2)
	for i, a := range all {
		places <- struct{}{}
		under.Go(func() {
			defer func() { <-places }()
			rows[i] = a.Row
			if err := a.try(ctx, &rows[i]); err != nil {
				failed[i] = fmt.Errorf("%s, %s, %s: %w", a.Driver, a.Setting, a.Engine, err)
			}
		})
	}
	under.Wait()
	others, err := tryNcruces(ctx, crowd)
	return append(rows, others...), errors.Join(append(failed, err, os.RemoveAll(dir))...)
}

// onPostgres is each way to send through each kind of pool, every one with a database
// and a pooler of its own.
func onPostgres(crowd time.Duration) (all []attempt) {
	for _, pooler := range poolers {
		for _, w := range postgresWays {
			engine := "PostgreSQL"
			if pooler != "" {
				engine += ", PgBouncer pooling by " + pooler
			}
			all = append(all, attempt{trial.Row{Driver: w.driver, Setting: w.setting, Engine: engine}, func(ctx context.Context, row *trial.Row) error {
				return tryBehind(ctx, pooler, w, row, crowd)
			}})
		}
	}
	return all
}

func tryBehind(ctx context.Context, pooler string, w way, row *trial.Row, crowd time.Duration) (err error) {
	dsn, drop, err := services.ScratchPostgres(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, drop()) }()
	if pooler != "" {
		bouncer, err := services.StartPgBouncer(ctx, dsn, pooler)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, bouncer.Close()) }()
		dsn = bouncer.DSN()
	}
	return open(ctx, w.name, with(dsn, w.param), sqlstore.Postgres, row, crowd)
}

func onMaria(crowd time.Duration) (all []attempt) {
	for _, w := range mariaWays {
		all = append(all, attempt{trial.Row{Driver: w.driver, Setting: w.setting, Engine: "MariaDB"}, func(ctx context.Context, row *trial.Row) error {
			dsn, drop, err := services.ScratchMariaDB(ctx)
			if err != nil {
				return err
			}
			return errors.Join(open(ctx, w.name, with(dsn, w.param), sqlstore.MySQL, row, crowd), drop())
		}})
	}
	return all
}

func onSQLite(dir string, crowd time.Duration) (all []attempt) {
	for i, w := range sqliteWays {
		dsn := strings.ReplaceAll(w.param, "%s", filepath.Join(dir, fmt.Sprint(i, ".db")))
		all = append(all, attempt{trial.Row{Driver: w.driver, Setting: w.setting, Engine: "SQLite"}, func(ctx context.Context, row *trial.Row) error {
			return open(ctx, w.name, dsn, sqlstore.SQLite, row, crowd)
		}})
	}
	return all
}

// tryNcruces runs the program that has that driver.
func tryNcruces(ctx context.Context, crowd time.Duration) (rows []trial.Row, err error) {
	c := exec.CommandContext(ctx, "go", "run", "github.com/betawerk/pkb-go/internal/integration/drivers/ncruces", "-crowd", crowd.String()) //nolint:gosec // our own program
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("ncruces/go-sqlite3: %w", err)
	}
	return rows, json.Unmarshal(out, &rows)
}

// open opens a database as a host does, and tries it.
func open(ctx context.Context, driver, dsn string, dialect sqlstore.Dialect, row *trial.Row, crowd time.Duration) error {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(32) // a host's pool is bounded
	return errors.Join(row.Try(ctx, db, dialect, crowd), db.Close())
}

// with adds a parameter to a DSN.
func with(dsn, param string) string {
	switch {
	case param == "":
		return dsn
	case strings.Contains(dsn, "?"):
		return dsn + "&" + param
	}
	return dsn + "?" + param
}
