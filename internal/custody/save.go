// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/tokenstore"
)

// save writes the record, unless another writer was faster.
func (t *trip) save(next core.Record) core.Input {
	k, began := t.k, t.k.now()
	w := t.transition(next)
	base := t.row
	base.details.Past = past(base.details.Past, w.events, began)
	base.details.Notices = t.recalled(base.details.Notices)
	if t.program.Ev.Kind == core.ClaimNotice {
		t.began = began
	}
	if t.program.Ev.Kind == core.Acquire {
		t.wants(t.program.Owner)
		t.began = began
	}
	r, err := k.close(t.ctx, t.e.user, base, next, t.vault, t.program.Ev.Kind, t.anew || t.program.Ev.Kind == core.Reseal)
	if err == nil {
		var stored tokenstore.Record
		if stored, err = k.storeSave(t.ctx, r.stored); err == nil {
			r.stored, r.Version = stored, stored.Version
			t.row, t.kept, t.saved, t.fails, t.clashes = *r, r.details.Notices, true, 0, 0
			k.keep(t.e, r)
			if next.Noticed > base.Noticed && t.tending == nil {
				k.tender.nudge(t.e.user)
			}
			return core.Input{Kind: core.Saved, Rec: r.Record, Facts: t.facts()}
		}
	}
	if isConflict(err) {
		t.clashes++
		t.fails = 0 // the store is well: who waits for long now meets the next beat
		return core.Input{Kind: core.Conflict}
	}
	t.failed(err)
	return core.Input{Kind: core.StoreFailed}
}

// failed records a save whose outcome is unknown.
func (t *trip) failed(err error) {
	t.err = err
	t.fails++
	kind := t.program.Ev.Kind
	if kind != core.Successor && kind != core.Settle {
		return
	}
	if !t.saving {
		t.saving, t.toldFailed = true, false
		t.k.unsaved.add(t)
		t.began = t.k.now()
	}
	t.tellUnsaved(err)
}

// tellUnsaved reports to operators that the store still does not accept a response,
// and once that it has not for long. A store that fails to load the record does not
// accept it either.
func (t *trip) tellUnsaved(err error) {
	if !t.saving {
		return
	}
	told := SaveRetried
	if !t.toldFailed && most(t.began, t.k.now()) >= saveFailedAfter {
		t.toldFailed, told = true, SaveFailed
	}
	t.k.emit(Event{Kind: told, User: t.e.user, Err: err})
}

// saveFailedAfter is how long a store may refuse a response before SaveFailed is
// emitted.
const saveFailedAfter = time.Minute

func (t *trip) remove(rec core.Record) core.Input {
	_, err := guard(t.k, t.ctx, t.k.StoreTimeout, "the store", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, t.k.Store.Delete(ctx, t.e.user, rec.Version)
	})
	switch {
	case err == nil || errors.Is(err, tokenstore.ErrNotFound):
		return core.Input{Kind: core.Saved}
	case isConflict(err):
		return core.Input{Kind: core.Conflict}
	}
	t.err = storeError("delete", err)
	t.fails++
	return core.Input{Kind: core.StoreFailed}
}

// confirm emits the events of a write, once it is known to be in the record.
func (t *trip) confirm(in core.Input) {
	w := &t.wrote
	landed := in.Kind == core.Saved
	if w.pending() && in.Kind == core.Loaded {
		same := in.Rec
		same.Version = w.next.Version
		landed = same.Equal(&w.next)
	}
	if !landed || !w.pending() {
		return
	}
	if in.Kind == core.Loaded && (w.event.Kind == core.Successor || w.event.Kind == core.Settle) {
		return // not before it is acknowledged
	}
	if t.saving {
		t.saving = false
		t.k.unsaved.remove(t)
	}
	for _, e := range w.events {
		t.k.emit(e)
	}
	t.learn(w)
	*w = written{}
}

// learn updates memory with what a write means for this process.
func (t *trip) learn(w *written) {
	k, e := t.k, t.e
	if w.next.Phase == core.Relink && w.event.Kind == core.Refused {
		k.endpoint.settle(e.user)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.live.Load(); l != nil && (w.next.Phase != core.Linked || w.next.Active.ID.Session != l.Pair.Session) {
		e.epoch++ // for other flights, not for this one
		t.epoch = e.epoch
		e.live.Store(nil)
	}
	if w.event.Kind == core.Successor && t.rejected == w.event.Pair && !t.rejected.IsZero() {
		k.remember(e).replacedAt = k.now()
	}
	if m := e.memory; m != nil && w.next.Lease.Owner == "" {
		delete(m.leases, w.event.Owner)
	}
}

// wants records that a lease may be in the record from now on.
func (t *trip) wants(owner string) {
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	m := t.k.remember(t.e)
	if len(m.leases) > 8 {
		maps.DeleteFunc(m.leases, func(_ string, c claim) bool { return c.over }) // others may take them by now
	}
	if _, ok := m.leases[owner]; !ok {
		m.leases[owner] = claim{}
		t.wanted = append(t.wanted, owner)
	}
}
