// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/pkbsystem"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// In the sandbox a system client needs its credentials and the organisation. Elsewhere
// PKB has to tell you the token endpoint.
func ExampleNew() {
	system, err := pkbsystem.New(pkbsystem.Config{
		Environment:  pkb.Sandbox(),
		ClientID:     "system-client",
		ClientSecret: pkb.NewSecret("from-your-secrets"),
		Organisation: "0c71b08b-38f8-4973-aaff-e4103151cd42", // your organisation's PKB public id
	})
	fmt.Println(system, err)

	_, err = pkbsystem.New(pkbsystem.Config{Environment: pkb.Production(), Organisation: "General Hospital"})
	fmt.Println(err)
	// Output:
	// pkbsystem.Client{Environment: "sandbox", ClientID: "system-client"} <nil>
	// pkbsystem.Config.TokenURL: is empty: PKB's pages print only the sandbox's token endpoint for system clients; ask PKB for this environment's
	// pkbsystem.Config.ClientID: is empty, has a colon, which HTTP Basic does not allow, or has spaces or characters that are not printable ASCII
	// pkbsystem.Config.ClientSecret: is empty, or has spaces or characters that are not printable ASCII, such as the line end of a file
	// pkbsystem.Config.Organisation: is not a PKB public id: a UUID in lower case, which PKB has for your organisation
}

// demo returns a PKB for tests with one patient, and a system client of an
// organisation.
func demo() (*pkbtest.Server, *pkbtest.Patient, *pkbtest.Organisation, *pkbsystem.Client) {
	server := pkbtest.New(pkbtest.Config{})
	ada := server.AddPatient(pkbtest.Patient{FirstName: "Ada", LastName: "Example"})
	organisation := server.AddOrganisation(pkbtest.Organisation{TeamAliases: []string{"diabetes"}})
	system, err := pkbsystem.New(pkbsystem.Config{
		Environment:  pkb.BaseURL(server.URL()),
		TokenURL:     server.URL() + "/api/oauth/token",
		ClientID:     "test-system-client",
		ClientSecret: pkb.NewSecret("test-system-secret"),
		Organisation: organisation.PublicID,
		HTTPClient:   &http.Client{Transport: server.Transport()},
		Now:          server.Now,
	})
	if err != nil {
		panic(err)
	}
	return server, ada, organisation, system
}

// The public id that PKB has for a number.
func ExampleClient_FindByNHSNumber() {
	ctx := context.Background()
	_, ada, _, system := demo()

	number, err := identity.ParseNHSNumber(ada.NHSNumber)
	if err != nil {
		fmt.Println(err)
		return
	}
	id, err := system.FindByNHSNumber(ctx, number)
	fmt.Println(id, err)

	nobody, _ := identity.ParseNHSNumber("999 000 0018")
	_, err = system.FindByNHSNumber(ctx, nobody)
	fmt.Println(errors.Is(err, pkbsystem.ErrNoPatient), advice.For(err).Code)
	// Output:
	// b39921df-9e78-4924-b8ce-6d5e696752dc <nil>
	// true patient_unknown
}

// A second opinion from PKB, in Config.Identify: the record that was approved must be
// the one that PKB has for the user's NHS number. A comparison of details comes first; a
// number that PKB does not show to the organisation leaves its verdict as it is.
func ExampleClient_FindByNHSNumber_identify() {
	ctx := context.Background()
	server, ada, _, system := demo()
	eve := server.AddPatient(pkbtest.Patient{FirstName: "Eve", LastName: "Example"})

	number, _ := identity.ParseNHSNumber(ada.NHSNumber)
	users := map[string]identity.Known{ // what the host knows
		"app-user-1": identity.NewKnown(identity.Person{NHSNumber: number, FirstName: "Ada", LastName: "Example"}),
	}
	client, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(server.URL()),
		ClientID:    server.ClientID(),
		RedirectURL: "https://app.example/pkb/callback",
		Store:       tokenstore.NewMemory(),
		HTTPClient:  &http.Client{Transport: server.Transport()},
		Now:         server.Now,
		Identify: func(ctx context.Context, c pkb.Candidate) error {
			known := users[c.AppUserID]
			match := c.Self.Compare(known)
			id, err := system.FindByNHSNumber(ctx, known.Reveal().NHSNumber)
			switch {
			case err == nil: // does PKB have another record for this number?
				match = match.WithPublicID(c.PublicID, id)
			case errors.Is(err, pkbsystem.ErrNoPatient), errors.Is(err, pkbsystem.ErrInput):
				// There is no second opinion: the first stands.
			default:
				return err // the authorization waits, and Identify is called again
			}
			if !match.Same() {
				return pkb.ErrIdentityRefused
			}
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, patient := range []*pkbtest.Patient{eve, ada} {
		authorizeURL, pending, err := client.Authorize(ctx, "app-user-1")
		if err != nil {
			fmt.Println(err)
			return
		}
		callback, err := server.Approve(ctx, authorizeURL, patient)
		if err != nil {
			fmt.Println(err)
			return
		}
		link, err := client.Complete(ctx, "app-user-1", pending, callback.Query())
		fmt.Println(patient.FirstName, link.Verified, errors.Is(err, pkb.ErrIdentityRefused))
	}
	// Output:
	// Eve false true
	// Ada true false
}

// Before anybody is asked to link: are the numbers known to PKB?
func ExampleClient_Status() {
	ctx := context.Background()
	_, ada, _, system := demo()

	known, _ := identity.ParseNHSNumber(ada.NHSNumber)
	unknown, _ := identity.ParseNHSNumber("999 000 0018")
	found, err := system.Status(ctx, identity.KindNHSNumber, known, unknown)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, status := range found {
		d := status.Reveal() // personal data
		fmt.Println(status, status.IsZero(), d.Presence, d.Registered != nil && *d.Registered)
	}
	fmt.Println(found[0].Equal(found[1]))
	// Output:
	// [redacted] false found true
	// [redacted] false not found false
	// false
}

// After linking: the patient joins the organisation, with the details that the
// patient's own token gave.
func ExampleClient_AddPatient() {
	ctx := context.Background()
	server, ada, organisation, system := demo()

	self := identity.NewSelf(identity.Demographics{ // in a host: client.ForUser(appUserID).Self(ctx)
		FirstName: "Ada", LastName: "Example", DateOfBirth: "1951-02-02", Gender: identity.GenderFemale,
		NationalIDs: []identity.NationalID{{Value: ada.NHSNumber, Name: "NHS number", CountryCodes: []string{"GB-ENG"}}},
	})
	err := system.AddPatient(ctx, pkbsystem.Addition{Self: self})
	fmt.Println(err, server.Members(organisation)[ada.PublicID])

	err = system.AddPatient(ctx, pkbsystem.Addition{Self: identity.NewSelf(identity.Demographics{FirstName: "Ada"})})
	fmt.Println(err)

	server.Next(pkbtest.Messaging, pkbtest.DropAfter()) // PKB does it, and the response is lost
	err = system.AddPatient(ctx, pkbsystem.Addition{Self: self})
	fmt.Println(errors.Is(err, pkbsystem.ErrUncertain), advice.For(err).Turn)
	// Output:
	// <nil> [diabetes]
	// pkbsystem: nothing was sent: absent or unusable: NationalIDs, LastName, DateOfBirth, Gender
	// true wait
}

// Requests of your own, with the system client's token.
func ExampleClient_HTTPClient() {
	ctx := context.Background()
	server, ada, _, system := demo()

	get := func(address string) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		resp, err := system.HTTPClient().Do(req)
		if err != nil {
			fmt.Println(errors.Unwrap(err))
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		fmt.Println(resp.Status, len(body) > 0, err)
	}
	get(server.URL() + "/fhir/Patient?identifier=https://fhir.nhs.uk/Id/nhs-number%7C" + ada.NHSNumber)
	get("https://elsewhere.example/")
	// Output:
	// 200 OK true <nil>
	// pkbsystem: the request is for another origin than those of the Config; nothing was sent
}
