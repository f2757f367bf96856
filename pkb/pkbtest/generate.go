// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"fmt"
	"math/rand/v2"
)

// MakePatients makes up n patients that differ in what trips up programs. The
// same seed makes the same patients; another seed makes others, who share no
// public id and, up to some hundred thousand, no number among themselves. Give
// them to AddPatient.
//
// The first twelve are one of each kind, and so is every twelve after them:
//
//  1. nothing out of the ordinary;
//  2. no national id;
//  3. a CHI number and no NHS number;
//  4. an NHS number and a CHI number;
//  5. deceased;
//  6. a hyphenated last name and two first names;
//  7. an apostrophe, and a last name of several words;
//  8. a name in another script than Latin;
//  9. born on a leap day;
//  10. accents;
//  11. gender unknown or indeterminate;
//  12. two NHS numbers that contradict each other.
//
// All numbers begin with 999 and have a right check digit, CHI numbers too: a
// real one begins with a date of birth, and no month has 99 days. The CHI
// number's name is inferred.
func MakePatients(seed uint64, n int) []Patient {
	r := rand.New(rand.NewPCG(seed, 0x706b62)) //nolint:gosec // made-up patients have to be the same again
	numbers := testNumbers{next: r.IntN(1_000_000)}
	patients := make([]Patient, n)
	for i := range patients {
		patients[i] = makePatient(r, &numbers, i)
	}
	return patients
}

func makePatient(r *rand.Rand, numbers *testNumbers, i int) Patient {
	pick := func(from []string) string { return from[r.IntN(len(from))] }
	p := Patient{
		PublicID:    randomUUID(r),
		UserID:      fmt.Sprint(8_000_000 + i),
		NHSNumber:   numbers.take(),
		FirstName:   pick(firstNames),
		LastName:    pick(lastNames),
		DateOfBirth: fmt.Sprintf("%d-%02d-%02d", 1930+r.IntN(90), 1+r.IntN(12), 1+r.IntN(28)),
		Gender:      pick([]string{"F", "M"}),
		Email:       fmt.Sprintf("patient.%d@example.org", i+1),
	}
	p.Title = map[string]string{"F": "Ms.", "M": "Mr."}[p.Gender]
	chi := func() nationalID { return nationalID{numbers.take(), "CHI number", []string{"GB-SCT"}} }
	nhs := func(number string) nationalID {
		return nationalID{number, "NHS number", []string{"GB-ENG", "GB-WLS"}}
	}
	ids := func(all ...nationalID) { p.Self = map[string]any{"nationalIds": all} }
	switch i % 12 {
	case 1:
		p.NHSNumber, p.NoNHSNumber = "", true
	case 2:
		p.NHSNumber, p.NoNHSNumber = "", true
		ids(chi())
	case 3:
		ids(chi(), nhs(p.NHSNumber))
	case 4:
		p.Self = map[string]any{"dateDeceased": fmt.Sprintf("%d-%02d-%02d", 2021+r.IntN(4), 1+r.IntN(12), 1+r.IntN(28))}
	case 5:
		p.FirstName, p.LastName = pick(firstNames)+"-"+pick(firstNames), pick(lastNames)+"-"+pick(lastNames)
	case 6:
		p.FirstName, p.LastName = pick(firstNames), pick([]string{"O'Specimen", "D’Example", "van der Sample", "Mc Fixture", "St. Placeholder"})
	case 7:
		name := namesElsewhere[r.IntN(len(namesElsewhere))]
		p.FirstName, p.LastName = name[0], name[1]
	case 8:
		p.DateOfBirth = fmt.Sprintf("%d-02-29", 1932+4*r.IntN(22))
	case 9:
		p.FirstName, p.LastName = pick([]string{"Zoë", "José", "Łucja", "Şeref", "Zoe\u0308"}), pick([]string{"Exämple", "Sámple", "Specimeñ"})
	case 10:
		p.Gender, p.Title = pick([]string{"U", "I"}), "Mx."
	case 11:
		ids(nhs(p.NHSNumber), nhs(numbers.take()))
	}
	return p
}

// namesElsewhere are words for example, sample and the like, as names.
var namesElsewhere = [][2]string{
	{"Анна", "Примерова"}, {"Νίκος", "Παραδείγματος"}, {"مثال", "عينة"}, {"例子", "样本"}, {"नमूना", "उदाहरण"}, {"דוגמה", "לדוגמא"}, {"예시", "견본"},
}

func randomUUID(r *rand.Rand) string {
	hi, lo := r.Uint64()&^0xf000|0x4000, r.Uint64()&^(3<<62)|2<<62
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xffff, lo>>48, lo&0xffff_ffff_ffff)
}

// testNumbers hands out numbers of the 999 range that have a right check digit,
// each once until all are used.
type testNumbers struct{ next int }

func (t *testNumbers) take() string {
	for {
		t.next = (t.next + 271_829) % 1_000_000 // no factor in common: it visits all
		if number, ok := withCheckDigit(fmt.Sprintf("999%06d", t.next)); ok {
			return number
		}
	}
}

// withCheckDigit completes nine digits (modulus 11); ok is false for those that
// have no check digit.
func withCheckDigit(nine string) (number string, ok bool) {
	sum := 0
	for i, d := range nine {
		sum += int(d-'0') * (10 - i)
	}
	check := (11 - sum%11) % 11
	return nine + fmt.Sprint(check), check < 10
}
