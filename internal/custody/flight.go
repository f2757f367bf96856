// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"errors"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// fly reads the user's record and does what it takes to come back with a
// token: usually nothing, sometimes a refresh, sometimes waiting for another
// process's.
func (k *Keeper) fly(ctx context.Context, e *entry, f *flight) (Token, error) {
	var seen watch
	overtaken := func(err error) bool { return isConflict(err) && k.breathe(ctx) }
	for {
		r, err := k.load(ctx, e.user)
		if ctx.Err() != nil {
			return Token{}, &WaitError{Reason: WaitTooLong}
		}
		if err != nil {
			return Token{}, err
		}
		main := k.read(r.secrets.Main)
		switch r.State {
		case tokenstore.StateLinked, tokenstore.StateUncertain:
		case tokenstore.StateRelinkRequired:
			return Token{}, &LostError{Cause: Cause(r.Cause)}
		default:
			return Token{}, ErrNoLink
		}

		before := e.live.Load()
		if before != nil && r.Generation < before.Generation && r.LinkedAt.UnixMicro() <= before.linkedAt {
			// The refresh token in the store is spent: we have seen its successor.
			k.tellRolledBack(e.user)
			return Token{}, &WaitError{Reason: WaitRolledBack}
		}
		if k.serves(main, f.rejected) {
			if r.secrets.Unverified {
				if err := k.verify(ctx, e.user, main); err != nil && !overtaken(err) {
					return Token{}, err
				}
				continue
			}
			token := k.publish(e, f, r, main)
			if before != nil && r.Generation > before.Generation {
				k.emit(Event{Kind: Adopted, User: e.user})
			}
			if !f.early || k.settled(main) {
				return token, nil
			}
		}
		if main.grant.RefreshToken == "" {
			if k.serves(main, "") {
				return Token{}, &WaitError{Reason: WaitRejected}
			}
			if _, err = k.lose(ctx, r, FinalTokenExpired); err != nil && !overtaken(err) {
				return Token{}, err
			}
			continue
		}

		if k.leased(r, &seen) {
			if err := k.pause(ctx, 50*time.Millisecond, 150*time.Millisecond); err != nil {
				return Token{}, &WaitError{Reason: WaitElsewhere} // until our time was up
			}
			continue
		}
		attempt := 1
		if r.Intent.Attempt > 0 && r.Intent.Generation == r.Generation {
			// The last one to try left no outcome: the token may be spent.
			if f.early && k.serves(main, f.rejected) && !k.forgiven(r.Intent) {
				return Token{}, &WaitError{Reason: WaitUncertain}
			}
			attempt = r.Intent.Attempt + 1
			// The old token is over, so a repetition can lose nothing. Its own
			// answer may get lost too; then more of them follow, ever slower,
			// until the server says yes or no.
			if wait := r.Intent.SentAt.Add(replayAfter(r.Intent.Attempt)).Sub(k.Now()); wait > 0 {
				return Token{}, &WaitError{Reason: WaitUncertain, RetryAfter: wait}
			}
		}

		if wait, ok := k.breaker.enter(k.Now(), f.early); !ok {
			return Token{}, k.breaker.refusal(wait)
		}
		postBy := k.Now().Add(k.LeaseTTL - k.PostTimeout)
		held, err := k.lease(ctx, r, attempt)
		if err != nil {
			k.breaker.leave(k.Now(), tokenwire.Outcome{}, false)
			if overtaken(err) {
				continue
			}
			return Token{}, err // the store said no before a token was spent
		}
		token, again, err := k.refresh(ctx, e, f, held, main, postBy)
		if again {
			continue
		}
		return token, err
	}
}

// replayAfter is how long to wait before repeating a refresh whose outcome is
// unknown, after so many attempts. The first repetition waits for nothing: what
// it is about has waited for the access token to end.
func replayAfter(attempts int) time.Duration {
	if attempts < 2 {
		return 0
	}
	return min(15*time.Second<<min(attempts-2, 6), 15*time.Minute)
}

// forgiven reports whether the server still takes the refresh token of an
// intent a second time.
func (k *Keeper) forgiven(i tokenstore.Intent) bool {
	return k.Forgive > 0 && i.Attempt == 1 && k.Now().Before(i.SentAt.Add(k.Forgive))
}

// settled reports whether an early refresh is no longer wanted, because a
// fresh token has appeared, or no longer possible.
func (k *Keeper) settled(p pair) bool {
	life := p.expiresAt.Sub(p.askedAt)
	return p.grant.RefreshToken == "" || k.Now().Before(p.expiresAt.Add(-life/4))
}

// refresh sends the refresh token of held, whose lease and intent are written,
// and saves what comes back. No POST begins after postBy, so that it is over
// before the lease is. again means: look at the record once more.
func (k *Keeper) refresh(ctx context.Context, e *entry, f *flight, held row, main pair, postBy time.Time) (token Token, again bool, err error) {
	user := held.AppUserID
	stopRenewing := k.renew(held)
	var out tokenwire.Outcome
	var asked time.Time
	for try := range 3 {
		// A process that slept since it took the lease may have lost it. Both
		// readings are monotonic.
		if k.Now().After(postBy) {
			break
		}
		if try > 0 && k.pause(ctx, 50*time.Millisecond<<try, 150*time.Millisecond<<try) != nil {
			break
		}
		// Only when nothing left the process does the same intent cover
		// another try.
		asked = k.Now()
		if out = k.Refresh(ctx, main.grant.RefreshToken); out.Class != tokenwire.NotSent {
			break
		}
	}
	held = stopRenewing()
	unforeseen := held.Intent.Attempt == 1 && causeOf(out.Code) != SessionExpired && causeOf(out.Code) != Frozen
	if k.breaker.leave(k.Now(), out, unforeseen) {
		k.emit(Event{Kind: MassRejection, User: user, Status: out.Status, Code: out.Code})
	}

	switch out.Class {
	case tokenwire.OK:
		next, err := k.saveSuccessor(f, held, newAnswer(out.Body, out.Grant, asked))
		if err != nil {
			return Token{}, errors.Is(err, errSuperseded), err
		}
		if held.Intent.Attempt > 1 {
			k.emit(Event{Kind: Recovered, User: user})
		}
		k.emit(Event{Kind: Refreshed, User: user})
		// A server that does not name the scope has not changed it (RFC 6749
		// section 5.1).
		if is := out.Grant.Scope; is != "" && k.Scope != "" && !strings.EqualFold(is, k.Scope) {
			k.emit(Event{Kind: ScopeChanged, User: user})
		}
		if next.details.EndsTold && !held.details.EndsTold {
			k.emit(Event{Kind: EndsSoon, User: user, EndsAt: next.EndsAt})
		}
		if next.secrets.Unverified {
			return Token{}, true, nil // not before it is known whose they are
		}
		p := k.read(next.secrets.Main)
		token := k.publish(e, f, next, p)
		if !k.serves(p, "") && !f.late {
			// It is over already: the save took longer than its life. Once, because
			// a token may be short-lived from the start.
			f.late = true
			return Token{}, true, nil
		}
		return token, false, nil

	case tokenwire.NotSent, tokenwire.AppWide:
		_, err := k.settleHeld(ctx, held, (*row).unsend)
		if errors.Is(err, errSuperseded) {
			return Token{}, true, nil
		}
		if out.Class == tokenwire.NotSent {
			return Token{}, false, &WaitError{Reason: WaitNotSent, Err: out.Err}
		}
		k.emit(Event{Kind: AppTrouble, User: user, Status: out.Status, Code: out.Code})
		return Token{}, false, waitError(WaitAppWide, out)

	case tokenwire.Rejected:
		cause := causeOf(out.Code)
		if held.Intent.Attempt > 1 && cause != SessionExpired {
			cause = OutcomeUnknown
		}
		lost, err := k.settleHeld(ctx, held, func(r *row) { k.markLost(r, cause) })
		switch {
		case errors.Is(err, errSuperseded):
			return Token{}, true, nil // the refusal was about the past
		case err != nil:
			return Token{}, false, err
		case lost.State == tokenstore.StateLinked:
			return Token{}, true, nil // a newer approval took over
		}
		k.emit(Event{Kind: RelinkRequired, User: user, Cause: Cause(lost.Cause), Status: out.Status, Code: out.Code})
		return Token{}, false, &LostError{Cause: Cause(lost.Cause)}

	case 0: // the lease ran out before anything was sent
		_, err := k.settleHeld(ctx, held, (*row).unsend)
		return Token{}, err == nil || errors.Is(err, errSuperseded), err
	}

	k.emit(Event{Kind: Uncertain, User: user, Status: out.Status, Err: out.Err})
	after, err := k.settleHeld(ctx, held, func(r *row) {
		r.State = tokenstore.StateUncertain
		r.note(Uncertain, k.Now(), "")
		r.release()
		if n := len(out.Body); n > 0 && n <= maxAnswer {
			r.secrets.Unread = out.Body
		}
	})
	switch {
	case errors.Is(err, errSuperseded):
		return Token{}, true, nil
	case err != nil || k.serves(main, f.rejected) && !k.forgiven(after.Intent):
		return Token{}, false, waitError(WaitUncertain, out)
	}
	from, to := 500*time.Millisecond, 1500*time.Millisecond
	if k.Forgive > 0 {
		from, to = min(from, k.Forgive/8), min(to, k.Forgive/4)
	}
	if held.Intent.Attempt > 1 || k.pause(ctx, from, to) != nil {
		return Token{}, false, waitError(WaitUncertain, out)
	}
	return Token{}, true, nil // forgiven, or nothing left to lose: once more
}

func waitError(reason string, out tokenwire.Outcome) *WaitError {
	return &WaitError{Reason: reason, Status: out.Status, Code: out.Code, RetryAfter: out.RetryAfter, Err: out.Err}
}

func causeOf(code string) Cause {
	switch code {
	case "API_SESSION_EXPIRED":
		return SessionExpired
	case "API_SESSION_INVALID":
		return SessionInvalid
	case "ACCESS_FROZEN_OUTWARD":
		return Frozen
	}
	return GrantRejected
}

// markLost marks a link as lost; or, if a newer approval waits to be checked,
// puts that in its place. The old tokens stay: no error deletes tokens.
func (k *Keeper) markLost(r *row, cause Cause) {
	if r.secrets.Spare != nil {
		k.promoteUnverified(r)
		return
	}
	r.note(RelinkRequired, k.Now(), cause)
	r.State, r.Cause = tokenstore.StateRelinkRequired, string(cause)
	r.Intent, r.DueAt = tokenstore.Intent{}, time.Time{}
	r.release()
}

// promoteUnverified puts the pair of a newer approval in place of the one in
// use. Nobody gets its tokens before Verify has seen whose they are.
func (k *Keeper) promoteUnverified(r *row) {
	r.secrets.Unverified = true
	k.begin(r, r.secrets.Spare)
}

// lose saves r as lost.
func (k *Keeper) lose(ctx context.Context, r row, cause Cause) (row, error) {
	k.markLost(&r, cause)
	saved, err := k.save(ctx, r)
	if err == nil && saved.State == tokenstore.StateRelinkRequired {
		k.emit(Event{Kind: RelinkRequired, User: r.AppUserID, Cause: cause})
	}
	return saved, err
}

// verify finds out whether the tokens of an approval may be used. When it
// returns nil, the record says.
func (k *Keeper) verify(ctx context.Context, user string, p pair) error {
	err := k.Admit(ctx, user, p.grant.AccessToken)
	if unchecked, ok := errors.AsType[*UncheckedError](err); ok {
		return &WaitError{Reason: WaitVerify, Err: unchecked.Err}
	}
	if _, shared := errors.AsType[*SharedError](err); shared || isRefused(err) || errors.Is(err, ErrOtherPatient) {
		return nil
	}
	return err
}

// forecast marks the end of a session as reported when it is near.
func (k *Keeper) forecast(r *row) {
	end := r.EndsAt
	if end.IsZero() && k.SessionLife > 0 {
		end = r.LinkedAt.Add(k.SessionLife)
	}
	if !end.IsZero() && k.Now().Add(k.EndsNotice).After(end) || !r.EndsAt.IsZero() {
		if !r.details.EndsTold {
			r.note(EndsSoon, k.Now(), "")
		}
		r.details.EndsTold = true
	}
}

// errSuperseded: while the refresh was under way, the link was unlinked or
// approved anew; what came back is nobody's.
var errSuperseded = errors.New("superseded")

// saveSuccessor saves the answer to a refresh, as it came. The token it was
// bought with is spent, so this does not give up: after SaveTimeout callers are
// told that the store fails, and the flight goes on, with the answer in memory,
// until the store takes it, has moved on (errSuperseded) or is closed.
func (k *Keeper) saveSuccessor(f *flight, held row, successor *answer) (row, error) {
	ctx, start, user := context.Background(), k.Now(), held.AppUserID
	base, retried := held, false
	defer func() {
		if retried {
			k.unsaved.Add(-1)
		}
	}()
	if held.secrets.Unverified || !held.belongs() {
		successor.Terms = held.secrets.Main.Terms // its approval is still to be looked at
	}
	for try := 0; ; try++ {
		next := base
		k.setMain(&next, successor)
		if retried {
			next.note(SaveRetried, k.Now(), "")
		}
		if held.Intent.Attempt > 1 {
			next.note(Recovered, k.Now(), "")
		}
		next.note(Refreshed, k.Now(), "")
		k.forecast(&next)
		saved, err := k.saveWithin(ctx, next)
		if err == nil {
			return saved, nil
		}
		if !isConflict(err) {
			if !retried {
				retried = true
				k.unsaved.Add(1)
			}
			k.emit(Event{Kind: SaveRetried, User: user, Err: err})
		}
		// A conflict, or an error after the store had written: find out.
		now, loadErr := k.loadWithin(ctx, user)
		switch {
		case loadErr == nil && now.Generation == held.Generation+1 && now.secrets.Main != nil && string(now.secrets.Main.Body) == string(successor.Body):
			return now, nil
		case loadErr == nil && (now.Generation != held.Generation || now.State == tokenstore.StateUnlinked):
			return row{}, errSuperseded
		case errors.Is(loadErr, ErrNoLink):
			return row{}, errSuperseded
		case errors.Is(err, tokenstore.ErrClosed):
			k.emit(Event{Kind: SaveFailed, User: user, Err: err})
			return row{}, &WaitError{Reason: WaitSave, Err: err}
		case loadErr == nil:
			base = now // somebody wrote something else: keep that, and the successor
		}
		if !f.saving && k.Now().Sub(start) >= k.SaveTimeout {
			k.emit(Event{Kind: SaveFailed, User: user, Err: err})
			f.saving = true
			f.tell(Token{}, &WaitError{Reason: WaitSave, Err: err})
		}
		_ = k.pause(ctx, 20*time.Millisecond<<min(try, 8), 40*time.Millisecond<<min(try, 8))
	}
}

// saveWithin and loadWithin are save and load on a store that may hang.
func (k *Keeper) saveWithin(ctx context.Context, r row) (row, error) {
	ctx, cancel := context.WithTimeout(ctx, k.SaveTimeout)
	defer cancel()
	return k.save(ctx, r)
}

func (k *Keeper) loadWithin(ctx context.Context, user string) (row, error) {
	ctx, cancel := context.WithTimeout(ctx, k.SaveTimeout)
	defer cancel()
	return k.load(ctx, user)
}

// settleHeld writes the end of an attempt into its record, whatever else was
// written there meanwhile. errSuperseded says that the record has moved on:
// another pair, another owner, or unlinked.
func (k *Keeper) settleHeld(flight context.Context, held row, change func(*row)) (row, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(flight), k.SaveTimeout)
	defer cancel()
	r := held
	for try := 0; ; try++ {
		next := r
		change(&next)
		saved, err := k.save(ctx, next)
		if err == nil {
			return saved, nil
		}
		now, loadErr := k.load(ctx, held.AppUserID)
		switch {
		case errors.Is(loadErr, ErrNoLink),
			loadErr == nil && (now.Generation != held.Generation || !sameHolder(now.Lease, held.Lease)):
			if loadErr == nil && landed(next, now) {
				return now, nil
			}
			return row{}, errSuperseded
		case loadErr == nil:
			r = now
		}
		if k.pause(ctx, 20*time.Millisecond<<min(try, 6), 40*time.Millisecond<<min(try, 6)) != nil {
			return row{}, err
		}
	}
}

// unsend takes an attempt back that sent nothing. One before it, whose outcome
// is unknown, stays on record.
func (r *row) unsend() {
	if r.Intent.Attempt--; r.Intent.Attempt == 0 {
		r.Intent = tokenstore.Intent{}
	}
	r.release()
}

// landed reports whether a save that failed has in truth written next.
func landed(next, now row) bool {
	return now.Version != next.Version && now.Generation == next.Generation && now.State == next.State && now.Cause == next.Cause &&
		now.Intent.Attempt == next.Intent.Attempt && sameHolder(now.Lease, next.Lease)
}

// breathe waits a moment before a record is read again that somebody else has
// written: a store whose reads lag behind its writes would otherwise be asked
// in a tight loop. It always reports true; whoever loops minds ctx.
func (k *Keeper) breathe(ctx context.Context) bool {
	_ = k.pause(ctx, 5*time.Millisecond, 25*time.Millisecond)
	return true
}

// pause waits between from and to, at random so that waiters spread.
func (k *Keeper) pause(ctx context.Context, from, to time.Duration) error {
	t := time.NewTimer(from + mathrand.N(to-from))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
