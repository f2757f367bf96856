// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// after answers with a status and a Retry-After.
func after(status int, wait string) pkbtest.Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", wait)
			w.WriteHeader(status)
		})
	}
}

// What passes by itself is waited out, so that a host sees the answer; what
// does not is told at once.
func TestReadsAreRepeated(t *testing.T) {
	cut := pkbtest.Rewrite(func(h http.Header, body []byte) []byte { h.Set("Content-Length", "100000"); return body })
	busy := pkbtest.Respond(503, "", "")
	for name, tc := range map[string]struct {
		faults      []pkbtest.Fault
		retries     int
		requests    int
		least, most time.Duration
		ok          bool
	}{
		"nothing is wrong":               {nil, 0, 1, 0, 0, true},
		"503 once":                       {[]pkbtest.Fault{busy}, 0, 2, 250 * time.Millisecond, 500 * time.Millisecond, true},
		"502, then 504":                  {[]pkbtest.Fault{pkbtest.Respond(502, "", ""), pkbtest.Respond(504, "", "")}, 0, 3, 750 * time.Millisecond, 1500 * time.Millisecond, true},
		"no answer":                      {[]pkbtest.Fault{pkbtest.Drop()}, 0, 2, 250 * time.Millisecond, 500 * time.Millisecond, true},
		"half an answer":                 {[]pkbtest.Fault{cut}, 0, 2, 250 * time.Millisecond, 500 * time.Millisecond, true},
		"busy for longer":                {[]pkbtest.Fault{busy, busy, busy}, 0, 3, 750 * time.Millisecond, 1500 * time.Millisecond, false},
		"busy, and the host waits":       {[]pkbtest.Fault{busy, busy, busy}, 3, 4, 1750 * time.Millisecond, 3500 * time.Millisecond, true},
		"busy, and the host does not":    {[]pkbtest.Fault{busy}, -1, 1, 0, 0, false},
		"429 with a time":                {[]pkbtest.Fault{after(429, "7")}, 0, 2, 7 * time.Second, 7250 * time.Millisecond, true},
		"503 with a time that is no use": {[]pkbtest.Fault{after(503, "31")}, 0, 1, 0, 0, false},
		"a mistake of PKB's":             {[]pkbtest.Fault{pkbtest.Respond(500, "", "")}, 0, 1, 0, 0, false},
		"not permitted":                  {[]pkbtest.Fault{pkbtest.Respond(403, "", "")}, 0, 1, 0, 0, false},
		"a page":                         {[]pkbtest.Fault{pkbtest.Respond(200, "text/html", "<html>")}, 0, 1, 0, 0, false},
	} {
		for endpoint, call := range map[pkbtest.Endpoint]func(context.Context, *pkb.Patient) error{
			pkbtest.Self:    func(ctx context.Context, p *pkb.Patient) error { return second(p.Self(ctx)) },
			pkbtest.Purview: func(ctx context.Context, p *pkb.Patient) error { return second(p.Purview(ctx)) },
		} {
			t.Run(name+" at "+string(endpoint), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, func(_ *pkbtest.Config, c *pkb.Config) { c.Retries = tc.retries })
					r.link(t, user, r.patient)
					before := r.pkb.Count(endpoint)
					r.pkb.Next(endpoint, tc.faults...)
					began := time.Now()
					err := call(t.Context(), r.ForUser(user))
					took := time.Since(began)
					if (err == nil) != tc.ok || took < tc.least || took > tc.most {
						t.Errorf("after %v: %v; want success %t after %v to %v", took, err, tc.ok, tc.least, tc.most)
					}
					if n := r.pkb.Count(endpoint) - before; n != tc.requests {
						t.Errorf("%d requests, want %d", n, tc.requests)
					}
				})
			})
		}
	}
}

// A wait that PKB asked for and nobody has time for comes back with the error,
// for the host to plan by.
func TestRetryAfterIsHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.link(t, user, r.patient)
		r.pkb.Next(pkbtest.Self, after(429, "10"))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		var api *pkb.APIError
		if _, err := r.ForUser(user).Self(ctx); !errors.As(err, &api) || api.RetryAfter != 10*time.Second || time.Since(began) != 0 {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestCancellingEndsTheWaitBetweenTwoTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.link(t, user, r.patient)
		r.pkb.Next(pkbtest.Self, after(503, "20"))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		var api *pkb.APIError
		if _, err := r.ForUser(user).Self(ctx); !errors.Is(err, context.Canceled) || !errors.As(err, &api) || api.Status != 503 || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if n := r.pkb.Count(pkbtest.Self); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

// A cache goes by the address, and that of users/self is the same for every patient.
func TestNoCacheKeepsWhatIsAboutAPatient(t *testing.T) {
	var sent []string
	r := newRig(t)
	r.config.HTTPClient = &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		if req.Header.Get("Authorization") != "" {
			sent = append(sent, req.Method+" "+req.Header.Get("Cache-Control"))
		}
		return r.pkb.Transport().RoundTrip(req)
	})}
	r.Client = r.replica(t)
	r.link(t, user, r.patient)
	if _, err := r.ForUser(user).Self(t.Context()); err != nil {
		t.Fatal(err)
	}
	own, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.pkb.URL()+"/json/users/self", nil)
	if err != nil {
		t.Fatal(err)
	}
	own.Header.Set("Cache-Control", "no-cache") // the host's decision
	resp, err := r.HTTPClient(user).Do(own)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	want := []string{"POST no-store", "GET no-store", "GET no-cache"} // Purview, when the link is made, and two of users/self
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Errorf("requests with a token, and what they have for caches (-want +got):\n%s", diff)
	}
}

// What a host sends itself is the host's to repeat: it may not be a read.
func TestHTTPClientRepeatsNothing(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	r.pkb.Next(pkbtest.Self, pkbtest.Respond(503, "", ""))
	resp, err := r.HTTPClient(user).Get(r.pkb.URL() + "/json/users/self")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n := r.pkb.Count(pkbtest.Self); resp.StatusCode != 503 || n != 1 {
		t.Errorf("status %d after %d requests", resp.StatusCode, n)
	}
}
