// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// openDatabase opens PostgreSQL for an address, and SQLite for a file name.
func openDatabase(name string) (*sql.DB, sqlstore.Dialect, error) {
	if strings.HasPrefix(name, "postgres://") || strings.HasPrefix(name, "postgresql://") {
		db, err := sql.Open("pgx", name)
		if err != nil {
			return nil, "", errors.New("-db is not an address of PostgreSQL") // and may hold a password
		}
		return db, sqlstore.Postgres, nil
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, "", err
	}
	// Sessions and sealed tokens are nobody else's to read.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // whoever starts the program names the file
	if err != nil {
		return nil, "", err
	}
	if err := file.Close(); err != nil {
		return nil, "", err
	}
	// Write-ahead log and a busy time-out let several processes share the file;
	// what was acknowledged outlives a loss of power.
	address := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: "_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)"}
	db, err := sql.Open("sqlite", address.String())
	return db, sqlstore.SQLite, err
}

// define makes a table or an index. Two replicas that start at once can get in each
// other's way; the second time it is there.
func define(ctx context.Context, db *sql.DB, statement string) (err error) {
	for range 3 {
		if _, err = db.ExecContext(ctx, statement); err == nil {
			return nil
		}
	}
	return err
}
