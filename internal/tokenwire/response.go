// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenwire

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// judge returns the outcome of a response.
func (e *Endpoint) judge(got received) Outcome {
	o := Outcome{Status: got.status, RetryAfter: got.retryAfter}
	data, failed := unpack(got.body, got.err)
	r := Reading{Sent: true, Status: got.status, Body: string(bytes.TrimSpace(data))}
	var grant Grant
	if got.status >= 200 && got.status <= 299 {
		// A complete object is complete, even if the response was cut after it.
		g, err := Parse(data)
		grant, r.Tokens = g, err == nil
		if o.Err = err; failed != nil {
			o.Err = failed
		}
	}
	switch {
	case r.Tokens: // they decide
	case failed == nil:
		var members map[string]json.RawMessage
		members, r.JSON = object(data)
		o.Code = code(members, e.Rules)
		r.Code = o.Code
		r.Hides = mayHoldTokens(data)
	default:
		r.Body = ""
		if got.status >= 400 && got.status <= 499 {
			o.Err = failed
		}
	}
	switch o.Class, o.Cause = Classify(r, e.Rules); o.Class {
	case OK:
		o.Grant, o.Body, o.Err, o.Code = grant, data, nil, ""
	case Unread:
		o.Body = data
	}
	if e.Excerpt != nil && o.Class != OK {
		what := "the response has no tokens"
		if o.Err != nil {
			what = o.Err.Error()
		}
		o.Err = &Failure{What: what, Cause: o.Err, Excerpt: func() string { return e.Excerpt(o.Status, data) }}
	}
	return o
}

// unpack decompresses gzip, which was not requested. failed is why data is not
// complete, or nil; unpack returns what there is all the same.
func unpack(data []byte, failed *Failure) ([]byte, *Failure) {
	if len(data) < 3 || data[0] != 0x1f || data[1] != 0x8b {
		return data, failed
	}
	zr, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return data, failure(err)
	}
	plain, err := io.ReadAll(io.LimitReader(zr, maxBody+1))
	switch {
	case failed != nil:
	case err != nil:
		failed = failure(err)
	case len(plain) > maxBody:
		failed = &Failure{What: "the response is too long"}
	}
	return plain, failed
}

// object returns the members of a JSON object. Names match exactly.
func object(data []byte) (map[string]json.RawMessage, bool) {
	var members map[string]json.RawMessage
	err := json.Unmarshal(trimBOM(data), &members)
	return members, err == nil && members != nil
}

// code returns a known code: the error member, or a response code in an
// OperationOutcome. Others are not repeated: they can be anything. RFC 6749 has one
// code for every grant that has ended, so a description that is exactly a code of
// rules is returned in its place.
func code(members map[string]json.RawMessage, rules []Rule) string {
	if code := text(members["error"]); knows(rules, code) {
		if d := text(members["error_description"]); code == "invalid_grant" && d != "" {
			for _, rule := range rules {
				if rule.Code == d {
					return d
				}
			}
		}
		return code
	}
	if text(members["resourceType"]) != "OperationOutcome" {
		return ""
	}
	codes := said(members["issue"])
	for _, rule := range rules {
		if rule.Code != "" && slices.Contains(codes, rule.Code) {
			return rule.Code
		}
	}
	return ""
}

// said returns the strings where the issues of an OperationOutcome have their codes.
func said(raw json.RawMessage) (codes []string) {
	var issues []struct {
		Code    any `json:"code"`
		Details struct {
			Text   any `json:"text"`
			Coding []struct {
				Code any `json:"code"`
			} `json:"coding"`
		} `json:"details"`
	}
	_ = json.Unmarshal(raw, &issues) // members of another type are ignored
	add := func(v any) {
		if s, ok := v.(string); ok {
			codes = append(codes, s)
		}
	}
	for _, issue := range issues {
		add(issue.Code)
		add(issue.Details.Text)
		for _, c := range issue.Details.Coding {
			add(c.Code)
		}
	}
	return codes
}

// mayHoldTokens reports whether a complete response that does not parse may hold
// tokens in an unknown form. If it does, presenting the old token again ends the
// session; if it does not, the link waits in vain. So pages, errors and prose are
// not kept.
func mayHoldTokens(data []byte) bool {
	data = bytes.TrimSpace(trimBOM(data))
	var value any
	switch err := json.Unmarshal(data, &value); {
	case len(data) == 0:
		return false
	case err == nil:
		return hasNews(value)
	case data[0] == '<':
		return !isPage(data)
	}
	return !isProse(data)
}

// isPage reports whether data, which begins with a tag, is a web page. XML that
// mentions tokens is none.
func isPage(data []byte) bool {
	low := bytes.ToLower(data)
	return bytes.Contains(low, []byte("<html")) || bytes.Contains(low, []byte("<!doctype html")) || !bytes.Contains(low, []byte("token"))
}

// isProse reports whether data is a sentence for people: short words, and no
// punctuation of data formats.
func isProse(data []byte) bool {
	if !utf8.Valid(data) || bytes.ContainsAny(data, "{[=\"\x00") {
		return false
	}
	for word := range bytes.FieldsSeq(data) {
		if len(word) > 20 {
			return false
		}
	}
	return true
}

// troubles are members that describe an error or the state of a server, in RFC 6749,
// RFC 9457, FHIR, and the defaults of common servers.
var troubles = map[string]bool{
	"error": true, "errors": true, "error_description": true, "error_uri": true, "error_code": true, "error_message": true,
	"errorcode": true, "errormessage": true, "exception": true, "trace": true, "reason": true,
	"code": true, "message": true, "messages": true, "title": true, "detail": true, "details": true, "description": true,
	"type": true, "instance": true, "path": true, "timestamp": true, "requestid": true, "request_id": true,
	"status": true, "statuscode": true, "status_code": true, "success": true, "maintenance": true,
}

// hasNews reports whether a JSON value has text about something other than an error.
func hasNews(value any) bool {
	members, ok := value.(map[string]any)
	if !ok {
		return hasText(value)
	}
	if members["resourceType"] == "OperationOutcome" {
		return namesToken(members)
	}
	for name, v := range members {
		if hasText(v) && (!troubles[strings.ToLower(name)] || namesToken(v)) {
			return true
		}
	}
	return false
}

// hasText reports whether a JSON value contains a string that is not "".
func hasText(value any) bool {
	switch v := value.(type) {
	case string:
		return v != ""
	case []any:
		return slices.ContainsFunc(v, hasText)
	case map[string]any:
		for _, e := range v {
			if hasText(e) {
				return true
			}
		}
	}
	return false
}

// namesToken reports whether an object in a JSON value has a member with "token" in
// its name.
func namesToken(value any) bool {
	switch v := value.(type) {
	case []any:
		return slices.ContainsFunc(v, namesToken)
	case map[string]any:
		for name, e := range v {
			if strings.Contains(strings.ToLower(name), "token") || namesToken(e) {
				return true
			}
		}
	}
	return false
}
