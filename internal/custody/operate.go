// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"errors"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/tokenstore"
)

// keepRemains is how long a record without tokens stays: longer than any
// authorization that began before it lost them, with clocks that differ.
const keepRemains = 48 * time.Hour

// putFor bounds how long a single event is retried after its caller has left.
const putFor = time.Minute

// put records one event, and continues for a minute when ctx ends.
func (k *Keeper) put(ctx context.Context, user string, ev core.Event, change ...func(*trip)) (core.Result, error) {
	if err := k.overrun(); err != nil {
		return 0, err
	}
	if !k.work.begin() {
		return 0, ErrClosed
	}
	type result struct {
		core.Result
		err error
	}
	done := make(chan result, 2)
	t := k.visit(ctx, user, core.Flight{Goal: core.Put, Ev: ev})
	t.deadline = k.now().Add(putFor)
	for _, f := range change {
		f(t)
	}
	t.early = func(err error) { done <- result{0, err} }
	go func() {
		defer k.work.end()
		end, err := t.run()
		if err == nil && end.Result == core.StoreTrouble {
			err = t.storeTrouble()
		}
		k.left(t.e)
		done <- result{end.Result, err} // the second one is never read
	}()
	select {
	case r := <-done:
		return r.Result, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Lose records that an API call found the session of a token ended, if it is still
// the link's. It waits for the store no longer than ctx, and not for one that fails;
// the work continues.
func (k *Keeper) Lose(ctx context.Context, user string, token Token, cause Cause) error {
	r, err := k.put(ctx, user, core.Event{Kind: core.Lose, Pair: token.Pair, Cause: cause})
	if err == nil && r != 0 {
		k.forget(user) // whether by this, or because another process has moved the link on
	}
	return err
}

// Unlink deletes a user's tokens and leaves a tombstone, which keeps a refresh or an
// authorization under way from bringing the link back. ErrNoLink means that there
// was no link. The tombstone is written all the same, since an unlink must not be
// lost on a store that lags.
func (k *Keeper) Unlink(ctx context.Context, user string) error {
	was, err := k.peek(ctx, user)
	if err != nil && !errors.Is(err, ErrNoLink) {
		return err
	}
	r, failed := k.put(ctx, user, core.Event{Kind: core.Unlink}, func(t *trip) { t.blind = true })
	if failed != nil {
		return failed
	}
	k.forget(user)
	if r == core.Unneeded || err != nil || was.State == tokenstore.StateUnlinked {
		return ErrNoLink
	}
	return nil
}

// Discard gives up a kept response that may hold the successor of a user's pair and
// cannot be read: an operator's act. ErrNoLink means that there is none.
func (k *Keeper) Discard(ctx context.Context, user string) error {
	r, err := k.view(ctx, user)
	if err != nil {
		return err
	}
	for id := range r.vault.unread {
		if _, err := k.put(ctx, user, core.Event{Kind: core.Discard, Pair: id}); err != nil {
			return err
		}
		k.forget(user)
		return nil
	}
	return ErrNoLink
}

// Answers returns why the store cannot load a record, or nil. Whether the user has a
// record does not matter.
func (k *Keeper) Answers(ctx context.Context, user string) error {
	if _, err := k.storeLoad(ctx, user); !errors.Is(err, ErrNoLink) {
		return err
	}
	return nil
}

// Look returns a user's record for operators, or ErrNoLink. A record whose parts
// differ is not returned.
func (k *Keeper) Look(ctx context.Context, user string) (Shown, error) {
	r, err := k.view(ctx, user)
	switch {
	case err != nil:
		return Shown{}, err
	case !IsLink(r.stored):
		return shown(r.stored, r.details), ErrNoLink
	}
	link := shown(r.stored, r.details)
	link.State, link.Cause = stateOf(r.Record), string(r.Cause)
	k.opened(user, r.Record)
	return link, nil
}

// Holds reports whether a record's link was made by an authorization, and whether
// that authorization waits in it to be checked.
func Holds(r tokenstore.Record, session string) (link, waits bool) {
	of := func(pair string) bool {
		id, ok := core.ParsePairID(pair)
		return ok && session != "" && id.Session == session
	}
	return of(r.Pair), of(r.Candidate)
}

// Shown is a record with what its details add, for operators and hosts.
type Shown struct {
	tokenstore.Record
	// Unlinks is how often the user was unlinked.
	Unlinks uint64
	// Refusals is how often the link was refused with an unrecognized error.
	Refusals int
	// Unread reports whether a response is kept that cannot be read.
	Unread bool
}

// Show decodes the details of a record that was not opened.
func Show(r tokenstore.Record) Shown { return shown(r, remembered(r)) }

func shown(r tokenstore.Record, d details) Shown {
	if r.Pair == "" && r.Candidate != "" { // its tokens are the only ones
		r.Tried, d.Unclear = d.Tried, d.Waiting
	}
	return Shown{Record: r, Unlinks: d.Unlinks, Refusals: d.Unclear, Unread: d.Unread || d.Held}
}

// Past returns the kept past of a user's link, oldest first, even of one that was
// unlinked or refused a while ago, or ErrNoLink.
func (k *Keeper) Past(ctx context.Context, user string) ([]Happened, error) {
	r, err := k.peek(ctx, user)
	switch {
	case err != nil:
		return nil, err
	case r.Environment != k.Environment || r.ClientID != k.ClientID:
		return nil, ErrForeign
	}
	return remembered(r).Past, nil
}

// IsLink reports whether a record is a link, working or not, or a session that waits
// to be checked where there is no link.
func IsLink(r tokenstore.Record) bool {
	switch r.State {
	case tokenstore.StateLinked, tokenstore.StateUncertain, tokenstore.StateRelinkRequired:
		return true
	}
	return r.State == tokenstore.StatePending && r.Candidate != ""
}

// Reseal seals the tokens of a user's record with the current key, and reports
// whether that was due. It disturbs nothing else that happens to the record.
func (k *Keeper) Reseal(ctx context.Context, user string) (done bool, err error) {
	r, err := k.view(ctx, user)
	if errors.Is(err, ErrNoLink) {
		return false, nil // it was deleted meanwhile
	}
	if err != nil || len(r.stored.Sealed) == 0 || r.stored.KeyID == k.Ring.KeyID() {
		return false, err
	}
	verdict, err := k.put(ctx, user, core.Event{Kind: core.Reseal}, func(t *trip) { t.anew = true })
	return verdict == core.Recorded, err
}

// Purge removes a record that has no tokens and will get none: a tombstone, or an
// authorization that was never finished and has expired.
func (k *Keeper) Purge(ctx context.Context, r tokenstore.Record) (done bool, err error) {
	old := !r.DueAt.IsZero() && !k.now().Before(r.DueAt)
	if r.State != tokenstore.StateUnlinked && r.State != tokenstore.StatePending || len(r.Sealed) > 0 || !old {
		return false, nil
	}
	verdict, err := k.put(ctx, r.AppUserID, core.Event{Kind: core.Forget, Old: old}, func(t *trip) { t.version = r.Version })
	if errors.Is(err, ErrOvertaken) || errors.Is(err, ErrNoLink) {
		err = nil
	}
	return verdict == core.Recorded, err
}
