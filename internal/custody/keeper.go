// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package custody keeps the tokens of each user alive, in a world where a
// refresh token works once and presenting it twice ends the session.
//
// Reading a valid token touches no lock and no store. When a token nears its
// end, one flight per user and process takes a lease in the user's record,
// reads the record again, writes down what it is about to do, sends one POST,
// saves the answer, and only then shows the new token to anybody. Flights
// belong to the keeper: a caller that gives up ends its own wait and nothing
// else. Whatever happens in between, the record says enough for the next
// process to go on.
package custody

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"math"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// Config is what a Keeper needs. Every field is required but Ring, Verify,
// Scope, Ticks, OnEvent, Follow, SessionLife, EndsNotice and Forgive.
type Config struct {
	Store tokenstore.Store
	// Ring seals what the store keeps; nil only for stores that forget.
	Ring *seal.Ring
	// Environment and ClientID must match those of every record.
	Environment string
	ClientID    string
	// Scope is the scope that tokens are to have; "" for any.
	Scope string
	// Refresh sends one POST.
	Refresh func(ctx context.Context, refreshToken string) tokenwire.Outcome
	// Verify asks whose tokens these are, and whether they may be used: a
	// *RefusedError says no, any other error that it could not be found out.
	Verify func(ctx context.Context, c Candidate) (publicID string, err error)
	// VerifyFirst says that nobody gets a token of any approval before Verify
	// has let it pass. Without it that holds for approvals of a link that
	// belongs to a patient already.
	VerifyFirst bool
	Now         func() time.Time
	// Ticks says that reading a token may look at the clock in ticks: right for
	// the machine's, and wrong for one that a test moves.
	Ticks  bool
	Logger *slog.Logger
	// OnEvent is told what happens, on the goroutine on which it happens.
	OnEvent func(Event)
	// Follow returns flight with what is needed to tell who it was first begun
	// for.
	Follow func(flight, caller context.Context) context.Context

	// HardMargin is the life a token must have left to be handed out.
	HardMargin time.Duration
	// AssumedLife is the life of a token whose answer does not say.
	AssumedLife time.Duration
	// SessionLife is how long a session lasts, 0 when that is not known.
	SessionLife time.Duration
	// EndsNotice is how long before its end a session is reported.
	EndsNotice time.Duration
	// Forgive is how long after a refresh whose answer was lost the server
	// takes the same refresh token again; 0 for a server that never does.
	Forgive time.Duration
	// PostTimeout is the longest a POST can take.
	PostTimeout time.Duration
	// LeaseTTL is how long a lease lasts; longer than a POST.
	LeaseTTL time.Duration
	// MaxSkew is how far the clocks of two processes may be apart.
	MaxSkew time.Duration
	// FlightTimeout bounds one refresh with everything around it: longer than
	// LeaseTTL and SaveTimeout together, which is what waiting for the lease of
	// a dead process takes.
	FlightTimeout time.Duration
	// SaveTimeout is how long a process that does not reach the store may still
	// be trying to save an answer, as far as other processes are concerned.
	SaveTimeout time.Duration
}

// Candidate is an approval to verify.
type Candidate struct {
	User        string
	AccessToken string
	// PublicID is whom the link belongs to; "" if that is not known yet.
	PublicID string
}

// Keeper keeps the tokens of all users of one store, environment and client
// id. Its methods are safe for concurrent use.
type Keeper struct {
	Config
	owner string
	// clock is nil without Ticks.
	clock   *clock
	entries *table
	// sweepAt is the number of entries at which the idle ones are dropped.
	sweepAt atomic.Int64
	// toldRolledBack is when that was last told, in Unix nanoseconds.
	toldRolledBack atomic.Int64
	// unsaved counts the answers that the store has refused so far.
	unsaved atomic.Int64
	work    work
	breaker breaker
	counts  counts
}

// New returns a Keeper.
func New(c Config) *Keeper {
	k := &Keeper{Config: c, owner: rand.Text(), entries: newTable()}
	if c.Ticks {
		k.clock = &clock{now: c.Now}
	}
	k.sweepAt.Store(sweepFrom)
	return k
}

// Token is an access token to use now.
type Token struct {
	Value     string
	ExpiresAt time.Time
	// Generation is the pair's number in its record.
	Generation uint64
}

// String implements fmt.Stringer: a Token prints nothing of itself.
func (Token) String() string { return "[redacted]" }

// GoString implements fmt.GoStringer.
func (Token) GoString() string { return "[redacted]" }

// entry is what the process knows of one user.
type entry struct {
	user string
	live atomic.Pointer[live]
	next atomic.Pointer[entry] // the table's

	mu     sync.Mutex
	flight *flight
	// epoch grows when the link is changed by this process: a flight that
	// began before must not publish what it read then.
	epoch int
	// gone: the entry is no longer in the map, and nothing may begin on it.
	gone bool
	// replacedAt is when a token was last refreshed because the server rejected
	// it, in Unix nanoseconds.
	replacedAt int64
	// seenAt is when the record was last seen to be of the approval that the live
	// token came with, in Unix nanoseconds.
	seenAt atomic.Int64
}

// How old the sight of a record may be for a call, and how long a store may
// take to show it before the call goes on without.
const (
	lookAgainAfter  = time.Second
	lookAgainWithin = 2 * time.Second
)

// replaceEvery is how often a rejected token is worth a refresh: a server that
// rejects every token would get one with each call.
const replaceEvery = time.Minute

// live is a published token. It is never changed, only replaced.
type live struct {
	Token
	// serveUntil is when the hard margin begins; refreshAt, when a refresh in
	// the background should.
	serveUntil time.Time
	refreshAt  time.Time
	// The same by the clock in ticks.
	serveTick, refreshTick int64
	// linkedAt is when the patient approved, in Unix microseconds: generations
	// of one approval only grow.
	linkedAt int64
}

// when says whether a token is over, or due to be refreshed.
func (k *Keeper) when(l *live) (over, due bool) {
	if k.clock != nil {
		now := k.clock.read()
		return now >= l.serveTick, now >= l.refreshTick
	}
	now := k.Now()
	return !now.Before(l.serveUntil), !now.Before(l.refreshAt)
}

// flight is one refresh, or one look into the store, that callers wait for.
type flight struct {
	done chan struct{}
	// early: the token at hand still serves, so a failure is nobody's problem
	// yet.
	early bool
	// rejected must not be the flight's result.
	rejected string
	epoch    int
	token    Token
	err      error
	// told: done is closed.
	told bool
	// saving: the callers were told that the store does not take the answer, and
	// the flight goes on until it does.
	saving bool
	// late: the token that the flight brought was over when it was saved.
	late bool
}

// tell ends the wait of the flight's callers. The flight itself may go on.
func (f *flight) tell(t Token, err error) {
	if !f.told {
		f.token, f.err, f.told = t, err, true
		close(f.done)
	}
}

// Token returns an access token with more than the hard margin left. Callers
// that find none share one flight; a caller whose ctx ends stops waiting, and
// the flight goes on.
func (k *Keeper) Token(ctx context.Context, user string) (Token, error) {
	if t := k.Hot(user); t != nil {
		return *t, nil
	}
	return k.wait(ctx, user, "")
}

// Present is Token for a caller who is about to show what the token opens. If
// another process has unlinked the user since, or linked another patient, the
// token in memory still works at the server, and would show the wrong record:
// so a record that was not seen for a second is looked at first. A store that
// does not answer has taken no other approval either, and holds nobody up.
func (k *Keeper) Present(ctx context.Context, user string) (Token, error) {
	if e := k.entries.find(user); e != nil {
		if l := e.live.Load(); l != nil && k.Now().UnixNano()-e.seenAt.Load() >= int64(lookAgainAfter) {
			k.lookAgain(ctx, e, l)
		}
	}
	return k.Token(ctx, user)
}

// lookAgain drops a token in memory whose link was replaced or has ended. A
// record that is older than the token is left to the next flight, which knows
// what that means.
func (k *Keeper) lookAgain(caller context.Context, e *entry, l *live) {
	ctx, cancel := context.WithTimeout(caller, lookAgainWithin)
	defer cancel()
	now := k.Now()
	r, err := k.Store.Load(ctx, e.user)
	same := (r.State == tokenstore.StateLinked || r.State == tokenstore.StateUncertain) && r.LinkedAt.UnixMicro() == l.linkedAt
	if err == nil && r.Generation >= l.Generation && !same {
		k.forget(e.user)
		return
	}
	if err != nil && caller.Err() != nil {
		return // the caller left, which says nothing of the store
	}
	e.seenAt.Store(now.UnixNano())
}

// Hot returns the token in memory, if it can be used, or nil: one look into a
// map, one atomic load, one comparison. What it points to is never changed.
func (k *Keeper) Hot(user string) *Token {
	e := k.entries.find(user)
	if e == nil {
		return nil
	}
	l := e.live.Load()
	if l == nil {
		return nil
	}
	over, due := k.when(l)
	if over {
		return nil
	}
	if due {
		k.refreshEarly(e)
	}
	return &l.Token
}

// Replace returns another token than the one that the server just rejected. If
// a newer one is there already, that is it, and no refresh happens. A server
// that rejects the other one too gets no third: ErrReplaced, for a minute.
func (k *Keeper) Replace(ctx context.Context, user, rejected string) (Token, error) {
	return k.wait(ctx, user, rejected)
}

// wait joins the user's flight, or starts one.
func (k *Keeper) wait(ctx context.Context, user, rejected string) (Token, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Token{}, err
		}
		e := k.entry(user)
		e.mu.Lock()
		if e.gone {
			e.mu.Unlock()
			continue
		}
		// A flight may have landed since the caller looked.
		if l := e.live.Load(); l != nil && l.Value != rejected && k.Now().Before(l.serveUntil) {
			e.mu.Unlock()
			return l.Token, nil
		}
		f := e.flight
		if f == nil && rejected != "" {
			now := k.Now().UnixNano()
			if now-e.replacedAt < int64(replaceEvery) {
				e.mu.Unlock()
				return Token{}, ErrReplaced
			}
			e.replacedAt = now
		}
		if f == nil {
			if f = k.launch(ctx, e, rejected, false); f == nil {
				e.mu.Unlock()
				return Token{}, ErrClosed
			}
		}
		e.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return Token{}, ctx.Err()
		}
		if f.err == nil && f.token.Value == rejected || f.early && f.err != nil && !f.saving {
			continue // the flight was about something else: start our own
		}
		if f.err != nil {
			return Token{}, f.err
		}
		return f.token, nil
	}
}

// refreshEarly starts a flight in the background, unless one is under way.
func (k *Keeper) refreshEarly(e *entry) {
	if !e.mu.TryLock() {
		return // somebody is about to do the same
	}
	defer e.mu.Unlock()
	if e.flight == nil && !e.gone {
		k.launch(context.Background(), e, "", true)
	}
}

// launch starts a flight; e.mu is held. It returns nil when the keeper closes.
func (k *Keeper) launch(caller context.Context, e *entry, rejected string, early bool) *flight {
	if !k.work.begin() {
		return nil
	}
	f := &flight{done: make(chan struct{}), early: early, rejected: rejected, epoch: e.epoch}
	e.flight = f
	// Not derived from any caller: the refresh belongs to the link.
	ctx := context.Background()
	if k.Follow != nil {
		ctx = k.Follow(ctx, caller)
	}
	go func() {
		defer k.work.end()
		ctx, cancel := context.WithTimeout(ctx, k.FlightTimeout)
		defer cancel()
		token, err := k.fly(ctx, e, f)
		if err != nil && early {
			k.Logger.Debug("pkb: early refresh did not succeed; the token at hand still serves", "link", LinkName(e.user), "error", err)
			k.postpone(e)
		}
		_, lost := errors.AsType[*LostError](err)
		e.mu.Lock()
		e.flight = nil
		if lost {
			e.live.Store(nil) // what the record refuses, memory must not go on handing out
		}
		if e.live.Load() == nil {
			k.drop(e) // no link, or no token: it costs no memory
		}
		e.mu.Unlock()
		f.tell(token, err)
	}()
	return f
}

// sweepFrom is the number of entries from which on idle ones are looked for.
const sweepFrom = 4096

// entry returns what is known of a user, which may be nothing yet.
func (k *Keeper) entry(user string) *entry {
	if e := k.entries.find(user); e != nil {
		return e
	}
	e, grownTo := k.entries.add(user)
	if int64(grownTo) >= k.sweepAt.Load() {
		k.sweep()
	}
	return e
}

// drop takes an entry off the table; e.mu is held, and nothing is under way.
func (k *Keeper) drop(e *entry) {
	e.gone = true
	k.entries.remove(e)
}

// sweep drops the entries whose token is over and that nobody uses. It runs
// when their number has doubled since the last time, so that each new user pays
// for a look at two old ones.
func (k *Keeper) sweep() {
	k.sweepAt.Store(math.MaxInt64) // one at a time
	for e := range k.entries.all() {
		if l := e.live.Load(); l != nil && k.Now().Before(l.ExpiresAt) {
			continue
		}
		if e.mu.TryLock() {
			if e.flight == nil && !e.gone && e.live.Load() != nil {
				k.drop(e)
			}
			e.mu.Unlock()
		}
	}
	k.entries.fit()
	k.sweepAt.Store(max(sweepFrom, 2*int64(k.entries.size())))
}

// tellRolledBack tells that the store has gone back in time; once a minute,
// because it is about the store and each link finds it out.
func (k *Keeper) tellRolledBack(user string) {
	now, last := k.Now().UnixNano(), k.toldRolledBack.Load()
	if now-last >= int64(time.Minute) && k.toldRolledBack.CompareAndSwap(last, now) {
		k.emit(Event{Kind: StoreRolledBack, User: user})
	}
}

// postpone puts off the next early refresh, so that a failing one is not
// repeated by every caller.
func (k *Keeper) postpone(e *entry) {
	l := e.live.Load()
	if l == nil {
		return
	}
	next := *l
	next.refreshAt = k.Now().Add(max(l.serveUntil.Sub(k.Now())/4, time.Second))
	k.setTicks(&next)
	e.live.CompareAndSwap(l, &next)
}

// publish shows a saved token to callers, unless the link was changed since
// the flight began.
func (k *Keeper) publish(e *entry, f *flight, r row, p pair) Token {
	life := p.expiresAt.Sub(p.askedAt)
	l := &live{
		Token:      Token{Value: p.grant.AccessToken, ExpiresAt: p.expiresAt, Generation: r.Generation},
		linkedAt:   r.LinkedAt.UnixMicro(),
		serveUntil: k.serveUntil(p),
		refreshAt:  p.expiresAt.Add(-time.Duration(float64(life) * (0.15 + 0.10*mathrand.Float64()))),
	}
	if l.refreshAt.After(l.serveUntil) || p.grant.RefreshToken == "" {
		l.refreshAt = l.serveUntil // nothing to refresh with, or no time to be early in
	}
	k.setTicks(l)
	e.mu.Lock()
	defer e.mu.Unlock()
	if f.epoch == e.epoch {
		e.seenAt.Store(k.Now().UnixNano())
		e.live.Store(l)
	}
	return l.Token
}

func (k *Keeper) setTicks(l *live) {
	if k.clock != nil {
		l.serveTick, l.refreshTick = l.serveUntil.UnixNano(), l.refreshAt.UnixNano()
	}
}

// serveUntil is when the hard margin begins. A token that lives for less than
// a few margins gets a smaller one, or it could never be handed out.
func (k *Keeper) serveUntil(p pair) time.Time {
	return p.expiresAt.Add(-min(k.HardMargin, p.expiresAt.Sub(p.askedAt)/4))
}

// serves reports whether the pair's access token can be handed out.
func (k *Keeper) serves(p pair, rejected string) bool {
	if p.grant.AccessToken == "" || p.grant.AccessToken == rejected {
		return false
	}
	return k.Now().Before(k.serveUntil(p))
}

// forget drops what the process knows of a user's token. A flight under way
// goes on, and does not publish: there is never a second one beside it.
func (k *Keeper) forget(user string) {
	if e := k.entries.get(user); e != nil {
		e.mu.Lock()
		e.epoch++
		e.live.Store(nil)
		if e.flight == nil && !e.gone {
			k.drop(e)
		}
		e.mu.Unlock()
	}
}

// Forget drops the user's token from memory: the next one comes from the store.
func (k *Keeper) Forget(user string) { k.forget(user) }

// Close forgets all tokens, stops new refreshes and waits for those under way,
// so that what they get is saved; or until ctx ends.
func (k *Keeper) Close(ctx context.Context) error {
	k.work.shut()
	k.entries.clear() // a flight publishes on the entry it has, where nobody looks
	return k.work.close(ctx)
}

// Health is what a keeper knows of its own state.
type Health struct {
	// Busy counts the approvals and refreshes under way.
	Busy int
	// Unsaved counts the refreshes whose answer the store has refused so far, and
	// that is in this process's memory only.
	Unsaved int
	// HeldBack says why refreshes are kept away from the token endpoint; nil if
	// they are not.
	HeldBack *WaitError
}

// Health returns what the keeper knows of its own state.
func (k *Keeper) Health() Health {
	return Health{Busy: k.work.count(), Unsaved: int(k.unsaved.Load()), HeldBack: k.breaker.heldBack(k.Now())}
}

// Go runs f on a goroutine that Close waits for. It reports false, and does not
// run f, when the keeper is closing.
func (k *Keeper) Go(f func()) bool {
	if !k.work.begin() {
		return false
	}
	go func() {
		defer k.work.end()
		f()
	}()
	return true
}

// LinkName is a short name for a user in logs: enough to find the link again,
// and not the host's own id, which may be an e-mail address.
func LinkName(user string) string {
	sum := sha256.Sum256([]byte(user))
	return hex.EncodeToString(sum[:6])
}

// Known returns the number of users of whom the process holds something in
// memory.
func (k *Keeper) Known() int { return k.entries.size() }
