// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/oauth2"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/custody"
)

// AccessToken is a patient's access token, for use now. There is no refresh
// token beside it: only this library may present that.
type AccessToken struct {
	// Value is sent as "Authorization: Bearer ...".
	Value Secret
	// ExpiresAt is when PKB stops accepting it.
	ExpiresAt time.Time
}

// Token returns an access token with more than Config.HardMargin left,
// refreshing it if there is none. All callers in all processes that share the
// store share one refresh; ctx bounds this caller's wait and not the refresh.
//
// It returns ErrNotLinked, ErrRelinkRequired, ErrTryLater, ErrStore, ErrKeys,
// ErrOtherEnvironment, ErrAppUserID, ErrClosed or the error of ctx.
func (c *Client) Token(ctx context.Context, appUserID string) (AccessToken, error) {
	t, err := c.currentToken(ctx, appUserID)
	if err != nil {
		return AccessToken{}, err
	}
	return AccessToken{Value: Secret{concealed{text: &t.Value}}, ExpiresAt: t.ExpiresAt}, nil
}

// currentToken returns a token that nobody changes.
func (c *Client) currentToken(ctx context.Context, appUserID string) (*custody.Token, error) {
	if t := c.keeper.Hot(appUserID); t != nil {
		return t, nil
	}
	if err := checkAppUserID(appUserID); err != nil {
		return nil, err
	}
	t, err := c.keeper.Token(ctx, appUserID)
	if err != nil {
		return nil, public(err)
	}
	return &t, nil
}

// TokenSource returns an oauth2.TokenSource for one user, for libraries that
// take one. Its tokens have no refresh token. oauth2.TokenSource knows no
// context, so a wait for a refresh ends after Config.RequestTimeout; prefer
// HTTPClient, which uses the context of each request.
//
// An oauth2.Token prints its access token: do not log it.
func (c *Client) TokenSource(appUserID string) oauth2.TokenSource {
	return tokenSource{c, appUserID}
}

type tokenSource struct {
	client    *Client
	appUserID string
}

func (s tokenSource) Token() (*oauth2.Token, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.client.cfg.RequestTimeout)
	defer cancel()
	t, err := s.client.currentToken(ctx, s.appUserID)
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: t.Value, TokenType: "Bearer", Expiry: t.ExpiresAt}, nil
}

// HTTPClient returns a client that adds one user's bearer to requests for the
// hosts of the environment's REST and FHIR addresses, and to no others: a
// request to another host goes out without it. It follows no redirect and
// keeps no cookies. A 401 is answered with one refresh and one repetition, if
// the token that was sent is still the current one and the request can be sent
// again (it has no body, or GetBody).
//
// Errors of Token come back from Do inside the *url.Error of net/http, where
// errors.Is finds them. Each request waits for a token no longer than its own
// context; the client sets no time-out of its own.
func (c *Client) HTTPClient(appUserID string) *http.Client {
	hc := *c.http
	hc.Transport = &bearer{client: c, next: c.http.Transport, appUserID: appUserID}
	return &hc
}

// withToken returns a client that sends one given token, for the time before a
// link stands.
func (c *Client) withToken(token string) *http.Client {
	hc := *c.http
	hc.Transport = &bearer{client: c, next: c.http.Transport, fixed: token}
	return &hc
}

// bearer adds a user's access token to requests for PKB.
type bearer struct {
	client    *Client
	next      http.RoundTripper
	appUserID string
	// fixed is a token to use whatever the user's link says.
	fixed string
}

// Format implements fmt.Formatter: it prints no token.
func (b *bearer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "pkb.HTTPClient transport") }

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	if !b.client.takesBearer(req) {
		return b.next.RoundTrip(req)
	}
	if b.fixed != "" {
		return b.next.RoundTrip(b.authorize(req, b.fixed))
	}
	token, err := b.client.currentToken(req.Context(), b.appUserID)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := b.next.RoundTrip(b.authorize(req, token.Value))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	return b.unauthorized(req, resp, token)
}

// unauthorized deals with a 401: a session that is over ends the link, any
// other reason deserves another token and one more try.
func (b *bearer) unauthorized(req *http.Request, resp *http.Response, token *custody.Token) (*http.Response, error) {
	over := b.learn(req.Context(), resp, token)
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return resp, nil // cannot be sent again
	}
	var next custody.Token
	var err error
	if over {
		next, err = b.client.keeper.Token(req.Context(), b.appUserID) // another approval's, or why there is none
	} else {
		next, err = b.client.keeper.Replace(req.Context(), b.appUserID, token.Value)
	}
	if errors.Is(err, custody.ErrReplaced) {
		return resp, nil // another token would not help either
	}
	drain(resp.Body)
	if err != nil {
		return nil, public(err)
	}
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	resp, err = b.next.RoundTrip(b.authorize(again, next.Value))
	if err == nil && resp.StatusCode == http.StatusUnauthorized && b.learn(req.Context(), resp, &next) {
		drain(resp.Body)
		_, err = b.client.currentToken(req.Context(), b.appUserID)
		if err == nil {
			err = ErrTryLater // another session has taken the place of this one meanwhile
		}
		return nil, err
	}
	return resp, err
}

// learn reads why a token was refused, and reports whether its session is over,
// which it then writes down. The response can be read as before.
func (b *bearer) learn(ctx context.Context, resp *http.Response, token *custody.Token) (over bool) {
	head, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
	var cause custody.Cause
	switch code, _ := responseCode(head); code {
	case fhir.SessionExpired:
		cause = custody.SessionExpired
	case fhir.SessionInvalid:
		cause = custody.SessionInvalid
	default:
		return false
	}
	if err := b.client.keeper.Lose(ctx, b.appUserID, token.Value, cause); err != nil {
		b.client.cfg.Logger.Warn("pkb: could not record the end of a session", "link", custody.LinkName(b.appUserID), "error", err)
	}
	return true
}

// authorize returns a copy of req with the token; a RoundTripper must not
// change what it is given.
func (b *bearer) authorize(req *http.Request, token string) *http.Request {
	out := req.Clone(req.Context())
	out.Header.Set("Authorization", "Bearer "+token)
	if out.Header.Get("User-Agent") == "" {
		out.Header.Set("User-Agent", b.client.cfg.UserAgent)
	}
	return out
}

// takesBearer reports whether a request goes to PKB's APIs: same scheme, same
// host, same port.
func (c *Client) takesBearer(req *http.Request) bool {
	to := req.URL.Scheme + "://" + req.URL.Host
	env := c.cfg.Environment
	return to == origin(env.RESTURL) || to == origin(env.FHIRURL) ||
		to == origin(env.PurviewURL) || to == origin(env.SelfURL)
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 20

// call sends one request and returns the body of a 200. Every other answer,
// and none, is an *APIError, or one of the errors of Token.
func (c *Client) call(ctx context.Context, hc *http.Client, op, method, url, mediaType string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		return nil, &APIError{Operation: op, Err: &answerError{what: "the address is not usable", cause: err}}
	}
	req.Header.Set("Accept", mediaType)
	if body != nil {
		req.Header.Set("Content-Type", mediaType)
	}
	resp, err := hc.Do(req)
	if err != nil {
		if ours := ownError(err); ours != nil {
			return nil, ours
		}
		return nil, &APIError{Operation: op, Err: err}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case resp.StatusCode != http.StatusOK:
		// Status first: the body only adds to it.
		code, outcome := responseCode(data)
		return nil, &APIError{
			Operation: op, Status: resp.StatusCode, Code: code, Outcome: outcome,
			RetryAfter: retryAfter(resp.Header, c.cfg.Now()),
		}
	case err != nil:
		return nil, &APIError{Operation: op, Err: err}
	case len(data) > maxAnswer:
		return nil, &APIError{Operation: op, Status: resp.StatusCode, Err: &answerError{what: fmt.Sprintf("the answer is larger than %d MiB", maxAnswer>>20)}}
	}
	return data, nil
}

// ownError finds an error of ours in what net/http returned.
func ownError(err error) error {
	var (
		relink *RelinkError
		later  *TryLaterError
		store  *storeFailure
		keys   *keysError
		user   appUserIDError
	)
	switch {
	case errors.As(err, &relink):
		return relink
	case errors.As(err, &later):
		return later
	case errors.As(err, &store):
		return store
	case errors.As(err, &keys):
		return keys
	case errors.As(err, &user):
		return user
	}
	for _, sentinel := range []error{ErrNotLinked, ErrOtherEnvironment, ErrClosed} {
		if errors.Is(err, sentinel) {
			return sentinel
		}
	}
	return nil
}

// responseCode finds PKB's response code in an error answer, if it is an
// operation outcome.
func responseCode(body []byte) (fhir.ResponseCode, *fhir.OperationOutcome) {
	outcome, err := fhir.DecodeOperationOutcome(body)
	if err != nil {
		return "", nil
	}
	return outcome.ResponseCode(), &outcome
}

func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if n, err := time.ParseDuration(v + "s"); err == nil && n >= 0 {
		return min(n, time.Hour)
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return min(t.Sub(now), time.Hour)
	}
	return 0
}
