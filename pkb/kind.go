// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/internal/wording"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/record"
	"github.com/betawerk/pkb-go/tokenstore"
)

func is(targets ...error) func(error) bool {
	return func(err error) bool {
		return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
	}
}

// isA matches errors of type E that fit.
func isA[E error](fits func(E) bool) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[E](err)
		return ok && fits(e)
	}
}

func isState(reason string) func(error) bool {
	return isA(func(e *StateError) bool { return e.Reason == reason })
}

func isRelink(cause observe.Cause) func(error) bool {
	return isA(func(e *RelinkError) bool { return e.Cause == cause })
}

func isExchange(class tokenwire.Class) func(error) bool {
	return isA(func(e *APIError) bool { return e.exchange == class })
}

func isVisit(which *visitError) func(error) bool {
	return isA(func(e *visitError) bool { return e == which })
}

func isStore(op string) func(error) bool {
	return isA(func(e *storeFailure) bool { return e.op == op })
}

// isSystem matches errors of package pkbsystem's calls that fit.
func isSystem(fits func(*APIError) bool) func(error) bool {
	return isA(func(e *APIError) bool { return e.ofSystem() && fits(e) })
}

// refusesApplication reports whether the token endpoint responded with a code about
// the application.
func (e *TryLaterError) refusesApplication() bool {
	switch e.Reason {
	case custody.WaitUncertain, custody.WaitUnclear, custody.WaitUnread:
		return false
	}
	return e.Code != "" && e.Status != 0 && !e.busy
}

// kinds are the kinds of errors, by the code of their wording. The first that matches
// is used. Errors that wrap others come first: a hook's error inside may match too.
var kinds = []struct {
	code    wording.Code
	matches func(error) bool
}{
	{"application_refused", isA((*TryLaterError).refusesApplication)},
	{"store_set_back", isA(func(e *TryLaterError) bool {
		return e.Reason == custody.WaitRolledBack || e.Reason == custody.WaitSuspect
	})},
	{"refused_unclear", isA(func(e *TryLaterError) bool { return e.Reason == custody.WaitUnclear })},
	{"response_unreadable", isA(func(e *TryLaterError) bool { return e.Reason == custody.WaitUnread })},
	{"try_later", is(ErrTryLater)},
	{"identity_refused", is(ErrIdentityRefused)},
	{"access_denied", is(ErrAccessDenied)},
	{"not_signed_in", func(err error) bool {
		e, ok := errors.AsType[appUserIDError](err)
		return ok && (e == errNobody || e == errNoSession)
	}},
	{"app_user_id", is(ErrAppUserID)},
	{"state_no_pending", isState(stateNoPending)},
	{"state_missing", isState(stateMissing)},
	{"state_mismatch", isState(stateMismatch)},
	{"state_expired", isState(stateExpired)},
	{"state_used", isState(stateUsed)},
	{"state_other_user", isState(stateOtherUser)},
	{"state_other_client", isState(stateOtherClient)},
	{"state", is(ErrState)},
	{errMethod.code, isVisit(errMethod)},
	{errOtherSite.code, isVisit(errOtherSite)},
	{errFormPost.code, isVisit(errFormPost)},
	{errQuery.code, isVisit(errQuery)},
	{"callback", is(ErrCallback)},
	{"unchecked", is(ErrUnchecked)},
	{"overtaken", is(ErrOvertaken)},
	{"newer_version", is(ErrNewer)},
	{"wrong_patient", is(ErrWrongPatient)},
	{"relink_shared", isRelink(observe.CauseShared)},
	{"shared_record", is(ErrSharedRecord)},
	{"not_a_patient", is(identity.ErrNotAPatient)},
	{"not_linked", is(ErrNotLinked)},
	{"session_expired", isRelink(observe.CauseSessionExpired)},
	{"session_invalid", isRelink(observe.CauseSessionInvalid)},
	{"grant_rejected", isRelink(observe.CauseGrantRejected)},
	{"final_token_expired", isRelink(observe.CauseFinalTokenExpired)},
	{"outcome_unknown", isRelink(observe.CauseOutcomeUnknown)},
	{"relink_frozen", isRelink(observe.CauseFrozen)},
	{"relink_wrong_patient", isRelink(observe.CauseWrongPatient)},
	{"relink_refused_unclear", isRelink(observe.CauseRefusedUnclear)},
	{"relink_response_unreadable", isRelink(observe.CauseResponseUnreadable)},
	{"relink_required", is(ErrRelinkRequired)},
	{"page_expired", isA(func(e *record.PagingError) bool { return e.Reason == "expired" })},
	{"system_uncertain", is(wording.ErrUncertain)},
	{"patient_unknown", is(wording.ErrNoPatient)},
	{"patient_input", is(wording.ErrInput)},
	{"system_client_refused", isSystem(func(e *APIError) bool {
		return e.Operation == wording.SystemToken && (e.Code != "" || e.Status == http.StatusBadRequest || e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden)
	})},
	{"system_token_refused", isSystem(func(e *APIError) bool { return e.Status == http.StatusUnauthorized || isAboutToken(e.Code) })},
	{"system_not_permitted", isSystem(func(e *APIError) bool { return e.Status == http.StatusForbidden })},
	{"system_request_refused", isSystem(func(e *APIError) bool {
		return e.Status == http.StatusBadRequest || e.Status == http.StatusUnprocessableEntity || e.Status == http.StatusOK && !e.Outcome.IsZero()
	})},
	{"frozen", is(ErrFrozen)},
	{"user_type", isA(func(e *APIError) bool { return e.Code == fhir.UserTypeNotPermitted })},
	{"code_rejected", isA(func(e *APIError) bool {
		return e.Code == "invalid_grant" || e.Code == fhir.SessionExpired || e.Code == fhir.SessionInvalid || e.exchange == tokenwire.Rejected
	})},
	{"exchange_application", isA(func(e *APIError) bool {
		switch e.Code {
		case "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_request", "invalid_scope":
			return true
		}
		return e.exchange == tokenwire.AppWide && !e.busy
	})},
	{"exchange_not_sent", isExchange(tokenwire.NotSent)},
	{"exchange_busy", isExchange(tokenwire.AppWide)},
	{"exchange_unclear", isExchange(tokenwire.Unclear)},
	{"exchange_unknown", isA(func(e *APIError) bool {
		return e.Operation == opExchange && (e.Status == 0 || e.Status >= 500 || e.Status < 300)
	})},
	{"too_many_requests", isA(func(e *APIError) bool { return e.Status == http.StatusTooManyRequests })},
	{"unavailable", isA(func(e *APIError) bool { return e.Status == 0 || e.Status >= 500 || e.passes })},
	{"not_found", is(ErrNotFound)},
	{"no_such_address", isA(func(e *APIError) bool {
		switch e.Status {
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
			return true
		}
		return e.Status >= 300 && e.Status < 400
	})},
	{"token_refused", is(ErrTokenRefused)},
	{"not_permitted", isA(func(e *APIError) bool { return e.Status == http.StatusForbidden })},
	{"response_too_large", is(ErrTooLarge)},
	{"unexpected_response", isA(func(e *APIError) bool { return e.Status >= 200 && e.Status < 300 })},
	{"request_refused", isA(func(e *APIError) bool {
		return e.Status == http.StatusBadRequest || e.Status == http.StatusUnprocessableEntity
	})},
	{"other_status", isA(func(*APIError) bool { return true })},
	{"store_unsaved", isStore(opUnsaved)},
	{"store_unavailable", func(err error) bool { return errors.Is(err, ErrStore) && errors.Is(err, tokenstore.ErrUnavailable) }},
	{"store", is(ErrStore)},
	{"key_unavailable", isA(func(e *keysError) bool { return errors.As(e, new(*seal.KeyError)) })},
	{"keys", is(ErrKeys)},
	{"other_environment", is(ErrOtherEnvironment)},
	{"closed", is(ErrClosed)},
	{"path", is(errPath)},
	{"search", is(record.ErrSearch)},
	{"paging", is(record.ErrPaging)},
	{"entry", is(record.ErrEntry)},
	{"no_list", is(errNoList)},
	{"key_in_use", isA(func(e *ConfigError) bool { return strings.HasPrefix(e.Problem, inUse) })},
	{"config", func(err error) bool { return errors.As(err, new(*ConfigError)) || errors.Is(err, wording.ErrConfig) }},
	{"canceled", is(context.Canceled)},
	{"deadline", is(context.DeadlineExceeded)},
}

func kindOf(err error) wording.Code {
	for _, k := range kinds {
		if k.matches(err) {
			return k.code
		}
	}
	return wording.Unforeseen
}

func init() { wording.CodeOf = kindOf }
