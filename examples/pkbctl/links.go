// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

var linksCommand = &command{
	name:    "links",
	summary: "count the links by state and cause, and list them",
	about: `links counts what is in the table by state and cause, and lists the links. It needs
-db only, and writes nothing.

States: linked works; uncertain works until its access token expires, and is then
refreshed once more; relink_required has ended, for the cause shown; pending
is an authorization under way; unlinked is what an unlink leaves for two days. The last
two are counted, and listed with -state only.

On a terminal it prints tables, fifty links at a time. What needs somebody comes
first: links that have ended; that keep a response which cannot be read, or that PKB
refuses in unknown words; whose session ends within a week; that are uncertain. A
link that changes while a long list is printed can be missing, or be there twice.

In a pipe it prints one JSON document: {"links": [...], "total", "states": {state: n},
"causes": {cause: n}, "due", "matching"}, with all links, each once, in the order of
their app_user_id, and with the times in UTC. It is printed while the table is read; if
that fails, it is cut off, and the exit code is not 0. With -watch there is one such
document on a line, at first and after each change, with fifty links.`,
	examples: []string{
		"pkbctl links -db webapp.db",
		"pkbctl links -cause session_invalid",
		"pkbctl links -state relink_required -n 20 -skip 20",
		"pkbctl links -filter cc5a80a8177e           # the link=... of a log line",
		"pkbctl links -due 10m -watch",
		"pkbctl links -state relink_required | jq -r '.links[].app_user_id'",
	},
	define: func(fs *flag.FlagSet) func(context.Context, *call) error {
		o := linksOptions{n: -1}
		fs.StringVar(&o.state, "state", "", "list those in this `state` only")
		fs.StringVar(&o.cause, "cause", "", "list those that have ended for this `cause` only, such as session_expired")
		fs.StringVar(&o.filter, "filter", "", "list those whose app_user_id contains this `text`, or whose link=... of the log\nbegins with it, or whose public id it is")
		fs.Func("due", "list those that are due within this `time`: for a refresh, or their end; 0s for\nthose that are already late", func(text string) error {
			within, err := time.ParseDuration(text)
			o.due = &within
			return err
		})
		fs.Func("n", "list at most this `number`; 0 for all. Default: 50 on a terminal and with -watch,\nall in a pipe", o.setN)
		fs.IntVar(&o.skip, "skip", 0, "leave out this `number` at the beginning, which were on pages before")
		fs.BoolVar(&o.watch, "watch", false, "repeat, until Ctrl-C")
		fs.DurationVar(&o.every, "every", 2*time.Second, "with -watch, the `time` between two looks")
		return o.run
	},
}

type linksOptions struct {
	state, cause, filter string
	due                  *time.Duration
	n, skip              int // n is -1 if it was not given
	watch                bool
	every                time.Duration
}

func (o *linksOptions) setN(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return errors.New("it is a number, or 0 for all")
	}
	o.n = n
	return nil
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

// tally is what links prints in addition to the list.
type tally struct {
	Total  int                      `json:"total"`
	States map[tokenstore.State]int `json:"states"`
	Causes map[string]int           `json:"causes"`
	// Due counts links whose refresh or end is late.
	Due int `json:"due"`
	// Matching counts the links that were asked for, listed or not.
	Matching int `json:"matching"`
	// needs counts the matching links by what they need.
	needs [allNeeds]int
}

// isLink reports whether a record is a link, working or not.
func isLink(r tokenstore.Record) bool {
	return r.State == tokenstore.StateLinked || r.State == tokenstore.StateUncertain || r.State == tokenstore.StateRelinkRequired
}

// states are all of them, in the order in which they are shown.
var states = []tokenstore.State{
	tokenstore.StateRelinkRequired, tokenstore.StateUncertain, tokenstore.StateLinked, tokenstore.StatePending, tokenstore.StateUnlinked,
}

// need is what a link needs, the most urgent first.
type need int

const (
	needsPatient  need = iota // it has ended
	needsOperator             // it will end, unless somebody finds out what PKB responds
	needsSoon                 // its session ends within a week
	needsTime                 // it is uncertain
	needsNothing
	allNeeds
)

// soon is how long before the end of a session its link is among the first.
const soon = 7 * 24 * time.Hour

func needOf(r tokenstore.Record, at time.Time) need {
	link := pkb.LinkOf(r)
	switch {
	case r.State == tokenstore.StateRelinkRequired:
		return needsPatient
	case isLink(r) && (link.Unread || link.Refusals > 0):
		return needsOperator
	case isLink(r) && !r.EndsAt.IsZero() && r.EndsAt.Sub(at) < soon:
		return needsSoon
	case r.State == tokenstore.StateUncertain:
		return needsTime
	}
	return needsNothing
}

func (o *linksOptions) check() error {
	switch {
	case o.state != "" && !slices.Contains(states, tokenstore.State(o.state)):
		return failed(exitUsage, "-state %q is not a state; they are relink_required, uncertain, linked, pending and unlinked", o.state)
	case o.skip < 0:
		return failed(exitUsage, "-skip is %d; it is a number of links", o.skip)
	case o.watch && (o.n == 0 || o.skip > 0):
		return failed(exitUsage, "-watch shows the first links only: give -n, and no -skip")
	case o.every < 100*time.Millisecond:
		return failed(exitUsage, "-every is %v; the minimum is 100ms", o.every)
	}
	return nil
}

// page is how many links are listed if nobody says.
const page = 50

func (o *linksOptions) run(ctx context.Context, c *call) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.n < 0 && (c.terminal || o.watch) {
		o.n = page
	}
	o.n = max(o.n, 0)
	db, err := c.open()
	if err != nil {
		return err
	}
	defer db.close()
	switch {
	case o.watch:
		return o.watching(ctx, c, db)
	case c.terminal:
		return o.print(ctx, c, db, now())
	}
	return o.stream(ctx, c, db, now())
}

// window picks the part of a list that is printed.
type window struct{ skip, left int }

func (o *linksOptions) window() *window {
	if o.n == 0 {
		return &window{o.skip, -1}
	}
	return &window{o.skip, o.n}
}

// takes reports whether the next one is in the window.
func (w *window) takes() bool {
	switch {
	case w.skip > 0:
		w.skip--
		return false
	case w.left > 0:
		w.left--
		return true
	}
	return w.left < 0
}

// scan goes through the table once, counts, and hands the links that match to take.
func (o *linksOptions) scan(ctx context.Context, c *call, db *database, at time.Time, take func(tokenstore.Record) error) (tally, error) {
	all := tally{States: map[tokenstore.State]int{}, Causes: map[string]int{}}
	for r, err := range db.records(ctx) {
		if err == nil && c.concerns(r) {
			all.count(r, at)
			if o.matches(r, at) {
				all.Matching++
				all.needs[needOf(r, at)]++
				err = take(r)
			}
		}
		if err != nil {
			return all, &unfinished{fmt.Sprintf("%d links were read", all.Total), err}
		}
	}
	return all, nil
}

// concerns reports whether r is of the environment and the client id that the flags
// name.
func (c *call) concerns(r tokenstore.Record) bool {
	return (c.env == "" || r.Environment == c.named()) && (c.clientID == "" || r.ClientID == c.clientID)
}

func (all *tally) count(r tokenstore.Record, at time.Time) {
	all.Total++
	all.States[r.State]++
	if r.State == tokenstore.StateRelinkRequired {
		all.Causes[r.Cause]++
	}
	if isLink(r) && !r.DueAt.IsZero() && r.DueAt.Before(at) {
		all.Due++
	}
}

func (o *linksOptions) matches(r tokenstore.Record, at time.Time) bool {
	switch {
	case o.state == "" && !isLink(r), o.state != "" && r.State != tokenstore.State(o.state):
		return false
	case o.cause != "" && r.Cause != o.cause:
		return false
	case o.due != nil && (r.DueAt.IsZero() || r.DueAt.After(at.Add(*o.due))):
		return false
	}
	return o.filter == "" || strings.Contains(r.AppUserID, o.filter) || r.PublicID == o.filter ||
		strings.HasPrefix(observe.LinkName(r.AppUserID), strings.TrimPrefix(o.filter, "link="))
}

// stream prints the JSON document while the table is read.
func (o *linksOptions) stream(ctx context.Context, c *call, db *database, at time.Time) error {
	w := bufio.NewWriter(c.out)
	links, part := newRows(w, "links"), o.window()
	all, err := o.scan(ctx, c, db, at, func(r tokenstore.Record) error {
		if !part.takes() {
			return nil
		}
		return links.add(newLinkRow(r))
	})
	if err == nil {
		err = links.end(all)
	}
	return errors.Join(err, w.Flush())
}

// print prints the tables: first it counts, and then it goes through the table once
// for each need, so that it keeps no link in memory.
func (o *linksOptions) print(ctx context.Context, c *call, db *database, at time.Time) error {
	all, err := o.scan(ctx, c, db, at, func(tokenstore.Record) error { return nil })
	if err != nil {
		return err
	}
	if all.Total == 0 {
		fmt.Fprintln(c.out, "There are no links.")
		return nil
	}
	c.printCounts(all)
	switch {
	case all.Matching == 0:
		fmt.Fprintln(c.out, "No link matches.")
		return nil
	case o.skip >= all.Matching:
		fmt.Fprintf(c.out, "There are %d, and -skip leaves all of them out.\n", all.Matching)
		return nil
	}
	listed, err := o.list(ctx, c, db, at, all)
	if err != nil {
		return &unfinished{fmt.Sprintf("%d of %d links are listed", listed, all.Matching-o.skip), err}
	}
	if next := o.skip + listed; next < all.Matching && !o.watch {
		fmt.Fprintf(c.out, "\n%d to %d of %d. The next:\n  %s\n", o.skip+1, next, all.Matching, o.next(c, next))
	}
	return nil
}

// list prints the table of links, and returns how many are in it.
func (o *linksOptions) list(ctx context.Context, c *call, db *database, at time.Time, all tally) (listed int, err error) {
	t := c.newTable(
		column{head: "APP USER"}, column{head: "LINK", least: 12, drop: 3}, column{head: "STATE", least: len(tokenstore.StateRelinkRequired)},
		column{head: "CAUSE", drop: 1}, column{head: "REFRESHED", drop: 4}, column{head: "TOKEN ENDS", drop: 5},
		column{head: "DUE", least: len("119m ago"), drop: 6}, column{head: "SESSION ENDS", drop: 2})
	part := o.window()
	for wanted := range allNeeds {
		if n := all.needs[wanted]; part.skip >= n {
			part.skip -= n
			continue
		}
		for r, err := range db.records(ctx) {
			if err != nil {
				t.flush()
				return listed, err
			}
			if c.concerns(r) && o.matches(r, at) && needOf(r, at) == wanted && part.takes() {
				t.add(linkCells(r, at)...)
				listed++
			}
			if part.left == 0 {
				break
			}
		}
		if part.left == 0 {
			break
		}
	}
	t.flush()
	return listed, nil
}

// linkCells is a row; where there is no cause, it has what the link needs.
func linkCells(r tokenstore.Record, at time.Time) []cell {
	link := pkb.LinkOf(r)
	cause := text(clean(r.Cause))
	switch {
	case link.Unread:
		cause = cell{"unread response", yellow}
	case link.Refusals > 0 && r.Cause == "":
		cause = cell{"refused " + times(link.Refusals), yellow}
	case needOf(r, at) == needsSoon:
		cause = cell{"ends " + distance(r.EndsAt, at), yellow}
	}
	return []cell{
		text(clean(r.AppUserID)), {observe.LinkName(r.AppUserID), dim}, {clean(string(r.State)), stateStyles[r.State]}, cause,
		text(distance(r.RefreshedAt, at)), text(distance(r.ExpiresAt, at)), text(distance(r.DueAt, at)), text(distance(r.EndsAt, at)),
	}
}

// next is the command that prints the next page.
func (o *linksOptions) next(c *call, skip int) string {
	args := []string{"-skip", fmt.Sprint(skip)}
	if o.n != page {
		args = append(args, "-n", fmt.Sprint(o.n))
	}
	for _, f := range []struct{ name, value string }{{"-state", o.state}, {"-cause", o.cause}, {"-filter", o.filter}} {
		if f.value != "" {
			args = append(args, f.name, f.value)
		}
	}
	if o.due != nil {
		args = append(args, "-due", o.due.String())
	}
	return c.toCopy("links", args...)
}

// printCounts prints how many links there are, each cause on a line of its own.
func (c *call) printCounts(all tally) {
	t := c.newTable(column{head: "STATE", least: len("  response_unreadable")}, column{head: "LINKS", right: true})
	for _, s := range states {
		if all.States[s] == 0 {
			continue
		}
		t.add(cell{string(s), stateStyles[s]}, text(fmt.Sprint(all.States[s])))
		if s != tokenstore.StateRelinkRequired {
			continue
		}
		for _, cause := range sorted(all.Causes) {
			t.add(text("  "+clean(cause)), text(fmt.Sprint(all.Causes[cause])))
		}
	}
	t.flush()
	if all.Due > 0 {
		fmt.Fprintf(c.out, "\n%d late: the next call for the patient refreshes.\n", all.Due)
	}
	fmt.Fprintln(c.out)
}

// sorted returns the keys, the most frequent first.
func sorted(n map[string]int) []string {
	var keys []string
	for key := range n {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if n[a] != n[b] {
			return n[b] - n[a]
		}
		return strings.Compare(a, b)
	})
	return keys
}
