// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package tokenwire sends one POST to an OAuth token endpoint and says what
// its outcome proves.
//
// A single-use refresh token makes the difference between "the server never
// saw it" and "the server may have spent it" the most important fact about a
// failure. So there is exactly one POST per call: no other authentication
// style is tried, no redirect followed, no transport retry made, and a failure
// counts as "not sent" only when the form, which holds the token, was never
// read for sending.
package tokenwire

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// maxBody bounds what is read of an answer; a token answer has a few hundred
// bytes.
const maxBody = 1 << 20

// Style says where the client secret travels, if there is one.
type Style int

// The styles. None is ever guessed: guessing means posting twice.
const (
	// InForm sends client_id, and client_secret if there is one, in the form.
	InForm Style = iota
	// InHeader sends both as HTTP Basic, encoded as RFC 6749 section 2.3.1 says.
	InHeader
)

// Endpoint is a token endpoint, and who talks to it.
type Endpoint struct {
	URL          string
	ClientID     string
	ClientSecret string
	Style        Style
	UserAgent    string
	// HTTP sends the request. Its CheckRedirect is not used.
	HTTP *http.Client
	// Timeout bounds one POST, from dialling to the last byte of the answer.
	Timeout time.Duration
	// SessionCodes are words that, in an error answer, mean that the session
	// behind the token is over.
	SessionCodes []string
	// Excerpt, if set, makes a text for debugging of an answer that brought no
	// tokens. It comes with Outcome.Err, and nothing prints it.
	Excerpt func(status int, body []byte) string
}

// Class says what an outcome proves.
type Class int

// The classes of outcomes.
const (
	// OK: the server answered with a token pair.
	OK Class = iota + 1
	// Rejected: the server understood and refuses this code or refresh token.
	Rejected
	// NotSent: the form never left; whatever it held is unspent.
	NotSent
	// Ambiguous: the form was sent, and the answer does not say what became of
	// it: it may be spent.
	Ambiguous
	// AppWide: the server refuses the application, or anybody just now; it
	// says nothing about this token.
	AppWide
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
	}
	return "unknown"
}

// Outcome is the result of one POST. Its fields are secret where they hold
// what the server sent: Outcome does not print them.
type Outcome struct {
	Class Class
	// Status is the HTTP status, 0 without an answer.
	Status int
	// Code is an RFC 6749 error code or one of Endpoint.SessionCodes. Other
	// words of the server are not repeated.
	Code string
	// RetryAfter is what the server asked for, 0 if nothing.
	RetryAfter time.Duration
	// Grant is what Body says, when Class is OK.
	Grant Grant
	// Body is a 2xx answer as it came (decompressed), readable or not: it may
	// hold the only copy of a successor.
	Body []byte
	// Err is what went wrong with the transport, or with reading a 2xx answer, in
	// words that repeat nothing the server said. Other answers speak by Status
	// and Code.
	Err error
}

// String implements fmt.Stringer: it prints class, status and code only.
func (o Outcome) String() string {
	s := o.Class.String()
	if o.Status != 0 {
		s += ", HTTP status " + strconv.Itoa(o.Status)
	}
	if o.Code != "" {
		s += ", " + o.Code
	}
	return s
}

// Exchange presents an authorization code. verifier is the PKCE verifier, ""
// without PKCE.
func (e *Endpoint) Exchange(ctx context.Context, code, redirectURI, verifier string) Outcome {
	form := url.Values{
		"grant_type":   {"authorization_code"},
		"code":         {code},
		"redirect_uri": {redirectURI},
	}
	if verifier != "" {
		form.Set("code_verifier", verifier)
	}
	return e.post(ctx, form)
}

// Refresh presents a refresh token. scope is sent when it is not empty.
func (e *Endpoint) Refresh(ctx context.Context, refreshToken, scope string) Outcome {
	form := url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {refreshToken},
	}
	if scope != "" {
		form.Set("scope", scope)
	}
	return e.post(ctx, form)
}

func (e *Endpoint) post(ctx context.Context, form url.Values) Outcome {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()

	if e.Style == InForm {
		form.Set("client_id", e.ClientID)
		if e.ClientSecret != "" {
			form.Set("client_secret", e.ClientSecret)
		}
	}
	body := &sentinelReader{r: strings.NewReader(form.Encode())}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, body)
	if err != nil {
		return Outcome{Class: NotSent, Err: &Failure{What: "the token address is not a URL", Cause: err}}
	}
	// Length without GetBody: the transport can send the form once and cannot
	// send it again.
	req.ContentLength = int64(body.r.Len())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if e.UserAgent != "" {
		req.Header.Set("User-Agent", e.UserAgent)
	}
	if e.Style == InHeader {
		req.SetBasicAuth(url.QueryEscape(e.ClientID), url.QueryEscape(e.ClientSecret))
	}

	hc := *e.HTTP
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	hc.Jar = nil
	resp, err := hc.Do(req)
	if err != nil {
		o := Outcome{Class: Ambiguous, Err: failure(err)}
		if !body.read.Load() {
			o.Class = NotSent
		}
		return o
	}
	defer resp.Body.Close()
	data, readErr := readBody(resp.Body)
	o := e.judge(resp, data)
	if readErr != nil && o.Body != nil && o.Class != OK {
		// Half of a 2xx answer proves nothing but that there was one.
		o.Class, o.Err = Ambiguous, failure(readErr)
	}
	if e.Excerpt != nil && o.Class != OK {
		what := "it sent no tokens"
		if o.Err != nil {
			what = o.Err.Error()
		}
		o.Err = &Failure{What: what, Cause: o.Err, Excerpt: func() string { return e.Excerpt(o.Status, data) }}
	}
	return o
}

// sentinelReader notes that somebody read the form in order to send it.
type sentinelReader struct {
	r    *strings.Reader
	read atomic.Bool
}

func (s *sentinelReader) Read(p []byte) (int, error) {
	s.read.Store(true)
	return s.r.Read(p)
}

// readBody reads at most maxBody bytes and undoes gzip that nobody asked for.
// It returns what it got even when it fails.
func readBody(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxBody))
	if len(data) > 2 && data[0] == 0x1f && data[1] == 0x8b {
		zr, zerr := gzip.NewReader(bytes.NewReader(data))
		if zerr != nil {
			return data, zerr
		}
		plain, zerr := io.ReadAll(io.LimitReader(zr, maxBody))
		if len(plain) == 0 {
			return data, errors.Join(err, zerr)
		}
		return plain, errors.Join(err, zerr)
	}
	return data, err
}

// judge reads an answer: status first, then body.
func (e *Endpoint) judge(resp *http.Response, data []byte) Outcome {
	o := Outcome{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After"))}
	ok := resp.StatusCode >= 200 && resp.StatusCode <= 299
	if ok {
		o.Body = data
		grant, err := Parse(data)
		if err == nil {
			o.Class, o.Grant = OK, grant
			return o
		}
		o.Err = err
	}

	o.Code = e.errorCode(data)
	switch {
	case o.Code == "invalid_grant" || slices.Contains(e.SessionCodes, o.Code):
		o.Class = Rejected
	case appWideCodes[o.Code]:
		o.Class = AppWide
	case ok, resp.StatusCode >= 500, resp.StatusCode == http.StatusRequestTimeout:
		o.Class = Ambiguous
	default:
		// A redirect, 429, 404 or a page of a gateway: refused before anybody
		// looked at the token.
		o.Class = AppWide
	}
	if o.Class != Ambiguous {
		o.Body = nil
	}
	return o
}

// appWideCodes are the RFC 6749 codes that blame the application or its
// configuration, not the token.
var appWideCodes = map[string]bool{
	"invalid_client":         true,
	"invalid_request":        true,
	"invalid_scope":          true,
	"unauthorized_client":    true,
	"unsupported_grant_type": true,
	"slow_down":              true,
}

// errorCode finds a code it knows: the error member of a JSON object, or a
// session code anywhere in the answer, whatever its form.
func (e *Endpoint) errorCode(data []byte) string {
	for _, code := range e.SessionCodes {
		if containsWord(data, code) {
			return code
		}
	}
	var answer struct {
		Error any `json:"error"`
	}
	if json.Unmarshal(trimBOM(data), &answer) != nil {
		return ""
	}
	code, _ := answer.Error.(string)
	if code == "invalid_grant" || appWideCodes[code] {
		return code
	}
	return ""
}

// containsWord reports whether word stands in data by itself, not as a part of
// a longer name.
func containsWord(data []byte, word string) bool {
	for rest := data; ; {
		i := bytes.Index(rest, []byte(word))
		if i < 0 {
			return false
		}
		end := i + len(word)
		if (i == 0 || !isWordByte(rest[i-1])) && (end == len(rest) || !isWordByte(rest[end])) {
			return true
		}
		rest = rest[end:]
	}
}

func isWordByte(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z'
}

// retryAfter reads the seconds form; the date form would need a trusted clock
// and is not worth one.
func retryAfter(v string) time.Duration {
	n, err := strconv.Atoi(strings.TrimSpace(v))
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n)*time.Second, time.Hour)
}
