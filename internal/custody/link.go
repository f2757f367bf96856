// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// maxUsed bounds the approvals a record remembers as used.
const maxUsed = 32

// Reserve notes that the approval called mark is being completed, so that it
// can be completed once, by one process, until it would have expired anyway.
// It comes before the code is sent: it also shows that the store can be
// written to.
func (k *Keeper) Reserve(ctx context.Context, user, mark string, until time.Time) error {
	for {
		r, err := k.load(ctx, user)
		switch {
		case errors.Is(err, ErrNoLink):
			r = row{Record: tokenstore.Record{AppUserID: user, State: tokenstore.StatePending}}
		case err != nil:
			return err
		case r.State == tokenstore.StateUnlinked:
			r.State = tokenstore.StatePending
		}
		now := k.Now()
		var keep []used
		for _, u := range r.details.Used {
			if u.Mark == mark {
				return ErrUsed
			}
			if now.Before(u.Until) {
				keep = append(keep, u)
			}
		}
		if len(keep) >= maxUsed {
			keep = keep[1:]
		}
		if r.State == tokenstore.StatePending {
			r.DueAt = until.Add(keepRemains)
		}
		r.details.Used = append(keep, used{Mark: mark, Until: until.UTC().Truncate(time.Second)})
		r.note(Approved, now, "")
		if _, err = k.save(ctx, r); err == nil {
			k.emit(Event{Kind: Approved, User: user})
			return nil
		}
		if !isConflict(err) || ctx.Err() != nil {
			return err
		}
		k.breathe(ctx)
	}
}

// Settle saves the first pair of an approval, which was asked for at asked.
// Where a link works that must not suffer, the pair is kept beside the one in
// use until Admit has let it pass. A record that was unlinked since Reserve
// stays unlinked: ErrNoLink.
func (k *Keeper) Settle(ctx context.Context, user string, asked time.Time, out tokenwire.Outcome, terms Terms) error {
	// The code is spent: save even when the caller has gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.SaveTimeout)
	defer cancel()
	got := newAnswer(out.Body, out.Grant, asked)
	got.Terms = terms
	for try := 0; ; try++ {
		r, err := k.load(ctx, user)
		if err == nil && r.State == tokenstore.StateUnlinked {
			err = ErrNoLink
		}
		if err == nil {
			if r.belongs() || k.VerifyFirst && IsLink(r.Record) && !r.secrets.Unverified {
				r.secrets.Spare = got
			} else {
				k.begin(&r, got)
				r.PublicID = ""
				r.secrets.Claim, r.secrets.Unverified = false, k.VerifyFirst
			}
			r.note(Exchanged, k.Now(), "")
			_, err = k.save(ctx, r)
		}
		if err == nil {
			k.forget(user)
			k.emit(Event{Kind: Exchanged, User: user})
			return nil
		}
		if errors.Is(err, ErrNoLink) || errors.Is(err, ErrForeign) {
			return err
		}
		if k.pause(ctx, 20*time.Millisecond<<min(try, 6), 40*time.Millisecond<<min(try, 6)) != nil {
			return err
		}
	}
}

// begin makes the first pair of an approval the pair in use.
func (k *Keeper) begin(r *row, a *answer) {
	r.secrets.Spare = nil
	k.setMain(r, a)
	r.LinkedAt, r.details.EndsTold = a.AskedAt, false
}

// belongs reports whether the link's patient is fixed.
func (r *row) belongs() bool { return r.PublicID != "" && !r.secrets.Claim }

// Release forgets a reservation: the code was not spent, and the same callback
// may come again.
func (k *Keeper) Release(ctx context.Context, user, mark string) error {
	return k.amend(ctx, user, func(r *row) error {
		r.details.Used = slices.DeleteFunc(r.details.Used, func(u used) bool { return u.Mark == mark })
		return nil
	})
}

// Admit finds out whose the pair of accessToken is, which Settle saved, and
// lets it into use or refuses it. Refused, it is dropped, and the link is as it
// was before the approval: *RefusedError, ErrOtherPatient or *SharedError. If
// it cannot be found out, the error is an *UncheckedError. If the pair has been
// replaced meanwhile, nothing happens.
func (k *Keeper) Admit(ctx context.Context, user, accessToken string) error {
	r, err := k.patiently(ctx, user)
	if err != nil {
		return err
	}
	if r.answer(k, accessToken) == nil {
		return nil
	}
	candidate := Candidate{User: user, AccessToken: accessToken}
	if r.belongs() {
		candidate.PublicID = r.PublicID
	}
	publicID, err := k.Verify(ctx, candidate)
	switch {
	case err == nil:
		return k.confirm(ctx, user, accessToken, publicID)
	case isRefused(err):
		if failed := k.refuse(ctx, user, accessToken, Refused); failed != nil {
			return failed
		}
		k.emit(Event{Kind: Refused, User: user})
		return err
	}
	if failed := k.leave(ctx, user, accessToken); failed != nil {
		return failed
	}
	return &UncheckedError{Err: err}
}

func isRefused(err error) bool {
	_, refused := errors.AsType[*RefusedError](err)
	return refused
}

// patiently reads a record that may be read; it waits for a store that fails.
func (k *Keeper) patiently(ctx context.Context, user string) (found row, err error) {
	err = k.amend(ctx, user, func(r *row) error {
		found = *r
		return errSuperseded
	})
	return found, err
}

// answer returns the pair of accessToken, or nil.
func (r *row) answer(k *Keeper, accessToken string) *answer {
	for _, a := range []*answer{r.secrets.Spare, r.secrets.Main} {
		if k.holds(a, accessToken) {
			return a
		}
	}
	return nil
}

// confirm lets the pair of accessToken into use as publicID's.
//
// Where the store can tell who else is linked to a patient, a first link is
// written in two steps: first for others to see, then, when nobody else is
// seen, to be used. So of two users who link one record at the same time at
// least one sees the other.
func (k *Keeper) confirm(ctx context.Context, user, accessToken, publicID string) error {
	r, err := k.patiently(ctx, user)
	if err != nil {
		return err
	}
	a := r.answer(k, accessToken)
	if a == nil {
		return nil
	}
	if r.belongs() && r.PublicID != publicID && !a.Terms.Switch {
		return k.refused(ctx, user, accessToken, OtherPatient, ErrOtherPatient)
	}
	look := (!r.belongs() || r.PublicID != publicID) && !a.Terms.Share && k.canLook()
	if look {
		if err := k.alone(ctx, user, publicID); err != nil {
			return k.refused(ctx, user, accessToken, Shared, err)
		}
	}

	claimed := false
	err = k.amend(ctx, user, func(r *row) error {
		a := r.answer(k, accessToken)
		if a == nil || r.belongs() && r.PublicID != publicID && !a.Terms.Switch {
			return errSuperseded
		}
		claimed = look && a == r.secrets.Main && !r.belongs()
		if claimed {
			r.PublicID, r.secrets.Claim, r.secrets.Unverified = publicID, true, true
			return nil
		}
		k.use(r, a, publicID)
		return nil
	})
	if err != nil {
		return err
	}
	if look {
		if err := k.alone(ctx, user, publicID); err != nil {
			return k.refused(ctx, user, accessToken, Shared, err)
		}
	}
	if claimed {
		err = k.amend(ctx, user, func(r *row) error {
			a := r.answer(k, accessToken)
			if a == nil || r.PublicID != publicID {
				return errSuperseded
			}
			k.use(r, a, publicID)
			return nil
		})
	}
	if err == nil {
		k.emit(Event{Kind: Linked, User: user})
	}
	return err
}

// use makes a the pair in use, as publicID's.
func (k *Keeper) use(r *row, a *answer, publicID string) {
	if a == r.secrets.Spare {
		k.begin(r, a)
	}
	a.Terms = Terms{} // they were this approval's, and are used up
	r.PublicID, r.secrets.Claim, r.secrets.Unverified = publicID, false, false
	r.note(Linked, k.Now(), "")
}

// canLook reports whether the store can tell who is linked to a patient.
func (k *Keeper) canLook() bool {
	_, ok := k.Store.(tokenstore.Finder)
	return ok
}

// enough is how many others are named who are linked to one patient.
const enough = 10

// alone returns a *SharedError if another user is linked to a patient.
func (k *Keeper) alone(ctx context.Context, user, publicID string) error {
	finder, ok := k.Store.(tokenstore.Finder)
	if !ok {
		return nil
	}
	found, err := finder.FindPublicID(ctx, publicID, enough)
	if err != nil {
		return &StoreError{Op: "find", Err: err}
	}
	var others []string
	for _, r := range found {
		if r.AppUserID != user && IsLink(r) && r.Environment == k.Environment && r.ClientID == k.ClientID {
			others = append(others, r.AppUserID)
		}
	}
	if len(others) > 0 {
		return &SharedError{Users: others}
	}
	return nil
}

// refused drops the pair of accessToken and returns why. A store that failed to
// tell is no reason to drop anything.
func (k *Keeper) refused(ctx context.Context, user, accessToken string, kind Kind, why error) error {
	if failed, ok := errors.AsType[*StoreError](why); ok {
		return failed
	}
	if err := k.refuse(ctx, user, accessToken, kind); err != nil {
		return err
	}
	k.emit(Event{Kind: kind, User: user})
	return why
}

// refuse drops the pair of accessToken. A link that is in use beside it stays
// as it is, one that had ended stays ended, and where there was none, there is
// none.
func (k *Keeper) refuse(ctx context.Context, user, accessToken string, why Kind) error {
	lost := false
	err := k.amend(ctx, user, func(r *row) error {
		lost = false
		r.note(why, k.Now(), "")
		switch r.answer(k, accessToken) {
		case nil:
			return errSuperseded
		case r.secrets.Spare:
			r.secrets.Spare = nil
			return nil
		}
		belongs := r.belongs()
		r.secrets = secrets{Spare: r.secrets.Spare}
		if belongs {
			k.markLost(r, WrongPatient)
			lost = r.State == tokenstore.StateRelinkRequired
			return nil
		}
		r.PublicID = ""
		r.State, r.Cause, r.Intent = tokenstore.StatePending, "", tokenstore.Intent{}
		r.ExpiresAt, r.EndsAt, r.LinkedAt, r.RefreshedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		r.DueAt = k.Now().Add(keepRemains)
		return nil
	})
	if err == nil && lost {
		k.emit(Event{Kind: RelinkRequired, User: user, Cause: WrongPatient})
	}
	return err
}

// Fix fixes the patient of a link that has none yet, if it is still the link
// that was made at linkedAt: what Admit could not find out.
func (k *Keeper) Fix(ctx context.Context, user string, linkedAt time.Time, publicID string) error {
	r, err := k.patiently(ctx, user)
	switch {
	case err != nil:
		return err
	case !r.LinkedAt.Equal(linkedAt) || r.secrets.Main == nil:
		return nil
	case r.belongs() && r.PublicID != publicID:
		return ErrOtherPatient
	case r.belongs():
		return nil // nothing is written without a change: a write drops the token in memory
	}
	if !r.secrets.Main.Terms.Share {
		if err := k.alone(ctx, user, publicID); err != nil {
			return k.end(ctx, user, r, err)
		}
	}
	return k.confirm(ctx, user, k.read(r.secrets.Main).grant.AccessToken, publicID)
}

// end ends a link that has been in use, because its patient turned out to be
// another user's too. No tokens are deleted: it may be the other one that is
// wrong.
func (k *Keeper) end(ctx context.Context, user string, seen row, why error) error {
	if failed, ok := errors.AsType[*StoreError](why); ok {
		return failed
	}
	err := k.amend(ctx, user, func(r *row) error {
		if !r.LinkedAt.Equal(seen.LinkedAt) || r.State == tokenstore.StateRelinkRequired {
			return errSuperseded
		}
		r.note(Shared, k.Now(), "")
		k.markLost(r, WrongPatient)
		return nil
	})
	if err != nil {
		return err
	}
	k.emit(Event{Kind: Shared, User: user})
	k.emit(Event{Kind: RelinkRequired, User: user, Cause: WrongPatient})
	return why
}

func (k *Keeper) holds(a *answer, accessToken string) bool {
	return a != nil && k.read(a).grant.AccessToken == accessToken
}

// leave says that it could not be found out whose pair Settle saved. A link
// that works goes on as it is, with the new pair in reserve; one that does not
// takes the new pair, which is verified before anybody gets it.
func (k *Keeper) leave(ctx context.Context, user, accessToken string) error {
	linked := false
	err := k.amend(ctx, user, func(r *row) error {
		linked = false
		switch {
		case k.holds(r.secrets.Spare, accessToken) && r.State == tokenstore.StateRelinkRequired:
			k.promoteUnverified(r)
			return nil
		case k.holds(r.secrets.Main, accessToken) && !r.secrets.Unverified:
			linked = true
			r.note(Linked, k.Now(), "")
			return nil
		}
		return errSuperseded
	})
	if err == nil && linked {
		k.emit(Event{Kind: Linked, User: user})
	}
	return err
}

// Lose marks the link as lost, if accessToken is still its token: for what an
// API call learns about the session.
func (k *Keeper) Lose(ctx context.Context, user, accessToken string, cause Cause) error {
	lost := false
	err := k.amend(ctx, user, func(r *row) error {
		lost = false
		if r.State != tokenstore.StateLinked && r.State != tokenstore.StateUncertain || !k.holds(r.secrets.Main, accessToken) {
			return errSuperseded
		}
		k.markLost(r, cause)
		if r.State == tokenstore.StateRelinkRequired {
			lost = true
		}
		return nil
	})
	switch {
	case err == nil && lost:
		k.emit(Event{Kind: RelinkRequired, User: user, Cause: cause})
	case err == nil:
		k.forget(user) // another process has moved the link on
	}
	return err
}

// amend changes a record, again and again until nobody interferes. What change
// did is saved even when it returns an error of its own; except errSuperseded,
// which means that there is nothing to change any more.
func (k *Keeper) amend(ctx context.Context, user string, change func(*row) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.SaveTimeout)
	defer cancel()
	for try := 0; ; try++ {
		r, err := k.load(ctx, user)
		if err == nil && r.State == tokenstore.StateUnlinked {
			err = ErrNoLink
		}
		var sealed *SealError
		if errors.Is(err, ErrNoLink) || errors.Is(err, ErrForeign) || errors.As(err, &sealed) {
			return err
		}
		if err == nil {
			verdict := change(&r)
			if errors.Is(verdict, errSuperseded) {
				return nil
			}
			if _, err = k.save(ctx, r); err == nil {
				k.forget(user)
				return verdict
			}
		}
		if k.pause(ctx, 20*time.Millisecond<<min(try, 6), 40*time.Millisecond<<min(try, 6)) != nil {
			return err
		}
	}
}

// Unlink deletes a user's tokens and leaves a tombstone, which keeps a refresh
// or an approval that is under way from bringing the link back. It works on
// records of any environment and with any key, since it sends and opens
// nothing.
func (k *Keeper) Unlink(ctx context.Context, user string) error {
	for {
		r, err := k.Store.Load(ctx, user)
		if err != nil {
			return storeError("load", err)
		}
		if r.State == tokenstore.StateUnlinked {
			return ErrNoLink
		}
		tombstone := tokenstore.Record{
			AppUserID: user, Version: r.Version,
			Environment: k.Environment, ClientID: k.ClientID,
			State: tokenstore.StateUnlinked, Generation: r.Generation + 1,
			DueAt: k.Now().Add(keepRemains),
			Lease: tokenstore.Lease{Fence: r.Lease.Fence + 1},
		}
		old := row{Record: tombstone, details: remembered(r)}
		old.note(Unlinked, k.Now(), "")
		old.details.Unverified = false
		if b, err := json.Marshal(old.details); err == nil { // it always is
			tombstone.Details = b
		}
		_, err = k.Store.Save(ctx, tombstone)
		if err == nil {
			k.forget(user)
			k.emit(Event{Kind: Unlinked, User: user})
			return nil
		}
		if err = storeError("save", err); !isConflict(err) || ctx.Err() != nil {
			return err
		}
		k.breathe(ctx)
	}
}

// Look returns a user's record as operators may see it; ErrNoLink for one
// without a link.
func (k *Keeper) Look(ctx context.Context, user string) (tokenstore.Record, error) {
	r, err := k.Store.Load(ctx, user)
	switch {
	case err != nil:
		return tokenstore.Record{}, storeError("load", err)
	case !IsLink(r):
		return tokenstore.Record{}, ErrNoLink
	case r.Environment != k.Environment || r.ClientID != k.ClientID:
		return tokenstore.Record{}, ErrForeign
	}
	return r, nil
}

// Past returns what is kept of the past of a user's link, oldest first, be it
// one that was unlinked or refused a while ago; ErrNoLink without any.
func (k *Keeper) Past(ctx context.Context, user string) ([]Happened, error) {
	r, err := k.Store.Load(ctx, user)
	switch {
	case err != nil:
		return nil, storeError("load", err)
	case r.Environment != k.Environment || r.ClientID != k.ClientID:
		return nil, ErrForeign
	}
	return remembered(r).Past, nil
}

// IsLink reports whether a record is a link, working or not: pending approvals
// and tombstones are none.
func IsLink(r tokenstore.Record) bool {
	switch r.State {
	case tokenstore.StateLinked, tokenstore.StateUncertain, tokenstore.StateRelinkRequired:
		return true
	}
	return false
}
