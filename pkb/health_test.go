// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// S59: readiness is about this process, its store and its keys; each error says
// whose turn it is.
func TestHealth(t *testing.T) {
	for name, tc := range map[string]struct {
		trouble func(t *testing.T, r *rig, kms *remote)
		errs    []error // in Health.Err
		says    []string
		held    bool
	}{
		"well":  {trouble: func(*testing.T, *rig, *remote) {}},
		"store": {trouble: func(_ *testing.T, r *rig, _ *remote) { r.config.Store.(*moody).set(errDown, nil) }, errs: []error{pkb.ErrStore, errDown}, says: []string{"failed to load"}},
		"keys":  {trouble: func(_ *testing.T, _ *rig, kms *remote) { kms.set(true) }, errs: []error{pkb.ErrKeys}, says: []string{`the key "kms" cannot be used just now`}},
		"both": {trouble: func(_ *testing.T, r *rig, kms *remote) {
			kms.set(true)
			r.config.Store.(*moody).set(errDown, nil)
		}, errs: []error{pkb.ErrKeys, pkb.ErrStore}, says: []string{"the token store failed", "the key"}},
		"closed": {trouble: func(t *testing.T, r *rig, _ *remote) {
			if err := r.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, errs: []error{pkb.ErrClosed}},
		"PKB is down": {trouble: func(t *testing.T, r *rig, _ *remote) {
			// Three different links: one that has trouble of its own holds nobody back.
			for i := range 3 {
				r.link(t, fmt.Sprintf("other-%d", i), r.pkb.AddPatient(pkbtest.Patient{}))
			}
			r.pkb.Advance(11 * time.Minute)
			for i := range 3 {
				r.pkb.Next(pkbtest.Token, pkbtest.Respond(503, "", ""), pkbtest.Respond(503, "", ""))
				_, _ = r.Token(t.Context(), fmt.Sprintf("other-%d", i))
			}
		}, held: true},
		"PKB fails for one link": {trouble: func(t *testing.T, r *rig, _ *remote) {
			r.pkb.Advance(11 * time.Minute)
			for range 3 {
				r.pkb.Next(pkbtest.Token, pkbtest.Respond(503, "", ""))
				_, _ = r.Token(t.Context(), user)
				r.pkb.Advance(time.Minute)
			}
		}},
		"PKB refuses the application": {trouble: func(t *testing.T, r *rig, _ *remote) {
			r.pkb.Next(pkbtest.Token, pkbtest.Respond(401, "application/json", `{"error":"invalid_client"}`))
			r.pkb.Advance(11 * time.Minute)
			_, _ = r.Token(t.Context(), user)
		}, held: true},
		"refresh tokens are refused one after the other": {trouble: func(t *testing.T, r *rig, _ *remote) {
			for i := range 5 {
				r.link(t, fmt.Sprintf("other-%d", i), r.pkb.AddPatient(pkbtest.Patient{}))
			}
			r.pkb.Advance(11 * time.Minute)
			for i := range 5 {
				r.pkb.Next(pkbtest.Token, pkbtest.Respond(400, "application/json", `{"error":"invalid_grant"}`))
				_, _ = r.Token(t.Context(), fmt.Sprintf("other-%d", i))
			}
		}, held: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kms, keys := &remote{}, &keys.Keyring{}
				if err := keys.AddAEAD("kms", kms); err != nil {
					t.Fatal(err)
				}
				r := newRig(t, func(_ *pkbtest.Config, c *pkb.Config) {
					c.Keys, c.Store = keys, &moody{Memory: c.Store.(*tokenstore.Memory)}
				})
				r.link(t, user, r.patient)
				tc.trouble(t, r, kms)
				asked := len(r.pkb.Requests())
				h := r.Health(t.Context())
				if (h.Err != nil) != (len(tc.errs) > 0) {
					t.Fatalf("Err = %v", h.Err)
				}
				for _, want := range tc.errs {
					if !errors.Is(h.Err, want) {
						t.Errorf("Err = %v, want %v in it", h.Err, want)
					}
				}
				for _, says := range tc.says {
					if !strings.Contains(h.Err.Error(), says) {
						t.Errorf("Err = %v, want it to say %q", h.Err, says)
					}
				}
				if (h.HeldBack != nil) != tc.held || tc.held && !errors.Is(h.HeldBack, pkb.ErrTryLater) {
					t.Errorf("HeldBack = %v", h.HeldBack)
				}
				if s := fmt.Sprintf("%v %+v %#v", h, h, h.Err); strings.Contains(s, "canary") {
					t.Errorf("it prints what the store said: %s", s)
				}
				if n := len(r.pkb.Requests()); n != asked {
					t.Error("PKB was asked: its outage would take the application out of rotation")
				}
				if _, err := r.store.Load(t.Context(), "pkb-go/health"); !errors.Is(err, tokenstore.ErrNotFound) {
					t.Errorf("something was written for the health check: %v", err)
				}
			})
		})
	}
}

// What is held back is let go by the next refresh that succeeds.
func TestHealthRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.link(t, user, r.patient)
		r.pkb.Advance(11 * time.Minute)
		r.pkb.Next(pkbtest.Token, pkbtest.Respond(429, "", ""))
		_, _ = r.Token(t.Context(), user)
		if h := r.Health(t.Context()); h.HeldBack == nil || h.Err != nil {
			t.Errorf("after 429: %+v", h)
		}
		r.pkb.Advance(time.Minute)
		token(t.Context(), t, r.Client, user)
		synctest.Wait() // a caller gets its token a moment before the refresh has ended
		if h := r.Health(t.Context()); h.Err != nil || h.HeldBack != nil || h.Unsaved+h.Abandoned+h.Busy != 0 {
			t.Errorf("afterwards: %+v", h)
		}
	})
}

// While a store refuses an answer, the process that has it says so.
func TestHealthCountsWhatIsUnsaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(_ *pkbtest.Config, c *pkb.Config) { c.Store = &moody{Memory: c.Store.(*tokenstore.Memory)} })
		r.link(t, user, r.patient)
		r.pkb.Advance(11 * time.Minute)
		r.pkb.Next(pkbtest.Token, breaking(r.config.Store.(*moody), 30*time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, _ = r.Token(ctx, user)
		if h := r.Health(t.Context()); h.Unsaved != 1 || h.Busy != 1 || !errors.Is(h.Err, pkb.ErrStore) {
			t.Errorf("while the store is down: %+v, want one unsaved and ErrStore", h)
		}
		time.Sleep(time.Minute)
		if h := r.Health(t.Context()); h.Err != nil || h.HeldBack != nil || h.Unsaved+h.Abandoned+h.Busy != 0 {
			t.Errorf("afterwards: %+v", h)
		}
	})
}

// stuck is a key management service that does not answer.
type stuck struct {
	remote
	asked atomic.Int32
	let   chan struct{}
}

func (s *stuck) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	s.asked.Add(1)
	<-s.let
	return s.remote.Encrypt(plaintext, associatedData)
}

// A key that hangs costs a probe five seconds, or what its context allows, and
// however many probes come, one call.
func TestHealthDoesNotWaitForAKeyThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kms, keys := &stuck{let: make(chan struct{})}, &keys.Keyring{}
		if err := keys.AddAEAD("kms", kms); err != nil {
			t.Fatal(err)
		}
		r := newRig(t, func(_ *pkbtest.Config, c *pkb.Config) { c.Keys = keys })
		for _, patience := range []time.Duration{time.Hour, time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			began := time.Now()
			h := r.Health(ctx)
			cancel()
			if !errors.Is(h.Err, pkb.ErrKeys) || time.Since(began) != min(patience, 5*time.Second) {
				t.Errorf("after %v: %v", time.Since(began), h.Err)
			}
		}
		if n := kms.asked.Load(); n != 1 {
			t.Errorf("asked %d times, while the first call hangs", n)
		}
		close(kms.let)
		synctest.Wait()
		if h := r.Health(t.Context()); h.Err != nil {
			t.Errorf("afterwards: %v", h.Err)
		}
	})
}

// S28: Close waits for what is under way; given too little time it says how much
// that is, and goes on waiting when it is called again.
func TestCloseSaysWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.link(t, "refreshing", r.patient)
		r.pkb.Advance(11 * time.Minute)
		pending, query := r.approve(t, "approving", r.pkb.AddPatient(pkbtest.Patient{}))
		r.pkb.Next(pkbtest.Token, pkbtest.Delay(10*time.Second), pkbtest.Delay(10*time.Second))
		done := make(chan error, 2)
		go func() { _, err := r.Token(t.Context(), "refreshing"); done <- err }()
		go func() { _, err := r.Complete(t.Context(), "approving", pending, query); done <- err }()
		synctest.Wait()
		if h := r.Health(t.Context()); h.Busy != 2 {
			t.Errorf("Busy = %d, want 2", h.Busy)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := r.Close(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second ||
			!strings.Contains(err.Error(), "2 authorizations or refreshes") {
			t.Errorf("Close after %v: %v", time.Since(began), err)
		}
		if err := r.Close(t.Context()); err != nil {
			t.Errorf("Close again: %v", err)
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("what was under way: %v", err)
			}
		}
		other := r.replica(t)
		for _, user := range []string{"refreshing", "approving"} {
			if _, err := other.ForUser(user).Self(t.Context()); err != nil {
				t.Errorf("%s: %v: what was under way was not saved", user, err)
			}
		}
		if n := r.pkb.Refreshes(); n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
	})
}

// After Close no call does anything, whatever is in memory.
func TestClosedClientSaysSo(t *testing.T) {
	r := keyed(t)
	r.link(t, user, r.patient)
	token(t.Context(), t, r.Client, user)
	pending, query := r.approve(t, "user-2", r.pkb.AddPatient(pkbtest.Patient{}))
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	asked := len(r.pkb.Requests())
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"Authorize":   func() error { _, _, err := r.Authorize(ctx, user); return err },
		"Complete":    func() error { _, err := r.Complete(ctx, "user-2", pending, query); return err },
		"Token":       func() error { _, err := r.Token(ctx, user); return err },
		"TokenSource": func() error { _, err := r.TokenSource(user).Token(); return err },
		"HTTPClient": func() error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.config.Environment.RESTURL+"/users/self", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := r.HTTPClient(user).Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			return err
		},
		"Self":     func() error { _, err := r.ForUser(user).Self(ctx); return err },
		"PublicID": func() error { _, err := r.ForUser(user).PublicID(ctx); return err },
		"Purview":  func() error { _, err := r.ForUser(user).Purview(ctx); return err },
		"Link":     func() error { _, err := r.Link(ctx, user); return err },
		"Timeline": func() error { _, err := r.Timeline(ctx, user); return err },
		"Links": func() error {
			for _, err := range r.Links(ctx) {
				return err
			}
			return nil
		},
		"Unlink":    func() error { return r.Unlink(ctx, user) },
		"Reseal":    func() error { _, err := reseal(ctx, r.Client); return err },
		"RetireKey": func() error { return r.RetireKey(ctx, "new") },
		"Purge":     func() error { _, err := r.Purge(ctx); return err },
		"Health":    func() error { return r.Health(ctx).Err },
	} {
		if err := call(); !errors.Is(err, pkb.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", name, err)
		}
	}
	if n := len(r.pkb.Requests()); n != asked {
		t.Errorf("%d requests after Close", n-asked)
	}
	if _, err := r.store.Load(ctx, "user-2"); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("something was written after Close: %v", err)
	}
	// An approval that came too late is not used up: another replica completes it.
	if _, err := r.replica(t).Complete(ctx, "user-2", pending, query); err != nil {
		t.Errorf("the approval, at another replica: %v", err)
	}
}

// closing is a store whose client is closed at the next save.
type closing struct {
	*tokenstore.Memory
	client *pkb.Client
}

func (c *closing) Save(ctx context.Context, rec tokenstore.Record) (tokenstore.Record, error) {
	if c.client != nil {
		over, cancel := context.WithCancel(ctx)
		cancel() // Close waits for this very save
		_ = c.client.Close(over)
		c.client = nil
	}
	return c.Memory.Save(ctx, rec)
}

// Close comes after an approval was reserved and before its code was sent: the
// reservation is given back.
func TestCloseGivesAnApprovalBack(t *testing.T) {
	store := &closing{}
	r := newRig(t, func(_ *pkbtest.Config, c *pkb.Config) {
		store.Memory = c.Store.(*tokenstore.Memory)
		c.Store = store
	})
	pending, query := r.approve(t, user, r.patient)
	store.client = r.Client
	if _, err := r.Complete(t.Context(), user, pending, query); !errors.Is(err, pkb.ErrClosed) {
		t.Fatalf("Complete: %v, want ErrClosed", err)
	}
	if n := r.pkb.Exchanges(); n != 0 {
		t.Errorf("%d codes were sent after Close", n)
	}
	if _, err := r.replica(t).Complete(t.Context(), user, pending, query); err != nil {
		t.Errorf("at another replica: %v", err)
	}
}

// The readiness probe of a host. Its liveness probe answers 200 and asks nobody.
func ExampleClient_Health() {
	_, _, client := demo()
	ready := func(w http.ResponseWriter, r *http.Request) {
		h := client.Health(r.Context())
		if h.Err != nil {
			http.Error(w, h.Err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
		if h.HeldBack != nil || h.Unsaved > 0 {
			fmt.Fprintln(w, "but see to:", h.HeldBack, h.Unsaved)
		}
	}

	for range 2 {
		answer := httptest.NewRecorder()
		ready(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		fmt.Print(answer.Code, " ", answer.Body)
		_ = client.Close(context.Background())
	}
	// Output:
	// 200 ready
	// 503 pkb: the client is closed
}
