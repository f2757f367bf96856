// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenwire

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Class says what an outcome proves.
type Class int

// The classes of outcomes.
const (
	// OK: the server responded with tokens.
	OK Class = iota + 1
	// Rejected: the server understood and refuses this code or refresh token.
	Rejected
	// NotSent: the form never left; whatever it held is unspent.
	NotSent
	// Ambiguous: the form was sent, and its outcome is not known: what it held
	// may be spent.
	Ambiguous
	// AppWide: the server refuses the application, or everybody for now. It says
	// nothing about this token.
	AppWide
	// Unclear: the server refused, in words that nobody knows. It concerns one
	// token.
	Unclear
	// Unread: a 2xx response arrived whole and cannot be read. It may hold the
	// successor.
	Unread
)

// String implements fmt.Stringer.
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

// The meanings of a refusal. A Rule that means nothing is ignored.
const (
	MeansNothing Means = iota
	// SessionOver: the session or the grant behind this token has ended.
	SessionOver
	// Frozen: the user has been denied access.
	Frozen
	// App: the application is refused, whoever's token it presents.
	App
	// Busy: everybody is refused for now.
	Busy
	// MeansUnclear: the refusal concerns this token, and does not say how.
	MeansUnclear
)

// classes are what refusals prove.
var classes = map[Means]Class{SessionOver: Rejected, Frozen: Rejected, App: AppWide, Busy: AppWide, MeansUnclear: Unclear}

// Rule says what a refusal means. It matches a 4xx response, other than 408 and
// 425, when all its parts that are not zero do. A rule without any matches
// nothing.
type Rule struct {
	// Status is the HTTP status; 0 is any.
	Status int
	// Code is the code of the response, which is believed in a whole JSON object
	// only.
	Code string
	// Body is the whole response without the white space around it, JSON or not.
	Body  string
	Means Means
	// Cause is handed on as Outcome.Cause.
	Cause string
}

// rfc6749 has the codes of RFC 6749 section 5.2, and two that are often lent
// from elsewhere. invalid_request is not among them: servers blame a token with
// it, too.
var rfc6749 = []Rule{
	{Code: "invalid_grant", Means: SessionOver, Cause: "grant_rejected"},
	{Code: "invalid_client", Means: App},
	{Code: "unauthorized_client", Means: App},
	{Code: "unsupported_grant_type", Means: App},
	{Code: "invalid_scope", Means: App},
	{Code: "slow_down", Means: Busy},
	{Code: "temporarily_unavailable", Means: Busy},
}

// Reading is what was read of a POST's outcome, with nothing judged yet.
type Reading struct {
	// Sent: a byte of the form left, or may have.
	Sent bool
	// Status is the HTTP status, 0 without a response.
	Status int
	// JSON: the body is a JSON object, and whole.
	JSON bool
	// Tokens: the body parses as a token response.
	Tokens bool
	// Hides: the body is whole, cannot be read and may hold tokens. It is not
	// empty, no web page, and no object whose only news is an error.
	Hides bool
	// Code is a code of the JSON object that is known.
	Code string
	// Body is the whole body without the white space around it, for Rule.Body.
	Body string
}

// String implements fmt.Stringer: a Reading does not print its body.
func (Reading) String() string { return "[redacted]" }

// Format implements fmt.Formatter.
func (r Reading) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// Classify says what a reading proves, and returns the cause of the rule that
// it matches. rules come before those of RFC 6749. No rule makes a refusal of
// anything but a 4xx response: help pages and stack traces name codes, too.
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
