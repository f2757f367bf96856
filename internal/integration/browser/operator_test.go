// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// newBusySite starts one app with made-up links, and a PKB for tests of its own.
func newBusySite(t *testing.T, links string) (url string) {
	t.Helper()
	start(t)
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	address, ok := strings.CutPrefix(strings.TrimSpace(launch(t, program, nil, "-links", links)), "Open ")
	if !ok {
		t.Fatal("the app does not say what to open")
	}
	return strings.TrimSuffix(address, "/")
}

// Each way in which a link ends has a page of its own, in words.
func TestAccountOfEveryCause(t *testing.T) {
	t.Parallel()
	url := newBusySite(t, "14")
	for name, says := range map[string]string{
		"session expired":          "Your link has run out",
		"session invalid":          "PKB has ended your link",
		"grant rejected":           "PKB has ended your link",
		"frozen":                   "PKB has paused your link",
		"outcome unknown":          "Your link has stopped working",
		"final token expired":      "Your link has run out",
		"wrong patient":            "This is not your record",
		"shared":                   "This record is linked with another account",
		"refused unclear":          "Your link has stopped working",
		"response unreadable":      "Your link has stopped working",
		"linked":                   "Linked",
		"a session that ends soon": "Approve again before that day to keep it",
	} {
		b := newPerson(t)
		b.open(url)
		if name == "linked" {
			b.check("sign-in-made-up")
		}
		button, err := eval[string](b, "[...document.querySelectorAll('button')].find(e => e.innerText.endsWith("+quote(", "+name)+")).innerText")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b.press(button)
		b.sees(says)
		b.seesNot(strings.ReplaceAll(name, " ", "_") + "_")
		b.checkPatient("account-of-" + strings.ReplaceAll(name, " ", "-"))
	}
}

// The operators find what needs somebody: by filters, by pages, and by a search for what
// a log line or a patient's mail has.
func TestOperatorFinds(t *testing.T) {
	t.Parallel()
	url := newBusySite(t, "230")
	olu := newPerson(t)
	olu.open(url)
	olu.press("Sign in as Olu, operator")
	olu.sees("230 links")
	olu.check("operator-list")

	// By state, by cause, and page by page.
	olu.pressStarting("Linked")
	olu.sees("1 to 50 of")
	olu.press("Next page")
	olu.sees("51 to 100 of")
	olu.check("operator-list-page-2")
	olu.back()
	olu.sees("1 to 50 of")
	olu.pressStarting("Frozen by PKB")
	olu.sees("Frozen by PKB: 1 to")
	if on, err := eval[string](olu, "document.querySelector('[aria-current]').innerText"); err != nil || !strings.HasPrefix(on, "Frozen by PKB") {
		t.Errorf("the filter that is on is %q (%v)", on, err)
	}

	// By keyboard: the name of the link in a log.
	name, err := eval[string](olu, "document.querySelector('tbody .id').innerText")
	if err != nil {
		t.Fatal(err)
	}
	user, err := eval[string](olu, "document.querySelector('tbody a').innerText")
	if err != nil {
		t.Fatal(err)
	}
	olu.tabsTo("Find a link")
	olu.types(name)
	olu.leaves(chromedp.KeyEvent(kb.Enter))
	olu.sees("1 to 1 of 1")
	olu.sees(user)
	olu.check("operator-found")
	olu.press(user)
	olu.sees("Link of " + user)
	olu.sees("What to tell the patient")
	olu.check("operator-link-frozen")

	olu.open(url + "/operator?q=nobody%20of%20this%20name")
	olu.sees("Nothing was found")
	olu.check("operator-found-nothing")
	olu.open(url + "/operator?show=ended-shared")
	olu.leaves(chromedp.Evaluate[chromedp.Void]("document.querySelector('tbody a').click()"))
	olu.check("operator-link-shared")
}

// The page changes under an operator who is reading, writing and selecting: what has not
// changed stays.
func TestOperatorIsNotDisturbed(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	amira, ben, olu := newPerson(t), newPerson(t), newPerson(t)
	ben.signsIn(s, "Ben")
	ben.links(s.bo)
	olu.signsIn(s, "Olu, operator")
	olu.sees("1 link,")
	if err := olu.do(chromedp.EmulateViewport(390, 200)); err != nil {
		t.Fatal(err)
	}
	olu.stays()
	for _, prepare := range []string{
		"document.getElementById('q').value = 'half a'",
		"document.querySelector('tbody a').focus()",
		"getSelection().selectAllChildren(document.querySelector('tbody .id'))",
		"window.mine = document.querySelector('tbody tr')",
		"mine.scrollIntoView({block: 'start', behavior: 'instant'})",
	} {
		if _, err := eval[chromedp.Void](olu, prepare+"; undefined"); err != nil {
			t.Fatal(err)
		}
	}
	const where = "JSON.stringify([Math.round(document.querySelector('[data-key=\"' + mine.dataset.key + '\"]').getBoundingClientRect().top / 20), " +
		"document.activeElement.innerText, getSelection().toString(), document.getElementById('q').value])"
	before, err := eval[string](olu, where)
	if err != nil {
		t.Fatal(err)
	}
	amira.signsIn(s, "Amira")
	amira.links(s.ada)
	s.pkb.EndSessions(s.ada)
	amira.open(s.url)
	amira.sees("Your link has run out")
	olu.sees("Session expired")
	olu.sees("2 links, 1 of them needs somebody")
	olu.hears("2 links, 1 of them needs somebody")
	olu.stayed()
	if same, err := eval[bool](olu, "mine.isConnected && document.querySelectorAll('tbody tr').length === 2"); err != nil || !same {
		t.Errorf("the row that was there is another one now (%v)", err)
	}
	after, err := eval[string](olu, where)
	if err != nil {
		t.Fatal(err)
	}
	if before != after {
		t.Errorf("place, focus, selection and what was typed were %s, and are %s", before, after)
	}
}
