// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// Of many made-up patients, each is recognised by what a host knows of them,
// and none for another.
func TestEveryPatientIsThemselvesAndNobodyElse(t *testing.T) {
	r := newRig(t)
	made := pkbtest.MakePatients(1, 48)
	selves := make([]identity.Self, len(made))
	for i := range made {
		made[i] = *r.pkb.AddPatient(made[i])
		u := fmt.Sprint("user-", i)
		r.link(t, u, &made[i])
		self, err := r.ForUser(u).Self(t.Context())
		if err != nil {
			t.Fatalf("patient %d: %v", i, err)
		}
		selves[i] = self
		number, ok := self.NHSNumber()
		contradicting := i%12 == 11
		if ok != (made[i].NHSNumber != "" && !contradicting) || ok && (number.Reveal() != made[i].NHSNumber || !number.ChecksumValid() || number.Range() != identity.RangeTest) {
			t.Errorf("patient %d: NHSNumber %q, %t", i, number.Reveal(), ok)
		}
		if self.Deceased() != (i%12 == 4) {
			t.Errorf("patient %d: Deceased = %t", i, self.Deceased())
		}
		for _, id := range self.Reveal().NationalIDs {
			if kind := id.Kind(); kind != identity.KindNHSNumber && kind != identity.KindCHINumber {
				t.Errorf("patient %d: an id of kind %q", i, kind)
			}
		}
	}
	for i := range made {
		known := identity.Person{FirstName: strings.ToUpper(made[i].FirstName), LastName: " " + made[i].LastName}
		var err error
		if known.DateOfBirth, err = identity.ParseDate(made[i].DateOfBirth); err != nil {
			t.Fatal(err)
		}
		if made[i].NHSNumber != "" {
			if known.NHSNumber, err = identity.ParseNHSNumber(made[i].NHSNumber); err != nil {
				t.Fatal(err)
			}
		}
		for j, self := range selves {
			m := self.Compare(identity.NewKnown(known))
			if want := i == j && i%12 != 11; m.Same() != want { // two numbers that contradict each other are for a person to look at
				t.Errorf("patient %d against the answer about %d: same %t (%v)", i, j, m.Same(), m)
			}
		}
	}
}
