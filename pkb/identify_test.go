// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/google/go-cmp/cmp"
)

// judge is a host that knows its users.
type judge struct {
	verdict error
	asked   []pkb.Candidate
}

func (j *judge) identify(_ context.Context, c pkb.Candidate) error {
	j.asked = append(j.asked, c)
	return j.verdict
}

func newJudge(t *testing.T) (*judge, *rig) {
	t.Helper()
	j := &judge{}
	return j, newRig(t, func(_ *pkbtest.Config, c *pkb.Config) { c.Identify = j.identify })
}

// aboutNobody are responses of users/self with status 200 that prove nothing about
// who approved: a proxy's, or PKB's about itself.
var aboutNobody = map[string]string{
	"nothing":       `{}`,
	"maintenance":   `{"status":"maintenance"}`,
	"an error":      `{"error":"upstream unavailable"}`,
	"a list":        `[{"patient":false}]`,
	"null":          `null`,
	"patient null":  `{"patient":null}`,
	"patient empty": `{"patient":""}`,
	"outcome":       `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"exception"}]}`,
}

// Such a response discards nothing: the authorization waits, no call gets a token,
// and PKB is asked again.
func TestResponseAboutNobodyKeepsTheAuthorization(t *testing.T) {
	for name, body := range aboutNobody {
		t.Run(name, func(t *testing.T) {
			j, r := newJudge(t)
			pending, query := r.approve(t, user, r.patient)
			r.pkb.Next(pkbtest.Self, pkbtest.Respond(200, "application/json", body))
			link, err := r.Complete(t.Context(), user, pending, query)
			if err != nil || link.Verified || !link.Unchecked {
				t.Fatalf("Complete = %+v, %v, want a link that waits", link, err)
			}
			if _, err := r.ForUser(user).Self(t.Context()); !errors.Is(err, pkb.ErrTryLater) || errors.Is(err, identity.ErrNotAPatient) {
				t.Errorf("Self: %v, want ErrTryLater", err)
			}
			if len(j.asked) != 0 {
				t.Error("the host was asked about nobody")
			}
			r.pkb.Advance(5 * time.Second)
			if _, err := r.ForUser(user).Self(t.Context()); err != nil {
				t.Errorf("Self, later: %v", err)
			}
			if link, err := r.Link(t.Context(), user); err != nil || !link.Verified || len(j.asked) != 1 {
				t.Errorf("Link, later = %+v, %v; the host was asked %d times", link, err, len(j.asked))
			}
		})
	}
}

// Neither does it discard a switch to another patient, nor a link that is in use.
func TestResponseAboutNobodyKeepsTheLink(t *testing.T) {
	for name, body := range aboutNobody {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { keepsTheLink(t, pkbtest.Respond(200, "application/json", body)) })
		})
	}
}

func keepsTheLink(t *testing.T, nobody pkbtest.Fault) {
	_, r := newJudge(t)
	before := r.link(t, user, r.patient)
	r.pkb.Next(pkbtest.Self, nobody)
	var api *pkb.APIError
	if _, err := r.ForUser(user).Self(t.Context()); !errors.As(err, &api) || api.Status != 200 || errors.Is(err, identity.ErrNotAPatient) {
		t.Errorf("Self: %v, want an APIError", err)
	}

	other := r.pkb.AddPatient(pkbtest.Patient{})
	pending, query := r.approve(t, user, other, pkb.AllowSwitch())
	r.pkb.Next(pkbtest.Self, nobody)
	link, err := r.Complete(t.Context(), user, pending, query)
	if !errors.Is(err, pkb.ErrUnchecked) || link.PublicID != before.PublicID {
		t.Fatalf("Complete = %+v, %v, want ErrUnchecked and the link as it was", link, err)
	}
	time.Sleep(5 * time.Second) // of the bubble
	if _, err := r.ForUser(user).Self(t.Context()); err != nil {
		t.Errorf("Self beside the check: %v", err)
	}
	synctest.Wait()
	time.Sleep(time.Second)
	if link, err := r.Link(t.Context(), user); err != nil || link.PublicID != identity.PublicID(other.PublicID) {
		t.Errorf("afterwards: %+v, %v, want the patient who approved", link, err)
	}
}

// An explicit false does discard it, in each form that PKB may write.
func TestNotAPatientByUsersSelf(t *testing.T) {
	for _, body := range []string{`{"patient":false}`, `{"patient":"false","userType":"CLINICIAN"}`, `{"patient":0}`} {
		_, r := newJudge(t)
		pending, query := r.approve(t, user, r.patient)
		r.pkb.Next(pkbtest.Self, pkbtest.Respond(200, "application/json", body))
		if _, err := r.Complete(t.Context(), user, pending, query); !errors.Is(err, identity.ErrNotAPatient) {
			t.Errorf("%s: Complete: %v, want ErrNotAPatient", body, err)
		}
		if _, err := r.Link(t.Context(), user); !errors.Is(err, pkb.ErrNotLinked) {
			t.Errorf("%s: Link: %v, want ErrNotLinked", body, err)
		}
	}
}

// What a host says about a patient is not for anybody's log.
var errNotThem = fmt.Errorf("born 1980-02-29, and not 1981: %w", pkb.ErrIdentityRefused)

func TestIdentifyIsAskedBeforeTheLinkCounts(t *testing.T) {
	j, r := newJudge(t)
	link := r.link(t, user, r.patient)
	if !link.Verified || len(j.asked) != 1 {
		t.Fatalf("verified %t, asked %d times", link.Verified, len(j.asked))
	}
	c := j.asked[0]
	if c.AppUserID != user || c.PublicID != identity.PublicID(r.patient.PublicID) || c.Linked != "" || c.Self.Reveal().FirstName != r.patient.FirstName {
		t.Errorf("asked about another candidate: %q, %q, %q", c.AppUserID, c.PublicID, c.Linked)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", c, c, c, c); strings.Contains(s, user) || strings.Contains(s, r.patient.FirstName) {
		t.Errorf("a candidate prints: %s", s)
	}
	// A relink is judged too, and the host sees that it is one.
	r.link(t, user, r.patient)
	if len(j.asked) != 2 || j.asked[1].Linked != identity.PublicID(r.patient.PublicID) {
		t.Errorf("relink: asked %d times, linked with %q", len(j.asked), j.asked[len(j.asked)-1].Linked)
	}
}

func TestRefusedIdentityLeavesNothing(t *testing.T) {
	j, r := newJudge(t)
	j.verdict = errNotThem
	pending, query := r.approve(t, user, r.patient)
	_, err := r.Complete(t.Context(), user, pending, query)
	if !errors.Is(err, pkb.ErrIdentityRefused) || !errors.Is(err, errNotThem) {
		t.Fatalf("Complete: %v", err)
	}
	if strings.Contains(fmt.Sprintf("%v %+v", err, err), "1980") {
		t.Errorf("the error repeats what the host said: %v", err)
	}
	for name, err := range map[string]error{
		"Link": second(r.Link(t.Context(), user)), "Token": second(r.Token(t.Context(), user)), "Self": second(r.ForUser(user).Self(t.Context())),
	} {
		if !errors.Is(err, pkb.ErrNotLinked) {
			t.Errorf("%s: %v, want ErrNotLinked", name, err)
		}
	}
	rec, err := r.store.Load(t.Context(), user)
	if err != nil || len(rec.Sealed) != 0 || rec.PublicID != "" {
		t.Errorf("the store keeps %d bytes of tokens, public id %q, %v", len(rec.Sealed), rec.PublicID, err)
	}
	// And the row itself goes, once it has outlived whatever was begun before it
	// was left, two days.
	r.pkb.Advance(49 * time.Hour)
	if n, err := r.Purge(t.Context()); n != 1 || err != nil {
		t.Errorf("Purge = %d, %v", n, err)
	}
}

func TestRefusedRelinkKeepsTheLink(t *testing.T) {
	j, r := newJudge(t)
	before := r.link(t, user, r.patient)
	j.verdict = errNotThem
	pending, query := r.approve(t, user, r.patient)
	if _, err := r.Complete(t.Context(), user, pending, query); !errors.Is(err, pkb.ErrIdentityRefused) {
		t.Fatalf("Complete: %v", err)
	}
	after, err := r.Link(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the link changed (-before +after):\n%s", diff)
	}
	if _, err := r.ForUser(user).Self(t.Context()); err != nil {
		t.Errorf("the link that worked: %v", err)
	}
}

// PKB does not answer, or the host cannot tell: nobody gets a token, nothing is
// lost, and a call asks again: one that is about this, at once, and any other after
// a wait of a second that doubles up to a minute.
func TestIdentifyIsAskedAgain(t *testing.T) {
	for name, hinder := range map[string]func(*judge, *rig){
		"host cannot tell": func(j *judge, _ *rig) { j.verdict = errors.New("no database: canary") },
		"no users/self": func(_ *judge, r *rig) {
			fail := pkbtest.Respond(500, "", "")
			r.pkb.Next(pkbtest.Self, fail, fail, fail, fail, fail, fail, fail, fail, fail, fail)
		},
		"no Purview": func(_ *judge, r *rig) {
			fail := pkbtest.Respond(500, "", "")
			r.pkb.Next(pkbtest.Purview, fail, fail, fail, fail, fail, fail, fail, fail, fail, fail)
		},
	} {
		t.Run(name, func(t *testing.T) {
			j, r := newJudge(t)
			pending, query := r.approve(t, user, r.patient)
			hinder(j, r)
			link, err := r.Complete(t.Context(), user, pending, query)
			if err != nil || link.Verified {
				t.Fatalf("Complete = %+v, %v", link, err)
			}
			_, err = r.ForUser(user).Self(t.Context())
			if !errors.Is(err, pkb.ErrTryLater) || strings.Contains(err.Error(), "canary") {
				t.Errorf("Self: %v, want ErrTryLater", err)
			}
			if _, err := r.ForUser(user).PublicID(t.Context()); err == nil {
				t.Error("PublicID of a patient who was not identified")
			}
			j.verdict = nil
			r.pkb.ClearFaults()
			r.pkb.Advance(5 * time.Second)
			if _, err := r.ForUser(user).Self(t.Context()); err != nil {
				t.Errorf("Self, later: %v", err)
			}
			if link, err := r.Link(t.Context(), user); err != nil || !link.Verified {
				t.Errorf("Link, later = %+v, %v", link, err)
			}
		})
	}
}

// S44: the host lets a link move to another record, for one approval.
func TestSwitchToAnotherPatient(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	other := r.pkb.AddPatient(pkbtest.Patient{})
	link := r.link(t, user, other, pkb.AllowSwitch())
	if link.PublicID != identity.PublicID(other.PublicID) || !link.Verified {
		t.Errorf("linked to %v", link.PublicID)
	}
	if self, err := r.ForUser(user).Self(t.Context()); err != nil || self.Reveal().LastName != other.LastName {
		t.Errorf("Self: %v", err)
	}
	pending, query := r.approve(t, user, r.patient)
	if _, err := r.Complete(t.Context(), user, pending, query); !errors.Is(err, pkb.ErrWrongPatient) {
		t.Errorf("without AllowSwitch: %v", err)
	}
}

// S46: a record that two users link is refused, told, and allowed where the
// host says so.
func TestSharedRecord(t *testing.T) { synctest.Test(t, testSharedRecord) }

func testSharedRecord(t *testing.T) {
	var d diary
	r := newRig(t, func(_ *pkbtest.Config, c *pkb.Config) { c.OnEvent = d.note })
	r.link(t, user, r.patient)
	pending, query := r.approve(t, "user-2", r.patient)
	_, err := r.Complete(t.Context(), "user-2", pending, query)
	var shared *pkb.SharedRecordError
	if !errors.Is(err, pkb.ErrSharedRecord) || !errors.As(err, &shared) || !cmp.Equal(shared.AppUserIDs, []string{user}) {
		t.Fatalf("Complete: %v", err)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", err, err, err, err); strings.Contains(s, user) {
		t.Errorf("the error prints the other user: %s", s)
	}
	events := d.all()
	if last := events[len(events)-1]; last.Kind != observe.EventSharedRecord || last.AppUserID != "user-2" {
		t.Errorf("told: %v", last)
	}
	if _, err := r.Link(t.Context(), "user-2"); !errors.Is(err, pkb.ErrNotLinked) {
		t.Errorf("Link: %v, want ErrNotLinked", err)
	}
	if _, err := r.ForUser(user).Self(t.Context()); err != nil {
		t.Errorf("the first link: %v", err)
	}
	r.link(t, "user-2", r.patient, pkb.AllowShared())
}

func TestTimeline(t *testing.T) {
	r := newRig(t)
	if _, err := r.Timeline(t.Context(), user); !errors.Is(err, pkb.ErrNotLinked) {
		t.Errorf("Timeline of nobody: %v", err)
	}
	r.link(t, user, r.patient)
	for range 3 {
		r.pkb.Advance(10 * time.Minute)
		token(t.Context(), t, r.Client, user)
	}
	r.pkb.EndSessions(r.patient)
	r.pkb.Advance(10 * time.Minute)
	if _, err := r.Token(t.Context(), user); !errors.Is(err, pkb.ErrRelinkRequired) {
		t.Fatal(err)
	}
	r.link(t, user, r.patient)
	if err := r.Unlink(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	timeline, err := r.Timeline(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range timeline {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%d %s %s", e.Count, e.Kind, e.Cause)))
	}
	want := []string{
		"1 approved", "1 exchanged", "1 linked", "3 refreshed", "1 relink_required session_expired",
		"1 approved", "1 exchanged", "1 linked", "1 unlinked",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("timeline (-want +got):\n%s", diff)
	}
	if e := timeline[3]; e.Until.Sub(e.At).Round(time.Minute) != 20*time.Minute {
		t.Errorf("three refreshes within %v", e.Until.Sub(e.At))
	}
}
