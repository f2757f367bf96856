// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// logsIn logs a patient in at PKB, which then asks them to approve.
func (b *tab) logsIn(p *pkbtest.Patient) {
	b.t.Helper()
	b.sees("Log in as")
	if _, err := eval[string](b, "document.querySelector('select#patient').value = "+quote(p.PublicID)); err != nil {
		b.t.Fatal(err)
	}
	b.press("Log in")
	b.sees("asks for access")
}

// links goes all the way from the account page.
func (b *tab) links(p *pkbtest.Patient) {
	b.t.Helper()
	b.press("Link your PKB record")
	b.logsIn(p)
	b.press("Approve")
	b.sees(p.FirstName + " " + p.LastName)
}

// A patient links, and reads the record on the account page. A tab that was
// open all the time shows it too, and was not loaded again.
func TestApprove(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	amira := newPerson(t)
	amira.open(s.url)
	amira.checkPatient("sign-in")
	amira.press("Sign in as Amira")
	amira.sees("Not linked")
	amira.checkPatient("account-not-linked")
	open := amira.another()
	open.open(s.url)
	open.sees("Not linked")
	open.stays()

	amira.press("Link your PKB record")
	amira.logsIn(s.ada)
	amira.press("Approve")
	amira.sees("Ada Example")
	amira.sees(s.ada.NHSNumber[:3] + " " + s.ada.NHSNumber[3:6] + " " + s.ada.NHSNumber[6:])
	amira.seesNot(s.ada.PublicID) // which means nothing to a patient
	amira.seesAddress("/account")
	amira.checkPatient("account-linked")
	open.sees("Ada Example")
	open.hears("Linked")
	open.stayed()
}

// One command, one address, and from there it takes a person less than a minute.
func TestOneCommand(t *testing.T) {
	t.Parallel()
	start(t)
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	who := &pkbtest.Patient{PublicID: "5ce0a000-0000-4000-8000-000000000001", FirstName: "Ava", LastName: "Approves"}
	address, ok := strings.CutPrefix(strings.TrimSpace(launch(t, program, nil)), "Open ")
	if !ok {
		t.Fatal("the app does not say what to open")
	}
	amira := newPerson(t)
	amira.open(address)
	amira.press("Sign in as Amira")
	amira.links(who)
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("it took %v", took)
	}
}

// A patient who denies is told so, and may think again.
func TestDeny(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	amira := newPerson(t)
	amira.signsIn(s, "Amira")
	amira.press("Link your PKB record")
	amira.logsIn(s.ada)
	amira.press("Deny")
	amira.sees("You did not allow access")
	amira.checkPatient("app-failure-denied")
	if n := s.pkb.Exchanges(); n != 0 {
		t.Errorf("%d codes exchanged after Deny", n)
	}

	amira.back() // to PKB's question
	amira.press("Approve")
	amira.sees("Ada Example")
}

// Another patient's authorization changes nothing, unless the patient asks for it.
func TestWrongPerson(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	amira, ben := newPerson(t), newPerson(t)
	amira.signsIn(s, "Amira")
	amira.links(s.ada)
	amira.open(s.url + "/pkb/link")
	amira.logsIn(s.bo)
	amira.press("Approve")
	amira.sees("Your record is still linked")
	amira.sees("another account than before")
	amira.checkPatient("app-failure-wrong-patient")
	amira.press("Go to your account")
	amira.sees("Ada Example")

	// Nor can another user of the app have the record.
	ben.signsIn(s, "Ben")
	ben.press("Link your PKB record")
	ben.logsIn(s.ada)
	ben.press("Approve")
	ben.sees("linked with another account of this app")
	ben.checkPatient("app-failure-shared-record")
	ben.press("Go to your account")
	ben.sees("Not linked")

	// The switch asks first, and No leaves everything as it is.
	amira.press("Link another record")
	amira.sees("Link another record?")
	amira.checkPatient("switch")
	amira.press("Keep the record that is linked now")
	amira.sees("Ada Example")
	amira.open(s.url + "/pkb/link")
	amira.logsIn(s.bo)
	amira.press("Approve")
	amira.press("Link the other record instead")
	amira.press("Link another record")
	amira.logsIn(s.bo)
	amira.press("Approve")
	amira.sees("Bo Sample")
}

// Two tabs, both on their way to PKB: neither disturbs the other.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	first := newPerson(t)
	first.signsIn(s, "Amira")
	second := first.another()
	second.open(s.url)
	first.press("Link your PKB record")
	second.press("Link your PKB record")
	first.logsIn(s.ada)
	second.logsIn(s.ada)
	second.press("Approve")
	second.sees("Ada Example")
	first.press("Approve")
	first.sees("Ada Example")
	if n := s.pkb.ReusedRefreshTokens(); n != 0 {
		t.Errorf("%d refresh tokens used twice", n)
	}
	second.open(s.url)
	second.sees("Ada Example")

	// Signed out in one, the other shows nothing any more.
	first.press("Sign out")
	second.sees("Choose who you are")
	second.seesNot("Ada Example")
}

// Back, and Approve once more: that authorization has ended, and the link is kept.
func TestBackButton(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	amira := newPerson(t)
	amira.signsIn(s, "Amira")
	amira.links(s.ada)
	amira.back() // to PKB's question
	amira.press("Approve")
	amira.sees("Ada Example") // the link that this authorization made
	amira.checkPatient("approved-again")
	if n := s.pkb.Exchanges(); n != 1 {
		t.Errorf("%d codes exchanged, want the first one only", n)
	}

	// Nor does Back show what somebody who has signed out has seen.
	amira.press("Sign out")
	amira.sees("Choose who you are")
	amira.back()
	amira.sees("Choose who you are")
	amira.seesNot("Ada Example")
}

// Whoever stays at PKB for too long starts again.
func TestExpiredPending(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", "-approval-life", "1s")
	amira := newPerson(t)
	amira.signsIn(s, "Amira")
	amira.press("Link your PKB record")
	amira.logsIn(s.ada)
	amira.untilExpired(s)
	amira.press("Approve")
	amira.sees("was open for too long")
	amira.checkPatient("app-failure-expired")
	if n := s.pkb.Exchanges(); n != 0 {
		t.Errorf("%d codes exchanged for an authorization that had expired", n)
	}
	amira.press("Go to your account")
	amira.sees("Not linked")
}

// A patient starts at one replica, and comes back to the other. The database is
// PostgreSQL here.
func TestCallbackOnTheOtherReplica(t *testing.T) {
	t.Parallel()
	s := newSite(t, services.PostgresDSN(t))
	s.pinned.Store(0)
	amira := newPerson(t)
	amira.signsIn(s, "Amira")
	amira.press("Link your PKB record")
	amira.logsIn(s.ada)
	s.pinned.Store(1)
	amira.press("Approve")
	amira.sees("Ada Example")
	if zero, one := s.asked[0].Load(), s.asked[1].Load(); zero != 0 || one != 1 {
		t.Fatalf("callbacks at the replicas: %d and %d, want 0 and 1", zero, one)
	}
	s.pinned.Store(0)
	amira.open(s.url)
	amira.sees("Ada Example")
	amira.press("Unlink your record")
	amira.press("Unlink my record")
	s.pinned.Store(1)
	amira.open(s.url)
	amira.sees("Not linked")
}

// PKB ends the session: every open page shows it, and the patient repairs it. The
// operators see it happen.
func TestRelink(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	amira, olu := newPerson(t), newPerson(t)
	amira.signsIn(s, "Amira")
	amira.links(s.ada)
	open := amira.another()
	open.open(s.url)
	open.sees("Ada Example")
	open.stays()
	olu.signsIn(s, "Olu, operator")
	olu.sees("1 link, none needs anybody")
	olu.check("operator-links")
	olu.press("amira")
	olu.sees("Link of amira")
	olu.seesNot("Ada Example") // an operator sees links, not patients
	olu.stays()

	s.pkb.Advance(11 * time.Minute) // more than a token's life
	amira.open(s.url)
	amira.sees("Ada Example")
	olu.sees("Refreshed")
	olu.stayed()

	s.pkb.InvalidateSessions(s.ada)
	amira.open(s.url) // PKB is asked, and refuses
	for _, b := range []*tab{amira, open} {
		b.sees("PKB has ended your link")
		b.seesNot("Ada Example")
	}
	open.hears("PKB has ended your link")
	open.stayed()
	amira.open(s.url + "/account")
	amira.sees("Messages") // the notice was delivered, by one replica or the other
	amira.checkPatient("account-ended")
	olu.sees("API_SESSION_INVALID")
	olu.hears("Ended")
	olu.stayed()
	olu.check("operator-link-ended")

	amira.press("Approve again")
	amira.logsIn(s.ada)
	amira.press("Approve")
	amira.sees("Ada Example")
	open.sees("Ada Example")
	open.until("the messages about the link before are gone", "!document.body.innerText.includes('Messages')")
	olu.until("the operators see the new approval", "document.querySelectorAll('.timeline li').length >= 8")
	olu.check("operator-link")
	olu.press("All links")
	olu.sees("1 link, none needs anybody")
}

func TestUnlink(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	amira, olu := newPerson(t), newPerson(t)
	amira.signsIn(s, "Amira")
	amira.links(s.ada)
	open := amira.another()
	open.open(s.url)
	open.sees("Ada Example")
	open.stays()
	olu.signsIn(s, "Olu, operator")
	olu.sees("1 link, none needs anybody")
	olu.stays()

	amira.press("Unlink your record")
	amira.sees("Unlink your PKB record?")
	amira.checkPatient("unlink")
	amira.press("Keep it linked")
	amira.sees("Ada Example")
	amira.press("Unlink your record")
	amira.press("Unlink my record")
	amira.sees("Not linked")
	open.sees("Not linked")
	open.seesNot("Ada Example")
	open.stayed()
	olu.sees("0 links")
	olu.stayed()
	olu.open(s.url + "/operator/links/~amira")
	olu.sees("Unlinked")
	olu.check("operator-link-unlinked")

	amira.back() // the question whether to unlink
	amira.press("Unlink my record")
	amira.sees("Not linked")
	amira.links(s.ada)
}

// PKB fails: the link is kept, and the page says so.
func TestPKBIsDown(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	amira := newPerson(t)
	amira.signsIn(s, "Amira")
	amira.links(s.ada)
	s.pkb.Next(pkbtest.Self, pkbtest.Respond(500, "text/html", "down")) // which is not retried
	amira.open(s.url)
	amira.sees("We cannot get your record from PKB just now")
	amira.checkPatient("account-pkb-down")
	s.pkb.ClearFaults()
	amira.open(s.url)
	amira.sees("Ada Example")
}

// All of it by keyboard.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	amira := newPerson(t)
	amira.open(s.url)
	amira.types(kb.Tab)
	amira.focusIs("Skip to main content")
	amira.check("keyboard-skip-link")
	amira.types(kb.Enter)
	amira.until("the content has the focus", "document.activeElement.id === 'main'")
	enter := func(text string) {
		t.Helper()
		amira.tabsTo(text)
		amira.leaves(chromedp.KeyEvent(kb.Enter))
	}
	enter("Sign in as Amira")
	amira.sees("Not linked")
	enter("Link your PKB record")
	amira.tabsTo("Log in as")
	amira.types(kb.ArrowDown) // to Bo
	enter("Log in")
	enter("Approve")
	amira.sees("Bo Sample")
	amira.tabsTo("Unlink your record")
	amira.picture("keyboard-focus")
	enter("Unlink your record")
	enter("Unlink my record")
	amira.sees("Not linked")
}
