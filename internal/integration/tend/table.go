// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/services"
)

// table is what the command itself sees of the database.
type table struct{ *sql.DB }

func openTable(dsn string) (*table, error) {
	db, err := sql.Open(services.PostgresDriver, dsn)
	if err != nil {
		return nil, err
	}
	return &table{db}, nil
}

// filler is how rows are called that are not due.
const filler = "filler-"

// fill adds copies of a user's row that are due later, one after the other.
func (t *table) fill(ctx context.Context, of string, rows int, from time.Time) error {
	_, err := t.ExecContext(ctx, `
		INSERT INTO pkb_links SELECT filled.* FROM pkb_links AS row, generate_series(1, $1::BIGINT) AS i,
			LATERAL jsonb_populate_record(row, jsonb_build_object(
				'app_user_id', '\x' || encode(convert_to('`+filler+`' || i, 'UTF8'), 'hex'),
				'public_id', 'of-' || i, 'tend_at', $2::BIGINT + i)) AS filled
		WHERE row.app_user_id = $3`, rows, from.UnixMicro(), []byte(of))
	if err == nil {
		_, err = t.ExecContext(ctx, "ANALYZE pkb_links")
	}
	return err
}

func (t *table) number(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = t.QueryRowContext(ctx, query, args...).Scan(&n)
	return n, err
}

// due counts what is due.
func (t *table) due(ctx context.Context, now time.Time) (int, error) {
	n, err := t.number(ctx, "SELECT COUNT(*) FROM pkb_links WHERE tend_at <= $1", now.UnixMicro())
	return int(n), err
}

// idle counts the links that work with tokens that are older than since.
func (t *table) idle(ctx context.Context, since time.Time) (int, error) {
	n, err := t.number(ctx, "SELECT COUNT(*) FROM pkb_links WHERE state IN ('linked', 'uncertain') AND refreshed_at < $1 AND app_user_id NOT LIKE '"+filler+"%'", since.UnixMicro())
	return int(n), err
}

// refreshed counts the links with tokens that are newer than since.
func (t *table) refreshed(ctx context.Context, since time.Time) (int, error) {
	n, err := t.number(ctx, "SELECT COUNT(*) FROM pkb_links WHERE state = 'linked' AND refreshed_at >= $1", since.UnixMicro())
	return int(n), err
}

func (t *table) ended(ctx context.Context) (int, error) {
	n, err := t.number(ctx, "SELECT COUNT(*) FROM pkb_links WHERE state = 'relink_required' AND cause = 'session_expired'")
	return int(n), err
}

// last is when the latest tokens are from.
func (t *table) last(ctx context.Context) (time.Time, error) {
	n, err := t.number(ctx, "SELECT MAX(refreshed_at) FROM pkb_links")
	return time.UnixMicro(n), err
}

// next is when the first of users is due.
func (t *table) next(ctx context.Context, users []string) (time.Time, error) {
	ids := make([][]byte, len(users))
	for i, user := range users {
		ids[i] = []byte(user)
	}
	n, err := t.number(ctx, "SELECT MIN(tend_at) FROM pkb_links WHERE app_user_id = ANY($1)", ids)
	return time.UnixMicro(n), err
}

// indexed reports whether the statements with which the library asks what is due read
// the index on it, and of the table only what they return.
func (t *table) indexed(ctx context.Context, out io.Writer, statements []string, now time.Time) (bool, error) {
	for _, statement := range statements {
		rows, err := t.QueryContext(ctx, "EXPLAIN (ANALYZE, COSTS FALSE, TIMING FALSE, SUMMARY FALSE) "+statement, now.Add(101*24*time.Hour).UnixMicro(), 100)
		if err != nil {
			return false, err
		}
		var plan []string
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				return false, errors.Join(err, rows.Close())
			}
			plan = append(plan, line)
		}
		if err := rows.Err(); err != nil {
			return false, err
		}
		text := strings.Join(plan, "\n")
		fmt.Fprintf(out, "what is due, if all of it were:\n%s\n", text)
		if !strings.Contains(text, "Index Scan using pkb_links_tend") || strings.Contains(text, "Sort") || strings.Contains(text, "Filter") {
			return false, nil
		}
	}
	return len(statements) == 1, nil
}
