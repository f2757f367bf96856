// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenwire

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Class is what an outcome proves.
type Class int

const (
	// OK: the server responded with tokens.
	OK Class = iota + 1
	// Rejected: the server understood and refuses this code or refresh token.
	Rejected
	// NotSent: the form never left; whatever it held is unspent.
	NotSent
	// Ambiguous: the form was sent, and its outcome is unknown: the token or code in
	// it may be spent.
	Ambiguous
	// AppWide: the server refuses the application, or everybody for now. It proves
	// nothing about this token.
	AppWide
	// Unclear: the server refused this token with an unrecognized error.
	Unclear
	// Unread: a 2xx response is complete and cannot be read. It may hold the
	// successor.
	Unread
)

func (c Class) String() string {
	switch c {
	case OK:
		return "ok"
	case Rejected:
		return "rejected"
	case NotSent:
		return "not sent"
	case Ambiguous:
		return "ambiguous"
	case AppWide:
		return "app-wide"
	case Unclear:
		return "unclear"
	case Unread:
		return "unread"
	}
	return "unknown"
}

// Means is what a refusal means.
type Means int

// The meanings of a refusal. A Rule without one is ignored.
const (
	MeansNothing Means = iota
	// SessionOver: the session or the grant behind this token has ended.
	SessionOver
	// Frozen: the user has been denied access.
	Frozen
	// App: the application is refused, whichever token it presents.
	App
	// Busy: everybody is refused for now.
	Busy
	// MeansUnclear: the refusal concerns this token, for an unknown reason.
	MeansUnclear
)

// classes maps what a refusal means to what it proves.
var classes = map[Means]Class{SessionOver: Rejected, Frozen: Rejected, App: AppWide, Busy: AppWide, MeansUnclear: Unclear}

// Rule is the meaning of a refusal. It matches a 4xx response, other than 408 and
// 425, when all its nonzero parts do. A rule without any matches nothing.
type Rule struct {
	// Status is the HTTP status; 0 means any.
	Status int
	// Code is the code of the response. It is taken from a complete JSON object
	// only.
	Code string
	// Body is the complete response without the white space around it, JSON or not.
	Body  string
	Means Means
	// Cause is returned as Outcome.Cause.
	Cause string
}

// rfc6749 has the codes of RFC 6749 section 5.2, and two that servers often borrow
// from elsewhere. invalid_request is not among them: servers also use it for a bad
// token.
var rfc6749 = []Rule{
	{Code: "invalid_grant", Means: SessionOver, Cause: "grant_rejected"},
	{Code: "invalid_client", Means: App},
	{Code: "unauthorized_client", Means: App},
	{Code: "unsupported_grant_type", Means: App},
	{Code: "invalid_scope", Means: App},
	{Code: "slow_down", Means: Busy},
	{Code: "temporarily_unavailable", Means: Busy},
}

// Reading is what was read of a POST's outcome, before it is judged.
type Reading struct {
	// Sent means that a byte of the form left, or may have.
	Sent bool
	// Status is the HTTP status, 0 without a response.
	Status int
	// JSON means that the body is a complete JSON object.
	JSON bool
	// Tokens means that the body parses as a token response.
	Tokens bool
	// Hides means that the body is complete, cannot be read and may hold tokens. It
	// is not empty, no web page, and no object that only reports an error.
	Hides bool
	// Code is a known code in the JSON object.
	Code string
	// Body is the complete body without the white space around it, for Rule.Body.
	Body string
}

// String implements fmt.Stringer: a Reading does not print its body.
func (Reading) String() string { return "[redacted]" }

func (r Reading) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// Classify returns what a reading proves, and the cause of the rule that it matches.
// rules take precedence over those of RFC 6749. No rule applies to anything but a
// 4xx response: help pages and stack traces name codes, too.
func Classify(r Reading, rules []Rule) (Class, string) {
	success := r.Status >= 200 && r.Status <= 299
	switch {
	case !r.Sent:
		return NotSent, ""
	case success && r.Tokens:
		return OK, ""
	case success && r.Hides:
		return Unread, ""
	case r.Status < 300, r.Status >= 500, r.Status == http.StatusRequestTimeout, r.Status == http.StatusTooEarly:
		return Ambiguous, ""
	case r.Status < 400:
		return Unclear, ""
	}
	if rule := match(r, rules); rule != nil {
		return classes[rule.Means], rule.Cause
	}
	if r.Status == http.StatusTooManyRequests {
		return AppWide, ""
	}
	return Unclear, ""
}

// match returns the first rule that matches r, or nil.
func match(r Reading, rules []Rule) *Rule {
	for _, all := range [...][]Rule{rules, rfc6749} {
		for i := range all {
			if all[i].matches(r) {
				return &all[i]
			}
		}
	}
	return nil
}

func (rule *Rule) matches(r Reading) bool {
	body := strings.TrimSpace(rule.Body)
	switch {
	case classes[rule.Means] == 0, rule.Status == 0 && rule.Code == "" && body == "":
		return false
	case rule.Status != 0 && rule.Status != r.Status:
		return false
	case rule.Code != "" && (!r.JSON || rule.Code != r.Code):
		return false
	}
	return body == "" || body == r.Body
}

// knows reports whether a rule, or RFC 6749, gives code a meaning.
func knows(rules []Rule, code string) bool {
	for _, all := range [...][]Rule{rules, rfc6749} {
		for i := range all {
			if code != "" && all[i].Code == code {
				return true
			}
		}
	}
	return false
}
