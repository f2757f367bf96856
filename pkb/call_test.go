// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/google/go-cmp/cmp"
)

// S01, S10: ten replicas and a thousand goroutines after the token's end: one
// refresh, and the same token for everybody.
func TestOneRefreshForAllReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.link(t, user, r.patient)
		first := token(t.Context(), t, r.Client, user)
		r.pkb.Advance(11 * time.Minute)
		r.pkb.Next(pkbtest.Token, pkbtest.Delay(2*time.Second))
		var wg sync.WaitGroup
		tokens := make(chan string, 1000)
		for range 10 {
			replica := r.replica(t)
			for range 100 {
				wg.Go(func() { tokens <- token(t.Context(), t, replica, user) })
			}
		}
		wg.Wait()
		close(tokens)
		seen := map[string]bool{}
		for s := range tokens {
			seen[s] = true
		}
		if len(seen) != 1 || seen[first] {
			t.Errorf("%d different tokens, the old one among them: %t", len(seen), seen[first])
		}
		if r.pkb.Refreshes() != 1 || r.pkb.ReusedRefreshTokens() != 0 {
			t.Errorf("%d refreshes, %d reused tokens", r.pkb.Refreshes(), r.pkb.ReusedRefreshTokens())
		}
	})
}

// Handing out a token that is in memory costs no allocation, concealed as it is.
func TestTokenInMemoryAllocatesNothing(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	token(t.Context(), t, r.Client, user)
	if n := testing.AllocsPerRun(100, func() { _, _ = r.Token(t.Context(), user) }); n != 0 {
		t.Errorf("Token allocates %v times, want none", n)
	}
}

// S07: no user ever gets another user's token.
func TestTokensStayWithTheirUsers(t *testing.T) {
	r := newRig(t)
	names := map[string]string{}
	for _, u := range []string{"a", "A", "a ", "ä", "a\u0308"} {
		p := r.pkb.AddPatient(pkbtest.Patient{FirstName: "Patient of " + u})
		r.link(t, u, p)
		names[u] = p.FirstName
	}
	var wg sync.WaitGroup
	for u, name := range names {
		for range 20 {
			wg.Go(func() {
				self, err := r.ForUser(u).Self(t.Context())
				if err != nil || self.Reveal().FirstName != name {
					t.Errorf("user %q got another patient, or %v", u, err)
				}
			})
		}
	}
	wg.Wait()
}

func TestTokenSourceAndHTTPClient(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	got, err := r.TokenSource(user).Token()
	if err != nil {
		t.Fatal(err)
	}
	if got.AccessToken != token(t.Context(), t, r.Client, user) || got.RefreshToken != "" || !got.Valid() || got.Type() != "Bearer" {
		t.Error("the oauth2.Token is not the user's access token and nothing else")
	}
	resp, err := r.HTTPClient(user).Get(r.pkb.URL() + "/json/users/self")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// The bearer goes to PKB and nowhere else, and no redirect takes it along.
func TestBearerStaysHome(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	var got []http.Header
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { got = append(got, q.Header) }))
	defer elsewhere.Close()

	// A client whose transport really dials, but PKB.
	config := r.config
	home := strings.TrimPrefix(r.pkb.URL(), "https://")
	home, _, _ = strings.Cut(home, "/")
	config.HTTPClient = &http.Client{Transport: roundTrip(func(q *http.Request) (*http.Response, error) {
		if q.URL.Host == home && q.URL.Scheme == "https" {
			return r.pkb.Transport().RoundTrip(q)
		}
		return elsewhere.Client().Transport.RoundTrip(q)
	})}
	c, err := pkb.New(config)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.HTTPClient(user).Get(elsewhere.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if len(got) != 1 || got[0].Get("Authorization") != "" {
		t.Errorf("another host got %d requests, with Authorization %t", len(got), got[0].Get("Authorization") != "")
	}
	r.pkb.Next(pkbtest.Self, pkbtest.Fault(func(http.Handler) http.Handler {
		return http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	var api *pkb.APIError
	if _, err := c.ForUser(user).Self(t.Context()); !errors.As(err, &api) || api.Status != http.StatusTemporaryRedirect {
		t.Errorf("Self: %v", err)
	}
	if len(got) != 1 {
		t.Error("a redirect was followed")
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

// S04: a 401 with a token that should still be good: one refresh for all, one
// more try each.
func TestUnauthorizedIsRefreshedOnce(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	outcome := `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"login","details":{"coding":[{"system":"http://fhir.patientsknowbest.com/codesystem/response-code","code":"ACC_TOKEN_EXPIRED"}]}}]}`
	r.pkb.Next(pkbtest.Self, pkbtest.Respond(401, "application/fhir+json", outcome))
	if _, err := r.ForUser(user).Self(t.Context()); err != nil {
		t.Fatalf("Self: %v", err)
	}
	if r.pkb.Refreshes() != 1 || r.pkb.Count(pkbtest.Self) != 2 {
		t.Errorf("%d refreshes, %d calls", r.pkb.Refreshes(), r.pkb.Count(pkbtest.Self))
	}
	// A second 401 in a row is an answer.
	r.pkb.Advance(2 * time.Minute)
	r.pkb.Next(pkbtest.Self, pkbtest.Respond(401, "", ""), pkbtest.Respond(401, "application/fhir+json", outcome))
	var api *pkb.APIError
	if _, err := r.ForUser(user).Self(t.Context()); !errors.As(err, &api) || api.Status != 401 || api.Code != fhir.AccessTokenExpired || !errors.Is(err, pkb.ErrTokenRefused) {
		t.Errorf("Self: %v", err)
	}
	if r.pkb.Refreshes() != 2 {
		t.Errorf("%d refreshes, want 2", r.pkb.Refreshes())
	}
	// A server that refuses every token does not get one with each call.
	for range 10 {
		r.pkb.Next(pkbtest.Self, pkbtest.Refuse("BAD_AUTHENTICATION"))
		if _, err := r.ForUser(user).Self(t.Context()); !errors.Is(err, pkb.ErrTokenRefused) {
			t.Errorf("Self: %v, want ErrTokenRefused", err)
		}
	}
	if r.pkb.Refreshes() != 2 {
		t.Errorf("%d refreshes, want 2", r.pkb.Refreshes())
	}
	if _, err := r.ForUser(user).Self(t.Context()); err != nil {
		t.Errorf("the link did not survive: %v", err)
	}
}

// A session that is over, told by the answer to the second try, ends the link.
func TestSessionOverAtTheSecondTry(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	r.pkb.Next(pkbtest.Self, pkbtest.Respond(401, "", ""), pkbtest.Refuse("API_SESSION_EXPIRED"))
	var relink *pkb.RelinkError
	if _, err := r.ForUser(user).Self(t.Context()); !errors.As(err, &relink) || relink.Cause != observe.CauseSessionExpired {
		t.Errorf("Self: %v, want the link ended", err)
	}
}

// A body that cannot be read again is not sent again.
func TestUnauthorizedWithOneTimeBody(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	r.pkb.Next(pkbtest.Purview, pkbtest.Respond(401, "", ""))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.pkb.URL()+"/fhir/Consent/$purview", io.NopCloser(strings.NewReader("{}")))
	if err != nil {
		t.Fatal(err)
	}
	before := r.pkb.Count(pkbtest.Purview)
	resp, err := r.HTTPClient(user).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 401 || r.pkb.Count(pkbtest.Purview) != before+1 || r.pkb.Refreshes() != 0 {
		t.Errorf("status %d, %d requests, %d refreshes", resp.StatusCode, r.pkb.Count(pkbtest.Purview)-before, r.pkb.Refreshes())
	}
}

func TestSessionCodesEndTheLink(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	r.pkb.InvalidateSessions(r.patient)
	var relink *pkb.RelinkError
	if _, err := r.ForUser(user).Self(t.Context()); !errors.As(err, &relink) || relink.Cause != observe.CauseSessionInvalid {
		t.Errorf("Self: %v", err)
	}
	if n := r.pkb.Refreshes(); n != 0 {
		t.Errorf("%d refreshes of a dead session", n)
	}
}

// Whatever PKB sends back is an error that says whose turn it is, and repeats
// nothing of it.
func TestAPIErrors(t *testing.T) {
	outcome := func(code string) string {
		return `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing","diagnostics":"canary","details":{"coding":[{"system":"http://fhir.patientsknowbest.com/codesystem/response-code","code":"` + code + `"}]}}]}`
	}
	const fhirJSON = "application/fhir+json"
	header := func(name, value string, f pkbtest.Fault) pkbtest.Fault {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				w.Header().Set(name, value)
				f(next).ServeHTTP(w, q)
			})
		}
	}
	for name, tc := range map[string]struct {
		fault  pkbtest.Fault
		status int
		code   fhir.ResponseCode
		text   string
	}{
		"HTML 503":                 {pkbtest.Respond(503, "text/html", "<html>canary"), 503, "", "unavailable"},
		"503 with a time":          {header("Retry-After", "120", pkbtest.Respond(503, "text/html", "canary")), 503, "", "retry after 2m0s [unavailable]"},
		"502":                      {pkbtest.Respond(502, "text/html", "<html>canary"), 502, "", "unavailable"},
		"504":                      {pkbtest.Respond(504, "", ""), 504, "", "unavailable"},
		"empty 500":                {pkbtest.Respond(500, "", ""), 500, "", "unavailable"},
		"500 with an outcome":      {pkbtest.Respond(500, fhirJSON, outcome("NEW_CODE")), 500, "", "unavailable"},
		"429":                      {pkbtest.Respond(429, "", ""), 429, "", "too_many_requests"},
		"429 with a time":          {header("Retry-After", "60", pkbtest.Respond(429, "", "")), 429, "", "retry after 1m0s [too_many_requests]"},
		"404":                      {pkbtest.Respond(404, "text/html", "canary"), 404, "", "no_such_address"},
		"405":                      {pkbtest.Respond(405, "text/html", "canary"), 405, "", "no_such_address"},
		"302 to a login":           {pkbtest.Respond(302, "text/html", "canary"), 302, "", "no_such_address"},
		"403":                      {pkbtest.Respond(403, "text/html", "canary"), 403, "", "not_permitted"},
		"403, another user type":   {pkbtest.Respond(403, fhirJSON, outcome("USER_TYPE_NOT_PERM")), 403, fhir.UserTypeNotPermitted, "user_type"},
		"403, no consent":          {pkbtest.Respond(403, fhirJSON, outcome("NO_CONSENT")), 403, fhir.NoConsent, "not_permitted"},
		"403, frozen":              {pkbtest.Respond(403, fhirJSON, outcome("ACCESS_FROZEN_OUTWARD")), 403, fhir.AccessFrozenOutward, "[frozen]"},
		"400":                      {pkbtest.Respond(400, "application/json", `{"error":"canary"}`), 400, "", "request_refused"},
		"422":                      {pkbtest.Respond(422, fhirJSON, outcome("x")), 422, "", "request_refused"},
		"418":                      {pkbtest.Respond(418, "", ""), 418, "", "other_status"},
		"cut":                      {pkbtest.Drop(), 0, "", "no response from PKB: the connection was cut [unavailable]"},
		"HTML with 200":            {pkbtest.Respond(200, "text/html", "<html>canary"), 200, "", "the response is a page, not data [unexpected_response]"},
		"HTML that says JSON":      {pkbtest.Respond(200, "application/json", "\n<!DOCTYPE html>canary"), 200, "", "the response is a page"},
		"text with 200":            {pkbtest.Respond(200, "text/plain", "canary"), 200, "", "[unexpected_response]"},
		"cut JSON with 200":        {pkbtest.Respond(200, "application/json", `{"patient":true,"firstName":"can`), 200, "", "[unexpected_response]"},
		"empty 200":                {pkbtest.Respond(200, "application/json", ""), 200, "", "[unexpected_response]"},
		"204":                      {pkbtest.Respond(204, "", ""), 204, "", "[unexpected_response]"},
		"an outcome with 200":      {pkbtest.Respond(200, fhirJSON, outcome("NO_ASSOCIATION")), 200, fhir.NoAssociation, "the response is an OperationOutcome"},
		"an outcome of no code":    {pkbtest.Respond(200, fhirJSON, outcome("canary")), 200, "", "the response is an OperationOutcome"},
		"cut in the middle":        {pkbtest.Rewrite(func(h http.Header, body []byte) []byte { h.Set("Content-Length", "100000"); return body }), 200, "", "the connection was cut [unavailable]"},
		"packed and cut":           {pkbtest.Rewrite(func(h http.Header, body []byte) []byte { return packed(20, h, body) }), 200, "", "the connection was cut [unavailable]"},
		"packed wrongly":           {pkbtest.Rewrite(func(h http.Header, body []byte) []byte { h.Set("Content-Encoding", "gzip"); return body }), 200, "", "cannot be decompressed [unexpected_response]"},
		"too large":                {pkbtest.Respond(200, "application/json", `{"a":"`+strings.Repeat("canary", 1<<20)+`"}`), 200, "", "the response is larger than Config.MaxResponseBytes (4 MiB) [response_too_large]"},
		"an id to look it up by":   {header("X-Request-Id", "1d4a8b2d-f885-499f", pkbtest.Respond(500, "", "")), 500, "", "500 Internal Server Error, request 1d4a8b2d-f885-499f ["},
		"an id that is not opaque": {header("X-Request-Id", "canary-9991566171", pkbtest.Respond(500, "", "")), 500, "", "500 Internal Server Error ["},
		"an id that is a number":   {header("X-Request-Id", "9991566171", pkbtest.Respond(500, "", "")), 500, "", "500 Internal Server Error ["},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, askOnce, withConfig(func(c *pkb.Config) { c.MaxResponseBytes = 4 << 20 }))
			r.link(t, user, r.patient)
			r.pkb.Next(pkbtest.Self, tc.fault)
			_, err := r.ForUser(user).Self(t.Context())
			var api *pkb.APIError
			if !errors.As(err, &api) || api.Status != tc.status || api.Code != tc.code || api.Operation != "users/self" {
				t.Fatalf("Self: %v", err)
			}
			said := err.Error() + " [" + advice.For(err).Code + "]"
			if !strings.Contains(said, tc.text) || strings.Contains(said, "canary") {
				t.Errorf("text: %s; want %q in it", said, tc.text)
			}
			if printed := fmt.Sprintf("%v %s", err, api.RequestID); strings.Contains(printed, "canary") || strings.Contains(printed, "9991566171") {
				t.Errorf("PKB's words are printed: %s", printed)
			}
			if _, err := r.ForUser(user).Self(t.Context()); err != nil {
				t.Errorf("the link did not survive: %v", err)
			}
			if r.pkb.Refreshes() != 0 {
				t.Errorf("%d refreshes: the token was not the trouble", r.pkb.Refreshes())
			}
		})
	}
}

// PKB's pages do not say that codes about tokens and sessions come with 401.
func TestTokenCodesWithStatus403(t *testing.T) {
	outcome := func(code string) pkbtest.Fault {
		return pkbtest.Respond(403, "application/fhir+json", `{"resourceType":"OperationOutcome","issue":[{"details":{"coding":[{"code":"`+code+`"}]}}]}`)
	}
	r := newRig(t)
	r.link(t, user, r.patient)
	r.pkb.Next(pkbtest.Self, outcome("ACC_TOKEN_EXPIRED"))
	if _, err := r.ForUser(user).Self(t.Context()); err != nil || r.pkb.Refreshes() != 1 {
		t.Errorf("an expired token: %v, %d refreshes", err, r.pkb.Refreshes())
	}
	r.pkb.Advance(2 * time.Minute)
	r.pkb.Next(pkbtest.Self, outcome("BAD_AUTHENTICATION"), outcome("BAD_AUTHENTICATION"))
	if _, err := r.ForUser(user).Self(t.Context()); !errors.Is(err, pkb.ErrTokenRefused) {
		t.Errorf("a new token that is refused as well: %v", err)
	}
	var relink *pkb.RelinkError
	r.pkb.Next(pkbtest.Self, outcome("API_SESSION_INVALID"))
	if _, err := r.ForUser(user).Self(t.Context()); !errors.As(err, &relink) || relink.Cause != observe.CauseSessionInvalid {
		t.Errorf("a session that is over: %v", err)
	}
}

func TestFrozenPatient(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	r.pkb.Freeze(r.patient, true)
	var api *pkb.APIError
	if _, err := r.ForUser(user).Self(t.Context()); !errors.As(err, &api) || api.Code != fhir.AccessFrozenOutward || api.Outcome.IsZero() || !errors.Is(err, pkb.ErrFrozen) || errors.Is(err, pkb.ErrTokenRefused) {
		t.Errorf("Self: %v", err)
	}
	r.pkb.Freeze(r.patient, false)
	if _, err := r.ForUser(user).Self(t.Context()); err != nil {
		t.Errorf("thawed: %v", err)
	}
}

// A call ends with its context, and the link is none the worse.
func TestCallEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.link(t, user, r.patient)
		r.pkb.Next(pkbtest.Self, pkbtest.Delay(time.Hour), pkbtest.Delay(time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := r.ForUser(user).Self(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("Self after %v: %v", time.Since(began), err)
		}
		// And without a deadline of the caller's, by Config.RequestTimeout.
		began = time.Now()
		if _, err := r.ForUser(user).Self(t.Context()); err == nil || time.Since(began) != 30*time.Second {
			t.Errorf("Self after %v: %v", time.Since(began), err)
		}
		time.Sleep(2 * time.Hour) // let the slow answers end
	})
}

func TestTokenTroubleIsExplained(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	r.pkb.Advance(11 * time.Minute)
	r.pkb.Next(pkbtest.Token, pkbtest.Respond(401, "application/json", `{"error":"invalid_client","error_description":"canary"}`))
	_, err := r.Token(t.Context(), user)
	var later *pkb.TryLaterError
	if !errors.Is(err, pkb.ErrTryLater) || !errors.As(err, &later) || later.Code != "invalid_client" || later.Status != 401 {
		t.Fatalf("Token: %v", err)
	}
	if advice.For(err).Code != "application_refused" || strings.Contains(err.Error(), "canary") {
		t.Errorf("text: %v", err)
	}
	r.pkb.Advance(time.Minute)
	if _, err := r.Token(t.Context(), user); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestClosedClient(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.pkb.Advance(11 * time.Minute)
	if _, err := r.Token(t.Context(), user); !errors.Is(err, pkb.ErrClosed) {
		t.Errorf("Token: %v", err)
	}
	if _, _, err := r.Authorize(t.Context(), user); !errors.Is(err, pkb.ErrClosed) {
		t.Errorf("Authorize: %v", err)
	}
}

// Get reads what else there is, with the token, the address and the errors that
// the other calls have.
func TestGet(t *testing.T) {
	r := newRig(t, askOnce)
	r.link(t, user, r.patient)
	p := r.ForUser(user)
	var sent []string
	seen := func(f pkbtest.Fault) pkbtest.Fault {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				sent = append(sent, q.Method+" "+q.URL.RequestURI()+" "+q.Header.Get("Accept")+" "+q.Header.Get("Authorization")+" "+q.Header.Get("User-Agent"))
				f(next).ServeHTTP(w, q)
			})
		}
	}
	r.pkb.Next("", seen(pkbtest.Respond(200, "application/json", `{"canary":1}`)))
	r.pkb.Next(pkbtest.Facade, seen(pkbtest.Respond(200, "application/fhir+json", `{"resourceType":"Bundle"}`)),
		pkbtest.Respond(404, "text/html", "canary"), pkbtest.Respond(200, "text/html", "<html>canary"), pkbtest.Drop())

	got, err := p.Get(t.Context(), "/json/v2-beta/measurements", url.Values{"apiRefs": {"a b", "c&d"}})
	if err != nil || string(got.Raw()) != `{"canary":1}` {
		t.Fatalf("Get: %s, %v", got.Raw(), err)
	}
	if printed := fmt.Sprintf("%v %+v %#v %s %x", got, got, got, got, &got); strings.Contains(printed, "canary") || strings.Contains(printed, "63616e") {
		t.Errorf("an answer prints %s", printed)
	}
	if got, err = p.Get(t.Context(), "/fhir/Appointment", nil); err != nil || string(got.Raw()) != `{"resourceType":"Bundle"}` {
		t.Fatalf("Get: %s, %v", got.Raw(), err)
	}
	bearer := " Bearer " + token(t.Context(), t, r.Client, user) + " pkb-go"
	want := []string{
		"GET /tenant/json/v2-beta/measurements?apiRefs=a+b&apiRefs=c%26d application/json" + bearer,
		"GET /tenant/fhir/Appointment application/fhir+json" + bearer,
	}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}

	for _, status := range []int{404, 200, 0} {
		_, err := p.Get(t.Context(), "/fhir/Patient/canary-9991566171", url.Values{"x": {"canary"}})
		var api *pkb.APIError
		if !errors.As(err, &api) || api.Status != status || api.Operation != "GET /fhir/Patient/..." {
			t.Errorf("status %d: %v", status, err)
		}
		if printed := fmt.Sprintf("%v %+v %v", err, err, errors.Unwrap(err)); strings.Contains(printed, "canary") || strings.Contains(printed, "9991566171") {
			t.Errorf("status %d: an id or PKB's words are printed: %s", status, printed)
		}
	}

	before := len(r.pkb.Requests())
	for _, path := range []string{"/json/../apiToken.action", "//elsewhere.example/json/canary", "https://elsewhere.example/json/canary"} {
		if _, err := p.Get(t.Context(), path, nil); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want ErrPath", path, err)
		}
	}
	if n := len(r.pkb.Requests()) - before; n != 0 {
		t.Errorf("%d requests were sent for paths that are none", n)
	}
}

// A session that is over ends the link at this call too.
func TestGetOfALostLink(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	r.pkb.Next("", pkbtest.Refuse("API_SESSION_EXPIRED"))
	if _, err := r.ForUser(user).Get(t.Context(), "/json/v1/diagnoses/all", nil); !errors.Is(err, pkb.ErrRelinkRequired) {
		t.Errorf("Get: %v", err)
	}
	if _, err := r.ForUser("nobody").Get(t.Context(), "/json/v1/diagnoses/all", nil); !errors.Is(err, pkb.ErrNotLinked) {
		t.Errorf("Get: %v", err)
	}
}

// packed compresses a body, and cuts off its end.
func packed(cut int, h http.Header, body []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(body)
	_ = z.Close()
	h.Set("Content-Encoding", "gzip")
	return b.Bytes()[:b.Len()-cut]
}

// The organisation's header belongs to a system client's token, so a patient's token
// is never sent with it, not even for a host that sets it.
func TestNoOrganisationWithAPatientsToken(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.pkb.URL()+"/json/users/self", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Org-Public-Id", "0c71b08b-38f8-4973-aaff-e4103151cd42")
	resp, err := r.HTTPClient(user).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if _, err := r.ForUser(user).PublicID(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, q := range r.pkb.Requests() {
		if got := q.Header.Values("X-Org-Public-Id"); len(got) > 0 {
			t.Errorf("%v was sent with X-Org-Public-Id %v", q, got)
		}
	}
}
