// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
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
				if err != nil || self.FirstName.Reveal() != name {
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
	if _, err := r.ForUser(user).Self(t.Context()); !errors.As(err, &relink) || relink.Cause != pkb.CauseSessionExpired {
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
	if _, err := r.ForUser(user).Self(t.Context()); !errors.As(err, &relink) || relink.Cause != pkb.CauseSessionInvalid {
		t.Errorf("Self: %v", err)
	}
	if n := r.pkb.Refreshes(); n != 0 {
		t.Errorf("%d refreshes of a dead session", n)
	}
}

func TestAPIErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		fault  pkbtest.Fault
		status int
		text   string
	}{
		"HTML 503":      {pkbtest.Respond(503, "text/html", "<html>canary"), 503, "try again later"},
		"empty 500":     {pkbtest.Respond(500, "", ""), 500, "try again later"},
		"429":           {pkbtest.Respond(429, "", ""), 429, "slow down"},
		"404":           {pkbtest.Respond(404, "text/html", "canary"), 404, "host's turn: check the addresses"},
		"403":           {pkbtest.Respond(403, "text/html", "canary"), 403, "PKB's turn"},
		"cut":           {pkbtest.Drop(), 0, "no answer from PKB"},
		"HTML with 200": {pkbtest.Respond(200, "text/html", "<html>canary"), 200, "PKB's turn"},
		"empty 200":     {pkbtest.Respond(200, "application/json", ""), 200, "PKB's turn"},
		"204":           {pkbtest.Respond(204, "", ""), 204, "PKB's turn"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.link(t, user, r.patient)
			r.pkb.Next(pkbtest.Self, tc.fault)
			_, err := r.ForUser(user).Self(t.Context())
			var api *pkb.APIError
			if !errors.As(err, &api) || api.Status != tc.status || api.Operation != "users/self" {
				t.Fatalf("Self: %#v", err)
			}
			if !strings.Contains(err.Error(), tc.text) || strings.Contains(err.Error(), "canary") {
				t.Errorf("text: %v", err)
			}
			if _, err := r.ForUser(user).Self(t.Context()); err != nil {
				t.Errorf("the link did not survive: %v", err)
			}
		})
	}
}

func TestFrozenPatient(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	r.pkb.Freeze(r.patient, true)
	var api *pkb.APIError
	if _, err := r.ForUser(user).Self(t.Context()); !errors.As(err, &api) || api.Code != fhir.AccessFrozenOutward || api.Outcome == nil || !errors.Is(err, pkb.ErrFrozen) || errors.Is(err, pkb.ErrTokenRefused) {
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
	if !strings.Contains(err.Error(), "host's turn") || strings.Contains(err.Error(), "canary") {
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
