// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/internal/tokenwire"
)

// beater renews a lease at a quarter of its life, one save at a time. Most requests end
// before the first beat.
type beater struct {
	trip  *trip // changes its row after the end only
	owner string

	mu    sync.Mutex
	row   *row // as last seen, from the first beat on; replaced, never changed
	timer *time.Timer
	ended bool
}

func (t *trip) beat() *beater {
	b := &beater{trip: t, owner: t.program.Owner}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timer = time.AfterFunc(leaseTTL/4, b.once)
	return b
}

func (b *beater) once() {
	base := b.begin()
	if base == nil || !b.renew(*base) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		b.timer.Reset(leaseTTL / 4)
	}
}

// begin returns the row to write the next beat into, or nil if the beats have ended.
func (b *beater) begin() *row {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return nil
	}
	if b.row == nil {
		first := b.trip.row
		b.row = &first
	}
	return b.row
}

// renew writes one beat. If the lease is gone because the store has gone back, it
// writes the lease again.
func (b *beater) renew(base row) bool {
	k, ctx := b.trip.k, b.trip.ctx
	next, verdict := k.policy.Apply(base.Record, core.Event{Kind: core.Beat, Owner: b.owner})
	if verdict != core.Write {
		return false
	}
	r, err := k.close(ctx, base.stored.AppUserID, base, next, base.vault, core.Beat, false)
	if err != nil {
		return true
	}
	stored, err := k.storeSave(ctx, r.stored)
	if err != nil {
		now, err := k.load(ctx, base.stored.AppUserID)
		if err != nil {
			return true
		}
		if now.Behind(base.Record) {
			now.vault.add(base.vault)
			now.Record = now.Merged(base.Record)
		}
		b.set(&now)
		return true
	}
	r.stored, r.Version = stored, stored.Version
	b.set(r)
	return true
}

func (b *beater) set(r *row) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.row = r
}

// end stops the beats, and returns the row as it was last seen, or nil if there was no
// beat. One that hangs in the store is not waited for: its late write meets
// compare-and-swap.
func (b *beater) end() *row {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.timer.Stop()
	return b.row
}

// post presents a refresh token, unless so much time has passed since the lease was
// confirmed that others may be about to take it.
func (t *trip) post(e core.Effect, closing bool) core.Input {
	k := t.k
	if e.Long {
		sleep(50*time.Millisecond, 150*time.Millisecond)
	}
	if closing || most(t.began, k.now()) > leaseTTL/2 {
		t.presented(false)
		return core.Input{Kind: core.Lapsed, Facts: t.facts()}
	}
	t.presented(true)
	was := t.vault.answers[e.Pair]
	token := k.read(was).grant.RefreshToken
	b := t.beat()
	asked := time.Unix(0, k.clock.exact())
	out, err := guard(k, t.ctx, k.PostTimeout+5*time.Second, "the token request", func(ctx context.Context) (tokenwire.Outcome, error) {
		return k.Refresh(ctx, token), nil
	})
	if err != nil {
		out = tokenwire.Outcome{Class: tokenwire.Ambiguous, Err: err}
	}
	t.out = out
	if r := b.end(); r != nil && r.Version != t.row.Version {
		t.row = *r
		t.vault.add(r.vault) // a pair that another writer has saved meanwhile
		k.keep(t.e, r)
	}
	if out.Class == tokenwire.NotSent {
		t.presented(false)
	}
	in := core.Input{Kind: core.Answered, Rec: t.row.Record, Outcome: outcomeOf(out), Cause: core.Cause(out.Cause), Facts: t.facts()}
	in.Evidence = k.endpoint.evidence(t.e.user, k.now())
	switch in.Outcome {
	case core.Rejected:
		if !k.foreseen(in.Cause) && refusedLately(t.row.details.Past) {
			in.Cause = core.OutcomeUnknown // what refused it may have swallowed the successor
		}
	case core.OK:
		in.Next = core.Pair{ID: core.PairID{Session: e.Pair.Session, Seq: e.Pair.Seq + 1}, Final: out.Grant.RefreshToken == ""}
		got := newAnswer(out, asked)
		got.LinkedAt = was.LinkedAt
		t.vault.answers[in.Next.ID] = got
	case core.Unread:
		t.vault.unread[e.Pair] = out.Body[:min(len(out.Body), maxAnswer)]
	}
	if out.Repeated {
		k.emit(Event{Kind: TransportRepeats, User: t.e.user, Status: out.Status})
	}
	return in
}

// presented records whether a token is presented under the flight's lease.
func (t *trip) presented(yes bool) {
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	t.k.remember(t.e).leases[t.program.Owner] = claim{sent: yes}
}

// leave records the outcome of a presentation in the endpoint's memory.
func (t *trip) leave(in core.Input) {
	k := t.k
	t.entered = false
	means := in.Meaning(in.Outcome)
	again := false
	if s := t.row.Slot(t.program.Pair); s != nil {
		again = s.Tried > 1
	}
	untried := !again && !k.foreseen(in.Cause)
	if k.endpoint.leave(t.e.user, k.now(), t.out, means, untried, again) {
		k.emit(Event{Kind: MassRejection, User: t.e.user, Status: t.out.Status, Code: t.out.Code})
	}
	if means == core.AppWide || means == core.Unclear && !in.Witnessed {
		k.emit(Event{Kind: AppTrouble, User: t.e.user, Status: t.out.Status, Code: t.out.Code})
	}
}

// foreseen reports whether a session can end for cause even if none of its tokens is
// ever presented twice.
func (k *Keeper) foreseen(cause core.Cause) bool { return slices.Contains(k.Foreseen, cause) }
