// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// No secret is in the request log, in its fields or however it is printed.
func TestRequestLogHoldsNoSecret(t *testing.T) {
	const secret, state = "canary-secret", "canary-state"
	a := newApp(t, pkbtest.Config{ClientSecret: secret})
	p := a.server.AddPatient(pkbtest.Patient{})
	verifier := strings.Repeat("canary-v", 6)
	code := a.approve(p, "state", state)
	got := a.exchange(code, "client_secret", secret)
	if got.Status != 200 {
		t.Fatalf("%+v", got)
	}
	a.refresh(got.Refresh, "client_secret", "canary-wrong-secret")
	a.exchange("canary-code", "code_verifier", verifier)
	a.self(got.Access)
	a.purview("canary-token")
	a.call(http.MethodGet, "/json/users/self?access_token=canary-query", "", "", "")
	a.post(url.Values{"unheard-of": {"canary-unknown"}}, "Authorization", "Basic Y2FuYXJ5", "Cookie", "canary-cookie", "Referer", "https://app.example/?code=canary-referer")
	a.post(url.Values{}, "Authorization", "canary-without-scheme")

	log := a.server.Requests()
	text := fmt.Sprintf("%v %+v %#v %s %q %x %d %v %#v %+v %d", log, log, log, log, log, log, log, &log[0], a.server, a.server, a.server)
	for _, q := range log { // and what the fields hold
		text += fmt.Sprint(q.Endpoint, q.Method, q.Path, q.Host, map[string][]string(q.Header), map[string][]string(q.Form), string(q.Body))
	}
	for _, canary := range []string{"canary", "Y2FuYXJ5", code, got.Access, got.Refresh} {
		if strings.Contains(text, canary) {
			t.Errorf("%q is in the log:\n%s", canary, text)
		}
	}
}

func TestRequests(t *testing.T) {
	a := newApp(t, pkbtest.Config{BasePath: "/tenant"})
	p := a.server.AddPatient(pkbtest.Patient{})
	token := a.link(p).Access
	a.purview(token)
	a.server.Next(pkbtest.Self, pkbtest.Drop())
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, a.server.URL()+"/json/users/self", nil)
	if _, err := a.http.Do(req); err == nil {
		t.Error("not cut")
	}
	var lines []string
	for _, q := range a.server.Requests() {
		lines = append(lines, fmt.Sprintf("%s: %v", q.Endpoint, q))
	}
	want := []string{
		"authorize: GET /tenant/apiAuthorize.action: 200",
		"authorize: POST /tenant/apiAuthorize.action: 302",
		"token: POST /tenant/apiToken.action authorization_code: 200",
		"purview: POST /tenant/fhir/Consent/$purview: 200",
		"self: GET /tenant/json/users/self: no response",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	q := a.server.Requests()
	if got := q[2].Form; got.Get("client_id") != "test-client" || got.Get("code") != "[redacted]" || got.Get("redirect_uri") != callback {
		t.Errorf("form %v", map[string][]string(got))
	}
	if got := q[3]; got.Header.Get("Authorization") != "Bearer [redacted]" || string(got.Body) != `{"resourceType":"Parameters"}` || got.Host != "pkbtest.example" || got.At.IsZero() {
		t.Errorf("Purview: %v %s %s", got.Header, got.Body, got.Host)
	}
	q[3].Body[0], q[3].Form["x"] = 'X', nil // copies
	q[3].Header.Set("Authorization", "mine")
	if got := a.server.Requests()[3]; string(got.Body[:1]) != "{" || got.Header.Get("Authorization") == "mine" || got.Form.Has("x") {
		t.Error("the log was changed from outside")
	}
	for e, want := range map[pkbtest.Endpoint]int{pkbtest.Authorize: 2, pkbtest.Token: 1, pkbtest.Purview: 1, pkbtest.Self: 1, "": 0} {
		if n := a.server.Count(e); n != want {
			t.Errorf("Count(%q) = %d, want %d", e, n, want)
		}
	}
}

func TestRequestLogIsBounded(t *testing.T) {
	a := newApp(t, pkbtest.Config{KeepRequests: 3})
	for i := range 10 {
		a.call(http.MethodGet, fmt.Sprintf("/%d", i), "", "", "")
		if n := len(a.server.Requests()); n != min(i+1, 3) {
			t.Fatalf("%d requests kept after %d", n, i+1)
		}
	}
	if q := a.server.Requests(); q[0].Path != "/7" || q[2].Path != "/9" || a.server.Count("") != 10 {
		t.Errorf("%v of %d", q, a.server.Count(""))
	}
}
