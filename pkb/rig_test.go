// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

const (
	clientID    = "test-client"
	redirectURL = "https://app.example/pkb/callback"
	user        = "user-1"
)

// rig is a PKB, a store, and a client that links against them, all in memory.
// PKB is served under a path prefix, so that an address put together wrongly
// does not work by accident.
type rig struct {
	*pkb.Client
	pkb     *pkbtest.Server
	store   *tokenstore.Memory
	config  pkb.Config
	patient *pkbtest.Patient
}

func newRig(t *testing.T, change ...func(*pkbtest.Config, *pkb.Config)) *rig {
	t.Helper()
	server := pkbtest.Config{ClientID: clientID, RedirectURIs: []string{redirectURL}, BasePath: "/tenant"}
	store := tokenstore.NewMemory()
	config := pkb.Config{ClientID: clientID, RedirectURL: redirectURL, Store: store}
	for _, f := range change {
		f(&server, &config)
	}
	r := &rig{pkb: pkbtest.New(server), store: store}
	r.patient = r.pkb.AddPatient(pkbtest.Patient{})
	config.Environment = fill(config.Environment, pkb.BaseURL(r.pkb.URL()))
	config.HTTPClient = &http.Client{Transport: r.pkb.Transport()}
	config.Now = r.pkb.Now
	r.config = config
	r.Client = r.replica(t)
	return r
}

// askOnce is for tests of what a single answer does.
func askOnce(_ *pkbtest.Config, c *pkb.Config) { c.Retries = -1 }

// fill completes an environment of which a test sets single fields.
func fill(e, whole pkb.Environment) pkb.Environment {
	whole.PurviewMethod = e.PurviewMethod
	return whole
}

// replica returns another client on the same store.
func (r *rig) replica(t *testing.T) *pkb.Client {
	t.Helper()
	c, err := pkb.New(r.config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// approve starts an approval for user and lets p approve it; it returns what
// the host needs to complete it.
func (r *rig) approve(t *testing.T, user string, p *pkbtest.Patient, opts ...pkb.AuthorizeOption) (pkb.Pending, url.Values) {
	t.Helper()
	address, pending, err := r.Authorize(t.Context(), user, opts...)
	if err != nil {
		t.Fatalf("Authorize: %v", err)
	}
	back, err := r.pkb.Approve(t.Context(), address, p)
	if err != nil {
		t.Fatalf("Approve: %v", err)
	}
	return pending, back.Query()
}

// link links user to p.
func (r *rig) link(t *testing.T, user string, p *pkbtest.Patient, opts ...pkb.AuthorizeOption) pkb.Link {
	t.Helper()
	pending, query := r.approve(t, user, p, opts...)
	link, err := r.Complete(t.Context(), user, pending, query)
	if err != nil {
		t.Fatalf("Complete: %v", err)
	}
	return link
}

// token returns user's access token in clear.
func token(ctx context.Context, t *testing.T, c *pkb.Client, user string) string {
	t.Helper()
	got, err := c.Token(ctx, user)
	if err != nil {
		t.Fatalf("Token: %v", err)
	}
	return got.Value.Reveal()
}
