// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// Links whose notices wait are counted once each, whichever way a round comes to them.
func TestRoundCountsWhoseNoticesWait(t *testing.T) {
	db, err := open("-db", filepath.Join(t.TempDir(), "links.db"), sqlstore.Config{}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer db.close()
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	server := pkbtest.New(pkbtest.Config{})
	link(t, server, db, "ada", func(context.Context, observe.Notice) error { return nil })
	link(t, server, db, "bea", nil)
	r := &round{database: db, waiting: map[string]bool{}}
	if page, err := r.List(t.Context(), "", 10); err != nil || len(page) != 2 {
		t.Fatalf("%d records, %v", len(page), err)
	}
	if n := r.result(0).Notices; n != 1 {
		t.Errorf("of a list %d links are counted, want ada's", n)
	}
	if due, err := r.Due(t.Context(), time.Now().Add(time.Minute), 10); err != nil || len(due) == 0 {
		t.Fatalf("%d due, %v", len(due), err)
	}
	if n := r.result(0).Notices; n != 1 {
		t.Errorf("with what is due %d links are counted, want ada's once", n)
	}
}

// link links a user in a client with that Notify, which delivers nothing.
func link(t *testing.T, server *pkbtest.Server, db *database, user string, notify func(context.Context, observe.Notice) error) {
	t.Helper()
	text, err := keys.Generate("first")
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	client, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: server.ClientID(), RedirectURL: "https://app.example/pkb/callback",
		Store: db, Keys: ring, HTTPClient: &http.Client{Transport: server.Transport()}, Notify: notify,
	})
	if err != nil {
		t.Fatal(err)
	}
	address, pending, err := client.Authorize(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	back, err := server.Approve(t.Context(), address, server.AddPatient(pkbtest.Patient{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Complete(t.Context(), user, pending, back.Query()); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
