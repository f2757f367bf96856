// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// withScenarios is an app with a server that has the scenarios.
func withScenarios(t *testing.T, cfg pkbtest.Config) (*app, func(name string) *pkbtest.Patient) {
	a := newApp(t, cfg)
	a.server.AddScenarios()
	return a, func(name string) *pkbtest.Patient {
		t.Helper()
		p, err := a.server.FindPatient(name)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

// tried is one call: its status, or "cut".
func (a *app) tried(method, path, token string) any {
	a.Helper()
	req, err := http.NewRequestWithContext(a.Context(), method, a.server.URL()+path, nil)
	if err != nil {
		a.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := a.http.Do(req)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "cut"
	}
	if err != nil {
		a.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// The people are all different, made up, and the same on every server.
func TestScenariosAreDifferentPeople(t *testing.T) {
	s, other := pkbtest.New(pkbtest.Config{}), pkbtest.New(pkbtest.Config{})
	other.AddPatient(pkbtest.Patient{})
	scenarios := s.AddScenarios()
	if diff := cmp.Diff(scenarios, other.AddScenarios()); diff != "" {
		t.Errorf("who was added before must not matter:\n%s", diff)
	}
	seen := map[string]bool{"": true}
	var names []string
	for _, p := range scenarios {
		names = append(names, p.Scenario)
		ids := []string{p.Scenario, p.PublicID, p.UserID, p.Email, p.FirstName}
		if !p.NoNHSNumber {
			ids = append(ids, p.NHSNumber)
			if !validNHSNumber(p.NHSNumber) {
				t.Errorf("%s: NHS number %s is not of the 999 range, or has a wrong check digit", p.Scenario, p.NHSNumber)
			}
		}
		for _, id := range ids {
			if seen[id] {
				t.Errorf("%s: %q is empty or somebody else's", p.Scenario, id)
			}
			seen[id] = true
		}
		if p.About == "" || strings.HasSuffix(p.About, ".") {
			t.Errorf("%s: what is special is not said as half a sentence: %q", p.Scenario, p.About)
		}
	}
	want := []string{
		"approves", "denies", "session ends soon", "no NHS number", "CHI number only", "two NHS numbers",
		"frozen", "wrong person", "professional", "slow", "flaky",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	for range 300 {
		p := s.AddPatient(pkbtest.Patient{})
		if seen[p.PublicID] || seen[p.NHSNumber] || seen[p.UserID] || seen[p.Email] {
			t.Errorf("a made-up patient is a scenario: %+v", p)
		}
	}
}

// What the records of the scenarios say.
func TestScenarioRecords(t *testing.T) {
	nhs := func(value string) map[string]any {
		return map[string]any{"value": value, "name": "NHS number", "countryCodes": []any{"GB-ENG", "GB-WLS"}}
	}
	chi := map[string]any{"value": "9990000042", "name": "CHI number", "countryCodes": []any{"GB-SCT"}}
	for name, want := range map[string]map[string]any{
		"approves":        {"nationalIds": []any{nhs("9990000018")}, "patient": true},
		"no NHS number":   {"nationalIds": nil, "patient": true},
		"CHI number only": {"nationalIds": []any{chi}, "patient": true},
		"two NHS numbers": {"nationalIds": []any{nhs("9990000050"), nhs("9990000069")}, "patient": true},
		"wrong person":    {"nationalIds": []any{nhs("9990000085")}, "patient": true},
		"professional":    {"nationalIds": nil, "patient": false},
	} {
		t.Run(name, func(t *testing.T) {
			a, find := withScenarios(t, pkbtest.Config{})
			token := a.link(find(name)).Access
			_, _, body := a.call(http.MethodGet, "/json/users/self", token, "", "")
			var self map[string]any
			if err := json.Unmarshal([]byte(body), &self); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, map[string]any{"nationalIds": self["nationalIds"], "patient": self["patient"]}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			reference := "Patient/" + find(name).PublicID
			if name == "professional" {
				reference = "Practitioner/" + find(name).PublicID
			}
			if _, _, body = a.call(http.MethodGet, "/fhir/Consent/$purview", token, "", ""); !strings.Contains(body, `"`+reference+`"`) {
				t.Errorf("Purview is not about %s: %s", reference, body)
			}
		})
	}
}

func TestScenarioDenies(t *testing.T) {
	a, find := withScenarios(t, pkbtest.Config{})
	back, err := a.server.Approve(t.Context(), authorizeURL(a.server), find("denies"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(callback+"?error=access_denied&state=state%261", back.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := a.server.LiveSessions(nil); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// Whatever the life of a token is: the first comes with a refresh token, the
// second is the last, and then the session has ended.
func TestScenarioSessionEndsSoon(t *testing.T) {
	for _, life := range []time.Duration{time.Second, 10 * time.Minute, 30 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			a, find := withScenarios(t, pkbtest.Config{TokenLife: life})
			first := a.link(find("session ends soon"))
			if first.Refresh == "" {
				t.Fatalf("%v: no refresh token at the start", life)
			}
			a.server.Advance(life * 3 / 4)
			last := a.refresh(first.Refresh)
			if last.Status != 200 || last.Refresh != "" {
				t.Errorf("%v: status %d, refresh token %t: not the session's last access token", life, last.Status, last.Refresh != "")
			}
			a.server.Advance(life*3/4 - time.Millisecond)
			if status, _ := a.self(last.Access); status != 200 {
				t.Errorf("%v: the last token works no longer: %d", life, status)
			}
			a.server.Advance(time.Millisecond)
			if _, code := a.self(last.Access); code != "API_SESSION_EXPIRED" {
				t.Errorf("%v: %s", life, code)
			}
			if _, code := a.self(a.link(find("approves")).Access); code != "" {
				t.Errorf("%v: others have a short session too: %s", life, code)
			}
		})
	}
}

func TestScenarioFrozen(t *testing.T) {
	a, find := withScenarios(t, pkbtest.Config{})
	token := a.link(find("frozen")).Access
	if _, code := a.purview(token); code != "ACCESS_FROZEN_OUTWARD" {
		t.Errorf("Purview: %s", code)
	}
	a.server.Freeze(find("frozen"), false)
	changed := find("frozen")
	changed.Frozen = false
	a.server.AddPatient(*changed)
	if status, code := a.purview(token); status != 200 {
		t.Errorf("thawed: %d %s", status, code)
	}
}

// Only the app waits, for its own patient, for as long as was said.
func TestScenarioSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, find := withScenarios(t, pkbtest.Config{})
		took := func(what string, want time.Duration, do func()) {
			t.Helper()
			start := time.Now()
			do()
			if d := time.Since(start); d != want {
				t.Errorf("%s took %v, want %v", what, d, want)
			}
		}
		var code string
		var got tokens
		took("approving", 0, func() { code = a.approve(find("slow")) })
		took("the exchange", 3*time.Second, func() { got = a.exchange(code) })
		took("Purview", 3*time.Second, func() { a.purview(got.Access) })
		took("users/self", 3*time.Second, func() { a.self(got.Access) })
		took("a path that is not there", 3*time.Second, func() { a.tried("GET", "/fhir/Patient/1", got.Access) })
		took("a refresh", 3*time.Second, func() { a.refresh(got.Refresh) })
		took("somebody else's exchange", 0, func() { a.link(find("approves")) })
		slower := find("slow")
		slower.Delay = time.Minute
		a.server.AddPatient(*slower)
		took("Purview, slower", time.Minute, func() { a.purview(got.Access) })

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		took("waiting with a time-out", time.Second, func() {
			if _, _, err := refreshOnce(ctx, a, got.Refresh); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})
	})
}

// Every second request fails, in a fixed order at each endpoint, and no failure
// costs a token: whoever tries once more gets through.
func TestScenarioFlaky(t *testing.T) {
	a, find := withScenarios(t, pkbtest.Config{})
	steady := a.link(find("approves"))
	got := a.link(find("flaky"))
	again := a.link(find("flaky")) // linking itself does not fail
	for name, path := range map[string]string{"users/self": "/json/users/self", "Purview": "/fhir/Consent/$purview", "elsewhere": "/fhir/Nothing/1"} {
		good := 200
		if name == "elsewhere" {
			good = 404
		}
		var flaky, others []any
		for range 6 {
			flaky = append(flaky, a.tried("GET", path, got.Access))
			others = append(others, a.tried("GET", path, steady.Access))
		}
		if diff := cmp.Diff([]any{good, 503, good, "cut", good, 503}, flaky); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff([]any{good, good, good, good, good, good}, others); diff != "" {
			t.Errorf("%s of somebody else (-want +got):\n%s", name, diff)
		}
	}

	var refreshes []any
	for range 8 {
		status, body, err := refreshOnce(t.Context(), a, got.Refresh)
		switch {
		case err != nil:
			refreshes = append(refreshes, "cut")
			continue
		default:
			refreshes = append(refreshes, status)
		}
		var next tokens
		if json.Unmarshal([]byte(body), &next) == nil && next.Refresh != "" {
			got = next
		}
	}
	if diff := cmp.Diff([]any{200, 503, 200, "cut", 200, 503, 200, "cut"}, refreshes); diff != "" {
		t.Errorf("refreshes (-want +got):\n%s", diff)
	}
	if a.server.ReusedRefreshTokens() != 0 || a.server.LiveSessions(find("flaky")) != 2 {
		t.Error("a request that failed spent a token: the patient would have to approve again")
	}
	if a.refresh(again.Refresh).Status != 200 {
		t.Error("the patient's other session has come to harm")
	}
}

// A queued fault comes before the patient's own trouble.
func TestScenarioAndFault(t *testing.T) {
	a, find := withScenarios(t, pkbtest.Config{})
	token := a.link(find("flaky")).Access
	a.server.Next(pkbtest.Self, pkbtest.Pass(), pkbtest.Respond(429, "", ""))
	got := []any{a.tried("GET", "/json/users/self", token), a.tried("GET", "/json/users/self", token), a.tried("GET", "/json/users/self", token)}
	if diff := cmp.Diff([]any{200, 429, 200}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFindPatient(t *testing.T) {
	s := pkbtest.New(pkbtest.Config{})
	if p, err := s.FindPatient("slow"); err == nil {
		t.Errorf("found %v on an empty server", p)
	}
	plain := s.AddPatient(pkbtest.Patient{})
	s.AddScenarios()
	for _, who := range []string{plain.PublicID, plain.Email, strings.ToUpper(plain.Email), " " + strings.ToUpper(plain.PublicID)} {
		p, err := s.FindPatient(who)
		if err != nil {
			t.Errorf("%q: %v", who, err)
			continue
		}
		if diff := cmp.Diff(plain, p); diff != "" {
			t.Errorf("%q (-want +got):\n%s", who, diff)
		}
	}
	p, err := s.FindPatient("professional")
	if err != nil {
		t.Fatal(err)
	}
	p.Purview[0] = "Patient/x" // a copy
	if p, _ = s.FindPatient("PROFESSIONAL"); p.Purview[0] == "Patient/x" {
		t.Error("changed from outside")
	}
	for _, who := range []string{"", " ", "sloww"} { // an empty Scenario is no name
		p, err := s.FindPatient(who)
		if err == nil {
			t.Errorf("%q: found %s", who, p.PublicID)
		} else if !strings.Contains(err.Error(), `"session ends soon"`) {
			t.Errorf("%q: the error does not say who there is: %v", who, err)
		}
	}
}
