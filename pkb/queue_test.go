// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// However many ask, PKB sees so many requests for one patient at once, and no
// patient waits for another.
func TestSoManyCallsPerPatientAtOnce(t *testing.T) {
	for most, want := range map[int]int32{0: 4, 1: 1, 7: 7} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(_ *pkbtest.Config, c *pkb.Config) { c.MaxCallsPerPatient = most })
			r.link(t, user, r.patient)
			r.link(t, "user-2", r.pkb.AddPatient(pkbtest.Patient{}))
			var now, peak atomic.Int32
			slow := func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					for n := now.Add(1); ; {
						p := peak.Load()
						if n <= p || peak.CompareAndSwap(p, n) {
							break
						}
					}
					pkbtest.Delay(time.Second)(next).ServeHTTP(w, q)
					now.Add(-1)
				})
			}
			for range 14 {
				r.pkb.Next(pkbtest.Self, slow)
			}
			began := time.Now()
			var wg sync.WaitGroup
			for range 14 {
				wg.Go(func() {
					if _, err := r.ForUser(user).Self(t.Context()); err != nil {
						t.Errorf("Self: %v", err)
					}
				})
			}
			synctest.Wait()
			if _, err := r.ForUser("user-2").Purview(t.Context()); err != nil || time.Since(began) != 0 {
				t.Errorf("another patient's call took %v: %v", time.Since(began), err)
			}
			wg.Wait()
			if peak.Load() != want {
				t.Errorf("%d at once, want %d", peak.Load(), want)
			}
			if took, all := time.Since(began), time.Duration((14+want-1)/want)*time.Second; took != all {
				t.Errorf("14 calls took %v, want %v: places stay empty", took, all)
			}
		})
	}
}

func TestWaitingForATurnEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(_ *pkbtest.Config, c *pkb.Config) { c.MaxCallsPerPatient = 1 })
		r.link(t, user, r.patient)
		r.pkb.Next(pkbtest.Self, pkbtest.Delay(10*time.Second))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := r.ForUser(user).Self(t.Context()); err != nil {
				t.Errorf("the first: %v", err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := r.ForUser(user).Self(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second || !strings.Contains(err.Error(), "MaxCallsPerPatient") {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		wg.Wait()
		if n := r.pkb.Count(pkbtest.Self); n != 1 {
			t.Errorf("%d requests: the one that gave up was sent", n)
		}
		if _, err := r.ForUser(user).Self(t.Context()); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// A turn lasts until the answer has been read or closed, and not longer,
// however the request ends.
func TestTurnsAreGivenBack(t *testing.T) {
	r := newRig(t, askOnce, func(_ *pkbtest.Config, c *pkb.Config) { c.MaxCallsPerPatient = 1 })
	r.link(t, user, r.patient)
	hc := r.HTTPClient(user)
	for name, f := range map[string]func(){
		"read to the end": func() {
			resp, err := hc.Get(r.pkb.URL() + "/json/users/self")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body) // and never closed
		},
		"closed unread": func() {
			resp, err := hc.Get(r.pkb.URL() + "/json/users/self")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = resp.Body.Close(), resp.Body.Close()
		},
		"no body": func() {
			resp, err := hc.Head(r.pkb.URL() + "/json/users/self")
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		},
		"no answer": func() { r.pkb.Next(pkbtest.Self, pkbtest.Drop()); _, _ = r.ForUser(user).Self(t.Context()) },
		"error answer": func() {
			r.pkb.Next(pkbtest.Self, pkbtest.Respond(503, "", "x"))
			_, _ = r.ForUser(user).Self(t.Context())
		},
		"refused": func() {
			r.pkb.Next(pkbtest.Self, pkbtest.Respond(401, "", "x"))
			_, _ = r.ForUser(user).Self(t.Context())
		},
		"nobody's link": func() { _, _ = r.ForUser("nobody").Self(t.Context()) },
		"nobody at all": func() { _, _ = r.ForUser("").Self(t.Context()) },
		"cancelled":     func() { ctx, cancel := context.WithCancel(t.Context()); cancel(); _, _ = r.ForUser(user).Self(ctx) },
		"an elsewhere":  func() { _, _ = hc.Get("https://elsewhere.invalid/") },
	} {
		f()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := r.ForUser(user).Self(ctx); err != nil {
			t.Errorf("%s: the next call: %v", name, err)
		}
		cancel()
	}

	config := r.config
	broken := true
	config.HTTPClient = &http.Client{Transport: roundTrip(func(q *http.Request) (*http.Response, error) {
		if broken {
			panic("in the host's transport")
		}
		return r.pkb.Transport().RoundTrip(q)
	})}
	c, err := pkb.New(config)
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = c.ForUser(user).Self(t.Context())
		t.Error("the transport did not panic")
	}()
	broken = false
	inTime, cancelled := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancelled()
	if _, err := c.ForUser(user).Self(inTime); err != nil {
		t.Errorf("after a panic: %v", err)
	}

	resp, err := hc.Get(r.pkb.URL() + "/json/users/self")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := r.ForUser(user).Self(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while an answer is open: %v, want the call to wait for its turn", err)
	}
	_ = resp.Body.Close()
}
