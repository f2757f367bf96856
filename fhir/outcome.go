// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"slices"
	"strings"
)

// ResponseCode is a code of PKB's code system response-code: why a request failed.
type ResponseCode string

// ResponseCodeSystem is the code system of ResponseCode.
const ResponseCodeSystem = "http://fhir.patientsknowbest.com/codesystem/response-code"

// The response codes of the current page (PKB: CS Response Code).
const (
	// AccessTokenExpired: use the refresh token.
	AccessTokenExpired ResponseCode = "ACC_TOKEN_EXPIRED"
	// SessionExpired: the session has expired; neither token works any more.
	SessionExpired ResponseCode = "API_SESSION_EXPIRED"
	// SessionInvalid: the session was ended, for example because a refresh
	// token was used more than once.
	SessionInvalid ResponseCode = "API_SESSION_INVALID"
	// BadAuthentication: no valid access token was given.
	BadAuthentication ResponseCode = "BAD_AUTHENTICATION"
	// AccessFrozenOutward: the account of the requesting patient is frozen.
	AccessFrozenOutward ResponseCode = "ACCESS_FROZEN_OUTWARD"
	// UserTypeNotPermitted: not for this type of user.
	UserTypeNotPermitted ResponseCode = "USER_TYPE_NOT_PERM"
)

// The response codes that only an older page has (PKB: response-code, on the former
// developer site): why the requested record stays closed. The page only names them;
// the descriptions are inferred from the names.
const (
	// AccessFrozenInward: access to the record is frozen.
	AccessFrozenInward ResponseCode = "ACCESS_FROZEN_INWARD"
	// NoAssociation: the requester has no relationship with the record.
	NoAssociation ResponseCode = "NO_ASSOCIATION"
	// NoConsent: the patient has not consented.
	NoConsent ResponseCode = "NO_CONSENT"
	// NoDecryptKey: the record cannot be decrypted for the requester.
	NoDecryptKey ResponseCode = "NO_DECRYPT_KEY"
	// SharingDisabled: the patient has turned sharing off.
	SharingDisabled ResponseCode = "SHARING_DISABLED"
)

var responseCodes = []ResponseCode{
	AccessTokenExpired, SessionExpired, SessionInvalid, BadAuthentication, AccessFrozenOutward,
	UserTypeNotPermitted, AccessFrozenInward, NoAssociation, NoConsent, NoDecryptKey, SharingDisabled,
}

func known(s string) (ResponseCode, bool) {
	for _, c := range responseCodes {
		if s == string(c) {
			return c, true
		}
	}
	return "", false
}

// OperationOutcome describes an error or a warning of a server. Its texts can hold
// personal data.
type OperationOutcome struct {
	Common
	Issue []OperationOutcomeIssue `json:"issue,omitempty"`
}

// OperationOutcomeIssue is one issue. Severity and Code are codes of FHIR, such as
// "error" and "login"; unknown ones are kept.
type OperationOutcomeIssue struct {
	BackboneElement
	Severity    string          `json:"severity,omitempty"`
	Code        string          `json:"code,omitempty"`
	Details     CodeableConcept `json:"details,omitzero"`
	Diagnostics string          `json:"diagnostics,omitempty"`
	Location    List[string]    `json:"location,omitempty"`
	Expression  List[string]    `json:"expression,omitempty"`

	SeverityElement    *Element   `json:"_severity,omitempty"`
	CodeElement        *Element   `json:"_code,omitempty"`
	DiagnosticsElement *Element   `json:"_diagnostics,omitempty"`
	LocationElement    []*Element `json:"_location,omitempty"`
	ExpressionElement  []*Element `json:"_expression,omitempty"`
}

// DecodeOperationOutcome is [Decode] for an OperationOutcome, without the wrapper:
// do not log the result.
func DecodeOperationOutcome(data []byte) (OperationOutcome, error) {
	r, err := Decode[OperationOutcome](data)
	return *r.Reveal(), err
}

// IsError reports whether an issue is an error, or fatal: others are remarks on what
// was done.
func (o OperationOutcome) IsError() bool {
	return slices.ContainsFunc(o.Issue, func(i OperationOutcomeIssue) bool { return i.Severity == "error" || i.Severity == "fatal" })
}

// ResponseCode returns PKB's response code, or "" if there is no known one. PKB's
// pages do not document its place. ResponseCode looks for it in details.coding,
// first among the codings of [ResponseCodeSystem] and then among those without a
// system; then in issue.code; then as a word in the texts.
func (o OperationOutcome) ResponseCode() ResponseCode {
	for _, system := range []string{ResponseCodeSystem, ""} {
		for _, i := range o.Issue {
			for _, c := range i.Details.Coding {
				if code, ok := known(strings.TrimSpace(c.Code)); ok && strings.TrimSpace(c.System) == system {
					return code
				}
			}
		}
	}
	for _, i := range o.Issue {
		if code, ok := known(strings.TrimSpace(i.Code)); ok {
			return code
		}
	}
	for _, i := range o.Issue {
		for _, t := range []string{i.Diagnostics, i.Details.Text} {
			for _, word := range strings.FieldsFunc(t, func(r rune) bool {
				return r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9')
			}) {
				if code, ok := known(word); ok {
					return code
				}
			}
		}
	}
	return ""
}
