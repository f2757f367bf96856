// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package trial

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "github.com/lib/pq"              // the driver "postgres"

	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// Way is a driver and how it sends: Name is for sql.Open, and Param is added to the
// DSN.
type Way struct{ Driver, Setting, Name, Param string }

// PostgresWays are those of the drivers of PostgreSQL.
var PostgresWays = []Way{
	{"pgx", "as it comes", "pgx", ""},
	{"pgx", "default_query_exec_mode=cache_describe", "pgx", "default_query_exec_mode=cache_describe"},
	{"pgx", "default_query_exec_mode=describe_exec", "pgx", "default_query_exec_mode=describe_exec"},
	{"pgx", "default_query_exec_mode=exec", "pgx", "default_query_exec_mode=exec"},
	{"pgx", "default_query_exec_mode=simple_protocol", "pgx", "default_query_exec_mode=simple_protocol"},
	{"lib/pq", "as it comes", "postgres", ""},
	{"lib/pq", "binary_parameters=yes", "postgres", "binary_parameters=yes"},
}

// Behind tries a way on an empty database, through a PgBouncer of its own that pools
// by pooler; "" is none.
func (w Way) Behind(ctx context.Context, dsn, pooler string, row *Row, crowd time.Duration) (err error) {
	if pooler != "" {
		bouncer, failed := services.StartPgBouncer(ctx, dsn, pooler)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, bouncer.Close()) }()
		dsn = bouncer.DSN()
	}
	return w.Open(ctx, dsn, sqlstore.Postgres, row, crowd)
}

// Open opens a database as a host does, and tries it.
func (w Way) Open(ctx context.Context, dsn string, dialect sqlstore.Dialect, row *Row, crowd time.Duration) error {
	db, err := sql.Open(w.Name, w.DSN(dsn))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(32) // a host's pool is bounded
	return errors.Join(row.Try(ctx, db, dialect, crowd), db.Close())
}

// DSN adds the way's parameter to a DSN.
func (w Way) DSN(dsn string) string {
	switch {
	case w.Param == "":
		return dsn
	case strings.Contains(dsn, "?"):
		return dsn + "&" + w.Param
	}
	return dsn + "?" + w.Param
}
