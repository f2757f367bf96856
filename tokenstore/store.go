// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package tokenstore is where links are kept: one [Record] for each of the
// host's users, behind a [Store] of three methods.
//
// A refresh token of Patients Know Best works once. Whatever keeps it must
// therefore never lose an update and never answer with yesterday's row, and
// that is all a Store has to promise: reads see the last acknowledged write,
// and a write succeeds only on the version it was made from. Package
// storetest holds that promise as a test suite for stores of your own. Two
// regions with a primary each do not keep it: give each link one home region.
//
// The client seals every token before a Store sees it; a Store keeps bytes
// that it cannot read. [Memory] is the store for tests and for a first look:
// it forgets everything when the process ends.
package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
	"unicode/utf8"
)

// What a Store answers when it does not answer with a record. Test for them
// with errors.Is; a Store may wrap them.
var (
	// ErrNotFound says that the store holds no record for this user.
	ErrNotFound = errors.New("tokenstore: no record for this user")
	// ErrConflict says that the record has another version than the caller
	// read (or exists, where the caller meant to create it). Nothing was
	// written: load again and decide again.
	ErrConflict = errors.New("tokenstore: the record was changed by someone else")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("tokenstore: the store is closed")
	// ErrInvalid says that a record cannot be stored: no AppUserID, one that is
	// too long or not UTF-8, a Pair or Candidate that is too long or not ASCII,
	// or too many bytes in Sealed or Details.
	ErrInvalid = errors.New("tokenstore: the record is beyond the limits of a store")
)

// Limits that every Store must accept.
const (
	// MaxUserID is the longest app_user_id, in bytes of UTF-8.
	MaxUserID = 1 << 10
	// MaxPair is the longest Record.Pair and Record.Candidate, in bytes.
	MaxPair = 64
	// MaxSealed is the largest Record.Sealed, in bytes.
	MaxSealed = 64 << 10
	// MaxDetails is the largest Record.Details, in bytes.
	MaxDetails = 16 << 10
)

// Store keeps one record for each user. Its methods are safe for concurrent
// use by many goroutines, and the promises below hold across all processes
// that share the store.
type Store interface {
	// Load returns the record of appUserID, or ErrNotFound. It is strongly
	// consistent: it sees every Save and Delete acknowledged before it began,
	// by whichever process. A lagging read replica will not do.
	Load(ctx context.Context, appUserID string) (Record, error)

	// Save writes rec if the store's record still has rec.Version, and
	// returns rec with its new version. Version 0 means that no record must
	// exist yet. Otherwise it returns ErrConflict and writes nothing.
	//
	// A version is never used twice for one user, not even after Delete:
	// a writer that slept through a deletion and a re-creation must get
	// ErrConflict. Versions only need to be different: callers must not order
	// by them. A store whose database can lose acknowledged writes in a
	// failover must not count them up by one, or it would give a lost version
	// to another write.
	//
	// Any other error means that nothing was written, or that the
	// outcome is unknown: the write may be done, or be done a moment later
	// unless another one comes first. The caller tries again on the version it
	// has, and finds out from ErrConflict and Load.
	Save(ctx context.Context, rec Record) (Record, error)

	// Delete removes the record of appUserID if it has this version; else it
	// returns ErrConflict, or ErrNotFound when there is none.
	Delete(ctx context.Context, appUserID string, version uint64) error
}

// Lister is what a Store can do besides, for sweeps, key rotation and status
// pages. Client.Links needs it.
type Lister interface {
	// List returns up to limit records in ascending byte order of AppUserID,
	// starting behind after ("" starts at the beginning). An empty result is
	// the end.
	List(ctx context.Context, after string, limit int) ([]Record, error)
}

// Finder is what a Store can do besides, so that a patient's record is not
// linked by two users of the host unnoticed. Without it, nobody looks.
type Finder interface {
	// FindPublicID returns up to limit records whose PublicID or Claim is
	// publicID, whatever their state, in ascending byte order of AppUserID;
	// none for "". Both are compared byte for byte, and a record with both is
	// returned once. It is as consistent as Load.
	FindPublicID(ctx context.Context, publicID string, limit int) ([]Record, error)
}

// Counter is what a Store can do besides, so that Client.Reseal and Copy can
// say how much is left.
type Counter interface {
	// Count returns the number of records, those without tokens among them.
	Count(ctx context.Context) (int, error)
}

// Volatile is implemented by a Store that keeps nothing beyond the life of
// the process. Only such a store may be used without keys.
type Volatile interface {
	// Volatile reports whether everything is forgotten when the process ends.
	Volatile() bool
}

// State says where a link is in its life.
type State string

// The states of a link.
const (
	// StatePending: the patient came back from PKB, and the code is being
	// exchanged; there are no tokens yet.
	StatePending State = "pending"
	// StateLinked: the link works.
	StateLinked State = "linked"
	// StateUncertain is how a linked record with Tried > 0 is shown: the refresh
	// token was presented, and the outcome is not known. The current access
	// token still serves.
	StateUncertain State = "uncertain"
	// StateRelinkRequired: only the patient can repair this link, by
	// approving again. Record.Cause says why.
	StateRelinkRequired State = "relink_required"
	// StateUnlinked: the host ended the link. The record stays for a while as
	// a tombstone, so that no late refresh can bring the link back.
	StateUnlinked State = "unlinked"
)

// Record is what a Store keeps about one user's link. Everything but Sealed
// may be seen by operators; nothing in it names the patient except PublicID and
// Claim.
//
// All times are UTC and whole microseconds; the zero time means "none".
type Record struct {
	// AppUserID is the host's own id for the user: 1 to MaxUserID bytes of
	// UTF-8, compared byte for byte.
	AppUserID string
	// Version is the store's: it changes with every Save, and has no order. 0
	// means that the record is not stored yet.
	Version uint64

	// Environment and ClientID say for whom the tokens were issued. A client
	// refuses a record of another environment or client id.
	Environment string
	ClientID    string

	State State
	// Cause says why State is StateRelinkRequired; else it is empty.
	Cause string
	// PublicID is the PKB public id, once Purview has told it. The client decides
	// by it whether another user is linked with the same patient (Finder).
	PublicID string
	// Claim is the public id that an authorization under way is about to be
	// linked with, for others to see: of two users who link the same patient at
	// once, one finds the other's Claim (Finder). Empty when no authorization
	// is that far.
	Claim string

	// Pair names the token pair in use, Candidate the pair of a new
	// authorization that is not admitted yet; "" means that there is none. They
	// are at most MaxPair bytes of printable ASCII. The client decides
	// by them whether two records hold the same tokens.
	Pair      string
	Candidate string
	// Tried is how often the refresh token of Pair was presented with an outcome
	// that is not known. It is above 0 while one is being presented: it is
	// written before the request, and set to 0 with the outcome. The client
	// decides by it whether, and after what wait, it presents the token again.
	Tried int

	// Generation counts the token pairs of this record: each approval and each
	// refresh adds one.
	Generation uint64
	// ExpiresAt is when the access token ends.
	ExpiresAt time.Time
	// EndsAt is when PKB's session ends, if that is known.
	EndsAt time.Time
	// DueAt is when the link next wants attention (a refresh, an end).
	DueAt time.Time
	// LinkedAt is when the patient approved; RefreshedAt is when the present
	// pair was asked for.
	LinkedAt    time.Time
	RefreshedAt time.Time

	// Lease says who may present the refresh token now.
	Lease Lease

	// KeyID names the key that sealed Sealed; empty without keys.
	KeyID string
	// Details is what the library remembers in clear beside the fields above,
	// as JSON of its own making: nothing secret, at most MaxDetails bytes.
	Details []byte
	// Sealed holds everything secret, at most MaxSealed bytes.
	Sealed Blob
}

// Lease is the right of one process to present a link's refresh token, for a
// while. Others may take it over when they have watched it stand still for TTL
// and a margin by their own clock; no two clocks have to agree.
type Lease struct {
	// Owner is a nonce drawn for one acquisition of the lease, and not the name
	// of a process; empty means that nobody holds the lease.
	Owner string
	// Beat grows with each renewal. Others only watch whether it stands still.
	Beat uint64
	// TTL is how long the holder means the lease to last without a beat, in
	// whole microseconds. Others decide by it how long they watch the lease.
	TTL time.Duration
	// TakenAt is when the lease was taken, by the clock of its holder. It is for
	// operators: no decision of another process rests on it, except that a lease
	// taken more than 25 hours ago is watched for a few seconds only.
	TakenAt time.Time
}

// Blob is sealed bytes. It prints as its length only, because a store without
// keys holds tokens in it; JSON and SQL see the bytes.
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

// Prepare returns a copy of r as a Store is to keep it, its times in UTC, and
// times and Lease.TTL in whole microseconds; or ErrInvalid. A Store's Save
// begins with it.
func (r Record) Prepare() (Record, error) {
	if r.AppUserID == "" || len(r.AppUserID) > MaxUserID || !utf8.ValidString(r.AppUserID) ||
		len(r.Sealed) > MaxSealed || len(r.Details) > MaxDetails || !isPair(r.Pair) || !isPair(r.Candidate) {
		return Record{}, ErrInvalid
	}
	r = r.Clone()
	r.Lease.TTL = r.Lease.TTL.Truncate(time.Microsecond)
	for _, t := range []*time.Time{&r.ExpiresAt, &r.EndsAt, &r.DueAt, &r.LinkedAt, &r.RefreshedAt, &r.Lease.TakenAt} {
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
