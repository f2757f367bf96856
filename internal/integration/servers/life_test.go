// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

const (
	clientID    = "app"
	scope       = "PATIENT"
	redirectURL = "https://app.example/pkb/callback"
	user        = "app-user-1"
	patient     = "1d4a8b2d-f885-499f-ba51-50600312f316"
)

// server is somebody else's, as handlers for PKB's paths.
type server struct {
	// authorize acts for a patient who allows access, or not.
	authorize func(w http.ResponseWriter, r *http.Request, allow bool)
	token     http.HandlerFunc
	// takes reports whether a request has a bearer that is good.
	takes func(r *http.Request) bool
}

// providers are the servers. kills: a refresh token that comes twice ends the
// session. again: it is good again and again.
var providers = []struct {
	name         string
	start        func(*testing.T) server
	kills, again bool
}{
	{"fosite", fositeServer, true, false},
	{"go-oauth2", rotating, false, false},
	{"go-oauth2 with lasting refresh tokens", lasting, false, true},
}

// front mounts a server on PKB's paths, on a port, and keeps an eye on its
// token endpoint.
type front struct {
	*httptest.Server
	deny atomic.Bool

	mu        sync.Mutex
	refreshes int
	last      string // the refresh token presented last
	loseNext  bool   // do the work, and cut the connection
}

func serve(t *testing.T, start func(*testing.T) server) *front {
	t.Helper()
	s, f := start(t), &front{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /apiAuthorize.action", func(w http.ResponseWriter, r *http.Request) { s.authorize(w, r, !f.deny.Load()) })
	mux.HandleFunc("POST /apiToken.action", func(w http.ResponseWriter, r *http.Request) {
		if f.arrived(r) {
			s.token(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		s.token(w, r)
	})
	mux.HandleFunc("POST /fhir/Consent/$purview", func(w http.ResponseWriter, r *http.Request) {
		if !s.takes(r) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = io.WriteString(w, `{"resourceType":"Parameters","parameter":[{"name":"purview","valueReference":{"reference":"Patient/`+patient+`"}}]}`)
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

// arrived counts a refresh, and reports whether its response is to be lost.
func (f *front) arrived(r *http.Request) (lose bool) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	f.mu.Lock()
	defer f.mu.Unlock()
	if form.Get("grant_type") != "refresh_token" {
		return false
	}
	f.refreshes++
	f.last = form.Get("refresh_token")
	lose, f.loseNext = f.loseNext, false
	return lose
}

func (f *front) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refreshes
}

func (f *front) lose() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loseNext = true
}

// present sends the refresh token that was sent last once more, as a copy of it
// in the wrong hands would be.
func (f *front) present(t *testing.T) int {
	t.Helper()
	f.mu.Lock()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {f.last}, "client_id": {clientID}, "scope": {scope}}
	f.mu.Unlock()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.URL+"/apiToken.action", bytes.NewReader([]byte(form.Encode())))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := f.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// rig is replicas of a host on one store, whose clock goes ahead of the
// server's: tokens end for them, and not for it.
type rig struct {
	*front
	store    *tokenstore.Memory
	replicas []*pkb.Client
	ahead    atomic.Int64
}

func newRig(t *testing.T, start func(*testing.T) server, n int, change ...func(*pkb.Config)) *rig {
	t.Helper()
	r := &rig{front: serve(t, start), store: tokenstore.NewMemory()}
	for range n {
		cfg := pkb.Config{
			Environment: pkb.BaseURL(r.URL), ClientID: clientID, RedirectURL: redirectURL, Store: r.store,
			Now: func() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) },
		}
		for _, f := range change {
			f(&cfg)
		}
		c, err := pkb.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		r.replicas = append(r.replicas, c)
		t.Cleanup(func() {
			if err := c.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
	return r
}

// pass lets a token's life pass.
func (r *rig) pass() { r.ahead.Add(int64(tokenLife)) }

// approve takes the way of the patient's browser, to the callback.
func (r *rig) approve(t *testing.T) error {
	t.Helper()
	address, pending, err := r.replicas[0].Authorize(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	own := &http.Transport{} // a test server that closes ends the default one's connections
	defer own.CloseIdleConnections()
	browser := &http.Client{Transport: own, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		t.Fatalf("status %d instead of a redirect: %v", resp.StatusCode, err)
	}
	_, err = r.replicas[0].Complete(t.Context(), user, pending, back.Query())
	return err
}

func (r *rig) link(t *testing.T) {
	t.Helper()
	if err := r.approve(t); err != nil {
		t.Fatalf("Complete: %v", err)
	}
}

// Approved once, a link lives on through many refreshes, of which there is one
// for all goroutines of all replicas, and the server takes every token.
func TestLife(t *testing.T) {
	for _, p := range providers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, p.start, 3)
			r.link(t)
			const rounds = 10
			for range rounds {
				r.pass()
				var callers sync.WaitGroup
				for _, c := range r.replicas {
					for range 8 {
						callers.Go(func() {
							if id, err := c.ForUser(user).Purview(t.Context()); err != nil || id != patient {
								t.Errorf("Purview = %s, %v", id, err)
							}
						})
					}
				}
				callers.Wait()
			}
			if n := r.count(); n != rounds {
				t.Errorf("%d refreshes in %d lives of a token", n, rounds)
			}
		})
	}
}

// A response that is lost after the server has acted: nothing is repeated while
// the old token serves. Then the server's word decides.
func TestLostAnswer(t *testing.T) {
	for _, p := range providers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			uncertain := make(chan struct{}, 1)
			r := newRig(t, p.start, 1, func(c *pkb.Config) {
				c.OnEvent = func(e observe.Event) {
					if e.Kind == observe.EventUncertain {
						uncertain <- struct{}{}
					}
				}
			})
			r.link(t)
			c := r.replicas[0]
			if _, err := c.Token(t.Context(), user); err != nil {
				t.Fatal(err)
			}
			r.lose()
			r.ahead.Add(int64(tokenLife - 5*time.Minute)) // due, and good for five minutes
			if _, err := c.Token(t.Context(), user); err != nil {
				t.Fatalf("the old token does not serve: %v", err)
			}
			select {
			case <-uncertain: // the refresh in the background has ended
			case <-time.After(time.Minute):
				t.Fatal("no refresh in the background")
			}
			for range 3 {
				if _, err := c.Token(t.Context(), user); err != nil {
					t.Fatalf("the old token does not serve: %v", err)
				}
			}
			if n := r.count(); n != 1 {
				t.Errorf("%d refreshes while the old token served, want 1", n)
			}
			r.pass()
			_, err := c.Token(t.Context(), user)
			var relink *pkb.RelinkError
			switch {
			case p.again && err != nil:
				t.Errorf("Token: %v, want the server's second response", err)
			case !p.again && (!errors.As(err, &relink) || relink.Cause != observe.CauseOutcomeUnknown):
				t.Errorf("Token: %v, want %s", err, observe.CauseOutcomeUnknown)
			}
			if n := r.count(); n != 2 {
				t.Errorf("%d refreshes, want 2", n)
			}
			if !p.again {
				r.link(t)
				if _, err := c.ForUser(user).Purview(t.Context()); err != nil {
					t.Errorf("approved again: %v", err)
				}
			}
		})
	}
}

// A server that takes the same token once more at once is told so with
// Forgiving, and then a lost response costs nothing.
func TestForgivingServer(t *testing.T) {
	t.Parallel()
	r := newRig(t, lasting, 1, func(c *pkb.Config) { c.RefreshReuseWindow = 30 * time.Second })
	r.link(t)
	r.pass()
	r.lose()
	if id, err := r.replicas[0].ForUser(user).Purview(t.Context()); err != nil || id != patient {
		t.Errorf("Purview = %s, %v", id, err)
	}
	if n := r.count(); n != 2 {
		t.Errorf("%d refreshes, want the lost one and one more", n)
	}
}

// A refresh token that somebody else presents as well: where that ends the
// session, the link ends with a cause, keeps what it had, and a new authorization
// repairs it. Where it does not, nothing happens.
func TestTokenInOtherHands(t *testing.T) {
	for _, p := range providers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, p.start, 1)
			r.link(t)
			c := r.replicas[0]
			r.pass()
			if _, err := c.Token(t.Context(), user); err != nil {
				t.Fatal(err)
			}
			status := r.present(t)
			if (status == http.StatusOK) != p.again {
				t.Errorf("the server returned %d for a spent token", status)
			}
			r.pass()
			_, err := c.Token(t.Context(), user)
			if !p.kills {
				if err != nil {
					t.Errorf("Token: %v", err)
				}
				return
			}
			var relink *pkb.RelinkError
			if !errors.As(err, &relink) || relink.Cause != observe.CauseGrantRejected {
				t.Errorf("Token: %v, want %s", err, observe.CauseGrantRejected)
			}
			if rec, err := r.store.Load(t.Context(), user); err != nil || len(rec.Sealed) == 0 || rec.PublicID != patient {
				t.Errorf("the record was emptied: %v", err)
			}
			r.link(t)
			if _, err := c.ForUser(user).Purview(t.Context()); err != nil {
				t.Errorf("approved again: %v", err)
			}
		})
	}
}

// A patient who does not allow access.
func TestDenied(t *testing.T) {
	for _, p := range providers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, p.start, 1)
			r.deny.Store(true)
			if err := r.approve(t); !errors.Is(err, pkb.ErrAccessDenied) {
				t.Errorf("Complete: %v, want ErrAccessDenied", err)
			}
			if _, err := r.replicas[0].Link(t.Context(), user); !errors.Is(err, pkb.ErrNotLinked) {
				t.Errorf("Link: %v, want ErrNotLinked", err)
			}
		})
	}
}
