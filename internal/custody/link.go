// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
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
		if _, err = k.save(ctx, r); !isConflict(err) || ctx.Err() != nil {
			return err
		}
		k.breathe(ctx)
	}
}

// Settle saves the first pair of an approval, which was asked for at asked.
// Where the link already belongs to a patient, the pair is kept beside the one
// in use until Confirm has told whether it is the same patient's. A record that
// was unlinked since Reserve stays unlinked: ErrNoLink.
func (k *Keeper) Settle(ctx context.Context, user string, asked time.Time, out tokenwire.Outcome) error {
	// The code is spent: save even when the caller has gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.SaveTimeout)
	defer cancel()
	got := newAnswer(out.Body, out.Grant, asked)
	for try := 0; ; try++ {
		r, err := k.load(ctx, user)
		if err == nil && r.State == tokenstore.StateUnlinked {
			err = ErrNoLink
		}
		if err == nil {
			if r.PublicID == "" {
				k.setMain(&r, got)
				r.secrets.Spare, r.secrets.Unverified = nil, false
				r.LinkedAt, r.details.EndsTold = got.AskedAt, false
			} else {
				r.secrets.Spare = got
			}
			_, err = k.save(ctx, r)
		}
		if err == nil {
			k.forget(user)
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

// Release forgets a reservation: the code was not spent, and the same callback
// may come again.
func (k *Keeper) Release(ctx context.Context, user, mark string) error {
	return k.amend(ctx, user, func(r *row) error {
		r.details.Used = slices.DeleteFunc(r.details.Used, func(u used) bool { return u.Mark == mark })
		return nil
	})
}

// Confirm fixes the patient of the pair that Settle saved: publicID is whose
// accessToken is. If the link belongs to somebody else, the new pair is
// dropped, the link stays as it was, and Confirm returns ErrOtherPatient. If
// the pair has been replaced meanwhile, nothing happens.
func (k *Keeper) Confirm(ctx context.Context, user, accessToken, publicID string) error {
	err := k.amend(ctx, user, func(r *row) error {
		if k.holds(r.secrets.Spare, accessToken) {
			spare := r.secrets.Spare
			r.secrets.Spare = nil
			if r.PublicID != publicID {
				return ErrOtherPatient
			}
			r.secrets.Unverified = false
			k.setMain(r, spare)
			r.LinkedAt, r.details.EndsTold = spare.AskedAt, false
			return nil
		}
		if !k.holds(r.secrets.Main, accessToken) {
			return errSuperseded
		}
		return r.fix(publicID)
	})
	switch {
	case err == nil:
		k.emit(Event{Kind: Linked, User: user})
	case errors.Is(err, ErrOtherPatient):
		k.emit(Event{Kind: OtherPatient, User: user})
	}
	return err
}

// Fix fixes the patient of a link that has none yet, if it is still the link
// that was made at linkedAt.
func (k *Keeper) Fix(ctx context.Context, user string, linkedAt time.Time, publicID string) error {
	return k.amend(ctx, user, func(r *row) error {
		// Nothing is written without a change: a write drops the token in memory.
		if !r.LinkedAt.Equal(linkedAt) || r.PublicID == publicID {
			return errSuperseded
		}
		return r.fix(publicID)
	})
}

func (r *row) fix(publicID string) error {
	if r.PublicID == "" {
		r.PublicID = publicID
	}
	if r.PublicID != publicID {
		return ErrOtherPatient
	}
	return nil
}

// Refuse drops the pair of accessToken: it is not a patient's. What else the
// record holds stays.
func (k *Keeper) Refuse(ctx context.Context, user, accessToken string) error {
	return k.amend(ctx, user, func(r *row) error {
		switch {
		case k.holds(r.secrets.Spare, accessToken):
			r.secrets.Spare = nil
		case k.holds(r.secrets.Main, accessToken):
			r.secrets = secrets{}
			r.State, r.ExpiresAt, r.EndsAt, r.DueAt = tokenstore.StatePending, time.Time{}, time.Time{}, time.Time{}
		default:
			return errSuperseded
		}
		return nil
	})
}

func (k *Keeper) holds(a *answer, accessToken string) bool {
	return a != nil && k.read(a).grant.AccessToken == accessToken
}

// Leave says that it could not be found out whose pair Settle saved. A link
// that works goes on as it is, with the new pair in reserve; one that does not
// takes the new pair, which is checked before anybody gets it.
func (k *Keeper) Leave(ctx context.Context, user, accessToken string) error {
	err := k.amend(ctx, user, func(r *row) error {
		if !k.holds(r.secrets.Spare, accessToken) || r.State != tokenstore.StateRelinkRequired {
			return errSuperseded
		}
		k.promoteUnverified(r)
		return nil
	})
	if err == nil {
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
	if err == nil && lost {
		k.emit(Event{Kind: RelinkRequired, User: user, Cause: cause})
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
			DueAt:   k.Now().Add(keepRemains),
			Lease:   tokenstore.Lease{Fence: r.Lease.Fence + 1},
			Details: r.Details, // used approvals stay used
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

// IsLink reports whether a record is a link, working or not: pending approvals
// and tombstones are none.
func IsLink(r tokenstore.Record) bool {
	switch r.State {
	case tokenstore.StateLinked, tokenstore.StateUncertain, tokenstore.StateRelinkRequired:
		return true
	}
	return false
}
