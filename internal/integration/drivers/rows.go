// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
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

var mariaWays = []trial.Way{
	{Driver: "go-sql-driver/mysql", Setting: "as it comes", Name: "mysql", Param: ""},
	{Driver: "go-sql-driver/mysql", Setting: "interpolateParams=true", Name: "mysql", Param: "interpolateParams=true"},
	{Driver: "go-sql-driver/mysql", Setting: "clientFoundRows=true", Name: "mysql", Param: "clientFoundRows=true"},
	{Driver: "go-sql-driver/mysql", Setting: "sql_mode='ANSI'", Name: "mysql", Param: "sql_mode=" + url.QueryEscape("'ANSI'")},
	{Driver: "go-sql-driver/mysql", Setting: "tx_isolation='SERIALIZABLE'", Name: "mysql", Param: "tx_isolation=" + url.QueryEscape("'SERIALIZABLE'")},
	{Driver: "go-sql-driver/mysql", Setting: "sql_safe_updates=1", Name: "mysql", Param: "sql_safe_updates=1"},
	{Driver: "go-sql-driver/mysql", Setting: "autocommit=0", Name: "mysql", Param: "autocommit=0"},
	{Driver: "go-sql-driver/mysql", Setting: "tx_read_only=1", Name: "mysql", Param: "tx_read_only=1"},
}

var sqliteWays = []trial.Way{
	{Driver: "modernc.org/sqlite", Setting: "a file, WAL, busy_timeout", Name: "sqlite", Param: "file:%s?_pragma=journal_mode(wal)&_pragma=busy_timeout(30000)"},
	{Driver: "modernc.org/sqlite", Setting: ":memory:", Name: "sqlite", Param: ":memory:"},
	{Driver: "mattn/go-sqlite3", Setting: "a file, WAL, busy_timeout", Name: "sqlite3", Param: "file:%s?_journal_mode=WAL&_busy_timeout=30000"},
	{Driver: "mattn/go-sqlite3", Setting: ":memory:", Name: "sqlite3", Param: ":memory:"},
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
		for _, w := range trial.PostgresWays {
			engine := "PostgreSQL"
			if pooler != "" {
				engine += ", PgBouncer pooling by " + pooler
			}
			all = append(all, attempt{trial.Row{Driver: w.Driver, Setting: w.Setting, Engine: engine}, func(ctx context.Context, row *trial.Row) error {
				dsn, drop, err := services.ScratchPostgres(ctx)
				if err != nil {
					return err
				}
				return errors.Join(w.Behind(ctx, dsn, pooler, row, crowd), drop())
			}})
		}
	}
	return all
}

func onMaria(crowd time.Duration) (all []attempt) {
	for _, w := range mariaWays {
		all = append(all, attempt{trial.Row{Driver: w.Driver, Setting: w.Setting, Engine: "MariaDB"}, func(ctx context.Context, row *trial.Row) error {
			dsn, drop, err := services.ScratchMariaDB(ctx)
			if err != nil {
				return err
			}
			return errors.Join(w.Open(ctx, dsn, sqlstore.MySQL, row, crowd), drop())
		}})
	}
	return all
}

func onSQLite(dir string, crowd time.Duration) (all []attempt) {
	for i, w := range sqliteWays {
		dsn := strings.ReplaceAll(w.Param, "%s", filepath.Join(dir, fmt.Sprint(i, ".db")))
		all = append(all, attempt{trial.Row{Driver: w.Driver, Setting: w.Setting, Engine: "SQLite"}, func(ctx context.Context, row *trial.Row) error {
			return trial.Way{Name: w.Name}.Open(ctx, dsn, sqlstore.SQLite, row, crowd)
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
