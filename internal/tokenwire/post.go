// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package tokenwire sends one POST to an OAuth token endpoint and returns what its
// outcome proves.
//
// A single-use refresh token makes the difference between "the server never saw it"
// and "the server may have spent it" the most important fact about a failure. So
// there is exactly one POST per call, on a connection of its own: no other
// authentication style is tried, no redirect followed, no retry made by net/http. An
// outcome is "not sent" only when the form, which holds the token, demonstrably
// never left, or when the server reports that it did not look at it.
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

// Style is where the client secret travels, if there is one.
type Style int

// The styles. None is ever guessed: guessing means posting twice.
const (
	// InForm sends client_id, and client_secret if there is one, in the form.
	InForm Style = iota
	// InHeader sends both as HTTP Basic, encoded as in RFC 6749 section 2.3.1.
	InHeader
)

// Endpoint is a token endpoint and its client. Its fields must not change while a
// request is under way.
type Endpoint struct {
	URL      string
	ClientID string
	// ClientSecret returns the secret; nil means none. It is a function, so that a
	// printer that follows pointers finds no text.
	ClientSecret func() string
	Style        Style
	UserAgent    string
	// HTTP has the transport. Its Timeout, Jar and CheckRedirect are not used. A
	// *http.Transport is copied at the first request, and the copy has no
	// ResponseHeaderTimeout and keeps no connections; nil means a default one. Any
	// other transport is used as it is, with a request that asks for the connection to
	// be closed.
	HTTP *http.Client
	// Timeout bounds one POST, from dialling to the last byte of the response.
	Timeout time.Duration
	// Rules are the meanings of refusals. They take precedence over those of RFC
	// 6749.
	Rules []Rule
	// Excerpt, if set, makes a text for debugging of a response that brought no
	// tokens. It is returned with Outcome.Err, and never printed.
	Excerpt func(status int, body []byte) string

	once      sync.Once
	transport http.RoundTripper
	running   atomic.Int64
}

func (e *Endpoint) clientSecret() string {
	if e.ClientSecret == nil {
		return ""
	}
	return e.ClientSecret()
}

// Outcome is the result of one POST. Some fields hold what the server sent, which is
// secret: Outcome does not print them.
type Outcome struct {
	Class Class
	// Status is the HTTP status, 0 without a response.
	Status int
	// Code is a code of RFC 6749 or of a Rule. Other words of the server are not
	// repeated.
	Code string
	// Cause is Rule.Cause of the rule that applied, if one did.
	Cause string
	// RetryAfter is from the response; 0 if absent.
	RetryAfter time.Duration
	// Grant is Body, parsed, when Class is OK.
	Grant Grant
	// Body is the response as received (decompressed), when Class is OK or Unread:
	// it is, or may be, the only copy of a successor.
	Body []byte
	// Repeated means that the transport sent the form more than once in this POST, or
	// tried to. A second send over HTTP/1 is cut off before the form is in it. Where
	// that is not certain, Class is OK, Unread or Ambiguous: the last response can be
	// about the second time.
	Repeated bool
	// Err is what went wrong with the transport, or with reading the response. Its
	// text repeats nothing from the server. For other responses see Status and Code.
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

// Exchange presents an authorization code. verifier is the PKCE verifier, "" without
// PKCE.
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

// Refresh presents a refresh token. scope is sent if it is not "".
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

// Abandoned returns how many requests still run, though the caller has left, in a
// transport that does not notice that their context has ended.
func (e *Endpoint) Abandoned() int { return int(e.running.Load()) }

func (e *Endpoint) post(ctx context.Context, form url.Values) Outcome {
	if err := ctx.Err(); err != nil {
		return Outcome{Class: NotSent, Err: failure(err)}
	}
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	sendCtx, stop := context.WithCancel(ctx)
	defer stop()
	s, req, err := e.request(sendCtx, stop, form)
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
	cancel() // what still runs must stop before the verdict

	var o Outcome
	if got.status == 0 {
		o.Class, _ = Classify(Reading{Sent: !s.neverLeft(got.ended, got.refused)}, nil)
		o.Err = got.err
	} else {
		o = e.judge(got)
	}
	var arrived bool
	o.Repeated, arrived = s.repeated()
	o.blame(arrived)
	return o
}

// blame changes the outcome of a form that the transport sent more than once, or tried
// to. arrived: the last response can be about the second time.
func (o *Outcome) blame(arrived bool) {
	if !o.Repeated || o.Class == OK || o.Class == Unread {
		return
	}
	if arrived {
		o.Class, o.Cause = Ambiguous, ""
		if o.Err == nil {
			o.Err = &Failure{What: "the application's HTTP transport sent the request more than once"}
		}
	} else if o.Status == 0 {
		o.Err = &Failure{What: "the application's HTTP transport tried to send the request more than once", Cause: o.Err}
	}
}

func (e *Endpoint) request(ctx context.Context, stop func(), form url.Values) (*sending, *http.Request, error) {
	if e.Style == InForm {
		form.Set("client_id", e.ClientID)
		if secret := e.clientSecret(); secret != "" {
			form.Set("client_secret", secret)
		}
	}
	s := &sending{form: strings.NewReader(form.Encode()), stop: stop}
	req, err := http.NewRequestWithContext(s.traced(ctx), http.MethodPost, e.URL, s)
	if err != nil {
		return nil, nil, err
	}
	// Length without GetBody: the transport can send the form once and cannot send
	// it again.
	req.ContentLength = int64(s.form.Len())
	// Also of a transport that is not ours: net/http prints what arrives on a connection
	// that it keeps.
	req.Close = true
	req.Header.Set("Content-Type", mediaType)
	req.Header.Set("Accept", "application/json")
	if e.UserAgent != "" {
		req.Header.Set("User-Agent", e.UserAgent)
	}
	if e.Style == InHeader {
		req.SetBasicAuth(url.QueryEscape(e.ClientID), url.QueryEscape(e.clientSecret()))
	}
	return s, req, nil
}
