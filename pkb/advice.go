// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
)

// Turn says who has to act next.
type Turn string

// The turns.
const (
	// TurnPatient: only the patient can go on, by approving or signing in.
	TurnPatient Turn = "patient"
	// TurnHost: you can: something is wrong in your application, its
	// configuration, its store or its keys.
	TurnHost Turn = "host"
	// TurnPKB: Patients Know Best can; trying again does not help.
	TurnPKB Turn = "PKB"
	// TurnWait: nobody has to do anything: trying later is right.
	TurnWait Turn = "wait"
)

// Advice is what to do about an error. The document errors.md of this package
// has all of it in one table.
type Advice struct {
	// Turn says who has to act.
	Turn Turn
	// Cause says what happened.
	Cause string
	// Patient is a text for the patient, in plain English. It is safe to show:
	// nothing that came from PKB, a browser or a store is in it.
	Patient string
	// Operator says what those who run the host do; for most errors of one
	// patient, nothing.
	Operator string
}

// Advise says what to do about an error of any call of this package, wrapped or
// not. An error that this package does not know is the host's turn, with a text
// for the patient that promises nothing. Advise(nil) is the zero Advice.
func Advise(err error) Advice {
	if err == nil {
		return Advice{}
	}
	return adviceFor(err).Advice
}

// advised is one kind of error: how it is known, and what to do about it.
type advised struct {
	// name is how the document calls it; it holds the exported names that it is
	// about.
	name    string
	matches func(error) bool
	// status is that of a web page about it.
	status int
	Advice
	// ends is how the error's own text ends, for those that are put together
	// here.
	ends string
	// met says how a host's test meets it.
	met string
}

// Texts for the patient that several rows share.
const (
	tellLater   = "This does not work just now. Please go back and try again in a while."
	tellOurs    = "This does not work just now, and it is not your fault. Please try again in a while, or ask the support of this app."
	tellStale   = "This page has been used already, was open for too long, or was opened in another browser. Please go back and start again."
	tellRelink  = "Your link to Patients Know Best has ended. Please link your record again."
	tellSupport = "Patients Know Best does not give access to your record. Please ask the support of this app."
)

const doNothing = "Nothing."

// adviceFor returns the first row that knows err. What wraps other errors comes
// first: what is inside, a hook's answer for example, may look like something
// else.
func adviceFor(err error) *advised {
	for i := range advices {
		if advices[i].matches(err) {
			return &advices[i]
		}
	}
	return &unforeseen
}

// ending returns how the text of err, which is one of ours, ends.
func ending(err error) string {
	for i := range advices {
		if advices[i].ends != "" && advices[i].matches(err) {
			return advices[i].ends
		}
	}
	return "host's turn: see what is behind it"
}

// inTime makes "later" a time, if PKB has told one.
func inTime(ending string, wait time.Duration) string {
	if before, ok := strings.CutSuffix(ending, " later"); ok && wait > 0 {
		return before + " in " + wait.String()
	}
	return ending
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func isLater(fits func(*TryLaterError) bool) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[*TryLaterError](err)
		return ok && fits(e)
	}
}

// refusesApplication reports whether the token endpoint named a code that is about
// the application.
func (e *TryLaterError) refusesApplication() bool {
	switch e.Reason {
	case custody.WaitUncertain, custody.WaitUnclear, custody.WaitUnread:
		return false
	}
	return e.Code != "" && e.Status != 0 && !e.busy
}

func isExchange(class tokenwire.Class) func(error) bool {
	return isAPI(func(e *APIError) bool { return e.exchange == class })
}

func isState(reason StateReason) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[*StateError](err)
		return ok && e.Reason == reason
	}
}

func isRelink(cause Cause) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[*RelinkError](err)
		return ok && e.Cause == cause
	}
}

func isAPI(fits func(*APIError) bool) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[*APIError](err)
		return ok && fits(e)
	}
}

func isStore(op string) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[*storeFailure](err)
		return ok && e.op == op
	}
}

// advices are all errors there are, and the one place that says what to do
// about each: Advise, the texts of *APIError and *TryLaterError, the pages of
// Web and errors.md come from it. A new error gets a row here; tests name what
// is missing.
var advices = []advised{
	{
		name: "`ErrTryLater` as `*TryLaterError`: PKB refuses the application", matches: isLater((*TryLaterError).refusesApplication), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "The token endpoint refuses this application: a client id, a client secret or an address is not what PKB expects, or the application was blocked. All links are kept.",
			tellOurs, "Check client id, client secret and token address with PKB; if refreshes get invalid_scope and codes are exchanged, set `Config.RefreshWithoutScope`. Refreshes keep away meanwhile, and come back by themselves.",
		},
		ends: "the link is kept; host's turn: check client id, client secret and token address with PKB",
		met:  "`pkbtest.Respond(401, \"application/json\", …)` with `{\"error\":\"invalid_client\"}`, at `pkbtest.Token`; or `&pkb.TryLaterError{Status: 401, Code: \"invalid_client\"}`",
	},
	{
		name: "`ErrTryLater` as `*TryLaterError`: the store was set back", matches: isLater(func(e *TryLaterError) bool {
			return e.Reason == custody.WaitRolledBack || e.Reason == custody.WaitSuspect
		}), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "The store has older tokens than were seen before, as after a restored backup, or PKB refuses one refresh token after the other, which looks the same. Spent tokens are not sent.",
			tellOurs, "If the store was restored, stop all processes and bring it forward, from its log or another copy. If not, ask PKB.",
		},
		ends: "the link is kept; host's turn: bring the store forward if it was restored, and ask PKB if not",
		met:  "save a copy of the record, `Server.Advance` past the token's life, call once, and put the copy back into the store",
	},
	{
		name: "`ErrTryLater` as `*TryLaterError`: PKB refuses this link in unknown words", matches: isLater(func(e *TryLaterError) bool { return e.Reason == custody.WaitUnclear }), status: http.StatusBadGateway,
		Advice: Advice{
			TurnWait, "The token endpoint refused this link's refresh token in words that are not known. The link is kept; if it is refused for an hour or longer while others are served, it ends (`CauseRefusedUnclear`).",
			"This does not work just now. Please try again in a while; if it lasts, link your record again.",
			"Ask PKB what the response means, and say so in `Config.TokenErrors`. If every link is refused, PKB may not take the parameter scope: set `Config.RefreshWithoutScope`. A new authorization by the patient also helps.",
		},
		ends: "the link is kept; nobody's turn: try again later; a new authorization also helps",
		met:  "`Server.Advance` past the token's life, then `pkbtest.Respond(400, \"\", \"\")` at `pkbtest.Token`",
	},
	{
		name: "`ErrTryLater` as `*TryLaterError`: a response cannot be read", matches: isLater(func(e *TryLaterError) bool { return e.Reason == custody.WaitUnread }), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "The response to a refresh was whole and could not be read. It may hold the new tokens, so it is kept, and the refresh token is not presented again.",
			tellOurs, "Look for a later version of this library that reads it. `Client.Discard` gives the response up; a new authorization by the patient also helps.",
		},
		ends: "the link is kept; host's turn: look for a later version of this library, or give the response up",
		met:  "`Server.Advance` past the token's life, then `pkbtest.Rewrite` at `pkbtest.Token`, with other names for its members",
	},
	{
		name: "`ErrTryLater`", matches: is(ErrTryLater), status: http.StatusBadGateway,
		Advice: Advice{
			TurnWait, "There is no usable token just now: PKB does not answer, asks to wait, or another process is refreshing. The link is kept.",
			tellLater, "Nothing, unless it lasts: then see whether PKB can be reached from here.",
		},
		ends: "the link is kept; nobody's turn: try again later",
		met:  "`Server.Advance` past the token's life, then `pkbtest.Drop` or `pkbtest.Respond(429, …)` at `pkbtest.Token`; or `&pkb.TryLaterError{}`",
	},
	{
		name: "`ErrIdentityRefused`", matches: is(ErrIdentityRefused), status: http.StatusForbidden,
		Advice: Advice{
			TurnPatient, "`Config.Identify` did not accept the patient who approved. Nothing is left of the approval, and a link that worked works on.",
			"The record that you chose does not seem to be yours, so it was not linked. Please start again with your own account, or ask the support of this app.",
			"Nothing for one patient. If many are refused, compare what you know of your users with what PKB says.",
		},
		met: "a `Config.Identify` that returns `pkb.ErrIdentityRefused`",
	},
	{
		name: "`ErrAccessDenied`", matches: is(ErrAccessDenied), status: http.StatusOK,
		Advice: Advice{
			TurnPatient, "The patient did not approve.",
			"You did not allow access, so nothing was linked. You can link your record at any time.", doNothing,
		},
		met: "`Server.Deny`",
	},
	{
		name: "`ErrAppUserID`", matches: is(ErrAppUserID), status: http.StatusUnauthorized,
		Advice: Advice{
			TurnHost, "Nobody is signed in, or the app_user_id is too long or not UTF-8; or the callback came without your session cookie.",
			"Please sign in first, then link your record.",
			"Sign the user in before you call. If it happens at the callback only, your session cookie is SameSite=Strict: make it Lax.",
		},
		met: "any call with the app_user_id `\"\"`",
	},
	{
		name: "`ErrState` as `*StateError`: `StateNoPending`", matches: isState(StateNoPending), status: http.StatusBadRequest,
		Advice: Advice{
			TurnPatient, "The callback came without the pending value of an approval: it was used, its time was over, the session was lost, or it is another browser or host name.",
			tellStale,
			"Nothing for one patient. If it happens to many, look at cookies: host name, path, SameSite, and the same `Config.Keys` on all replicas.",
		},
		met: "`Client.Complete` with `pkb.Pending{}`; or `&pkb.StateError{Reason: pkb.StateNoPending}`",
	},
	{
		name: "`ErrState` as `*StateError`: `StateMissing`", matches: isState(StateMissing), status: http.StatusBadRequest,
		Advice: Advice{
			TurnPatient, "The callback has no state, or more than one.",
			"The page that you came back to is not complete. Please go back and start again.",
			"Nothing for one patient. If it happens to many, see what stands between the browser and you and changes addresses.",
		},
		met: "take `state` off the callback of `Server.Approve`; or `&pkb.StateError{Reason: pkb.StateMissing}`",
	},
	{
		name: "`ErrState` as `*StateError`: `StateMismatch`", matches: isState(StateMismatch), status: http.StatusBadRequest,
		Advice: Advice{
			TurnPatient, "The callback is another approval's: a second tab, or a forged callback.",
			"The page that you came back to belongs to another attempt. Please go back and start again.", doNothing,
		},
		met: "complete one approval with the callback of another; or `&pkb.StateError{Reason: pkb.StateMismatch}`",
	},
	{
		name: "`ErrState` as `*StateError`: `StateExpired`", matches: isState(StateExpired), status: http.StatusBadRequest,
		Advice: Advice{
			TurnPatient, "The patient took longer than `Config.ApprovalLife`, and an hour more, by which the clocks of two replicas may differ.",
			"This page was open for too long. Please go back and start again.", doNothing,
		},
		met: "`Server.Advance` by more than seventy minutes before the callback; or `&pkb.StateError{Reason: pkb.StateExpired}`",
	},
	{
		name: "`ErrState` as `*StateError`: `StateUsed`", matches: isState(StateUsed), status: http.StatusBadRequest,
		Advice: Advice{
			TurnPatient, "The approval was completed before, or given up, and is not what the user is linked by now. (One that is leads to the link again.)",
			"This page has been used already. Please go back, and start again if your record is not linked.", doNothing,
		},
		met: "complete an approval, then another one, then the first again; or `&pkb.StateError{Reason: pkb.StateUsed}`",
	},
	{
		name: "`ErrState` as `*StateError`: `StateOtherUser`", matches: isState(StateOtherUser), status: http.StatusBadRequest,
		Advice: Advice{
			TurnPatient, "Another user is signed in than the one who started.",
			"You are signed in as somebody else than when you started. Please go back and start again.", doNothing,
		},
		met: "complete an approval with another app_user_id; or `&pkb.StateError{Reason: pkb.StateOtherUser}`",
	},
	{
		name: "`ErrState` as `*StateError`: `StateOtherClient`", matches: isState(StateOtherClient), status: http.StatusBadRequest,
		Advice: Advice{
			TurnPatient, "The approval was started with another environment or client id.",
			"This approval can no longer be used. Please go back and start again.",
			"Nothing right after a change of the configuration. If it goes on, replicas have different ones.",
		},
		met: "complete an approval with a client that has another `Config.ClientID`; or `&pkb.StateError{Reason: pkb.StateOtherClient}`",
	},
	{
		name: "`ErrState`", matches: is(ErrState), status: http.StatusBadRequest,
		Advice: Advice{
			TurnPatient, "The callback does not fit the approval that was started.",
			tellStale, doNothing,
		},
		met: "`pkb.ErrState`; the calls return a `*StateError`",
	},
	{
		name: "`ErrCallback`", matches: is(ErrCallback), status: http.StatusBadRequest,
		Advice: Advice{
			TurnPatient, "The callback holds no usable code: neither code nor error, both, several, or an error other than a refusal.",
			"Patients Know Best could not finish. Please go back and start again.",
			"Nothing for one patient. If it happens to many, the log has PKB's error code: ask PKB.",
		},
		met: "take `code` off the callback of `Server.Approve`",
	},
	{
		name: "`ErrUnchecked`", matches: is(ErrUnchecked), status: http.StatusBadGateway,
		Advice: Advice{
			TurnWait, "A new authorization was saved, and it could not be found out yet whose it is. The link that was there goes on as it is; the calls that follow check again.",
			"Your new approval was saved and is still being checked. Until then, your link is as it was.",
			"Nothing, unless it lasts: then see whether PKB's Purview, and what `Config.Identify` asks, can be reached from here.",
		},
		met: "link a user, approve with `AllowSwitch` as another patient, and `pkbtest.Respond(503, \"\", \"\")` at `pkbtest.Purview` before the callback, with `Config.Retries` of -1; or `pkb.ErrUnchecked`",
	},
	{
		name: "`ErrOvertaken`", matches: is(ErrOvertaken), status: http.StatusConflict,
		Advice: Advice{
			TurnWait, "A later authorization of the same user took the place of this one while it was completed.",
			"You have approved again in another window. What that one did counts.", doNothing,
		},
		met: "complete two approvals at once, with `pkbtest.Delay` at `pkbtest.Purview` for the first; or `pkb.ErrOvertaken`",
	},
	{
		name: "`ErrNewer`", matches: is(ErrNewer), status: http.StatusInternalServerError,
		Advice: Advice{
			TurnHost, "The link was written by a later version of this library. Nothing was sent or written.",
			tellOurs, "Deploy that version everywhere, or go back only after the links that it wrote have been read by it.",
		},
		met: "raise the member \"v\" in `tokenstore.Record.Details`; or `pkb.ErrNewer`",
	},
	{
		name: "`ErrWrongPatient`", matches: is(ErrWrongPatient), status: http.StatusConflict,
		Advice: Advice{
			TurnPatient, "Another patient's record was approved than the one this user is linked with. It was refused.",
			"You signed in to Patients Know Best with another account than before. Your link was not changed. Please start again and use the account that you linked first.",
			"Nothing; if the first account was the wrong one, let the user unlink, or start with `AllowSwitch`.",
		},
		met: "link a user, then `Server.Approve` as another patient",
	},
	{
		name: "`ErrRelinkRequired`, `ErrSharedRecord` as `*RelinkError`: `CauseShared`", matches: isRelink(CauseShared), status: http.StatusConflict,
		Advice: Advice{
			TurnHost, "The record of this link turned out to be linked with another of your users. No tokens were deleted.",
			"This record is linked with another account of this app. Please use that account, or ask the support of this app.",
			"Find out whose record it is; unlink the other user, or let this one approve again with `AllowShared`.",
		},
		met: "approve as a patient whom another user is linked with, with `Config.Retries` of -1 and while `pkbtest.Drop` keeps Purview silent, then `Patient.PublicID`; or `&pkb.RelinkError{Cause: pkb.CauseShared}`",
	}, {
		name: "`ErrSharedRecord` as `*SharedRecordError`", matches: is(ErrSharedRecord), status: http.StatusConflict,
		Advice: Advice{
			TurnHost, "The record that was approved is linked with another of your users.",
			"This record is linked with another account of this app. Nothing was changed. Please use that account, or ask the support of this app.",
			"Find out whose record it is; unlink the other user, or start with `AllowShared` where sharing is meant.",
		},
		met: "approve as one patient for two users; or `&pkb.SharedRecordError{}`",
	},
	{
		name: "`ErrNotAPatient`", matches: is(ErrNotAPatient), status: http.StatusForbidden,
		Advice: Advice{
			TurnPatient, "The PKB account that approved is not a patient's.",
			"The account that you used at Patients Know Best is not a patient's. Please start again and use your patient account.", doNothing,
		},
		met: "`pkbtest.Patient{Purview: []string{\"Practitioner/1\"}}`, or `NotPatient` for `Self`",
	},
	{
		name: "`ErrNotLinked`", matches: is(ErrNotLinked), status: http.StatusConflict,
		Advice: Advice{
			TurnPatient, "The user has no link to a PKB record, or had one and it was unlinked.",
			"Your record at Patients Know Best is not linked. You can link it now.", doNothing,
		},
		met: "any call for a user who was not linked",
	},
	{
		name: "`ErrRelinkRequired` as `*RelinkError`: `CauseSessionExpired`", matches: isRelink(CauseSessionExpired), status: http.StatusConflict,
		Advice: Advice{
			TurnPatient, "PKB's session has expired (API_SESSION_EXPIRED).",
			tellRelink, "Nothing; `EventEndsSoon` says it before it happens, if `Config.SessionLife` is set.",
		},
		met: "`Server.EndSessions`; or `&pkb.RelinkError{Cause: pkb.CauseSessionExpired}`",
	},
	{
		name: "`ErrRelinkRequired` as `*RelinkError`: `CauseSessionInvalid`", matches: isRelink(CauseSessionInvalid), status: http.StatusConflict,
		Advice: Advice{
			TurnPatient, "PKB ended the session (API_SESSION_INVALID), for example because a refresh token came twice.",
			tellRelink, "Make sure that nothing but this library refreshes these tokens, and that no old copy of the store is used.",
		},
		met: "`Server.InvalidateSessions`; or `&pkb.RelinkError{Cause: pkb.CauseSessionInvalid}`",
	},
	{
		name: "`ErrRelinkRequired` as `*RelinkError`: `CauseGrantRejected`", matches: isRelink(CauseGrantRejected), status: http.StatusConflict,
		Advice: Advice{
			TurnPatient, "PKB rejected the refresh token (invalid_grant).",
			tellRelink, "Nothing for one patient. If it happens to many, ask PKB; and ask yourself whether the store was restored.",
		},
		met: "`Server.Advance` past the token's life, then `pkbtest.Respond(400, \"application/json\", …)` with `{\"error\":\"invalid_grant\"}`, at `pkbtest.Token`; or `&pkb.RelinkError{Cause: pkb.CauseGrantRejected}`",
	},
	{
		name: "`ErrRelinkRequired` as `*RelinkError`: `CauseFinalTokenExpired`", matches: isRelink(CauseFinalTokenExpired), status: http.StatusConflict,
		Advice: Advice{
			TurnPatient, "The session's last access token, which came without a refresh token, has expired.",
			tellRelink, "Nothing; `EventEndsSoon` said it before it happened.",
		},
		met: "`pkbtest.Config{SessionLife: 5 * time.Minute}`, then `Server.Advance`; or `&pkb.RelinkError{Cause: pkb.CauseFinalTokenExpired}`",
	},
	{
		name: "`ErrRelinkRequired` as `*RelinkError`: `CauseOutcomeUnknown`", matches: isRelink(CauseOutcomeUnknown), status: http.StatusConflict,
		Advice: Advice{
			TurnPatient, "A refresh was sent, its response was lost, and the one repetition was rejected.",
			tellRelink, "Nothing for one patient. Many point to a network, a proxy or a time-out that loses answers.",
		},
		met: "`Server.Advance` past the token's life, then `pkbtest.DropAfter` at `pkbtest.Token`; or `&pkb.RelinkError{Cause: pkb.CauseOutcomeUnknown}`",
	},
	{
		name: "`ErrRelinkRequired`, `ErrFrozen` as `*RelinkError`: `CauseFrozen`", matches: isRelink(CauseFrozen), status: http.StatusForbidden,
		Advice: Advice{
			TurnPKB, "PKB has frozen the patient's access, and a refresh met that (ACCESS_FROZEN_OUTWARD).",
			tellSupport, "Tell your support, who asks PKB; after that the patient approves again.",
		},
		met: "`Server.Advance` past the token's life, then `pkbtest.Respond(403, \"application/json\", …)` with ACCESS_FROZEN_OUTWARD in it, at `pkbtest.Token`; or `&pkb.RelinkError{Cause: pkb.CauseFrozen}`",
	},
	{
		name: "`ErrRelinkRequired` as `*RelinkError`: `CauseWrongPatient`", matches: isRelink(CauseWrongPatient), status: http.StatusConflict,
		Advice: Advice{
			TurnPatient, "The link's session turned out not to be the right person's. No tokens were deleted.",
			tellRelink, "Nothing; the patient approves with the account that was linked first, or the user unlinks.",
		},
		met: "approve with `Config.Retries` of -1 as `pkbtest.Patient{Purview: []string{\"Practitioner/1\"}}`, while `pkbtest.Drop` keeps Purview silent, then `Patient.PublicID`; or `&pkb.RelinkError{Cause: pkb.CauseWrongPatient}`",
	},

	{
		name: "`ErrRelinkRequired` as `*RelinkError`: `CauseRefusedUnclear`", matches: isRelink(CauseRefusedUnclear), status: http.StatusConflict,
		Advice: Advice{
			TurnPatient, "PKB refused this link's refresh token in words that are not known, for an hour or longer, while it served other links.",
			tellRelink, "Ask PKB what the response means, and say so in `Config.TokenErrors`: `pkbctl show` names its status. The token is presented once more every six hours, and a success restores the link.",
		},
		met: "`pkbtest.Respond(400, \"\", \"\")` at `pkbtest.Token` for each refresh of one link and for none of another's, while `Server.Advance` lets some hours pass; or `&pkb.RelinkError{Cause: pkb.CauseRefusedUnclear}`",
	},
	{
		name: "`ErrRelinkRequired` as `*RelinkError`: `CauseAnswerUnreadable`", matches: isRelink(CauseAnswerUnreadable), status: http.StatusConflict,
		Advice: Advice{
			TurnPatient, "The response to a refresh could not be read, and the access token has expired. The response is kept.",
			tellRelink, "Look for a later version of this library that reads the response: the link then comes back. `Client.Discard` gives it up.",
		},
		met: "`Server.Advance` past the token's life, `pkbtest.Rewrite` at `pkbtest.Token`, and two calls; or `&pkb.RelinkError{Cause: pkb.CauseAnswerUnreadable}`",
	},
	{
		name: "`ErrRelinkRequired`", matches: is(ErrRelinkRequired), status: http.StatusConflict,
		Advice: Advice{TurnPatient, "The link was lost, and only the patient can mend it.", tellRelink, doNothing},
		met:    "`pkb.ErrRelinkRequired`; the calls return a `*RelinkError`",
	},
	{
		name: "`ErrFrozen` as `*APIError`", matches: is(ErrFrozen), status: http.StatusForbidden,
		Advice: Advice{
			TurnPKB, "PKB has frozen the patient's access (ACCESS_FROZEN_OUTWARD). The link is kept.",
			tellSupport, "Tell your support, who asks PKB. Trying again does not help.",
		},
		ends: "the link is kept; PKB's turn: the patient's access is frozen, tell your support",
		met:  "`Server.Freeze`",
	},
	{
		name: "`*APIError`: not for this type of user", matches: isAPI(func(e *APIError) bool { return e.Code == fhir.UserTypeNotPermitted }), status: http.StatusForbidden,
		Advice: Advice{
			TurnPatient, "PKB does not permit this to the type of user who approved (USER_TYPE_NOT_PERM).",
			"The account that you used at Patients Know Best cannot do this. Please link your patient account.", doNothing,
		},
		ends: "patient's turn: approve with a patient's account",
		met:  "`pkbtest.Refuse(\"USER_TYPE_NOT_PERM\")` at `pkbtest.Self`",
	},
	{
		name: "`*APIError`: the code was refused, or the session is over", matches: isAPI(func(e *APIError) bool {
			return e.Code == "invalid_grant" || e.Code == fhir.SessionExpired || e.Code == fhir.SessionInvalid || e.exchange == tokenwire.Rejected
		}), status: http.StatusBadGateway,
		Advice: Advice{
			TurnPatient, "PKB rejected the code (invalid_grant): it was used or has expired; or the session ended while the link was made.",
			"Your record could not be linked. Please go back and start again.",
			"Nothing for one patient. If it happens to all, compare the redirect URI with what PKB has registered.",
		},
		ends: "patient's turn: approve again",
		met:  "`Server.Advance` by a minute between `Server.Approve` and the callback",
	},
	{
		name: "`*APIError` of the code exchange: PKB refuses the application", matches: isAPI(func(e *APIError) bool {
			switch e.Code {
			case "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_request", "invalid_scope":
				return true
			}
			return e.exchange == tokenwire.AppWide && !e.busy
		}), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "The token endpoint refuses this application. The code was not spent: once that is fixed, the same callback may be loaded again.", tellOurs,
			"Check client id, client secret and redirect URI with PKB.",
		},
		ends: "host's turn: check client id, client secret and redirect URI with PKB",
		met:  "`pkbtest.Config{ClientSecret: …}` and a `Config` without it",
	},
	{
		name: "`*APIError` of the code exchange: nothing was sent", matches: isExchange(tokenwire.NotSent), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "PKB could not be reached from here, so the code was not spent. The same callback may be loaded again.",
			"Patients Know Best cannot be reached just now. Please wait a moment and load this page again.",
			"See whether PKB's token address can be reached from here: DNS, proxy, firewall, TLS.",
		},
		ends: "nothing was spent; host's turn: see whether PKB's token address can be reached from here, and load the callback again",
		met:  "a `Config.HTTPClient` whose transport cannot connect",
	},
	{
		name: "`*APIError` of the code exchange: PKB takes no requests", matches: isExchange(tokenwire.AppWide), status: http.StatusBadGateway,
		Advice: Advice{
			TurnWait, "The token endpoint serves nobody just now (429, slow_down, temporarily_unavailable, or `MeansBusy`). The code was not spent: the same callback may be loaded again.",
			"Patients Know Best cannot be reached just now. Please wait a moment and load this page again.",
			"Nothing, unless it lasts: then ask PKB.",
		},
		ends: "nothing was spent; nobody's turn: load the callback again later",
		met:  "`pkbtest.Respond(429, \"\", \"\")` at `pkbtest.Token`, before the callback",
	},
	{
		name: "`*APIError` of the code exchange: refused in unknown words", matches: isExchange(tokenwire.Unclear), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "The token endpoint refused the code in words that are not known. The code may be spent.",
			"Your record could not be linked. Please go back and start again. If that does not help, ask the support of this app.",
			"Nothing for one patient. If it happens to all, compare client id, client secret and redirect URI with what PKB has registered; ask PKB what the response means, and say so in `Config.TokenErrors`.",
		},
		ends: "host's turn: let the patient approve again; if it happens to all, ask PKB what the response means",
		met:  "`pkbtest.Respond(400, \"\", \"\")` at `pkbtest.Token`, before the callback",
	},
	{
		name: "`*APIError` of the code exchange: no answer, or none that can be used", matches: isAPI(func(e *APIError) bool {
			return e.Operation == opExchange && (e.Status == 0 || e.Status >= 500 || e.Status < 300)
		}), status: http.StatusBadGateway,
		Advice: Advice{
			TurnPatient, "The code was sent, and what came of it is not known: it may be used up.",
			"Your record could not be linked just now. Please go back and try again in a while.",
			"Nothing, unless it lasts: then see whether PKB can be reached from here.",
		},
		ends: "patient's turn: approve again",
		met:  "`pkbtest.DropAfter` or `pkbtest.Respond(503, …)` at `pkbtest.Token`, before the callback",
	},
	{
		name: "`*APIError`: too many requests", matches: isAPI(func(e *APIError) bool { return e.Status == http.StatusTooManyRequests }), status: http.StatusBadGateway,
		Advice: Advice{
			TurnWait, "PKB asks to slow down (429). The link is kept.", tellLater,
			"Call PKB less often; `APIError.RetryAfter` says how long to wait, if PKB did.",
		},
		ends: "the link is kept; nobody's turn: slow down and try again later",
		met:  "`Config.Retries` of -1, and `pkbtest.Respond(429, \"\", \"\")` at `pkbtest.Self`; or `&pkb.APIError{Operation: \"users/self\", Status: 429}`",
	},
	{
		name: "`*APIError`: no answer, or PKB is down", matches: isAPI(func(e *APIError) bool { return e.Status == 0 || e.Status >= 500 || e.passes() }), status: http.StatusBadGateway,
		Advice: Advice{
			TurnWait, "PKB could not be reached, did not answer in time, or says that it is down. The link is kept.", tellLater,
			"Nothing, unless it lasts: then see whether PKB can be reached from here.",
		},
		ends: "the link is kept; nobody's turn: try again later",
		met:  "`Config.Retries` of -1, and `pkbtest.Drop` or `pkbtest.Respond(503, …)` at `pkbtest.Self`; or `&pkb.APIError{Operation: \"users/self\", Status: 503}`",
	},
	{
		name: "`ErrNotFound` as `*APIError`", matches: is(ErrNotFound), status: http.StatusNotFound,
		Advice: Advice{
			TurnWait, "The resource that was asked for by its id is not there, or not for this patient. The link is kept.",
			"This part of your record could not be found.", doNothing,
		},
		ends: "the link is kept; nobody's turn: the resource is not there, or not for this patient",
		met:  "`Patient.Organization` with an id that was not added with `Server.AddResource`",
	},
	{
		name: "`*APIError`: nothing at this address", matches: isAPI(func(e *APIError) bool {
			switch e.Status {
			case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
				return true
			}
			return e.Status >= 300 && e.Status < 400
		}), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "There is nothing at this address, or it sends elsewhere. Redirects are not followed.", tellOurs,
			"Check the path that you gave to `Patient.Get`, and the addresses of the environment with PKB.",
		},
		ends: "host's turn: check the path and the addresses of the environment",
		met:  "`pkbtest.Respond(404, \"\", \"\")` at `pkbtest.Self`; or `&pkb.APIError{Operation: \"users/self\", Status: 404}`",
	},
	{
		name: "`ErrTokenRefused` as `*APIError`", matches: is(ErrTokenRefused), status: http.StatusBadGateway,
		Advice: Advice{
			TurnPKB, "PKB answers 401, or 403 with a code about the token, to a token that it has just issued in place of another one. The link is kept.", tellOurs,
			"If it lasts, report it to PKB, and let the patient approve again.",
		},
		ends: "the link is kept; PKB's turn: it rejects a token that it has just issued",
		met:  "`pkbtest.Respond(401, \"\", \"\")` twice at `pkbtest.Self`",
	},
	{
		name: "`*APIError`: not permitted", matches: isAPI(func(e *APIError) bool { return e.Status == http.StatusForbidden }), status: http.StatusForbidden,
		Advice: Advice{
			TurnPKB, "PKB does not permit this to this patient (403). The link is kept.", tellSupport,
			"Look at `APIError.Code` and ask PKB what it takes.",
		},
		ends: "the link is kept; PKB's turn: it does not permit this to this patient",
		met:  "`pkbtest.Refuse(\"NO_CONSENT\")` at `pkbtest.Self`; or `&pkb.APIError{Operation: \"users/self\", Status: 403}`",
	},
	{
		name: "`*APIError`: an answer that cannot be read", matches: isAPI(func(e *APIError) bool { return e.Status >= 200 && e.Status < 300 }), status: http.StatusBadGateway,
		Advice: Advice{
			TurnPKB, "The answer has a good status and is not what PKB's pages describe. The link is kept.", tellOurs,
			"See whether a proxy answers in PKB's place; if not, report it to PKB and here.",
		},
		ends: "the link is kept; PKB's turn: the answer is not what its pages describe",
		met:  "`pkbtest.Respond(200, \"text/html\", \"<html>\")` at `pkbtest.Self`",
	},
	{
		name: "`*APIError`: the request is not accepted", matches: isAPI(func(e *APIError) bool {
			return e.Status == http.StatusBadRequest || e.Status == http.StatusUnprocessableEntity
		}), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "PKB does not accept the request (400 or 422), and its code, if there is one, says why. The link is kept.", tellOurs,
			"Check the path and the parameters that you gave to `Patient.Get`.",
		},
		ends: "the link is kept; host's turn: PKB does not accept the request; check its path and parameters",
		met:  "`pkbtest.Respond(400, \"\", \"\")` at `pkbtest.Self`; or `&pkb.APIError{Operation: \"users/self\", Status: 400}`",
	},
	{
		name: "`*APIError`: any other status", matches: isAPI(func(*APIError) bool { return true }), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "PKB refuses the request, and its code, if there is one, says why. The link is kept.", tellOurs,
			"Report it to PKB, with `APIError.Status` and `APIError.Code`.",
		},
		ends: "the link is kept; host's turn: report this to PKB",
		met:  "`pkbtest.Respond(418, \"\", \"\")` at `pkbtest.Self`; or `&pkb.APIError{Operation: \"users/self\", Status: 418}`",
	},
	{
		name: "`ErrStore`: new tokens are not saved yet", matches: isStore(opUnsaved), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "PKB issued tokens, for an authorization or a refresh, and they cannot be saved: the store fails, or what holds the keys. They are in this process's memory, which tries on. A callback that is loaded again waits for them.", tellOurs,
			"Fix the store, or what holds the keys, before this process ends: the new tokens are nowhere else. `Health.Unsaved` counts them.",
		},
		met: "a store whose `Save` fails from the moment of the refresh on, or from the second time on in `Client.Complete`",
	},
	{
		name: "`ErrStore`", matches: is(ErrStore), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "The token store failed; `errors.Is` finds its own error too, such as `sqlstore.ErrReadOnly`. The link is kept.", tellOurs,
			"Fix the store. After a failover, waiting is enough.",
		},
		met: "a store whose `Load` returns an error, such as a closed `tokenstore.Memory`; or `pkb.ErrStore`",
	},
	{
		name: "`ErrKeys`: what holds the key does not answer", matches: func(err error) bool {
			_, ok := errors.AsType[*seal.KeyError](err)
			return ok && errors.Is(err, ErrKeys)
		}, status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "A key of `Keyring.AddAEAD` failed. Nothing was sent, and the link is kept.", tellOurs,
			"See to the key management service.",
		},
		met: "`Keyring.AddAEAD` with an `AEAD` that returns errors",
	},
	{
		name: "`ErrKeys`", matches: is(ErrKeys), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "The stored tokens do not open with the keys given, or the record is damaged: its columns are not what its sealed part says. Nothing was sent or written, and the link is kept.", tellOurs,
			"Give the keyring the key that sealed them; `tokenstore.Record.KeyID` names it. If the error speaks of damage, put the columns back as they were. Do not unlink.",
		},
		met: "open a link with a client that has other `Config.Keys`; or `pkb.ErrKeys`",
	},
	{
		name: "`ErrOtherEnvironment`", matches: is(ErrOtherEnvironment), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "The stored link was made in another environment or with another client id. Nothing was sent, and the link is kept.", tellOurs,
			"Use the configuration that it was made with, or another store; or unlink the user first.",
		},
		met: "open a link with a client that has another `Config.ClientID`; or `pkb.ErrOtherEnvironment`",
	},
	{
		name: "`ErrClosed`", matches: is(ErrClosed), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "The client was closed, as a process does before it ends.", tellLater,
			"Nothing while a process ends. Otherwise make a new client, and close it last.",
		},
		met: "`Client.Close`, then any call; or `pkb.ErrClosed`",
	},
	{
		name: "`ErrPath`", matches: is(ErrPath), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "The path given to `Patient.Get` is not one of PKB's. Nothing was sent.", tellOurs,
			"Mend the path: it begins with /json/ or /fhir/, and leads nowhere else.",
		},
		met: "`Patient.Get` with the path `\"https://elsewhere.example/\"`; or `pkb.ErrPath`",
	},
	{
		name: "`ErrSearch` as `*SearchError`", matches: is(ErrSearch), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "A search or a read asks for what PKB does not offer, or lacks what it requires. Nothing was sent.", tellOurs,
			"Mend the call: the error names the parameter and says what is wrong with it.",
		},
		met: "`Patient.Observations` without a category; or `&pkb.SearchError{}`",
	},
	{
		name: "`ErrPaging` as `*PagingError`", matches: is(ErrPaging), status: http.StatusBadGateway,
		Advice: Advice{
			TurnPKB, "The pages of a search lead to another server, round in a circle, or to no end. What was read before is right, and not all. No token was sent elsewhere.",
			"Your record could not be read to its end. Please try again in a while.", "Report it to PKB, and see whether a proxy changes its answers.",
		},
		met: "`pkbtest.Rewrite` of the link to the next page, at `pkbtest.Facade`; or `&pkb.PagingError{Reason: pkb.PageCycle}`",
	},
	{
		name: "`ErrNoList`", matches: is(ErrNoList), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "The store cannot list its records.", tellOurs,
			"Give it the `List` method of `tokenstore.Lister`.",
		},
		met: "`Client.Links` with a store that has the three methods only; or `pkb.ErrNoList`",
	},
	{
		name: "`ErrKeyInUse`", matches: is(ErrKeyInUse), status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "The key seals, or a record still names it.", tellOurs,
			"Seal with another key on every replica, call `Client.Reseal`, and retire this one then.",
		},
		met: "`Client.RetireKey` with the key that seals; or `pkb.ErrKeyInUse`",
	},
	{
		name: "`*ConfigError`", matches: func(err error) bool { _, ok := errors.AsType[*ConfigError](err); return ok }, status: http.StatusBadGateway,
		Advice: Advice{
			TurnHost, "A field of `Config`, or an option, is wrong. The error names it, and says what belongs there.", tellOurs,
			"Mend the configuration.",
		},
		met: "`pkb.New(pkb.Config{})`",
	},
	{
		name: "`context.Canceled`", matches: is(context.Canceled), status: http.StatusBadGateway,
		Advice: Advice{
			TurnWait, "Whoever asked has stopped waiting. What was under way for the link goes on.", tellLater, doNothing,
		},
		met: "a context that is cancelled",
	},
	{
		name: "`context.DeadlineExceeded`", matches: is(context.DeadlineExceeded), status: http.StatusBadGateway,
		Advice: Advice{
			TurnWait, "The caller's time was up. What was under way for the link goes on.", tellLater,
			"Nothing; if it happens often, give callers more time than a refresh takes, or see whether PKB is slow.",
		},
		met: "a context whose deadline is over",
	},
}

// unforeseen is what none of the rows knows.
var unforeseen = advised{
	name: "any other error, such as those of `ParseKeyring`, `ParsePublicID`, `ParseDate` and of a `Keyring`", status: http.StatusBadGateway,
	Advice: Advice{
		TurnHost, "An input is not what it has to be, and the error says why; or the error is not this library's.", tellOurs,
		"Read the log.",
	},
	met: "`pkb.ParsePublicID(\"7310001\")`",
}

// failure says what a patient can do about err.
func failure(err error) Failure {
	row := adviceFor(err)
	return Failure{Err: err, Status: row.status, Text: row.Patient}
}
