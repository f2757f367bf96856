// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"hash/fnv"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// When a sweep looks at a record. It is written into the record's TendAt by whoever
// writes the record, and only decides when somebody looks: what is done then is
// decided on what is found.
const (
	// routine is how often a record is looked at for which nothing is planned: a
	// process may have ended in the middle of a refresh, or a key been promoted.
	routine = 7 * 24 * time.Hour
	// undecidedFor is how long an authorization waits to be checked.
	undecidedFor = 7 * 24 * time.Hour
	// checkAfter is how soon a sweep checks a new session, and askAgain, how soon it
	// looks again at what it could not finish.
	checkAfter = time.Minute
	askAgain   = 15 * time.Minute
	// tellAgain is the first wait after the host has not accepted a notice. It
	// doubles, up to tellAgainMost.
	tellAgain     = time.Minute
	tellAgainMost = time.Hour
)

// soonest is the earliest of several times; zero if there is none.
type soonest struct{ at time.Time }

func (s *soonest) add(at time.Time) {
	if !at.IsZero() && (s.at.IsZero() || at.Before(s.at)) {
		s.at = at
	}
}

// schedule sets when a sweep next looks at o. A refresh leaves an earlier time as it
// is, so that it need not change the index: whoever comes too early finds nothing to
// do, and moves it.
func (k *Keeper) schedule(o, base *row, by core.EventKind) {
	now := k.now()
	o.details.TellAt = k.tellAt(o, base, now)
	next, was := k.plan(o, base, by, now), base.stored.TendAt
	switch {
	case isPlain(o, base, by, now) && !was.IsZero() && (next.IsZero() || was.Before(next)):
		next = was
	case by == core.Postpone && !next.After(now) && (k.Notify != nil || len(o.Notices) == 0):
		next = now.Add(askAgain + mathrand.N(askAgain/3))
	}
	if !next.IsZero() {
		next = next.UTC().Truncate(time.Microsecond)
	}
	o.stored.TendAt = next
}

// plan returns when there is next something to do for o; zero if never.
func (k *Keeper) plan(o, base *row, by core.EventKind, now time.Time) time.Time {
	var next soonest
	if o.Phase == core.Linked {
		k.planLink(&next, o, now)
	}
	next.add(o.routineAt(now))
	if !o.Candidate.ID.IsZero() || o.Phase == core.Linked && o.Public == "" {
		next.add(k.checkAt(o, base, by, now))
	}
	if len(o.Notices) > 0 {
		next.add(o.details.TellAt)
	}
	return next.at
}

// isPlain reports whether a write is of a refresh that has changed nothing else.
func isPlain(o, base *row, by core.EventKind, now time.Time) bool {
	// A refresh that was due is done, and that needs no write of its own.
	if by == core.Successor && !base.stored.TendAt.After(now) && o.Candidate.ID.IsZero() && o.Public != "" {
		return false
	}
	return by >= core.Acquire && by <= core.Reject && o.Phase == base.Phase && o.Noticed == base.Noticed && o.Candidate.ID == base.Candidate.ID
}

// planLink adds what is planned for a link that works.
func (k *Keeper) planLink(next *soonest, o *row, now time.Time) {
	a := o.secrets.Active
	p := k.read(a)
	if end := k.endOf(a, o.Active.Final); !end.IsZero() {
		warned := core.Warning(0)
		if o.Warned.Session == o.Active.ID.Session {
			warned = o.Warned.Level
		}
		switch {
		case o.Active.Final:
			next.add(end)
		case warned < core.Early:
			next.add(end.Add(-k.Warnings[0]))
		case warned < core.Late:
			next.add(end.Add(-k.Warnings[1]))
		case p.askedAt.Before(end):
			next.add(later(end, p.expiresAt)) // has it ended?
		}
	}
	switch {
	case o.Active.Final:
	case o.Active.Unread:
		next.add(p.expiresAt)
	case o.Active.Tried > 0 && o.Lease.Owner == "":
		next.add(later(p.expiresAt, now).Add(checkAfter << min(o.Active.Tried, 4)))
	case k.KeepWarm > 0:
		next.add(p.askedAt.Add(k.KeepWarm))
	}
}

// routineAt is when a record is looked at in any case: at times that only depend on
// the user and the session, so that no other write moves them.
func (o *row) routineAt(now time.Time) time.Time {
	a := o.secrets.Active
	if a == nil {
		a = o.secrets.Candidate
	}
	if a == nil {
		return o.stored.DueAt // a tombstone, or an authorization that was not completed
	}
	user := fnv.New32a()
	_, _ = user.Write([]byte(o.stored.AppUserID))
	first := a.LinkedAt.Add(time.Duration(user.Sum32()%86400) * time.Second)
	return first.Add((max(now.Sub(first), 0)/routine + 1) * routine)
}

// checkAt is when a sweep checks a session that is not checked.
func (k *Keeper) checkAt(o, base *row, by core.EventKind, now time.Time) time.Time {
	fresh := o.Candidate.ID.Session != base.Candidate.ID.Session || o.Active.ID.Session != base.Active.ID.Session
	switch was := base.stored.TendAt; {
	case fresh:
		return now.Add(checkAfter)
	case by != core.Postpone && was.After(now):
		return was
	}
	return now.Add(askAgain + mathrand.N(askAgain/3))
}

// tellAt is when the first notice is next delivered: at once, or after a wait if the
// host has not accepted it; after the patience that a claim has, if it is claimed.
func (k *Keeper) tellAt(o, base *row, now time.Time) time.Time {
	switch {
	case len(o.Notices) == 0:
		return time.Time{}
	case o.Telling == base.Telling && len(base.Notices) > 0 && o.Notices[0] == base.Notices[0]:
		return base.details.TellAt
	case o.Telling.Owner != "" && slices.ContainsFunc(o.Notices, func(n core.Notice) bool { return n.N == o.Telling.Notice }):
		return now.Add(leaseTTL + patience)
	case o.Notices[0].Tries == 0:
		return now
	}
	return now.Add(min(tellAgain<<min(o.Notices[0].Tries-1, 10), tellAgainMost))
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sweepFacts measures what a sweep needs to know of the record.
func (t *trip) sweepFacts(f *core.Facts, now time.Time) {
	k, r := t.k, &t.row
	if t.tending == nil {
		return
	}
	f.Full = t.tending.full()
	f.Owing = !r.stored.TendAt.IsZero() && !r.stored.TendAt.After(now)
	f.Old = (r.Phase == core.Unlinked || r.Phase == core.Pending) && !r.stored.DueAt.IsZero() && !now.Before(r.stored.DueAt)
	f.OldKey = k.Ring != nil && len(r.stored.Sealed) > 0 && r.stored.KeyID != k.Ring.KeyID()
	if a := t.vault.answers[r.Candidate.ID]; a != nil && !r.Candidate.ID.IsZero() {
		f.Undecided = now.Sub(a.LinkedAt) > undecidedFor
	}
	if a := t.vault.answers[r.Active.ID]; a != nil && !r.Active.ID.IsZero() {
		end := k.endOf(a, r.Active.Final)
		f.Idle = k.KeepWarm > 0 && now.Sub(a.AskedAt) >= k.KeepWarm
		f.Ended = !end.IsZero() && now.After(end) && a.AskedAt.Before(end)
	}
}
