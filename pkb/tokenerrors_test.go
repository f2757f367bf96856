// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/google/go-cmp/cmp"
)

// Each meaning that a host can give to a response does what it says, to the link
// that met it and to the others.
func TestTokenErrors(t *testing.T) {
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	lost := func(cause observe.Cause) func(error) bool {
		return func(err error) bool {
			e, ok := errors.AsType[*pkb.RelinkError](err)
			return ok && e.Cause == cause
		}
	}
	for name, tc := range map[string]struct {
		e            observe.TokenError
		status       int
		body         string
		want         func(error) bool
		turn         advice.Turn
		holdsBackAll bool
	}{
		"session over, by its body": {
			e:      observe.TokenError{Status: 401, Body: "Bad refresh token", Means: observe.MeansSessionOver},
			status: 401, body: "  Bad refresh token\n", want: lost(observe.CauseSessionInvalid), turn: advice.TurnPatient,
		},
		"session over, by its code": {
			e:      observe.TokenError{Code: "token_expired", Means: observe.MeansSessionOver},
			status: 403, body: `{"error":"token_expired"}`, want: lost(observe.CauseSessionInvalid), turn: advice.TurnPatient,
		},
		"frozen": {
			e:      observe.TokenError{Code: "locked", Means: observe.MeansFrozen},
			status: 403, body: `{"error":"locked"}`, want: is(pkb.ErrFrozen), turn: advice.TurnPKB,
		},
		"application": {
			e:      observe.TokenError{Status: 403, Code: "blocked", Means: observe.MeansApplication},
			status: 403, body: `{"error":"blocked"}`, want: is(pkb.ErrTryLater), turn: advice.TurnHost, holdsBackAll: true,
		},
		"busy": {
			e:      observe.TokenError{Status: 400, Code: "maintenance", Means: observe.MeansBusy},
			status: 400, body: `{"error":"maintenance"}`, want: is(pkb.ErrTryLater), turn: advice.TurnWait, holdsBackAll: true,
		},
		"unclear, against RFC 6749": {
			e:      observe.TokenError{Code: "invalid_grant", Means: observe.MeansUnclear},
			status: 400, body: `{"error":"invalid_grant"}`, want: is(pkb.ErrTryLater), turn: advice.TurnWait,
		},
		// Where an entry does not fit, nothing is made of it.
		"another status": {
			e:      observe.TokenError{Status: 401, Body: "Bad refresh token", Means: observe.MeansSessionOver},
			status: 400, body: "Bad refresh token", want: is(pkb.ErrTryLater), turn: advice.TurnWait,
		},
		"more than its body": {
			e:      observe.TokenError{Body: "Bad refresh token", Means: observe.MeansSessionOver},
			status: 401, body: "Bad refresh token. Request 7.", want: is(pkb.ErrTryLater), turn: advice.TurnWait,
		},
		"a server error": {
			e:      observe.TokenError{Code: "token_expired", Means: observe.MeansSessionOver},
			status: 503, body: `{"error":"token_expired"}`, want: is(pkb.ErrTryLater), turn: advice.TurnWait,
		},
		"a page that names the code": {
			e:      observe.TokenError{Code: "token_expired", Means: observe.MeansSessionOver},
			status: 400, body: "<html>token_expired</html>", want: is(pkb.ErrTryLater), turn: advice.TurnWait,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, withConfig(func(c *pkb.Config) { c.TokenErrors = []observe.TokenError{tc.e} }))
				r.link(t, user, r.patient)
				r.link(t, "user-2", r.pkb.AddPatient(pkbtest.Patient{}))
				r.pkb.Advance(sold)
				refuse := pkbtest.Respond(tc.status, "application/json", tc.body)
				r.pkb.Next(pkbtest.Token, refuse, refuse) // a lost response is asked for once more
				_, err := r.Token(t.Context(), user)
				if !tc.want(err) {
					t.Fatalf("Token: %v", err)
				}
				if advice := advice.For(err); advice.Turn != tc.turn {
					t.Errorf("it is %q's turn, want %q: %s", advice.Turn, tc.turn, advice.Cause)
				}
				r.pkb.ClearFaults()
				if _, err := r.Token(t.Context(), "user-2"); (err != nil) != tc.holdsBackAll {
					t.Errorf("another user: %v", err)
				}
				if held := r.Health(t.Context()).HeldBack; (held != nil) != tc.holdsBackAll {
					t.Errorf("HeldBack = %v", held)
				}
			})
		})
	}
}

// What an entry means counts for codes, too: whose turn it is, and whether the same
// callback may come again.
func TestTokenErrorsAtTheCodeExchange(t *testing.T) {
	for means, want := range map[observe.TokenMeans]struct {
		turn  advice.Turn
		again bool
	}{
		observe.MeansSessionOver: {advice.TurnPatient, false},
		observe.MeansFrozen:      {advice.TurnPatient, false},
		observe.MeansApplication: {advice.TurnHost, true},
		observe.MeansBusy:        {advice.TurnWait, true},
		observe.MeansUnclear:     {advice.TurnHost, false},
	} {
		t.Run(string(means), func(t *testing.T) {
			r := newRig(t, withConfig(func(c *pkb.Config) { c.TokenErrors = []observe.TokenError{{Code: "word", Means: means}} }))
			pending, query := r.approve(t, user, r.patient)
			r.pkb.Next(pkbtest.Token, pkbtest.Respond(400, "application/json", `{"error":"word"}`))
			_, err := r.Complete(t.Context(), user, pending, query)
			if e, ok := errors.AsType[*pkb.APIError](err); !ok || e.Code != "word" || e.Status != 400 {
				t.Fatalf("Complete: %v", err)
			}
			if advice := advice.For(err); advice.Turn != want.turn {
				t.Errorf("it is %q's turn, want %q: %v", advice.Turn, want.turn, err)
			}
			if _, err := r.Complete(t.Context(), user, pending, query); (err == nil) != want.again {
				t.Errorf("the same callback again: %v", err)
			}
		})
	}
}

// translating is a transport that makes of every refusal of the token endpoint one
// in other words.
type translating struct {
	next   http.RoundTripper
	status int
	media  string
	body   string
}

func (tr *translating) RoundTrip(q *http.Request) (*http.Response, error) {
	resp, err := tr.next.RoundTrip(q)
	if err != nil || resp.StatusCode < 400 || !strings.HasSuffix(q.URL.Path, "/apiToken.action") {
		return resp, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	resp.StatusCode, resp.ContentLength = tr.status, int64(len(tr.body))
	resp.Header = http.Header{"Content-Type": {tr.media}}
	resp.Body = io.NopCloser(bytes.NewReader([]byte(tr.body)))
	return resp, nil
}

// PKB's words for a session that has ended are published nowhere. Whatever they
// are, the link that met them ends, with a cause of its own, when others are served
// meanwhile; and the others notice nothing.
func TestSessionsEndInUnknownWords(t *testing.T) {
	for name, tc := range map[string]struct {
		status      int
		media, body string
		cause       observe.Cause
	}{
		"as RFC 6749 says":    {400, "application/json", `{"error":"invalid_grant"}`, observe.CauseGrantRejected},
		"empty 400":           {400, "", "", observe.CauseRefusedUnclear},
		"empty 401":           {401, "", "", observe.CauseRefusedUnclear},
		"unauthorized":        {401, "application/json", `{"error":"unauthorized","error_description":"Full authentication is required to access this resource"}`, observe.CauseRefusedUnclear},
		"invalid_token":       {400, "application/json", `{"error":"invalid_token"}`, observe.CauseRefusedUnclear},
		"invalid_request":     {400, "application/json", `{"error":"invalid_request"}`, observe.CauseRefusedUnclear},
		"access_denied":       {403, "application/json", `{"error":"access_denied"}`, observe.CauseRefusedUnclear},
		"nested":              {400, "application/json", `{"error":{"code":"invalid_grant"}}`, observe.CauseRefusedUnclear},
		"an array":            {400, "application/json", `["invalid_grant"]`, observe.CauseRefusedUnclear},
		"problem+json":        {400, "application/problem+json", `{"type":"about:blank","title":"Bad Request"}`, observe.CauseRefusedUnclear},
		"XML":                 {400, "application/xml", `<error>invalid</error>`, observe.CauseRefusedUnclear},
		"HTML":                {400, "text/html", "<html><body>Invalid refresh token</body></html>", observe.CauseRefusedUnclear},
		"to a page":           {302, "text/html", "", observe.CauseRefusedUnclear},
		"in the client's way": {401, "application/json", `{"error":"invalid_client"}`, observe.CauseRefusedUnclear},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(server *pkbtest.Config, c *pkb.Config) { server.SessionLife, c.Retries = 1000*time.Hour, -1 })
				r.config.HTTPClient = &http.Client{Transport: &translating{r.pkb.Transport(), tc.status, tc.media, tc.body}}
				r.Client = r.replica(t)
				const dead = "user-dead"
				r.link(t, dead, r.patient)
				users := []string{dead}
				for i := range 10 {
					users = append(users, fmt.Sprintf("user-%02d", i))
					r.link(t, users[i+1], r.pkb.AddPatient(pkbtest.Patient{}))
				}
				r.pkb.InvalidateSessions(r.patient)
				failed := 0
				for range 4 * 60 * 2 { // two hours
					time.Sleep(15 * time.Second) // of the bubble
					for _, u := range users {
						if _, err := r.Token(t.Context(), u); err != nil && u != dead {
							failed++
						}
					}
				}
				if failed > 0 && tc.body != `{"error":"invalid_client"}` {
					t.Errorf("%d calls of users whose links work failed because of one that does not", failed)
				}
				if link, err := r.Link(t.Context(), dead); err != nil || link.State != tokenstore.StateRelinkRequired || link.Cause != tc.cause {
					t.Errorf("the dead link: %s %s, %v, want relink required: %s", link.State, link.Cause, err, tc.cause)
				}
				for _, u := range users[1:] {
					if link, err := r.Link(t.Context(), u); err != nil || link.Cause != "" {
						t.Errorf("%s: %s %s, %v: a link that works was ended", u, link.State, link.Cause, err)
					}
				}
			})
		})
	}
}

// As above with more links, some of them dead, in the order in which calls come by
// chance.
func TestManyDeadLinksHoldNobodyBack(t *testing.T) {
	for _, n := range []struct{ users, dead int }{{20, 1}, {100, 5}} {
		t.Run(fmt.Sprintf("%d of %d", n.dead, n.users), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(server *pkbtest.Config, c *pkb.Config) { server.SessionLife, c.Retries = 1000*time.Hour, -1 })
				r.config.HTTPClient = &http.Client{Transport: &translating{next: r.pkb.Transport(), status: 400}}
				r.Client = r.replica(t)
				chance := rand.New(rand.NewSource(7))
				dead := map[string]bool{}
				var users []string
				for i := range n.users {
					p := r.pkb.AddPatient(pkbtest.Patient{})
					u := fmt.Sprintf("user-%03d", i)
					r.link(t, u, p)
					time.Sleep(time.Duration(chance.Intn(6)) * time.Second)
					if users = append(users, u); i < n.dead {
						dead[u] = true
						r.pkb.InvalidateSessions(p)
					}
				}
				calls, failed, ended := 0, 0, map[string]bool{}
				for range 12 * 60 * 2 { // two hours
					time.Sleep(5 * time.Second)
					chance.Shuffle(len(users), func(i, j int) { users[i], users[j] = users[j], users[i] })
					for _, u := range users[:len(users)/4] {
						_, err := r.Token(t.Context(), u)
						switch {
						case dead[u]:
							ended[u] = ended[u] || errors.Is(err, pkb.ErrRelinkRequired)
						case err != nil:
							failed++
							fallthrough
						default:
							calls++
						}
					}
				}
				if failed > 0 {
					t.Errorf("%d of %d calls failed for users whose links work", failed, calls)
				}
				for u := range dead {
					if !ended[u] {
						t.Errorf("%s: dead, and the patient was not asked to approve again", u)
					}
				}
			})
		})
	}
}

// A PKB that does not take the parameter scope at a refresh: the advice names the
// setting, and with it the link lives.
func TestRefreshWithoutScope(t *testing.T) {
	takesNoScope := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			body, _ := io.ReadAll(q.Body)
			q.Body = io.NopCloser(bytes.NewReader(body))
			if bytes.Contains(body, []byte("scope=")) {
				pkbtest.Respond(400, "application/json", `{"error":"invalid_scope"}`)(next).ServeHTTP(w, q)
				return
			}
			next.ServeHTTP(w, q)
		})
	}
	for without, want := range map[bool]string{false: "pkb.ErrTryLater", true: ""} {
		r := newRig(t, withConfig(func(c *pkb.Config) { c.RefreshWithoutScope = without }))
		r.link(t, user, r.patient)
		r.pkb.Advance(sold)
		r.pkb.Next(pkbtest.Token, takesNoScope)
		_, err := r.Token(t.Context(), user)
		if (err == nil) != without {
			t.Errorf("RefreshWithoutScope %t: %v, want %s", without, err, want)
		}
		if !without && !strings.Contains(advice.For(err).Operator, "RefreshWithoutScope") {
			t.Errorf("the advice does not name the setting: %s", advice.For(err).Operator)
		}
	}

	// To the letter.
	w := newWire(t)
	now := time.Now()
	c := sandboxClient(t, w, func(c *pkb.Config) { c.RefreshWithoutScope, c.Now = true, func() time.Time { return now } })
	complete(t, c)
	now = now.Add(time.Hour)
	if _, err := c.Token(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"grant_type": {"refresh_token"}, "client_id": {"myClientId"}, "refresh_token": {"tGzv3JOkF0XG5Qx2TlKWIA"}}
	if diff := cmp.Diff(want, map[string][]string(w.seen[len(w.seen)-1].Form)); diff != "" {
		t.Errorf("the form of the refresh (-want +got):\n%s", diff)
	}
}
