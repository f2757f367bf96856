// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core

import "time"

// Goal is what a flight is for.
type Goal uint8

const (
	Call    Goal = iota + 1 // bring a token
	Warm                    // refresh early; nobody waits for it
	Look                    // check what is not checked yet; never refresh the active pair
	Approve                 // complete an authorization
	Put                     // record the one event in Flight.Ev
	Tend                    // do what is due though nobody calls
)

// InputKind is the effect that an Input is the result of, and how it went.
type InputKind uint8

// Each input is the result of the effect before it.
const (
	Begin       InputKind = iota + 1
	Loaded                // Input.Rec; version 0 if there is no row
	Saved                 // Input.Rec
	Conflict              // another writer was faster
	StoreFailed           // a load that failed, or a save whose outcome is unknown
	Entered               // Input.Open, and how long to Wait if it is false
	Answered              // Input.Outcome, the token endpoint's
	Lapsed                // too long since the lease was last confirmed
	Verified
	Found
	Waited
	Notified // Input.Heard: the host has accepted the notice
)

// Ruling is the result of checking a session.
type Ruling uint8

const (
	Known   Ruling = iota + 1 // Input.Patient
	Barred                    // it must not be used
	Unknown                   // the check was not possible
)

// Facts are what the driver measures by its own clock for one look at a record.
type Facts struct {
	// ActiveOver and CandidateOver mean that the access token has expired, by
	// whichever of two clocks is ahead.
	ActiveOver, CandidateOver bool
	// Since is the time since this process's last look, by whichever of two clocks
	// reports less.
	Since time.Duration
	// Here is the same since this flight's last look; 0 at its first.
	Here time.Duration
	// Due means that the active pair is old enough for an early refresh.
	Due bool
	// Ours means that the lease belongs to an earlier flight of this process, which
	// has ended; Unsent, that nothing was presented under it; Stale, that it was
	// taken more than a day ago.
	Ours, Unsent, Stale bool
	// Lagging means that a save of this process was acknowledged so lately that a
	// row that is missing, or older, may be lag.
	Lagging bool
	// Wary means that the store has just come back, and may have gone back in time.
	Wary bool
	// Tired means that the last check of a session failed a moment ago.
	Tired bool
	// Replaced means that a rejected token of this link was replaced less than a
	// minute ago.
	Replaced bool
	// Forgiven means that the server still takes the refresh token that this flight
	// has presented.
	Forgiven bool
	// Idle means that the active pair is older than the host wants, and Ended, that
	// its session should have ended since it was received.
	Idle, Ended bool
	// Ends is how near the end of the active session is.
	Ends Warning
	// Undecided means that the candidate has waited for too long; Old, that the
	// record has been without tokens for long enough; OldKey, that another key
	// sealed it.
	Undecided, Old, OldKey bool
	// Owing means that something is due by what the record has, and Full, that this
	// process leaves as many records due as it can.
	Owing, Full bool
	// Parsed is the successor, now readable, in the kept response to ParsedFrom.
	Parsed     Pair
	ParsedFrom PairID
}

// Input is the result of one effect.
type Input struct {
	Kind  InputKind
	Rec   Record
	Facts Facts
	// For Entered.
	Open bool
	Wait time.Duration
	// For Answered.
	Outcome Outcome
	Next    Pair
	Cause   Cause
	Evidence
	// For Verified and Found.
	Ruling  Ruling
	Patient string
	Shared  bool // another user is linked with the patient
	Claimed bool // another user is about to be
	Yield   bool // and has precedence
	Heard   bool
	// Nonce is fresh, for the next acquisition or visit.
	Nonce string
}

// EffectKind is what the driver is to do.
type EffectKind uint8

const (
	Load     EffectKind = iota + 1
	Save                // Effect.Rec
	Delete              // Effect.Rec
	Enter               // ask the breaker, for Effect.Pair
	Post                // present the refresh token of Effect.Pair
	Exchange            // present the code of the flight's session
	Verify              // find out whose Effect.Pair is
	Find                // look for other users of Effect.Patient
	Notify              // deliver Effect.Notice to the host
	Wait                // a moment; longer if Effect.Long
	Done                // Effect.Result
)

// Effect is the one thing that a flight waits for.
type Effect struct {
	Kind    EffectKind
	Rec     Record
	Pair    PairID
	Patient string
	Notice  Notice
	Long    bool
	Result  Result
	// Tell releases the callers now, though the flight goes on: with StoreTrouble,
	// or with Token for a pair that is in the record and not acknowledged.
	Tell Result
	// Look means that a session is left to check, and nobody has to wait for it.
	Look bool
	// After is how long the caller should wait, for the Later results.
	After time.Duration
}

// Result is what callers receive. The record has the rest.
type Result uint8

const (
	Token          Result = iota + 1 // of Effect.Pair
	NoLink                           // and no data may be shown
	LostNow                          // relink required
	LaterElsewhere                   // another process is refreshing
	LaterUncertain                   // a presentation has an unknown outcome
	LaterUnclear                     // refused with an unrecognized error
	LaterHeld                        // the breaker is open
	LaterUnsent                      // the endpoint could not be reached
	LaterAppWide                     // it refuses the application, or everybody
	LaterUnread                      // a response is kept that cannot be read
	LaterUnchecked                   // the session cannot be checked yet
	LaterRejected                    // the last access token was rejected, and there is no other
	LaterBehind                      // the store has gone back, and this process cannot restore it
	LaterWary                        // the store has just come back
	LaterReplaced                    // the token was replaced a moment ago
	StoreTrouble
	Looked             // nothing is left to check, or not now
	LinkMade           // Approve: the session is active
	LinkWaiting        // Approve: it is the candidate, and there is no other link
	LinkUnchecked      // Approve: it is the candidate, and a link is in use
	ApprovalBarred     // Approve: it must not be used
	ApprovalOther      // Approve: it is another patient's
	ApprovalShared     // Approve: another user is linked with its patient
	ApprovalOvertaken  // Approve: a later one, or an unlink, has replaced it
	ApprovalUsed       // Approve: it was completed before, and is not the link
	ApprovalUnlinked   // Approve: the user was unlinked since it began
	ApprovalStalled    // Approve: another visit began and did not end
	ApprovalFailed     // Approve: there is no pair; the code may be spent
	ApprovalRepeatable // Approve: there is no pair; the same callback may be repeated
	Recorded           // Put: the event is in the record
	Unneeded           // Put: it was in the record
	Overruled          // Put: the record has moved on
	Swept              // Tend: what could be done was done
)

type at uint8

const (
	atDecide at = iota
	atWrite
	atReload
	atEnter
	atPost
	atExchange
	atVerify
	atFind
	atNotify
	atDone
)

// maxSends bounds how often a form that never left is sent under one intent;
// maxLapses, how often a flight is too late to send.
const (
	maxSends  = 3
	maxLapses = 2
)

// Flight is one program under way: everything it knows, and nothing else.
type Flight struct {
	Goal Goal
	// Rejected means that an API rejected the caller's access token.
	Rejected bool
	Session  string
	Terms    Terms
	Unlinks  uint64
	// Kept is what the record that this process last saw acknowledged proves;
	// Newest, the furthest pair whose token it had.
	Kept   Record
	Newest PairID
	Sight  Sight

	At    at
	Back  at     // where to continue after a wait
	Rec   Record // as last read or written
	Owner string // of the lease, or of the visit
	Pair  PairID // presented
	Over  bool   // nothing was left to lose when the lease was taken
	Ev    Event  // being written
	Asked string // the session that was checked in this flight
	Whose string
	// Bought is the pair that this flight received. It is used once, whatever the
	// clock shows, or a clock that is hours ahead would refresh for ever.
	Bought  PairID
	Absent  bool // the row was missing at the last look
	Failing bool // the store does not accept Ev
	Told    bool // callers were released with that
	Sends   uint8
	Lapses  uint8
	Replays uint8
	After   Result // returned in place of Token, if the record has none that serves
	Teller  string // of claims on notices
	Unheard bool   // the host did not accept a notice
	Left    bool   // the rest was postponed
	Watched time.Duration
	Out     Result
}

// Learn takes over what a record proves that another flight of this process has saved
// meanwhile.
func (f *Flight) Learn(saved Record) { f.Kept = saved.kept(f.Owner) }

// Idle reports whether the flight may end now: it holds nothing, and writes nothing.
func (f *Flight) Idle() bool { return f.At == atDecide && f.Ev.Kind == 0 && f.Asked == "" }

// Step takes the result of the last effect and returns the next one, with the flight as
// it is then.
func (f Flight) Step(p Policy, in Input) (Flight, Effect) {
	e := f.step(p, &in)
	return f, e
}

func (f *Flight) step(p Policy, in *Input) Effect {
	switch in.Kind {
	case Begin:
		return f.start(in.Nonce)
	case Loaded:
		return f.loaded(p, in)
	case Saved:
		f.Rec, f.Kept, f.Absent = in.Rec, in.Rec.kept(f.Owner), false
		f.Sight.look(p, &f.Rec, 0) // its own writes count as seen
		return f.written(p, in)
	case Conflict:
		return f.load(atReload)
	case StoreFailed:
		return f.failed()
	case Entered:
		return f.entered(p, in)
	case Answered:
		return f.answered(p, in)
	case Lapsed:
		f.Lapses++
		f.After = StoreTrouble
		return f.put(p, in, Event{Kind: NotSpent, Owner: f.Owner, Pair: f.Pair})
	case Verified:
		return f.verified(p, in)
	case Found:
		return f.found(p, in)
	case Notified:
		return f.notified(p, in)
	}
	return f.load(f.Back) // Waited
}

func (f *Flight) start(nonce string) Effect {
	f.Kept = f.Kept.kept("")
	switch f.Goal {
	case Approve:
		f.Owner = nonce
	case Tend:
		f.Teller = nonce
	case Put:
		return f.load(atReload)
	}
	return f.load(atDecide)
}

func (f *Flight) load(where at) Effect {
	f.At, f.Rec = where, Record{} // what was read before no longer matters
	return Effect{Kind: Load}
}

func (f *Flight) wait(back at, long bool) Effect {
	f.Back, f.Rec = back, Record{}
	return Effect{Kind: Wait, Long: long}
}

func (f *Flight) done(r Result, id PairID) Effect {
	f.At, f.Out = atDone, r
	return Effect{Kind: Done, Result: r, Pair: id}
}

func (f *Flight) later(r Result, after time.Duration) Effect {
	e := f.done(r, PairID{})
	e.After = after
	return e
}

func (f *Flight) loaded(p Policy, in *Input) Effect {
	f.Rec = in.Rec
	missing := in.Rec.Version == 0
	if missing && (in.Facts.Lagging && f.Kept.Version != 0 || !f.Absent && (f.Kept.Version != 0 || !f.Newest.IsZero())) {
		// The row was there: a lagging read is waited for, a deletion is confirmed
		// by a second look.
		f.Absent = true
		return f.wait(f.At, false)
	}
	if f.Absent = missing; missing {
		f.Kept, f.Newest = Record{}, PairID{}
	}
	f.Sight.look(p, &f.Rec, in.Facts.Since)
	if f.At == atReload {
		return f.write(p, in)
	}
	return f.decide(p, in)
}

// failed keeps what is being written from getting lost, and finds a lease that may
// have been taken. Only a first look can fail as a whole.
func (f *Flight) failed() Effect {
	if f.At != atWrite && f.At != atReload {
		return f.done(StoreTrouble, PairID{})
	}
	tell := Result(0)
	if f.Failing && !f.Told {
		f.Told, tell = true, StoreTrouble
	}
	f.Failing = true
	e := f.load(atReload)
	e.Tell = tell
	return e
}

// put writes an event, first against the current record.
func (f *Flight) put(p Policy, in *Input, e Event) Effect {
	f.Ev, f.Failing, f.Told = e, false, false
	if e.Kind == NotSpent || e.Kind == Refused {
		// The intent is undone: a row without it has lost nothing, even if the
		// response to this save gets lost.
		kept := p
		kept.Notices = 0 // nothing is owed before it is in the record
		f.Kept, _ = kept.Apply(f.Kept, e)
	}
	return f.write(p, in)
}

func (f *Flight) write(p Policy, in *Input) Effect {
	if f.Ev.Kind == Acquire && f.At == atReload && f.Rec.Lease.Owner != f.Owner {
		return f.outrun(p, in)
	}
	base := f.base()
	next, verdict := p.Apply(base, f.Ev)
	switch verdict {
	case Write:
		if f.Ev.Kind == Admit && f.Ev.Patient != "" && f.At == atReload {
			return f.anew(p, in)
		}
		return f.save(next)
	case Remove:
		f.At = atWrite
		return Effect{Kind: Delete, Rec: f.Rec}
	case Already:
		return f.already(p, in, base)
	case Denied:
		return f.denied(p, in.Facts)
	}
	return f.superseded(p, in)
}

// base is the record that the event is applied to, merged with what this process
// knows.
func (f *Flight) base() Record {
	r := f.Rec
	if f.Ev.Kind != Restore && r.Version != 0 && r.Behind(f.Kept) {
		r = r.Merged(f.Kept)
	}
	if own := f.Kept.mark(f.Session); f.Goal == Approve && own.State == Open && own.By == f.Owner && r.Version != 0 && r.Unlinks <= f.Unlinks && r.mark(f.Session).State == 0 {
		r.setMark(own) // nobody else removes it, so the store has lost it
	}
	return r
}

// outrun handles a lease that was not written. Unlike every other event, Acquire was
// decided on what the record showed, so it is decided again.
func (f *Flight) outrun(p Policy, in *Input) Effect {
	f.Ev = Event{}
	if f.Failing {
		f.Lapses++ // nothing can be sent under a lease that cannot be written
	}
	if f.Told || f.Failing && f.Lapses >= maxLapses {
		return f.done(StoreTrouble, PairID{})
	}
	return f.decide(p, in)
}

func (f *Flight) save(next Record) Effect {
	f.At = atWrite
	e := Effect{Kind: Save, Rec: next}
	if f.Failing && !f.Told {
		f.Told, e.Tell = true, StoreTrouble
	}
	return e
}

func (f *Flight) already(p Policy, in *Input, base Record) Effect {
	switch {
	case f.Failing && f.Ev.acknowledges():
		return f.again(base)
	case f.Goal == Put:
		return f.done(Unneeded, PairID{})
	}
	return f.written(p, in)
}

// anew decides an admission again, against a record that somebody has changed.
func (f *Flight) anew(p Policy, in *Input) Effect {
	failing := f.Failing
	e := f.admit(p, in)
	if failing && e.Kind != Done {
		e.Tell = StoreTrouble
	}
	return e
}

// acknowledges reports whether an event is saved only once the store has
// acknowledged it: because it holds what nobody else has, or because a request
// relies on it. A row that can be read back may be missing on every standby.
func (e *Event) acknowledges() bool {
	return e.Kind == Successor || e.Kind == Settle || e.Kind == Acquire || e.Kind == Reserve || e.Kind == Import
}

// again writes the record until that is acknowledged, unchanged but for the beat of a
// lease: others have watched it since it landed. Callers may use what is in it.
func (f *Flight) again(r Record) Effect {
	f.At = atWrite
	if f.Ev.Kind == Acquire {
		r.Lease.Beat++
	}
	e := Effect{Kind: Save, Rec: r}
	if f.Ev.Kind == Successor && r.Phase == Linked && r.Active.ID == f.Ev.Next.ID && !f.Told {
		f.Told, e.Tell, e.Pair = true, Token, f.Ev.Next.ID
	}
	return e
}

func (f *Flight) written(p Policy, in *Input) Effect {
	e := f.Ev
	f.Ev, f.Failing = Event{}, false
	if f.Goal == Put {
		return f.done(Recorded, PairID{})
	}
	switch e.Kind {
	case Reserve:
		f.At = atExchange
		return Effect{Kind: Exchange}
	case Release, Forfeit:
		return f.done(f.After, PairID{})
	case Settle:
		if f.Rec.Candidate.ID.Session != f.Session {
			return f.approved(e) // somebody has checked it already
		}
		return f.ask(f.Rec.Candidate.ID)
	case Acquire:
		if f.Rec.Lease.Owner == f.Owner {
			f.At, f.Sends = atPost, 1
			return Effect{Kind: Post, Pair: f.Pair}
		}
		f.Pair = PairID{} // the row is further than the pair
	case ClaimNotice:
		return f.notify(p, in)
	case Claim:
		return f.claimed(p, in, e)
	case Admit, Refuse:
		if f.Goal == Approve {
			return f.approved(e)
		}
	case Ambiguous, Unreadable, Refused, NotSpent:
		return f.presented(p, in, e)
	case Successor:
		f.Rejected, f.Bought, f.After = false, e.Next.ID, 0
	}
	return f.decide(p, in)
}

// presented continues after a presentation that brought no pair.
func (f *Flight) presented(p Policy, in *Input, e Event) Effect {
	f.Pair = PairID{}
	switch {
	case e.Kind == NotSpent && f.After == StoreTrouble && f.Lapses < maxLapses:
		f.After = 0
		return f.load(atDecide)
	case e.Kind == Ambiguous && f.Replays == 0 && f.Rec.tried(e.Pair) == 1 && (f.Over || in.Facts.Forgiven):
		f.Replays, f.After = 1, 0 // nothing is left to lose, or nothing can be lost: once more
		return f.wait(atDecide, true)
	}
	return f.decide(p, in)
}

// superseded continues after the record has moved on: the record shows what that
// means.
func (f *Flight) superseded(p Policy, in *Input) Effect {
	e := f.Ev
	f.Ev, f.Failing = Event{}, false
	switch {
	case f.Goal == Put:
		return f.done(Overruled, PairID{})
	case f.Goal == Approve && (e.Kind == Release || e.Kind == Forfeit) && !f.Rec.Holds(f.Session):
		return f.done(f.After, PairID{})
	case f.Goal == Approve:
		return f.approved(e)
	}
	return f.decide(p, in)
}
