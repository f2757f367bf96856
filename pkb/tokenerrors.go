// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"net/http"
	"strings"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/tokenwire"
)

// TokenError says what an error response of the token endpoint means, for
// Config.TokenErrors. Of Status, Code and Body those that are set must match; at
// least one of Code and Body must be set. It cannot make a success of an error, nor
// an end of the session of a success or of a status of 500 and above.
type TokenError struct {
	// Status is the HTTP status, from 400 to 499 but for 408 and 425; 0 means any
	// of them.
	Status int
	// Code is the "error" member of a JSON object, or a response code in an
	// OperationOutcome.
	Code string
	// Body is the whole body, without the white space around it.
	Body  string
	Means TokenMeans
}

// TokenMeans is what an error response of the token endpoint means.
type TokenMeans string

// The meanings.
const (
	// MeansSessionOver: the session behind this token has ended, and the patient
	// must approve again (CauseSessionInvalid).
	MeansSessionOver TokenMeans = "session_over"
	// MeansFrozen: PKB has frozen this patient's access (CauseFrozen).
	MeansFrozen TokenMeans = "frozen"
	// MeansApplication: the application or its configuration is refused, whoever's
	// token it was.
	MeansApplication TokenMeans = "application"
	// MeansBusy: nobody is served just now.
	MeansBusy TokenMeans = "busy"
	// MeansUnclear: it concerns this link, and proves nothing.
	MeansUnclear TokenMeans = "unclear"
)

// causeBusy is handed on by a rule whose response concerns everybody, and passes.
const causeBusy = "busy"

// isBusy reports whether a refusal of the token endpoint concerns everybody, and
// passes.
func isBusy(status int, code, cause string) bool {
	return cause == causeBusy || status == http.StatusTooManyRequests || code == "slow_down" || code == "temporarily_unavailable"
}

func (e TokenError) problem() string {
	switch {
	case e.Status != 0 && (e.Status < 400 || e.Status > 499):
		return "has a Status that is not from 400 to 499"
	case e.Status == http.StatusRequestTimeout || e.Status == http.StatusTooEarly:
		return "has the Status 408 or 425, which says nothing about the token"
	case e.Code == "" && strings.TrimSpace(e.Body) == "":
		return "has neither Code nor Body"
	case !printable(e.Code) || len(e.Code) > 64:
		return "has a Code that is not up to 64 printable ASCII characters; use Body"
	}
	if _, ok := meanings[e.Means]; !ok {
		return "has no Means of this package"
	}
	return ""
}

var meanings = map[TokenMeans]tokenwire.Rule{
	MeansSessionOver: {Means: tokenwire.SessionOver, Cause: string(CauseSessionInvalid)},
	MeansFrozen:      {Means: tokenwire.Frozen, Cause: string(CauseFrozen)},
	MeansApplication: {Means: tokenwire.App},
	MeansBusy:        {Means: tokenwire.Busy, Cause: causeBusy},
	MeansUnclear:     {Means: tokenwire.MeansUnclear},
}

// tokenRules are the host's rules, which come before ours.
func tokenRules(errs []TokenError) (rules []tokenwire.Rule) {
	for _, e := range errs {
		rule := meanings[e.Means]
		rule.Status, rule.Code, rule.Body = e.Status, e.Code, e.Body
		rules = append(rules, rule)
	}
	return rules
}

// ours are PKB's response codes that the token endpoint may answer with (PKB: CS
// Response Code; that it does is inferred).
var ours = []tokenwire.Rule{
	{Code: string(fhir.SessionExpired), Means: tokenwire.SessionOver, Cause: string(CauseSessionExpired)},
	{Code: string(fhir.SessionInvalid), Means: tokenwire.SessionOver, Cause: string(CauseSessionInvalid)},
	{Code: string(fhir.AccessFrozenOutward), Means: tokenwire.Frozen, Cause: string(CauseFrozen)},
}
