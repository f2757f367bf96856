// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// What was typed is read with its spaces, and answers three questions apart.
func ExampleParseNHSNumber() {
	number, err := pkb.ParseNHSNumber("999 156 6171")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(number, number.Reveal(), number.Formatted())
	fmt.Println(number.ChecksumValid(), number.Range(), number.IsZero())

	mistyped, _ := pkb.ParseNHSNumber("999-156-6711")
	fmt.Println(mistyped.ChecksumValid(), mistyped.Equal(number))
	_, err = pkb.ParseNHSNumber("999 156 617")
	fmt.Println(err)
	// Output:
	// [redacted] 9991566171 999 156 6171
	// true test (999) false
	// false false
	// pkb: not an NHS number, which has ten digits; host's turn: check what was typed or stored
}

// A CHI number looks like an NHS number; PKB tells them apart by name and
// country.
func ExampleNationalID_Kind() {
	ctx := context.Background()
	server, _, client := demo()
	patient := server.AddPatient(pkbtest.MakePatients(1, 4)[3]) // has both
	demoLink(ctx, server, patient, client)

	self, err := client.ForUser("app-user-1").Self(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, id := range self.NationalIDs {
		fmt.Println(id.Kind(), id.Kind().Countries(), id.Kind().System(), id)
	}
	// Output:
	// CHI Number [GB-SCT] urn:oid:2.16.840.1.113883.2.1.3.2.4.16.53 [redacted]
	// NHS Number [GB-ENG GB-WLS] https://fhir.nhs.uk/Id/nhs-number [redacted]
}

// In FHIR resources the system says what kind an identifier is.
func ExampleKindBySystem() {
	fmt.Println(pkb.KindBySystem("http://fhir.nl/fhir/NamingSystem/bsn"))
	fmt.Println(pkb.KindBySystem("https://example.org/id") == pkb.KindUnknown)
	// Output:
	// BSN
	// true
}

// A host compares what PKB says with what it knows of its user.
func ExampleSelf_Compare() {
	ctx := context.Background()
	server, ada, client := demo()
	demoLink(ctx, server, ada, client)

	self, err := client.ForUser("app-user-1").Self(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	number, err := pkb.ParseNHSNumber("999 000 0018") // from your own records
	if err != nil {
		fmt.Println(err)
		return
	}
	born, err := pkb.ParseDate("1980-02-29")
	if err != nil {
		fmt.Println(err)
		return
	}
	match := self.Compare(pkb.Known{
		NHSNumber: number, DateOfBirth: born,
		FirstName: pkb.NewPersonal("ADA"), LastName: pkb.NewPersonal("Sample"), // before she married
	})
	fmt.Println(match)
	fmt.Println("the same person:", match.Same())
	// Output:
	// NHS number matched, date of birth matched, first name matched, last name differs
	// the same person: true
}

// Whatever else PKB has is read by its path, with the same care.
func ExamplePatient_Get() {
	ctx := context.Background()
	server, ada, client := demo()
	demoLink(ctx, server, ada, client)
	server.Next("", pkbtest.Respond(200, "application/json", `{"results":[{"value":"72"}]}`)) // made up for this example

	patient := client.ForUser("app-user-1")
	answer, err := patient.Get(ctx, "/json/v2-beta/measurements", url.Values{"apiRefs": {"weight"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	var measurements struct {
		Results []struct{ Value string }
	}
	if err := json.Unmarshal(answer.Raw(), &measurements); err != nil {
		fmt.Println("not what was expected") // err can repeat what it read
		return
	}
	fmt.Println(answer, measurements.Results[0].Value)

	_, err = patient.Get(ctx, "/json/../apiToken.action", nil)
	fmt.Println(errors.Is(err, pkb.ErrPath))
	// Output:
	// [redacted] 72
	// true
}

// A host that links a user with the record of the same person only, as far as
// can be told.
func ExampleMatch_Same() {
	ctx := context.Background()
	server, ada, _ := demo()
	number, err := pkb.ParseNHSNumber("999 000 0018")
	if err != nil {
		fmt.Println(err)
		return
	}
	known := map[string]pkb.Known{"app-user-1": {NHSNumber: number}} // your database
	client, err := demoClient(server, pkb.Config{
		Identify: func(_ context.Context, c pkb.Candidate) error {
			match := c.Self.Compare(known[c.AppUserID])
			fmt.Println(match) // it holds no values, so it may be logged
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
	for _, patient := range []*pkbtest.Patient{server.AddPatient(pkbtest.Patient{}), ada} {
		address, pending, err := client.Authorize(ctx, "app-user-1")
		if err != nil {
			fmt.Println(err)
			return
		}
		back, err := server.Approve(ctx, address, patient)
		if err != nil {
			fmt.Println(err)
			return
		}
		_, err = client.Complete(ctx, "app-user-1", pending, back.Query())
		fmt.Println("refused:", errors.Is(err, pkb.ErrIdentityRefused))
	}
	// Output:
	// NHS number differs, date of birth not compared, first name not compared, last name not compared
	// refused: true
	// NHS number matched, date of birth not compared, first name not compared, last name not compared
	// refused: false
}
