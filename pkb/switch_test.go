// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/google/go-cmp/cmp"
)

// A switch is approved while PKB does not say whose record it is: Complete does not
// call that a success, and shows the link that goes on. The calls that follow find
// out, and then the new patient's link stands.
func TestSwitchThatCannotBeCheckedYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, askOnce)
		before := r.link(t, user, r.patient)
		other := r.pkb.AddPatient(pkbtest.Patient{})
		pending, query := r.approve(t, user, other, pkb.AllowSwitch())
		r.pkb.Next(pkbtest.Purview, pkbtest.Respond(503, "", ""))
		link, err := r.Complete(t.Context(), user, pending, query)
		if !errors.Is(err, pkb.ErrUnchecked) || !strings.Contains(err.Error(), "503") {
			t.Fatalf("Complete: %v, want ErrUnchecked and why", err)
		}
		if api, ok := errors.AsType[*pkb.APIError](err); !ok || api.Status != 503 {
			t.Errorf("what is behind it: %v", err)
		}
		want := before
		want.Unchecked = true
		if diff := cmp.Diff(want, link); diff != "" {
			t.Errorf("the link is the old one, and says what waits (-want +got):\n%s", diff)
		}
		if _, err := r.Complete(t.Context(), user, pending, query); !errors.Is(err, pkb.ErrUnchecked) {
			t.Errorf("the callback again: %v, want ErrUnchecked", err)
		}
		// A link that works is not held up by the check, which goes on beside it.
		time.Sleep(5 * time.Second) // of the bubble
		if self, err := r.ForUser(user).Self(t.Context()); err != nil || self.Reveal().LastName != r.patient.LastName {
			t.Errorf("Self beside the check: %v, or another patient's", err)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if link, err := r.Link(t.Context(), user); err != nil || link.PublicID != identity.PublicID(other.PublicID) || link.Unchecked || !link.Verified {
			t.Errorf("afterwards: %+v, %v, want the new patient's", link, err)
		}
		if self, err := r.ForUser(user).Self(t.Context()); err != nil || self.Reveal().LastName != other.LastName {
			t.Errorf("Self, afterwards: %v, or not the new patient's", err)
		}
		if id, err := r.ForUser(user).PublicID(t.Context()); err != nil || id != identity.PublicID(other.PublicID) {
			t.Errorf("PublicID = %s, %v", id, err)
		}
		if link, err := r.Complete(t.Context(), user, pending, query); err != nil || link.PublicID != identity.PublicID(other.PublicID) {
			t.Errorf("the callback, afterwards: %v, want the link", err)
		}
	})
}

// Without a link that works there is nothing that goes on: the approval is a
// success, and the link says that it is not checked.
func TestFirstLinkThatCannotBeCheckedYet(t *testing.T) {
	j, r := newJudge(t)
	j.verdict = errors.New("no database: canary")
	link := r.link(t, user, r.patient)
	if !link.Unchecked || link.Verified || link.State != tokenstore.StatePending {
		t.Errorf("link = %+v", link)
	}
	if links := collect(t, r.Client); len(links) != 1 || !links[0].Unchecked {
		t.Errorf("Links: %+v, want it among them", links)
	}
}

func collect(t *testing.T, c *pkb.Client) (links []pkb.Link) {
	t.Helper()
	for link, err := range c.Links(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		links = append(links, link)
	}
	return links
}

// The session has ended, and the patient approves again with the wrong account,
// without AllowSwitch, while Purview fails; then everything is slow at once. Nobody
// is shown the other patient's data, neither now nor later.
func TestRelinkOfAnotherPatientDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, askOnce)
		r.link(t, user, r.patient)
		b := r.replica(t)
		other := r.pkb.AddPatient(pkbtest.Patient{})
		r.pkb.EndSessions(r.patient)
		if _, err := r.ForUser(user).Self(t.Context()); !errors.Is(err, pkb.ErrRelinkRequired) {
			t.Fatalf("Self: %v, want ErrRelinkRequired", err)
		}
		pending, query := r.approve(t, user, other)
		r.pkb.Next(pkbtest.Purview, pkbtest.Respond(503, "", ""))
		link, err := r.Complete(t.Context(), user, pending, query)
		if err != nil && !errors.Is(err, pkb.ErrUnchecked) || !link.Unchecked {
			t.Errorf("Complete = %+v, %v, want a link that is not checked", link, err)
		}
		r.pkb.Advance(10*time.Minute - 31*time.Second)            // to where a refresh is due
		r.pkb.Next(pkbtest.Purview, pkbtest.Delay(5*time.Second)) // Purview is slow once
		r.pkb.Next(pkbtest.Token, pkbtest.Delay(8*time.Second))   // and so is a refresh
		shows := func(name string, c *pkb.Client) {
			if self, err := c.ForUser(user).Self(t.Context()); err == nil && self.Reveal().LastName == other.LastName {
				t.Errorf("%s: Self is another patient's, which nobody allowed", name)
			}
			if id, err := c.ForUser(user).PublicID(t.Context()); err == nil && id == identity.PublicID(other.PublicID) {
				t.Errorf("%s: PublicID is another patient's", name)
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() { shows("replica B", b) })
		time.Sleep(3 * time.Second)
		wg.Go(func() { shows("replica A", r.Client) })
		wg.Wait()
		for range 10 {
			time.Sleep(time.Minute)
			shows("later, A", r.Client)
			shows("later, B", b)
		}
		if link, err := r.Link(t.Context(), user); err != nil || link.State != tokenstore.StateRelinkRequired || link.PublicID != identity.PublicID(r.patient.PublicID) {
			t.Errorf("the link: %+v, %v, want relink required, and the first patient's", link, err)
		}
		r.link(t, user, r.patient)
		if _, err := b.ForUser(user).Self(t.Context()); err != nil {
			t.Errorf("after the right account approved: %v", err)
		}
	})
}

// Whoever edits the clear columns of the table can take a link away and cannot make
// one: whose a link is stands in the sealed part, and a difference is damage. Nothing
// is sent, shown or written, and putting the column back mends it.
func TestEditedColumnsAreNotBelieved(t *testing.T) {
	for name, edit := range map[string]func(r *tokenstore.Record, other *pkbtest.Patient){
		"public id":     func(r *tokenstore.Record, other *pkbtest.Patient) { r.PublicID = other.PublicID },
		"no public id":  func(r *tokenstore.Record, _ *pkbtest.Patient) { r.PublicID = "" },
		"pair":          func(r *tokenstore.Record, _ *pkbtest.Patient) { r.Pair += "0" },
		"no sealed":     func(r *tokenstore.Record, _ *pkbtest.Patient) { r.Sealed = nil },
		"sealed, other": func(r *tokenstore.Record, _ *pkbtest.Patient) { r.Sealed[len(r.Sealed)-1] ^= 1 },
		"details":       func(r *tokenstore.Record, _ *pkbtest.Patient) { r.Details = []byte("{") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, withConfig(func(c *pkb.Config) { c.Keys = keyring(t, "k") }))
			r.link(t, user, r.patient)
			other := r.pkb.AddPatient(pkbtest.Patient{})
			pending, query := r.approve(t, user, other)
			load := func() tokenstore.Record {
				record, err := r.store.Load(t.Context(), user)
				if err != nil {
					t.Fatal(err)
				}
				return record
			}
			good := load()
			bad := load()
			edit(&bad, other)
			bad, err := r.store.Save(t.Context(), bad)
			if err != nil {
				t.Fatal(err)
			}
			sent := len(r.pkb.Requests())
			c := r.replica(t)
			for name, err := range map[string]error{
				"PublicID":  second(c.ForUser(user).PublicID(t.Context())),
				"Purview":   second(c.ForUser(user).Purview(t.Context())),
				"Self":      second(c.ForUser(user).Self(t.Context())),
				"Token":     second(c.Token(t.Context(), user)),
				"Link":      second(c.Link(t.Context(), user)),
				"Authorize": func() error { _, _, err := c.Authorize(t.Context(), user); return err }(),
				"Complete":  second(c.Complete(t.Context(), user, pending, query)),
			} {
				if !errors.Is(err, pkb.ErrKeys) || !strings.Contains(err.Error(), "damaged") {
					t.Errorf("%s: %v, want ErrKeys, and that it is damaged", name, err)
				}
			}
			if n := len(r.pkb.Requests()); n != sent {
				t.Errorf("%d requests were sent", n-sent)
			}
			now := load()
			if now.Version != bad.Version {
				t.Error("the record was written")
			}
			good.Version = now.Version
			if _, err := r.store.Save(t.Context(), good); err != nil {
				t.Fatal(err)
			}
			if id, err := c.ForUser(user).PublicID(t.Context()); err != nil || id != identity.PublicID(r.patient.PublicID) {
				t.Errorf("with the columns put back: %s, %v", id, err)
			}
		})
	}
}

// A response that may hold the new tokens and cannot be read is kept, and the
// refresh token is not presented again, until an operator gives the response up.
func TestDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		if err := r.Discard(t.Context(), user); !errors.Is(err, pkb.ErrNotLinked) {
			t.Errorf("Discard for nobody: %v, want ErrNotLinked", err)
		}
		r.link(t, user, r.patient)
		if err := r.Discard(t.Context(), user); !errors.Is(err, pkb.ErrNotLinked) {
			t.Errorf("Discard without such a response: %v, want ErrNotLinked", err)
		}
		r.pkb.Advance(sold)
		// It says nothing of tokens, but for all we know it could.
		r.pkb.Next(pkbtest.Token, pkbtest.Respond(200, "application/json", `{"result":{"value":"x"}}`))
		if _, err := r.Token(t.Context(), user); !errors.Is(err, pkb.ErrTryLater) {
			t.Errorf("Token: %v, want ErrTryLater", err)
		}
		posts := r.pkb.Refreshes()
		for range 5 {
			r.pkb.Advance(time.Hour)
			if e, ok := errors.AsType[*pkb.RelinkError](second(r.Token(t.Context(), user))); !ok || e.Cause != observe.CauseResponseUnreadable {
				t.Errorf("Token, later: %v, want relink: %s", e, observe.CauseResponseUnreadable)
			}
		}
		if n := r.pkb.Refreshes(); n != posts {
			t.Errorf("%d more presentations while the response is kept", n-posts)
		}
		if err := r.replica(t).Discard(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		// As after every second lost response there is a moment's wait.
		if _, err := r.Token(t.Context(), user); !errors.Is(err, pkb.ErrTryLater) {
			t.Errorf("at once after Discard: %v, want ErrTryLater", err)
		}
		r.pkb.Advance(20 * time.Second)
		if _, err := r.Token(t.Context(), user); err != nil {
			t.Errorf("after Discard: %v", err)
		}
		if link, err := r.Link(t.Context(), user); err != nil || link.State != tokenstore.StateLinked {
			t.Errorf("after Discard: %s, %v", link.State, err)
		}
	})
}

// counted is a store that writes down what is asked of it.
type counted struct {
	*tokenstore.Memory
	mu  sync.Mutex
	log []string
}

func (c *counted) note(op string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = append(c.log, op)
}

func (c *counted) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	log := c.log
	c.log = nil
	return log
}

func (c *counted) Load(ctx context.Context, id string) (tokenstore.Record, error) {
	c.note("Load")
	return c.Memory.Load(ctx, id)
}

func (c *counted) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	c.note("Save")
	return c.Memory.Save(ctx, r)
}

func (c *counted) FindPublicID(ctx context.Context, id string, most int) ([]tokenstore.Record, error) {
	c.note("Find")
	return c.Memory.FindPublicID(ctx, id, most)
}

// What each call costs at the store.
func TestStoreCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &counted{Memory: tokenstore.NewMemory()}
		r := newRig(t, withConfig(func(c *pkb.Config) { c.Store, c.Keys = store, keyring(t, "k") }))
		costs := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(want, store.take()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		pending, query := r.approve(t, user, r.patient)
		costs("Authorize", "Load")
		if _, err := r.Complete(t.Context(), user, pending, query); err != nil {
			t.Fatal(err)
		}
		// Reserve, settle, claim; look for others; admit.
		costs("the first Complete", "Load", "Save", "Save", "Save", "Find", "Save")
		self := func() {
			t.Helper()
			if _, err := r.ForUser(user).Self(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		self()
		costs("Self with no token in memory", "Load")
		self()
		costs("Self again")
		if _, err := r.ForUser(user).PublicID(t.Context()); err != nil {
			t.Fatal(err)
		}
		costs("PublicID", "Load")
		purview := func() {
			t.Helper()
			if id, err := r.ForUser(user).Purview(t.Context()); err != nil || id != identity.PublicID(r.patient.PublicID) {
				t.Fatalf("Purview: %s, %v, want %s", id, err, r.patient.PublicID)
			}
		}
		purview()
		costs("Purview of a link that was read")
		r.pkb.Advance(sold)
		token(t.Context(), t, r.Client, user)
		costs("a refresh", "Load", "Save", "Save")
		purview()
		costs("Purview after a refresh")
		time.Sleep(time.Second)
		purview()
		costs("Purview of a link that another process may have changed since", "Load")
		pending, query = r.approve(t, user, r.patient)
		store.take()
		if _, err := r.Complete(t.Context(), user, pending, query); err != nil {
			t.Fatal(err)
		}
		costs("Complete for the same patient", "Load", "Save", "Save", "Save")
	})
}
