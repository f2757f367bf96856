// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/tokenstore"
)

var showCommand = &command{
	name: "show", args: "USER",
	summary: "show one link: its state, who refreshes it, and what happened to it",
	about: `show prints everything that is known about one link, and its past, oldest first.
USER is the app_user_id, or the link=... of a log line. It needs -db only, and
writes nothing. What it prints holds no token; the public id is the patient's.

lease says which process may refresh now; intent says that a refresh was sent and
its outcome is not recorded yet. In a pipe it prints one JSON document, with
"timeline": [{"kind", "at", "until", "count", "cause"}]. The exit code is 1 for a
link that has ended.`,
	examples: []string{
		"pkbctl show app-user-1 -db webapp.db",
		"pkbctl show cc5a80a8177e",
		"pkbctl show app-user-1 | jq .timeline",
	},
	define: func(*flag.FlagSet) func(context.Context, *call) error { return show },
}

// shown is what show prints.
type shown struct {
	linkRow
	PublicID string         `json:"public_id,omitempty"`
	Lease    *shownLease    `json:"lease,omitempty"`
	Intent   *shownIntent   `json:"intent,omitempty"`
	Timeline []shownHappens `json:"timeline"`
}

type shownLease struct {
	Owner     string    `json:"owner"`
	RenewedAt time.Time `json:"renewed_at"`
	ExpiresAt time.Time `json:"expires_at"`
	// Over: others may take it, as soon as their clocks agree.
	Over bool `json:"over"`
}

type shownIntent struct {
	Attempt int       `json:"attempt"`
	SentAt  time.Time `json:"sent_at"`
}

type shownHappens struct {
	Kind  pkb.EventKind `json:"kind"`
	At    time.Time     `json:"at"`
	Until time.Time     `json:"until,omitzero"`
	Count int           `json:"count"`
	Cause pkb.Cause     `json:"cause,omitempty"`
}

func show(ctx context.Context, c *call) error {
	db, err := c.open()
	if err != nil {
		return err
	}
	defer db.close()
	r, err := db.find(ctx, c.user())
	if err != nil {
		return err
	}
	s := shown{linkRow: newLinkRow(r), PublicID: r.PublicID, Timeline: []shownHappens{}}
	if r.Lease.Owner != "" {
		s.Lease = &shownLease{Owner: r.Lease.Owner, RenewedAt: r.Lease.RenewedAt, ExpiresAt: r.Lease.ExpiresAt, Over: now().After(r.Lease.ExpiresAt)}
	}
	if r.Intent.Attempt > 0 {
		s.Intent = &shownIntent{Attempt: r.Intent.Attempt, SentAt: r.Intent.SentAt}
	}
	client, err := c.onlooker(db, r)
	if err != nil {
		return err
	}
	past, err := client.Timeline(ctx, r.AppUserID)
	if err != nil {
		return err
	}
	for _, e := range past {
		s.Timeline = append(s.Timeline, shownHappens{Kind: e.Kind, At: e.At, Until: e.Until, Count: e.Count, Cause: e.Cause})
	}
	if !c.terminal {
		err = c.document(s)
	} else {
		c.printLink(s)
	}
	if err == nil && r.State == tokenstore.StateRelinkRequired {
		return errSaid
	}
	return err
}

// onlooker returns a client of the environment in which r was made, that can
// write nothing.
func (c *call) onlooker(db *database, r tokenstore.Record) (*pkb.Client, error) {
	cfg := c.config(issuer{r.Environment, r.ClientID})
	cfg.Store = readOnly{db}
	return pkb.New(cfg)
}

func (c *call) printLink(s shown) {
	at := now()
	field := func(name, value string, as style) {
		if value != "" {
			fmt.Fprintf(c.out, "%s  %s\n", c.paint(fmt.Sprintf("%-13s", name), dim), c.paint(value, as))
		}
	}
	moment := func(name string, t time.Time) {
		if !t.IsZero() {
			field(name, stamp(t)+"  "+distance(t, at), plain)
		}
	}
	field("app user", clean(s.AppUserID), bold)
	field("link in logs", s.Link, plain)
	field("state", string(s.State), stateStyles[s.State])
	field("cause", clean(s.Cause), red)
	field("meaning", meaning(s.State), plain)
	field("public id", clean(s.PublicID), plain)
	field("issued for", clean(s.Environment)+", client id "+clean(s.ClientID), plain)
	field("generation", fmt.Sprint(s.Generation), plain)
	field("sealed with", clean(s.KeyID), plain)
	moment("linked", s.LinkedAt)
	moment("refreshed", s.RefreshedAt)
	moment("token ends", s.ExpiresAt)
	moment("due", s.DueAt)
	moment("session ends", s.EndsAt)
	if l := s.Lease; l != nil {
		field("lease", fmt.Sprintf("%s, renewed %s, until %s", clean(l.Owner), distance(l.RenewedAt, at), stamp(l.ExpiresAt)), yellow)
	}
	if i := s.Intent; i != nil {
		field("intent", fmt.Sprintf("refresh sent %s, attempt %d, no outcome recorded", distance(i.SentAt, at), i.Attempt), yellow)
	}
	fmt.Fprintln(c.out)
	if len(s.Timeline) == 0 {
		fmt.Fprintln(c.out, "Nothing of its past is kept.")
		return
	}
	var rows [][]cell
	for _, h := range s.Timeline {
		times, until := "", ""
		if h.Count > 1 {
			times, until = fmt.Sprintf("%d times", h.Count), stamp(h.Until)
		}
		rows = append(rows, []cell{text(stamp(h.At)), {string(h.Kind), kindStyles[h.Kind]}, text(times), text(until), text(string(h.Cause))})
	}
	c.printTable([]string{"WHEN (UTC)", "WHAT", "", "UNTIL", "CAUSE"}, rows)
}

var kindStyles = map[pkb.EventKind]style{
	pkb.EventLinked: green, pkb.EventRecovered: green, pkb.EventUncertain: yellow, pkb.EventSaveRetried: yellow, pkb.EventEndsSoon: yellow,
	pkb.EventRelinkRequired: red, pkb.EventWrongPatient: red, pkb.EventSharedRecord: red, pkb.EventRefused: red,
}

// meaning says what a state asks of whom.
func meaning(s tokenstore.State) string {
	switch s {
	case tokenstore.StateLinked:
		return "it works, and refreshes by itself"
	case tokenstore.StateUncertain:
		return "the answer to a refresh was lost; it works until the token ends, and is found out about then"
	case tokenstore.StateRelinkRequired:
		return "it has ended; send the patient to your link route (pkbctl relink-url)"
	case tokenstore.StatePending:
		return "an approval is under way, or was never finished"
	case tokenstore.StateUnlinked:
		return "it was unlinked; what is left is removed after a day (Client.Purge)"
	}
	return ""
}
