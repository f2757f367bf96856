// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

func TestMadePatientsAreOfEveryKind(t *testing.T) {
	for seed := range uint64(20) {
		patients := pkbtest.MakePatients(seed, 12)
		ids := func(i int) string { return fmt.Sprint(patients[i].Self["nationalIds"]) }
		for kind, is := range map[string]bool{
			"no national id":  patients[1].NoNHSNumber && patients[1].NHSNumber == "" && patients[1].Self == nil,
			"CHI number only": patients[2].NHSNumber == "" && strings.Contains(ids(2), "CHI number") && !strings.Contains(ids(2), "NHS"),
			"two ids":         strings.Contains(ids(3), "CHI number") && strings.Contains(ids(3), patients[3].NHSNumber),
			"deceased":        patients[4].Self["dateDeceased"] != nil,
			"hyphenated":      strings.Contains(patients[5].FirstName, "-") && strings.Contains(patients[5].LastName, "-"),
			"punctuated":      strings.ContainsAny(patients[6].LastName, "'’ ."),
			"other script":    !strings.ContainsFunc(patients[7].FirstName+patients[7].LastName, func(r rune) bool { return unicode.Is(unicode.Latin, r) }),
			"leap day":        strings.HasSuffix(patients[8].DateOfBirth, "-02-29"),
			"accents":         strings.ContainsFunc(patients[9].FirstName+patients[9].LastName, func(r rune) bool { return r > 0x7f }),
			"gender":          strings.Contains("UI", patients[10].Gender),
			"two NHS numbers": strings.Count(ids(11), "NHS number") == 2,
		} {
			if !is {
				t.Errorf("seed %d: there is no patient of the kind %q in its place", seed, kind)
			}
		}
	}
}

func TestMadePatientsAreTheSameAgain(t *testing.T) {
	if diff := cmp.Diff(fmt.Sprint(pkbtest.MakePatients(7, 30)), fmt.Sprint(pkbtest.MakePatients(7, 30))); diff != "" {
		t.Errorf("one seed, two sets of patients:\n%s", diff)
	}
	if diff := cmp.Diff(fmt.Sprint(pkbtest.MakePatients(7, 5)), fmt.Sprint(pkbtest.MakePatients(7, 30)[:5])); diff != "" {
		t.Errorf("the first five depend on how many come after them:\n%s", diff)
	}
	if pkbtest.MakePatients(8, 1)[0].PublicID == pkbtest.MakePatients(7, 1)[0].PublicID {
		t.Error("two seeds make one patient")
	}
}

// Nobody real can be among them.
func TestMadePatientsHaveTestNumbersOfTheirOwn(t *testing.T) {
	numbers, publicIDs := map[string]bool{}, map[string]bool{}
	for _, p := range pkbtest.MakePatients(3, 5000) {
		if publicIDs[p.PublicID] {
			t.Errorf("the public id %s is two patients'", p.PublicID)
		}
		publicIDs[p.PublicID] = true
		if _, err := time.Parse(time.DateOnly, p.DateOfBirth); err != nil {
			t.Errorf("nobody is born on %s", p.DateOfBirth)
		}
		own := map[string]bool{}
		for _, word := range append(strings.FieldsFunc(fmt.Sprint(p.Self["nationalIds"]), func(r rune) bool { return r < '0' || r > '9' }), p.NHSNumber) {
			if word != "" {
				own[word] = true
			}
		}
		for number := range own {
			sum := 0
			for i, d := range number {
				sum += (10 - i) * int(d-'0')
			}
			if !strings.HasPrefix(number, "999") || len(number) != 10 || sum%11 != 0 || numbers[number] {
				t.Errorf("%s: not a test number of this patient's own", number)
			}
			numbers[number] = true
		}
	}
}
