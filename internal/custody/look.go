// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"errors"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

func (t *trip) load() (core.Input, error) {
	t.pace()
	k := t.k
	stored, err := k.storeLoad(t.ctx, t.e.user)
	r := row{vault: newVault()}
	switch {
	case err == nil && stored.Version == t.row.Version:
		r = t.row // no version is used twice
	case err == nil:
		r, err = t.open(stored)
	}
	switch {
	case t.version != 0 && err != nil:
		return core.Input{}, err
	case t.version != 0 && stored.Version != t.version:
		return core.Input{}, ErrOvertaken // Reseal or Purge wanted the other version
	case errors.Is(err, ErrNoLink):
	case err != nil:
		return t.notLoaded(err)
	}
	if !t.program.Failing {
		t.fails = 0 // or the waits between failing saves would never grow
	}
	if t.job.version != 0 && t.job.version != stored.Version {
		t.batch.crossed.Store(true)
	}
	t.job.version = 0
	t.learnKept()
	t.row = r
	t.vault.add(r.vault)
	k.endpoint.saw(t.e.user, r.Record, k.now())
	return core.Input{Kind: core.Loaded, Rec: r.Record, Facts: t.facts()}, nil
}

// learnKept takes over what another trip of this process has saved since this one
// began, which the row may have lost. A trip that has saved something itself knows that.
func (t *trip) learnKept() {
	if t.saved {
		return
	}
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	if t.e.memory == nil {
		return
	}
	if kept := t.e.memory.row(t.k.now()); kept.Version != 0 && kept.Version != t.knows {
		t.takeOver(kept)
	}
}

// takeOver takes over what a row proves that this process has saved.
func (t *trip) takeOver(kept row) {
	t.kept, t.knows = kept.details.Notices, kept.Version
	t.vault.add(kept.vault)
	t.program.Learn(kept.Record)
}

// notLoaded is load for a record that cannot be read, or does not open.
func (t *trip) notLoaded(err error) (core.Input, error) {
	t.err = err
	t.fails++
	t.tellUnsaved(err)
	_, store := errors.AsType[*StoreError](err)
	if !store && t.program.Ev.Kind == 0 || t.program.Goal == core.Put && !store {
		return core.Input{}, err // nothing is written, nothing is sent
	}
	if errors.Is(err, tokenstore.ErrClosed) {
		return core.Input{}, t.giveUp(err)
	}
	return core.Input{Kind: core.StoreFailed}, nil
}

// open opens a record. A blind trip gets the columns of a record that does not open.
func (t *trip) open(stored tokenstore.Record) (row, error) {
	r, err := t.k.open(t.ctx, stored)
	if err == nil || !t.blind || errors.Is(err, ErrNewer) {
		return r, err
	}
	r = row{Record: core.Record{Version: stored.Version, Phase: phases[stored.State], Generation: stored.Generation}, stored: stored, vault: newVault()}
	r.details = remembered(stored)
	r.Unlinks = r.details.Unlinks
	for _, m := range r.details.Marks {
		r.Marks = append(r.Marks, core.Mark{Session: m.Session, By: m.By, State: m.State})
	}
	if id, ok := core.ParsePairID(stored.Pair); ok {
		r.Active.ID = id
	}
	if id, ok := core.ParsePairID(stored.Candidate); ok {
		r.Candidate.ID = id
	}
	return r, nil
}

// giveUp ends a trip whose store was closed: nothing can be saved any more.
func (t *trip) giveUp(err error) error {
	if t.saving {
		t.k.emit(Event{Kind: SaveFailed, User: t.e.user, Err: err})
	}
	return err
}

// facts measures what the core needs to know for one look at the record.
func (t *trip) facts() core.Facts {
	k, r := t.k, &t.row
	now, e := k.now(), k.clock.exact()
	f := core.Facts{
		ActiveOver: t.over(r.Active.ID, e), CandidateOver: t.over(r.Candidate.ID, e),
		Wary: k.outage.wary(e),
	}
	if !t.lookedAt.IsZero() {
		f.Since = least(t.lookedAt, now)
	}
	if t.looked {
		f.Here = f.Since
	}
	t.looked = true
	t.lookedAt = now
	if p := k.read(t.vault.answers[r.Active.ID]); !r.Active.ID.IsZero() {
		f.Due = e >= k.serveUntil(p, t.seenAt(r.Active.ID))+int64(k.margin(p))-int64(float64(p.expiresAt.Sub(p.askedAt))*earliest)
		f.Forgiven = k.Forgive > 0 && r.Active.Tried == 1 && !t.began.IsZero() && most(t.began, now) < k.Forgive
	}
	t.sweepFacts(&f, now)
	f.Ends = k.nears(k.endOf(t.vault.answers[r.Active.ID], r.Active.Final), now)
	f.Stale = !r.stored.Lease.TakenAt.IsZero() && now.Sub(r.stored.Lease.TakenAt) > staleLease
	f.ParsedFrom, f.Parsed = t.parsed()
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	m := t.e.memory
	if m == nil {
		return f
	}
	lease := m.leases[r.Lease.Owner] // of a flight that still runs, it is as good as another process's
	f.Ours, f.Unsent = lease.over, lease.over && !lease.sent
	f.Lagging = m.kept != nil && most(m.keptAt, now) < lagFor
	f.Tired = e < m.tiredUntil
	f.Replaced = !m.replacedAt.IsZero() && most(m.replacedAt, now) < replaceEvery
	return f
}

// replaceEvery is how often a rejected token is worth a refresh: a server that
// rejects every token would otherwise issue one with each call.
const replaceEvery = time.Minute

// over reports whether a pair's access token has expired.
func (t *trip) over(id core.PairID, now int64) bool {
	p := t.k.read(t.vault.answers[id])
	return p.grant.AccessToken == "" || now >= t.k.serveUntil(p, t.seenAt(id))
}

// seenAt is when this process first saw a pair, as far as it remembers.
func (t *trip) seenAt(id core.PairID) int64 {
	if l := t.e.live.Load(); l != nil && l.Pair == id {
		return l.seenAt
	}
	return t.k.clock.exact()
}

// parsed returns the successor in a kept response that could not be read before.
func (t *trip) parsed() (from core.PairID, next core.Pair) {
	for id, body := range t.row.vault.unread {
		g, err := tokenwire.Parse(body)
		if err != nil {
			continue
		}
		was := t.vault.answers[id]
		next = core.Pair{ID: core.PairID{Session: id.Session, Seq: id.Seq + 1}, Final: g.RefreshToken == ""}
		t.vault.answers[next.ID] = &answer{Body: body, AskedAt: was.AskedAt, LinkedAt: was.LinkedAt, grant: &g}
		return id, next
	}
	return core.PairID{}, core.Pair{}
}
