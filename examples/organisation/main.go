// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command organisation goes through PKB's journey for a patient-facing app, with a line
// for each step: a patient links, PKB confirms by the NHS number that it is the right
// one, and the patient is added to the organisation.
//
//	go run github.com/betawerk/pkb-go/examples/organisation@latest
//
// It needs no account: PKB is the one of package pkbtest, and it acts as the patient too.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/pkbsystem"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "organisation:", err)
		os.Exit(1)
	}
}

// appUserID is the host's own id for the user who links.
const appUserID = "app-user-1"

// host is a partner's backend: one client for its users, one for its organisation.
type host struct {
	client *pkb.Client
	system *pkbsystem.Client
	// known is what the host knows about its user.
	known identity.NHSNumber
	out   io.Writer
}

func run(ctx context.Context, out io.Writer) error {
	server := pkbtest.New(pkbtest.Config{})
	ada := server.AddPatient(pkbtest.Patient{FirstName: "Ada", LastName: "Example"})
	organisation := server.AddOrganisation(pkbtest.Organisation{TeamAliases: []string{"diabetes"}})
	h, err := open(server, organisation, ada.NHSNumber)
	if err != nil {
		return err
	}
	h.out = out
	defer h.client.Close(ctx)

	if err := h.before(ctx); err != nil {
		return err
	}
	approve := func(authorizeURL string) (map[string][]string, error) { // the patient, in a browser
		callback, err := server.Approve(ctx, authorizeURL, ada)
		if err != nil {
			return nil, err
		}
		return callback.Query(), nil
	}
	if err := h.link(ctx, approve); err != nil {
		return err
	}
	if err := h.add(ctx); err != nil {
		return err
	}
	for publicID, teams := range server.Members(organisation) {
		fmt.Fprintf(out, "10. At PKB, %s is now a patient of the organisation, in %v.\n", publicID, teams)
	}
	return nil
}

// open makes both clients. With PKB's sandbox the Environment is pkb.Sandbox() and
// TokenURL is left out.
func open(server *pkbtest.Server, organisation *pkbtest.Organisation, nhsNumber string) (*host, error) {
	known, err := identity.ParseNHSNumber(nhsNumber)
	if err != nil {
		return nil, err
	}
	inMemory := &http.Client{Transport: server.Transport()}
	client, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(server.URL()),
		ClientID:    server.ClientID(),
		RedirectURL: "https://app.example/pkb/callback",
		Store:       tokenstore.NewMemory(),
		HTTPClient:  inMemory,
		Now:         server.Now,
	})
	if err != nil {
		return nil, err
	}
	system, err := pkbsystem.New(pkbsystem.Config{
		Environment:  pkb.BaseURL(server.URL()),
		TokenURL:     server.URL() + "/api/oauth/token",
		ClientID:     "test-system-client",
		ClientSecret: pkb.NewSecret("test-system-secret"),
		Organisation: organisation.PublicID,
		HTTPClient:   inMemory,
		Now:          server.Now,
	})
	return &host{client: client, system: system, known: known}, err
}

// before asks whether there is a record to link.
func (h *host) before(ctx context.Context) error {
	fmt.Fprintf(h.out, "1. %s has an account in the app, and the app knows their NHS number.\n", appUserID)
	found, err := h.system.Status(ctx, identity.KindNHSNumber, h.known)
	if err != nil {
		return err
	}
	status := found[0].Reveal()
	if status.Presence == pkbsystem.NotFound {
		return errors.New("the patient has no record at PKB: register there first")
	}
	fmt.Fprintf(h.out, "2. The organisation asks PKB about the number: %s, registered: %t.\n", status.Presence, status.Registered != nil && *status.Registered)
	return nil
}

// link lets the patient approve, and has PKB confirm that it is the right one.
func (h *host) link(ctx context.Context, approve func(authorizeURL string) (map[string][]string, error)) error {
	authorizeURL, pending, err := h.client.Authorize(ctx, appUserID)
	if err != nil {
		return err
	}
	fmt.Fprintln(h.out, "3. The app sends the patient to PKB's \"grant access\" page.")
	query, err := approve(authorizeURL)
	if err != nil {
		return err
	}
	fmt.Fprintln(h.out, "4. The patient approves, and comes back with a code.")
	link, err := h.client.Complete(ctx, appUserID, pending, query)
	if err != nil {
		return err
	}
	fmt.Fprintf(h.out, "5. The code is exchanged, and the tokens are saved with the app_user_id: %s.\n", link.State)
	approved, err := h.client.ForUser(appUserID).PublicID(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(h.out, "6. Purview, with the patient's token: the record is %s.\n", approved)
	id, err := h.system.FindByNHSNumber(ctx, h.known)
	if err != nil {
		return err
	}
	if id != approved {
		return errors.New("PKB has another record for the user's NHS number: somebody else approved")
	}
	fmt.Fprintf(h.out, "7. The search, with the organisation's token: %s has the NHS number. It is the right patient.\n", id)
	return nil
}

// add puts the patient into the organisation, with the details that PKB has.
func (h *host) add(ctx context.Context) error {
	self, err := h.client.ForUser(appUserID).Self(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(h.out, "8. users/self, with the patient's token: the details of %s %s.\n", self.Reveal().FirstName, self.Reveal().LastName)
	err = h.system.AddPatient(ctx, pkbsystem.Addition{Self: self, WithoutContacts: true})
	if err != nil {
		return err
	}
	fmt.Fprintln(h.out, "9. The patient is added to the organisation, with those details.")
	return nil
}
