// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"

	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// errPath: Patient.Get was given a path that it does not send.
var errPath = errors.New("pkb: not a path under /json/ or /fhir/: letters, digits and -._~$:@,=+ between single slashes, with parameters as the query")

// Answer is what PKB sent to Patient.Get: JSON, presumably about the patient.
// It prints [redacted] and is not encoded; Raw returns the content.
type Answer struct{ hidden }

// Raw returns a copy of the answer as PKB sent it: personal data, not for a
// log. Nothing of it was checked; an error of encoding/json can repeat values,
// so do not log that either.
func (a Answer) Raw() json.RawMessage { return json.RawMessage(conceal.Open(a.hidden)) }

// IsZero reports whether there is no answer.
func (a Answer) IsZero() bool { return conceal.Absent(a.hidden) }

// Equal reports whether both are the same JSON text.
func (a Answer) Equal(o Answer) bool { return conceal.Open(a.hidden) == conceal.Open(o.hidden) }

// Get reads anything else that PKB has of the patient, with the care of the
// other calls: the user's token, turns, repetitions, bounds and errors. path
// begins with /json/, which stands for Environment.RESTURL, or with /fhir/,
// which stands for Environment.FHIRURL, as in
//
//	patient.Get(ctx, "/json/v2-beta/measurements", url.Values{"apiRefs": {"..."}})
//
// It cannot leave those: a path with dots for segments, empty segments, escapes
// or a query of its own is refused, and nothing is sent. The
// operation of an *APIError is the beginning of the path, without ids. A response
// is at most 4 MiB.
//
// To write, use [Client.HTTPClient].
//
// It returns an error for the path, the errors of Token, or an *APIError.
func (p *Patient) Get(ctx context.Context, path string, query url.Values) (Answer, error) {
	c := p.client
	address, mediaType, err := c.addressOf(path)
	if err != nil {
		return Answer{}, err
	}
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	var answer Answer
	err = c.read(ctx, p.http(), get(observe.Operation(operationOf(path)), address, mediaType), func(data []byte) (string, error) {
		answer = Answer{conceal.OfText(string(data))}
		return "", nil
	})
	return answer, err
}

// addressOf checks a path and puts it under the address of the API.
func (c *Client) addressOf(path string) (address, mediaType string, err error) {
	base, rest, mediaType := c.cfg.Environment.RESTURL, "", mediaTypeJSON
	switch {
	case strings.HasPrefix(path, "/json/"):
		rest = path[len("/json"):]
	case strings.HasPrefix(path, "/fhir/"):
		base, rest, mediaType = c.cfg.Environment.FHIRURL, path[len("/fhir"):], mediaTypeFHIR
	default:
		return "", "", errPath
	}
	for segment := range strings.SplitSeq(rest[1:], "/") {
		// No escapes: what a server makes of them is not for certain. No ";",
		// which some take for the end of the segment, as in "..;".
		if strings.Trim(segment, ".") == "" || strings.ContainsFunc(segment, func(r rune) bool { return !inPath(r) }) {
			return "", "", errPath
		}
	}
	return strings.TrimRight(base, "/") + rest, mediaType, nil
}

func inPath(r rune) bool {
	return r >= '0' && r <= '9' || isASCIILetter(r) || strings.ContainsRune("-._~$:@,=+", r)
}

func isASCIILetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

// operationOf returns what may be printed of a path: which API, its version,
// and the first word after that. What follows can be somebody's id.
func operationOf(path string) string {
	segments := strings.Split(path, "/") // "", the API, ...
	shown := 2
	if shown < len(segments) && isVersion(segments[shown]) {
		shown++
	}
	if shown < len(segments) && isWord(segments[shown]) {
		shown++
	}
	op := "GET " + strings.Join(segments[:shown], "/")
	if shown < len(segments) {
		op += "/..."
	}
	return op
}

// isVersion reports whether s is like v1 or v2-beta.
func isVersion(s string) bool {
	number, rest, _ := strings.Cut(s, "-")
	return len(number) >= 2 && len(number) <= 3 && number[0] == 'v' && strings.Trim(number[1:], "0123456789") == "" &&
		(rest == "" || rest == "beta")
}

// isWord reports whether s is the name of a resource or an operation, like
// users or $date-of-last-data-point.
func isWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !isASCIILetter(r) && r != '$' && r != '-' })
}
