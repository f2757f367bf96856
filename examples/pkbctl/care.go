// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/tokenstore"
)

const (
	// untended is after how long nobody looks after a link that is due: a job that
	// tends every hour is later than that only if it has not run.
	untended = 3 * time.Hour
	// unheard is after how long a notice should have been delivered: a Notify that fails
	// is called again within the hour.
	unheard = 2 * time.Hour
)

// care is whether links are looked after, as their records show it.
type care struct {
	at time.Time
	// overdue counts the records that are due for something other than a notice for too
	// long, and since is when the first of them was due.
	overdue int
	since   time.Time
	// notices and links count those that wait, stale those that wait for too long, and
	// oldest is when the first of them happened. refused counts the links whose first
	// notice was refused, and tries, how often at most.
	notices, links, stale int
	oldest                time.Time
	refused, tries        int
}

// look takes a record into account.
func (c *care) look(r tokenstore.Record) {
	owed := pkb.NoticesOf(r)
	if len(owed) == 0 {
		if !r.TendAt.IsZero() && c.at.Sub(r.TendAt) > untended {
			c.overdue++
			c.since = earlier(c.since, r.TendAt)
		}
		return
	}
	c.links++
	c.notices += len(owed)
	first := owed[0]
	if first.Tries > 0 {
		c.refused++
		c.tries = max(c.tries, first.Tries)
	}
	if c.at.Sub(first.At) > unheard {
		c.stale++
		c.oldest = earlier(c.oldest, first.At)
	}
}

// earlier returns the earlier of two times; zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// judgeCare reports whether links are looked after, and notices accepted.
func (d *doctor) judgeCare(c care) {
	if c.overdue > 0 {
		d.add("tending", statusWarn, "run Client.Tend in a process of your program, or pkbctl tend -once in a job, every hour",
			"nobody looks after the links: %s, since %s", plural(c.overdue, "is overdue", "are overdue"), distance(c.since, c.at))
	}
	switch {
	case c.stale > 0 && c.refused > 0:
		d.add("tending", statusWarn, "repair what Config.Notify writes to; the log of the process that runs Client.Tend has its error (pkbctl notices)",
			"notices of %s are not delivered, the oldest from %s; Config.Notify has refused one up to %s", number(c.links, "link"), distance(c.oldest, c.at), times(c.tries))
	case c.stale > 0:
		d.add("tending", statusWarn, "run Client.Tend, or Client.TendOnce in a job, in a process that has Config.Notify; pkbctl tend delivers none (pkbctl notices)",
			"notices of %s are not delivered, the oldest from %s, and Config.Notify was never called", number(c.links, "link"), distance(c.oldest, c.at))
	case c.overdue == 0 && c.notices > 0:
		d.ok("tending", "nothing is overdue; notices of %s wait", number(c.links, "link"))
	case c.overdue == 0:
		d.ok("tending", "nothing is overdue")
	}
}

// plural is a number of something.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
