// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// journey is a patient's whole way, on two replicas: they must behave as one.
func journey(t *testing.T, r *rig) {
	t.Helper()
	one, two := r.replicas[0], r.replicas[1]
	amira := newPerson(t)
	mustShow(t, amira.signIn(one, "amira"), "Not linked", "Link your PKB record")

	// Started on one, the callback comes to the other.
	linked := amira.link(r, one, two)
	if linked.at.Path != "/account" {
		t.Fatalf("the callback leads to %s (%d):\n%s", linked.at.Path, linked.status, linked.body)
	}
	number := r.patient.NHSNumber[:3] + " " + r.patient.NHSNumber[3:6] + " " + r.patient.NHSNumber[6:]
	for _, a := range []answer{linked, amira.get(one.url + "account")} {
		mustShow(t, a, "Linked", "Ada Canary", "12 April 1961", number)
		mustNotShow(t, a, r.patient.PublicID)
	}

	// Linked again, and unlinked on the other.
	mustShow(t, amira.link(r, two, one), "Ada Canary")
	mustShow(t, amira.get(one.url+"unlink"), "Unlink your PKB record?")
	for _, a := range []answer{amira.post(two.url+"unlink", nil), amira.get(one.url + "account")} {
		mustShow(t, a, "Not linked")
		mustNotShow(t, a, "Canary", number, r.patient.PublicID)
	}
	mustShow(t, amira.link(r, two, two), "Ada Canary")
}

func TestTwoReplicasAreOne(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { journey(t, newRig(t, "")) })
	t.Run("PostgreSQL", func(t *testing.T) { journey(t, newRig(t, scratchPostgres(t))) })
}

// scratchPostgres makes an empty database that is dropped when the test ends.
func scratchPostgres(t *testing.T) string {
	t.Helper()
	server := cmp.Or(os.Getenv("PKB_POSTGRES_DSN"), "postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable")
	address, err := url.Parse(server)
	if err != nil || !strings.HasPrefix(address.Scheme, "postgres") {
		t.Skip("PKB_POSTGRES_DSN is not of the form postgres://..., which this program takes")
	}
	admin, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal("PKB_POSTGRES_DSN is not an address of PostgreSQL") // and may hold a password
	}
	t.Cleanup(func() { _ = admin.Close() })
	if err := admin.PingContext(t.Context()); err != nil {
		if os.Getenv("PKB_REQUIRE_SERVICES") == "1" {
			t.Fatalf("PKB_REQUIRE_SERVICES=1 requires a PostgreSQL (PKB_POSTGRES_DSN names it): %v", err)
		}
		t.Skip("PostgreSQL is not reachable; to run this test: docker run --rm -p 5432:5432 -e POSTGRES_HOST_AUTH_METHOD=trust postgres (or name a server in PKB_POSTGRES_DSN)")
	}
	name := "pkb_test_" + strings.ToLower(rand.Text())
	if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.ExecContext(context.WithoutCancel(t.Context()), "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	address.Path = "/" + name
	return address.String()
}

// What Ben does changes nothing for Amira, and the other way round.
func TestUsersAreKeptApart(t *testing.T) {
	r := newRig(t, "")
	one := r.replicas[0]
	amira, ben := newPerson(t), newPerson(t)
	amira.signIn(one, "amira")
	amira.link(r, one, one)
	mustNotShow(t, ben.signIn(one, "ben"), "Canary", r.patient.PublicID)

	// A callback of Amira's, opened in Ben's browser, links nothing.
	callback, err := r.pkb.Approve(t.Context(), amira.goToPKB(one.url+"pkb/link"), r.patient)
	if err != nil {
		t.Fatal(err)
	}
	if a := ben.get(one.url + "pkb/callback?" + callback.RawQuery); a.status != http.StatusBadRequest {
		t.Errorf("Amira's callback in Ben's browser: status %d, want 400", a.status)
	}
	mustShow(t, ben.get(one.url+"account"), "Not linked")
}

func TestPatientWhoDenies(t *testing.T) {
	r := newRig(t, "")
	one := r.replicas[0]
	amira := newPerson(t)
	amira.signIn(one, "amira")
	callback, err := r.pkb.Deny(t.Context(), amira.goToPKB(one.url+"pkb/link"))
	if err != nil {
		t.Fatal(err)
	}
	mustShow(t, amira.get(callback.String()), "was not linked", "did not allow", `href="/pkb/link"`)
	mustShow(t, amira.get(one.url+"account"), "Not linked")
}

func TestAnotherPatientsRecord(t *testing.T) {
	r := newRig(t, "")
	one, two := r.replicas[0], r.replicas[1]
	amira := newPerson(t)
	amira.signIn(one, "amira")
	amira.link(r, one, one)
	mustShow(t, amira.get(two.url+"account"), "Ada Canary")
	other := r.pkb.AddPatient(pkbtest.Patient{FirstName: "Bo", LastName: "Other"})
	approve := func(path string) answer {
		callback, err := r.pkb.Approve(t.Context(), amira.goToPKB(one.url+path), other)
		if err != nil {
			t.Fatal(err)
		}
		return amira.get(callback.String())
	}
	refused := approve("pkb/link")
	if refused.status != http.StatusConflict {
		t.Errorf("status %d, want 409", refused.status)
	}
	mustShow(t, refused, "Your record is still linked", `href="/switch"`)
	mustShow(t, amira.get(one.url+"account"), "Ada Canary")
	// Only who asks for it, and has read what it means, moves to another record.
	mustShow(t, amira.get(one.url+"switch"), `method="post" action="/pkb/switch"`, "and no longer the one that is linked now")
	if a := amira.get(one.url + "pkb/switch"); strings.Contains(a.header.Get("Location"), "apiAuthorize") {
		t.Error("a switch starts without the form")
	}
	a := amira.post(one.url+"pkb/switch", nil)
	callback, err := r.pkb.Approve(t.Context(), a.header.Get("Location"), other)
	if err != nil {
		t.Fatal(err)
	}
	mustShow(t, amira.get(callback.String()), "Bo Other")
	// The other replica has the token of the record before in its memory.
	moved := amira.get(two.url + "account")
	mustShow(t, moved, "Bo Other")
	mustNotShow(t, moved, "Canary")
}

// A token of another record than the one in the store shows nobody anything.
func TestRecordIsThatOfTheLink(t *testing.T) {
	server := pkbtest.New(pkbtest.Config{ClientID: testClientID})
	ada, bo := server.AddPatient(pkbtest.Patient{}), server.AddPatient(pkbtest.Patient{})
	client, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: testClientID, RedirectURL: "http://localhost/pkb/callback",
		Store: tokenstore.NewMemory(), HTTPClient: &http.Client{Transport: server.Transport()}, Now: server.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(t.Context())
	address, pending, err := client.Authorize(t.Context(), "amira")
	if err != nil {
		t.Fatal(err)
	}
	callback, err := server.Approve(t.Context(), address, ada)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Complete(t.Context(), "amira", pending, callback.Query()); err != nil {
		t.Fatal(err)
	}
	a := &app{client: client}
	asked := server.Count(pkbtest.Self)
	if rec, err := a.read(t.Context(), "amira", identity.PublicID(bo.PublicID)); rec != nil || !errors.Is(err, pkb.ErrTryLater) {
		t.Errorf("with the token of somebody else's record: %v, %v", rec != nil, err)
	}
	if server.Count(pkbtest.Self) != asked {
		t.Error("PKB was asked for the demographics of the wrong patient")
	}
	if rec, err := a.read(t.Context(), "amira", identity.PublicID(ada.PublicID)); rec == nil || err != nil {
		t.Errorf("the record of the link: %v", err)
	}
}

// A page that finds out that the link has ended shows it.
func TestLinkThatHasEnded(t *testing.T) {
	r := newRig(t, "")
	one := r.replicas[0]
	amira := newPerson(t)
	amira.signIn(one, "amira")
	amira.link(r, one, one)
	r.pkb.InvalidateSessions(r.patient)
	ended := amira.get(one.url + "account")
	mustShow(t, ended, "PKB has ended your link", "Approve again")
	mustNotShow(t, ended, "Canary")
	mustShow(t, amira.link(r, one, one), "Linked", "Ada Canary")
}

// PKB is down: the page shows it, the link is kept, and the page tries again by
// itself.
func TestPKBIsDown(t *testing.T) {
	r := newRig(t, "")
	one := r.replicas[0]
	amira := newPerson(t)
	amira.signIn(one, "amira")
	amira.link(r, one, one)
	r.pkb.Next(pkbtest.Self, pkbtest.Respond(http.StatusInternalServerError, "text/plain", "down")) // which is not retried
	down := amira.get(one.url + "account")
	mustShow(t, down, "Linked", wordsDown, "You are still linked")
	mustNotShow(t, down, "Canary")
	if good := amira.get(one.url + "account"); good.header.Get("ETag") == down.header.Get("ETag") {
		t.Error("a page without the record has the version of one with it: it would never ask again")
	}
}

// A page that checks whether it is up to date sends nothing to PKB.
func TestUnchangedPageDoesNotAskPKB(t *testing.T) {
	r := newRig(t, "")
	one, two := r.replicas[0], r.replicas[1]
	amira := newPerson(t)
	amira.signIn(one, "amira")
	page := amira.link(r, one, one)
	version := page.header.Get("ETag")
	if version == "" || !strings.Contains(page.body, `data-version="`+strings.ReplaceAll(version, `"`, "&#34;")+`"`) {
		t.Fatalf("the page does not know its version %s", version)
	}
	before := r.pkb.Count(pkbtest.Self)
	ask := func(h *host) int {
		return amira.send(http.MethodGet, h.url+"account", nil, map[string]string{"If-None-Match": version}).status
	}
	for _, h := range r.replicas {
		if status := ask(h); status != http.StatusNotModified {
			t.Errorf("unchanged: status %d, want 304", status)
		}
	}
	if n := r.pkb.Count(pkbtest.Self) - before; n != 0 {
		t.Errorf("%d calls to PKB for nothing new", n)
	}
	amira.post(two.url+"unlink", nil)
	if status := ask(one); status != http.StatusOK {
		t.Errorf("unlinked on the other replica: status %d, want 200 and the new page", status)
	}
}
