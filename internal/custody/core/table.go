// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core

import "time"

// EventKind is what a writer wants to record.
type EventKind uint8

// The events. Those from NotSpent to Reject report what a presentation came to,
// and need the lease under which it was made.
const (
	Reserve    EventKind = iota + 1 // a visit is about to spend the code of a session
	Release                         // it did not spend it
	Forfeit                         // it spent it, and there is no pair
	Settle                          // the first pair of the session
	Claim                           // whose the session is about to be; "" withdraws
	Admit                           // the session is this patient's
	Refuse                          // the session must not be used
	Acquire                         // the right to present a pair's refresh token
	Beat                            // its holder is alive
	Successor                       // the pair that a pair was exchanged for
	NotSpent                        // not sent, or refused for the application
	Refused                         // refused in unknown words
	Ambiguous                       // no response that proves anything
	Unreadable                      // a whole response that cannot be read
	Reject                          // refused, and the session has ended
	Unusable                        // nothing is left but a response that cannot be read
	Lose                            // an API call learned that the session has ended
	Abandon                         // the candidate can no longer be checked
	Unlink                          // the host ends the link
	Restore                         // the store has gone back: what this process knows is merged
	Discard                         // an operator gives a response up that cannot be read
	Reseal                          // nothing changes but the key
	Forget                          // nothing is left that anybody could need
)

var eventNames = [...]string{
	"", "Reserve", "Release", "Forfeit", "Settle", "Claim", "Admit", "Refuse", "Acquire", "Beat", "Successor", "NotSpent", "Refused",
	"Ambiguous", "Unreadable", "Reject", "Unusable", "Lose", "Abandon", "Unlink", "Restore", "Discard", "Reseal", "Forget",
}

// String implements fmt.Stringer.
func (k EventKind) String() string { return eventNames[k] }

// Event is one writer's wish. It names what it is about, never what it saw.
type Event struct {
	Kind  EventKind
	Owner string // of a lease or a visit
	Pair  PairID
	// Next is the successor, or the first pair of Settle.
	Next    Pair
	Session string
	// Unlinks is how often the user had been unlinked when an authorization began.
	Unlinks uint64
	Patient string
	Terms   Terms
	Cause   Cause
	// Shared: another user is linked with Patient.
	Shared bool
	// Witnessed: other links succeeded meanwhile; Few: so few links are refused
	// in unknown words that it is not the server.
	Witnessed, Few bool
	// Old: the record has been without tokens for long enough.
	Old bool
	TTL time.Duration
	// Known is what this process has seen acknowledged.
	Known *Record
}

// Verdict is what a record says to an event.
type Verdict uint8

// The verdicts.
const (
	Write      Verdict = iota + 1 // save the record
	Already                       // it is in the record: an earlier save landed
	Superseded                    // the record has moved on: nothing to do
	Denied                        // another visit has the authorization
	Remove                        // delete the record
)

// String implements fmt.Stringer.
func (v Verdict) String() string {
	return [...]string{"", "write", "already", "superseded", "denied", "remove"}[v]
}

// Policy is what the host configured, and the protocol's durations.
type Policy struct {
	// VerifyFirst: nobody gets a token of a session that was not verified.
	VerifyFirst bool
	// Finds: the store can find the other users of a patient.
	Finds bool
	// TTL is the life of a lease without a beat; Patience is how much longer it
	// is left alone, since its holder may have the response and no store.
	TTL, Patience time.Duration
	// ReplayAfter is the first wait before a lost presentation is repeated a
	// second time; UnclearAfter, before a token is presented again that was
	// refused in unknown words. Both double, up to LongestWait.
	ReplayAfter, UnclearAfter, LongestWait time.Duration
	// RetryUnclear is how long a link that was ended for unknown words waits
	// before its token is presented once more.
	RetryUnclear time.Duration
	// UnclearLimit is after how many witnessed refusals such a link ends.
	UnclearLimit int
	// WatchFor bounds how long a flight watches another one's lease, and
	// VisitFor, how long a visit watches another one's exchange; 0 for ever.
	WatchFor, VisitFor time.Duration
}

// Rule is a row of the table.
type Rule struct {
	Event EventKind
	When  string // the condition, in words
	Then  string // the record after it, in words
	is    func(Policy, *Record, *Event) bool
	do    func(*Record, *Event)
	as    Verdict
}

// Verdict returns what the row says to its event.
func (r *Rule) Verdict() Verdict { return r.as }

// Table is the protocol: of the rows of an event the first counts whose condition
// holds. Where none does, the event is superseded. The rows that only say so are
// left out.
var Table = []Rule{
	{Reserve, "unlinked since it began", "", unlinkedSince, nil, Superseded},
	{Reserve, "mark unknown", "mark open by the visit; none, unlinked -> pending", markUnknown, openMark, Write},
	{Reserve, "mark open by the same visit", "", markMine, nil, Already},
	{Reserve, "else", "", always, nil, Denied},
	{Release, "mark open by the same visit", "mark removed", markMine, removeMark, Write},
	{Forfeit, "mark open by the same visit", "mark spent", markMine, spendMark, Write},
	{Settle, "session held", "", sessionHeld, nil, Already},
	{Settle, "mark open by the same visit", "mark spent; the pair is the candidate", markMine, settle, Write},
	{Claim, "session held, claim is the same", "", claimSame, nil, Already},
	{Claim, "session held", "claim", sessionHeld, claim, Write},
	{Admit, "active, patient the same or not known", "", activeSame, nil, Already},
	{Admit, "active, patient differs", "", activeOther, nil, Superseded},
	{Admit, "active, shared", "relink (shared); tokens kept", activeShared, endShared, Write},
	{Admit, "active", "patient", isActive, fixPatient, Write},
	{Admit, "candidate, patient not known, and a link or Identify", "", mustWait, nil, Superseded},
	{Admit, "candidate, shared or another patient against its terms", "candidate removed", unwelcome, dropCandidate, Write},
	{Admit, "candidate", "candidate -> active; linked; patient", isCandidate, admit, Write},
	{Refuse, "candidate", "candidate removed", isCandidate, dropCandidate, Write},
	{Refuse, "active, patient not known, no decision", "relink (wrong_patient); tokens kept", activeUndecided, endWrong, Write},
	{Acquire, "lease mine", "", leaseMine, nil, Already},
	{Acquire, "pair held, nothing unread", "lease mine; tried + 1", presentable, acquire, Write},
	{Beat, "lease mine", "beat + 1", leaseMine, beat, Write},
	{Successor, "successor held", "", nextHeld, nil, Already},
	{Successor, "pair active, relink by evidence", "the successor in its place; linked; my lease released", revives, revive, Write},
	{Successor, "pair held", "the successor in its place; my lease released", pairHeld, replace, Write},
	{Successor, "lease mine", "lease released", leaseMine, release, Write},
	{NotSpent, "lease mine, pair held", "tried - 1; lease released", mineHeld, unsend, Write},
	{NotSpent, "lease mine", "lease released", leaseMine, release, Write},
	{Refused, "lease mine, pair held, witnessed to the limit", "relink (refused_unclear); lease released", unclearLimit, endUnclear, Write},
	{Refused, "lease mine, pair held", "tried - 1; unclear + 1 if witnessed; lease released", mineHeld, refused, Write},
	{Refused, "lease mine", "lease released", leaseMine, release, Write},
	{Ambiguous, "lease mine", "lease released; tried stays", leaseMine, release, Write},
	{Unreadable, "lease mine, pair held", "response kept; lease released; tried stays", mineHeld, keepUnread, Write},
	{Unreadable, "lease mine", "lease released", leaseMine, release, Write},
	{Reject, "lease mine, pair held, presented before", "relink (outcome_unknown), or candidate removed; lease released", replayed, endUnknown, Write},
	{Reject, "lease mine, pair held", "relink (cause), or candidate removed; lease released", mineHeld, reject, Write},
	{Reject, "lease mine", "lease released", leaseMine, release, Write},
	{Unusable, "linked, pair active, unread", "relink (answer_unreadable); response kept", unusable, endUnreadable, Write},
	{Lose, "linked, pair active", "relink (cause)", activeLinked, lose, Write},
	{Abandon, "candidate", "candidate removed", isCandidate, dropCandidate, Write},
	{Unlink, "unlinked", "", isUnlinked, nil, Already},
	{Unlink, "else", "tombstone; marks void; unlinks + 1", always, unlink, Write},
	{Restore, "row behind what is known", "facts merged", isBehind, restore, Write},
	{Discard, "pair held, unread", "response given up", heldUnread, discard, Write},
	{Reseal, "pairs held", "the same", hasPairs, nothing, Write},
	{Forget, "no pairs, old", "row deleted", forgettable, nothing, Remove},
}

// Apply returns what an event makes of a record, and what the record says to it.
// The record is changed only for Write.
func (p Policy) Apply(r Record, e Event) (Record, Verdict) {
	if i := p.Row(r, e); i >= 0 {
		rule := &Table[i]
		if rule.as == Write {
			rule.do(&r, &e)
		}
		return r, rule.as
	}
	return r, Superseded
}

// Row returns the index of the row that an event meets, or -1.
func (p Policy) Row(r Record, e Event) int {
	for i := range Table {
		if rule := &Table[i]; rule.Event == e.Kind && rule.is(p, &r, &e) {
			return i
		}
	}
	return -1
}
