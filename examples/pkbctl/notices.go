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
	"strings"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

var noticesCommand = &command{
	name:    "notices",
	summary: "list the notices that your program has not accepted yet",
	about: `notices lists what Config.Notify of your program was not told yet, or has refused: links
that were made or have ended, sessions that end soon, authorizations that were given up.
They are in the order of the app_user_id, and those of one link in the order in which
they are delivered. It needs -db only, and writes nothing.

"refused" is how often Notify returned an error, panicked or took too long; why, is in the
log of the process that called it. "next" is when a process that runs Client.Tend looks at
the link again, at the latest. A notice that was never refused and is old means that no
process with Notify runs Client.Tend or TendOnce.

On a terminal it prints a table, fifty notices at a time. In a pipe it prints one JSON
document: {"notices": [{"id", "kind", "app_user_id", "link", "cause", "at", "ends_at", "last",
"earlier", "tries", "next_at"}], "total", "links", "kinds": {kind: n}, "matching"}, with all
notices, while the table is read; if that fails, it is cut off, and the exit code is not 0.`,
	examples: []string{
		"pkbctl notices -db webapp.db",
		"pkbctl notices -kind relink_required -older 1h",
		"pkbctl notices | jq '.notices[] | select(.tries > 5)'",
	},
	define: func(fs *flag.FlagSet) func(context.Context, *call) error {
		o := &noticesOptions{list: linksOptions{n: -1}}
		fs.StringVar(&o.kind, "kind", "", "list those of this `kind` only, such as relink_required")
		fs.StringVar(&o.list.filter, "filter", "", "list those whose app_user_id contains this `text`, or whose link=... of the log\nbegins with it")
		fs.DurationVar(&o.older, "older", 0, "list those that wait for longer than this `time`")
		fs.Func("n", "list at most this `number`; 0 for all. Default: 50 on a terminal, all in a pipe", o.list.setN)
		fs.IntVar(&o.list.skip, "skip", 0, "leave out this `number` at the beginning, which were on pages before")
		return o.run
	},
}

type noticesOptions struct {
	list  linksOptions // n, skip and filter
	kind  string
	older time.Duration
}

// noticeRow is a notice in a list.
type noticeRow struct {
	ID        string            `json:"id"`
	Kind      observe.EventKind `json:"kind"`
	AppUserID string            `json:"app_user_id"`
	Link      string            `json:"link"`
	Cause     observe.Cause     `json:"cause,omitempty"`
	At        time.Time         `json:"at"`
	EndsAt    time.Time         `json:"ends_at,omitzero"`
	Last      bool              `json:"last,omitempty"`
	Earlier   int               `json:"earlier,omitempty"`
	Tries     int               `json:"tries"`
	NextAt    time.Time         `json:"next_at,omitzero"`
}

// noticeRows are the notices of a record.
func noticeRows(r tokenstore.Record) []noticeRow {
	rows := []noticeRow{}
	for _, n := range pkb.NoticesOf(r) {
		rows = append(rows, noticeRow{
			ID: n.ID, Kind: n.Kind, AppUserID: n.AppUserID, Link: observe.LinkName(n.AppUserID), Cause: n.Cause, At: n.At,
			EndsAt: n.EndsAt, Last: n.Last, Earlier: n.Earlier, Tries: n.Tries, NextAt: r.TendAt,
		})
	}
	return rows
}

// noticeTally is what notices prints in addition to the list.
type noticeTally struct {
	Total    int                       `json:"total"`
	Links    int                       `json:"links"`
	Kinds    map[observe.EventKind]int `json:"kinds"`
	Matching int                       `json:"matching"`
}

// noticeKinds are all of them.
var noticeKinds = []observe.EventKind{
	observe.EventRelinkRequired, observe.EventEndsSoon, observe.EventLinked, observe.EventSharedRecord, observe.EventWrongPatient, observe.EventAbandoned,
}

func (o *noticesOptions) run(ctx context.Context, c *call) error {
	switch {
	case o.kind != "" && !slices.Contains(noticeKinds, observe.EventKind(o.kind)):
		return failed(exitUsage, "-kind %q is not a kind of notice; they are relink_required, ends_soon, linked, record_shared, wrong_patient and abandoned", o.kind)
	case o.list.skip < 0:
		return failed(exitUsage, "-skip is %d; it is a number of notices", o.list.skip)
	}
	if o.list.n < 0 && c.terminal {
		o.list.n = page
	}
	o.list.n = max(o.list.n, 0)
	db, err := c.open()
	if err != nil {
		return err
	}
	defer db.close()
	if c.terminal {
		return o.print(ctx, c, db, now())
	}
	return o.stream(ctx, c, db, now())
}

// scan goes through the table once, counts, and hands the notices that match to take.
func (o *noticesOptions) scan(ctx context.Context, c *call, db *database, at time.Time, take func(noticeRow) error) (noticeTally, error) {
	all := noticeTally{Kinds: map[observe.EventKind]int{}}
	read := 0
	for r, err := range db.records(ctx) {
		if err == nil && c.concerns(r) {
			read++
			err = o.count(&all, r, at, take)
		}
		if err != nil {
			return all, &unfinished{fmt.Sprintf("%d links were read", read), err}
		}
	}
	return all, nil
}

func (o *noticesOptions) count(all *noticeTally, r tokenstore.Record, at time.Time, take func(noticeRow) error) error {
	rows := noticeRows(r)
	if len(rows) > 0 {
		all.Links++
	}
	for _, n := range rows {
		all.Total++
		all.Kinds[n.Kind]++
		if !o.matches(n, at) {
			continue
		}
		all.Matching++
		if err := take(n); err != nil {
			return err
		}
	}
	return nil
}

func (o *noticesOptions) matches(n noticeRow, at time.Time) bool {
	switch filter := o.list.filter; {
	case o.kind != "" && n.Kind != observe.EventKind(o.kind), o.older > 0 && at.Sub(n.At) <= o.older:
		return false
	default:
		return filter == "" || strings.Contains(n.AppUserID, filter) || strings.HasPrefix(n.Link, strings.TrimPrefix(filter, "link="))
	}
}

// stream prints the JSON document while the table is read.
func (o *noticesOptions) stream(ctx context.Context, c *call, db *database, at time.Time) error {
	w := bufio.NewWriter(c.out)
	notices, part := newRows(w, "notices"), o.list.window()
	all, err := o.scan(ctx, c, db, at, func(n noticeRow) error {
		if !part.takes() {
			return nil
		}
		return notices.add(n)
	})
	if err == nil {
		err = notices.end(all)
	}
	return errors.Join(err, w.Flush())
}

// print prints the table, in one pass: what is beyond the page is only counted.
func (o *noticesOptions) print(ctx context.Context, c *call, db *database, at time.Time) error {
	t := c.newTable(
		column{head: "APP USER"}, column{head: "LINK", least: 12, drop: 4}, column{head: "KIND", least: len(observe.EventRelinkRequired)},
		column{head: "CAUSE", drop: 1}, column{head: "SINCE", least: len("119m ago")}, column{head: "REFUSED", drop: 2},
		column{head: "NEXT", least: len("119m ago"), drop: 5}, column{head: "SESSION ENDS", drop: 3})
	part, listed := o.list.window(), 0
	all, err := o.scan(ctx, c, db, at, func(n noticeRow) error {
		if part.takes() {
			t.add(noticeCells(n, at)...)
			listed++
		}
		return nil
	})
	if err != nil {
		if listed > 0 {
			t.flush()
		}
		return err
	}
	switch {
	case all.Total == 0:
		fmt.Fprintln(c.out, "There are no notices that wait.")
		return nil
	case all.Matching == 0:
		fmt.Fprintf(c.out, "No notice matches; %s of %s.\n", plural(all.Total, "notice waits", "notices wait"), number(all.Links, "link"))
		return nil
	case listed == 0:
		fmt.Fprintf(c.out, "There are %d, and -skip leaves all of them out.\n", all.Matching)
		return nil
	}
	t.flush()
	fmt.Fprintf(c.out, "\n%s of %s.\n", plural(all.Total, "notice waits", "notices wait"), number(all.Links, "link"))
	if next := o.list.skip + listed; next < all.Matching {
		fmt.Fprintf(c.out, "%d to %d of %d. The next:\n  %s\n", o.list.skip+1, next, all.Matching, o.next(c, next))
	}
	return nil
}

func noticeCells(n noticeRow, at time.Time) []cell {
	often := cell{"-", dim}
	if n.Tries > 0 {
		often = cell{times(n.Tries), yellow}
	}
	return []cell{
		text(clean(n.AppUserID)), {n.Link, dim}, {clean(string(n.Kind)), kindStyles[n.Kind]}, text(clean(string(n.Cause))),
		text(distance(n.At, at)), often, text(distance(n.NextAt, at)), text(distance(n.EndsAt, at)),
	}
}

// next is the command that prints the next page.
func (o *noticesOptions) next(c *call, skip int) string {
	args := []string{"-skip", fmt.Sprint(skip)}
	if o.list.n != page {
		args = append(args, "-n", fmt.Sprint(o.list.n))
	}
	if o.kind != "" {
		args = append(args, "-kind", o.kind)
	}
	if o.list.filter != "" {
		args = append(args, "-filter", o.list.filter)
	}
	if o.older > 0 {
		args = append(args, "-older", o.older.String())
	}
	return c.toCopy("notices", args...)
}
