// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// approvals counts the visits of PKB's page.
func (s *site) approvals() int { return s.pkb.Count(pkbtest.Authorize) }

// What a browser fetches ahead begins nothing and uses up nothing.
func TestFetchedAhead(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"a link with rel=prefetch": `<link rel="prefetch" href="ADDRESS">`,
		"a speculation rule":       `<script type="speculationrules">{"prefetch": [{"urls": ["ADDRESS"], "eagerness": "immediate"}]}</script>`,
		"a prerender rule":         `<script type="speculationrules">{"prerender": [{"urls": ["ADDRESS"], "eagerness": "immediate"}]}</script>`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "")
			amira := newPerson(t)
			amira.signsIn(s, "Amira")
			amira.fetchesAhead(s, head, "/pkb/link")
			if n := s.approvals(); n != 0 {
				t.Errorf("PKB was visited %d times", n)
			}
			if cookies := amira.cookies(s); len(cookies) != 0 {
				t.Errorf("authorizations were begun: %q", cookies)
			}

			// The way back from PKB, fetched ahead of the patient.
			amira.open(s.url + "/account")
			amira.press("Link your PKB record")
			amira.logsIn(s.ada)
			address, err := eval[string](amira, "location.href")
			if err != nil {
				t.Fatal(err)
			}
			callback, err := s.pkb.Approve(t.Context(), address, s.ada)
			if err != nil {
				t.Fatal(err)
			}
			amira.fetchesAhead(s, head, callback.RequestURI())
			if n := s.pkb.Exchanges(); n != 0 {
				t.Errorf("%d codes exchanged for nobody", n)
			}
			amira.open(callback.String())
			amira.sees("Ada Example")
		})
	}
}

// fetchesAhead opens a page of the site that has an address fetched ahead.
func (b *tab) fetchesAhead(s *site, head, address string) {
	b.t.Helper()
	before := s.ahead.Load()
	s.pages.Store("/ahead", `<!DOCTYPE html><html lang="en"><title>Ahead</title>`+strings.ReplaceAll(head, "ADDRESS", address)+`<p>A page of the same site</p>`)
	b.open(s.url + "/ahead")
	b.waits("the browser has fetched ahead", func() bool { return s.ahead.Load() > before })
}

// A double tap starts two authorizations; the patient approves, and is linked.
func TestDoubleTap(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	amira := newPerson(t)
	amira.signsIn(s, "Amira")
	amira.pressTwice("Link your PKB record")
	amira.logsIn(s.ada)
	amira.pressTwice("Approve")
	amira.sees("Ada Example")
	amira.seesAddress("/account")
	if n := s.pkb.ReusedRefreshTokens(); n != 0 {
		t.Errorf("%d refresh tokens used twice", n)
	}
}

// Whoever comes back to what has succeeded, by a reload, by the address or in another
// tab, is linked and reads nothing else.
func TestComingBack(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	amira := newPerson(t)
	amira.signsIn(s, "Amira")
	amira.links(s.ada)
	callback := s.callback.Load().(string)
	for _, b := range []*tab{amira, amira.another()} {
		b.open(s.url + callback)
		b.sees("Ada Example")
		b.seesAddress("/account")
		b.leaves(chromedp.Evaluate[chromedp.Void]("location.reload()"))
		b.sees("Ada Example")
		b.seesNot("not linked")
	}
	if n := s.pkb.Exchanges(); n != 1 {
		t.Errorf("%d codes exchanged, want the first only", n)
	}
}

// Somebody else has signed in meanwhile: neither of the two is linked.
func TestAnotherUserMeanwhile(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	amira := newPerson(t)
	amira.signsIn(s, "Amira")
	amira.press("Link your PKB record")
	amira.logsIn(s.ada)
	ben := amira.another()
	ben.open(s.url)
	ben.press("Sign out")
	ben.press("Sign in as Ben")
	amira.press("Approve")
	amira.sees("Your record was not linked")
	amira.checkPatient("app-failure-another-user")
	ben.open(s.url)
	ben.sees("Not linked")
	ben.press("Sign out")
	ben.press("Sign in as Amira")
	ben.sees("Not linked")
	if n := s.pkb.Exchanges(); n != 0 {
		t.Errorf("%d codes exchanged", n)
	}
}

// Everything a patient can do works without a script.
func TestWithoutScript(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	amira := newPerson(t)
	amira.withoutScript()
	amira.signsIn(s, "Amira")
	amira.links(s.ada)
	amira.press("Link another record")
	amira.press("Link another record")
	amira.logsIn(s.bo)
	amira.press("Approve")
	amira.sees("Bo Sample")
	amira.picture("account-linked-without-script")
	olu := newPerson(t)
	olu.withoutScript()
	olu.signsIn(s, "Olu, operator")
	olu.press("amira")
	olu.picture("operator-link-without-script")
	olu.press("Refresh if it is due")
	olu.sees("Nothing was sent")
	amira.press("Unlink your record")
	amira.press("Unlink my record")
	amira.sees("Not linked")
}

// cookies are the names of the authorizations that are open.
func (b *tab) cookies(s *site) (names []string) {
	b.t.Helper()
	got, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{s.url}})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range got.Cookies {
		if isAuthorization(c.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}
