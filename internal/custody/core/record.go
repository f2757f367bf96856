// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package core is custody's protocol as a pure state machine: no clock, no
// goroutine, no I/O, no randomness, no logging. It has four parts.
//
//   - [Policy.Apply] is the table: what an event makes of a record. Every write
//     of every process goes through it.
//   - [Flight.Step] is the program of one refresh or one authorization: it takes
//     the result of one effect and returns the next effect.
//   - [Breaker] decides whether the token endpoint is asked at all.
//   - [Sight] measures how long something has stood still, with durations of
//     one system clock.
//
// Three ideas carry the protocol. An event names what it is about (a pair, a
// session, an owner) and never the row in which it was seen, so a writer that lost a
// race reloads and applies the same event again. Acquire is the exception: it is
// decided on the row, and therefore decided again after a conflict. And what a
// caller receives is read from the record after the write.
//
// A record names pairs; the driver keeps the token responses. That makes a record
// small enough to explore every possible history, which package explore does with
// this very code.
package core

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Phase is where a link is in its life. "Uncertain" is no phase: it is Linked with
// Active.Tried above zero.
type Phase uint8

const (
	None     Phase = iota // there is no record
	Pending               // an authorization is under way
	Linked                // the active pair is in use
	Relink                // only the patient can repair the link; Cause is why
	Unlinked              // a tombstone
)

func (p Phase) String() string {
	return [...]string{"none", "pending", "linked", "relink", "unlinked"}[p]
}

// Cause is why Phase is Relink. Causes that the server gave may have any name.
type Cause string

// The causes that this package knows.
const (
	OutcomeUnknown     Cause = "outcome_unknown"     // presented again after a lost response, and refused
	RefusedUnclear     Cause = "refused_unclear"     // refused with an unrecognized error while others succeed
	ResponseUnreadable Cause = "response_unreadable" // the successor may be in a response that cannot be read
	FinalTokenExpired  Cause = "final_token_expired" // the last access token of the session has expired
	Shared             Cause = "shared"              // another user is linked with the same patient
	NeverChecked       Cause = "abandoned"           // of an authorization: it could not be checked for too long
	WrongPatient       Cause = "wrong_patient"       // the active session turned out to be another person's
)

// Decided reports whether the cause is a decision about people. It stays; evidence
// about the server yields to newer evidence.
func (c Cause) Decided() bool { return c == Shared || c == WrongPatient }

// PairID names a token pair for ever: the authorization that it descends from, and
// its number in that session.
type PairID struct {
	Session string
	Seq     uint64
}

// IsZero reports whether id names no pair.
func (id PairID) IsZero() bool { return id == PairID{} }

// String returns "session/seq", or "".
func (id PairID) String() string {
	if id.IsZero() {
		return ""
	}
	return id.Session + "/" + strconv.FormatUint(id.Seq, 10)
}

// ParsePairID parses what PairID.String returns.
func ParsePairID(s string) (id PairID, ok bool) {
	if s == "" {
		return PairID{}, true
	}
	i := strings.LastIndexByte(s, '/')
	if i <= 0 {
		return PairID{}, false
	}
	seq, err := strconv.ParseUint(s[i+1:], 10, 64)
	id = PairID{Session: s[:i], Seq: seq}
	return id, err == nil && id.String() == s
}

// Pair is a token pair.
type Pair struct {
	ID PairID
	// Tried counts the presentations of the refresh token whose outcome is unknown.
	Tried int
	// Unclear counts the refusals with an unrecognized error while other links succeeded.
	Unclear int
	// Unread means that a complete response is kept that may hold the successor.
	Unread bool
	// Final means that the pair has no refresh token: it is the last of its session.
	Final bool
}

// Terms are what an authorization may do in addition to renewing the link.
type Terms struct{ Switch, Share bool }

// Mark is an authorization whose callback was received.
type Mark struct {
	Session string
	By      string // the visit that spends the code; "" unless Open
	State   MarkState
}

// MarkState is what became of an authorization.
type MarkState uint8

const (
	Open  MarkState = iota + 1 // a visit is completing it
	Spent                      // its code was presented
	Void                       // decided against, or the user was unlinked since
)

// MaxMarks bounds the authorizations that a record remembers.
const MaxMarks = 32

// Lease is the right to present a refresh token. No decision rests on an instant in
// it: the beat grows with each renewal, and others measure how long it has stood
// still.
type Lease struct {
	Owner string // a nonce of one acquisition, never of a process
	Beat  uint64
	TTL   time.Duration
	Pair  PairID // the pair whose refresh token it covers
}

// Record is one user's link. Its slices are never changed in place.
type Record struct {
	// Version is the store's; 0 if there is no row.
	Version uint64
	Phase   Phase
	Cause   Cause
	// Active is the pair in use. Candidate is the pair of an authorization that is
	// not admitted yet, with its Terms.
	Active, Candidate Pair
	Terms             Terms
	// Public is the patient of the active session, "" while unknown. Claim is the
	// patient that an authorization under way is about to be linked with, for others
	// to see.
	Public, Claim string
	Lease         Lease
	// Marks are the latest authorizations, newest first.
	Marks []Mark
	// Unlinks counts how often the user was unlinked.
	Unlinks uint64
	// Generation counts the pairs that were active. It is for operators.
	Generation uint64
	// Notices are owed to the host, the oldest first. Noticed is the highest number
	// that one of them had, and Telling, who is delivering the first.
	Notices []Notice
	Noticed uint64
	Telling Telling
	// Warned is the latest warning of a session's end.
	Warned Warned
}

// Holds reports whether a session is the link's, or waits to become it.
func (r *Record) Holds(session string) bool {
	return session != "" && (r.Active.ID.Session == session || r.Candidate.ID.Session == session)
}

// Slot returns the pair called id, or nil.
func (r *Record) Slot(id PairID) *Pair {
	switch {
	case id.IsZero():
		return nil
	case r.Active.ID == id:
		return &r.Active
	case r.Candidate.ID == id:
		return &r.Candidate
	}
	return nil
}

func (r *Record) tried(id PairID) int {
	if s := r.Slot(id); s != nil {
		return s.Tried
	}
	return 0
}

func (r *Record) mark(session string) Mark {
	for _, m := range r.Marks {
		if m.Session == session {
			return m
		}
	}
	return Mark{}
}

// setMark replaces the mark of a session, or adds one in front. State 0 removes it.
func (r *Record) setMark(m Mark) {
	marks := slices.Clone(r.Marks)
	i := slices.IndexFunc(marks, func(o Mark) bool { return o.Session == m.Session })
	switch {
	case m.State == 0 && i >= 0:
		marks = slices.Delete(marks, i, i+1)
	case m.State == 0:
	case i >= 0:
		marks[i] = m
	default:
		marks = slices.Insert(marks, 0, m)
	}
	r.Marks = marks[:min(len(marks), MaxMarks)]
}

// void marks a session as decided against, so that no older row brings it back.
func (r *Record) void(session string) {
	if session != "" {
		r.setMark(Mark{Session: session, State: Void})
	}
}

// lost ends a pair. The active one keeps its tokens, since no error deletes tokens;
// a candidate is removed.
func (r *Record) lost(id PairID, why Cause) {
	if r.Active.ID != id {
		r.drop()
		return
	}
	if r.Phase != Relink || !r.Cause.Decided() {
		r.Phase, r.Cause = Relink, why
	}
}

func (r *Record) drop() {
	r.void(r.Candidate.ID.Session)
	r.Candidate, r.Terms, r.Claim = Pair{}, Terms{}, ""
}
