// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"errors"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// Why there is no token. No text contains a user id or anything from a response or a
// store.
var (
	// ErrReplaced: the server rejects a token that has just replaced another
	// rejected one.
	ErrReplaced = errors.New("custody: the token was replaced a moment ago")
	ErrNoLink   = errors.New("no link")
	// ErrForeign: the record is another environment's or client id's.
	ErrForeign = errors.New("the link was made for another environment or client id")
	// ErrUsed: this authorization was completed before, and is not the link.
	ErrUsed = errors.New("this authorization was used before")
	// ErrStalled: another visit began to complete it, and did not end.
	ErrStalled = errors.New("this authorization was begun elsewhere and not completed")
	// ErrOvertaken: a later authorization has replaced it.
	ErrOvertaken = errors.New("a later authorization has replaced this one")
	// ErrDamaged: the sealed and the clear parts of a record differ, or one is
	// missing.
	ErrDamaged = errors.New("the record is damaged: its sealed part is missing, or differs from its columns")
	ErrNewer   = errors.New("the record was written by a later version of this library")
	// ErrClosed: the keeper is closing.
	ErrClosed = errors.New("closed")
	// ErrOtherPatient: the new authorization is another patient's.
	ErrOtherPatient = errors.New("another patient approved")
)

// ErrInUse: the user has a link that works, or an authorization that waits, and an
// import takes the place of neither.
var ErrInUse = errors.New("the user is linked, or has approved, already")

// ErrNotImportable: tokens that cannot make a link.
var ErrNotImportable = errors.New("there is no refresh token, so no link can be kept alive with it")

// ErrCannotTend: the store can neither return what is due nor list its records.
var ErrCannotTend = errors.New("the store can neither return what is due nor list its records")

// SharedError reports that other users are linked to the patient who approved.
type SharedError struct{ Users []string }

func (e *SharedError) Error() string { return "another user is linked to the same patient" }

// RefusedError is what Config.Verify returns for an authorization that must not be
// used.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return "the authorization was refused" }

func (e *RefusedError) Unwrap() error { return e.Err }

// UncheckedError reports that it is not known yet whose session it is. The session
// is kept, and checked again at the next call; a link that works stays in use.
type UncheckedError struct{ Err error }

func (e *UncheckedError) Error() string { return "the authorization could not be checked" }

func (e *UncheckedError) Unwrap() error { return e.Err }

// Cause is why a link is lost. Those that the server gives come from outside.
type Cause = core.Cause

const (
	FinalTokenExpired  = core.FinalTokenExpired
	OutcomeUnknown     = core.OutcomeUnknown
	RefusedUnclear     = core.RefusedUnclear
	ResponseUnreadable = core.ResponseUnreadable
	WrongPatient       = core.WrongPatient
	SharedRecord       = core.Shared
)

// ExchangeError reports that a code brought no tokens. Repeatable means that it was
// not spent, and the same callback may be repeated.
type ExchangeError struct {
	Outcome    tokenwire.Outcome
	Repeatable bool
}

func (e *ExchangeError) Error() string { return "the code was not exchanged: " + e.Outcome.String() }

// Unwrap returns the transport's error.
func (e *ExchangeError) Unwrap() error { return e.Outcome.Err }

// errOverrun: too many calls of the store hang.
var errOverrun = errors.New("too many calls of the host's code hang")

// LostError reports that only the patient can repair the link.
type LostError struct{ Cause Cause }

func (e *LostError) Error() string { return "relink required: " + string(e.Cause) }

// StoreError reports that the store failed; the link is unchanged.
type StoreError struct {
	Op  string // "load" or "save"
	Err error
	// Unsaved means that the store does not accept tokens that were just issued.
	// They are in memory, and saving them is retried.
	Unsaved bool
}

func (e *StoreError) Error() string { return "the token store failed to " + e.Op + " a record" }

func (e *StoreError) Unwrap() error { return e.Err }

// storeError wraps a store's error.
func storeError(op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, tokenstore.ErrNotFound) {
		return ErrNoLink
	}
	return &StoreError{Op: op, Err: err}
}

func isConflict(err error) bool { return errors.Is(err, tokenstore.ErrConflict) }

// SealError reports that the tokens of a record do not open. The record is
// unchanged, and nothing was sent.
type SealError struct{ Cause error }

func (e *SealError) Error() string { return e.Cause.Error() }

func (e *SealError) Unwrap() error { return e.Cause }

// WaitError reports that there is no token now, that the link is kept, and that a
// later call may succeed.
type WaitError struct {
	// Reason is one of the Wait constants.
	Reason string
	// Status, Code and RetryAfter are from the token endpoint's response, if there
	// was one.
	Status     int
	Code       string
	RetryAfter time.Duration
	// Cause is tokenwire.Outcome.Cause: that of the rule that applied.
	Cause string
	Err   error
}

// The reasons to wait.
const (
	// WaitElsewhere: another process is refreshing and did not finish in time.
	WaitElsewhere = "another process is refreshing this link"
	// WaitNotSent: the token endpoint could not be reached.
	WaitNotSent = "the token endpoint could not be reached"
	// WaitAppWide: the token endpoint refuses the application, or everybody.
	WaitAppWide = "the token endpoint refuses this application or is not taking requests"
	// WaitUncertain: a refresh was sent and its outcome is unknown.
	WaitUncertain = "a refresh was sent and its outcome is not known"
	// WaitUnclear: a refresh was refused with an unrecognized error.
	WaitUnclear = "the token endpoint refused this link with an unrecognized error"
	// WaitUnread: the response that may hold the new tokens cannot be read.
	WaitUnread = "a response that may hold the new tokens is kept and cannot be read"
	// WaitRejected: an API rejected the session's last token before it expired.
	WaitRejected = "the session's last access token was rejected, and there is no other"
	// WaitSuspect: so many refresh tokens were refused in a row that the store
	// may be a restored backup.
	WaitSuspect = "many refresh tokens in a row are refused: the store may have been restored from a backup"
	// WaitRolledBack: the store has an older pair than this process has seen.
	WaitRolledBack = "the store has older tokens than this process has seen: it may have been restored from a backup"
	// WaitWary: the store has just come back, and may have lost writes.
	WaitWary = "the token store has just come back, and may lack writes that other processes know of"
	// WaitVerify: it could not be checked whose tokens these are.
	WaitVerify = "the new authorization could not be checked yet"
)

func (e *WaitError) Error() string {
	if e.Err != nil {
		return e.Reason + ": " + e.Err.Error()
	}
	return e.Reason
}

func (e *WaitError) Unwrap() error { return e.Err }
