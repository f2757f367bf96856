// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package sinks_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/canary"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbsystem"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// What is planted in the values, and must come out nowhere.
const (
	secret = "birdseed-7f3a-birdseed-9c1e"

	systemSecret = "millet-51d0-millet-b2e8"

	firstName = "Canarina"
	lastName  = "Finkowski"
	born      = "1941-03-17"
	digits    = "9991566171"
	user      = "canarina@app.example"
	redirect  = "https://app.example/pkb/callback"
)

// planted are the searches: for what is secret or about a patient, and for ids,
// which name somebody to whoever knows them and say nothing about a patient. notice is
// what the host was told of the link.
type planted struct {
	secrets, ids *canary.Search
	notice       observe.Notice
}

// value is one of ours, in every way in which a host may hold it.
type value struct {
	name  string
	kind  kind
	forms []form
}

// form is one way of holding a value.
type form struct {
	name string
	v    any
}

// kind says which values fare alike.
type kind int

const (
	// A wrapper prints as [redacted] and refuses to be encoded.
	wrapper kind = iota
	// A number is an NHS number: a wrapper that has a column.
	number
	// A token is a struct of a wrapper and a time.
	token
	// A candidate is a wrapper with ids in plain fields, by decision: a printer that
	// calls no methods prints those, and nothing of its Self.
	candidate
	// A machine is what calls are made on. It is not made to be printed or kept,
	// and holds secrets all the same.
	machine
)

type (
	exported[T any]   struct{ V T }
	unexported[T any] struct{ v T }
)

// held returns v in every form.
func held[T any](name string, of kind, v T) value {
	return value{name, of, []form{
		{"itself", v},
		{"pointer", &v},
		{"field", exported[T]{v}},
		{"struct by pointer", &exported[*T]{&v}},
		{"hidden field", unexported[T]{v}},
		{"hidden pointer", &unexported[*T]{&v}},
		{"hidden any", unexported[any]{v}},
		{"slice", []T{v}},
		{"map", map[string]T{"k": v}},
		{"any", exported[any]{v}},
		{"list of any", []any{v}},
	}}
}

// transport is a function, as a printer that follows pointers would otherwise print
// the fake server with all its patients.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// values makes one of each, with a link whose token is in memory.
func values(t *testing.T) ([]value, planted) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	server := pkbtest.New(pkbtest.Config{ClientID: "c", ClientSecret: secret, SystemClientSecret: systemSecret, RedirectURIs: []string{redirect}})
	patient := server.AddPatient(pkbtest.Patient{FirstName: firstName, LastName: lastName, DateOfBirth: born, NHSNumber: digits})
	ring := &keys.Keyring{}
	key := bytes.Repeat([]byte("9Kz!"), 8)
	must(ring.AddKey("k", key))
	config := pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: "c", ClientSecret: pkb.NewSecret(secret), RedirectURL: redirect, Keys: ring,
		Store: tokenstore.NewMemory(), HTTPClient: &http.Client{Transport: transport(server.Transport().RoundTrip)}, Now: server.Now,
	}
	var notices []observe.Notice
	config.Notify = func(_ context.Context, n observe.Notice) error {
		notices = append(notices, n)
		return nil
	}
	client, err := pkb.New(config)
	must(err)
	address, pending, err := client.Authorize(ctx, user)
	must(err)
	back, err := server.Approve(ctx, address, patient)
	must(err)
	_, err = client.Complete(ctx, user, pending, back.Query())
	must(err)
	another, err := pkb.New(config) // another process delivers it
	must(err)
	_, err = another.TendOnce(ctx)
	must(err)
	if len(notices) != 1 || notices[0].AppUserID != user {
		t.Fatalf("the host was told %v", notices)
	}
	access, err := client.Token(ctx, user)
	must(err)
	self, err := client.ForUser(user).Self(ctx)
	must(err)
	answer, err := client.ForUser(user).Get(ctx, "/json/users/self", nil)
	must(err)
	nhs, ok := self.NHSNumber()
	if !ok || nhs.Reveal() != digits {
		t.Fatal("the fake patient has another NHS number")
	}
	system, err := pkbsystem.New(pkbsystem.Config{
		Environment: config.Environment, TokenURL: server.URL() + "/api/oauth/token", Organisation: server.AddOrganisation(pkbtest.Organisation{}).PublicID,
		ClientID: "test-system-client", ClientSecret: pkb.NewSecret(systemSecret), HTTPClient: config.HTTPClient, Now: server.Now,
	})
	must(err)
	statuses, err := system.Status(ctx, identity.KindNHSNumber, nhs)
	must(err)
	resource, err := fhir.NewResource(fhir.RelatedPerson{Name: []fhir.HumanName{{Family: lastName, Given: []string{firstName}}}, BirthDate: born})
	must(err)
	untyped, err := fhir.Decode[fhir.Any](resource.Raw())
	must(err)
	found := planted{&canary.Search{}, &canary.Search{}, notices[0]}
	for name, text := range map[string]string{
		"client secret": secret, "system secret": systemSecret, "first name": firstName, "last name": lastName, "date of birth": born, "NHS number": digits,
		"state": pending.State().Reveal(), "access token": access.Value.Reveal(), "key": string(key), "code": back.Query().Get("code"),
	} {
		if !found.secrets.Plant(name, text) {
			t.Fatalf("there is no %s to search for", name)
		}
	}
	found.ids.Plant("app_user_id", user)
	found.ids.Plant("public id", patient.PublicID)
	return []value{
		held("pkb.Secret", wrapper, pkb.NewSecret(secret)),
		held("pkb.Pending", wrapper, pending),
		held("pkb.Response", wrapper, answer),
		held("pkb.Candidate", candidate, pkb.Candidate{AppUserID: user, PublicID: identity.PublicID(patient.PublicID), Self: self}),
		held("identity.Self", wrapper, self),
		held("identity.Known", wrapper, identity.NewKnown(identity.Person{NHSNumber: nhs, FirstName: firstName, LastName: lastName, DateOfBirth: born})),
		held("pkbsystem.PatientStatus", wrapper, statuses[0]),
		held("fhir.Resource[RelatedPerson]", wrapper, resource),
		held("fhir.Resource[Any]", wrapper, untyped),
		held("identity.NHSNumber", number, nhs),
		held("pkb.AccessToken", token, access),
		held("keys.Keyring", machine, ring),
		held("pkb.Config", machine, config),
		held("pkb.Client", machine, client),
		held("pkb.Patient", machine, client.ForUser(user)),
		held("pkbsystem.Client", machine, system),
	}, found
}

// The searches find what a sink writes in clear: else that they find nothing shows
// nothing.
func TestSearchesFindWhatIsPlain(t *testing.T) {
	all, found := values(t)
	for _, text := range []string{secret, firstName, lastName, born, digits} {
		if len(found.secrets.Find(fmt.Sprintf("%x", text))) == 0 || len(found.secrets.Find(text)) == 0 {
			t.Errorf("%s is not found", text)
		}
	}
	if len(all) < 13 {
		t.Errorf("%d values", len(all))
	}
}
