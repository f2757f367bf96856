// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

var tendCommand = &command{
	name:    "tend",
	summary: "look after the links that nobody uses, once",
	about: `tend -once does for all links what is due now, and ends, as Client.TendOnce does: it
warns before a session ends, asks once more about refreshes whose outcome is unknown,
refreshes idle links (-keep-warm), removes what an unlink left, and seals with the first
key of the keyring. Run it from a job, such as every hour, if no process of your program
runs Client.Tend. It refreshes at most ten links a second, and several may run at a time.

Two things of your program pkbctl does not have:

  Config.Notify    No notice is delivered or lost. Notices wait for a process that has
                   Notify and runs Client.Tend or TendOnce; pkbctl notices lists them.
                   What tend finds out itself is noted for that process, if the link has
                   had notices before.
  Config.Identify  Authorizations that were not checked yet wait for your program. If it
                   has no Identify, -check purview checks them.

Give the settings of your program that decide what is due: -session-life, -keep-warm,
-first-warning and -last-warning. It needs the keys.

In a pipe it prints one JSON document: {"links", "events": {event: n}, "removed",
"notices"}: how many links were looked at, what happened to them by the events of package
observe, how many records were removed, and how many records wait with a notice.`,
	examples: []string{
		"pkbctl tend -once -db webapp.db -keys webapp.keys -session-life 2160h",
		"17 * * * *  pkbctl tend -once -keep-warm 168h     # in a crontab, with PKB_DB and PKB_KEYS_FILE",
	},
	define: func(fs *flag.FlagSet) func(context.Context, *call) error {
		o := &tending{}
		fs.BoolVar(&o.once, "once", false, "do what is due now, and end")
		fs.DurationVar(&o.warm, "keep-warm", 0, "refresh links that were not refreshed for this `time`, as Config.KeepWarm")
		fs.DurationVar(&o.first, "first-warning", 0, "the `time` before the end of a session of the first warning, as Config.FirstWarning")
		fs.DurationVar(&o.last, "last-warning", 0, "the `time` of the second, as Config.LastWarning")
		o.check.define(fs, checkUsage)
		return o.run
	},
}

// tending is tend's flags.
type tending struct {
	once              bool
	warm, first, last time.Duration
	check             checking
}

// tended is what tend prints.
type tended struct {
	Links   int                       `json:"links"`
	Events  map[observe.EventKind]int `json:"events"`
	Removed int                       `json:"removed"`
	Notices int                       `json:"notices"`
}

func (o *tending) run(ctx context.Context, c *call) error {
	if !o.once {
		return failed(exitUsage, "tend does one round: give -once (Client.Tend of your program goes on)")
	}
	keys, err := c.keys()
	if err != nil {
		return err
	}
	db, err := c.open()
	if err != nil {
		return err
	}
	defer db.close()
	from, err := c.issuer(ctx, db)
	if err != nil {
		return err
	}
	cfg, err := c.reaching(from, "the environment")
	if err != nil {
		return err
	}
	round := &round{database: db, done: tended{Events: map[observe.EventKind]int{}}, waiting: map[string]bool{}}
	cfg.Store, cfg.Keys, cfg.OnEvent = round, keys, round.event
	cfg.KeepWarm, cfg.FirstWarning, cfg.LastWarning = o.warm, o.first, o.last
	o.check.leave(&cfg)
	client, err := pkb.New(cfg)
	if err != nil {
		return &failure{exitUsage, err}
	}
	links, err := client.TendOnce(ctx)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), importClose)
	defer cancel()
	if closed := client.Close(closing); err == nil {
		err = closed
	}
	return c.tended(round.result(links), err)
}

// round is the store of one round, which counts what is done.
type round struct {
	*database

	mu      sync.Mutex
	done    tended
	waiting map[string]bool // whose record waits with a notice
	looked  int
}

// Due implements tokenstore.Scheduler.
func (r *round) Due(ctx context.Context, before time.Time, limit int) ([]tokenstore.Record, error) {
	due, err := r.database.Due(ctx, before, limit)
	r.waits(due)
	return due, err
}

// List implements tokenstore.Lister: behind very many notices what is due is found by
// looking at all records.
func (r *round) List(ctx context.Context, after string, limit int) ([]tokenstore.Record, error) {
	page, err := r.database.List(ctx, after, limit)
	r.waits(page)
	return page, err
}

// waits notes whose notices wait.
func (r *round) waits(records []tokenstore.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, record := range records {
		if len(pkb.NoticesOf(record)) > 0 {
			r.waiting[record.AppUserID] = true
		}
	}
}

// Delete implements tokenstore.Store.
func (r *round) Delete(ctx context.Context, appUserID string, version uint64) error {
	err := r.database.Delete(ctx, appUserID, version)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.done.Removed++
	}
	return err
}

// event counts an event of a link, and shows that the round goes on.
func (r *round) event(e observe.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done.Events[e.Kind]++
	r.looked++
	r.meter.draw(fmt.Sprintf("tending: %d events", r.looked))
}

func (r *round) result(links int) tended {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := r.done
	done.Links, done.Events, done.Notices = links, maps.Clone(r.done.Events), len(r.waiting)
	return done
}

// tended prints what was done; err is why the round has ended early.
func (c *call) tended(done tended, err error) error {
	c.meter.clear()
	if err != nil {
		return &unfinished{fmt.Sprintf("%s looked at; run it again for the rest", number(done.Links, "link")), err}
	}
	if !c.terminal {
		return c.document(done)
	}
	fmt.Fprintf(c.out, "%s looked at.\n", number(done.Links, "link"))
	if len(done.Events)+done.Removed > 0 {
		t := c.newTable(column{head: "WHAT"}, column{head: "TIMES", right: true})
		for _, kind := range slices.Sorted(maps.Keys(done.Events)) {
			t.add(cell{string(kind), kindStyles[kind]}, text(fmt.Sprint(done.Events[kind])))
		}
		if done.Removed > 0 {
			t.add(text("removed"), text(fmt.Sprint(done.Removed)))
		}
		t.flush()
	}
	if done.Notices > 0 {
		const told = "Notices of %s wait for a process that has Config.Notify and runs Client.Tend or TendOnce; pkbctl delivers none (%s)."
		fmt.Fprintln(c.out, wrap(fmt.Sprintf(told, number(done.Notices, "link"), c.toCopy("notices")), c.width(), 0))
	}
	return nil
}
