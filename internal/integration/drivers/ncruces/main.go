// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command ncruces tries github.com/ncruces/go-sqlite3, which registers itself by the
// name of mattn's driver, so that no program can have both. It prints the rows as
// JSON.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"os"
	"path/filepath"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver" // the driver "sqlite3"

	"github.com/betawerk/pkb-go/internal/integration/drivers/trial"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

func main() {
	log.SetFlags(0)
	crowd := flag.Duration("crowd", time.Second, "for how long a crowd writes and reads")
	flag.Parse()
	rows, err := try(context.Background(), *crowd)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(rows)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func try(ctx context.Context, crowd time.Duration) (rows []trial.Row, err error) {
	dir, err := os.MkdirTemp("", "pkb-drivers-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, way := range []struct{ setting, dsn string }{
		{"a file, WAL, busy_timeout", "file:" + filepath.Join(dir, "links.db") + "?_pragma=journal_mode(wal)&_pragma=busy_timeout(30000)"},
		{":memory:", ":memory:"},
	} {
		db, err := sql.Open("sqlite3", way.dsn)
		if err != nil {
			return nil, err
		}
		row := trial.Row{Driver: "ncruces/go-sqlite3", Setting: way.setting, Engine: "SQLite"}
		if err := errors.Join(row.Try(ctx, db, sqlstore.SQLite, crowd), db.Close()); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}
