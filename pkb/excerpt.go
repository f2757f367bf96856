// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"errors"
	"strconv"
	"strings"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/tokenwire"
)

// Excerpt returns the beginning of the response behind this error, if
// Config.InsecureDebugResponses is set; otherwise "". It has up to 512 bytes, and
// only words of a fixed list: names of JSON members, codes of OAuth, FHIR and PKB,
// tags, and the usual words of error pages. Each other word is "*". It shows who
// responds in PKB's place; do not keep it in a log.
func (e *APIError) Excerpt() string {
	if !e.excerpt.IsZero() {
		return e.excerpt.Reveal()
	}
	return excerptIn(e.Err)
}

// Excerpt is APIError.Excerpt for a response of the token endpoint.
func (e *TryLaterError) Excerpt() string { return excerptIn(e.Err) }

func excerptIn(err error) string {
	if failed, ok := errors.AsType[*tokenwire.Failure](err); ok && failed.Excerpt != nil {
		return failed.Excerpt()
	}
	return ""
}

func (c *Client) debugExcerpt(status int, body []byte) Secret {
	if !c.cfg.InsecureDebugResponses {
		return Secret{}
	}
	return NewSecret(excerpt(status, body))
}

const (
	// maxExcerpt is the size of an excerpt, and maxExcerpted how much of a response
	// it is made of, in bytes.
	maxExcerpt   = 512
	maxExcerpted = 4 << 10
	// left stands for omitted words.
	left = "*"
)

// excerpt reduces a response to words that are known not to be about anybody. A
// word that is not on the list is omitted.
func excerpt(status int, body []byte) string {
	var out strings.Builder
	last := "" // the last piece written, without white space
	space := false
	body = body[:min(len(body), maxExcerpted)]
	for len(body) > 0 {
		n := 0
		for n < len(body) && !isExcerptMark(body[n]) {
			n++
		}
		piece := ""
		switch {
		case n > 0:
			piece = harmless(status, string(body[:n]))
		case body[0] <= ' ':
			n, space = 1, true
		default:
			n, piece = 1, string(body[0])
		}
		body = body[n:]
		if piece == "" {
			continue
		}
		if piece == left && last == left {
			space = false // the number of omitted words is not shown
			continue
		}
		if space && last != "" {
			piece = " " + piece
		}
		if out.Len()+len(piece) > maxExcerpt {
			break
		}
		out.WriteString(piece)
		last, space = strings.TrimSpace(piece), false
	}
	return out.String()
}

// isExcerptMark reports whether c is white space or a mark of JSON or HTML. Other
// marks belong to words, so an address or a date is one word, and on no list.
func isExcerptMark(c byte) bool { return c <= ' ' || strings.IndexByte(`{}[]:,"<>/=`, c) >= 0 }

// harmless returns word as it is on the list, the status, or left.
func harmless(status int, word string) string {
	if codesShown[word] || status >= 100 && word == strconv.Itoa(status) {
		return word
	}
	if plain := strings.ToLower(strings.Trim(word, ".!?;()")); wordsShown[plain] {
		return plain
	}
	return left
}

// codesShown are kept verbatim.
var codesShown = listed(
	// OAuth 2.0, RFC 6749 and RFC 6750.
	"error", "error_description", "error_uri", "access_token", "refresh_token", "token_type", "expires_in", "scope", "Bearer", "PATIENT",
	"invalid_request", "invalid_client", "invalid_grant", "invalid_scope", "invalid_token", "insufficient_scope", "unauthorized_client",
	"unsupported_grant_type", "unsupported_response_type", "access_denied", "server_error", "temporarily_unavailable", "slow_down",
	// FHIR's outcome, and its codes.
	"resourceType", "OperationOutcome", "Parameters", "Bundle", "issue", "severity", "code", "details", "coding", "system", "display", "text", "diagnostics",
	"expression", "location", "fatal", "warning", "information", "invalid", "structure", "required", "value", "invariant", "security", "login",
	"unknown", "expired", "forbidden", "suppressed", "processing", "not-supported", "duplicate", "not-found", "too-long", "code-invalid", "extension",
	"too-costly", "business-rule", "conflict", "incomplete", "transient", "lock-error", "no-store", "exception", "timeout", "throttled", "informational",
	// PKB's.
	string(fhir.AccessTokenExpired), string(fhir.SessionExpired), string(fhir.SessionInvalid), string(fhir.BadAuthentication),
	string(fhir.AccessFrozenOutward), string(fhir.UserTypeNotPermitted), string(fhir.AccessFrozenInward), string(fhir.NoAssociation),
	string(fhir.NoConsent), string(fhir.NoDecryptKey), string(fhir.SharingDisabled),
	// JSON, and what servers write in it.
	"null", "true", "false", "status", "message", "timestamp", "path", "detail", "title", "type", "instance",
)

// wordsShown are kept in any case. None is a common name or initial.
var wordsShown = listed(
	"!doctype", "html", "head", "title", "body", "h1", "h2", "hr", "br", "center", "div", "span", "pre", "style", "script", "meta",
	"the", "is", "not", "your", "this", "was", "to", "please", "try", "again", "later", "has", "moment", "are", "currently",
	"bad", "gateway", "service", "temporarily", "unavailable", "internal", "server", "error", "request", "requests", "found", "forbidden", "unauthorized",
	"access", "denied", "method", "allowed", "too", "many", "timeout", "timed", "out", "maintenance", "moved", "permanently", "redirect", "redirecting",
	"limit", "rate", "exceeded", "blocked", "connection", "refused", "upstream", "proxy", "overloaded", "unexpected", "occurred", "resource", "http", "https",
	"nginx", "apache", "tomcat", "cloudflare", "cloudfront", "haproxy", "envoy", "varnish", "akamai",
)

func listed(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}
