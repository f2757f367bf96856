// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core

import "time"

// EventKind is what a writer wants to record.
type EventKind uint8

// The events from NotSpent to Reject record the outcome of a presentation, and need
// the lease under which it was made.
const (
	Reserve     EventKind = iota + 1 // a visit is about to spend the code of a session
	Release                          // the visit did not spend it
	Forfeit                          // the visit spent it, and there is no pair
	Settle                           // the first pair of the session
	Claim                            // whose the session is about to be; "" withdraws
	Admit                            // the session is this patient's
	Refuse                           // the session must not be used
	Acquire                          // take the right to present a pair's refresh token
	Beat                             // the lease's holder is alive
	Successor                        // the pair that a pair was exchanged for
	NotSpent                         // not sent, or refused for the application
	Refused                          // refused with an unrecognized error
	Ambiguous                        // no response that proves anything
	Unreadable                       // a complete response that cannot be read
	Reject                           // refused, and the session has ended
	Unusable                         // nothing is left but a response that cannot be read
	Lose                             // an API call learned that the session has ended
	Abandon                          // the candidate can no longer be checked
	Unlink                           // the host ends the link
	Restore                          // the store has gone back: what this process knows is merged
	Discard                          // an operator gives up a response that cannot be read
	Reseal                           // only the key changes
	Forget                           // the record holds nothing that anybody could need
	Import                           // the pair of a session that other code obtained
	ClaimNotice                      // a process is about to deliver the first notice
	Delivered                        // the host has accepted it
	Returned                         // the host has not
	Warn                             // the session is about to end
	Postpone                         // a sweep leaves the rest for later
)

var eventNames = [...]string{
	"", "Reserve", "Release", "Forfeit", "Settle", "Claim", "Admit", "Refuse", "Acquire", "Beat", "Successor", "NotSpent", "Refused",
	"Ambiguous", "Unreadable", "Reject", "Unusable", "Lose", "Abandon", "Unlink", "Restore", "Discard", "Reseal", "Forget",
	"Import", "ClaimNotice", "Delivered", "Returned", "Warn", "Postpone",
}

func (k EventKind) String() string { return eventNames[k] }

// Event is what one writer wants to record. It names what it is about, never what
// the writer saw.
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
	// Shared means that another user is linked with Patient.
	Shared bool
	// Witnessed means that other links succeeded meanwhile; Few, that so few links
	// are refused with unrecognized errors that the server is not at fault.
	Witnessed, Few bool
	// Old means that the record has been without tokens for long enough.
	Old bool
	// Notice is the one that is claimed, delivered or returned, and Instead, whose claim on
	// it has stood still.
	Notice  Notice
	Instead string
	// Warning is how near the end of the active session is.
	Warning Warning
	TTL     time.Duration
	// Known is what this process has seen acknowledged.
	Known *Record
}

// Verdict is the result of applying an event to a record.
type Verdict uint8

const (
	Write      Verdict = iota + 1 // save the record
	Already                       // an earlier save of the event landed
	Superseded                    // the record has moved on: nothing to do
	Denied                        // another visit has the authorization
	Remove                        // delete the record
)

func (v Verdict) String() string {
	return [...]string{"", "write", "already", "superseded", "denied", "remove"}[v]
}

// Policy is what the host configured, and the protocol's durations.
type Policy struct {
	// VerifyFirst means that nobody gets a token of a session that was not verified.
	VerifyFirst bool
	// Finds means that the store can find the other users of a patient.
	Finds bool
	// TTL is the life of a lease without a beat. Patience is how much longer it is
	// left alone, since its holder may have the response and no store.
	TTL, Patience time.Duration
	// ReplayAfter is the first wait before a lost presentation is repeated a second
	// time; UnclearAfter, before a token that was refused with an unrecognized error is
	// presented again. Both double, up to LongestWait.
	ReplayAfter, UnclearAfter, LongestWait time.Duration
	// RetryUnclear is how long a link that ended after unrecognized errors waits before
	// its token is presented once more.
	RetryUnclear time.Duration
	// UnclearLimit is the number of witnessed refusals that end such a link.
	UnclearLimit int
	// WatchFor bounds how long a flight watches another's lease, and VisitFor, how
	// long a visit watches another's exchange; 0 means no bound.
	WatchFor, VisitFor time.Duration
	// Notices bounds those that a record owes; 0 means that the host wants none.
	Notices int
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

// Verdict returns the verdict of the row.
func (r *Rule) Verdict() Verdict { return r.as }

// Table is the protocol. Of the rows of an event, the first whose condition holds
// applies; if there is none, the event is superseded. Whatever the row, a write that
// makes or ends a link, or drops an authorization, adds the notice of that: see
// notice.go.
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
	{Acquire, "lease mine, pair held, no unread response", "", acquired, nil, Already},
	{Acquire, "lease mine", "lease released", leaseMine, release, Write},
	{Acquire, "pair held, no unread response", "lease mine; tried + 1", presentable, acquire, Write},
	{Beat, "lease mine", "beat + 1", leaseMine, beat, Write},
	{Successor, "successor held", "", nextHeld, nil, Already},
	{Successor, "pair active, relink by evidence", "the successor in its place; linked; my lease released", revives, revive, Write},
	{Successor, "pair held", "the successor in its place; my lease released", pairHeld, replace, Write},
	{Successor, "lease mine", "lease released", leaseMine, release, Write},
	{NotSpent, "lease mine, pair held", "tried - 1; lease released", mineHeld, unsend, Write},
	{NotSpent, "lease mine", "lease released", leaseMine, release, Write},
	{Refused, "lease mine, pair held, witnessed up to the limit", "relink (refused_unclear); lease released", unclearLimit, endUnclear, Write},
	{Refused, "lease mine, pair held", "tried - 1; unclear + 1 if witnessed; lease released", mineHeld, refused, Write},
	{Refused, "lease mine", "lease released", leaseMine, release, Write},
	{Ambiguous, "lease mine", "lease released; tried stays", leaseMine, release, Write},
	{Unreadable, "lease mine, pair held", "response kept; lease released; tried stays", mineHeld, keepUnread, Write},
	{Unreadable, "lease mine", "lease released", leaseMine, release, Write},
	{Reject, "lease mine, pair held, presented before", "relink (outcome_unknown), or candidate removed; lease released", replayed, endUnknown, Write},
	{Reject, "lease mine, pair held", "relink (cause), or candidate removed; lease released", mineHeld, reject, Write},
	{Reject, "lease mine", "lease released", leaseMine, release, Write},
	{Unusable, "linked, pair active, unread", "relink (response_unreadable); response kept", unusable, endUnreadable, Write},
	{Lose, "linked, pair active", "relink (cause)", activeLinked, lose, Write},
	{Abandon, "candidate", "candidate removed", isCandidate, dropCandidate, Write},
	{Unlink, "unlinked", "", isUnlinked, nil, Already},
	{Unlink, "else", "tombstone; marks void; unlinks + 1", always, unlink, Write},
	{Restore, "row behind what is known", "facts merged", isBehind, restore, Write},
	{Discard, "pair held, unread", "response given up", heldUnread, discard, Write},
	{Reseal, "pairs held", "unchanged", hasPairs, nothing, Write},
	{Forget, "no pairs, no notices, old", "row deleted", forgettable, nothing, Remove},
	{Import, "session held", "", sessionHeld, nil, Already},
	{Import, "mark unknown; no link in use, no candidate, not unlinked since it began", "mark spent; the pair is the candidate; none, unlinked -> pending", importable, takeIn, Write},
	{ClaimNotice, "claim mine", "", tellingMine, nil, Already},
	{ClaimNotice, "first notice; free, or claimed by who stood still", "claim mine", tellable, claimNotice, Write},
	{Delivered, "notice owed", "notice removed; its claim released", isOwed, delivered, Write},
	{Returned, "claim mine", "claim released; tries + 1", tellingMine, returned, Write},
	{Warn, "session active, linked, not warned", "warned", unwarned, warn, Write},
	{Warn, "session active, linked", "", warnedBefore, nil, Already},
	{Postpone, "row", "unchanged", isRow, nothing, Write},
}

// Apply returns the record after an event, and the verdict. The record is changed
// only for Write.
func (p Policy) Apply(r Record, e Event) (Record, Verdict) {
	if i := p.row(&r, &e); i >= 0 {
		rule := &Table[i]
		if rule.as == Write {
			was := r
			rule.do(&r, &e)
			p.notice(&was, &r, &e)
		}
		return r, rule.as
	}
	return r, Superseded
}

// Row returns the index of the row that applies to an event, or -1.
func (p Policy) Row(r Record, e Event) int { return p.row(&r, &e) }

func (p Policy) row(r *Record, e *Event) int {
	for i := range Table {
		if rule := &Table[i]; rule.Event == e.Kind && rule.is(p, r, e) {
			return i
		}
	}
	return -1
}
