// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// inbox is the app's own table of what its patients are to be told. The library writes
// into it, whichever replica comes to it; a host with mails or push messages sends them
// from such a table, and never from the function that the library calls.
type inbox struct {
	db  *sql.DB
	now func() time.Time
}

// messageLife is how long a message is kept.
const messageLife = 90 * 24 * time.Hour

func (i *inbox) migrate(ctx context.Context) error {
	return define(ctx, i.db, `CREATE TABLE IF NOT EXISTS webapp_notices (
		app_user_id VARCHAR(64) NOT NULL,
		notice_id VARCHAR(64) NOT NULL,
		kind VARCHAR(32) NOT NULL,
		cause VARCHAR(32) NOT NULL,
		at BIGINT NOT NULL,
		ends_at BIGINT NOT NULL,
		PRIMARY KEY (app_user_id, notice_id)
	)`)
}

// take is pkb.Config.Notify. The library asks until it returns nil: a notice that comes
// twice is in the table once.
func (i *inbox) take(ctx context.Context, n observe.Notice) error {
	if _, err := i.db.ExecContext(ctx, "DELETE FROM webapp_notices WHERE app_user_id = $1 AND at < $2",
		n.AppUserID, i.now().Add(-messageLife).UnixMilli()); err != nil {
		return err
	}
	var endsAt int64
	if !n.EndsAt.IsZero() {
		endsAt = n.EndsAt.UnixMilli()
	}
	_, err := i.db.ExecContext(ctx, `INSERT INTO webapp_notices (app_user_id, notice_id, kind, cause, at, ends_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (app_user_id, notice_id) DO NOTHING`,
		n.AppUserID, n.ID, string(n.Kind), string(n.Cause), n.At.UnixMilli(), endsAt)
	return err
}

// forget removes a patient's messages, when they have unlinked.
func (i *inbox) forget(ctx context.Context, appUserID string) error {
	_, err := i.db.ExecContext(ctx, "DELETE FROM webapp_notices WHERE app_user_id = $1", appUserID)
	return err
}

// message is what a patient reads about something that has happened.
type message struct {
	At   time.Time
	Text string
	// Again: they should approve again.
	Again bool
}

// messages returns what a patient is to be told since the link was last made, the newest
// first.
func (i *inbox) messages(ctx context.Context, appUserID string) (all []message, err error) {
	rows, err := i.db.QueryContext(ctx, `SELECT kind, cause, at, ends_at FROM webapp_notices
		WHERE app_user_id = $1 ORDER BY at DESC, notice_id DESC LIMIT 20`, appUserID)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has the error
	warned := false
	for rows.Next() {
		var n observe.Notice
		var at, endsAt int64
		if err := rows.Scan(&n.Kind, &n.Cause, &at, &endsAt); err != nil {
			return nil, err
		}
		if n.Kind == observe.EventLinked {
			break // all that is older was about another link
		}
		if n.Kind == observe.EventEndsSoon && warned {
			continue // the later warning says the same
		}
		warned = warned || n.Kind == observe.EventEndsSoon
		n.At, n.EndsAt = time.UnixMilli(at), time.UnixMilli(endsAt)
		text, again := wordsNotice(n)
		all = append(all, message{n.At, text, again})
	}
	return all, rows.Err()
}

// tend looks after links that nobody uses, until the app closes. Every replica does, and
// each link is looked after by one of them.
func (h *host) tend(ctx context.Context, client *pkb.Client, log *slog.Logger) {
	// It goes on until the last request has ended, and not only until the signal.
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := client.Tend(ctx); err != nil {
			log.Error("webapp: nobody looks after links", "error", err)
		}
	}()
	h.onClose(func(closing context.Context) error {
		stop()
		select {
		case <-ended:
			return nil
		case <-closing.Done():
			return closing.Err()
		}
	})
}
