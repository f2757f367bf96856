// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

// overview reads what the operator's pages show, with SQL of the app's own: which links
// are counted, found and listed first is the app's to decide, and Client.Links would
// read all of them. It reads the columns only, and no token; pkb.LinkOf reads them.
type overview struct {
	db *sql.DB
	// Links of other clients and environments may be in the same table.
	environment, clientID string
	now                   func() time.Time
}

// linksTable is the table of package sqlstore.
const linksTable = "pkb_links"

// migrate makes the indexes that the queries below use. A host with many links makes
// them CONCURRENTLY in PostgreSQL.
func (o *overview) migrate(ctx context.Context) error {
	for _, index := range []string{
		"webapp_links_kind ON " + linksTable + " (environment, client_id, state, cause, app_user_id)",
		"webapp_links_end ON " + linksTable + " (environment, client_id, state, ends_at)",
	} {
		if err := define(ctx, o.db, "CREATE INDEX IF NOT EXISTS "+index); err != nil {
			return err
		}
	}
	return nil
}

// soon is how long before the end of a session its link is among the first.
const soon = 7 * 24 * time.Hour

// kind is a part of the links that one query lists.
type kind struct {
	state tokenstore.State
	cause observe.Cause
	// ends picks links of a state by when their sessions end.
	ends horizon
}

type horizon int

const (
	whenever horizon = iota
	endsSoon
	endsLater
)

// where returns the condition of a kind, and its arguments.
func (o *overview) where(k kind) (string, []any) {
	text, args := "environment = $1 AND client_id = $2 AND state = $3", []any{o.environment, o.clientID, string(k.state)}
	switch {
	case k.state == tokenstore.StateRelinkRequired:
		text += " AND cause = $4"
		args = append(args, string(k.cause))
	case k.state == tokenstore.StatePending:
		text += " AND candidate <> ''" // others were never finished
	case k.ends == endsSoon:
		text += " AND ends_at < $4"
		args = append(args, o.now().Add(soon).UnixMicro())
	case k.ends == endsLater:
		text += " AND (ends_at IS NULL OR ends_at >= $4)"
		args = append(args, o.now().Add(soon).UnixMicro())
	}
	return text, args
}

// tally is how many links there are of each kind.
type tally struct {
	kinds  []kind // the most urgent first
	counts map[kind]int
}

// tally counts all links.
func (o *overview) tally(ctx context.Context) (tally, error) {
	t := tally{counts: map[kind]int{}}
	rows, err := o.db.QueryContext(ctx, "SELECT state, cause, COUNT(*) FROM "+linksTable+
		" WHERE environment = $1 AND client_id = $2 GROUP BY state, cause", o.environment, o.clientID)
	if err != nil {
		return t, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has the error
	var linked int
	for rows.Next() {
		var k kind
		var n int
		if err := rows.Scan(&k.state, &k.cause, &n); err != nil {
			return t, err
		}
		switch k.state {
		case tokenstore.StateLinked:
			linked += n
		case tokenstore.StateUncertain, tokenstore.StateRelinkRequired:
			t.counts[k] += n
		}
	}
	if err := rows.Err(); err != nil {
		return t, err
	}
	waiting, soon := kind{state: tokenstore.StatePending}, kind{state: tokenstore.StateLinked, ends: endsSoon}
	for _, k := range []kind{waiting, soon} {
		where, args := o.where(k)
		var n int
		if err := o.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+linksTable+" WHERE "+where, args...).Scan(&n); err != nil {
			return t, err
		}
		t.counts[k] = n
	}
	t.counts[kind{state: tokenstore.StateLinked, ends: endsLater}] = max(linked-t.counts[soon], 0)
	t.order()
	return t, nil
}

// urgency orders the states: what needs somebody comes first.
func (k kind) urgency() int {
	switch {
	case k.state == tokenstore.StateRelinkRequired && advice.For(&pkb.RelinkError{Cause: k.cause}).Turn != advice.TurnPatient:
		return 0 // the patient alone cannot repair it
	case k.state == tokenstore.StateRelinkRequired:
		return 1
	case k.ends == endsSoon:
		return 2
	case k.state == tokenstore.StateUncertain:
		return 3
	case k.state == tokenstore.StatePending:
		return 4
	}
	return 5
}

func (t *tally) order() {
	for k, n := range t.counts {
		if n > 0 {
			t.kinds = append(t.kinds, k)
		}
	}
	slices.SortFunc(t.kinds, func(a, b kind) int {
		return cmp.Or(a.urgency()-b.urgency(), strings.Compare(string(a.cause), string(b.cause)))
	})
}

// pageSize is how many links a page has.
const pageSize = 50

// list returns a page of the links of some kinds.
func (o *overview) list(ctx context.Context, t tally, kinds []kind, skip int) (page []pkb.Link, err error) {
	for _, k := range kinds {
		if n := t.counts[k]; skip >= n {
			skip -= n
			continue
		}
		where, args := o.where(k)
		order := "app_user_id"
		if k.ends == endsSoon {
			order = "ends_at, app_user_id"
		}
		more, err := o.read(ctx, fmt.Sprintf("WHERE %s ORDER BY %s LIMIT %d OFFSET %d", where, order, pageSize-len(page), skip), args...)
		if err != nil {
			return nil, err
		}
		if page, skip = append(page, more...), 0; len(page) >= pageSize {
			break
		}
	}
	return page, nil
}

// one returns the link of a user.
func (o *overview) one(ctx context.Context, user string) (link pkb.Link, ok bool, err error) {
	links, err := o.read(ctx, "WHERE environment = $1 AND client_id = $2 AND app_user_id = $3", o.environment, o.clientID, []byte(user))
	if err != nil || len(links) == 0 || !isLink(links[0]) {
		return pkb.Link{}, false, err
	}
	return links[0], true, nil
}

// isLink reports whether a row is a link, working or not, or will be one.
func isLink(link pkb.Link) bool {
	return link.State != tokenstore.StateUnlinked && (link.State != tokenstore.StatePending || link.Unchecked)
}

// read returns links.
func (o *overview) read(ctx context.Context, rest string, args ...any) ([]pkb.Link, error) {
	rows, err := o.db.QueryContext(ctx, "SELECT app_user_id, state, cause, public_id, candidate, tried, "+
		"expires_at, ends_at, due_at, linked_at, refreshed_at, details FROM "+linksTable+" "+rest, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has the error
	var links []pkb.Link
	for rows.Next() {
		var r tokenstore.Record
		var id []byte
		var expires, ends, due, linked, refreshed sql.NullInt64
		if err := rows.Scan(&id, &r.State, &r.Cause, &r.PublicID, &r.Candidate, &r.Tried, &expires, &ends, &due, &linked, &refreshed, &r.Details); err != nil {
			return nil, err
		}
		r.AppUserID = string(id)
		for t, n := range map[*time.Time]sql.NullInt64{&r.ExpiresAt: expires, &r.EndsAt: ends, &r.DueAt: due, &r.LinkedAt: linked, &r.RefreshedAt: refreshed} {
			if n.Valid {
				*t = time.UnixMicro(n.Int64).UTC()
			}
		}
		links = append(links, pkb.LinkOf(r))
	}
	return links, rows.Err()
}
