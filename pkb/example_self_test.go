// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"fmt"
	"time"

	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// A Self has every member of users/self, and prints as [redacted].
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
	d := self.Reveal()
	height, ok := d.HeightCentimetres.Float64()
	weight, _ := d.WeightKilograms.Float64()
	fmt.Println(height, ok, weight, d.Gender == identity.GenderMale)
	fmt.Println(d.DateOfBirth, d.DateOfBirth.Time(time.UTC).Weekday(), d.DateDeceased == "")
	fmt.Println(d.Phone == "", string(d.OrgLevelIDs[0]), len(self.Raw()) > 0)
	fmt.Println(self)
	// Output:
	// 183 true 87.5 true
	// 1984-02-29 Wednesday true
	// true {"value":"H123"} true
	// [redacted]
}
