// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// demo returns a test server with one patient, and a client for it.
func demo() (*pkbtest.Server, *pkbtest.Patient, *pkb.Client) {
	server := pkbtest.New(pkbtest.Config{ClientID: "my-app", RedirectURIs: []string{"https://app.example/pkb/callback"}})
	patient := server.AddPatient(pkbtest.Patient{
		PublicID: "1d4a8b2d-f885-499f-ba51-50600312f316", FirstName: "Ada", LastName: "Example",
		DateOfBirth: "1980-02-29", NHSNumber: "9990000018",
	})
	client, err := demoClient(server, pkb.Config{})
	if err != nil {
		panic(err)
	}
	return server, patient, client
}

// demoClient returns a client of server, with the other fields of config.
func demoClient(server *pkbtest.Server, config pkb.Config) (*pkb.Client, error) {
	config.Environment = pkb.BaseURL(server.URL())
	config.ClientID = server.ClientID()
	config.RedirectURL = "https://app.example/pkb/callback"
	config.Store = tokenstore.NewMemory()
	config.HTTPClient = &http.Client{Transport: server.Transport()}
	config.Now = server.Now
	return pkb.New(config)
}

// demoLink links app-user-1 to the patient of demo.
func demoLink(ctx context.Context, server *pkbtest.Server, patient *pkbtest.Patient, client *pkb.Client) {
	address, pending, err := client.Authorize(ctx, "app-user-1")
	if err != nil {
		panic(err)
	}
	back, err := server.Approve(ctx, address, patient)
	if err != nil {
		panic(err)
	}
	if _, err := client.Complete(ctx, "app-user-1", pending, back.Query()); err != nil {
		panic(err)
	}
}

// A number parses with its spaces. Checksum and range are separate questions.
func ExampleParseNHSNumber() {
	number, err := identity.ParseNHSNumber("999 156 6171")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(number, number.Reveal(), number.Formatted())
	fmt.Println(number.ChecksumValid(), number.Range(), number.IsZero())

	mistyped, _ := identity.ParseNHSNumber("999-156-6711")
	fmt.Println(mistyped.ChecksumValid(), mistyped.Equal(number))
	_, err = identity.ParseNHSNumber("999 156 617")
	fmt.Println(err)
	// Output:
	// [redacted] 9991566171 999 156 6171
	// true test (999) false
	// false false
	// identity: not an NHS number of ten digits
}

// A CHI number looks like an NHS number; its name and country differ.
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
	for _, id := range self.Reveal().NationalIDs {
		fmt.Println(id.Kind(), id.Kind().Countries(), id.Kind().System())
	}
	// Output:
	// CHI Number [GB-SCT] urn:oid:2.16.840.1.113883.2.1.3.2.4.16.53
	// NHS Number [GB-ENG GB-WLS] https://fhir.nhs.uk/Id/nhs-number
}

// In FHIR resources the system identifies the kind.
func ExampleKindBySystem() {
	fmt.Println(identity.KindBySystem("http://fhir.nl/fhir/NamingSystem/bsn"))
	fmt.Println(identity.KindBySystem("https://example.org/id") == identity.KindUnknown)
	// Output:
	// BSN
	// true
}

// A host compares PKB's details with its own.
func ExampleSelf_Compare() {
	ctx := context.Background()
	server, ada, client := demo()
	demoLink(ctx, server, ada, client)

	self, err := client.ForUser("app-user-1").Self(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	number, err := identity.ParseNHSNumber("999 000 0018") // from your own records
	if err != nil {
		fmt.Println(err)
		return
	}
	born, err := identity.ParseDate("1980-02-29")
	if err != nil {
		fmt.Println(err)
		return
	}
	match := self.Compare(identity.NewKnown(identity.Person{
		NHSNumber: number, DateOfBirth: born,
		FirstName: "ADA", LastName: "Sample", // before she married
	}))
	fmt.Println(match)
	fmt.Println("the same person:", match.Same())
	// Output:
	// NHS number matched; date of birth matched; first name matched; last name differs
	// the same person: true
}

// A host links a user only with a record of the same person.
func ExampleMatch_Same() {
	ctx := context.Background()
	server, ada, _ := demo()
	number, err := identity.ParseNHSNumber("999 000 0018")
	if err != nil {
		fmt.Println(err)
		return
	}
	known := map[string]identity.Known{"app-user-1": identity.NewKnown(identity.Person{NHSNumber: number})} // your database
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
	// NHS number differs; date of birth undecided: the host has none; first name undecided: the host has none; last name undecided: the host has none
	// refused: true
	// NHS number matched; date of birth undecided: the host has none; first name undecided: the host has none; last name undecided: the host has none
	// refused: false
}

// A host that looks up numbers as a system client adds PKB's second opinion: here of
// a patient whose users/self has no NHS number.
func ExampleMatch_WithPublicID() {
	number, err := identity.ParseNHSNumber("999 000 0018")
	if err != nil {
		fmt.Println(err)
		return
	}
	self := identity.NewSelf(identity.Demographics{FirstName: "Ada", LastName: "Example", DateOfBirth: "1980-02-29"})
	match := self.Compare(identity.NewKnown(identity.Person{NHSNumber: number, FirstName: "Ada", LastName: "Sample"}))
	fmt.Println(match.NHSNumber, match.Same())

	var approved identity.PublicID = "1d4a8b2d-f885-499f-ba51-50600312f316" // Candidate.PublicID
	lookedUp := approved                                                    // what PKB returns for the number
	match = match.WithPublicID(approved, lookedUp)
	fmt.Println(match.PublicID, match.Same())
	// Output:
	// undecided: PKB has none false
	// matched true
}

// A Date is plain text.
func ExampleParseDate() {
	known, err := identity.ParseDate("1984-02-29")
	fmt.Println(known, err)
	_, err = identity.ParseDate("29/02/1984")
	fmt.Println(err)
	// Output:
	// 1984-02-29 <nil>
	// identity: not a date of the form 2000-02-29
}

// The numeric id of users/self is not a public id.
func ExampleParsePublicID() {
	id, err := identity.ParsePublicID("1D4A8B2D-F885-499F-BA51-50600312F316")
	fmt.Println(id, err)
	_, err = identity.ParsePublicID("7300000")
	fmt.Println(err != nil)
	// Output:
	// 1d4a8b2d-f885-499f-ba51-50600312f316 <nil>
	// true
}

// A date of death in an unknown format is still reported.
func ExampleSelf_Deceased() {
	self, err := identity.DecodeSelf([]byte(`{"patient": true, "dateDeceased": "in February 2024"}`))
	fmt.Println(self.Deceased(), self.Reveal().DateDeceased == "", err)
	// Output: true true <nil>
}

// NewSelf makes a Self in a host's test, without HTTP.
func ExampleNewSelf() {
	self := identity.NewSelf(identity.Demographics{FirstName: "Ada", Gender: identity.GenderFemale})
	fmt.Println(self, self.Reveal().FirstName)
	_, err := json.Marshal(self) // a wrapper is not encoded, what Reveal returns is
	fmt.Println(err != nil)
	// Output:
	// [redacted] Ada
	// true
}

// DecodeSelf reads a recorded response in a host's test. Only "patient": false is
// about somebody who is no patient.
func ExampleDecodeSelf() {
	_, err := identity.DecodeSelf([]byte(`{"patient": false}`))
	fmt.Println(errors.Is(err, identity.ErrNotAPatient))
	_, err = identity.DecodeSelf([]byte(`{"status": "maintenance"}`))
	fmt.Println(errors.Is(err, identity.ErrNotAPatient), err)
	// Output:
	// true
	// false identity: the response is not about a user
}

// A Known prints as [redacted].
func ExampleNewKnown() {
	known := identity.NewKnown(identity.Person{FirstName: "Ada", DateOfBirth: "1980-02-29"})
	fmt.Println(known, known.Reveal().DateOfBirth)
	// Output: [redacted] 1980-02-29
}

// A database column holds the ten digits, and NULL for an absent number.
func ExampleNHSNumber_Scan() {
	number, err := identity.ParseNHSNumber("999 156 6171")
	if err != nil {
		fmt.Println(err)
		return
	}
	column, err := number.Value() // database/sql calls it
	fmt.Println(column, err)

	var read identity.NHSNumber
	fmt.Println(read.Scan(column), read.Equal(number))
	fmt.Println(read.Scan(nil), read.IsZero())
	// Output:
	// 9991566171 <nil>
	// <nil> true
	// <nil> true
}

// Self.NHSNumber is the number that PKB presents as an NHS number.
func ExampleSelf_NHSNumber() {
	self, err := identity.DecodeSelf([]byte(`{"patient": true, "dob": "1980-02-29", "heightCm": 172.5,
		"nationalIds": [{"value": "999 156 6171", "name": "NHS number", "countryCodes": ["GB-ENG"]}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	number, ok := self.NHSNumber()
	fmt.Println(number, number.Formatted(), ok)

	d := self.Reveal()
	height, ok := d.HeightCentimetres.Float64()
	fmt.Println(height, ok, d.DateOfBirth.Time(time.UTC).Year())
	fmt.Println(len(self.Raw()), "bytes of PKB's JSON")
	// Output:
	// [redacted] 999 156 6171 true
	// 172.5 true 1980
	// 153 bytes of PKB's JSON
}
