// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"errors"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// tell releases the callers before the flight ends: the store does not accept the
// save, or has it and has not acknowledged it.
func (t *trip) tell(e core.Effect) {
	if e.Tell == core.Token && t.flight != nil {
		t.flight.tell(t.k.publish(t, e.Pair), nil)
		return
	}
	t.early(t.storeTrouble())
}

func (t *trip) storeTrouble() error {
	switch {
	case t.err == nil:
		return &StoreError{Op: "save", Err: errSlow}
	case t.saving:
		return &StoreError{Op: "save", Err: t.err, Unsaved: true}
	}
	return t.err
}

// errSlow: twice in a row so much time had passed since the lease was written that
// nothing could be sent under it.
var errSlow = errors.New("the store is too slow to hold a lease")

var waits = map[core.Result]string{
	core.LaterElsewhere: WaitElsewhere, core.LaterUncertain: WaitUncertain, core.LaterUnclear: WaitUnclear,
	core.LaterUnsent: WaitNotSent, core.LaterAppWide: WaitAppWide, core.LaterUnread: WaitUnread, core.LaterUnchecked: WaitVerify,
	core.LaterRejected: WaitRejected, core.LaterBehind: WaitRolledBack, core.LaterWary: WaitWary,
}

// result is what callers of a flight receive.
func (t *trip) result(e core.Effect) (Token, error) {
	k := t.k
	switch e.Result {
	case core.Token:
		l := t.e.live.Load()
		token := k.publish(t, e.Pair)
		if l != nil && l.Pair.Session == e.Pair.Session && l.Pair.Seq < e.Pair.Seq && t.program.Bought.IsZero() {
			k.emit(Event{Kind: Adopted, User: t.e.user})
		}
		return token, nil
	case core.Looked:
		return Token{}, t.unchecked()
	case core.NoLink:
		return Token{}, ErrNoLink
	case core.LostNow:
		return Token{}, &LostError{Cause: t.program.Rec.Cause}
	case core.StoreTrouble:
		return Token{}, t.storeTrouble()
	case core.LaterReplaced:
		return Token{}, ErrReplaced
	case core.LaterHeld:
		return Token{}, k.held(e.After)
	case core.LaterBehind:
		k.tellRolledBack(t.e.user)
	}
	return Token{}, t.waitError(waits[e.Result], e.After)
}

// unchecked returns why a session still waits to be checked, or nil.
func (t *trip) unchecked() error {
	if _, no := errors.AsType[*RefusedError](t.refused); t.refused == nil || no {
		return nil
	}
	return &UncheckedError{Err: t.refused}
}

// held returns why nothing is presented just now.
func (k *Keeper) held(after time.Duration) *WaitError {
	held := k.endpoint.heldBack(k.now())
	if held == nil { // it has just closed
		held = &WaitError{Reason: WaitAppWide}
	}
	held.RetryAfter = max(held.RetryAfter, after)
	return held
}

func (t *trip) waitError(reason string, after time.Duration) *WaitError {
	w := &WaitError{Reason: reason, RetryAfter: after}
	switch reason {
	case WaitVerify:
		w.Err = t.refused
	case WaitUncertain, WaitUnclear, WaitNotSent, WaitAppWide, WaitUnread:
		w.Status, w.Code, w.RetryAfter, w.Cause, w.Err = t.out.Status, t.out.Code, max(after, t.out.RetryAfter), t.out.Cause, t.out.Err
	}
	return w
}

// tellRolledBack reports that the store has gone back in time: once a minute,
// because it is about the store and each link detects it.
func (k *Keeper) tellRolledBack(user string) {
	now, last := k.clock.exact(), k.toldRolledBack.Load()
	if (last == 0 || now-last >= int64(time.Minute)) && k.toldRolledBack.CompareAndSwap(last, now) {
		k.emit(Event{Kind: StoreRolledBack, User: user})
	}
}
