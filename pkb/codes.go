// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"net/http"
	"strings"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/apicall"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// causeBusy marks a refusal that concerns every link and is temporary.
const causeBusy = "busy"

// isBusy reports whether a refusal of the token endpoint concerns every link and is
// temporary.
func isBusy(status int, code, cause string) bool {
	return cause == causeBusy || status == http.StatusTooManyRequests || code == "slow_down" || code == "temporarily_unavailable"
}

// tokenErrorProblem returns what is wrong with an entry of Config.TokenErrors, or
// "".
func tokenErrorProblem(e observe.TokenError) string {
	switch {
	case e.Status != 0 && (e.Status < 400 || e.Status > 499):
		return "has a Status that is not from 400 to 499"
	case e.Status == http.StatusRequestTimeout || e.Status == http.StatusTooEarly:
		return "has the Status 408 or 425, which is not about the token"
	case e.Code == "" && strings.TrimSpace(e.Body) == "":
		return "has neither Code nor Body"
	case !apicall.Printable(e.Code) || len(e.Code) > 64:
		return "has a Code that is not up to 64 printable ASCII characters; use Body"
	}
	if _, ok := meanings[e.Means]; !ok {
		return "has no Means of package observe"
	}
	return ""
}

var meanings = map[observe.TokenMeans]tokenwire.Rule{
	observe.MeansSessionOver: {Means: tokenwire.SessionOver, Cause: string(observe.CauseSessionInvalid)},
	observe.MeansFrozen:      {Means: tokenwire.Frozen, Cause: string(observe.CauseFrozen)},
	observe.MeansApplication: {Means: tokenwire.App},
	observe.MeansBusy:        {Means: tokenwire.Busy, Cause: causeBusy},
	observe.MeansUnclear:     {Means: tokenwire.MeansUnclear},
}

// tokenRules returns the host's rules, which come before ours.
func tokenRules(errs []observe.TokenError) (rules []tokenwire.Rule) {
	for _, e := range errs {
		rule := meanings[e.Means]
		rule.Status, rule.Code, rule.Body = e.Status, e.Code, e.Body
		rules = append(rules, rule)
	}
	return rules
}

// meaning is what a PKB response code means for the token that was sent.
type meaning struct {
	code fhir.ResponseCode
	// ends is the cause with which it ends the link, or empty.
	ends observe.Cause
	// frozen reports that a call, unlike a refresh, leaves the link unchanged.
	frozen bool
	// token reports that another token may be accepted.
	token bool
}

// codes are PKB's response codes about tokens (PKB: CS Response Code), for the APIs
// and for the token endpoint. That the token endpoint has them is inferred. Of several
// in one response the first counts.
var codes = []meaning{
	{code: fhir.SessionExpired, ends: observe.CauseSessionExpired},
	{code: fhir.SessionInvalid, ends: observe.CauseSessionInvalid},
	{code: fhir.AccessFrozenOutward, ends: observe.CauseFrozen, frozen: true},
	{code: fhir.AccessTokenExpired, token: true},
	{code: fhir.BadAuthentication, token: true},
}

func meaningOf(code fhir.ResponseCode) meaning {
	for _, m := range codes {
		if m.code == code {
			return m
		}
	}
	return meaning{}
}

// ours returns the rules of the token endpoint for PKB's codes.
func ours() (rules []tokenwire.Rule) {
	for _, m := range codes {
		switch {
		case m.frozen:
			rules = append(rules, tokenwire.Rule{Code: string(m.code), Means: tokenwire.Frozen, Cause: string(m.ends)})
		case m.ends != "":
			rules = append(rules, tokenwire.Rule{Code: string(m.code), Means: tokenwire.SessionOver, Cause: string(m.ends)})
		}
	}
	return rules
}

// isAboutToken reports whether another token may be accepted.
func isAboutToken(code fhir.ResponseCode) bool { return meaningOf(code).token }

// sessionOver returns the cause with which a response code of an API ends the link,
// or "".
func sessionOver(code fhir.ResponseCode) custody.Cause {
	if m := meaningOf(code); !m.frozen {
		return custody.Cause(m.ends)
	}
	return ""
}

func isFrozen(code fhir.ResponseCode) bool { return meaningOf(code).frozen }

// responseCode returns PKB's response code in the body of an error, if that is an
// operation outcome.
func responseCode(body []byte) (fhir.ResponseCode, fhir.Resource[fhir.OperationOutcome]) {
	outcome, err := fhir.Decode[fhir.OperationOutcome](body)
	if err != nil {
		return "", fhir.Resource[fhir.OperationOutcome]{}
	}
	return outcome.Reveal().ResponseCode(), outcome
}
