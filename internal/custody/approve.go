// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"errors"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// Terms are what an authorization may do in addition to renewing the link.
type Terms = core.Terms

// Approval is an authorization whose callback was received.
type Approval struct {
	User string
	// Session names it: a hash of its state.
	Session string
	Terms   Terms
	// Unlinks is how often the user had been unlinked when it was begun.
	Unlinks uint64
	// Exchange sends one POST with the code. The context is not the caller's.
	Exchange func(context.Context) tokenwire.Outcome
	// Fits returns a *RefusedError if the pair is of no use, and nil otherwise.
	Fits func(tokenwire.Grant) error

	done   chan struct{}
	record tokenstore.Record
	err    error
	told   bool
}

func (a *Approval) tell(r tokenstore.Record, err error) {
	if !a.told {
		a.record, a.err, a.told = r, err, true
		close(a.done)
	}
}

// Approve completes an authorization: it spends the code once, saves the pair next
// to the one in use, checks whose it is, and admits or refuses it. A second visit of
// the same callback, in any process, waits for the first and returns the same.
// Approve returns the record as it was last written.
//
// nil means that the session is the link's, or waits to be checked where there is no
// other link. *UncheckedError is returned with the record of the link that stays in
// use. When ctx ends the work continues.
func (k *Keeper) Approve(ctx context.Context, a Approval) (tokenstore.Record, error) {
	if err := k.overrun(); err != nil {
		return tokenstore.Record{}, err
	}
	if !k.work.begin() {
		return tokenstore.Record{}, ErrClosed
	}
	a.done = make(chan struct{})
	t := k.visit(ctx, a.User, core.Flight{Goal: core.Approve, Session: a.Session, Terms: a.Terms, Unlinks: a.Unlinks})
	t.approval, t.deadline = &a, k.now().Add(putFor)
	t.ctx = context.WithoutCancel(ctx) // of one caller, as a refresh is not
	t.early = func(err error) { a.tell(tokenstore.Record{}, err) }
	go func() {
		defer k.work.end()
		done, err := t.run()
		if err == nil {
			err = t.approved(done)
		}
		k.forget(a.User)
		k.left(t.e)
		a.tell(t.row.stored, err)
	}()
	select {
	case <-a.done:
		return a.record, a.err
	case <-ctx.Done():
		return tokenstore.Record{}, ctx.Err()
	}
}

// approved is the error that Approve returns.
func (t *trip) approved(e core.Effect) error {
	switch e.Result {
	case core.LinkMade:
		return nil
	case core.LinkWaiting:
		t.k.emit(Event{Kind: Unchecked, User: t.e.user})
		return nil
	case core.LinkUnchecked:
		t.k.emit(Event{Kind: Unchecked, User: t.e.user})
		return &UncheckedError{Err: t.refused}
	case core.ApprovalBarred:
		if t.refused == nil {
			return &RefusedError{Err: ErrOtherPatient}
		}
		return t.refused
	case core.ApprovalOther:
		return ErrOtherPatient
	case core.ApprovalShared:
		return &SharedError{Users: t.shared}
	case core.ApprovalUsed:
		return ErrUsed
	case core.ApprovalStalled:
		return ErrStalled
	case core.ApprovalUnlinked:
		return ErrNoLink
	case core.ApprovalFailed, core.ApprovalRepeatable:
		if errors.Is(t.refused, ErrClosed) {
			return ErrClosed
		}
		return &ExchangeError{Outcome: t.out, Repeatable: e.Result == core.ApprovalRepeatable}
	case core.StoreTrouble:
		return t.storeTrouble()
	}
	return ErrOvertaken
}

func (t *trip) exchange() core.Input {
	k, a := t.k, t.approval
	if k.work.closing() { // nothing was sent: another process can still complete it
		t.refused = ErrClosed
		return core.Input{Kind: core.Answered, Outcome: core.Unsent, Facts: t.facts()}
	}
	asked := time.Unix(0, k.clock.exact())
	out, err := guard(k, t.ctx, k.PostTimeout+5*time.Second, "the token request", func(ctx context.Context) (tokenwire.Outcome, error) {
		return a.Exchange(ctx), nil
	})
	if err != nil {
		out = tokenwire.Outcome{Class: tokenwire.Ambiguous, Err: err}
	}
	t.out = out
	if out.Repeated {
		k.emit(Event{Kind: TransportRepeats, User: a.User, Status: out.Status})
	}
	in := core.Input{Kind: core.Answered, Outcome: outcomeOf(out), Facts: t.facts()}
	k.endpoint.exchanged(in.Outcome)
	if in.Outcome != core.OK {
		return in
	}
	if a.Fits != nil {
		if err := a.Fits(out.Grant); err != nil {
			if no, ok := errors.AsType[*RefusedError](err); ok {
				t.refused = no
			}
			in.Outcome = core.Misfit
			return in
		}
	}
	in.Next = core.Pair{ID: core.PairID{Session: a.Session, Seq: 1}, Final: out.Grant.RefreshToken == ""}
	t.vault.answers[in.Next.ID] = newAnswer(out, asked)
	return in
}
