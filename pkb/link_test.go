// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/google/go-cmp/cmp"
)

func TestLink(t *testing.T) {
	r := newRig(t)
	link := r.link(t, user, r.patient)
	want := pkb.Link{
		AppUserID: user, State: tokenstore.StateLinked, PublicID: identity.PublicID(r.patient.PublicID), Verified: true,
		LinkedAt: link.LinkedAt, RefreshedAt: link.LinkedAt, ExpiresAt: link.LinkedAt.Add(10 * time.Minute),
		DueAt: link.LinkedAt.Add(8 * time.Minute),
	}
	if diff := cmp.Diff(want, link); diff != "" {
		t.Errorf("link (-want +got):\n%s", diff)
	}
	patient := r.ForUser(user)
	if id, err := patient.PublicID(t.Context()); err != nil || id != want.PublicID {
		t.Errorf("PublicID = %v, %v", id, err)
	}
	if id, err := patient.Purview(t.Context()); err != nil || id != want.PublicID {
		t.Errorf("Purview = %v, %v", id, err)
	}
	self, err := patient.Self(t.Context())
	if err != nil {
		t.Fatalf("Self: %v", err)
	}
	if number, ok := self.NHSNumber(); !ok || number.Reveal() != r.patient.NHSNumber {
		t.Errorf("NHS number %q, %t", number.Reveal(), ok)
	}
	if self.Reveal().FirstName != r.patient.FirstName {
		t.Errorf("first name %q", self.Reveal().FirstName)
	}
}

// The order of requests: exchange, then Purview, and nothing more.
func TestLinkRequests(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	var got []string
	for _, q := range r.pkb.Requests() {
		got = append(got, q.Method+" "+strings.TrimPrefix(q.Path, "/tenant"))
	}
	want := []string{
		"GET /apiAuthorize.action", "POST /apiAuthorize.action", // the patient's browser
		"POST /apiToken.action", "POST /fhir/Consent/$purview",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// S42: everything that can be wrong with a callback, and what nobody may do with
// one: each gets its own error, sends no code and changes nothing. An approval has
// ten minutes, and an hour more, by which the clocks of two replicas may differ:
// what makes it good for one completion is its mark in the record.
func TestCallbacksThatDoNotFit(t *testing.T) {
	state := func(reason string) func(error) bool {
		return func(err error) bool {
			var e *pkb.StateError
			return errors.Is(err, pkb.ErrState) && errors.As(err, &e) && e.Reason == reason
		}
	}
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	for name, tc := range map[string]struct {
		user  string
		query func(url.Values)
		wait  time.Duration
		none  bool
		want  func(error) bool
	}{
		"nobody signed in":       {user: "-", want: is(pkb.ErrAppUserID)},
		"another user signed in": {user: "user-2", want: state("other_user")},
		"no pending value":       {none: true, want: state("no_pending")},
		"no state":               {query: func(q url.Values) { q.Del("state") }, want: state("missing")},
		"empty state":            {query: func(q url.Values) { q.Set("state", "") }, want: state("missing")},
		"two states":             {query: func(q url.Values) { q.Add("state", "x") }, want: state("missing")},
		"foreign state":          {query: func(q url.Values) { q.Set("state", "x") }, want: state("mismatch")},
		"too late":               {wait: 70*time.Minute + time.Second, want: state("expired")},
		"neither code nor error": {query: func(q url.Values) { q.Del("code") }, want: is(pkb.ErrCallback)},
		"both code and error":    {query: func(q url.Values) { q.Set("error", "access_denied") }, want: is(pkb.ErrCallback)},
		"two codes":              {query: func(q url.Values) { q.Add("code", "x") }, want: is(pkb.ErrCallback)},
		"empty code":             {query: func(q url.Values) { q.Set("code", "") }, want: is(pkb.ErrCallback)},
		"endless code":           {query: func(q url.Values) { q.Set("code", strings.Repeat("x", 5000)) }, want: is(pkb.ErrCallback)},
		"refused":                {query: func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") }, want: is(pkb.ErrAccessDenied)},
		"another error": {
			query: func(q url.Values) { q.Del("code"); q.Set("error", "<script>"); q.Set("error_description", "canary") },
			want:  is(pkb.ErrCallback),
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			pending, query := r.approve(t, user, r.patient)
			code := query.Get("code")
			if tc.query != nil {
				tc.query(query)
			}
			if tc.none {
				pending = pkb.Pending{}
			}
			r.pkb.Advance(tc.wait)
			who := user
			if tc.user != "" {
				who = strings.Trim(tc.user, "-")
			}
			_, err := r.Complete(t.Context(), who, pending, query)
			if !tc.want(err) {
				t.Errorf("Complete: %v", err)
			}
			for _, secret := range []string{code, "<script>", "canary", pending.State().Reveal()} {
				if secret != "" && strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
					t.Errorf("the error repeats %q: %v", secret, err)
				}
			}
			if n := r.pkb.Count(pkbtest.Token); n != 0 {
				t.Errorf("%d requests to the token endpoint", n)
			}
			if _, err := r.Link(t.Context(), user); !errors.Is(err, pkb.ErrNotLinked) {
				t.Errorf("Link: %v, want ErrNotLinked", err)
			}
		})
	}
}

// S43: a callback that comes twice, at once or later, sends its code once, and
// every visit is told of the link that came of it: the patient sees one of them,
// and does not know which.
func TestCallbackTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		pending, query := r.approve(t, user, r.patient)
		r.pkb.Next(pkbtest.Token, pkbtest.Delay(5*time.Second))
		other := r.replica(t)
		var wg sync.WaitGroup
		links := make([]pkb.Link, 10)
		for i := range links {
			wg.Go(func() {
				c := r.Client
				if i%2 == 1 {
					c = other
				}
				var err error
				if links[i], err = c.Complete(t.Context(), user, pending, query); err != nil {
					t.Errorf("visit %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		now, err := r.Link(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		for i, link := range links {
			if diff := cmp.Diff(now, link); diff != "" {
				t.Errorf("visit %d is told of another link (-the link +told):\n%s", i, diff)
			}
		}
		for name, c := range map[string]*pkb.Client{"reload": r.Client, "reload on another replica": other} {
			if link, err := c.Complete(t.Context(), user, pending, query); err != nil || link.PublicID != now.PublicID {
				t.Errorf("%s: %v, %v, want the link", name, link, err)
			}
		}
		if n := r.pkb.Exchanges(); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
		if r.pkb.LiveSessions(r.patient) != 1 {
			t.Error("the session did not survive")
		}
	})
}

// A visitor's patience is the visitor's: one that leaves is let go at once, while
// the visit that has the code goes on.
func TestSecondVisitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		pending, query := r.approve(t, user, r.patient)
		r.pkb.Next(pkbtest.Token, pkbtest.Delay(20*time.Second))
		other := r.replica(t)
		first := make(chan error)
		go func() { first <- second(r.Complete(t.Context(), user, pending, query)) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := other.Complete(ctx, user, pending, query); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("the second visit after %v: %v, want its deadline", time.Since(began), err)
		}
		if err := <-first; err != nil {
			t.Errorf("the first visit: %v", err)
		}
		if err := other.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Back after a success: an approval that is not the link any more says so, and
// never that of another one.
func TestCallbackOfAnEarlierApproval(t *testing.T) {
	r := newRig(t)
	first, firstQuery := r.approve(t, user, r.patient)
	if _, err := r.Complete(t.Context(), user, first, firstQuery); err != nil {
		t.Fatal(err)
	}
	second, secondQuery := r.approve(t, user, r.patient)
	if _, err := r.Complete(t.Context(), user, second, secondQuery); err != nil {
		t.Fatal(err)
	}
	var state *pkb.StateError
	if _, err := r.Complete(t.Context(), user, first, firstQuery); !errors.As(err, &state) || state.Reason != "used" {
		t.Errorf("the first one again: %v, want StateUsed", err)
	}
	if _, err := r.Complete(t.Context(), user, second, secondQuery); err != nil {
		t.Errorf("the second one again: %v, want the link", err)
	}
	if err := r.Unlink(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Complete(t.Context(), user, second, secondQuery); !errors.Is(err, pkb.ErrNotLinked) {
		t.Errorf("after Unlink: %v, want ErrNotLinked", err)
	}
	if n := r.pkb.Exchanges(); n != 2 {
		t.Errorf("%d exchanges, want 2", n)
	}
}

// Of two approvals at once the later one counts, and the other is told so, and not
// that it made the link.
func TestOvertakenApprovalIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		first, firstQuery := r.approve(t, user, r.patient)
		second, secondQuery := r.approve(t, user, r.patient)
		r.pkb.Next(pkbtest.Purview, pkbtest.Delay(10*time.Second))
		overtaken := make(chan error)
		go func() {
			_, err := r.Complete(t.Context(), user, first, firstQuery)
			overtaken <- err
		}()
		synctest.Wait() // the first pair is saved, and PKB is asked whose it is
		link, err := r.replica(t).Complete(t.Context(), user, second, secondQuery)
		if err != nil || link.State != tokenstore.StateLinked {
			t.Errorf("the later one = %v, %v", link, err)
		}
		if err := <-overtaken; !errors.Is(err, pkb.ErrOvertaken) {
			t.Errorf("the earlier one: %v, want ErrOvertaken", err)
		}
		if _, err := r.ForUser(user).Self(t.Context()); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// An authorization that was begun before an unlink does not bring the link back,
// though nobody has seen its callback before.
func TestUnlinkBetweenAuthorizeAndCallback(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	pending, query := r.approve(t, user, r.patient)
	if err := r.Unlink(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	exchanges := r.pkb.Exchanges()
	for name, c := range map[string]*pkb.Client{"same replica": r.Client, "another replica": r.replica(t)} {
		if _, err := c.Complete(t.Context(), user, pending, query); !errors.Is(err, pkb.ErrNotLinked) {
			t.Errorf("%s: %v, want ErrNotLinked", name, err)
		}
	}
	if n := r.pkb.Exchanges(); n != exchanges {
		t.Error("the code was sent")
	}
	if _, err := r.Token(t.Context(), user); !errors.Is(err, pkb.ErrNotLinked) {
		t.Errorf("Token: %v, want ErrNotLinked", err)
	}
	r.link(t, user, r.patient) // one that was begun since does
}

func TestTwoTabs(t *testing.T) {
	r := newRig(t)
	first, firstQuery := r.approve(t, user, r.patient)
	second, secondQuery := r.approve(t, user, r.patient)
	if _, err := r.Complete(t.Context(), user, first, secondQuery); !errors.Is(err, pkb.ErrState) {
		t.Errorf("one tab's pending value with the other's callback: %v", err)
	}
	if _, err := r.Complete(t.Context(), user, second, secondQuery); err != nil {
		t.Errorf("second tab: %v", err)
	}
	if _, err := r.Complete(t.Context(), user, first, firstQuery); err != nil {
		t.Errorf("first tab: %v", err)
	}
	if _, err := r.ForUser(user).Self(t.Context()); err != nil {
		t.Errorf("after both: %v", err)
	}
}

// The patient closes the browser while the code is on its way: the approval
// counts.
func TestCallbackGoesOnWithoutTheBrowser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		pending, query := r.approve(t, user, r.patient)
		r.pkb.Next(pkbtest.Token, pkbtest.Delay(5*time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Complete(ctx, user, pending, query); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Complete: %v, want the deadline", err)
		}
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if link, err := r.replica(t).Link(t.Context(), user); err != nil || link.PublicID == "" {
			t.Errorf("Link = %+v, %v", link, err)
		}
	})
}

// S29, S30, S32: token answers that are not what PKB documents.
func TestTokenAnswers(t *testing.T) {
	odd := func(body string) pkbtest.Fault { return pkbtest.RespondAfter(200, "application/json", body) }
	api := func(status int, code fhir.ResponseCode) func(error) bool {
		return func(err error) bool {
			var e *pkb.APIError
			return errors.As(err, &e) && e.Status == status && e.Code == code && e.Operation == "code exchange"
		}
	}
	linked := func(err error) bool { return err == nil }
	// What the answer says of the token's life; PKB's own token is put in.
	life := func(was, is string) pkbtest.Fault {
		return pkbtest.Rewrite(func(_ http.Header, body []byte) []byte {
			return []byte(strings.Replace(string(body), was, is, 1))
		})
	}
	for name, tc := range map[string]struct {
		fault pkbtest.Fault
		want  func(error) bool
	}{
		"HTML":               {pkbtest.RespondAfter(200, "text/html", "<html>canary"), api(200, "")},
		"empty":              {odd(""), api(200, "")},
		"200 with error":     {odd(`{"error":"invalid_grant","error_description":"canary"}`), api(200, "invalid_grant")},
		"no access token":    {odd(`{"token_type":"Bearer","refresh_token":"canary"}`), api(200, "")},
		"another token type": {odd(`{"token_type":"mac","access_token":"canary"}`), api(200, "")},
		"invalid_grant":      {pkbtest.Respond(400, "application/json", `{"error":"invalid_grant"}`), api(400, "invalid_grant")},
		"invalid_client":     {pkbtest.Respond(401, "application/json", `{"error":"invalid_client"}`), api(401, "invalid_client")},
		"session invalid":    {pkbtest.Respond(400, "application/json", `{"error":"API_SESSION_INVALID"}`), api(400, fhir.SessionInvalid)},
		// A page that names a code is believed nothing: help pages name codes, too.
		"page with a code":     {pkbtest.Respond(400, "text/html", "API_SESSION_INVALID"), api(400, "")},
		"server error":         {pkbtest.Respond(500, "text/html", "canary"), api(500, "")},
		"slow down":            {pkbtest.Respond(429, "", ""), api(429, "")},
		"redirect":             {pkbtest.Respond(302, "", ""), api(302, "")},
		"cut connection":       {pkbtest.DropAfter(), api(0, "")},
		"text/plain":           {pkbtest.Rewrite(func(h http.Header, b []byte) []byte { h.Set("Content-Type", "text/plain"); return b }), linked},
		"byte-order mark":      {pkbtest.Rewrite(func(_ http.Header, b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) }), linked},
		"no expires_in":        {life(`"expires_in":600`, `"expires":600`), linked},
		"expires_in as string": {life(`"expires_in":600`, `"expires_in":"600"`), linked},
		"clinician's scope":    {life(`"PATIENT"`, `"CLINICIAN"`), func(err error) bool { return errors.Is(err, identity.ErrNotAPatient) }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			pending, query := r.approve(t, user, r.patient)
			r.pkb.Next(pkbtest.Token, tc.fault)
			_, err := r.Complete(t.Context(), user, pending, query)
			if !tc.want(err) {
				t.Fatalf("Complete: %#v", err)
			}
			link, linkErr := r.Link(t.Context(), user)
			if err == nil {
				if linkErr != nil || link.ExpiresAt.Sub(link.LinkedAt) != 10*time.Minute {
					t.Errorf("Link = %+v, %v", link, linkErr)
				}
				return
			}
			if !errors.Is(linkErr, pkb.ErrNotLinked) {
				t.Errorf("Link: %v, want ErrNotLinked", linkErr)
			}
			text := fmt.Sprintf("%v %+v", err, err)
			if strings.Contains(text, "canary") || strings.Contains(text, query.Get("code")) {
				t.Errorf("the error repeats what PKB said: %s", text)
			}
			if a := advice.For(err); a.Code == "unforeseen" {
				t.Errorf("there is no advice about it: %s", text)
			}
		})
	}
}

// The token endpoint could not be reached, or took nobody's requests: the same
// callback works when it is loaded again.
func TestCallbackAgainAfterOutage(t *testing.T) {
	r := newRig(t)
	pending, query := r.approve(t, user, r.patient)
	r.pkb.Next(pkbtest.Token, pkbtest.Respond(429, "", ""))
	if _, err := r.Complete(t.Context(), user, pending, query); err == nil {
		t.Fatal("linked while PKB was not taking requests")
	}
	if _, err := r.Complete(t.Context(), user, pending, query); err != nil {
		t.Errorf("again: %v", err)
	}
}

// S27: a Purview that fails after the exchange loses nothing.
func TestPurviewFailureKeepsTheLink(t *testing.T) {
	for name, tc := range map[string]struct {
		fault pkbtest.Fault
		text  string
	}{
		"500":            {pkbtest.Respond(500, "text/html", "<html>"), "500 Internal Server Error"},
		"cut":            {pkbtest.Drop(), "no response"},
		"not FHIR":       {pkbtest.Respond(200, "application/json", "{}"), "not a Parameters resource"},
		"another type":   {pkbtest.Respond(200, "application/fhir+json", `{"resourceType":"OperationOutcome","issue":[]}`), "the response is an OperationOutcome"},
		"empty":          {pkbtest.Respond(200, "application/fhir+json", ""), "it is not FHIR"},
		"no reference":   {pkbtest.Respond(200, "application/fhir+json", `{"resourceType":"Parameters","parameter":[]}`), "it names no one"},
		"two references": {pkbtest.Respond(200, "application/fhir+json", `{"resourceType":"Parameters","parameter":[{"name":"purview","valueReference":{"reference":"Patient/1d4a8b2d-f885-499f-ba51-50600312f316"}},{"name":"purview","valueReference":{"reference":"Patient/2d4a8b2d-f885-499f-ba51-50600312f316"}}]}`), "it names more than one"},
		"numeric id":     {pkbtest.Respond(200, "application/fhir+json", `{"resourceType":"Parameters","parameter":[{"name":"purview","valueReference":{"reference":"Patient/7300000"}}]}`), "its reference holds no public id"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, askOnce)
			pending, query := r.approve(t, user, r.patient)
			r.pkb.Next(pkbtest.Purview, tc.fault, tc.fault)
			link, err := r.Complete(t.Context(), user, pending, query)
			if err != nil || link.PublicID != "" || link.State != tokenstore.StateLinked {
				t.Fatalf("Complete = %+v, %v", link, err)
			}
			var api *pkb.APIError
			if _, err := r.ForUser(user).PublicID(t.Context()); !errors.As(err, &api) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("PublicID: %v, want an APIError that says %q", err, tc.text)
			}
			if id, err := r.ForUser(user).PublicID(t.Context()); err != nil || id != identity.PublicID(r.patient.PublicID) {
				t.Errorf("PublicID at the next call = %v, %v", id, err)
			}
			if link, err := r.Link(t.Context(), user); err != nil || link.PublicID != identity.PublicID(r.patient.PublicID) {
				t.Errorf("fixed on the link: %+v, %v", link, err)
			}
		})
	}
}

// Somebody who is no patient approved.
func TestNonPatientIsRefused(t *testing.T) {
	for _, reference := range []string{
		"Practitioner/1d4a8b2d-f885-499f-ba51-50600312f316", "Organization/1d4a8b2d-f885-499f-ba51-50600312f316",
	} {
		r := newRig(t)
		clinician := r.pkb.AddPatient(pkbtest.Patient{Purview: []string{reference}})
		pending, query := r.approve(t, user, clinician)
		if _, err := r.Complete(t.Context(), user, pending, query); !errors.Is(err, identity.ErrNotAPatient) {
			t.Errorf("Complete: %v, want ErrNotAPatient", err)
		}
		if _, err := r.Link(t.Context(), user); !errors.Is(err, pkb.ErrNotLinked) {
			t.Errorf("Link: %v, want ErrNotLinked", err)
		}
	}
	r := newRig(t)
	r.link(t, user, r.pkb.AddPatient(pkbtest.Patient{NotPatient: true}))
	if _, err := r.ForUser(user).Self(t.Context()); !errors.Is(err, identity.ErrNotAPatient) {
		t.Errorf("Self: %v, want ErrNotAPatient", err)
	}
}

// S44: a link belongs to one patient.
func TestRelinkOfAnotherPatientIsRefused(t *testing.T) {
	r := newRig(t)
	before := r.link(t, user, r.patient)
	other := r.pkb.AddPatient(pkbtest.Patient{})
	pending, query := r.approve(t, user, other)
	if _, err := r.Complete(t.Context(), user, pending, query); !errors.Is(err, pkb.ErrWrongPatient) {
		t.Fatalf("Complete: %v, want ErrWrongPatient", err)
	}
	after, err := r.Link(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the link changed (-before +after):\n%s", diff)
	}
	if self, err := r.ForUser(user).Self(t.Context()); err != nil || self.Reveal().FirstName != r.patient.FirstName {
		t.Errorf("the first patient's link: %v", err)
	}
	// After Unlink the user is free to link another record.
	if err := r.Unlink(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	if link := r.link(t, user, other); link.PublicID != identity.PublicID(other.PublicID) {
		t.Errorf("linked to %v", link.PublicID)
	}
}

// S40: a link that is lost works at once when it is approved again.
func TestRelinkAfterTheSessionEnded(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	r.pkb.EndSessions(r.patient)
	var relink *pkb.RelinkError
	if _, err := r.ForUser(user).Self(t.Context()); !errors.As(err, &relink) || relink.Cause != observe.CauseSessionExpired {
		t.Fatalf("Self: %v, want relink: session_expired", err)
	}
	if link, err := r.Link(t.Context(), user); err != nil || link.State != tokenstore.StateRelinkRequired || link.Cause != observe.CauseSessionExpired {
		t.Errorf("Link = %+v, %v", link, err)
	}
	if _, err := r.replica(t).Token(t.Context(), user); !errors.Is(err, pkb.ErrRelinkRequired) {
		t.Errorf("the other replica: %v", err)
	}
	r.link(t, user, r.patient)
	if _, err := r.ForUser(user).Self(t.Context()); err != nil {
		t.Errorf("after approving again: %v", err)
	}
}

// A replica that has a token of the ended session in memory finds the new
// approval at its next call, though another replica took it.
func TestRelinkOnAnotherReplica(t *testing.T) {
	r := newRig(t, askOnce)
	other := r.replica(t)
	r.link(t, user, r.patient)
	if _, err := other.ForUser(user).Self(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.pkb.InvalidateSessions(r.patient)
	r.link(t, user, r.patient)
	if _, err := other.ForUser(user).Self(t.Context()); err != nil {
		t.Errorf("after approving again on another replica: %v", err)
	}
	if n := r.pkb.Refreshes(); n != 0 {
		t.Errorf("%d refreshes for a link that has new tokens", n)
	}
}

// A replica that has a token of an earlier link in memory, which still works at
// PKB, does not fix that patient on the link that another replica made since.
func TestEarlierTokenFixesNoPatient(t *testing.T) {
	r := newRig(t, askOnce)
	other := r.replica(t)
	r.link(t, user, r.patient)
	if _, err := other.ForUser(user).Self(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Unlink(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	bo := r.pkb.AddPatient(pkbtest.Patient{})
	r.pkb.Next(pkbtest.Purview, pkbtest.Respond(http.StatusInternalServerError, "text/plain", ""))
	if l := r.link(t, user, bo); l.Verified {
		t.Fatal("the link is verified, and Purview failed")
	}
	if id, err := other.ForUser(user).PublicID(t.Context()); err != nil || id != identity.PublicID(bo.PublicID) {
		t.Errorf("PublicID = %s, %v, want the patient whose tokens the link has", id, err)
	}
	if l, err := r.Link(t.Context(), user); err != nil || l.PublicID != identity.PublicID(bo.PublicID) {
		t.Errorf("the link is fixed to %s, %v: not the patient whose tokens it has", l.PublicID, err)
	}
}

// Moved to another record on one replica, the link is the new patient's on the
// other as soon as that asks whose it is.
func TestSwitchOnAnotherReplica(t *testing.T) {
	r := newRig(t)
	other := r.replica(t)
	r.link(t, user, r.patient)
	if _, err := other.ForUser(user).Self(t.Context()); err != nil {
		t.Fatal(err)
	}
	bo := r.pkb.AddPatient(pkbtest.Patient{FirstName: "Bo"})
	r.link(t, user, bo, pkb.AllowSwitch())
	if id, err := other.ForUser(user).Purview(t.Context()); err != nil || id != identity.PublicID(bo.PublicID) {
		t.Errorf("Purview = %s, %v, want the new patient", id, err)
	}
	if self, err := other.ForUser(user).Self(t.Context()); err != nil || self.Reveal().FirstName != "Bo" {
		t.Errorf("Self after it: not the new patient's (%v)", err)
	}
}

// A token in memory of a link that another replica ended or moved shows nobody
// the earlier patient's data, though PKB still takes it.
func TestEarlierTokenShowsNoEarlierPatient(t *testing.T) {
	for name, tc := range map[string]struct {
		move func(*testing.T, *rig, *pkbtest.Patient)
		want func(identity.Self, error) bool
	}{
		"unlinked": {
			func(t *testing.T, r *rig, _ *pkbtest.Patient) {
				if err := r.Unlink(t.Context(), user); err != nil {
					t.Fatal(err)
				}
			},
			func(_ identity.Self, err error) bool { return errors.Is(err, pkb.ErrNotLinked) },
		},
		"unlinked, and linked with another": {
			func(t *testing.T, r *rig, bo *pkbtest.Patient) {
				if err := r.Unlink(t.Context(), user); err != nil {
					t.Fatal(err)
				}
				r.link(t, user, bo)
			},
			func(self identity.Self, err error) bool { return err == nil && self.Reveal().FirstName == "Bo" },
		},
		"switched": {
			func(t *testing.T, r *rig, bo *pkbtest.Patient) { r.link(t, user, bo, pkb.AllowSwitch()) },
			func(self identity.Self, err error) bool { return err == nil && self.Reveal().FirstName == "Bo" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			other := r.replica(t)
			r.link(t, user, r.patient)
			if _, err := other.ForUser(user).Self(t.Context()); err != nil {
				t.Fatal(err)
			}
			tc.move(t, r, r.pkb.AddPatient(pkbtest.Patient{FirstName: "Bo"}))
			r.pkb.Advance(time.Second) // of ten minutes that the earlier token lives
			if self, err := other.ForUser(user).Self(t.Context()); !tc.want(self, err) {
				t.Errorf("Self on the other replica: %v, or the earlier patient's", err)
			}
			resp, err := other.HTTPClient(user).Get(r.config.Environment.RESTURL + "/users/self")
			if err == nil {
				defer resp.Body.Close()
				if body, _ := io.ReadAll(resp.Body); strings.Contains(string(body), r.patient.FirstName) {
					t.Error("HTTPClient on the other replica shows the earlier patient")
				}
			}
		})
	}
}

func TestUnlink(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	if err := r.Unlink(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Unlink": r.Unlink(t.Context(), user),
		"Link":   second(r.Link(t.Context(), user)),
		"Token":  second(r.Token(t.Context(), user)),
		"Self":   second(r.ForUser(user).Self(t.Context())),
	} {
		if !errors.Is(err, pkb.ErrNotLinked) {
			t.Errorf("%s: %v, want ErrNotLinked", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestLinks(t *testing.T) {
	r := newRig(t)
	for i := range 5 {
		r.link(t, fmt.Sprintf("user-%d", i), r.pkb.AddPatient(pkbtest.Patient{}))
	}
	if err := r.Unlink(t.Context(), "user-2"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for link, err := range r.Links(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, link.AppUserID)
	}
	if diff := cmp.Diff([]string{"user-0", "user-1", "user-3", "user-4"}, got); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	for _, err := range r.Links(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		break // leaving early is fine
	}
	config := r.config
	config.Store = unlisted{r.store}
	plain, err := pkb.New(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range plain.Links(t.Context()) {
		if !errors.As(err, new(*pkb.ConfigError)) {
			t.Errorf("a store that cannot list: %v", err)
		}
	}
	config.Store = beginning{r.store}
	again, err := pkb.New(config)
	if err != nil {
		t.Fatal(err)
	}
	got, err = nil, nil
	for link, e := range again.Links(t.Context()) {
		if err = e; e == nil {
			got = append(got, link.AppUserID)
		}
	}
	if !errors.Is(err, pkb.ErrStore) || len(got) != 4 {
		t.Errorf("a store that returns its first page again and again: %q, %v; want each once, and ErrStore", got, err)
	}
}

// beginning is a store that returns the beginning of its list, whatever it is asked for.
type beginning struct{ *tokenstore.Memory }

func (b beginning) List(ctx context.Context, _ string, limit int) ([]tokenstore.Record, error) {
	return b.Memory.List(ctx, "", limit)
}

// unlisted is a store that cannot list.
type unlisted struct{ tokenstore.Store }

func (unlisted) Volatile() bool { return true }

func TestAppUserIDs(t *testing.T) {
	r := newRig(t)
	for _, id := range []string{"", strings.Repeat("x", 2<<10), "\xff"} {
		for name, err := range map[string]error{
			"Authorize": func() error { _, _, err := r.Authorize(t.Context(), id); return err }(),
			"Complete":  second(r.Complete(t.Context(), id, pkb.Pending{}, nil)),
			"Link":      second(r.Link(t.Context(), id)),
			"Unlink":    r.Unlink(t.Context(), id),
			"Token":     second(r.Token(t.Context(), id)),
			"PublicID":  second(r.ForUser(id).PublicID(t.Context())),
			"Purview":   second(r.ForUser(id).Purview(t.Context())),
			"Self":      second(r.ForUser(id).Self(t.Context())),
			"source":    second(r.TokenSource(id).Token()),
		} {
			if !errors.Is(err, pkb.ErrAppUserID) {
				t.Errorf("%s(%d bytes): %v, want ErrAppUserID", name, len(id), err)
			}
		}
	}
	longest := strings.Repeat("ü", 512)
	r.link(t, longest, r.patient)
	if _, err := r.ForUser(longest).Self(t.Context()); err != nil {
		t.Error(err)
	}
}

// S06: an environment that finds another's link in its store neither uses nor
// refreshes it.
func TestLinkOfAnotherEnvironment(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	config := r.config
	config.Environment.Name = "production"
	other, err := pkb.New(config)
	if err != nil {
		t.Fatal(err)
	}
	n := len(r.pkb.Requests())
	for name, err := range map[string]error{
		"Token":     second(other.Token(t.Context(), user)),
		"Link":      second(other.Link(t.Context(), user)),
		"Authorize": func() error { _, _, err := other.Authorize(t.Context(), user); return err }(),
	} {
		if !errors.Is(err, pkb.ErrOtherEnvironment) {
			t.Errorf("%s: %v, want ErrOtherEnvironment", name, err)
		}
	}
	if len(r.pkb.Requests()) != n {
		t.Error("something was sent")
	}
	if err := other.Unlink(t.Context(), user); err != nil {
		t.Errorf("Unlink: %v", err)
	}
}
