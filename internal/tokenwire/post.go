// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package tokenwire sends one POST to an OAuth token endpoint and says what
// its outcome proves.
//
// A single-use refresh token makes the difference between "the server never
// saw it" and "the server may have spent it" the most important fact about a
// failure. So there is exactly one POST per call, on a connection of its own: no
// other authentication style is tried, no redirect followed, no retry made by
// net/http. "Not sent" is said only when the form, which holds the token,
// demonstrably never left, or when the server says that it did not look at it.
package tokenwire

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Style says where the client secret travels, if there is one.
type Style int

// The styles. None is ever guessed: guessing means posting twice.
const (
	// InForm sends client_id, and client_secret if there is one, in the form.
	InForm Style = iota
	// InHeader sends both as HTTP Basic, encoded as RFC 6749 section 2.3.1 says.
	InHeader
)

// Endpoint is a token endpoint, and who talks to it. Its fields are not changed
// while a request is under way.
type Endpoint struct {
	URL          string
	ClientID     string
	ClientSecret string
	Style        Style
	UserAgent    string
	// HTTP has the transport. Its Timeout, Jar and CheckRedirect are not used. A
	// *http.Transport is copied at the first request and sends without
	// ResponseHeaderTimeout and on connections that are not kept; nil means one
	// of our own. Any other transport is used as it is.
	HTTP *http.Client
	// Timeout bounds one POST, from dialling to the last byte of the response.
	Timeout time.Duration
	// Rules say what refusals mean. They come before those of RFC 6749.
	Rules []Rule
	// Excerpt, if set, makes a text for debugging of a response that brought no
	// tokens. It comes with Outcome.Err, and nothing prints it.
	Excerpt func(status int, body []byte) string

	once      sync.Once
	transport http.RoundTripper
	running   atomic.Int64
}

// Outcome is the result of one POST. Its fields are secret where they hold
// what the server sent: Outcome does not print them.
type Outcome struct {
	Class Class
	// Status is the HTTP status, 0 without a response.
	Status int
	// Code is a code of RFC 6749 or of a Rule. Other words of the server are not
	// repeated.
	Code string
	// Cause is Rule.Cause of the rule that decided, if one did.
	Cause string
	// RetryAfter is what the server asked for, 0 if nothing.
	RetryAfter time.Duration
	// Grant is what Body says, when Class is OK.
	Grant Grant
	// Body is the response as it came (decompressed), when Class is OK or Unread:
	// it is, or may be, the only copy of a successor.
	Body []byte
	// Repeated: the transport sent the form, or may have sent it, more than once
	// in this POST. Class is then OK, Unread or Ambiguous: what the last response
	// says can be about the second time.
	Repeated bool
	// Err is what went wrong with the transport, or with reading the response, in
	// words that repeat nothing the server said. Other responses speak by Status
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

// Abandoned returns how many requests nobody waits for any more are still
// running, in a transport that does not notice that their context has ended.
func (e *Endpoint) Abandoned() int { return int(e.running.Load()) }

func (e *Endpoint) post(ctx context.Context, form url.Values) Outcome {
	if err := ctx.Err(); err != nil {
		return Outcome{Class: NotSent, Err: failure(err)}
	}
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	s, req, err := e.request(ctx, form)
	if err != nil {
		return Outcome{Class: NotSent, Err: &Failure{What: "the token address is not a URL", Cause: err}}
	}
	e.once.Do(func() {
		var rt http.RoundTripper
		if e.HTTP != nil {
			rt = e.HTTP.Transport
		}
		e.transport = ofItsOwn(rt)
	})
	a := newAttempt(&e.running)
	go a.run(e.transport, req)
	got := a.wait(ctx)
	cancel() // what still runs is to stop before the verdict

	var o Outcome
	if got.status == 0 {
		o.Class, _ = Classify(Reading{Sent: !s.neverLeft(got.ended, got.refused)}, nil)
		o.Err = got.err
	} else {
		o = e.judge(got)
	}
	if o.Repeated = s.repeated(); o.Repeated && o.Class != OK && o.Class != Unread {
		o.Class, o.Cause = Ambiguous, ""
		if o.Err == nil {
			o.Err = &Failure{What: "the application's HTTP transport sent the request more than once"}
		}
	}
	return o
}

// request makes the POST.
func (e *Endpoint) request(ctx context.Context, form url.Values) (*sending, *http.Request, error) {
	if e.Style == InForm {
		form.Set("client_id", e.ClientID)
		if e.ClientSecret != "" {
			form.Set("client_secret", e.ClientSecret)
		}
	}
	s := &sending{form: strings.NewReader(form.Encode())}
	req, err := http.NewRequestWithContext(s.traced(ctx), http.MethodPost, e.URL, s)
	if err != nil {
		return nil, nil, err
	}
	// Length without GetBody: the transport can send the form once and cannot
	// send it again.
	req.ContentLength = int64(s.form.Len())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if e.UserAgent != "" {
		req.Header.Set("User-Agent", e.UserAgent)
	}
	if e.Style == InHeader {
		req.SetBasicAuth(url.QueryEscape(e.ClientID), url.QueryEscape(e.ClientSecret))
	}
	return s, req, nil
}
