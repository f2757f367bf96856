// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest_test

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// browser is a browser without scripts and cookies: it sends the form of the
// page before it, as the person in front of it fills it in.
type browser struct {
	*app
	status  int
	address string
	page    string
}

func newBrowser(t *testing.T, cfg pkbtest.Config) *browser {
	b := &browser{app: newApp(t, cfg)}
	b.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return b
}

func (b *browser) open(address string) {
	b.Helper()
	b.address = address
	b.status, _, b.page = b.call(http.MethodGet, strings.TrimPrefix(address, b.server.URL()), "", "", "")
}

var (
	form   = regexp.MustCompile(`<form method="([a-z]+)" action="([^"]*)">`)
	hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
	alert  = regexp.MustCompile(`<p role="alert"[^>]*>(.*?)</p>`)
)

// submit returns where the browser is redirected to, if it is.
func (b *browser) submit(filled ...string) *url.URL {
	b.Helper()
	m := form.FindStringSubmatch(b.page)
	if m == nil {
		b.Fatalf("no form on the page:\n%s", b.page)
	}
	fields := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(b.page, -1) {
		fields.Set(html.UnescapeString(m[1]), html.UnescapeString(m[2]))
	}
	for i := 0; i+1 < len(filled); i += 2 {
		fields.Set(filled[i], filled[i+1])
	}
	at, err := url.Parse(b.address)
	if err != nil {
		b.Fatal(err)
	}
	at.RawQuery = ""
	if at, err = at.Parse(html.UnescapeString(m[2])); err != nil {
		b.Fatal(err)
	}
	if m[1] == "get" {
		at.RawQuery = fields.Encode()
		b.open(at.String())
		return nil
	}
	b.address = at.String()
	var header http.Header
	b.status, header, b.page = b.call(http.MethodPost, strings.TrimPrefix(b.address, b.server.URL()), "", "application/x-www-form-urlencoded", fields.Encode())
	back, err := url.Parse(header.Get("Location"))
	if err != nil || b.status != http.StatusFound {
		b.Fatalf("no redirect but status %d, %v:\n%s", b.status, err, b.page)
	}
	return back
}

// Through both pages, as whom one chose or typed, and the tokens are theirs.
func TestBrowserLogsInAndApproves(t *testing.T) {
	for name, filled := range map[string]func(chosen, typed *pkbtest.Patient) []string{
		"chosen":               func(p, _ *pkbtest.Patient) []string { return []string{"patient", p.PublicID, "who", ""} },
		"typed, the public id": func(c, p *pkbtest.Patient) []string { return []string{"patient", c.PublicID, "who", p.PublicID} },
		"typed, the e-mail":    func(c, p *pkbtest.Patient) []string { return []string{"patient", c.PublicID, "who", p.Email} },
		"typed, with capitals": func(c, p *pkbtest.Patient) []string {
			return []string{"patient", c.PublicID, "who", " " + strings.ToUpper(p.Email)}
		},
		"typed, on an empty server":  func(_, p *pkbtest.Patient) []string { return []string{"who", p.PublicID} },
		"typed, the scenario's name": func(_, p *pkbtest.Patient) []string { return []string{"who", p.Scenario} },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(t, pkbtest.Config{BasePath: "/tenant"})
			chosen := b.server.AddPatient(pkbtest.Patient{})
			typed := b.server.AddPatient(pkbtest.Patient{Scenario: "typed"})
			want := typed
			if name == "chosen" {
				want = chosen
			}
			b.open(authorizeURL(b.server))
			b.submit(filled(chosen, typed)...)
			if b.status != http.StatusOK || !strings.Contains(b.page, want.FirstName+" "+want.LastName) {
				t.Fatalf("status %d: not the consent page of %s:\n%s", b.status, want.FirstName, b.page)
			}
			back := b.submit("decision", "approve")
			if back.Query().Get("state") != "state&1" {
				t.Errorf("the state is lost: %s", back)
			}
			token := b.exchange(back.Query().Get("code")).Access
			if _, _, body := b.call(http.MethodGet, "/fhir/Consent/$purview", token, "", ""); !strings.Contains(body, want.PublicID) {
				t.Errorf("the tokens are somebody else's: %s", body)
			}
		})
	}
}

func TestBrowserDenies(t *testing.T) {
	b := newBrowser(t, pkbtest.Config{})
	p := b.server.AddPatient(pkbtest.Patient{})
	b.open(authorizeURL(b.server))
	b.submit("patient", p.PublicID)
	if diff := cmp.Diff(callback+"?error=access_denied&state=state%261", b.submit("decision", "deny").String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Back and Reload ask for the page again, and a wrong entry costs nothing.
func TestBrowserGoesBackAndForth(t *testing.T) {
	b := newBrowser(t, pkbtest.Config{})
	first, second := b.server.AddPatient(pkbtest.Patient{}), b.server.AddPatient(pkbtest.Patient{})
	b.open(authorizeURL(b.server))
	b.submit("who", "nobody@example.org")
	if m := alert.FindStringSubmatch(b.page); b.status != http.StatusBadRequest || m == nil || !strings.Contains(b.page, `value="nobody@example.org"`) {
		t.Errorf("status %d: what was wrong is not said, or is gone:\n%s", b.status, b.page)
	}
	b.submit("patient", first.PublicID)
	consent := b.page
	b.open(b.address) // Reload
	if diff := cmp.Diff(consent, b.page); diff != "" {
		t.Errorf("reloaded (-want +got):\n%s", diff)
	}
	again := regexp.MustCompile(`<a href="(apiAuthorize.action[^"]*)">`).FindStringSubmatch(b.page)
	if again == nil {
		t.Fatalf("no way back to the log-in page:\n%s", b.page)
	}
	b.open(b.server.URL() + "/" + html.UnescapeString(again[1]))
	b.submit("patient", second.PublicID)
	if !strings.Contains(b.page, second.LastName) {
		t.Errorf("not logged in as the other one:\n%s", b.page)
	}
	// Approved twice, as after Back: two codes, each good for itself.
	one, two := b.approveOn(consent), b.approveOn(consent)
	if one == two || b.exchange(one).Status != 200 || b.exchange(two).Status != 200 {
		t.Error("a second authorization spoils the first")
	}
}

func (b *browser) approveOn(page string) string {
	b.Helper()
	b.page, b.address = page, b.server.URL()+"/apiAuthorize.action"
	return b.submit("decision", "approve").Query().Get("code")
}

// With many patients the page stays short, with the scenarios first, and says
// what it leaves out.
func TestLoginListsAFew(t *testing.T) {
	b := newBrowser(t, pkbtest.Config{})
	b.open(authorizeURL(b.server))
	if !strings.Contains(b.page, "no patients yet") || strings.Contains(b.page, "<select") {
		t.Errorf("an empty list:\n%s", b.page)
	}
	var last *pkbtest.Patient
	for range 500 {
		last = b.server.AddPatient(pkbtest.Patient{})
	}
	scenarios := b.server.AddScenarios()
	b.open(authorizeURL(b.server))
	if n := strings.Count(b.page, "<option"); n != 30 {
		t.Errorf("%d patients on the page", n)
	}
	if left := fmt.Sprintf("leaves out %d of", 500+len(scenarios)-30); !strings.Contains(b.page, left) {
		t.Errorf("the page does not say %q", left)
	}
	for _, p := range scenarios {
		if !strings.Contains(b.page, p.PublicID) {
			t.Errorf("%q is not on the page", p.Scenario)
		}
	}
	b.submit("who", last.Email)
	if b.status != http.StatusOK {
		t.Errorf("whoever is not on the page cannot log in: status %d", b.status)
	}
}

func TestClientName(t *testing.T) {
	b := newBrowser(t, pkbtest.Config{ClientName: "Example Health, Diary"})
	p := b.server.AddPatient(pkbtest.Patient{})
	b.open(authorizeURL(b.server))
	b.submit("patient", p.PublicID)
	if !strings.Contains(b.page, "The app <strong>Example Health, Diary</strong> asks") {
		t.Errorf("a patient must see who asks:\n%s", b.page)
	}
}
