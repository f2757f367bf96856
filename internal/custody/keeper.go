// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package custody keeps the tokens of each user alive, in a world where a refresh
// token works once and presenting it twice ends the session.
//
// It has two parts. Package core is the protocol: a state machine without clock,
// goroutine, I/O or randomness, of which every history can be explored. This
// package drives it. It runs one flight for a user at a time, does the one thing
// that the flight asks for (load, save, present a token), measures its own clock,
// and feeds back what came of it. It takes no decision about a link.
//
// Reading a valid token touches neither: no lock, no store, no machine.
package custody

import (
	"context"
	"crypto/rand"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// Config is what a Keeper needs. Every field is required but Ring, Verify,
// VerifyFirst, Scope, Ticks, OnEvent, Follow, SessionLife, EndsNotice, Forgive and
// the time-outs that have a default.
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
	// Verify finds out whose tokens these are, and whether they may be used: a
	// *RefusedError says no, any other error that it could not be found out.
	Verify func(ctx context.Context, c Candidate) (publicID string, err error)
	// VerifyFirst says that nobody gets a token of any session before Verify has
	// let it pass. Without it that holds for the sessions of a user who is linked.
	VerifyFirst bool
	// Now is the clock. It must not panic.
	Now func() time.Time
	// Ticks says that reading a token may look at the clock in ticks: right for
	// the machine's, and wrong for one that a test moves.
	Ticks  bool
	Logger *slog.Logger
	// OnEvent is told what happens, in order, on a goroutine of its own.
	OnEvent func(Event)
	// Follow returns flight with what is needed to tell who it was first begun
	// for.
	Follow func(flight, caller context.Context) context.Context

	// HardMargin is the life a token must have left to be handed out.
	HardMargin time.Duration
	// AssumedLife is the life of a token whose response does not say.
	AssumedLife time.Duration
	// SessionLife is how long a session lasts, 0 when that is not known.
	SessionLife time.Duration
	// EndsNotice is how long before its end a session is reported.
	EndsNotice time.Duration
	// Forgive is how long after a refresh whose response was lost the server takes
	// the same refresh token again; 0 for a server that never does.
	Forgive time.Duration
	// Foreseen are the causes of a rejection that are no sign of a store with the
	// tokens of yesterday.
	Foreseen []Cause
	// Hanging returns how many requests that nobody waits for any more still run in
	// the host's transport; nil if that is not known.
	Hanging func() int
	// PostTimeout is the longest a POST can take.
	PostTimeout time.Duration
	// VerifyTimeout bounds one call of Verify; 0 means one minute.
	VerifyTimeout time.Duration
	// StoreTimeout bounds one call of the store; 0 means 10 seconds.
	StoreTimeout time.Duration
}

// The protocol's durations. The explorer is run with others too: nothing but the
// time that patients wait depends on them.
const (
	// leaseTTL is the life of a lease without a beat. A refresh takes a second or
	// two, and a store a few milliseconds: this is generous for both.
	leaseTTL = 15 * time.Second
	// patience is how much longer a lease is left alone: its holder may have the
	// response, and be without a store for a moment.
	patience = time.Minute
	// replayAfter, unclearAfter and longestWait are the waits between attempts that
	// concern one link.
	replayAfter  = 15 * time.Second
	unclearAfter = 30 * time.Second
	longestWait  = 15 * time.Minute
	// retryUnclear is how often a link that was given up for unknown words is
	// looked at once more.
	retryUnclear = 6 * time.Hour
	// unclearLimit times unclearAfter, doubled each time, is at least a quarter of
	// an hour.
	unclearLimit = 6
	// visitFor is how long a second visit of a callback waits for the first, which
	// may take that long to exchange the code.
	visitFor = 3 * time.Minute
	// watchFor bounds one wait for another process's refresh.
	watchFor = 5 * time.Minute
	// keptFor is how long a process remembers the rows that it saved, in case the
	// store goes back; lagFor, how long a row that is missing may be lag.
	keptFor = 5 * time.Minute
	lagFor  = 10 * time.Second
	// staleLease is after how long a lease may be taken after half its life, by
	// processes that do not live long enough to watch it for longer.
	staleLease = 25 * time.Hour
)

// Keeper keeps the tokens of all users of one store, environment and client
// id. Its methods are safe for concurrent use.
type Keeper struct {
	Config
	policy  core.Policy
	clock   *clock
	entries *table
	// sweepAt is the number of entries at which the idle ones are dropped.
	sweepAt atomic.Int64
	// toldRolledBack is when that was last told.
	toldRolledBack atomic.Int64
	// unsaved are the trips with a response that the store has refused so far;
	// abandoned counts the calls of host code that hang.
	unsaved   unsaved
	abandoned atomic.Int64
	// deafStore: the last look at a record timed out.
	deafStore atomic.Bool
	outage    outage
	kept      keptRows
	work      work
	endpoint  endpoint
	counts    counts
	events    eventQueue
}

// New returns a Keeper.
func New(c Config) *Keeper {
	if c.StoreTimeout == 0 {
		c.StoreTimeout = 10 * time.Second
	}
	if c.VerifyTimeout == 0 {
		c.VerifyTimeout = time.Minute
	}
	_, finds := c.Store.(tokenstore.Finder)
	k := &Keeper{Config: c, entries: newTable(), policy: core.Policy{
		VerifyFirst: c.VerifyFirst, Finds: finds, TTL: leaseTTL, Patience: patience,
		ReplayAfter: replayAfter, UnclearAfter: unclearAfter, LongestWait: longestWait, RetryUnclear: retryUnclear,
		UnclearLimit: unclearLimit, WatchFor: watchFor, VisitFor: visitFor,
	}}
	k.clock = &clock{now: k.now}
	k.sweepAt.Store(sweepFrom)
	return k
}

// now is Config.Now.
func (k *Keeper) now() time.Time { return k.Now() }

// nonce returns a name that nobody has.
func nonce() string { return rand.Text()[:16] }

// Candidate is a session to verify.
type Candidate struct {
	User        string
	AccessToken string
	// PublicID is whom the link belongs to; "" if that is not known yet.
	PublicID string
}

// Token is an access token to use now.
type Token struct {
	Value     string
	ExpiresAt time.Time
	// Pair names the pair that it belongs to.
	Pair core.PairID
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
	// seenAt is when the record was last seen to be of the session of the live
	// token, by the clock that never goes backwards.
	seenAt atomic.Int64

	mu     sync.Mutex
	flight *flight // a call's, or an early refresh
	look   *flight // a check of what is not checked yet
	visits int     // authorizations and single events under way
	// epoch grows when the link is changed by this process: a flight that began
	// before must not publish what it read then.
	epoch int
	// gone: the entry is no longer in the table, and nothing may begin on it.
	gone bool
	// memory is what the process remembers between flights; nil without anything.
	memory *memory
}

// Close forgets all tokens, stops new refreshes and waits for those under way,
// so that what they get is saved; or until ctx ends. SaveFailed then tells of
// what is lost with the process. The events so far are delivered before it returns,
// unless the host takes more than a second.
func (k *Keeper) Close(ctx context.Context) error {
	k.work.shut()
	k.clock.stop()
	k.entries.clear() // a flight publishes on the entry it has, where nobody looks
	err := k.work.close(ctx)
	if err != nil {
		for _, user := range k.unsaved.users() {
			k.emit(Event{Kind: SaveFailed, User: user, Err: err})
		}
	}
	k.events.drain(deafAfter)
	return err
}

// Health is what a keeper knows of its own state.
type Health struct {
	// Busy counts the authorizations and refreshes under way.
	Busy int
	// Unsaved counts the responses that the store has not acknowledged so far, and
	// that may be in this process's memory only.
	Unsaved int
	// Abandoned counts the calls of host code that did not return in time and
	// still run.
	Abandoned int
	// HeldBack says why refreshes are kept away from the token endpoint; nil if
	// they are not.
	HeldBack *WaitError
}

// Health returns what the keeper knows of its own state.
func (k *Keeper) Health() Health {
	return Health{
		Busy: k.work.count(), Unsaved: len(k.unsaved.users()), Abandoned: k.hanging(), HeldBack: k.endpoint.heldBack(k.now()),
	}
}

// hanging returns how many calls of host code still run that nobody waits for.
func (k *Keeper) hanging() int {
	n := int(k.abandoned.Load())
	if k.Hanging != nil {
		n += k.Hanging()
	}
	return n
}

// Known returns the number of users of whom the process holds something in
// memory.
func (k *Keeper) Known() int { return k.entries.size() }

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

// idle reports whether nothing is under way for an entry; e.mu is held.
func (e *entry) idle() bool {
	return e.flight == nil && e.look == nil && e.visits == 0 && !e.gone
}

// visit begins an authorization or a single event.
func (k *Keeper) visit(ctx context.Context, user string, program core.Flight) *trip {
	for {
		e := k.entry(user)
		e.mu.Lock()
		if !e.gone {
			e.visits++
			t := k.newTrip(ctx, e, program, nil)
			e.mu.Unlock()
			return t
		}
		e.mu.Unlock()
	}
}

// left ends it.
func (k *Keeper) left(e *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.visits--
	k.settle(e)
}

// sweep drops the entries that nobody uses and nobody misses. It runs when their
// number has doubled since the last time, so that each new user pays for a look
// at two old ones.
func (k *Keeper) sweep() {
	k.sweepAt.Store(math.MaxInt64) // one at a time
	now := k.clock.exact()
	for e := range k.entries.all() {
		if l := e.live.Load(); l != nil && now < l.ExpiresAt.UnixNano() || !e.mu.TryLock() {
			continue
		}
		if e.idle() && e.memory.forgettable(now) {
			k.drop(e)
		}
		e.mu.Unlock()
	}
	k.entries.fit()
	k.sweepAt.Store(max(sweepFrom, 2*int64(k.entries.size())))
}
