// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"fmt"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// Everything of users/self is there, and prints as [redacted] until asked for.
func ExamplePatient_Self() {
	ctx := context.Background()
	server, _, client := demo()
	patient := server.AddPatient(pkbtest.Patient{
		FirstName: "Ben", DateOfBirth: "1984-02-29", Gender: "M",
		Self: map[string]any{
			"heightCm": "183", "weightKg": 87.5, "phone": "",
			"orgLevelIds": []any{map[string]any{"value": "H123"}},
		},
	})
	demoLink(ctx, server, patient, client)

	self, err := client.ForUser("app-user-1").Self(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	height, ok := self.HeightCentimetres.Float64()
	weight, _ := self.WeightKilograms.Float64()
	fmt.Println(height, ok, weight, self.Gender.Code() == pkb.GenderMale)
	fmt.Println(self.DateOfBirth.ISO(), self.DateOfBirth.Time(time.UTC).Weekday(), self.DateDeceased.IsZero())
	fmt.Println(self.Phone.IsZero(), string(self.OrgLevelIDs[0].Raw()), len(self.Raw()) > 0)
	fmt.Println(self, self.DateOfBirth, self.Gender)
	// Output:
	// 183 true 87.5 true
	// 1984-02-29 Wednesday true
	// true {"value":"H123"} true
	// pkb.Self[redacted] [redacted] [redacted]
}

// A host compares what PKB says with what it knows.
func ExampleParseDate() {
	known, err := pkb.ParseDate("1984-02-29")
	fmt.Println(known.ISO(), err)
	_, err = pkb.ParseDate("29/02/1984")
	fmt.Println(err)
	// Output:
	// 1984-02-29 <nil>
	// pkb: not a date of the form 2000-02-29; host's turn: write it that way
}

// The numeric id of users/self is not a public id.
func ExampleParsePublicID() {
	id, err := pkb.ParsePublicID("1D4A8B2D-F885-499F-BA51-50600312F316")
	fmt.Println(id, err)
	_, err = pkb.ParsePublicID("7300000")
	fmt.Println(err != nil)
	// Output:
	// 1d4a8b2d-f885-499f-ba51-50600312f316 <nil>
	// true
}
