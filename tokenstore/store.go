// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package tokenstore stores links: one [Record] for each of the host's users, behind
// a [Store] of three methods.
//
// A refresh token of Patients Know Best works once. A Store must therefore never
// lose an update and never return an outdated row, and that is all it has to
// promise: reads see the last acknowledged write, and a write succeeds only on the
// version it was made from. Package storetest tests that promise for stores of your
// own, and writing.md in this directory is the guide to one. Two regions with a
// primary each do not keep it: give each link one primary.
//
// The client seals every token before it reaches a Store, which keeps bytes that it
// cannot read. [Memory] is the store for tests and for a first look: it forgets
// everything when the process ends.
package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
	"unicode/utf8"
)

// The errors of a Store. Test for them with errors.Is; a Store may wrap them.
var (
	// ErrNotFound: the store holds no record for this user.
	ErrNotFound = errors.New("tokenstore: no record for this user")
	// ErrConflict: the record has another version than the caller read (or exists,
	// where the caller meant to create it). Nothing was written: load again and
	// decide again.
	ErrConflict = errors.New("tokenstore: the record was changed by someone else")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("tokenstore: the store is closed")
	// ErrUnavailable: the store cannot be reached just now, or is too busy, and waiting
	// is enough, as during a failover. What was asked may have been done or not. A
	// store that does not return it is taken to need somebody.
	ErrUnavailable = errors.New("tokenstore: the store is not available")
	// ErrInvalid: a record cannot be stored: no AppUserID, one that is too long or
	// not UTF-8, a Pair or Candidate that is too long or not ASCII, or too many bytes
	// in Sealed or Details.
	ErrInvalid = errors.New("tokenstore: the record exceeds the limits of a store")
)

// Limits that every Store must accept.
const (
	// MaxUserID is the longest app_user_id of a host, in bytes of UTF-8. A Store
	// accepts 64 bytes more, for WithPrefix.
	MaxUserID = 1 << 10
	// MaxPair is the longest Record.Pair and Record.Candidate, in bytes.
	MaxPair = 64
	// MaxSealed is the largest Record.Sealed, in bytes.
	MaxSealed = 64 << 10
	// MaxDetails is the largest Record.Details, in bytes.
	MaxDetails = 16 << 10
)

// Store keeps one record for each user. Its methods are safe for concurrent use by
// many goroutines, and the promises below hold across all processes that share the
// store.
type Store interface {
	// Load returns the record of appUserID, or ErrNotFound. It is strongly
	// consistent: it sees every Save and Delete acknowledged before it began, by any
	// process. A lagging read replica is not enough.
	Load(ctx context.Context, appUserID string) (Record, error)

	// Save writes rec if the store's record still has rec.Version, and returns rec
	// with its new version. Version 0 means that no record must exist yet. Otherwise
	// it returns ErrConflict and writes nothing.
	//
	// A version is never used twice for one user, not even after Delete: a writer
	// that slept through a deletion and a re-creation must get ErrConflict. Versions
	// are unordered: they only need to differ. A store whose database can lose
	// acknowledged writes in a failover must not count them up by one, or it would
	// give a lost version to another write.
	//
	// Any other error means that nothing was written, or that the outcome is
	// unknown: the write may be done, or be done a moment later unless another is
	// done first. The caller retries on the version it has, and learns the outcome
	// from ErrConflict and Load.
	Save(ctx context.Context, rec Record) (Record, error)

	// Delete removes the record of appUserID if it has this version. Otherwise it
	// returns ErrConflict, or ErrNotFound if there is none.
	Delete(ctx context.Context, appUserID string, version uint64) error
}

// Lister is an optional interface of a Store, for sweeps, key rotation and status
// pages. Client.Links needs it.
type Lister interface {
	// List returns up to limit records in ascending byte order of AppUserID,
	// starting after after ("" starts at the beginning). An empty result is the end.
	List(ctx context.Context, after string, limit int) ([]Record, error)
}

// Finder is an optional interface of a Store, for detecting that two users of the
// host link the same patient's record. Without it, that is not detected.
type Finder interface {
	// FindPublicID returns up to limit records whose PublicID or Claim is publicID,
	// whatever their state, in ascending byte order of AppUserID; none for "". Both
	// are compared byte for byte, and a record with both is returned once. It is as
	// consistent as Load.
	FindPublicID(ctx context.Context, publicID string, limit int) ([]Record, error)
}

// Counter is an optional interface of a Store, with which Client.Reseal and Copy
// report how much is left.
type Counter interface {
	// Count returns the number of records, including those without tokens.
	Count(ctx context.Context) (int, error)
}

// Scheduler is an optional interface of a Store, with which Client.Tend asks for the
// links that are due. Without it, Tend lists all records (Lister), which suits small
// stores only.
type Scheduler interface {
	// Due returns up to limit records whose TendAt is not zero and not after before,
	// the earliest first, and of the same time in ascending byte order of AppUserID.
	// It should read an index; it need not see the latest writes.
	Due(ctx context.Context, before time.Time, limit int) ([]Record, error)
}

// Volatile is implemented by a Store that keeps nothing beyond the life of the
// process. Only such a store may be used without keys.
type Volatile interface {
	// Volatile reports whether everything is forgotten when the process ends.
	Volatile() bool
}

// State is where a link is in its life.
type State string

// The states of a link.
const (
	// StatePending: the patient came back from PKB, and the code is being exchanged;
	// there are no tokens yet.
	StatePending State = "pending"
	// StateLinked: the link works.
	StateLinked State = "linked"
	// StateUncertain: as StateLinked, but the refresh token was presented, and the
	// outcome is unknown (Tried > 0). The current access token still serves.
	StateUncertain State = "uncertain"
	// StateRelinkRequired: only the patient can repair this link, by approving
	// again. Record.Cause is why.
	StateRelinkRequired State = "relink_required"
	// StateUnlinked: the host ended the link. The record stays for a while as a
	// tombstone, so that no late refresh can bring the link back.
	StateUnlinked State = "unlinked"
)

// Record is one user's link, as a Store keeps it. Operators may see everything but
// Sealed; only PublicID and Claim name the patient.
//
// All times are UTC and whole microseconds; the zero time means "none".
type Record struct {
	// AppUserID is the host's own id for the user: 1 to MaxUserID bytes of UTF-8,
	// compared byte for byte. In a store under WithPrefix it begins with the prefix.
	AppUserID string
	// Version is set by the store: it changes with every Save, and has no order. 0
	// means that the record is not stored yet.
	Version uint64

	// Environment and ClientID name the client to which the tokens were issued. A
	// client refuses a record of another environment or client id.
	Environment string
	ClientID    string

	State State
	// Cause is why State is StateRelinkRequired; otherwise it is "".
	Cause string
	// PublicID is the PKB public id, once Purview has returned it. The client uses
	// it to find other users who are linked with the same patient (Finder).
	PublicID string
	// Claim is the public id that an authorization under way is about to be linked
	// with, for others to see: of two users who link the same patient at the same
	// time, one finds the other's Claim (Finder). "" if no authorization is that
	// far.
	Claim string

	// Pair names the token pair in use, Candidate the pair of a new authorization
	// that is not admitted yet; "" means that there is none. They are at most
	// MaxPair bytes of printable ASCII. Two records with the same names hold the
	// same tokens.
	Pair      string
	Candidate string
	// Tried is how often the refresh token of Pair was presented with an unknown
	// outcome. It is written before the request, so it is above 0 while a request is
	// under way, and set to 0 with the outcome. It determines whether, and after
	// what wait, the client presents the token again.
	Tried int

	// Generation counts the token pairs of this record: each authorization and each
	// refresh adds one.
	Generation uint64
	// ExpiresAt is when the access token expires.
	ExpiresAt time.Time
	// EndsAt is when PKB's session ends, if that is known.
	EndsAt time.Time
	// DueAt is when the link next needs attention (a refresh, an end).
	DueAt time.Time
	// TendAt is when Client.Tend next has something to do for this link, such as a
	// notice to deliver; zero if nothing. A refresh does not change it, so that an
	// index of it is not touched by each.
	TendAt time.Time
	// LinkedAt is when the patient approved; RefreshedAt is when the current pair
	// was requested.
	LinkedAt    time.Time
	RefreshedAt time.Time

	// Lease is the right to present the refresh token now.
	Lease Lease

	// KeyID names the key that sealed Sealed; "" without keys.
	KeyID string
	// Details is what the library remembers in clear in addition to the fields
	// above, as JSON in a private format: nothing secret, at most MaxDetails bytes.
	Details []byte
	// Sealed holds everything secret, at most MaxSealed bytes.
	Sealed Blob
}

// Lease is the right of one process to present a link's refresh token, for a while.
// Others may take it over when they have watched it stand still for TTL and a margin
// by their own clock; no two clocks have to agree.
type Lease struct {
	// Owner is a nonce of one acquisition of the lease, not the name of a process;
	// "" means that the lease is free.
	Owner string
	// Beat grows with each renewal. Others only watch whether it stands still.
	Beat uint64
	// TTL is how long the lease lasts without a beat, in whole microseconds. It
	// determines how long others watch the lease.
	TTL time.Duration
	// TakenAt is when the lease was taken, by the clock of its holder. It is for
	// operators: no decision of another process rests on it, except that a lease
	// taken more than 25 hours ago is watched for a few seconds only.
	TakenAt time.Time
}

// Blob is sealed bytes. It prints as its length only, because a store without keys
// holds tokens in it; JSON and SQL have the bytes.
type Blob []byte

// Format implements fmt.Formatter.
func (b Blob) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "[%d sealed bytes]", len(b)) }

// LogValue implements slog.LogValuer.
func (b Blob) LogValue() slog.Value {
	return slog.StringValue(fmt.Sprintf("[%d sealed bytes]", len(b)))
}

// Clone returns a copy of r that shares no memory with it.
func (r Record) Clone() Record {
	r.Details = append([]byte(nil), r.Details...)
	r.Sealed = append(Blob(nil), r.Sealed...)
	return r
}

// Prepare returns a copy of r in the form that a Store keeps, its times in UTC, and
// times and Lease.TTL in whole microseconds; or ErrInvalid. A Store's Save begins
// with it.
func (r Record) Prepare() (Record, error) {
	if r.AppUserID == "" || len(r.AppUserID) > MaxUserID+maxPrefix || !utf8.ValidString(r.AppUserID) ||
		len(r.Sealed) > MaxSealed || len(r.Details) > MaxDetails || !isPair(r.Pair) || !isPair(r.Candidate) {
		return Record{}, ErrInvalid
	}
	r = r.Clone()
	r.Lease.TTL = r.Lease.TTL.Truncate(time.Microsecond)
	for _, t := range []*time.Time{&r.ExpiresAt, &r.EndsAt, &r.DueAt, &r.TendAt, &r.LinkedAt, &r.RefreshedAt, &r.Lease.TakenAt} {
		if t.IsZero() {
			*t = time.Time{}
		} else {
			*t = t.UTC().Truncate(time.Microsecond)
		}
	}
	return r, nil
}

// isPair reports whether name may name a token pair.
func isPair(name string) bool {
	for _, c := range []byte(name) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(name) <= MaxPair
}
