// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"

	"github.com/betawerk/pkb-go/internal/wording"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbsystem"

	gotoken "go/token"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
	"github.com/google/go-cmp/cmp"
)

// failing is a store whose Save fails after so many have passed.
type failing struct {
	tokenstore.Store
	passes atomic.Int64
}

func newFailing(passes int64) *failing {
	f := &failing{Store: tokenstore.NewMemory()}
	f.passes.Store(passes)
	return f
}

var errFull = fmt.Errorf("of a test: %w", sqlstore.ErrFull)

func (f *failing) Volatile() bool { return true }

func (f *failing) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	if f.passes.Add(-1) < 0 {
		return tokenstore.Record{}, errFull
	}
	return f.Store.Save(ctx, r)
}

// threeMethods is a store that can do nothing besides.
type threeMethods struct{ tokenstore.Store }

func (threeMethods) Volatile() bool { return true }

// absent is a key management service that does not answer.
type absent struct{}

var errAbsent = errors.New("of a test: no answer")

func (absent) Encrypt(_, _ []byte) ([]byte, error) { return nil, errAbsent }
func (absent) Decrypt(_, _ []byte) ([]byte, error) { return nil, errAbsent }

// keys returns a keyring with one new key.
func keyring(t *testing.T, id string) *keys.Keyring {
	t.Helper()
	text, err := keys.Generate(id)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// withConfig is for newRig: it changes the client's Config only.
func withConfig(f func(*pkb.Config)) func(*pkbtest.Config, *pkb.Config) {
	return func(_ *pkbtest.Config, c *pkb.Config) { f(c) }
}

// sold is how long after an approval its first access token is over.
const sold = 11 * time.Minute

// refreshMeets links a user, lets the token grow old, and refreshes it into a
// fault.
func refreshMeets(t *testing.T, faults ...pkbtest.Fault) error {
	r := newRig(t)
	r.link(t, user, r.patient)
	r.pkb.Advance(sold)
	r.pkb.Next(pkbtest.Token, faults...)
	return second(r.Token(t.Context(), user))
}

// callMeets links a user and calls Self into a fault.
func callMeets(t *testing.T, faults ...pkbtest.Fault) error {
	r := newRig(t, withConfig(func(c *pkb.Config) { c.Retries = -1 }))
	r.link(t, user, r.patient)
	r.pkb.Next(pkbtest.Self, faults...)
	return second(r.ForUser(user).Self(t.Context()))
}

// callbackMeets starts an approval and completes it after a change.
func callbackMeets(t *testing.T, change func(r *rig, pending *pkb.Pending, query map[string][]string)) error {
	r := newRig(t)
	pending, query := r.approve(t, user, r.patient)
	change(r, &pending, query)
	return second(r.Complete(t.Context(), user, pending, query))
}

// visitMeets visits one of the two routes, and returns what the host's page gets.
func visitMeets(t *testing.T, visit *http.Request, opts ...pkb.AuthorizeOption) (err error) {
	web := newRig(t).Web(pkb.WebConfig{
		User:   func(*http.Request) string { return user },
		Failed: func(_ http.ResponseWriter, _ *http.Request, f pkb.Failure) { err = f.Err },
	})
	mux := http.NewServeMux()
	mux.Handle("/pkb/switch", web.Link(opts...))
	mux.Handle("/pkb/callback", web.Callback())
	mux.ServeHTTP(httptest.NewRecorder(), visit)
	return err
}

// system returns a system client for an organisation of the rig's PKB.
func (r *rig) system(t *testing.T, o pkbtest.Organisation) *pkbsystem.Client {
	t.Helper()
	c, err := pkbsystem.New(pkbsystem.Config{
		Environment: r.config.Environment, TokenURL: r.pkb.URL() + "/api/oauth/token", Organisation: r.pkb.AddOrganisation(o).PublicID,
		ClientID: "test-system-client", ClientSecret: pkb.NewSecret("test-system-secret"), HTTPClient: r.config.HTTPClient, Now: r.pkb.Now,
		TeamAliasURL: "http://fhir.patientsknowbest.com/structuredefinition/team-alias",
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// self links the rig's patient and returns who that is.
func (r *rig) self(t *testing.T) identity.Self {
	t.Helper()
	r.link(t, user, r.patient)
	self, err := r.ForUser(user).Self(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// findMeets looks for the rig's patient as a system client, into faults.
func (r *rig) findMeets(t *testing.T, o pkbtest.Organisation, faults ...pkbtest.Fault) error {
	number, _ := r.self(t).NHSNumber()
	r.pkb.Next(pkbtest.Facade, faults...)
	return second(r.system(t, o).FindByNHSNumber(t.Context(), number))
}

// met provokes each error as a host's test can: by row, with what the row names.
var met = map[string]func(*testing.T) error{
	"`ErrTryLater` as `*TryLaterError`: PKB refuses the application": func(t *testing.T) error {
		return refreshMeets(t, pkbtest.Respond(401, "application/json", `{"error":"invalid_client"}`))
	},
	"`ErrTryLater` as `*TryLaterError`: the store was set back": func(t *testing.T) error {
		r := newRig(t)
		r.link(t, user, r.patient)
		copied, err := r.store.Load(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		r.pkb.Advance(sold)
		token(t.Context(), t, r.Client, user)
		now, err := r.store.Load(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		copied.Version = now.Version
		if _, err := r.store.Save(t.Context(), copied); err != nil {
			t.Fatal(err)
		}
		r.pkb.Advance(sold)
		return second(r.Token(t.Context(), user))
	},
	"`ErrTryLater` as `*TryLaterError`: PKB refuses this link in unknown words": func(t *testing.T) error {
		return refreshMeets(t, pkbtest.Respond(400, "", ""))
	},
	"`ErrTryLater` as `*TryLaterError`: a response cannot be read": func(t *testing.T) error {
		return refreshMeets(t, unreadable())
	},
	"`ErrStore`: the store is not available": func(t *testing.T) error {
		r := newRig(t, withConfig(func(c *pkb.Config) { c.Store, c.Keys = awayStore{}, keyring(t, "k") }))
		return second(r.Token(t.Context(), user))
	},
	"`ErrStore`: new tokens are not saved yet": func(t *testing.T) error {
		store := newFailing(1 << 20)
		r := newRig(t, withConfig(func(c *pkb.Config) { c.Store = store }))
		r.link(t, user, r.patient)
		r.pkb.Advance(sold)
		store.passes.Store(1) // the intent
		err := second(r.Token(t.Context(), user))
		store.passes.Store(1 << 20)
		time.Sleep(time.Minute) // of the bubble: the flight ends
		return err
	},
	"`ErrTryLater`": func(t *testing.T) error { return refreshMeets(t, pkbtest.Respond(429, "", "")) },
	"`ErrIdentityRefused`": func(t *testing.T) error {
		r := newRig(t, withConfig(func(c *pkb.Config) {
			c.Identify = func(context.Context, pkb.Candidate) error { return pkb.ErrIdentityRefused }
		}))
		pending, query := r.approve(t, user, r.patient)
		return second(r.Complete(t.Context(), user, pending, query))
	},
	"`ErrAccessDenied`": func(t *testing.T) error {
		r := newRig(t)
		address, pending, err := r.Authorize(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		back, err := r.pkb.Deny(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		return second(r.Complete(t.Context(), user, pending, back.Query()))
	},
	"`ErrAppUserID`: nobody is signed in": func(t *testing.T) error { return second(newRig(t).ForUser("").Self(t.Context())) },
	"`ErrAppUserID`":                      func(t *testing.T) error { return second(newRig(t).ForUser("\xff").Self(t.Context())) },
	"`ErrState` as `*StateError`: no_pending": func(t *testing.T) error {
		return callbackMeets(t, func(_ *rig, p *pkb.Pending, _ map[string][]string) { *p = pkb.Pending{} })
	},
	"`ErrState` as `*StateError`: missing": func(t *testing.T) error {
		return callbackMeets(t, func(_ *rig, _ *pkb.Pending, q map[string][]string) { delete(q, "state") })
	},
	"`ErrState` as `*StateError`: mismatch": func(t *testing.T) error {
		return callbackMeets(t, func(r *rig, p *pkb.Pending, _ map[string][]string) { *p, _ = r.approve(t, user, r.patient) })
	},
	"`ErrState` as `*StateError`: expired": func(t *testing.T) error {
		return callbackMeets(t, func(r *rig, _ *pkb.Pending, _ map[string][]string) { r.pkb.Advance(71 * time.Minute) })
	},
	"`ErrState` as `*StateError`: used": func(t *testing.T) error {
		return callbackMeets(t, func(r *rig, p *pkb.Pending, q map[string][]string) {
			if _, err := r.Complete(t.Context(), user, *p, q); err != nil {
				t.Fatal(err)
			}
			r.link(t, user, r.patient)
		})
	},
	"`ErrState` as `*StateError`: other_user": func(t *testing.T) error {
		return callbackMeets(t, func(r *rig, p *pkb.Pending, _ map[string][]string) { *p, _ = r.approve(t, "user-2", r.patient) })
	},
	"`ErrState` as `*StateError`: other_client": func(t *testing.T) error {
		return callbackMeets(t, func(r *rig, _ *pkb.Pending, _ map[string][]string) {
			r.config.ClientID = "another-client"
			r.Client = r.replica(t)
		})
	},
	"`ErrState`": func(*testing.T) error { return pkb.ErrState },
	"a visit to `Web.Link` with another method": func(t *testing.T) error {
		return visitMeets(t, httptest.NewRequest(http.MethodGet, "/pkb/switch", nil), pkb.AllowSwitch())
	},
	"a visit to `Web.Link` that another site started": func(t *testing.T) error {
		r := httptest.NewRequest(http.MethodPost, "/pkb/switch", nil)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		return visitMeets(t, r, pkb.AllowSwitch())
	},
	"`ErrCallback`: not by GET": func(t *testing.T) error {
		return visitMeets(t, httptest.NewRequest(http.MethodPost, "/pkb/callback", strings.NewReader("code=a&state=b")))
	},
	"`ErrCallback`: a query that cannot be read": func(t *testing.T) error {
		return visitMeets(t, httptest.NewRequest(http.MethodGet, "/pkb/callback?code=a;b&state=c", nil))
	},
	"`ErrCallback`": func(t *testing.T) error {
		return callbackMeets(t, func(_ *rig, _ *pkb.Pending, q map[string][]string) { delete(q, "code") })
	},
	"`ErrUnchecked`": func(t *testing.T) error {
		r := newRig(t, askOnce)
		r.link(t, user, r.patient)
		pending, query := r.approve(t, user, r.pkb.AddPatient(pkbtest.Patient{}), pkb.AllowSwitch())
		r.pkb.Next(pkbtest.Purview, pkbtest.Respond(503, "", ""))
		return second(r.Complete(t.Context(), user, pending, query))
	},
	"`ErrOvertaken`": func(t *testing.T) error {
		r := newRig(t)
		first, query := r.approve(t, user, r.patient)
		r.pkb.Next(pkbtest.Purview, pkbtest.Delay(10*time.Second))
		done := make(chan error)
		go func() { done <- second(r.Complete(t.Context(), user, first, query)) }()
		synctest.Wait()
		r.link(t, user, r.patient)
		return <-done
	},
	"`ErrNewer`": func(t *testing.T) error {
		r := newRig(t)
		r.link(t, user, r.patient)
		now, err := r.store.Load(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		was := string(now.Details)
		if now.Details = []byte(strings.Replace(was, `"v":1`, `"v":2`, 1)); string(now.Details) == was {
			t.Fatalf("the details hold no version: %s", was)
		}
		if _, err := r.store.Save(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		return second(r.replica(t).Token(t.Context(), user))
	},
	"`ErrWrongPatient`": func(t *testing.T) error {
		r := newRig(t)
		r.link(t, user, r.patient)
		pending, query := r.approve(t, user, r.pkb.AddPatient(pkbtest.Patient{}))
		return second(r.Complete(t.Context(), user, pending, query))
	},
	"`ErrSharedRecord` as `*SharedRecordError`": func(t *testing.T) error {
		r := newRig(t)
		r.link(t, user, r.patient)
		pending, query := r.approve(t, "user-2", r.patient)
		return second(r.Complete(t.Context(), "user-2", pending, query))
	},
	"`identity.ErrNotAPatient`": func(t *testing.T) error {
		r := newRig(t)
		pending, query := r.approve(t, user, r.pkb.AddPatient(pkbtest.Patient{Purview: []string{"Practitioner/1"}}))
		return second(r.Complete(t.Context(), user, pending, query))
	},
	"`ErrNotLinked`": func(t *testing.T) error { return second(newRig(t).Token(t.Context(), user)) },
	"`ErrRelinkRequired` as `*RelinkError`: `CauseSessionExpired`": func(t *testing.T) error {
		r := newRig(t)
		r.link(t, user, r.patient)
		r.pkb.EndSessions(r.patient)
		return second(r.ForUser(user).Self(t.Context()))
	},
	"`ErrRelinkRequired` as `*RelinkError`: `CauseSessionInvalid`": func(t *testing.T) error {
		r := newRig(t)
		r.link(t, user, r.patient)
		r.pkb.InvalidateSessions(r.patient)
		return second(r.ForUser(user).Self(t.Context()))
	},
	"`ErrRelinkRequired` as `*RelinkError`: `CauseGrantRejected`": func(t *testing.T) error {
		return refreshMeets(t, pkbtest.Respond(400, "application/json", `{"error":"invalid_grant"}`))
	},
	"`ErrRelinkRequired` as `*RelinkError`: `CauseFinalTokenExpired`": func(t *testing.T) error {
		r := newRig(t, func(p *pkbtest.Config, _ *pkb.Config) { p.SessionLife = 5 * time.Minute })
		r.link(t, user, r.patient)
		r.pkb.Advance(sold)
		return second(r.Token(t.Context(), user))
	},
	"`ErrRelinkRequired` as `*RelinkError`: `CauseOutcomeUnknown`": func(t *testing.T) error {
		return refreshMeets(t, pkbtest.DropAfter())
	},
	"`ErrRelinkRequired`, `ErrFrozen` as `*RelinkError`: `CauseFrozen`": func(t *testing.T) error {
		return refreshMeets(t, pkbtest.Respond(403, "application/json", `{"error":"invalid_grant","error_description":"ACCESS_FROZEN_OUTWARD"}`))
	},
	"`ErrRelinkRequired` as `*RelinkError`: `CauseWrongPatient`": func(t *testing.T) error {
		r := newRig(t, askOnce)
		r.pkb.Next(pkbtest.Purview, pkbtest.Drop())
		r.link(t, user, r.pkb.AddPatient(pkbtest.Patient{Purview: []string{"Practitioner/1"}}))
		return second(r.ForUser(user).PublicID(t.Context()))
	},
	"`ErrRelinkRequired`, `ErrSharedRecord` as `*RelinkError`: `CauseShared`": func(t *testing.T) error {
		r := newRig(t, askOnce)
		r.link(t, "user-2", r.patient)
		r.pkb.Next(pkbtest.Purview, pkbtest.Drop())
		r.link(t, user, r.patient)
		return second(r.ForUser(user).PublicID(t.Context()))
	},
	"`ErrRelinkRequired` as `*RelinkError`: `CauseRefusedUnclear`": func(t *testing.T) error {
		r := newRig(t)
		r.link(t, user, r.patient)
		r.link(t, "user-2", r.pkb.AddPatient(pkbtest.Patient{}))
		for range 10 {
			r.pkb.Advance(time.Hour)
			r.pkb.Next(pkbtest.Token, pkbtest.Respond(400, "", ""))
			if err := second(r.Token(t.Context(), user)); !errors.Is(err, pkb.ErrTryLater) {
				return err
			}
			token(t.Context(), t, r.Client, "user-2") // PKB serves others
		}
		return nil
	},
	"`ErrRelinkRequired` as `*RelinkError`: `CauseResponseUnreadable`": func(t *testing.T) error {
		r := newRig(t)
		r.link(t, user, r.patient)
		r.pkb.Advance(sold)
		r.pkb.Next(pkbtest.Token, unreadable())
		if err := second(r.Token(t.Context(), user)); !errors.Is(err, pkb.ErrTryLater) {
			t.Errorf("the first call: %v, want ErrTryLater", err)
		}
		return second(r.Token(t.Context(), user))
	},
	"`ErrRelinkRequired`": func(*testing.T) error { return pkb.ErrRelinkRequired },
	"`ErrFrozen` as `*APIError`": func(t *testing.T) error {
		r := newRig(t)
		r.link(t, user, r.patient)
		r.pkb.Freeze(r.patient, true)
		return second(r.ForUser(user).Self(t.Context()))
	},
	"`*APIError`: not for this type of user": func(t *testing.T) error {
		return callMeets(t, pkbtest.Refuse("USER_TYPE_NOT_PERM"))
	},
	"`*APIError`: the code was refused, or the session has ended": func(t *testing.T) error {
		return callbackMeets(t, func(r *rig, _ *pkb.Pending, _ map[string][]string) { r.pkb.Advance(time.Minute) })
	},
	"`*APIError` of the code exchange: PKB refuses the application": func(t *testing.T) error {
		r := newRig(t, func(p *pkbtest.Config, _ *pkb.Config) { p.ClientSecret = "secret" })
		pending, query := r.approve(t, user, r.patient)
		return second(r.Complete(t.Context(), user, pending, query))
	},
	"`*APIError` of the code exchange: nothing was sent": func(t *testing.T) error {
		r := newRig(t)
		pending, query := r.approve(t, user, r.patient)
		r.config.HTTPClient = &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
		})}
		return second(r.replica(t).Complete(t.Context(), user, pending, query))
	},
	"`*APIError` of the code exchange: PKB accepts no requests": func(t *testing.T) error {
		return callbackMeets(t, func(r *rig, _ *pkb.Pending, _ map[string][]string) {
			r.pkb.Next(pkbtest.Token, pkbtest.Respond(429, "", ""))
		})
	},
	"`*APIError` of the code exchange: refused in unknown words": func(t *testing.T) error {
		return callbackMeets(t, func(r *rig, _ *pkb.Pending, _ map[string][]string) {
			r.pkb.Next(pkbtest.Token, pkbtest.Respond(400, "", ""))
		})
	},
	"`*APIError` of the code exchange: no response, or an unusable one": func(t *testing.T) error {
		return callbackMeets(t, func(r *rig, _ *pkb.Pending, _ map[string][]string) {
			r.pkb.Next(pkbtest.Token, pkbtest.DropAfter())
		})
	},
	"`*APIError`: too many requests":           func(t *testing.T) error { return callMeets(t, pkbtest.Respond(429, "", "")) },
	"`*APIError`: no response, or PKB is down": func(t *testing.T) error { return callMeets(t, pkbtest.Drop()) },
	"`*APIError`: nothing at this address":     func(t *testing.T) error { return callMeets(t, pkbtest.Respond(404, "", "")) },
	"`ErrTokenRefused` as `*APIError`": func(t *testing.T) error {
		return callMeets(t, pkbtest.Respond(401, "", ""), pkbtest.Respond(401, "", ""))
	},
	"`*APIError`: not permitted":               func(t *testing.T) error { return callMeets(t, pkbtest.Refuse("NO_CONSENT")) },
	"`*APIError`: an unreadable response":      func(t *testing.T) error { return callMeets(t, pkbtest.Respond(200, "text/html", "<html>")) },
	"`*APIError`: the request is not accepted": func(t *testing.T) error { return callMeets(t, pkbtest.Respond(400, "", "")) },
	"a path that `Patient.Get` does not send": func(t *testing.T) error {
		return second(newRig(t).ForUser(user).Get(t.Context(), "https://elsewhere.example/", nil))
	},
	"`ErrNotFound` as `*APIError`": func(t *testing.T) error {
		r := newRig(t)
		r.link(t, user, r.patient)
		return second(r.ForUser(user).Record().Organization(t.Context(), "org-1"))
	},
	"`record.ErrSearch` as `*SearchError`": func(t *testing.T) error {
		for _, err := range newRig(t).ForUser(user).Record().Observations(t.Context(), "") {
			return err
		}
		return nil
	},
	"`record.ErrPaging` as `*PagingError`": func(t *testing.T) error {
		r := newRig(t)
		r.link(t, user, r.patient)
		r.pkb.Next(pkbtest.Facade, pkbtest.Rewrite(func(_ http.Header, body []byte) []byte {
			return bytes.Replace(body, []byte(`"link":[`), []byte(`"link":[{"relation":"next","url":"https://elsewhere.example/"},`), 1)
		}))
		for _, err := range r.ForUser(user).Record().Appointments(t.Context()) {
			return err
		}
		return nil
	},
	"`record.ErrPaging` as `*PagingError`: expired": func(t *testing.T) error {
		s := newSender(t, pageSize(1))
		s.add(t, 2)
		s.pkb.Next(pkbtest.Facade, pkbtest.Pass(), pkbtest.Respond(410, "", ""))
		return second(s.appointments(t.Context()))
	},
	"`record.ErrEntry` as `*EntryError`": func(t *testing.T) error {
		s := newSender(t)
		s.add(t, 1)
		s.pkb.Next(pkbtest.Facade, pkbtest.Rewrite(func(_ http.Header, body []byte) []byte {
			return bytes.Replace(body, []byte(`"resourceType":"Appointment"`), []byte(`"resourceType":"appointment"`), 1)
		}))
		return second(s.appointments(t.Context()))
	},
	"`ErrTooLarge` as `*APIError`": func(t *testing.T) error {
		s := newSender(t, withConfig(func(c *pkb.Config) { c.MaxResponseBytes = 4096 }))
		s.give(t, `{"resourceType":"Appointment","id":"a","comment":"`+strings.Repeat("long ", 1000)+`"}`)
		return second(s.appointments(t.Context()))
	},
	"`*APIError`: any other status": func(t *testing.T) error { return callMeets(t, pkbtest.Respond(418, "", "")) },
	"`ErrStore`": func(t *testing.T) error {
		r := newRig(t)
		if err := r.store.Close(); err != nil {
			t.Fatal(err)
		}
		return second(r.Token(t.Context(), user))
	},
	"`ErrKeys`: the key service fails": func(t *testing.T) error {
		ring := &keys.Keyring{}
		if err := ring.AddAEAD("k", absent{}); err != nil {
			t.Fatal(err)
		}
		r := newRig(t, withConfig(func(c *pkb.Config) { c.Keys = keyring(t, "k") }))
		r.link(t, user, r.patient)
		r.config.Keys = ring
		return second(r.replica(t).Token(t.Context(), user))
	},
	"`ErrKeys`": func(t *testing.T) error {
		r := newRig(t, withConfig(func(c *pkb.Config) { c.Keys = keyring(t, "k") }))
		r.link(t, user, r.patient)
		r.config.Keys = keyring(t, "another")
		return second(r.replica(t).Token(t.Context(), user))
	},
	"`ErrOtherEnvironment`": func(t *testing.T) error {
		r := newRig(t)
		r.link(t, user, r.patient)
		r.config.ClientID = "another-client"
		return second(r.replica(t).Token(t.Context(), user))
	},
	"`ErrClosed`": func(t *testing.T) error {
		r := newRig(t)
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, _, err := r.Authorize(t.Context(), user)
		return err
	},
	"`*ConfigError`: the store cannot list": func(t *testing.T) error {
		r := newRig(t, withConfig(func(c *pkb.Config) { c.Store = threeMethods{tokenstore.NewMemory()} }))
		for _, err := range r.Links(t.Context()) {
			return err
		}
		return nil
	},
	"`*ConfigError`: the key is in use": func(t *testing.T) error {
		r := newRig(t, withConfig(func(c *pkb.Config) { c.Keys = keyring(t, "k") }))
		return r.RetireKey(t.Context(), "k")
	},
	"`*ConfigError`, of `pkb` and of `pkbsystem`": func(*testing.T) error { return second(pkb.New(pkb.Config{})) },
	"`pkbsystem.ErrUncertain`": func(t *testing.T) error {
		r := newRig(t)
		r.pkb.Next(pkbtest.Messaging, pkbtest.DropAfter())
		return r.system(t, pkbtest.Organisation{}).AddPatient(t.Context(), pkbsystem.Addition{Self: r.self(t)})
	},
	"`pkbsystem.ErrNoPatient`": func(t *testing.T) error {
		r := newRig(t)
		number, _ := r.self(t).NHSNumber()
		return second(r.system(t, pkbtest.Organisation{NoAccess: []string{r.patient.PublicID}}).FindByNHSNumber(t.Context(), number))
	},
	"`pkbsystem.ErrInput` as `*InputError`": func(t *testing.T) error {
		return newRig(t).system(t, pkbtest.Organisation{}).AddPatient(t.Context(), pkbsystem.Addition{})
	},
	"`*APIError` of a system client: no token": func(t *testing.T) error {
		return newRig(t, func(s *pkbtest.Config, _ *pkb.Config) { s.SystemClientSecret = "another" }).findMeets(t, pkbtest.Organisation{})
	},
	"`*APIError` of a system client: the token is refused": func(t *testing.T) error {
		return newRig(t).findMeets(t, pkbtest.Organisation{}, pkbtest.Respond(401, "", ""), pkbtest.Respond(401, "", ""))
	},
	"`*APIError` of a system client: not permitted": func(t *testing.T) error {
		return newRig(t).findMeets(t, pkbtest.Organisation{GrantsNothing: true})
	},
	"`*APIError` of a system client: the request is not accepted": func(t *testing.T) error {
		r := newRig(t)
		return r.system(t, pkbtest.Organisation{}).AddPatient(t.Context(), pkbsystem.Addition{Self: r.self(t), TeamAliases: []string{"nobody's"}})
	},
	"`context.Canceled`": func(t *testing.T) error {
		r := newRig(t)
		r.link(t, user, r.patient)
		r.pkb.Advance(sold)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return second(r.Token(ctx, user))
	},
	"`context.DeadlineExceeded`": func(t *testing.T) error {
		r := newRig(t)
		r.link(t, user, r.patient)
		r.pkb.Advance(sold)
		r.pkb.Next(pkbtest.Token, pkbtest.Delay(10*time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := second(r.Token(ctx, user))
		time.Sleep(time.Minute) // of the bubble: the flight ends
		return err
	},
	"any other error, such as those of `keys.Parse`, `identity.ParsePublicID`, `identity.ParseDate` and of a `keys.Keyring`": func(*testing.T) error {
		return second(identity.ParsePublicID("7310001"))
	},
}

// A host can meet each error there is in its own tests, and each says whose turn
// it is, in its text and in its advice.
func TestEveryErrorCanBeMet(t *testing.T) {
	rows := wording.Rows()
	for _, row := range rows {
		provoke := met[row.Name]
		if provoke == nil {
			t.Errorf("no test meets %s: add one to met, with what its row in internal/wording names", row.Name)
			continue
		}
		t.Run(row.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := provoke(t)
				if err == nil {
					t.Fatal("no error came of it")
				}
				for _, err := range []error{err, fmt.Errorf("wrapped: %w", err), errors.Join(errors.New("another"), err)} {
					if got := rowOf(err); got.Name != row.Name {
						t.Fatalf("%v\nis taken for %s", err, got.Name)
					}
					if diff := cmp.Diff(adviceOf(row), advice.For(err)); diff != "" {
						t.Errorf("Advise (-row +got):\n%s", diff)
					}
				}
				checkText(t, err)
			})
		})
	}
	for name := range met {
		if !slices.ContainsFunc(rows, func(r wording.Row) bool { return r.Name == name }) {
			t.Errorf("met provokes %s, and internal/wording has no such row", name)
		}
	}
	if got := advice.For(nil); got != (advice.Advice{}) {
		t.Errorf("Advise(nil) = %+v", got)
	}
	if got := advice.For(errors.New("of somebody else")); got.Turn != advice.TurnHost || got.Patient == "" {
		t.Errorf("an unknown error: %+v", got)
	}
}

// rowOf is the row that knows err.
func rowOf(err error) wording.Row { return *wording.Of(wording.CodeOf(err)) }

func adviceOf(row wording.Row) advice.Advice {
	return advice.Advice{
		Code: string(row.Code), Status: row.Status, Turn: advice.Turn(row.Turn),
		Cause: row.Cause, Patient: row.Patient, Operator: row.Operator,
	}
}

// imperatives begin what somebody is told to do: advice has that, and an error says
// what happened.
var imperatives = regexp.MustCompile(`(?i)turn:|(^|[;:,.] )(please|send|ask|check|give|use|make|see|look|find|fix|try|tell|report|start|sign|approve|wait|deploy|put|bring|set) `)

// checkText checks that an error tells nobody what to do.
func checkText(t *testing.T, err error) {
	t.Helper()
	if errors.As(err, new(*pkb.ConfigError)) {
		return // it is for a developer, and says what belongs into the field
	}
	if found := imperatives.FindString(err.Error()); found != "" {
		t.Errorf("the text tells somebody what to do (%q): %s", found, err)
	}
}

// constructed are the errors that a host's test makes itself, as the table says.
func TestAdviceOfConstructedErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		turn advice.Turn
	}{
		"a plain TryLaterError":       {&pkb.TryLaterError{}, advice.TurnWait},
		"TryLaterError with a wait":   {&pkb.TryLaterError{RetryAfter: time.Second}, advice.TurnWait},
		"TryLaterError of the client": {&pkb.TryLaterError{Status: 401, Code: "invalid_client"}, advice.TurnHost},
		"a plain RelinkError":         {&pkb.RelinkError{}, advice.TurnPatient},
		"a cause of tomorrow's":       {&pkb.RelinkError{Cause: "tomorrow"}, advice.TurnPatient},
		"frozen":                      {&pkb.RelinkError{Cause: observe.CauseFrozen}, advice.TurnPKB},
		"a reason of tomorrow's":      {&pkb.StateError{Reason: "tomorrow"}, advice.TurnPatient},
		"no answer":                   {&pkb.APIError{Operation: "users/self"}, advice.TurnWait},
		"503":                         {&pkb.APIError{Operation: "users/self", Status: 503}, advice.TurnWait},
		"401 at the token endpoint":   {&pkb.APIError{Operation: "code exchange", Status: 401}, advice.TurnHost},
		"frozen answer":               {&pkb.APIError{Operation: "purview", Status: 403, Code: fhir.AccessFrozenOutward}, advice.TurnPKB},
		"an error in an APIError":     {&pkb.APIError{Operation: "purview", Err: pkb.ErrNotLinked}, advice.TurnPatient},
		"SharedRecordError":           {&pkb.SharedRecordError{}, advice.TurnHost},
		"ParseDate":                   {second(identity.ParseDate("tomorrow")), advice.TurnHost},
		"ParsePublicID":               {second(identity.ParsePublicID("")), advice.TurnHost},
		"ParseKeyring":                {second(keys.Parse("x")), advice.TurnHost},
		"ParseKeyring, base64":        {second(keys.Parse("x:%")), advice.TurnHost},
		"ParseKeyring, length":        {second(keys.Parse("x:eA==")), advice.TurnHost},
		"GenerateKey":                 {second(keys.Generate("")), advice.TurnHost},
		"Promote":                     {new(keys.Keyring).Promote("x"), advice.TurnHost},
		"AddKey":                      {new(keys.Keyring).AddKey("x", nil), advice.TurnHost},
		"AddAEAD":                     {new(keys.Keyring).AddAEAD("x", nil), advice.TurnHost},
	} {
		t.Run(name, func(t *testing.T) {
			if got := advice.For(tc.err).Turn; got != tc.turn {
				t.Errorf("Advise says it is %q, want %q", got, tc.turn)
			}
			checkText(t, tc.err)
		})
	}
}

// A hook's error can be about anything; what it holds is not taken for the
// error itself.
func TestAdviceIsAboutTheOutermostError(t *testing.T) {
	inner := errors.Join(pkb.ErrNotLinked, pkb.ErrKeys)
	if got := advice.For(&pkb.TryLaterError{Err: inner}); got.Turn != advice.TurnWait {
		t.Errorf("Advise: %+v", got)
	}
}

// exportedErrors are the names that a host can test for: sentinels, types of
// errors, causes and reasons.
func exportedErrors(t *testing.T, dir string) (names map[string]string) {
	t.Helper()
	names = map[string]string{}
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no source in %s: %v", dir, err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Recv != nil && decl.Name.Name == "Error" {
					receiver := decl.Recv.List[0].Type
					if star, ok := receiver.(*ast.StarExpr); ok {
						receiver = star.X
					}
					if name := receiver.(*ast.Ident).Name; ast.IsExported(name) {
						names[name] = ""
					}
				}
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					value, ok := spec.(*ast.ValueSpec)
					if !ok {
						continue
					}
					doc := value.Doc
					if doc == nil {
						doc = decl.Doc
					}
					for _, name := range value.Names {
						if name.IsExported() && regexp.MustCompile(`^(Err|Cause|State)[A-Z]`).MatchString(name.Name) {
							names[name.Name] = strings.Join(strings.Fields(doc.Text()), " ")
						}
					}
				}
			}
		}
	}
	return names
}

func TestEveryErrorHasAdvice(t *testing.T) {
	var named []string
	for _, row := range wording.Rows() {
		named = append(named, regexp.MustCompile(`[A-Za-z]+`).FindAllString(row.Name, -1)...)
		if row.Turn == "" || row.Cause == "" || row.Patient == "" || row.Operator == "" || row.Met == "" || row.Status == 0 {
			t.Errorf("the row %s is not complete: %+v", row.Name, row)
		}
		for _, word := range []string{"token", "client", "HTTP", "API", "store", "`"} {
			if strings.Contains(row.Patient, word) {
				t.Errorf("%s: the text for the patient speaks of %q: %s", row.Name, word, row.Patient)
			}
		}
	}
	names := map[string]string{}
	for _, dir := range []string{".", "identity", "record", "observe", "pkbsystem"} {
		maps.Copy(names, exportedErrors(t, dir))
	}
	for name := range names {
		if !slices.Contains(named, name) {
			t.Errorf("%s has no row: add one to kinds in kind.go and to rows in internal/wording", name)
		}
	}
	if len(names) < 38 {
		t.Errorf("only %d exported errors, causes and reasons were found: the search is broken", len(names))
	}
}

// below says what to do about the errors of the packages below pkb, whose causes
// are in their comments.
var below = map[string]string{
	"tokenstore.ErrClosed":      "Close the store after the client.",
	"tokenstore.ErrConflict":    "Nothing: the library does load again and decide again.",
	"tokenstore.ErrInvalid":     "Check the store: what the library saves is within the limits that every store must accept.",
	"tokenstore.ErrTarget":      "Stop whoever uses the target, empty it and begin again; or leave it in use.",
	"tokenstore.ErrNotFound":    "Nothing: calls of pkb say `ErrNotLinked`.",
	"tokenstore.ErrUnavailable": "Nothing, unless it lasts.",
	"sqlstore.ErrBusy":          "Look for long transactions on the table. It is tried again.",
	"sqlstore.ErrFull":          "Make room.",
	"sqlstore.ErrNoTable":       "Call Migrate, or run Schema.",
	"sqlstore.ErrReadOnly":      "Point the `*sql.DB` at the primary.",
	"sqlstore.ErrRefused":       "Grant SELECT, INSERT, UPDATE and DELETE on the table.",
	"sqlstore.ErrSettings":      "Change the setting that the text names. `pkbctl doctor` finds it out, too.",
	"sqlstore.ErrUnavailable":   "Check the database. What was sent and may be done is found out by the library.",
	"etcdstore.ErrBusy":         "Look at what else uses this etcd. It is tried again.",
	"etcdstore.ErrDamaged":      "Find out who writes below the prefix, and which release of the library runs elsewhere.",
	"etcdstore.ErrFull":         "Compact, defragment, and disarm the alarm; then set --auto-compaction-retention.",
	"etcdstore.ErrRefused":      "Grant the role readwrite on the whole prefix.",
	"etcdstore.ErrSettings":     "Raise the flag that the text names.",
	"etcdstore.ErrUnavailable":  "Check that most members of etcd run. What was sent and may be done is found out by the library.",
	"fhir.ErrDateTime":          "See what PKB sends in its place; if it is not FHIR, report it to PKB.",
	"fhir.ErrMalformed":         "See whether a proxy answers in PKB's place; if not, report it to PKB.",
	"fhir.ErrPurview":           "Report it to PKB: each patient has one record.",
	"fhir.ErrReference":         "Report it to PKB; from `ParseReference`, correct what it was given.",
	"fhir.ErrTooLarge":          "Read what is needed from `Resource.Raw`; report the resource to PKB.",
	"fhir.ErrResourceType":      "See whether the address is the right one; if so, report it to PKB.",
}

// awayStore is a store that cannot be reached.
type awayStore struct{ tokenstore.Store }

func (awayStore) Load(context.Context, string) (tokenstore.Record, error) {
	return tokenstore.Record{}, sqlstore.ErrUnavailable
}

// waits are the errors of a store that end by themselves.
var waits = map[string]error{
	"tokenstore.ErrUnavailable": tokenstore.ErrUnavailable, "sqlstore.ErrUnavailable": sqlstore.ErrUnavailable, "sqlstore.ErrBusy": sqlstore.ErrBusy,
	"etcdstore.ErrUnavailable": tokenstore.ErrUnavailable, "etcdstore.ErrBusy": tokenstore.ErrUnavailable, // it is these, too
}

var update = flag.Bool("update", false, "write errors.md anew")

// document is errors.md.
func document(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`# Errors

This is generated from internal/wording by ` + "`go test ./pkb -run TestErrorsDocument -update`" + `; the text is changed there.

Every error that a call of package pkb can return is in this table, once; those of the packages below it stand at the end. ` + "`advice.For(err)`" + ` gives what is in its row, for an
error wrapped in others too. Of several rows that fit, the first counts.

- **Whose turn** is the patient's, the host's (yours), PKB's, or nobody's: wait. The text of an error says what happened, and not whose turn it is.
- **To the patient** is safe to show: it holds nothing that came from PKB, a browser or a store.
- **In a test** says how your own tests meet the error: with a control of [pkbtest](../pkbtest), or an error that you make
  yourself and return from the interface you mock. Each is tried by a test of ours.

| error | code | status | what happened | turn | to the patient | what you do | in a test |
|---|---|---|---|---|---|---|---|
`)
	cell := func(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
	for _, row := range wording.Rows() {
		fmt.Fprintf(&b, "| %s | `%s` | %d | %s | %s | %s | %s | %s |\n",
			cell(row.Name), row.Code, row.Status, cell(row.Cause), row.Turn, cell(row.Patient), cell(row.Operator), cell(row.Met))
	}
	behind := func(pkg, dir string, of error, met string) {
		row, names := rowOf(of), exportedErrors(t, dir)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if !strings.HasPrefix(name, "Err") || name == "Error" { // its details
				continue
			}
			_, says, ok := strings.Cut(names[name], " says that ")
			if !ok {
				_, says, ok = strings.Cut(names[name], ": ")
			}
			if !ok {
				t.Fatalf("the comment of %s.%s does not say what it means, as \"%s: ...\"", pkg, name, name)
			}
			todo := below[pkg+"."+name]
			if todo == "" {
				t.Errorf("errors.md does not say what to do about %s.%s: add it to below", pkg, name)
			}
			row := row
			if err := waits[pkg+"."+name]; err != nil {
				row = rowOf(fmt.Errorf("%w: %w", of, err))
			}
			fmt.Fprintf(&b, "| `%s.%s` | `%s` | %d | %s | %s | %s | %s | %s |\n", pkg, name, row.Code, row.Status,
				cell(strings.ToUpper(says[:1])+says[1:]), row.Turn, cell(row.Patient), cell(todo), met)
		}
	}
	inStore := "a store of yours that returns it; it comes inside `ErrStore`, or behind `ErrTryLater`"
	behind("tokenstore", "../tokenstore", pkb.ErrStore, inStore)
	behind("sqlstore", "../tokenstore/sqlstore", pkb.ErrStore, inStore)
	behind("etcdstore", "../tokenstore/etcdstore", pkb.ErrStore, inStore)
	behind("fhir", "../fhir", &pkb.APIError{Status: 200}, "give the call such a body; from a call of pkb it comes inside an `*APIError`")
	return b.String()
}

func TestErrorsDocument(t *testing.T) {
	const name = "advice/errors.md"
	now := document(t)
	if *update {
		if err := os.WriteFile(name, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(kept), now); diff != "" {
		t.Errorf("errors.md is not what internal/wording says; run\n\tgo test ./pkb -run TestErrorsDocument -update\n(-kept +now):\n%s", diff)
	}
}

// The pages that a browser sees come from the same table.
func TestFailurePagesComeFromAdvice(t *testing.T) {
	r := newRig(t)
	var failed pkb.Failure
	web := r.Web(pkb.WebConfig{
		User:   func(*http.Request) string { return "" },
		Failed: func(_ http.ResponseWriter, _ *http.Request, f pkb.Failure) { failed = f },
	})
	web.Link().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "https://app.example/pkb/link", nil))
	row := *wording.Of("not_signed_in")
	if failed.Text != row.Patient || failed.Status != row.Status {
		t.Errorf("the page says %q with status %d, the table %q with %d", failed.Text, failed.Status, row.Patient, row.Status)
	}
}

// Who is on call finds every event and every cause in the guide.
func TestIncidentsNameEveryEvent(t *testing.T) {
	guide, err := os.ReadFile("incidents.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range kindsOfEvents(t) {
		if n := strings.Count(string(guide), "\n| `"+string(kind)+"` |"); n != 1 {
			t.Errorf("incidents.md has %d rows for the event %s, want 1", n, kind)
		}
	}
	source, err := os.ReadFile("observe/cause.go")
	if err != nil {
		t.Fatal(err)
	}
	causes := regexp.MustCompile(`(?m)^\tCause\w+ Cause = "(\w+)"$`).FindAllStringSubmatch(string(source), -1)
	if len(causes) < 10 {
		t.Fatalf("only %d causes found: the search is broken", len(causes))
	}
	for _, cause := range causes {
		if cause[1] != string(observe.CauseGrantRejected) && cause[1] != string(observe.CauseFinalTokenExpired) && cause[1] != string(observe.CauseFrozen) && !strings.Contains(string(guide), "`"+cause[1]+"`") {
			t.Errorf("incidents.md does not speak of the cause %s", cause[1])
		}
	}
}
