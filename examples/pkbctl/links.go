// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

var linksCommand = &command{
	name:    "links",
	summary: "count the links by state, and list them",
	about: `links counts what is in the table by state, and lists the links. It needs -db
only, and writes nothing.

States: linked works; uncertain works until its access token expires, and is then
refreshed once more; relink_required has ended, for the cause shown; pending
is an authorization under way; unlinked is what an unlink leaves for two days. The last
two are counted, and listed with -state only.

On a terminal it prints tables. In a pipe it prints one JSON document:
{"total", "states": {state: n}, "causes": {cause: n}, "due", "matching", "links": [...]}
with the times in UTC; with -watch one such document on a line, at first and after
each change. A database that cannot be read ends it, with -watch too.`,
	examples: []string{
		"pkbctl links -db webapp.db",
		"pkbctl links -state relink_required -limit 0",
		"pkbctl links -filter cc5a80a8177e           # the link=... of a log line",
		"pkbctl links -due 10m -watch",
		"pkbctl links -state relink_required -limit 0 | jq -r '.links[].app_user_id'",
	},
	define: func(fs *flag.FlagSet) func(context.Context, *call) error {
		var o linksOptions
		fs.StringVar(&o.state, "state", "", "list those in this `state` only")
		fs.StringVar(&o.filter, "filter", "", "list those whose app_user_id contains this `text`, or whose link=... of the log\nbegins with it, or whose public id it is")
		fs.Func("due", "list those that are due within this `time`: for a refresh, or their end; 0s for\nthose that are already late", func(text string) error {
			within, err := time.ParseDuration(text)
			o.due = &within
			return err
		})
		fs.IntVar(&o.limit, "limit", 50, "list at most this many; 0 for all")
		fs.BoolVar(&o.watch, "watch", false, "repeat, until Ctrl-C")
		fs.DurationVar(&o.every, "every", 2*time.Second, "with -watch, the `time` between two looks")
		return o.run
	},
}

type linksOptions struct {
	state, filter string
	due           *time.Duration
	limit         int
	watch         bool
	every         time.Duration
}

// linkRow is a link in a list.
type linkRow struct {
	AppUserID   string           `json:"app_user_id"`
	Link        string           `json:"link"`
	State       tokenstore.State `json:"state"`
	Cause       string           `json:"cause,omitempty"`
	Environment string           `json:"environment"`
	ClientID    string           `json:"client_id"`
	Generation  uint64           `json:"generation"`
	LinkedAt    time.Time        `json:"linked_at,omitzero"`
	RefreshedAt time.Time        `json:"refreshed_at,omitzero"`
	ExpiresAt   time.Time        `json:"expires_at,omitzero"`
	DueAt       time.Time        `json:"due_at,omitzero"`
	EndsAt      time.Time        `json:"ends_at,omitzero"`
	KeyID       string           `json:"key_id,omitempty"`
}

func newLinkRow(r tokenstore.Record) linkRow {
	return linkRow{
		AppUserID: r.AppUserID, Link: observe.LinkName(r.AppUserID), State: r.State, Cause: r.Cause,
		Environment: r.Environment, ClientID: r.ClientID, Generation: r.Generation,
		LinkedAt: r.LinkedAt, RefreshedAt: r.RefreshedAt, ExpiresAt: r.ExpiresAt, DueAt: r.DueAt, EndsAt: r.EndsAt, KeyID: r.KeyID,
	}
}

// overall is what links prints.
type overall struct {
	Total  int                      `json:"total"`
	States map[tokenstore.State]int `json:"states"`
	Causes map[string]int           `json:"causes"`
	// Due counts links whose refresh or end is late.
	Due int `json:"due"`
	// Matching counts the links that were asked for, listed or not.
	Matching int       `json:"matching"`
	Links    []linkRow `json:"links"`
}

// isLink reports whether a record is a link, working or not.
func isLink(r tokenstore.Record) bool {
	return r.State == tokenstore.StateLinked || r.State == tokenstore.StateUncertain || r.State == tokenstore.StateRelinkRequired
}

// states are all of them, in the order in which they are shown.
var states = []tokenstore.State{
	tokenstore.StateLinked, tokenstore.StateUncertain, tokenstore.StateRelinkRequired, tokenstore.StatePending, tokenstore.StateUnlinked,
}

func (o *linksOptions) run(ctx context.Context, c *call) error {
	switch {
	case o.state != "" && !slices.Contains(states, tokenstore.State(o.state)):
		return failed(exitUsage, "-state %q is not a state; they are linked, uncertain, relink_required, pending and unlinked", o.state)
	case o.limit < 0:
		return failed(exitUsage, "-limit is %d; 0 lists all", o.limit)
	case o.every < 100*time.Millisecond:
		return failed(exitUsage, "-every is %v; the minimum is 100ms", o.every)
	}
	db, err := c.open()
	if err != nil {
		return err
	}
	defer db.close()
	if !o.watch {
		all, err := o.look(ctx, c, db, now())
		if err != nil {
			return err
		}
		if !c.terminal {
			return c.document(all)
		}
		o.print(c, all)
		return nil
	}
	return o.watching(ctx, c, db)
}

// watching shows the links again and again. It ends with Ctrl-C, which is not
// an interruption here.
func (o *linksOptions) watching(ctx context.Context, c *call, db *database) error {
	if c.terminal {
		fmt.Fprint(c.out, "\x1b[?25l")       // no cursor
		defer fmt.Fprint(c.out, "\x1b[?25h") // and back
	}
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	before := ""
	asked := o.limit
	for {
		if c.terminal { // what scrolls away is not seen
			_, height := c.size()
			o.limit = max(height-14, 3)
			if asked > 0 {
				o.limit = min(asked, o.limit)
			}
		}
		all, err := o.look(ctx, c, db, now())
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case c.terminal:
			fmt.Fprintf(c.out, "\x1b[H\x1b[2J%s  every %v, Ctrl-C ends\n\n", stamp(now()), o.every)
			o.print(c, all)
		default:
			b, err := json.Marshal(all)
			if err != nil {
				return err
			}
			if string(b) != before {
				before = string(b)
				if err := c.line(all); err != nil {
					return err
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look goes through the table once.
func (o *linksOptions) look(ctx context.Context, c *call, db *database, at time.Time) (overall, error) {
	all := overall{States: map[tokenstore.State]int{}, Causes: map[string]int{}, Links: []linkRow{}}
	wanted := issuer{c.named(), c.clientID}
	for r, err := range db.records(ctx) {
		if err != nil {
			return all, err
		}
		if wanted.Environment != "" && r.Environment != wanted.Environment || wanted.ClientID != "" && r.ClientID != wanted.ClientID {
			continue
		}
		all.Total++
		all.States[r.State]++
		if r.State == tokenstore.StateRelinkRequired {
			all.Causes[r.Cause]++
		}
		if isLink(r) && !r.DueAt.IsZero() && r.DueAt.Before(at) {
			all.Due++
		}
		if !o.matches(r, at) {
			continue
		}
		all.Matching++
		if o.limit == 0 || len(all.Links) < o.limit {
			all.Links = append(all.Links, newLinkRow(r))
		}
	}
	return all, nil
}

func (o *linksOptions) matches(r tokenstore.Record, at time.Time) bool {
	if o.state == "" && !isLink(r) || o.state != "" && r.State != tokenstore.State(o.state) {
		return false
	}
	if o.due != nil && (r.DueAt.IsZero() || r.DueAt.After(at.Add(*o.due))) {
		return false
	}
	return o.filter == "" || strings.Contains(r.AppUserID, o.filter) || r.PublicID == o.filter ||
		strings.HasPrefix(observe.LinkName(r.AppUserID), strings.TrimPrefix(o.filter, "link="))
}

func (o *linksOptions) print(c *call, all overall) {
	var counts [][]cell
	for _, s := range states {
		if n := all.States[s]; n > 0 {
			counts = append(counts, []cell{{string(s), stateStyles[s]}, text(fmt.Sprint(n)), text(causes(s, all.Causes))})
		}
	}
	if all.Total == 0 {
		fmt.Fprintln(c.out, "There are no links.")
		return
	}
	c.printTable([]string{"STATE", "LINKS", "CAUSES"}, counts)
	if all.Due > 0 {
		fmt.Fprintf(c.out, "\n%d late: the next call for the patient refreshes.\n", all.Due)
	}
	fmt.Fprintln(c.out)
	if all.Matching == 0 {
		fmt.Fprintln(c.out, "No link matches.")
		return
	}
	at := now()
	var rows [][]cell
	for _, l := range all.Links {
		rows = append(rows, []cell{
			text(clean(l.AppUserID)), {l.Link, dim}, {string(l.State), stateStyles[l.State]}, text(clean(l.Cause)),
			text(distance(l.RefreshedAt, at)), text(distance(l.ExpiresAt, at)), text(distance(l.DueAt, at)), text(distance(l.EndsAt, at)),
		})
	}
	c.printTable([]string{"APP USER", "LINK", "STATE", "CAUSE", "REFRESHED", "TOKEN ENDS", "DUE", "SESSION ENDS"}, rows)
	if left := all.Matching - len(all.Links); left > 0 {
		fmt.Fprintf(c.out, "\n%d more; -limit 0 lists all.\n", left)
	}
}

// causes lists how many links ended for which cause.
func causes(s tokenstore.State, n map[string]int) string {
	if s != tokenstore.StateRelinkRequired {
		return ""
	}
	var parts []string
	for cause, n := range n {
		parts = append(parts, fmt.Sprintf("%s %d", clean(cause), n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
