// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package custody keeps the tokens of each user alive, in a world where a refresh
// token works once and presenting it twice ends the session.
//
// It has two parts. Package core is the protocol: a state machine without clock,
// goroutine, I/O or randomness, of which every history can be explored. This package
// drives it. It runs one flight for a user at a time, performs the one effect that
// the flight asks for (load, save, present a token), measures its own clock, and
// feeds back the result. It takes no decision about a link.
//
// Reading a valid token uses neither: no lock, no store, no state machine.
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

// Config is what a Keeper needs. Every field is required except Ring, Verify,
// VerifyFirst, Scope, Ticks, OnEvent, Follow, SessionLife, Warnings, Notify, OnNotice,
// OnSweep, KeepWarm, TendRate, Forgive and the time-outs that have a default.
type Config struct {
	Store tokenstore.Store
	// Ring seals what the store keeps. It may be nil for a store in memory only.
	Ring *seal.Ring
	// Environment and ClientID must match those of every record.
	Environment string
	ClientID    string
	// Scope is the scope that tokens should have; "" means any.
	Scope   string
	Refresh func(ctx context.Context, refreshToken string) tokenwire.Outcome
	// Verify returns whose tokens these are. A *RefusedError means that they must
	// not be used; any other error, that the check was not possible.
	Verify func(ctx context.Context, c Candidate) (publicID string, err error)
	// VerifyFirst means that nobody gets a token of a session before Verify has
	// accepted it. Without it that holds only for the sessions of a user who is
	// linked.
	VerifyFirst bool
	// Now is the clock. It must not panic.
	Now func() time.Time
	// Ticks means that reading a token may use a clock in ticks: right for the
	// system clock, and wrong for one that a test moves.
	Ticks  bool
	Logger *slog.Logger
	// OnEvent receives the events, in order, on a goroutine of its own.
	OnEvent func(Event)
	// Follow returns flight with the values of caller that identify for whom it was
	// first begun.
	Follow func(flight, caller context.Context) context.Context

	// HardMargin is the life that a returned token has left at least.
	HardMargin time.Duration
	// AssumedLife is the life of a token whose response does not state it.
	AssumedLife time.Duration
	// SessionLife is how long a session lasts, 0 if that is not known.
	SessionLife time.Duration
	// Warnings are how long before its end a session is reported, the longer first.
	Warnings [2]time.Duration
	// Notify delivers a notice to the host, which accepts it by returning nil. It may
	// be nil: then none are kept.
	Notify func(context.Context, Notice) error
	// OnNotice is called after a call of Notify, with whether the host accepted the
	// notice, and OnSweep when Tend or TendOnce has done what was due. Both are called as
	// OnEvent is, and may be nil.
	OnNotice func(n Notice, accepted bool)
	OnSweep  func(Sweep)
	// KeepWarm is after how long without a refresh Tend refreshes a link; 0 means
	// never.
	KeepWarm time.Duration
	// TendRate is how many refreshes Tend begins in a second; 0 means 10.
	TendRate float64
	// Forgive is how long after a refresh whose response was lost the server accepts
	// the same refresh token again; 0 means never.
	Forgive time.Duration
	// Foreseen are the causes of a rejection that are no sign of a store with old
	// tokens.
	Foreseen []Cause
	// Hanging returns how many abandoned requests still run in the host's transport.
	// It may be nil.
	Hanging func() int
	// PostTimeout is the longest a POST can take.
	PostTimeout time.Duration
	// VerifyTimeout bounds one call of Verify; 0 means one minute.
	VerifyTimeout time.Duration
	// StoreTimeout bounds one call of the store; 0 means 10 seconds.
	StoreTimeout time.Duration
}

// The protocol's durations. The explorer runs with others too: only the time that
// patients wait depends on them.
const (
	// leaseTTL is the life of a lease without a beat. A refresh takes a second or
	// two, and a store a few milliseconds: this is generous for both.
	leaseTTL = 15 * time.Second
	// patience is how much longer a lease is left alone: its holder may have the
	// response, and no store for a moment.
	patience = time.Minute
	// These are the waits between attempts that concern one link.
	replayAfter  = 15 * time.Second
	unclearAfter = 30 * time.Second
	longestWait  = 15 * time.Minute
	// retryUnclear is how often a link that ended after unrecognized errors is tried
	// once more.
	retryUnclear = 6 * time.Hour
	// unclearLimit times unclearAfter, doubled each time, is at least a quarter of
	// an hour.
	unclearLimit = 6
	// visitFor is how long a second visit of a callback waits for the first, which
	// may need that long to exchange the code.
	visitFor = 3 * time.Minute
	// watchFor bounds one wait for another process's refresh.
	watchFor = 5 * time.Minute
	// keptFor is how long a process remembers the rows that it saved, in case the
	// store goes back; lagFor, how long a missing row may be lag.
	keptFor = 5 * time.Minute
	lagFor  = 10 * time.Second
	// staleLease is the age at which a lease may be taken after half its life, by
	// processes that do not live long enough to watch it for longer.
	staleLease = 25 * time.Hour
)

// Keeper keeps the tokens of all users of one store, environment and client id. Its
// methods are safe for concurrent use.
type Keeper struct {
	Config
	policy core.Policy
	clock  *clock
	// prefix is the store's, of tokenstore.WithPrefix, or "".
	prefix  string
	entries *table
	// sweepAt is the number of entries at which the idle ones are dropped.
	sweepAt atomic.Int64
	// toldRolledBack is when StoreRolledBack was last emitted.
	toldRolledBack atomic.Int64
	// unsaved are the trips whose response the store has not accepted yet; abandoned
	// counts the calls of host code that hang.
	unsaved   unsaved
	abandoned atomic.Int64
	// deafStore means that the last look at a record timed out.
	deafStore atomic.Bool
	outage    outage
	kept      keptRows
	work      work
	endpoint  endpoint
	counts    counts
	events    eventQueue
	tender    tender
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
	if part, ok := c.Store.(interface{ Prefix() string }); ok {
		k.prefix = part.Prefix()
	}
	if c.Notify != nil {
		k.policy.Notices = mostNotices
	}
	k.clock = &clock{now: k.now}
	k.sweepAt.Store(sweepFrom)
	return k
}

func (k *Keeper) now() time.Time { return k.Now() }

// nonce returns a name that nobody else uses.
func nonce() string { return rand.Text()[:16] }

// Candidate is a session to verify.
type Candidate struct {
	User        string
	AccessToken string
	// PublicID is the patient of the link; "" if unknown.
	PublicID string
}

// Token is an access token to use now. What a reading of a valid token needs comes
// first, to be in one line of the processor's cache.
type Token struct {
	// Reveal returns Value. It is made once, so that handing the token out concealed
	// allocates nothing.
	Reveal    func() string
	ExpiresAt time.Time
	Value     string
	Pair      core.PairID
}

// String implements fmt.Stringer: a Token prints nothing of itself.
func (Token) String() string { return "[redacted]" }

func (Token) GoString() string { return "[redacted]" }

type entry struct {
	user string
	live atomic.Pointer[live]
	next atomic.Pointer[entry] // the table's
	hash uint32                // the table's, of user
	// visits are authorizations and single events under way.
	visits int32
	// seenAt is when the record was last seen to have the session of the live token,
	// by the clock that never goes backwards.
	seenAt atomic.Int64
	// opens is whose record a session opens, as last read; it may be nil.
	opens atomic.Pointer[opens]

	mu     sync.Mutex
	flight *flight // a call's, or an early refresh
	look   *flight // a check of what is not checked yet
	// epoch grows when this process changes the link: a flight that began before
	// must not publish what it read then.
	epoch uint32
	// gone means that the entry is no longer in the table, and nothing may begin on
	// it.
	gone bool
	// memory is what the process remembers between flights; it may be nil.
	memory *memory
}

// Close forgets all tokens, stops new refreshes and waits until those under way are
// saved, or until ctx ends. It then emits SaveFailed for what is lost with the
// process. The events so far are delivered before it returns, unless the host needs
// more than a second.
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

// Sweep is what was done for links that were due.
type Sweep struct {
	// Links is how many were looked at since the last one, and Undelivered is as in
	// Health.
	Links, Undelivered int
	// Err is why the sweep ended early, or nil: a *StoreError.
	Err error
}

// Prefix is the one under which the links are in the store, "" without one.
func (k *Keeper) Prefix() string { return k.prefix }

// Health is the state of a keeper.
type Health struct {
	// Busy counts the authorizations and refreshes under way.
	Busy int
	// Unsaved counts the responses that the store has not acknowledged yet, and that
	// may be in this process's memory only.
	Unsaved int
	// Abandoned counts the calls of host code that did not return in time and still
	// run.
	Abandoned int
	// Tending reports that Tend runs in this process, and Undelivered counts the links
	// with a notice that the host did not accept from this process.
	Tending     bool
	Undelivered int
	// HeldBack is why refreshes are kept away from the token endpoint, or nil.
	HeldBack *WaitError
}

// Health returns the state of the keeper.
func (k *Keeper) Health() Health {
	tending, undelivered := k.tender.health()
	return Health{
		Tending: tending, Undelivered: undelivered,
		Busy: k.work.count(), Unsaved: len(k.unsaved.users()), Abandoned: k.hanging(), HeldBack: k.endpoint.heldBack(k.now()),
	}
}

// hanging returns how many abandoned calls of host code still run.
func (k *Keeper) hanging() int {
	n := int(k.abandoned.Load())
	if k.Hanging != nil {
		n += k.Hanging()
	}
	return n
}

// Known returns the number of users of whom the process holds anything in memory.
func (k *Keeper) Known() int { return k.entries.size() }

// sweepFrom is the number of entries at which the first sweep runs.
const sweepFrom = 4096

// entry returns the entry of a user, which may be a new one.
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

// drop removes an entry from the table; e.mu is held, and nothing is under way.
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

// left ends a visit.
func (k *Keeper) left(e *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.visits--
	k.settle(e)
}

// sweep drops the entries that nobody needs. It runs when their number has doubled
// since the last time, so that each new user pays for a look at two old ones.
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
