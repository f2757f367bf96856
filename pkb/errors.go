// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/apicall"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/internal/wording"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// The sentinels, for errors.Is; errors.As finds the types that carry details.
// Package advice has what to do about each. No text holds a token, a user id, or
// anything PKB sent other than known codes.
var (
	// ErrNotLinked: this user has no link to a PKB record, or was unlinked.
	ErrNotLinked = errors.New("pkb: this user is not linked to a PKB record")
	// ErrRelinkRequired: the link has ended, and only the patient can restore it,
	// by approving again. *RelinkError has the cause.
	ErrRelinkRequired = errors.New("pkb: the link to PKB has ended")
	// ErrAccessDenied: the patient did not approve. The link is unchanged.
	ErrAccessDenied = errors.New("pkb: the patient did not approve access")
	// ErrState: the callback does not belong to an authorization that this user
	// started here recently. *StateError has the reason.
	ErrState = errors.New("pkb: the callback does not match the authorization that was started")
	// ErrCallback: the callback is not one that PKB sends after Approve or Deny. It
	// has neither code nor error, or both, or an error other than a refusal.
	ErrCallback = errors.New("pkb: the callback holds no usable code")
	// ErrWrongPatient: the patient who approved is not the one this link belongs
	// to. The authorization was refused, and the link is unchanged.
	ErrWrongPatient = wording.ErrWrongPatient
	// ErrSharedRecord: another of the host's users is linked with the record that
	// was approved. *SharedRecordError has the users.
	ErrSharedRecord = errors.New("pkb: another user is linked with this record")
	// ErrIdentityRefused: Config.Identify refused the patient who approved. The
	// authorization was discarded.
	ErrIdentityRefused = errors.New("pkb: the patient who approved is not the person known as this user; nothing was changed")
	// ErrUnchecked: the authorization was saved, and could not be checked yet. The
	// existing link is unchanged. Later calls check again; see Link.Unchecked.
	ErrUnchecked = errors.New("pkb: the authorization is saved and could not be checked yet; the link is unchanged")
	// ErrOvertaken: a later authorization completed before this one, and is the
	// link.
	ErrOvertaken = errors.New("pkb: a later authorization has replaced this one")
	// ErrTryLater: there is no usable token now, and the link is kept.
	// *TryLaterError has the details.
	ErrTryLater = errors.New("pkb: no token is available now; the link is kept")
	// ErrFrozen: PKB has frozen the patient's access (ACCESS_FROZEN_OUTWARD). A
	// call returns it as an *APIError, and the link is kept; a refresh that meets
	// it ends the link, with a *RelinkError.
	ErrFrozen = errors.New("pkb: PKB has frozen the patient's access")
	// ErrTokenRefused: PKB responded 401, or 403 with a code about the token (such
	// as BAD_AUTHENTICATION), to a token that it had just issued to replace
	// another. It is an *APIError, and the link is kept.
	ErrTokenRefused = errors.New("pkb: PKB refuses a token that it has just issued; the link is kept")
	// ErrNotFound: a resource that was read by its id does not exist, or not for
	// this patient. It is an *APIError.
	ErrNotFound = errors.New("pkb: no such resource for this patient")
	// ErrTooLarge: a response is larger than Config.MaxResponseBytes. It is an
	// *APIError. Narrow a search, such as by a time, or raise the setting.
	ErrTooLarge = apicall.ErrTooLarge
	// ErrStore: the token store failed. errors.Is finds the store's own error too.
	// If the store failed to save tokens that PKB has just issued, the text names
	// them; this process keeps them in memory, and keeps trying.
	ErrStore = errors.New("pkb: the token store failed")
	// ErrKeys: the keys do not open the stored tokens, or the record is damaged:
	// its columns differ from its sealed part. Nothing was sent or written, and the
	// link is kept.
	ErrKeys = errors.New("pkb: the stored tokens do not open; the link is kept")
	// ErrOtherEnvironment: the stored link was made in another environment or with
	// another client id. Nothing was sent, and the link is kept.
	ErrOtherEnvironment = errors.New("pkb: the stored link was made in another environment or for another client id")
	// ErrNewer: a later version of this library wrote the stored link. Nothing was
	// sent or written, and the link is kept.
	ErrNewer = errors.New("pkb: the stored link was written by a later version of this library")
	// ErrAppUserID: the app_user_id is empty, too long or not UTF-8.
	ErrAppUserID = errors.New("pkb: invalid app_user_id")
	// ErrClosed: the Client was closed.
	ErrClosed = errors.New("pkb: the client is closed")
)

// RelinkError is ErrRelinkRequired with its cause.
type RelinkError struct{ Cause observe.Cause }

func (e *RelinkError) Error() string {
	return "pkb: the link to PKB has ended (" + string(e.Cause) + ")"
}

// Is reports whether target is ErrRelinkRequired, or ErrFrozen or ErrSharedRecord
// if that is the cause.
func (e *RelinkError) Is(target error) bool {
	return target == ErrRelinkRequired || target == ErrFrozen && e.Cause == observe.CauseFrozen || target == ErrSharedRecord && e.Cause == observe.CauseShared
}

// SharedRecordError is ErrSharedRecord with the other users. It prints without
// them.
type SharedRecordError struct {
	// AppUserIDs are up to ten other users who are linked with the record.
	AppUserIDs []string
}

func (e *SharedRecordError) Error() string { return ErrSharedRecord.Error() }

// Is reports whether target is ErrSharedRecord.
func (e *SharedRecordError) Is(target error) bool { return target == ErrSharedRecord }

// StateError is ErrState with its reason.
type StateError struct {
	// Reason is one of:
	//
	//	no_pending    no pending value: the session that started was lost, or the
	//	              callback came to another browser or host name
	//	missing       the callback has no state, or several
	//	mismatch      the state is another authorization's: a second tab, or a forged
	//	              callback
	//	expired       the patient took an hour longer than Config.ApprovalLife
	//	used          the authorization was completed or given up before, and another
	//	              is the link
	//	other_user    another user is signed in than the one who started
	//	other_client  it was started with another environment or client id
	Reason string
}

const (
	stateNoPending   = "no_pending"
	stateMissing     = "missing"
	stateMismatch    = "mismatch"
	stateExpired     = "expired"
	stateUsed        = "used"
	stateOtherUser   = "other_user"
	stateOtherClient = "other_client"
)

var stateReasons = map[string]string{
	stateNoPending:   "no authorization was started in this session",
	stateMissing:     "it has no state, or several",
	stateMismatch:    "its state differs from the one that was sent",
	stateExpired:     "the authorization has expired",
	stateUsed:        "the authorization was completed before",
	stateOtherUser:   "another user started the authorization",
	stateOtherClient: "the authorization was started with another configuration",
}

func (e *StateError) Error() string {
	return "pkb: the callback does not match the authorization that was started: " + stateReasons[e.Reason]
}

// Is reports whether target is ErrState.
func (e *StateError) Is(target error) bool { return target == ErrState }

// TryLaterError is ErrTryLater with details.
type TryLaterError struct {
	// Reason is the reason, for the log.
	Reason string
	// Status and Code are the token endpoint's response; 0 and "" without one.
	Status int
	Code   string
	// RetryAfter is how long PKB asked to wait, or 0.
	RetryAfter time.Duration
	// Err is the cause, or nil.
	Err error

	// busy reports that PKB serves no link now.
	busy bool
}

func (e *TryLaterError) Error() string {
	var b strings.Builder
	b.WriteString("pkb: no token is available now: " + e.Reason)
	if e.Status != 0 {
		b.WriteString(" (" + statusText(e.Status))
		if e.Code != "" {
			b.WriteString(", " + e.Code)
		}
		b.WriteString(")")
	}
	if e.RetryAfter > 0 {
		b.WriteString("; retry after " + e.RetryAfter.String())
	}
	return b.String()
}

// Is reports whether target is ErrTryLater.
func (e *TryLaterError) Is(target error) bool { return target == ErrTryLater }

// Unwrap returns e.Err.
func (e *TryLaterError) Unwrap() error { return e.Err }

// storeFailure is ErrStore with the store's own error, which is not printed: a
// driver's message can hold addresses and values.
type storeFailure struct {
	op    string // "load", "save", "find", ...; opUnsaved for tokens that were just issued
	cause error  // unspoken
}

// opUnsaved: the store failed to save tokens that were just issued.
const opUnsaved = "unsaved"

func newStoreFailure(op string, cause error) *storeFailure {
	return &storeFailure{op: op, cause: hush(cause, "an error of the store")}
}

func (e *storeFailure) Error() string {
	if e.op == opUnsaved {
		return "pkb: new tokens are not saved yet; this process keeps them in memory and keeps trying"
	}
	return "pkb: the token store failed to " + e.op + " a record"
}

func (e *storeFailure) Is(target error) bool { return target == ErrStore }
func (e *storeFailure) Unwrap() error        { return e.cause }

// APIError is a response of PKB that is not a success, or the absence of one.
type APIError struct {
	// Operation is what was asked for: "code exchange", "purview", "users/self",
	// "date-of-last-data-point", a resource, such as "Observation search" or
	// "Organization read", or the beginning of the path given to Patient.Get. Those
	// of package pkbsystem begin with "system ".
	Operation string
	// Status is the HTTP status; 0 without a response.
	Status int
	// Code is PKB's response code, or an RFC 6749 code from the token endpoint;
	// empty if PKB sent none that is known.
	Code fhir.ResponseCode
	// Outcome is the operation outcome that PKB sent, or absent.
	Outcome fhir.Resource[fhir.OperationOutcome]
	// RetryAfter is how long PKB asked to wait, or 0.
	RetryAfter time.Duration
	// RequestID is the X-Request-Id of the response, by which PKB's support may
	// find the request, if it is hexadecimal, such as a UUID. PKB's pages mention
	// none.
	RequestID string
	// Err is the cause, or nil: the transport's error, or what is wrong with a
	// response of status 200.
	Err error

	// excerpt is what Excerpt returns.
	excerpt Secret
	// exchange is what is known of a code exchange; busy reports that PKB serves no
	// link now.
	exchange tokenwire.Class
	busy     bool
	// passes reports that the same request may succeed in a moment.
	passes bool
}

func (e *APIError) Error() string {
	b := make([]byte, 0, 160)
	b = append(b, "pkb: "...)
	b = e.appendWhat(b)
	if e.RetryAfter > 0 {
		b = append(b, "; retry after "...)
		b = append(b, e.RetryAfter.String()...)
	}
	return string(b)
}

func (e *APIError) appendWhat(b []byte) []byte {
	b = append(append(b, e.Operation...), ": "...)
	if e.Status == 0 {
		b = append(b, "no response from PKB"...)
	} else {
		b = strconv.AppendInt(b, int64(e.Status), 10)
		if text := http.StatusText(e.Status); text != "" {
			b = append(append(b, ' '), text...)
		}
	}
	if e.Code != "" {
		b = append(append(b, ", "...), e.Code...)
	}
	if e.RequestID != "" {
		b = append(append(b, ", request "...), e.RequestID...)
	}
	if e.Err != nil {
		b = append(append(b, ": "...), safeText(e.Err)...)
	}
	return b
}

// what is the text without the prefix and the wait.
func (e *APIError) what() string { return string(e.appendWhat(nil)) }

func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// Unwrap returns e.Err.
func (e *APIError) Unwrap() error { return e.Err }

func (e *APIError) notFound() bool {
	return (e.Status == 404 || e.Status == 410) && strings.HasSuffix(e.Operation, " read")
}

// ofSystem reports whether it is about a call of package pkbsystem.
func (e *APIError) ofSystem() bool { return strings.HasPrefix(e.Operation, wording.SystemOperation) }

// Is reports whether the response means ErrFrozen, ErrTokenRefused or ErrNotFound.
func (e *APIError) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.notFound()
	case ErrFrozen:
		return isFrozen(e.Code)
	case ErrTokenRefused:
		return !e.ofSystem() && (e.Status == 401 || e.Status == 403 && isAboutToken(e.Code)) && !isFrozen(e.Code) && e.Operation != opExchange
	}
	return false
}

// safeText returns the text of an error that was made here, and a description of
// any other.
func safeText(err error) string {
	switch e := err.(type) { //nolint:errorlint // the usual errors, found without an allocation
	case *contentError:
		return e.what
	case *unspoken:
		return e.says
	}
	var (
		content *contentError
		failure *tokenwire.Failure
		silent  *unspoken
		store   *custody.StoreError
		sealed  *custody.SealError
	)
	switch {
	case errors.As(err, &content):
		return content.what
	case errors.As(err, &failure):
		return failure.What
	case errors.As(err, &silent):
		return silent.says
	case errors.As(err, &store):
		return store.Error()
	case errors.As(err, &sealed):
		return sealed.Error()
	}
	return tokenwire.Explain(err)
}

// contentError is what is wrong with a response, in words made here.
type contentError struct {
	what  string
	cause error // unspoken, or nil
}

func newContentError(what string, cause error) *contentError {
	return &contentError{what: what, cause: hush(cause, what)}
}

func (e *contentError) Error() string { return e.what }
func (e *contentError) Unwrap() error { return e.cause }

// unspoken hides the text of an error that was not made here, such as a driver's, a
// transport's, or a hook's: it can hold addresses, values of a row, or what a
// server sent. errors.Is and errors.As find the error itself; code that prints each
// error of a chain gets a description.
type unspoken struct {
	says string
	// A function, because no printer looks into one.
	cause func() error
}

// quiet returns err without its text.
func quiet(err error) error { return hush(err, "") }

// hush is quiet with a description.
func hush(err error, says string) error {
	switch err.(type) { //nolint:errorlint // what is inside may speak: only an error that is ours itself is quiet
	case nil, *unspoken, *APIError, *contentError, *identifyError, *storeFailure, *keysError, *uncheckedError:
		return err
	}
	if content, ok := err.(*apicall.ContentError); ok { //nolint:errorlint // as above
		return newContentError(content.What, content.Err)
	}
	if says == "" {
		says = safeText(err)
	}
	return &unspoken{says: says, cause: func() error { return err }}
}

func (e *unspoken) Error() string        { return e.says }
func (e *unspoken) Is(target error) bool { return errors.Is(e.cause(), target) }
func (e *unspoken) As(target any) bool   { return errors.As(e.cause(), target) }

// Unspoken returns the error itself, for pkbtest.Cause.
func (e *unspoken) Unspoken() error { return e.cause() }

// public returns the exported error for an error of custody.
func public(err error) error {
	var (
		lost   *custody.LostError
		store  *custody.StoreError
		wait   *custody.WaitError
		check  *custody.UncheckedError
		sealed *custody.SealError
		shared *custody.SharedError
		no     *custody.RefusedError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &shared):
		return &SharedRecordError{AppUserIDs: shared.Users}
	case errors.Is(err, custody.ErrOtherPatient): // before what holds it
		return ErrWrongPatient
	case errors.As(err, &no):
		return no.Err
	case errors.As(err, &check):
		if api, ok := errors.AsType[*APIError](check.Err); ok {
			return api
		}
		return &TryLaterError{Reason: custody.WaitVerify, Err: quiet(check.Err)}
	case errors.Is(err, custody.ErrNoLink):
		return ErrNotLinked
	case errors.Is(err, custody.ErrForeign):
		return ErrOtherEnvironment
	case errors.Is(err, custody.ErrUsed), errors.Is(err, custody.ErrStalled):
		return &StateError{Reason: stateUsed}
	case errors.Is(err, custody.ErrOvertaken):
		return ErrOvertaken
	case errors.Is(err, custody.ErrNewer):
		return ErrNewer
	case errors.Is(err, custody.ErrClosed):
		return ErrClosed
	case errors.As(err, &lost):
		return &RelinkError{Cause: observe.Cause(lost.Cause)}
	case errors.As(err, &wait):
		return &TryLaterError{Reason: wait.Reason, Status: wait.Status, Code: wait.Code, RetryAfter: wait.RetryAfter, Err: quiet(wait.Err), busy: isBusy(wait.Status, wait.Code, wait.Cause)}
	case errors.As(err, &store) && store.Unsaved:
		return newStoreFailure(opUnsaved, public(store.Err))
	case errors.As(err, &sealed):
		return newKeysError(sealed.Cause)
	case errors.As(err, &store):
		return newStoreFailure(store.Op, store.Err)
	}
	return err
}

// told is public for events and logs, where no unknown error is printed.
func told(err error) error { return quiet(public(err)) }

// keysError is ErrKeys with what is wrong.
type keysError struct {
	what  string
	cause error // unspoken
}

func newKeysError(cause error) *keysError {
	return &keysError{what: cause.Error() + "; the link is kept", cause: hush(cause, "an error of the keyring")}
}

func (e *keysError) Error() string        { return "pkb: " + e.what }
func (e *keysError) Is(target error) bool { return target == ErrKeys }
func (e *keysError) Unwrap() error        { return e.cause }

// appUserIDError is ErrAppUserID with what is wrong.
type appUserIDError string

func (e appUserIDError) Error() string        { return "pkb: " + string(e) }
func (e appUserIDError) Is(target error) bool { return target == ErrAppUserID }
