// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"errors"
	mathrand "math/rand/v2"
	"time"

	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/tokenstore"
)

// How old the last look at a record may be, and how long a call waits for the next
// one before it continues without.
const (
	lookAgainAfter  = time.Second
	lookAgainWithin = 2 * time.Second
)

// live is a published token. It is never changed, only replaced. Its times are those
// of the clock that never goes backwards.
type live struct {
	// serveUntil is when the hard margin begins; refreshAt, when a refresh in the
	// background should.
	serveUntil, refreshAt int64
	Token
	seenAt int64 // when this process first saw the pair
}

// flight is one refresh, or one look into the store, that callers wait for.
type flight struct {
	done chan struct{}
	// early means that the current token still serves, so that a failure can wait.
	early bool
	// rejected must not be the flight's result.
	rejected core.PairID
	// eager means that it looks even if the last look failed a moment ago, and strict,
	// that it admits nothing that could not be checked.
	eager, strict bool
	token         Token
	err           error
	told          bool // done is closed
	// refused is why a check has refused an authorization, and shared, which other users
	// are linked with its patient.
	refused *RefusedError
	shared  []string
}

// tell ends the wait of the flight's callers. The flight itself may continue.
func (f *flight) tell(t Token, err error) {
	if !f.told {
		f.token, f.err, f.told = t, err, true
		close(f.done)
	}
}

// Token returns an access token with more than the hard margin left. Callers that
// find none share one flight. A caller whose ctx ends stops waiting, and the flight
// continues.
func (k *Keeper) Token(ctx context.Context, user string) (Token, error) {
	if t := k.Hot(user); t != nil {
		return *t, nil
	}
	return k.wait(ctx, user, core.PairID{})
}

// Hot returns the token in memory if it can be used, or nil: one look into a map,
// one atomic load, one comparison. The token is never changed.
func (k *Keeper) Hot(user string) *Token {
	e := k.entries.find(user)
	if e == nil {
		return nil
	}
	l := e.live.Load()
	if l == nil {
		return nil
	}
	now := k.time()
	if now >= l.serveUntil {
		return nil
	}
	if now >= l.refreshAt {
		k.refreshEarly(e)
	}
	return &l.Token
}

// time returns the time for reading tokens.
func (k *Keeper) time() int64 {
	if k.Ticks {
		return k.clock.read()
	}
	return k.clock.exact()
}

// Present is Token for a caller who is about to show what the token opens. If
// another process has unlinked the user since, or linked another patient, the token
// in memory still works at the server, and would show the wrong record: so a record
// that was not seen for a second is loaded first. A store that does not respond has
// accepted no other authorization either, and holds nobody up twice.
func (k *Keeper) Present(ctx context.Context, user string) (Token, error) {
	if e := k.entries.find(user); e != nil {
		if l := e.live.Load(); l != nil && k.clock.exact()-e.seenAt.Load() >= int64(lookAgainAfter) {
			k.lookAgain(ctx, e, l)
		}
	}
	return k.Token(ctx, user)
}

// lookAgain loads the record of a token in memory, and waits for it, unless the
// store let the last look wait in vain.
func (k *Keeper) lookAgain(ctx context.Context, e *entry, l *live) {
	if k.overrun() != nil {
		return
	}
	if k.deafStore.Load() {
		if k.work.begin() {
			e.seenAt.Store(k.clock.exact())
			go func() {
				defer k.work.end()
				k.lookNow(context.WithoutCancel(ctx), e, l)
			}()
		}
		return
	}
	done := make(chan struct{})
	if !k.work.begin() {
		return
	}
	go func() {
		defer k.work.end()
		defer close(done)
		k.lookNow(context.WithoutCancel(ctx), e, l)
	}()
	patient := time.NewTimer(lookAgainWithin)
	defer patient.Stop()
	select {
	case <-done:
	case <-ctx.Done():
	case <-patient.C:
		k.deafStore.Store(true)
	}
}

// lookNow drops a token in memory whose session was replaced or has ended. A record
// that is older than the token is left to the next flight, which knows what that
// means.
func (k *Keeper) lookNow(ctx context.Context, e *entry, l *live) {
	now := k.clock.exact()
	r, err := k.storeLoad(ctx, e.user)
	switch {
	case errors.Is(err, ErrNoLink) && k.lagging(e):
		return
	case errors.Is(err, ErrNoLink):
		if _, err = k.storeLoad(ctx, e.user); errors.Is(err, ErrNoLink) { // a missing row counts when it is missing twice
			k.forget(e.user)
		}
		return
	case err != nil:
		return
	}
	k.deafStore.Store(false)
	id, _ := core.ParsePairID(r.Pair)
	if r.PublicID == "" || r.Candidate != "" {
		_, _ = k.check(ctx, e.user, &flight{})
	}
	linked := r.State == tokenstore.StateLinked || r.State == tokenstore.StateUncertain
	if !linked || id.Session != l.Pair.Session {
		k.forget(e.user)
		return
	}
	e.seenAt.Store(now)
}

// opens is whose record a session opens. That never changes.
type opens struct{ session, patient string }

// opened remembers whose record the session of a user's token in memory opens.
func (k *Keeper) opened(user string, r core.Record) {
	e := k.entries.find(user)
	if e == nil || r.Public == "" || r.Phase != core.Linked {
		return
	}
	if was := e.opens.Load(); was == nil || was.session != r.Active.ID.Session {
		e.opens.Store(&opens{session: r.Active.ID.Session, patient: r.Public})
	}
}

// Patient returns whose record the token in memory opens, or "" if this process
// would have to read the store to know. It is as fresh as the token: Present drops
// that of another session.
func (k *Keeper) Patient(user string) string {
	e := k.entries.find(user)
	if e == nil {
		return ""
	}
	l, o := e.live.Load(), e.opens.Load()
	if l == nil || o == nil || o.session != l.Pair.Session {
		return ""
	}
	return o.patient
}

// lagging reports whether a missing row may be lag.
func (k *Keeper) lagging(e *entry) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.memory
	return m != nil && m.kept != nil && most(m.keptAt, k.now()) < lagFor
}

// Replace returns another token than the one that an API just rejected. If there is
// a newer one already, Replace returns it without a refresh. If the server rejects
// that one too, Replace returns ErrReplaced for a minute.
func (k *Keeper) Replace(ctx context.Context, user string, rejected Token) (Token, error) {
	return k.wait(ctx, user, rejected.Pair)
}

func (k *Keeper) wait(ctx context.Context, user string, rejected core.PairID) (Token, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Token{}, err
		}
		e, f, err := k.join(ctx, user, rejected)
		if err != nil {
			return Token{}, err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return Token{}, ctx.Err()
		}
		if f.err == nil && f.token.Pair == rejected || f.early && f.err != nil {
			if !e.flies(f) {
				continue // the flight was about something else: start another
			}
			if f.err == nil {
				return Token{}, &StoreError{Op: "save", Err: errUnacknowledged}
			}
		}
		return f.token, f.err
	}
}

// join returns the user's flight, or starts one, or returns what has just landed.
func (k *Keeper) join(ctx context.Context, user string, rejected core.PairID) (*entry, *flight, error) {
	e := k.entry(user)
	e.mu.Lock()
	for e.gone {
		e.mu.Unlock()
		e = k.entry(user)
		e.mu.Lock()
	}
	defer e.mu.Unlock()
	if l := e.live.Load(); l != nil && l.Pair != rejected && k.clock.exact() < l.serveUntil {
		f := &flight{done: make(chan struct{})} // a flight has landed since the caller looked
		f.tell(l.Token, nil)
		return e, f, nil
	}
	if e.flight != nil {
		return e, e.flight, nil
	}
	f, err := k.launch(ctx, e, core.Flight{Goal: core.Call}, &flight{rejected: rejected})
	return e, f, err
}

// errUnacknowledged: the newest pair is the rejected one, and until the store has
// acknowledged it there can be no other.
var errUnacknowledged = errors.New("the store has not acknowledged the latest save")

// flies reports whether a flight continues though its callers were released.
func (e *entry) flies(f *flight) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.flight == f
}

// refreshEarly starts a flight in the background, unless one is under way.
func (k *Keeper) refreshEarly(e *entry) {
	if !e.mu.TryLock() {
		return // another goroutine is about to do the same
	}
	defer e.mu.Unlock()
	if e.flight == nil && !e.gone {
		_, _ = k.launch(context.Background(), e, core.Flight{Goal: core.Warm}, &flight{early: true})
	}
}

// launch starts a flight; e.mu is held.
func (k *Keeper) launch(caller context.Context, e *entry, program core.Flight, f *flight) (*flight, error) {
	if err := k.overrun(); err != nil {
		return nil, err
	}
	if !k.work.begin() {
		return nil, ErrClosed
	}
	f.done = make(chan struct{})
	t := k.newTrip(caller, e, program, f)
	if program.Goal == core.Look {
		e.look = f
	} else {
		e.flight = f
	}
	go func() {
		defer k.work.end()
		t.fly()
	}()
	return f, nil
}

func (k *Keeper) landed(t *trip, token Token, err error) {
	e, f := t.e, t.flight
	_, lost := errors.AsType[*LostError](err)
	if f.early && (err != nil || t.program.After != 0) { // the token serves all the same, or it would not be early
		k.Logger.Debug("pkb: early refresh did not succeed; the current token still serves", "link", conceal.LinkName(e.user), "error", err)
		k.postpone(e)
	}
	e.mu.Lock()
	if e.look == f {
		e.look = nil
	} else {
		e.flight = nil
	}
	if lost || errors.Is(err, ErrNoLink) {
		e.live.Store(nil) // what the record refuses, memory must not hand out
	}
	k.settle(e)
	e.mu.Unlock()
	if !f.told {
		f.refused, _ = errors.AsType[*RefusedError](t.refused)
		f.shared = t.shared
	}
	f.tell(token, err)
}

// Check checks what is not known yet of a user's link, and waits for the result.
func (k *Keeper) Check(ctx context.Context, user string) error {
	_, err := k.checked(ctx, user, false)
	return err
}

// checked is Check, and returns what else is known if it has ended; otherwise nil.
func (k *Keeper) checked(ctx context.Context, user string, strict bool) (*flight, error) {
	f, err := k.check(ctx, user, &flight{eager: true, strict: strict})
	if f == nil {
		return nil, err
	}
	select {
	case <-f.done:
		return f, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// check starts a look at what is not checked yet, and returns it, or the one that is
// under way.
func (k *Keeper) check(ctx context.Context, user string, f *flight) (*flight, error) {
	for {
		e := k.entry(user)
		e.mu.Lock()
		if e.gone {
			e.mu.Unlock()
			continue
		}
		defer e.mu.Unlock()
		switch {
		case e.look != nil:
			return e.look, nil
		case !f.eager && e.memory != nil && k.clock.exact() < e.memory.tiredUntil:
			return nil, nil
		case f.eager && e.memory != nil:
			e.memory.tiredUntil = 0
		}
		return k.launch(ctx, e, core.Flight{Goal: core.Look}, f)
	}
}

// postpone delays the next early refresh, so that not every caller repeats a failing
// one.
func (k *Keeper) postpone(e *entry) {
	l := e.live.Load()
	if l == nil {
		return
	}
	next, now := *l, k.clock.exact()
	next.refreshAt = now + max((l.serveUntil-now)/4, int64(time.Second))
	e.live.CompareAndSwap(l, &next)
}

// publish shows callers a token that is in the record, unless this process changed
// the link since the flight began.
func (k *Keeper) publish(t *trip, id core.PairID) Token {
	p := k.read(t.vault.answers[id])
	life := p.expiresAt.Sub(p.askedAt)
	seen := t.seenAt(id)
	l := &live{
		Token:  Token{Value: p.grant.AccessToken, ExpiresAt: p.expiresAt, Pair: id, Reveal: reveal(p.grant.AccessToken)},
		seenAt: seen, serveUntil: k.serveUntil(p, seen),
	}
	l.refreshAt = l.serveUntil + int64(k.margin(p)) - int64(float64(life)*(earliest-(earliest-latest)*mathrand.Float64()))
	if p.grant.RefreshToken == "" {
		l.refreshAt = l.serveUntil // nothing to refresh with
	}
	e := t.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.epoch == e.epoch && !t.stale(e, id) {
		e.seenAt.Store(k.clock.exact())
		e.live.Store(l)
		if m := e.memory; m != nil {
			m.newest = id
		}
	}
	return l.Token
}

// stale reports whether a later pair of the same session was published already.
func (t *trip) stale(e *entry, id core.PairID) bool {
	l := e.live.Load()
	return l != nil && l.Pair.Session == id.Session && l.Pair.Seq > id.Seq
}

// A refresh is early when between a quarter and a seventh of a token's life is left.
// The margin is a share of the life too, so that a token that lives for two minutes
// is refreshed early.
const (
	earliest     = 0.25
	latest       = 0.15
	largestShare = 8 // of a token's life: the margin is an eighth at most
)

func (k *Keeper) margin(p pair) time.Duration {
	return min(k.HardMargin, p.expiresAt.Sub(p.askedAt)/largestShare)
}

// serveUntil is when the hard margin begins: of the life that the record states, or
// of the same life counted from when this process first saw the pair. The record's
// instant is from another system clock, and therefore only efficiency.
func (k *Keeper) serveUntil(p pair, seen int64) int64 {
	life := p.expiresAt.Sub(p.askedAt)
	return min(p.expiresAt.UnixNano(), seen+int64(life)) - int64(k.margin(p))
}

// forget drops the user's token from memory. A flight under way continues, and does
// not publish: there is never a second one at the same time.
func (k *Keeper) forget(user string) {
	if e := k.entries.get(user); e != nil {
		e.mu.Lock()
		e.epoch++
		e.live.Store(nil)
		k.settle(e)
		e.mu.Unlock()
	}
}

// Forget drops the user's token from memory: the next one comes from the store.
func (k *Keeper) Forget(user string) { k.forget(user) }

// endOf is when a session ends, or zero if that is not known.
func (k *Keeper) endOf(a *answer, final bool) time.Time {
	switch {
	case a == nil:
	case final: // PKB leaves the refresh token out of a session's last response
		return k.read(a).expiresAt
	case k.SessionLife > 0:
		return a.LinkedAt.Add(k.SessionLife)
	}
	return time.Time{}
}

// nears returns how near the end of a session is.
func (k *Keeper) nears(end, now time.Time) core.Warning {
	if end.IsZero() {
		return 0
	}
	switch left := most(now, end); {
	case left < k.Warnings[1]:
		return core.Late
	case left < k.Warnings[0]:
		return core.Early
	}
	return 0
}

func reveal(token string) func() string { return func() string { return token } }
