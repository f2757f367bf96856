// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// Inbox is a host's table of notices, which notices come into as often as they are
// delivered.
type Inbox struct{ db *sql.DB }

// OpenInbox opens the inbox of a cluster through a pool of its own. New has made it.
func (s Setup) OpenInbox() (*Inbox, error) {
	db, err := sql.Open(services.PostgresDriver, s.DSN)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(2)
	return &Inbox{db}, nil
}

func (i *Inbox) create(ctx context.Context) error {
	_, err := i.db.ExecContext(ctx, "CREATE TABLE inbox (at BIGSERIAL PRIMARY KEY, app_user_id TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL)")
	return err
}

// Close closes the pool.
func (i *Inbox) Close() error { return i.db.Close() }

// Take takes a notice, as Config.Notify should.
func (i *Inbox) Take(ctx context.Context, n observe.Notice) error {
	_, err := i.db.ExecContext(ctx, "INSERT INTO inbox (app_user_id, id, kind) VALUES ($1, $2, $3)", n.AppUserID, n.ID, string(n.Kind))
	if err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	return nil
}

// Told is what a host was told.
type Told struct {
	// Kinds are the notices of each user, each once, in order.
	Kinds map[string][]observe.EventKind
	// All counts deliveries, Again, those of what the host had been told, and
	// OutOfOrder, those of something older than what it had been told.
	All, Again, OutOfOrder int
}

// Told reads what the host was told.
func (i *Inbox) Told(ctx context.Context) (t Told, err error) {
	rows, err := i.db.QueryContext(ctx, "SELECT app_user_id, id, kind FROM inbox ORDER BY at")
	if err != nil {
		return t, err
	}
	defer rows.Close()
	t.Kinds = map[string][]observe.EventKind{}
	seen, newest := map[string]bool{}, map[string]uint64{}
	for rows.Next() {
		var user, id, kind string
		if err := rows.Scan(&user, &id, &kind); err != nil {
			return t, err
		}
		t.All++
		if seen[user+" "+id] {
			t.Again++
			continue
		}
		seen[user+" "+id] = true
		t.Kinds[user] = append(t.Kinds[user], observe.EventKind(kind))
		_, number, _ := strings.Cut(id, "-") // in the user's record
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return t, fmt.Errorf("the id of a notice is %q", id)
		}
		if n < newest[user] {
			t.OutOfOrder++
		}
		newest[user] = n
	}
	return t, rows.Err()
}

// Lost returns what has happened to users and the host was not told. What it was told
// and has not happened is an error.
func (t Told) Lost(truth map[string][]observe.EventKind) (lost []string, err error) {
	for user, want := range truth {
		got := slices.Clone(t.Kinds[user])
		for _, kind := range want {
			if i := slices.Index(got, kind); i >= 0 {
				got = slices.Delete(got, i, i+1)
			} else {
				lost = append(lost, fmt.Sprintf("%s: %s", user, kind))
			}
		}
		if len(got) > 0 {
			return lost, fmt.Errorf("%s: the host was told %v, which has not happened", user, got)
		}
	}
	return lost, nil
}
