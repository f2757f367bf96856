// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package consumer is a host of this library. Its module has a path of its own,
// so it sees what every host sees: the exported names, nothing internal, and in
// its go.sum the modules that come with us.
package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// patients is what a host writes to keep pkb out of the rest of its code.
type patients interface {
	ForUser(appUserID string) *pkb.Patient
}

func TestHostLinksAPatient(t *testing.T) {
	const (
		user     = "user-1"
		redirect = "https://app.example/pkb/callback"
	)
	ctx := t.Context()
	server := pkbtest.New(pkbtest.Config{ClientID: "consumer", RedirectURIs: []string{redirect}})
	patient := server.AddPatient(pkbtest.Patient{})
	client, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(server.URL()),
		ClientID:    "consumer",
		RedirectURL: redirect,
		Store:       tokenstore.NewMemory(),
		HTTPClient:  &http.Client{Transport: server.Transport()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})

	if _, err := client.ForUser(user).PublicID(ctx); !errors.Is(err, pkb.ErrNotLinked) {
		t.Errorf("before the patient approved: %v; want ErrNotLinked, by which a host knows to offer the link", err)
	}

	url, pending, err := client.Authorize(ctx, user)
	if err != nil {
		t.Fatal(err)
	}
	callback, err := server.Approve(ctx, url, patient)
	if err != nil {
		t.Fatal(err)
	}
	link, err := client.Complete(ctx, user, pending, callback.Query())
	if err != nil {
		t.Fatal(err)
	}
	if link.State != tokenstore.StateLinked {
		t.Errorf("after the patient approved, the link is %q; want %q", link.State, tokenstore.StateLinked)
	}

	var host patients = client
	id, err := host.ForUser(user).PublicID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if id == "" {
		t.Error("PublicID is empty: a host has nothing to know the patient by")
	}
	self, err := host.ForUser(user).Self(ctx)
	if err != nil {
		t.Fatal(err)
	}
	nhs, ok := self.NHSNumber()
	if !ok || nhs.Reveal() == "" {
		t.Fatalf("NHSNumber: %t; want the number that pkbtest gives to every patient", ok)
	}
	if printed := fmt.Sprintf("%+v %#v %v", self, self, nhs); strings.Contains(printed, nhs.Reveal()) {
		t.Errorf("printing what Self returns shows the NHS number: %s", printed)
	}
}
