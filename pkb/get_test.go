// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

func addresses(t testing.TB) *Client {
	t.Helper()
	return &Client{cfg: Config{Environment: Environment{RESTURL: "https://rest.example/tenant/json", FHIRURL: "https://fhir.example/tenant/fhir/"}}}
}

func TestPathsStayUnderTheirAPI(t *testing.T) {
	c := addresses(t)
	for p, want := range map[string]string{
		"/json/users/self":                             "https://rest.example/tenant/json/users/self",
		"/json/v2-beta/measurements":                   "https://rest.example/tenant/json/v2-beta/measurements",
		"/json/messages/after/2026-01-01T00:00:00":     "https://rest.example/tenant/json/messages/after/2026-01-01T00:00:00",
		"/fhir/Patient/1d4a8b2d-f885-499f-ba51-506003": "https://fhir.example/tenant/fhir/Patient/1d4a8b2d-f885-499f-ba51-506003",
		"/fhir/Consent/$purview":                       "https://fhir.example/tenant/fhir/Consent/$purview",
		"/json/a..b":                                   "https://rest.example/tenant/json/a..b",
	} {
		if got, _, err := c.addressOf(p); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", p, got, err, want)
		}
	}
	for _, p := range []string{
		"", "/", "/json", "/fhir", "json/users", "/JSON/users", "/rest/users", "/jsonp/x", "/apiToken.action", "/json/", "/fhir//Patient", "/json/users/", "/json//other.example/x",
		"//other.example/json/x", "https://other.example/json/x", "/json/../apiToken.action", "/json/..", "/json/.", "/json/./x", "/json/x/../../..", "/json/...", "/json/%2e%2e/x", "/json/x%2fy", "/json/%00",
		"/json/..;/x", "/json/x;y", `/json/..\x`, `/json\..\x`, "/json/x?y=1", "/json/x#y", "/json/x y", "/json/x\n", "/json/x\r\nHost: y", "/json/é", "/json/\xff", "/json/x\x00", "\\json\\x", "/json/<x>",
	} {
		if got, _, err := c.addressOf(p); err != errPath || got != "" { //nolint:errorlint // nothing may wrap it
			t.Errorf("%q: %q, %v, want errPath", p, got, err)
		}
	}
}

func TestOperationHidesIDs(t *testing.T) {
	for p, want := range map[string]string{
		"/json/users/self":              "GET /json/users/...",
		"/json/v2-beta/measurements":    "GET /json/v2-beta/measurements",
		"/json/v2-beta/measurements/73": "GET /json/v2-beta/measurements/...",
		"/json/v1/users/73/record":      "GET /json/v1/users/...",
		"/json/9991566171":              "GET /json/...",
		"/json/vader":                   "GET /json/vader",
		"/json/v9991566171/x":           "GET /json/...",
		"/fhir/Patient/1d4a8b2d-f885":   "GET /fhir/Patient/...",
		"/fhir/Patient":                 "GET /fhir/Patient",
		"/fhir/$everything":             "GET /fhir/$everything",
		"/json/ada@example.org":         "GET /json/...",
	} {
		if got := operationOf(p); got != want {
			t.Errorf("%s: %q, want %q", p, got, want)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/json/users/self", "/fhir/Patient/x", "/json/../x", "/json//x", "/json/%2e%2e/x", "https://x.example/json/", "/json/..;/x", "/fhir/x?y#z"} {
		f.Add(seed)
	}
	c := addresses(f)
	f.Fuzz(func(t *testing.T, p string) {
		address, _, err := c.addressOf(p)
		if err != nil {
			return
		}
		u, err := url.Parse(address)
		if err != nil {
			t.Fatalf("%q makes an address that is none: %v", p, err)
		}
		home, _ := strings.CutSuffix(map[bool]string{true: c.cfg.Environment.RESTURL, false: c.cfg.Environment.FHIRURL}[strings.HasPrefix(p, "/json/")], "/")
		if !strings.HasPrefix(address, home+"/") || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.RawPath != "" || u.String() != address {
			t.Errorf("%q leads to %s", p, address)
		}
		if path.Clean(u.Path) != u.Path {
			t.Errorf("%q leads to %s, which is %s", p, u.Path, path.Clean(u.Path))
		}
		if op := operationOf(p); strings.ContainsAny(strings.NewReplacer("v1", "", "v2", "").Replace(op), "0123456789@:") && !strings.HasPrefix(op, "GET /json/v") && !strings.HasPrefix(op, "GET /fhir/v") {
			t.Errorf("%q: the operation is %s", p, op)
		}
	})
}
