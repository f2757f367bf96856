// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
)

// What can go wrong, for errors.Is. Each text ends with whose turn it is: the
// patient's, the host's (you), PKB's, or nobody's, where trying later is right.
// No text holds a token, a user id, or anything that PKB sent beyond codes that
// are known.
var (
	// ErrNotLinked: this user has no link to a PKB record, or had one and it
	// was unlinked. Send the user to your link route.
	ErrNotLinked = errors.New("pkb: this user is not linked to a PKB record; patient's turn: send the user to your link route")

	// ErrRelinkRequired: the link was lost, and only the patient can mend it,
	// by approving again. errors.As with *RelinkError tells the cause.
	ErrRelinkRequired = errors.New("pkb: the link to PKB has ended; patient's turn: send the user to your link route to approve again")

	// ErrAccessDenied: the patient did not approve. Nothing was changed.
	ErrAccessDenied = errors.New("pkb: the patient did not approve access; patient's turn: offer the link again when the patient asks for it")

	// ErrState: the callback does not belong to an approval that this user
	// started here a short while ago. errors.As with *StateError tells why.
	ErrState = errors.New("pkb: the callback does not fit the approval that was started; patient's turn: start again from your link route")

	// ErrCallback: the callback is not one that PKB sends after Approve or
	// Deny: neither code nor error in it, or both, or an error other than a
	// refusal.
	ErrCallback = errors.New("pkb: the callback holds no usable code; patient's turn: start again from your link route")

	// ErrWrongPatient: the approval came from another patient than the one this
	// link belongs to. It was refused, and the link is as it was.
	ErrWrongPatient = errors.New("pkb: another patient's record was approved for a link that belongs to somebody else; the link is unchanged; patient's turn: approve with the account that was linked first, or unlink")

	// ErrSharedRecord: the record that was approved is linked with another of
	// the host's users. errors.As with *SharedRecordError tells with whom.
	ErrSharedRecord = errors.New("pkb: another user is linked with this record; host's turn: find out whose it is, and unlink the other user or start with AllowShared")

	// ErrIdentityRefused: Config.Identify did not accept the patient who
	// approved. Nothing is left of the approval.
	ErrIdentityRefused = errors.New("pkb: the patient who approved is not the person known as this user; nothing was changed; patient's turn: approve with the right account, or ask support")

	// ErrNotAPatient: the account that approved is not a patient's.
	ErrNotAPatient = errors.New("pkb: the PKB account that approved is not a patient's; patient's turn: approve with a patient's account")

	// ErrUnchecked: the authorization was saved, and it could not be found out yet
	// whose it is; the link that was there goes on as it is. It is checked again by
	// the calls that follow; Link.Unchecked says whether it still waits.
	ErrUnchecked = errors.New("pkb: the authorization is saved, and could not be checked yet; the link is unchanged; nobody's turn: it is checked again at the next call")

	// ErrOvertaken: while this authorization was being completed, a later one took
	// its place. The link is what that one made of it.
	ErrOvertaken = errors.New("pkb: a later authorization has taken the place of this one; nobody's turn: look at the link")

	// ErrTryLater: there is no usable token now, and the link is kept.
	// errors.As with *TryLaterError tells more.
	ErrTryLater = errors.New("pkb: no token can be had just now; the link is kept; nobody's turn: try again later")

	// ErrFrozen: PKB has frozen the patient's access (ACCESS_FROZEN_OUTWARD).
	// From a call it is an *APIError, and the link is kept; from a refresh it is
	// a *RelinkError.
	ErrFrozen = errors.New("pkb: PKB has frozen the patient's access; PKB's turn: tell your support, trying again does not help")

	// ErrTokenRefused: PKB answers 401, or 403 with a code about the token (such
	// as BAD_AUTHENTICATION), to a token that it has just issued in place of
	// another one. It is an *APIError; the link is kept. If it lasts, let the
	// patient approve again.
	ErrTokenRefused = errors.New("pkb: PKB refuses a token that it has just issued; the link is kept; PKB's turn: if it lasts, report it, and let the patient approve again")

	// ErrSearch: what was asked for is not what PKB offers; nothing was sent.
	// errors.As with *SearchError tells what is wrong.
	ErrSearch = errors.New("pkb: PKB does not offer what was asked for; nothing was sent; host's turn: ask for what it offers")

	// ErrPaging: the pages of a search could not be followed to their end: what
	// came before is not all. errors.As with *PagingError tells why.
	ErrPaging = errors.New("pkb: the pages of a search lead nowhere; PKB's turn: report it")

	// ErrNotFound: a resource that was read by its id is not there, or not for
	// this patient. It is an *APIError.
	ErrNotFound = errors.New("pkb: there is no such resource for this patient; nobody's turn: it is not there, or not for this patient")

	// ErrStore: the token store failed. errors.Is finds the store's own error
	// too. If what it does not take are tokens that PKB has just issued, its text
	// says so: they are in this process's memory, which tries on.
	ErrStore = errors.New("pkb: the token store failed; host's turn: see to the store")

	// ErrKeys: the stored tokens do not open with the keys given, or the record is
	// damaged: its columns are not what its sealed part says. Nothing was sent or
	// written, and the link is kept.
	ErrKeys = errors.New("pkb: the stored tokens do not open; the link is kept; host's turn: give the keyring the key that sealed them")

	// ErrOtherEnvironment: the stored link was made in another environment or
	// with another client id. Nothing was sent, and the link is kept.
	ErrOtherEnvironment = errors.New("pkb: the stored link was made in another environment or for another client id; host's turn: use the configuration it was made with, or unlink the user first")

	// ErrNewer: the stored link was written by a later version of this library.
	// Nothing was sent or written, and the link is kept.
	ErrNewer = errors.New("pkb: the stored link was written by a later version of this library; the link is kept; host's turn: deploy that version everywhere")

	// ErrAppUserID: the app_user_id cannot be one. "" means that nobody is
	// signed in.
	ErrAppUserID = errors.New("pkb: not an app_user_id; host's turn: sign the user in, and give the id that you know the user by")

	// ErrClosed: the Client was closed.
	ErrClosed = errors.New("pkb: the client is closed; host's turn: make a new one")
)

// Cause says why a link has ended.
type Cause string

// The causes of ErrRelinkRequired.
const (
	// CauseSessionExpired: PKB's session is over (API_SESSION_EXPIRED).
	CauseSessionExpired Cause = "session_expired"
	// CauseSessionInvalid: PKB ended the session (API_SESSION_INVALID), for
	// example because a refresh token was presented twice.
	CauseSessionInvalid Cause = "session_invalid"
	// CauseGrantRejected: PKB rejected the refresh token (invalid_grant).
	CauseGrantRejected Cause = "grant_rejected"
	// CauseFinalTokenExpired: the session's last access token, which came
	// without a refresh token, has expired.
	CauseFinalTokenExpired Cause = "final_token_expired"
	// CauseOutcomeUnknown: a refresh was sent, its response was lost, and the one
	// repetition was rejected.
	CauseOutcomeUnknown Cause = "outcome_unknown"
	// CauseFrozen: PKB has frozen the patient's access.
	CauseFrozen Cause = "frozen"
	// CauseWrongPatient: the account that had approved turned out not to be a
	// patient's, or not to be the person whom Config.Identify accepts, after its
	// link had begun to work without that being known.
	CauseWrongPatient Cause = "wrong_patient"
	// CauseShared: the record turned out to be linked with another of the host's
	// users.
	CauseShared Cause = "shared"
	// CauseRefusedUnclear: the token endpoint refused this link in words that are
	// not known, six times or more over an hour or more, while it served others.
	// The verdict is provisional: a call presents the refresh token once more every
	// six hours, and a success restores the link.
	CauseRefusedUnclear Cause = "refused_unclear"
	// CauseAnswerUnreadable: the whole response to a refresh, which may hold the
	// new tokens, could not be read. It is kept: a later version may read it, and
	// then the link comes back. Client.Discard gives it up.
	CauseAnswerUnreadable Cause = "answer_unreadable"
)

// RelinkError is ErrRelinkRequired with its cause.
type RelinkError struct{ Cause Cause }

func (e *RelinkError) Error() string {
	switch e.Cause {
	case CauseShared:
		return "pkb: the link to PKB has ended (" + string(e.Cause) + "); host's turn: another user is linked with this record; find out whose it is"
	case CauseFrozen:
		return "pkb: the link to PKB has ended (" + string(e.Cause) + "); PKB's turn: the patient's access is frozen, tell your support; then the patient's: approve again"
	}
	return "pkb: the link to PKB has ended (" + string(e.Cause) + "); patient's turn: send the user to your link route to approve again"
}

// Is reports whether target is ErrRelinkRequired, or what its cause stands for:
// ErrFrozen or ErrSharedRecord.
func (e *RelinkError) Is(target error) bool {
	return target == ErrRelinkRequired || target == ErrFrozen && e.Cause == CauseFrozen || target == ErrSharedRecord && e.Cause == CauseShared
}

// SharedRecordError is ErrSharedRecord with the other users. It prints without
// them.
type SharedRecordError struct {
	// AppUserIDs are the other users who are linked with the record, ten at
	// most.
	AppUserIDs []string
}

func (e *SharedRecordError) Error() string { return ErrSharedRecord.Error() }

// Is reports whether target is ErrSharedRecord.
func (e *SharedRecordError) Is(target error) bool { return target == ErrSharedRecord }

// StateReason says which check a callback failed.
type StateReason string

// The reasons of ErrState, each with its usual origin.
const (
	// StateNoPending: there is no pending value: the session that started was
	// lost, or the callback came to another browser or host name.
	StateNoPending StateReason = "no approval was started in this session"
	// StateMissing: the callback has no state, or several.
	StateMissing StateReason = "the callback has no state, or more than one"
	// StateMismatch: the callback's state is another approval's: a second tab,
	// or a forged callback.
	StateMismatch StateReason = "the callback's state is not the one that was sent"
	// StateExpired: the patient took longer than Config.ApprovalLife, and an hour
	// more, by which the clocks of two replicas may differ.
	StateExpired StateReason = "the approval has expired"
	// StateUsed: this approval was completed before, or given up, and is not what
	// the user is linked by now. One that is leads to the link again.
	StateUsed StateReason = "the approval was completed before"
	// StateOtherUser: another user is signed in than the one who started.
	StateOtherUser StateReason = "another user started the approval"
	// StateOtherClient: the pending value is another environment's or client
	// id's.
	StateOtherClient StateReason = "the approval was started with another configuration"
)

// StateError is ErrState with its reason.
type StateError struct{ Reason StateReason }

func (e *StateError) Error() string {
	return "pkb: the callback does not fit: " + string(e.Reason) + "; nothing was changed; patient's turn: start again from your link route"
}

// Is reports whether target is ErrState.
func (e *StateError) Is(target error) bool { return target == ErrState }

// TryLaterError is ErrTryLater with what is known.
type TryLaterError struct {
	// Reason is a sentence for the log.
	Reason string
	// Status and Code are the token endpoint's answer; 0 and "" without one.
	Status int
	Code   string
	// RetryAfter is how long PKB asked to wait; 0 if it did not.
	RetryAfter time.Duration
	// Err is the error behind it, or nil.
	Err error

	// busy: the response means that nobody is served just now.
	busy bool
}

func (e *TryLaterError) Error() string {
	var b strings.Builder
	b.WriteString("pkb: no token just now: " + e.Reason)
	if e.Status != 0 {
		b.WriteString(" (HTTP status " + strconv.Itoa(e.Status))
		if e.Code != "" {
			b.WriteString(", " + e.Code)
		}
		b.WriteString(")")
	}
	return b.String() + "; " + inTime(ending(e), e.RetryAfter)
}

// Is reports whether target is ErrTryLater.
func (e *TryLaterError) Is(target error) bool { return target == ErrTryLater }

// Unwrap returns the error behind it.
func (e *TryLaterError) Unwrap() error { return e.Err }

// storeFailure is ErrStore with the store's own error beside it, which is not
// printed: a driver's message can hold addresses and values.
type storeFailure struct {
	op    string // "load", "save", "find", ...; opUnsaved for tokens that were just issued
	cause error  // unspoken
}

// opUnsaved: the store does not take tokens that were just issued.
const opUnsaved = "take"

func newStoreFailure(op string, cause error) *storeFailure {
	return &storeFailure{op: op, cause: hush(cause, "an error of the store's own")}
}

func (e *storeFailure) Error() string {
	if e.op == opUnsaved {
		return "pkb: PKB issued tokens that cannot be saved; they are in this process's memory, which tries on; host's turn: fix the store before this process ends"
	}
	return "pkb: the token store failed to " + e.op + " a record; host's turn: see to the store"
}

// Is reports whether target is ErrStore.
func (e *storeFailure) Is(target error) bool { return target == ErrStore }

// Unwrap returns the store's error, unspoken.
func (e *storeFailure) Unwrap() error { return e.cause }

// SearchError is ErrSearch with what is wrong. It holds no value that was asked
// for.
type SearchError struct {
	// Resource is the type of resource, and Parameter the search parameter, or
	// "id"; either can be "".
	Resource, Parameter string
	// Problem says what is wrong.
	Problem string
}

func (e *SearchError) Error() string {
	what := e.Resource
	if e.Parameter != "" {
		what += " by " + e.Parameter
	}
	if what != "" {
		what += ": "
	}
	return "pkb: not sent: " + what + e.Problem + "; host's turn: ask for what PKB offers"
}

// Is reports whether target is ErrSearch.
func (e *SearchError) Is(target error) bool { return target == ErrSearch }

// PagingReason says why pages could not be followed.
type PagingReason string

// The reasons of ErrPaging.
const (
	// PageElsewhere: the next page is on another server, or not in the FHIR API.
	// No request was made, and no token went there.
	PageElsewhere PagingReason = "the next page is not on the server of the record; no token was sent there"
	// PageUnreadable: the link to the next page is no address.
	PageUnreadable PagingReason = "the link to the next page cannot be read"
	// PageCycle: the next page is one that was there before.
	PageCycle PagingReason = "the next page is one that was read before"
	// PageLimit: there are more pages than a search can have, 10,000.
	PageLimit PagingReason = "there are more than 10,000 pages"
)

// PagingError is ErrPaging with its reason.
type PagingError struct{ Reason PagingReason }

func (e *PagingError) Error() string {
	return "pkb: not all that was searched for could be read: " + string(e.Reason) + "; the link is kept; PKB's turn: report it"
}

// Is reports whether target is ErrPaging.
func (e *PagingError) Is(target error) bool { return target == ErrPaging }

// APIError is an answer of PKB's that is not a success, or the lack of one.
type APIError struct {
	// Operation is what was asked for: "code exchange", "purview",
	// "users/self", "date-of-last-data-point", a resource, as "Observation
	// search" and "Organization read", or the beginning of the path given to
	// Patient.Get.
	Operation string
	// Status is the HTTP status; 0 if there was no answer.
	Status int
	// Code is PKB's response code, or an RFC 6749 code from the token endpoint;
	// empty if PKB sent none that is known.
	Code fhir.ResponseCode
	// Outcome is the operation outcome that PKB sent, or nil.
	Outcome *fhir.OperationOutcome
	// RetryAfter is how long PKB asked to wait; 0 if it did not.
	RetryAfter time.Duration
	// RequestID is what PKB's support can look the request up by: X-Request-Id,
	// if one came that is hexadecimal, as a UUID is. PKB's pages mention none.
	RequestID string
	// Err is the error behind it, or nil: a transport's, or what is wrong with
	// an answer that came with a good status.
	Err error

	// excerpt is for debugging: see Excerpt.
	excerpt concealed
	// exchange is what is known of a code that was to be exchanged; busy, that
	// nobody is served just now.
	exchange tokenwire.Class
	busy     bool
}

func (e *APIError) Error() string { return "pkb: " + e.what() + "; " + inTime(ending(e), e.RetryAfter) }

// what says what happened.
func (e *APIError) what() string {
	var b strings.Builder
	b.WriteString(e.Operation + ": ")
	if e.Status == 0 {
		b.WriteString("no answer from PKB")
	} else {
		b.WriteString("PKB answered with HTTP status " + strconv.Itoa(e.Status))
	}
	if e.Code != "" {
		b.WriteString(", " + string(e.Code))
	}
	if e.RequestID != "" {
		b.WriteString(", request " + e.RequestID)
	}
	if e.Err != nil {
		b.WriteString(": " + safeText(e.Err))
	}
	return b.String()
}

// Unwrap returns the error behind it.
func (e *APIError) Unwrap() error { return e.Err }

// notFound reports whether PKB says that what was read by its id is not there.
func (e *APIError) notFound() bool {
	return (e.Status == 404 || e.Status == 410) && strings.HasSuffix(e.Operation, " read")
}

// Is reports whether target is ErrFrozen, ErrTokenRefused or ErrNotFound, and
// that is what PKB answered.
func (e *APIError) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.notFound()
	case ErrFrozen:
		return e.Code == fhir.AccessFrozenOutward
	case ErrTokenRefused:
		return (e.Status == 401 || e.Status == 403 && isAboutToken(e.Code)) && e.Code != fhir.AccessFrozenOutward && e.Operation != opExchange
	}
	return false
}

// safeText returns the text of errors that are made here, and a description of
// all others.
func safeText(err error) string {
	var (
		answer  *answerError
		failure *tokenwire.Failure
		silent  *unspoken
		store   *custody.StoreError
		sealed  *custody.SealError
	)
	switch {
	case errors.As(err, &answer):
		return answer.what
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

// answerError says what is wrong with an answer, in words made here.
type answerError struct {
	what  string
	cause error // unspoken, or nil
}

func newAnswerError(what string, cause error) *answerError {
	return &answerError{what: what, cause: hush(cause, what)}
}

func (e *answerError) Error() string { return e.what }

// Unwrap returns the cause, unspoken.
func (e *answerError) Unwrap() error { return e.cause }

// unspoken stands for an error that was not made here, as a driver's, the
// transport's, or that of a host's hook: such a text can hold addresses, values
// of a row, or what a server sent. errors.Is and errors.As find the error itself;
// what follows a chain of errors and prints each finds a description.
type unspoken struct {
	says string
	// A function, because that is what no printer looks into.
	cause func() error
}

// quiet returns err so that it can be found, and not printed.
func quiet(err error) error { return hush(err, "") }

// hush is quiet with a description.
func hush(err error, says string) error {
	switch err.(type) { //nolint:errorlint // what is inside may speak: only an error that is ours itself is quiet
	case nil, *unspoken, *APIError, *answerError, *identifyError, *storeFailure, *keysError, *uncheckedError:
		return err
	}
	if says == "" {
		says = safeText(err)
	}
	return &unspoken{says: says, cause: func() error { return err }}
}

func (e *unspoken) Error() string { return e.says }

// Is reports whether target is the error, or one behind it.
func (e *unspoken) Is(target error) bool { return errors.Is(e.cause(), target) }

// As finds the error, or one behind it.
func (e *unspoken) As(target any) bool { return errors.As(e.cause(), target) }

// public turns an error from inside into one that hosts can test for.
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
	case errors.Is(err, custody.ErrOtherPatient):
		return ErrWrongPatient
	case errors.Is(err, custody.ErrUsed), errors.Is(err, custody.ErrStalled):
		return &StateError{Reason: StateUsed}
	case errors.Is(err, custody.ErrOvertaken):
		return ErrOvertaken
	case errors.Is(err, custody.ErrNewer):
		return ErrNewer
	case errors.Is(err, custody.ErrClosed):
		return ErrClosed
	case errors.As(err, &lost):
		return &RelinkError{Cause: Cause(lost.Cause)}
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

// told is public, for an event: what stays unknown is not printed.
func told(err error) error { return quiet(public(err)) }

// keysError is ErrKeys with what is wrong.
type keysError struct {
	what  string
	cause error // unspoken
}

func newKeysError(cause error) *keysError {
	e := &keysError{what: cause.Error() + "; the link is kept; host's turn: give the keyring the key that sealed them"}
	switch _, ok := errors.AsType[*seal.KeyError](cause); {
	case ok:
		e.what = cause.Error() + "; the link is kept; host's turn: see to what holds the key"
	case errors.Is(cause, custody.ErrDamaged):
		e.what = cause.Error() + "; the link is kept; host's turn: put the columns back as they were"
	}
	e.cause = hush(cause, "an error of the keyring's")
	return e
}

func (e *keysError) Error() string { return "pkb: " + e.what }

// Is reports whether target is ErrKeys.
func (e *keysError) Is(target error) bool { return target == ErrKeys }

// Unwrap returns the cause, unspoken.
func (e *keysError) Unwrap() error { return e.cause }

// appUserIDError is ErrAppUserID with what is wrong.
type appUserIDError string

func (e appUserIDError) Error() string { return "pkb: " + string(e) }

// Is reports whether target is ErrAppUserID.
func (e appUserIDError) Is(target error) bool { return target == ErrAppUserID }
