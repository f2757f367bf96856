// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// ResponseCode is a code of PKB's code system response-code, which says why a
// request failed.
type ResponseCode string

// ResponseCodeSystem is the code system of ResponseCode.
const ResponseCodeSystem = "http://fhir.patientsknowbest.com/codesystem/response-code"

// The response codes of the current page (PKB: CS Response Code).
const (
	// AccessTokenExpired: use the refresh token.
	AccessTokenExpired ResponseCode = "ACC_TOKEN_EXPIRED"
	// SessionExpired: the session is over; neither token works any more.
	SessionExpired ResponseCode = "API_SESSION_EXPIRED"
	// SessionInvalid: the session was ended, for example because a refresh
	// token was used more than once.
	SessionInvalid ResponseCode = "API_SESSION_INVALID"
	// BadAuthentication: no valid access token was given.
	BadAuthentication ResponseCode = "BAD_AUTHENTICATION"
	// AccessFrozenOutward: the patient who asks is frozen.
	AccessFrozenOutward ResponseCode = "ACCESS_FROZEN_OUTWARD"
	// UserTypeNotPermitted: not for this type of user.
	UserTypeNotPermitted ResponseCode = "USER_TYPE_NOT_PERM"
)

// The response codes that only an older page has (PKB: response-code, on the
// former developer site): why the record that was asked for stays closed. The
// page names them; what is said of each here is read from its name.
const (
	// AccessFrozenInward: access to the record is frozen.
	AccessFrozenInward ResponseCode = "ACCESS_FROZEN_INWARD"
	// NoAssociation: who asks has nothing to do with the record.
	NoAssociation ResponseCode = "NO_ASSOCIATION"
	// NoConsent: the patient has not consented.
	NoConsent ResponseCode = "NO_CONSENT"
	// NoDecryptKey: the record cannot be decrypted for who asks.
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

// OperationOutcome is the FHIR resource OperationOutcome, read so that nothing
// readable is lost: codes are kept as they came, missing ones stay empty. It
// prints its codes only: texts can hold personal data.
type OperationOutcome struct {
	Issues []Issue
	raw    concealed
}

// Issue is one issue of an OperationOutcome. It prints nothing of itself.
type Issue struct {
	// Severity and Code are codes of FHIR, as "error" and "login"; unknown ones
	// are kept, and what did not come is "".
	Severity, Code string
	// Codings are those of details.
	Codings []Coding

	text, diagnostics concealed
}

// Text returns the text of details. It can hold personal data.
func (i Issue) Text() string { return i.text.reveal() }

// Diagnostics returns what the server says about the issue. It can hold
// personal data.
func (i Issue) Diagnostics() string { return i.diagnostics.reveal() }

// DecodeOperationOutcome reads an OperationOutcome. It returns ErrMalformed or
// ErrResourceType; an issue or a member in an odd shape is passed over.
func DecodeOperationOutcome(data []byte) (OperationOutcome, error) {
	if err := check(data, "OperationOutcome"); err != nil {
		return OperationOutcome{}, err
	}
	var resource struct {
		Issue some[struct {
			Severity    text `json:"severity"`
			Code        text `json:"code"`
			Diagnostics text `json:"diagnostics"`
			Details     one[struct {
				Text   text `json:"text"`
				Coding some[struct {
					System text `json:"system"`
					Code   text `json:"code"`
				}] `json:"coding"`
			}] `json:"details"`
		}] `json:"issue"`
	}
	if err := json.Unmarshal(trim(data), &resource); err != nil {
		return OperationOutcome{}, ErrMalformed
	}
	o := OperationOutcome{raw: conceal(string(trim(data)))}
	for _, i := range resource.Issue {
		issue := Issue{
			Severity: string(i.Severity), Code: string(i.Code),
			text: conceal(string(i.Details.value.Text)), diagnostics: conceal(string(i.Diagnostics)),
		}
		for _, c := range i.Details.value.Coding {
			issue.Codings = append(issue.Codings, Coding{System: strings.TrimSpace(string(c.System)), Code: strings.TrimSpace(string(c.Code))})
		}
		o.Issues = append(o.Issues, issue)
	}
	return o, nil
}

// text is a string; a number or boolean is kept as it is written, anything else
// is "".
type text string

func (t *text) UnmarshalJSON(data []byte) error {
	switch data[0] {
	case '"':
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		*t = text(s)
	case '{', '[', 'n':
	default:
		*t = text(data)
	}
	return nil
}

// one is an object; anything else is its zero value.
type one[T any] struct{ value T }

func (o *one[T]) UnmarshalJSON(data []byte) error {
	*o = one[T]{}
	if data[0] == '{' {
		return json.Unmarshal(data, &o.value)
	}
	return nil
}

// some is an array of objects, or one object in its place; anything else is
// empty, and so is each element that is no object.
type some[T any] []T

func (s *some[T]) UnmarshalJSON(data []byte) error {
	if data[0] == '{' {
		data = append(append([]byte{'['}, data...), ']')
	}
	if data[0] != '[' {
		return nil
	}
	var elements []json.RawMessage
	if err := json.Unmarshal(data, &elements); err != nil {
		return err
	}
	for _, e := range elements {
		var v T
		if e[0] == '{' {
			if err := json.Unmarshal(e, &v); err != nil {
				return err
			}
			*s = append(*s, v)
		}
	}
	return nil
}

// ResponseCode returns PKB's response code, or "" if there is none that is
// known. Where PKB puts it is not shown on its pages, so it is looked for in
// details.coding, among the codings of ResponseCodeSystem and then among those
// without a system; then in issue.code; then as a word in the texts.
func (o OperationOutcome) ResponseCode() ResponseCode {
	for _, system := range []string{ResponseCodeSystem, ""} {
		for _, i := range o.Issues {
			for _, c := range i.Codings {
				if code, ok := known(c.Code); ok && c.System == system {
					return code
				}
			}
		}
	}
	for _, i := range o.Issues {
		if code, ok := known(strings.TrimSpace(i.Code)); ok {
			return code
		}
	}
	for _, i := range o.Issues {
		for _, t := range []string{i.Diagnostics(), i.Text()} {
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

// Raw returns a copy of the resource as it came, without a byte-order mark. It
// can hold personal data.
func (o OperationOutcome) Raw() json.RawMessage { return json.RawMessage(o.raw.reveal()) }

// String implements fmt.Stringer: the response code, and nothing of the texts.
func (o OperationOutcome) String() string {
	code := string(o.ResponseCode())
	if code == "" {
		code = "no known code"
	}
	return fmt.Sprintf("OperationOutcome(%d issues, %s)", len(o.Issues), code)
}

// Format implements fmt.Formatter.
func (o OperationOutcome) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, o.String()) }

// LogValue implements slog.LogValuer.
func (o OperationOutcome) LogValue() slog.Value { return slog.StringValue(o.String()) }

// MarshalJSON implements json.Marshaler; Raw has the resource itself.
func (o OperationOutcome) MarshalJSON() ([]byte, error) { return json.Marshal(o.String()) }

// Format implements fmt.Formatter: an Issue prints without its texts.
func (i Issue) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "Issue[redacted]") }

// LogValue implements slog.LogValuer.
func (Issue) LogValue() slog.Value { return slog.StringValue("Issue[redacted]") }

// MarshalJSON implements json.Marshaler.
func (Issue) MarshalJSON() ([]byte, error) { return []byte(`"Issue[redacted]"`), nil }
