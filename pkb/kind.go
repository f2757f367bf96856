// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/internal/wording"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/record"
)

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

func isState(reason string) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[*StateError](err)
		return ok && e.Reason == reason
	}
}

func isRelink(cause observe.Cause) func(error) bool {
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

// kinds are all kinds of errors, by the code of their wording. The first that fits
// counts. What wraps other errors comes first: what is inside, a hook's error for
// example, may look like something else.
var kinds = []struct {
	code    wording.Code
	matches func(error) bool
}{
	{"application_refused", isLater((*TryLaterError).refusesApplication)},
	{"store_set_back", isLater(func(e *TryLaterError) bool {
		return e.Reason == custody.WaitRolledBack || e.Reason == custody.WaitSuspect
	})},
	{"refused_unclear", isLater(func(e *TryLaterError) bool { return e.Reason == custody.WaitUnclear })},
	{"response_unreadable", isLater(func(e *TryLaterError) bool { return e.Reason == custody.WaitUnread })},
	{"try_later", is(ErrTryLater)},
	{"identity_refused", is(ErrIdentityRefused)},
	{"access_denied", is(ErrAccessDenied)},
	{"not_signed_in", func(err error) bool {
		e, ok := errors.AsType[appUserIDError](err)
		return ok && (e == errNobody || e == errNoSession)
	}},
	{"app_user_id", is(ErrAppUserID)},
	{"state_no_pending", isState("no_pending")},
	{"state_missing", isState("missing")},
	{"state_mismatch", isState("mismatch")},
	{"state_expired", isState("expired")},
	{"state_used", isState("used")},
	{"state_other_user", isState("other_user")},
	{"state_other_client", isState("other_client")},
	{"state", is(ErrState)},
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
	{"relink_response_unreadable", isRelink(observe.CauseAnswerUnreadable)},
	{"relink_required", is(ErrRelinkRequired)},
	{"frozen", is(ErrFrozen)},
	{"user_type", isAPI(func(e *APIError) bool { return e.Code == fhir.UserTypeNotPermitted })},
	{"code_rejected", isAPI(func(e *APIError) bool {
		return e.Code == "invalid_grant" || e.Code == fhir.SessionExpired || e.Code == fhir.SessionInvalid || e.exchange == tokenwire.Rejected
	})},
	{"exchange_application", isAPI(func(e *APIError) bool {
		switch e.Code {
		case "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_request", "invalid_scope":
			return true
		}
		return e.exchange == tokenwire.AppWide && !e.busy
	})},
	{"exchange_not_sent", isExchange(tokenwire.NotSent)},
	{"exchange_busy", isExchange(tokenwire.AppWide)},
	{"exchange_unclear", isExchange(tokenwire.Unclear)},
	{"exchange_unknown", isAPI(func(e *APIError) bool {
		return e.Operation == opExchange && (e.Status == 0 || e.Status >= 500 || e.Status < 300)
	})},
	{"too_many_requests", isAPI(func(e *APIError) bool { return e.Status == http.StatusTooManyRequests })},
	{"unavailable", isAPI(func(e *APIError) bool { return e.Status == 0 || e.Status >= 500 || e.passes })},
	{"not_found", is(ErrNotFound)},
	{"no_such_address", isAPI(func(e *APIError) bool {
		switch e.Status {
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
			return true
		}
		return e.Status >= 300 && e.Status < 400
	})},
	{"token_refused", is(ErrTokenRefused)},
	{"not_permitted", isAPI(func(e *APIError) bool { return e.Status == http.StatusForbidden })},
	{"unexpected_response", isAPI(func(e *APIError) bool { return e.Status >= 200 && e.Status < 300 })},
	{"request_refused", isAPI(func(e *APIError) bool {
		return e.Status == http.StatusBadRequest || e.Status == http.StatusUnprocessableEntity
	})},
	{"other_status", isAPI(func(*APIError) bool { return true })},
	{"store_unsaved", isStore(opUnsaved)},
	{"store", is(ErrStore)},
	{"key_unavailable", func(err error) bool {
		_, ok := errors.AsType[*seal.KeyError](err)
		return ok && errors.Is(err, ErrKeys)
	}},
	{"keys", is(ErrKeys)},
	{"other_environment", is(ErrOtherEnvironment)},
	{"closed", is(ErrClosed)},
	{"path", is(errPath)},
	{"search", is(record.ErrSearch)},
	{"paging", is(record.ErrPaging)},
	{"no_list", is(errNoList)},
	{"key_in_use", func(err error) bool {
		e, ok := errors.AsType[*ConfigError](err)
		return ok && strings.HasPrefix(e.Problem, inUse)
	}},
	{"config", func(err error) bool { _, ok := errors.AsType[*ConfigError](err); return ok }},
	{"canceled", is(context.Canceled)},
	{"deadline", is(context.DeadlineExceeded)},
}

// kindOf returns the code of the wording for err.
func kindOf(err error) wording.Code {
	for _, k := range kinds {
		if k.matches(err) {
			return k.code
		}
	}
	return wording.Unforeseen
}

func init() { wording.CodeOf = kindOf }
