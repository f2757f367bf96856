// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// order sends one call to the control API, as curl does with a JSON header,
// and returns the status and the response, which is always JSON.
func (a *app) order(method, path, body string) (int, map[string]any) {
	a.Helper()
	contentType := ""
	if body != "" {
		contentType = "application/json"
	}
	status, h, text := a.call(method, "/sandbox/"+path, "", contentType, body)
	answer := map[string]any{}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || h.Get("Content-Type") != "application/json" {
		a.Errorf("%s %s: %s instead of a JSON object: %s", method, path, h.Get("Content-Type"), text)
	}
	return status, answer
}

func (a *app) ordered(method, path, body string, want map[string]any) {
	a.Helper()
	status, answer := a.order(method, path, body)
	if status != 200 {
		a.Fatalf("%s %s %s: %d %v", method, path, body, status, answer)
	}
	if diff := cmp.Diff(want, answer); diff != "" {
		a.Errorf("%s %s %s (-want +got):\n%s", method, path, body, diff)
	}
}

var control = pkbtest.Config{ControlAPI: true}

// Nobody who starts a server for tests opens a door without asking for it.
func TestControlIsOffUnlessAskedFor(t *testing.T) {
	a, find := withScenarios(t, pkbtest.Config{})
	a.link(find("approves"))
	for _, path := range []string{"", "patients", "requests", "clock", "faults", "sessions/end"} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			status, h, _ := a.call(method, "/sandbox/"+path, "", "application/json", `{"all": true}`)
			if status != 404 || h.Get("Content-Type") != "text/html; charset=utf-8" {
				t.Errorf("%s %s: %d %s: something is there", method, path, status, h.Get("Content-Type"))
			}
		}
	}
	if a.server.LiveSessions(nil) != 1 {
		t.Error("a session was ended")
	}
}

func TestControlFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		fault string
		want  func(status int, body string, err error) bool
		spent bool
	}{
		"a status":                  {`{"endpoint":"token","status":429}`, func(s int, b string, err error) bool { return s == 429 && b == "" && err == nil }, false},
		"a status and a body":       {`{"endpoint":"token","status":503,"body":"<h1>no","contentType":"text/html"}`, func(s int, b string, _ error) bool { return s == 503 && b == "<h1>no" }, false},
		"after the work is done":    {`{"endpoint":"token","status":502,"commit":true}`, func(s int, _ string, _ error) bool { return s == 502 }, true},
		"cut":                       {`{"endpoint":"token","cut":true}`, func(_ int, _ string, err error) bool { return err != nil }, false},
		"commit, then drop":         {`{"endpoint":"token","cut":true,"commit":true}`, func(_ int, _ string, err error) bool { return err != nil }, true},
		"delay":                     {`{"endpoint":"token","delay":"1ms"}`, func(s int, _ string, _ error) bool { return s == 200 }, true},
		"delay and cut":             {` { "delay" : "1ms" , "endpoint":"token","cut":true,"commit":false } `, func(_ int, _ string, err error) bool { return err != nil }, false},
		"another endpoint's is not": {`{"endpoint":"self","status":500}`, func(s int, _ string, _ error) bool { return s == 200 }, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, control)
			first := a.link(a.server.AddPatient(pkbtest.Patient{}))
			a.ordered("POST", "faults", tc.fault, map[string]any{"queued": 1.0})
			if status, body, err := refreshOnce(t.Context(), a, first.Refresh); !tc.want(status, body, err) {
				t.Errorf("%d %q, %v", status, body, err)
			}
			_, _, _ = refreshOnce(t.Context(), a, first.Refresh)
			if spent := a.server.ReusedRefreshTokens() == 1; spent != tc.spent {
				t.Errorf("refresh token spent: %t, want %t", spent, tc.spent)
			}
		})
	}
}

func TestControlFaultAtCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, control)
		token := a.link(a.server.AddPatient(pkbtest.Patient{})).Access
		a.ordered("POST", "faults", `{"endpoint":"purview","refuse":"USER_TYPE_NOT_PERM","delay":"9m"}`, map[string]any{"queued": 1.0})
		start := time.Now()
		if status, code := a.purview(token); status != 403 || code != "USER_TYPE_NOT_PERM" || time.Since(start) != 9*time.Minute {
			t.Errorf("%d %s after %v", status, code, time.Since(start))
		}
		a.ordered("POST", "faults", `{"endpoint":"self","status":503,"header":{"Retry-After":"30"},"times":2}`, map[string]any{"queued": 2.0})
		for range 2 {
			status, h, _ := a.call("GET", "/json/users/self", token, "", "")
			if status != 503 || h.Get("Retry-After") != "30" {
				t.Errorf("%d, Retry-After %q", status, h.Get("Retry-After"))
			}
		}
		if status, _ := a.self(token); status != 200 {
			t.Errorf("after the last: %d", status)
		}
		a.ordered("POST", "faults", `{"endpoint":"other","status":418}`, map[string]any{"queued": 1.0})
		if status, _, _ := a.call("GET", "/elsewhere", "", "", ""); status != 418 {
			t.Errorf("elsewhere: %d", status)
		}
		// The Facade has a name of its own: what is for others does not reach it.
		for _, endpoint := range []string{"other", "facade"} {
			a.ordered("POST", "faults", `{"endpoint":"`+endpoint+`","status":418}`, map[string]any{"queued": 1.0})
			if status, _, _ := a.call("GET", "/fhir/Appointment", token, "", ""); (status == 418) != (endpoint == "facade") {
				t.Errorf("the Facade, with a fault for %s: %d", endpoint, status)
			}
			a.server.ClearFaults()
		}
		a.ordered("POST", "faults", `{"endpoint":"authorize","status":500,"times":1000}`, map[string]any{"queued": 1000.0})
		a.server.Next(pkbtest.Self, pkbtest.Drop())
		a.ordered("DELETE", "faults", "", map[string]any{"cleared": 1001.0})
		if status, _ := a.self(token); status != 200 || a.server.ClearFaults() != 0 {
			t.Error("a fault is left")
		}
		a.approve(a.server.AddPatient(pkbtest.Patient{}))
	})
}

func TestControlSessions(t *testing.T) {
	a, find := withScenarios(t, control)
	one, two, other := a.link(find("approves")), a.link(find("approves")), a.link(find("wrong person"))
	a.ordered("POST", "sessions/end", `{"patient":"approves"}`, map[string]any{"sessions": 2.0})
	for _, got := range []tokens{one, two} {
		if _, code := a.self(got.Access); code != "API_SESSION_EXPIRED" {
			t.Errorf("ended: %s", code)
		}
	}
	if status, _ := a.self(other.Access); status != 200 {
		t.Error("somebody else's session was ended")
	}
	a.ordered("POST", "sessions/revoke", `{"patient":"`+find("wrong person").PublicID+`"}`, map[string]any{"sessions": 1.0})
	if got := a.refresh(other.Refresh); got.Description != "API_SESSION_INVALID" {
		t.Errorf("revoked: %+v", got)
	}
	a.ordered("POST", "sessions/revoke", `{"patient":"wrong person"}`, map[string]any{"sessions": 0.0})
	a.link(find("flaky@example.org"))
	a.link(find("approves"))
	a.ordered("POST", "sessions/end", `{"all":true}`, map[string]any{"sessions": 2.0})

	frozen := a.link(find("frozen")).Access
	a.ordered("POST", "freeze", `{"patient":"frozen","frozen":false}`, map[string]any{"publicId": find("frozen").PublicID, "frozen": false})
	if status, _ := a.self(frozen); status != 200 {
		t.Errorf("thawed: %d", status)
	}
	a.ordered("POST", "freeze", `{"patient":"frozen"}`, map[string]any{"publicId": find("frozen").PublicID, "frozen": true})
	if _, code := a.self(frozen); code != "ACCESS_FROZEN_OUTWARD" {
		t.Errorf("frozen again: %s", code)
	}
}

func TestControlClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, control)
		token := a.link(a.server.AddPatient(pkbtest.Patient{})).Access
		want := time.Now().Add(15 * time.Minute).UTC().Format(time.RFC3339)
		a.ordered("POST", "clock", `{"advance":"15m"}`, map[string]any{"now": want})
		a.ordered("GET", "clock", "", map[string]any{"now": want})
		if _, code := a.self(token); code != "ACC_TOKEN_EXPIRED" {
			t.Errorf("no time has passed: %s", code)
		}
	})
}

func TestControlPatients(t *testing.T) {
	a := newApp(t, pkbtest.Config{ControlAPI: true, BasePath: "/tenant"})
	a.ordered("GET", "patients", "", map[string]any{"patients": []any{}})
	a.server.AddPatient(pkbtest.Patient{PublicID: "p1", Scenario: "s1", About: "is one", FirstName: "A", LastName: "B", Email: "a@example.org", NHSNumber: "9990000018", Frozen: true})
	p2 := a.server.AddPatient(pkbtest.Patient{PublicID: "p2", FirstName: "C", LastName: "D", Email: "c@example.org", NoNHSNumber: true})
	a.link(p2)
	a.link(p2)
	a.server.EndSessions(p2)
	a.link(p2)
	a.ordered("GET", "patients", "", map[string]any{"patients": []any{
		map[string]any{"scenario": "s1", "about": "is one", "publicId": "p1", "firstName": "A", "lastName": "B", "email": "a@example.org", "nhsNumber": "9990000018", "frozen": true, "liveSessions": 0.0},
		map[string]any{"publicId": "p2", "firstName": "C", "lastName": "D", "email": "c@example.org", "frozen": false, "liveSessions": 1.0},
	}})
}

// The list has what Requests has: no secret, and no order.
func TestControlRequests(t *testing.T) {
	a := newApp(t, control)
	a.ordered("GET", "requests", "", map[string]any{"requests": []any{}})
	p := a.server.AddPatient(pkbtest.Patient{})
	code := a.approve(p, "state", "canary-state")
	got := a.exchange(code)
	a.self(got.Access)
	a.purview(got.Access)
	a.call("GET", "/apiAuthorize.action?who=canary@example.org", "", "", "")
	_, _, text := a.call("GET", "/sandbox/requests", "", "", "")
	for _, canary := range []string{"canary", code, got.Access, got.Refresh} {
		if strings.Contains(text, canary) {
			t.Errorf("%q is in the list:\n%s", canary, text)
		}
	}
	var list struct {
		Requests []struct {
			Endpoint, Method, Path, Body string
			Status                       int
			At                           time.Time
			Form                         map[string][]string
		}
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, q := range list.Requests {
		lines = append(lines, fmt.Sprint(q.Endpoint, " ", q.Method, " ", q.Path, " ", q.Status, " ", q.Body))
	}
	want := []string{
		"authorize GET /apiAuthorize.action 200 ", "authorize POST /apiAuthorize.action 302 ", "token POST /apiToken.action 200 ",
		"self GET /json/users/self 200 ", `purview POST /fhir/Consent/$purview 200 {"resourceType":"Parameters"}`,
		"authorize GET /apiAuthorize.action 400 ",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"[redacted]"}, list.Requests[2].Form["code"]); diff != "" || list.Requests[0].At.IsZero() {
		t.Errorf("form %v, at %v", list.Requests[2].Form, list.Requests[0].At)
	}
	if n := a.server.Count(""); n != 0 {
		t.Errorf("%d calls of the control API are counted as requests of the app", n)
	}
}

// A call that is not understood is refused, changes nothing, and its error says what to
// write.
func TestControlRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		path, body, want string
	}{
		"no JSON":                 {"faults", `endpoint=token`, "one JSON object"},
		"no object":               {"faults", `[{"endpoint":"token","cut":true}]`, "one JSON object"},
		"an unfinished object":    {"faults", `{"endpoint":"token","cut":true`, "one JSON object"},
		"two objects":             {"faults", `{"endpoint":"token","cut":true}{}`, "one JSON object"},
		"nothing":                 {"faults", ` `, "one JSON object"},
		"an unknown member":       {"faults", `{"endpoint":"token","cut":true,"wait":"1s"}`, `no member "wait" here; there are: body, commit,`},
		"other capitals":          {"faults", `{"Endpoint":"token","cut":true}`, `no member "Endpoint"`},
		"a member twice":          {"faults", `{"endpoint":"token","endpoint":"self","cut":true}`, "twice"},
		"null":                    {"faults", `{"endpoint":"token","cut":true,"body":null}`, "body must be a string"},
		"null for a duration":     {"faults", `{"endpoint":"token","delay":null}`, "delay must be a duration"},
		"a number as a duration":  {"faults", `{"endpoint":"token","delay":5}`, `delay must be a duration in quotes, such as "1.5s"`},
		"no duration":             {"faults", `{"endpoint":"token","delay":"5"}`, "delay must be a duration"},
		"a negative delay":        {"faults", `{"endpoint":"token","delay":"-1s"}`, "delay must be a duration"},
		"a delay for ever":        {"faults", `{"endpoint":"token","delay":"11m"}`, "at most 10m"},
		"a word as a status":      {"faults", `{"endpoint":"token","status":"503"}`, "status must be a whole number"},
		"half a status":           {"faults", `{"endpoint":"token","status":503.5}`, "status must be a whole number"},
		"no HTTP status":          {"faults", `{"endpoint":"token","status":99}`, "200 to 599"},
		"too large a status":      {"faults", `{"endpoint":"token","status":600}`, "200 to 599"},
		"a word as a yes":         {"faults", `{"endpoint":"token","cut":"before"}`, "cut must be true or false"},
		"headers in a list":       {"faults", `{"endpoint":"token","status":503,"header":["a"]}`, "header must be an object"},
		"a header of lists":       {"faults", `{"endpoint":"token","status":503,"header":{"A":["b"]}}`, "header must be an object"},
		"a header that breaks":    {"faults", `{"endpoint":"token","status":503,"header":{"A":"b\r\nC: d"}}`, "printable ASCII"},
		"a header without a name": {"faults", `{"endpoint":"token","status":503,"header":{"":"b"}}`, "names as HTTP allows"},
		"the server's own header": {"faults", `{"endpoint":"token","status":503,"header":{"content-length":"3"}}`, "Content-Length"},
		"a type among headers":    {"faults", `{"endpoint":"token","status":503,"header":{"content-type":"a/b"}}`, "contentType"},
		"a type that breaks":      {"faults", `{"endpoint":"token","status":503,"contentType":"a\nb"}`, "printable ASCII"},
		"no endpoint":             {"faults", `{"cut":true}`, "endpoint must be one of: other, authorize, token, purview, self"},
		"an unknown endpoint":     {"faults", `{"endpoint":"tokens","cut":true}`, "endpoint must be one of"},
		"no effect":               {"faults", `{"endpoint":"token"}`, "status, cut, refuse or delay"},
		"two effects":             {"faults", `{"endpoint":"token","status":503,"cut":true}`, "exclude each other"},
		"a body without a status": {"faults", `{"endpoint":"token","cut":true,"body":"x"}`, "need a status"},
		"a body that cannot be":   {"faults", `{"endpoint":"token","status":204,"body":"x"}`, "has no body"},
		"commit of nothing":       {"faults", `{"endpoint":"token","delay":"1s","commit":true}`, "commit needs"},
		"refuse at token":         {"faults", `{"endpoint":"token","refuse":"ACC_TOKEN_EXPIRED"}`, "not for token"},
		"no response code":        {"faults", `{"endpoint":"self","refuse":"<b>"}`, "response code"},
		"no times":                {"faults", `{"endpoint":"token","cut":true,"times":0}`, "times must be"},
		"too many times":          {"faults", `{"endpoint":"token","cut":true,"times":1001}`, "times must be"},
		"nobody":                  {"sessions/end", `{}`, `either {"patient"`},
		"an empty name":           {"sessions/revoke", `{"patient":""}`, `either {"patient"`},
		"one and all":             {"sessions/revoke", `{"patient":"approves","all":true}`, `either {"patient"`},
		"somebody unknown":        {"sessions/end", `{"patient":"approve"}`, `the scenarios are: "approves"`},
		"freeze nobody":           {"freeze", `{"frozen":true}`, "the scenarios are"},
		"freeze everybody":        {"freeze", `{"all":true}`, `no member "all"`},
		"back in time":            {"clock", `{"advance":"-1h"}`, "only forward"},
		"no time":                 {"clock", `{}`, "only forward"},
		"the end of time":         {"clock", `{"advance":"2000000h"}`, "at most 87600h"},
	} {
		t.Run(name, func(t *testing.T) {
			a, find := withScenarios(t, control)
			token := a.link(find("approves"))
			now := a.server.Now()
			status, answer := a.order("POST", tc.path, tc.body)
			text, _ := answer["error"].(string)
			if status != 400 || !strings.Contains(text, tc.want) || len(answer) != 1 {
				t.Errorf("%d %v: the error should mention %q", status, answer, tc.want)
			}
			if n := a.server.ClearFaults(); n != 0 {
				t.Errorf("%d faults were queued", n)
			}
			if status, _ := a.self(token.Access); status != 200 || a.server.Now().Sub(now) > time.Minute {
				t.Errorf("something was changed: users/self returns %d", status)
			}
		})
	}
}

func TestControlAddresses(t *testing.T) {
	a := newApp(t, control)
	if status, answer := a.order("GET", "", ""); status != 404 || !strings.Contains(fmt.Sprint(answer["error"]), "POST /sandbox/faults") {
		t.Errorf("%d %v: an unknown address should say which there are", status, answer)
	}
	if status, answer := a.order("PUT", "faults", "{}"); status != 405 || !strings.Contains(fmt.Sprint(answer["error"]), "POST or DELETE") {
		t.Errorf("%d %v", status, answer)
	}
	if _, h, _ := a.call("GET", "/sandbox/faults", "", "", ""); h.Get("Allow") != "POST, DELETE" {
		t.Errorf("Allow %q", h.Get("Allow"))
	}
	if status, answer := a.order("DELETE", "faults", "{}"); status != 400 {
		t.Errorf("DELETE with a body: %d %v", status, answer)
	}
	if status, answer := a.order("POST", "faults", `{"endpoint":"token","status":500,"body":"`+strings.Repeat("x", 1<<16)+`"}`); status != 413 {
		t.Errorf("a large body: %d %v", status, answer)
	}
}

// A page that a developer has open must not be able to drive a server on their
// machine, by a form, by fetch, or by giving its own name this machine's address.
func TestControlRefusesWebPages(t *testing.T) {
	for name, tc := range map[string]struct {
		host, contentType string
		header            map[string]string
		want              int
	}{
		"curl by address":           {host: "127.0.0.1:8090", contentType: "application/json", want: 200},
		"curl by IPv6":              {host: "[::1]:8090", contentType: "application/json; charset=utf-8", want: 200},
		"curl by localhost":         {host: "LOCALHOST", contentType: "application/json", want: 200},
		"curl by an own name":       {host: "pkb.localhost:8090", contentType: "application/json", want: 200},
		"a test in memory":          {host: "pkbtest.example", contentType: "application/json", want: 200},
		"the address bar":           {host: "localhost:8090", contentType: "application/json", header: map[string]string{"Sec-Fetch-Site": "none"}, want: 200},
		"a form":                    {host: "localhost:8090", contentType: "text/plain", want: 415},
		"a form of a site":          {host: "localhost:8090", contentType: "text/plain", header: map[string]string{"Origin": "https://evil.example"}, want: 403},
		"fetch":                     {host: "localhost:8090", contentType: "application/json", header: map[string]string{"Origin": "https://evil.example"}, want: 403},
		"fetch, sandboxed":          {host: "localhost:8090", contentType: "application/json", header: map[string]string{"Origin": "null"}, want: 403},
		"another port":              {host: "localhost:8090", contentType: "application/json", header: map[string]string{"Sec-Fetch-Site": "same-site"}, want: 403},
		"a picture":                 {host: "localhost:8090", contentType: "application/json", header: map[string]string{"Sec-Fetch-Site": "cross-site"}, want: 403},
		"a name pointed here":       {host: "evil.example:8090", contentType: "application/json", want: 403},
		"a name that looks like us": {host: "127.0.0.1.evil.example", contentType: "application/json", want: 403},
		"localhost in front":        {host: "localhost.evil.example", contentType: "application/json", want: 403},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, control)
			a.link(a.server.AddPatient(pkbtest.Patient{}))
			req, err := http.NewRequestWithContext(t.Context(), "POST", a.server.URL()+"/sandbox/sessions/end", strings.NewReader(`{"all":true}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Host = tc.host
			req.Header.Set("Content-Type", tc.contentType)
			for name, value := range tc.header {
				req.Header.Set(name, value)
			}
			resp, err := a.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tc.want {
				t.Errorf("%d, want %d: %s", resp.StatusCode, tc.want, body)
			}
			if left := a.server.LiveSessions(nil) == 1; left != (tc.want != 200) {
				t.Errorf("the session lives: %t", left)
			}
			for name := range resp.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s invites web pages", name)
				}
			}
		})
	}
}

// Every response is JSON: it is done, or it is refused and nothing
// has changed. A fault that was taken does not break the server.
func FuzzControl(f *testing.F) {
	paths := []string{"faults", "clock", "freeze", "sessions/end", "sessions/revoke"}
	for _, seed := range []string{
		`{"endpoint":"self","status":503,"contentType":"text/html","header":{"Retry-After":"30"},"body":"x","times":2}`,
		`{"endpoint":"self","cut":true,"commit":true}`, `{"endpoint":"self","refuse":"NO_CONSENT"}`,
		`{"advance":"15m"}`, `{"patient":"approves","frozen":true}`, `{"all":true}`, `{"endpoint":"other","status":304}`,
		`{"endpoint":"self","status":200,"header":{"Content-Encoding":"gzip"}}`, `{"a":{"a":[1,{}]}}`, "\xff", `{"endpoint":"self","status":2e2}`,
	} {
		for i := range paths {
			f.Add(uint8(i), seed)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		synctest.Test(t, func(t *testing.T) {
			a, find := withScenarios(t, control)
			token := a.link(find("approves")).Access
			path := paths[int(which)%len(paths)]
			before := a.server.Now()
			status, answer := a.order("POST", path, body+" ")
			switch {
			case status == 200:
			case !slices.Contains([]int{400, 413}, status):
				t.Errorf("status %d: %v", status, answer)
			default:
				if text, _ := answer["error"].(string); text == "" {
					t.Errorf("refused without a word: %v", answer)
				}
				if a.server.ClearFaults() != 0 || a.server.LiveSessions(nil) != 1 || !a.server.Now().Equal(before) {
					t.Error("refused, and done all the same")
				}
			}
			a.tried("GET", "/json/users/self", token)
			a.server.ClearFaults()
			if status, _, _ := a.call("GET", "/elsewhere", "", "", ""); status != 404 {
				t.Errorf("the server is broken: %d", status)
			}
		})
	})
}
