// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strings"

	"github.com/betawerk/pkb-go/internal/apicall"
	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// errPath is the error for a path that Patient.Get does not send.
var errPath = errors.New("pkb: not a path under /json/ or /fhir/: letters, digits and -._~$:@,=+ between single slashes, with parameters as the query")

// Response is what PKB sent to Patient.Get: JSON, presumably about the patient. It
// prints [redacted] and is not encoded; Raw returns the content.
type Response struct{ hidden }

// Raw returns a copy of the response as PKB sent it. It is personal data that was
// not checked: do not log it, nor an error of encoding/json, which can repeat
// values.
func (r Response) Raw() json.RawMessage { return json.RawMessage(conceal.Open(r.hidden)) }

// IsZero reports whether the Response is absent.
func (r Response) IsZero() bool { return conceal.Absent(r.hidden) }

// Equal reports whether both are the same JSON text.
func (r Response) Equal(o Response) bool { return conceal.Open(r.hidden) == conceal.Open(o.hidden) }

// Get reads any other resource that PKB has of the patient, with the token, limits,
// retries and errors of the other calls. path begins with /json/, which stands for
// Environment.RESTURL, or with /fhir/, which stands for Environment.FHIRURL:
//
//	patient.Get(ctx, "/json/v2-beta/measurements", url.Values{"apiRefs": {"..."}})
//
// A path with empty segments, segments of dots, escapes or a query is refused, and
// nothing is sent. The Operation of an *APIError is the beginning of the path,
// without ids. Config.MaxResponseBytes bounds the response.
//
// To write, use [Client.HTTPClient].
//
// It returns an error for the path, the errors of Token, or an *APIError.
func (p *Patient) Get(ctx context.Context, path string, query url.Values) (Response, error) {
	c := p.client
	address, mediaType, err := c.addressOf(path)
	if err != nil {
		return Response{}, err
	}
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	var found Response
	err = c.stream(ctx, p.http(), get(observe.Operation(operationOf(path)), address, mediaType), func(body *apicall.Body) (string, error) {
		var text strings.Builder // a Response is text: a []byte would be a second copy of it
		_, err := io.Copy(&text, body)
		found = Response{conceal.OfText(text.String())}
		return "", err
	})
	if err != nil {
		return Response{}, err
	}
	return found, nil
}

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
		// Servers differ about escapes, and about ";", as in "..;".
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

// operationOf returns what may be printed of a path: the API, its version, and the
// first word after that. The rest can be somebody's id.
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

// isVersion reports whether s is a version such as v1 or v2-beta.
func isVersion(s string) bool {
	number, rest, _ := strings.Cut(s, "-")
	return len(number) >= 2 && len(number) <= 3 && number[0] == 'v' && strings.Trim(number[1:], "0123456789") == "" &&
		(rest == "" || rest == "beta")
}

// isWord reports whether s is the name of a resource or an operation, such as users
// or $date-of-last-data-point.
func isWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !isASCIILetter(r) && r != '$' && r != '-' })
}
