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
	// too long or not UTF-8, or too many bytes in Sealed or Details.
	ErrInvalid = errors.New("tokenstore: the record is beyond the limits of a store")
)

// Limits that every Store must accept.
const (
	// MaxUserID is the longest app_user_id, in bytes of UTF-8.
	MaxUserID = 1 << 10
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
	// ErrConflict. Any other error means that nothing was written, or that the
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
	// FindPublicID returns up to limit records with this PublicID, in ascending
	// byte order of AppUserID; none for "". It is as consistent as Load.
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
	// StateUncertain: a refresh was sent and its outcome is unknown. The
	// access token at hand still serves.
	StateUncertain State = "uncertain"
	// StateRelinkRequired: only the patient can repair this link, by
	// approving again. Record.Cause says why.
	StateRelinkRequired State = "relink_required"
	// StateUnlinked: the host ended the link. The record stays for a while as
	// a tombstone, so that no late refresh can bring the link back.
	StateUnlinked State = "unlinked"
)

// Record is what a Store keeps about one user's link. Everything but Sealed
// may be seen by operators; nothing in it names the patient except PublicID.
//
// All times are UTC and whole microseconds; the zero time means "none".
type Record struct {
	// AppUserID is the host's own id for the user: 1 to MaxUserID bytes of
	// UTF-8, compared byte for byte.
	AppUserID string
	// Version is the store's: it changes with every Save. 0 means that the
	// record is not stored yet.
	Version uint64

	// Environment and ClientID say for whom the tokens were issued. A client
	// refuses a record of another environment or client id.
	Environment string
	ClientID    string

	State State
	// Cause says why State is StateRelinkRequired; else it is empty.
	Cause string
	// PublicID is the PKB public id, once Purview has told it.
	PublicID string

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

	// Lease says which process may refresh now.
	Lease Lease
	// Intent is written before a refresh token is sent and removed with the
	// answer: one that is found says that a refresh was tried and its outcome
	// not recorded.
	Intent Intent

	// KeyID names the key that sealed Sealed; empty without keys.
	KeyID string
	// Details is what the library remembers in clear beside the fields above,
	// as JSON of its own making: nothing secret, at most MaxDetails bytes.
	Details []byte
	// Sealed holds everything secret, at most MaxSealed bytes.
	Sealed Blob
}

// Lease is one process's right to refresh a link, for a while.
type Lease struct {
	// Owner names the process; empty means that nobody holds the lease.
	Owner string
	// Fence grows by one with every new owner.
	Fence uint64
	// RenewedAt is when the owner last took or renewed the lease.
	RenewedAt time.Time
	// ExpiresAt is when others may take it.
	ExpiresAt time.Time
}

// Intent says that a refresh token is about to be sent.
type Intent struct {
	// Generation is the generation whose refresh token is sent.
	Generation uint64
	// Attempt counts the times it was sent; 0 means that there is no intent.
	Attempt int
	// SentAt is when.
	SentAt time.Time
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

// Prepare returns a copy of r as a Store is to keep it, its times in UTC and
// whole microseconds; or ErrInvalid. A Store's Save begins with it.
func (r Record) Prepare() (Record, error) {
	if r.AppUserID == "" || len(r.AppUserID) > MaxUserID || !utf8.ValidString(r.AppUserID) ||
		len(r.Sealed) > MaxSealed || len(r.Details) > MaxDetails {
		return Record{}, ErrInvalid
	}
	r = r.Clone()
	for _, t := range []*time.Time{
		&r.ExpiresAt, &r.EndsAt, &r.DueAt, &r.LinkedAt, &r.RefreshedAt,
		&r.Lease.RenewedAt, &r.Lease.ExpiresAt, &r.Intent.SentAt,
	} {
		if t.IsZero() {
			*t = time.Time{}
		} else {
			*t = t.UTC().Truncate(time.Microsecond)
		}
	}
	return r, nil
}
