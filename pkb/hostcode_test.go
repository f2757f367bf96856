// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/google/go-cmp/cmp"
)

// The time-out of the host's client, as most have one, is for its own requests: a
// refresh takes as long as it takes.
func TestHostTimeoutCutsNoRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, askOnce)
		r.config.HTTPClient = &http.Client{Transport: r.pkb.Transport(), Timeout: 5 * time.Second}
		r.Client = r.replica(t)
		r.link(t, user, r.patient)
		r.pkb.Advance(time.Hour)
		r.pkb.Next(pkbtest.Token, pkbtest.Delay(30*time.Second))
		began := time.Now()
		token(t.Context(), t, r.Client, user)
		if took := time.Since(began).Round(time.Second); took != 30*time.Second {
			t.Errorf("the refresh took %v", took)
		}
		r.pkb.Next(pkbtest.Self, pkbtest.Delay(6*time.Second))
		if _, err := r.ForUser(user).Self(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call longer than the host's time-out: %v", err)
		}
		if n := r.pkb.ReusedRefreshTokens(); n != 0 {
			t.Errorf("%d refresh tokens came twice", n)
		}
	})
}

// A transport's patience with the beginning of a response is not for refreshes
// either. That so much time has passed is shown by another request on the same
// transport, which runs into it.
func TestHostHeaderTimeoutCutsNoRefresh(t *testing.T) {
	fake := pkbtest.New(pkbtest.Config{ClientID: clientID, RedirectURIs: []string{redirectURL}})
	posted, let, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var hold atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch {
		case q.URL.Path == "/silent":
			<-over
		case hold.Load() && strings.HasSuffix(q.URL.Path, "/apiToken.action"):
			close(posted)
			<-let
		}
		fake.ServeHTTP(w, q)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(over) })
	host := &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: 20 * time.Millisecond}}
	c, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(server.URL), ClientID: clientID, RedirectURL: redirectURL,
		Store: tokenstore.NewMemory(), HTTPClient: host, Now: fake.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	address, pending, err := c.Authorize(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	back, err := fake.Approve(t.Context(), address, fake.AddPatient(pkbtest.Patient{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Complete(t.Context(), user, pending, back.Query()); err != nil {
		t.Fatal(err)
	}
	fake.Advance(time.Hour)
	hold.Store(true)
	done := make(chan error)
	go func() { _, err := c.Token(t.Context(), user); done <- err }()
	<-posted
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/silent", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := host.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Fatal("the transport waited for a silent server")
	}
	close(let)
	if err := <-done; err != nil {
		t.Errorf("the refresh: %v", err)
	}
	if host.Transport.(*http.Transport).ResponseHeaderTimeout != 20*time.Millisecond {
		t.Error("the host's transport was changed")
	}
}

// PKB takes 25 seconds for a while: no link is lost by that, and whoever waits
// waits no longer than their own context.
func TestSlowPKBCostsNoLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.link(t, user, r.patient)
		for range 3 {
			r.pkb.Advance(time.Hour)
			r.pkb.Next(pkbtest.Token, pkbtest.Delay(25*time.Second))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			if _, err := r.Token(ctx, user); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
			cancel()
			token(t.Context(), t, r.Client, user)
			if took := time.Since(began).Round(time.Second); took != 25*time.Second {
				t.Errorf("the token came after %v", took)
			}
		}
		if n := r.pkb.Refreshes(); n != 3 {
			t.Errorf("%d refreshes, want 3", n)
		}
	})
}

// A hook of the host's that panics, or ends its goroutine, costs what it was asked
// about: the process lives, nobody waits for ever, and what it panicked with is
// printed nowhere.
func TestHookThatPanics(t *testing.T) {
	for name, fall := range map[string]func(){
		"panic":  func() { panic("canary") },
		"Goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				falls := true
				r := newRig(t, func(_ *pkbtest.Config, c *pkb.Config) {
					c.Logger = slog.New(slog.NewTextHandler(&log, nil))
					c.Identify = func(context.Context, pkb.Candidate) error {
						if falls {
							fall()
						}
						return nil
					}
					c.OnEvent = func(observe.Event) { fall() }
				})
				pending, query := r.approve(t, user, r.patient)
				link, err := r.Complete(t.Context(), user, pending, query)
				if err != nil || !link.Unchecked || link.Verified {
					t.Errorf("Complete = %+v, %v, want a link that is not checked", link, err)
				}
				if _, err := r.Token(t.Context(), user); !errors.Is(err, pkb.ErrTryLater) {
					t.Errorf("Token: %v, want ErrTryLater", err)
				}
				falls = false
				r.pkb.Advance(5 * time.Second)
				if _, err := r.ForUser(user).Self(t.Context()); err != nil {
					t.Errorf("once it can be asked: %v", err)
				}
				synctest.Wait()
				if strings.Contains(log.String(), "canary") {
					t.Errorf("the log repeats what it panicked with:\n%s", log.String())
				}
				if !strings.Contains(log.String(), "OnEvent") {
					t.Errorf("nothing in the log of an OnEvent that panics:\n%s", log.String())
				}
			})
		})
	}
}

// A clock of the host's that panics is not asked: the machine's is.
func TestClockThatPanics(t *testing.T) {
	falls := false
	r := newRig(t)
	clock := r.config.Now
	r.config.Now = func() time.Time {
		if falls {
			panic("canary")
		}
		return clock()
	}
	r.Client = r.replica(t)
	r.link(t, user, r.patient)
	falls = true
	if _, err := r.ForUser(user).Self(t.Context()); err != nil {
		t.Error(err)
	}
}

// An AEAD that panics is a key that cannot be used.
type falling struct{ remote }

func (f *falling) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	if _, err := f.remote.Encrypt(plaintext, associatedData); err != nil {
		panic("canary")
	}
	return f.remote.Encrypt(plaintext, associatedData)
}

func (f *falling) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	if _, err := f.remote.Decrypt(ciphertext, associatedData); err != nil {
		panic("canary")
	}
	return f.remote.Decrypt(ciphertext, associatedData)
}

func TestKeyThatPanics(t *testing.T) {
	kms, ring := &falling{}, &keys.Keyring{}
	if err := ring.AddAEAD("kms", kms); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, withConfig(func(c *pkb.Config) { c.Keys = ring }))
	r.link(t, user, r.patient)
	kms.set(true)
	c := r.replica(t)
	for name, err := range map[string]error{
		"Token": second(c.Token(t.Context(), user)), "Health": c.Health(t.Context()).Err,
	} {
		if !errors.Is(err, pkb.ErrKeys) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want ErrKeys", name, err)
		}
	}
	kms.set(false)
	token(t.Context(), t, c, user)
}

// Nobody waits beyond their context, also where the end of a session is to be
// written down and the store takes no writes.
func TestCallerLeavesWhileTheStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &moody{Memory: tokenstore.NewMemory()}
		r := newRig(t, askOnce, withConfig(func(c *pkb.Config) { c.Store = store }))
		r.link(t, user, r.patient)
		token(t.Context(), t, r.Client, user)
		for name, call := range map[string]func(context.Context) error{
			"a call whose session has ended": func(ctx context.Context) error {
				r.pkb.Next(pkbtest.Self, pkbtest.Refuse("API_SESSION_EXPIRED"))
				return second(r.ForUser(user).Self(ctx))
			},
			"Unlink":  func(ctx context.Context) error { return r.Unlink(ctx, user) },
			"Discard": func(ctx context.Context) error { return r.Discard(ctx, user) },
			"Token":   func(ctx context.Context) error { r.pkb.Advance(sold); return second(r.Token(ctx, user)) },
		} {
			store.set(nil, errDown)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			err := call(ctx)
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s with a deadline of 1s came back after %v: %v", name, took, err)
			}
			if err == nil {
				t.Errorf("%s succeeded, and the store takes no writes", name)
			}
			cancel()
			store.set(nil, nil)
			time.Sleep(2 * time.Minute) // of the bubble: what goes on ends
		}
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// deaf is a store that answers no Load while it is told so, whatever its context
// says.
type deaf struct {
	*tokenstore.Memory
	let atomic.Pointer[chan struct{}]
}

func (d *deaf) Load(ctx context.Context, id string) (tokenstore.Record, error) {
	if let := d.let.Load(); let != nil {
		<-*let
	}
	return d.Memory.Load(ctx, id)
}

// Calls of the host's code that hang are counted while they do, and so many of
// them stop what would hang as well.
func TestHealthCountsWhatIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &deaf{Memory: tokenstore.NewMemory()}
		r := newRig(t, withConfig(func(c *pkb.Config) { c.Store = store }))
		r.link(t, user, r.patient)
		let := make(chan struct{})
		store.let.Store(&let)
		began := time.Now()
		if _, err := r.replica(t).Link(t.Context(), user); !errors.Is(err, pkb.ErrStore) || time.Since(began) > time.Minute {
			t.Errorf("after %v: %v, want ErrStore", time.Since(began), err)
		}
		c := r.replica(t)
		for range 70 {
			go func() { _, _ = c.Link(t.Context(), user) }()
		}
		time.Sleep(time.Minute)
		if h := c.Health(t.Context()); h.Abandoned < 64 || !errors.Is(h.Err, pkb.ErrStore) {
			t.Errorf("Abandoned = %d, %v", h.Abandoned, h.Err)
		}
		began = time.Now()
		if _, err := c.Token(t.Context(), user); !errors.Is(err, pkb.ErrStore) || time.Since(began) != 0 {
			t.Errorf("a call, after %v: %v, want ErrStore at once", time.Since(began), err)
		}
		store.let.Store(nil)
		close(let)
		synctest.Wait()
		if h := c.Health(t.Context()); h.Abandoned != 0 || h.Err != nil {
			t.Errorf("when they have returned: %d, %v", h.Abandoned, h.Err)
		}
		token(t.Context(), t, c, user)
	})
}

// The same for the host's transport, whose requests the token endpoint waits for
// by itself.
func TestHealthCountsDeafTransports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.link(t, user, r.patient)
		r.pkb.Advance(sold)
		let := make(chan struct{})
		r.config.TokenTimeout = time.Second
		r.config.HTTPClient = &http.Client{Transport: roundTrip(func(q *http.Request) (*http.Response, error) {
			<-let
			return r.pkb.Transport().RoundTrip(q)
		})}
		c := r.replica(t)
		if _, err := c.Token(t.Context(), user); err == nil {
			t.Fatal("a token of a transport that does not return")
		}
		if h := c.Health(t.Context()); h.Abandoned == 0 {
			t.Error("a request that hangs is not counted")
		}
		close(let)
		synctest.Wait()
		if h := c.Health(t.Context()); h.Abandoned != 0 {
			t.Errorf("%d are counted when they have returned", h.Abandoned)
		}
		_ = c.Close(t.Context())
	})
}

func TestHealthNamesTheKeys(t *testing.T) {
	r := keyed(t)
	for _, first := range []string{"old", "new"} {
		if err := r.config.Keys.Promote(first); err != nil {
			t.Fatal(err)
		}
		other := map[string]string{"old": "new", "new": "old"}[first]
		if diff := cmp.Diff([]string{first, other}, r.Health(t.Context()).KeyIDs); diff != "" {
			t.Errorf("the one that seals comes first (-want +got):\n%s", diff)
		}
	}
	if got := newRig(t).Health(t.Context()).KeyIDs; len(got) != 0 {
		t.Errorf("without a keyring: %q", got)
	}
}

// Nothing was sent at the code exchange: that is for operators to see to, and the
// same callback, loaded again, makes the link.
func TestCodeThatWasNotSent(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired) // to CONNECT
	}))
	t.Cleanup(proxy.Close)
	refused := httptest.NewServer(nil)
	refused.Close()
	for name, transport := range map[string]http.RoundTripper{
		"no such host": roundTrip(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
		}),
		"a proxy that refuses": &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }},
		"nobody listens": &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(refused.URL, "http://"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			pending, query := r.approve(t, user, r.patient)
			cut := r.config
			cut.HTTPClient = &http.Client{Transport: transport}
			cut.Environment.TokenURL = strings.Replace(cut.Environment.TokenURL, "http:", "https:", 1)
			offline, err := pkb.New(cut)
			if err != nil {
				t.Fatal(err)
			}
			_, err = offline.Complete(t.Context(), user, pending, query)
			if e, ok := errors.AsType[*pkb.APIError](err); !ok || e.Status != 0 {
				t.Fatalf("Complete: %v", err)
			}
			if a := advice.For(err); a.Turn != advice.TurnHost || a.Code != "exchange_not_sent" || !strings.Contains(a.Patient, "load this page again") {
				t.Errorf("it is %q's turn, and the patient is told %q: %v", a.Turn, a.Patient, err)
			}
			if _, err := offline.Complete(t.Context(), user, pending, query); !errors.As(err, new(*pkb.APIError)) {
				t.Errorf("again, while nothing can be sent: %v", err)
			}
			if _, err := r.Complete(t.Context(), user, pending, query); err != nil {
				t.Errorf("again, when PKB can be reached: %v", err)
			}
		})
	}
}

// A store of the three methods works, and New says what is lost by it.
func TestStoreOfThreeMethods(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t, withConfig(func(c *pkb.Config) {
		c.Store = threeMethods{tokenstore.NewMemory()}
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	}))
	said := log.String()
	for _, of := range [][]string{{"tokenstore.Finder", "ErrSharedRecord"}, {"tokenstore.Lister", "*ConfigError"}, {"tokenstore.Scheduler", "Tend"}} {
		if strings.Count(said, of[0]) != 1 || !strings.Contains(said, of[1]) {
			t.Errorf("New does not say once what is lost without %s, of a store that has three methods:\n%s", of[0], said)
		}
	}
	for _, u := range []string{user, "user-2"} {
		if link := r.link(t, u, r.patient); !link.Verified {
			t.Errorf("%s: %+v", u, link)
		}
	}
	log.Reset()
	whole := r.config
	whole.Store = tokenstore.NewMemory()
	if _, err := pkb.New(whole); err != nil || log.Len() > 0 {
		t.Errorf("of a store that can do everything: %v\n%s", err, log.String())
	}
}

// Close lets the host hear what has happened.
func TestCloseDeliversEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard atomic.Int32
		r := newRig(t, withConfig(func(c *pkb.Config) {
			c.OnEvent = func(observe.Event) {
				time.Sleep(100 * time.Millisecond) // of the bubble
				heard.Add(1)
			}
		}))
		r.link(t, user, r.patient)
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := heard.Load(); n != 3 {
			t.Errorf("%d events heard when Close returns, want 3", n)
		}
	})
}
