// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// columns are those of the schema, in the order of bareRow.
var columns = strings.Fields(`app_user_id version environment client_id state cause public_id claim
	pair candidate tried generation expires_at ends_at due_at tend_at linked_at refreshed_at
	lease_owner lease_beat lease_ttl lease_taken_at key_id details sealed`)

// bareRow is a row, as database/sql has it.
type bareRow struct {
	id                                          []byte
	version                                     int64
	environment, client, state, cause, public   string
	claim                                       sql.NullString
	pair, candidate                             string
	tried, generation                           int64
	expires, ends, due, tend, linked, refreshed sql.NullInt64
	owner                                       string
	beat, ttl                                   int64
	taken                                       sql.NullInt64
	key                                         string
	details, sealed                             []byte
}

func (r *bareRow) scan(row *sql.Row) error {
	return row.Scan(&r.id, &r.version, &r.environment, &r.client, &r.state, &r.cause, &r.public, &r.claim,
		&r.pair, &r.candidate, &r.tried, &r.generation, &r.expires, &r.ends, &r.due, &r.tend, &r.linked, &r.refreshed,
		&r.owner, &r.beat, &r.ttl, &r.taken, &r.key, &r.details, &r.sealed)
}

// values are those of all columns with the next version, and then what an update must
// find.
func (r *bareRow) values() []any {
	return []any{
		r.id, r.version + 1, r.environment, r.client, r.state, r.cause, r.public, r.claim,
		r.pair, r.candidate, r.tried, r.generation, r.expires, r.ends, r.due, r.tend, r.linked, r.refreshed,
		r.owner, r.beat, r.ttl, r.taken, r.key, r.details, r.sealed, r.id, r.version,
	}
}

// byHand has the statements of a refresh in PostgreSQL, for a table of its own.
type byHand struct {
	db           *sql.DB
	load, update string
}

// bareStatements read and write all columns of a row, on the version that was read.
func bareStatements(dialect sqlstore.Dialect, table string) (load, update string) {
	n := 0
	param := func() string {
		if n++; dialect == sqlstore.Postgres {
			return fmt.Sprint("$", n)
		}
		return "?"
	}
	set := make([]string, len(columns))
	for i, c := range columns {
		set[i] = c + " = " + param()
	}
	update = "UPDATE " + table + " SET " + strings.Join(set, ", ") + " WHERE app_user_id = " + param() + " AND version = " + param()
	n = 0
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + table + " WHERE app_user_id = " + param(), update
}

// handTable is a table like ours, with the indexes that it needs.
const handTable = `
	CREATE TABLE by_hand (LIKE pkb_links, PRIMARY KEY (app_user_id)) WITH (fillfactor = 70);
	CREATE INDEX ON by_hand (tend_at, app_user_id);
	CREATE INDEX ON by_hand (public_id);
	CREATE INDEX ON by_hand (claim);
	INSERT INTO by_hand SELECT * FROM pkb_links`

// newByHand makes the table, with a row like ours for each link.
func newByHand(ctx context.Context, f *fleet) (*byHand, error) {
	for statement := range strings.SplitSeq(handTable, ";") {
		if _, err := f.db.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	h := &byHand{db: f.db}
	h.load, h.update = bareStatements(sqlstore.Postgres, "by_hand")
	return h, nil
}

// refresh is a refresh as one writes it down oneself: read, take the lease, exchange the
// pair, save bytes of the same length.
func (h *byHand) refresh(ctx context.Context, id []byte, exchange func(context.Context) error) error {
	var r bareRow
	if err := r.scan(h.db.QueryRowContext(ctx, h.load, id)); err != nil {
		return err
	}
	now := time.Now()
	r.state, r.tried, r.owner, r.ttl, r.taken = "uncertain", 1, rand.Text()[:16], 15e6, micros(now)
	if err := h.write(ctx, &r); err != nil {
		return err
	}
	if err := exchange(ctx); err != nil {
		return err
	}
	r.state, r.tried, r.owner, r.ttl, r.taken = "linked", 0, "", 0, sql.NullInt64{}
	session, _, _ := strings.Cut(r.pair, "/")
	r.generation++
	r.pair = fmt.Sprintf("%s/%d", session, r.generation)
	r.expires, r.due, r.refreshed = micros(now.Add(10*time.Minute)), micros(now.Add(8*time.Minute)), micros(now)
	_, _ = rand.Read(r.sealed) // never fails
	return h.write(ctx, &r)
}

func micros(t time.Time) sql.NullInt64 { return sql.NullInt64{Int64: t.UnixMicro(), Valid: true} }

func (h *byHand) write(ctx context.Context, r *bareRow) error {
	res, err := h.db.ExecContext(ctx, h.update, r.values()...)
	if err != nil {
		return err
	}
	r.version++
	return one(res)
}

// one checks that one row has changed.
func one(res sql.Result) error {
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("%d rows changed: %w", n, err)
	}
	return nil
}
