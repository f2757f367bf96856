// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"os"
	"path/filepath"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"

	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/internal/integration/statements"
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

// open opens a database; what passes the driver is counted in sent, unless that is
// nil.
func (d database) open(dsn string, sent *statements.Counter) *sql.DB {
	if sent == nil {
		sent = &statements.Counter{}
	}
	return statements.Open(d.driver, dsn, sent)
}

// store returns a store in a database, migrated.
func (d database) store(ctx context.Context, db *sql.DB) (*sqlstore.Store, error) {
	s, err := sqlstore.New(db, sqlstore.Config{Dialect: d.dialect})
	if err != nil {
		return nil, err
	}
	return s, s.Migrate(ctx)
}
