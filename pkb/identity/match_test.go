// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// record returns an answer of users/self with these NHS numbers.
func record(t *testing.T, first, last, dob string, numbers ...string) Self {
	t.Helper()
	ids := []map[string]any{{"name": "CHI number", "value": "9990000018", "countryCodes": []string{"GB-SCT"}}}
	for _, n := range numbers {
		ids = append(ids, map[string]any{"name": "NHS number", "value": n, "countryCodes": []string{"GB-ENG", "GB-WLS"}})
	}
	body, err := json.Marshal(map[string]any{"patient": true, "firstName": first, "lastName": last, "dob": dob, "nationalIds": ids})
	if err != nil {
		t.Fatal(err)
	}
	s, err := DecodeSelf(body)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func known(t *testing.T, first, last, dob, number string) Known {
	t.Helper()
	k := Person{FirstName: first, LastName: last}
	if dob != "" {
		d, err := ParseDate(dob)
		if err != nil {
			t.Fatal(err)
		}
		k.DateOfBirth = d
	}
	if number != "" {
		k.NHSNumber = mustNHSNumber(t, number)
	}
	return NewKnown(k)
}

func TestCompare(t *testing.T) {
	const number, other, dob = "9991566171", "9990000018", "1984-02-29"
	match := func(number, dob, first, last Verdict) Match {
		return Match{NHSNumber: number, DateOfBirth: dob, FirstName: first, LastName: last, PublicID: notLookedUp}
	}
	for name, tc := range map[string]struct {
		self  Self
		known Known
		want  Match
		same  bool
	}{
		"everything":       {record(t, "Ada", "Example", dob, number), known(t, "Ada", "Example", dob, number), match(Matched, Matched, Matched, Matched), true},
		"nothing is known": {record(t, "Ada", "Example", dob, number), Known{}, match(unknownHere, unknownHere, unknownHere, unknownHere), false},
		"nothing is sent":  {record(t, "", "", ""), known(t, "Ada", "Example", dob, number), match(unknownAtPKB, unknownAtPKB, unknownAtPKB, unknownAtPKB), false},
		"no answer at all": {Self{}, known(t, "Ada", "Example", dob, number), match(unknownAtPKB, unknownAtPKB, unknownAtPKB, unknownAtPKB), false},

		"another person of the same name and birthday": {record(t, "Ada", "Example", dob, other), known(t, "Ada", "Example", dob, number), match(Differs, Matched, Matched, Matched), false},
		"the number alone":                   {record(t, "Ada", "Example", dob, number), known(t, "", "", "", number), match(Matched, unknownHere, unknownHere, unknownHere), true},
		"number and last name":               {record(t, "Ada", "Example", dob, number), known(t, "", "Example", "", number), match(Matched, unknownHere, unknownHere, Matched), true},
		"the parent's number":                {record(t, "Ada", "Example", dob, number), known(t, "Ben", "Example", "2015-02-28", number), match(Matched, Differs, Differs, Matched), false},
		"the parent's number, and no date":   {record(t, "Ada", "Example", dob, number), known(t, "Ben", "Example", "", number), match(Matched, unknownHere, Differs, Matched), false},
		"a newborn with the mother's number": {record(t, "Ada", "Example", dob, number), known(t, "Baby", "Example", "", number), match(Matched, unknownHere, aStandIn, Matched), false},
		"short name":                         {record(t, "Elizabeth", "Example", dob, number), known(t, "Liz", "Example", dob, number), match(Matched, Matched, Differs, Matched), true},
		"short name, and no date":            {record(t, "Elizabeth", "Example", dob, number), known(t, "Liz", "Example", "", number), match(Matched, unknownHere, Differs, Matched), false},
		"married":                            {record(t, "Ada", "Example", dob, number), known(t, "Ada", "Sample", dob, number), match(Matched, Matched, Matched, Differs), true},
		"married, and no date":               {record(t, "Ada", "Example", dob, number), known(t, "Ada", "Sample", "", number), match(Matched, unknownHere, Matched, Differs), true},
		"both names differ":                  {record(t, "Ada", "Example", dob, number), known(t, "Ben", "Sample", dob, number), match(Matched, Matched, Differs, Differs), false},
		"the only name known differs":        {record(t, "Ada", "Example", dob, number), known(t, "", "Sample", dob, number), match(Matched, Matched, unknownHere, Differs), false},
		"no number to compare":               {record(t, "Ada", "Example", dob), known(t, "Ada", "Example", dob, number), match(unknownAtPKB, Matched, Matched, Matched), true},
		"a twin":                             {record(t, "Ada", "Example", dob), known(t, "Ben", "Example", dob, ""), match(unknownHere, Matched, Differs, Matched), false},
		"a namesake":                         {record(t, "Ada", "Example", dob), known(t, "Ada", "Example", "1984-02-28", ""), match(unknownHere, Differs, Matched, Matched), false},
		"no date":                            {record(t, "Ada", "Example", ""), known(t, "Ada", "Example", dob, ""), match(unknownHere, unknownAtPKB, Matched, Matched), false},
		"a date that is none":                {record(t, "Ada", "Example", dob), NewKnown(Person{FirstName: "Ada", LastName: "Example", DateOfBirth: "29/02/1984"}), match(unknownHere, notADate, Matched, Matched), false},
		"day and month the other way round":  {record(t, "Ada", "Example", "1984-03-02"), known(t, "Ada", "Example", "1984-02-03", ""), match(unknownHere, Differs, Matched, Matched), false},

		"the CHI number's digits":        {record(t, "Ada", "Example", dob), known(t, "", "", "", "9990000018"), match(unknownAtPKB, unknownHere, unknownHere, unknownHere), false},
		"two numbers, one of them right": {record(t, "Ada", "Example", dob, number, other), known(t, "Ada", "Example", dob, number), match(Differs, Matched, Matched, Matched), false},
		"the same number twice":          {record(t, "Ada", "Example", dob, number, "999 156 6171"), known(t, "", "", "", number), match(Matched, unknownHere, unknownHere, unknownHere), true},
		"a number that was pasted":       {record(t, "Ada", "Example", dob, "\ufeff999\u200d156\u200d6171\u200e"), known(t, "", "", "", number), match(Matched, unknownHere, unknownHere, unknownHere), true},
		"a number that cannot be read":   {record(t, "Ada", "Example", dob, "999156617"), known(t, "Ada", "Example", dob, number), match(Differs, Matched, Matched, Matched), false},
		"an empty number":                {record(t, "Ada", "Example", dob, " - "), known(t, "Ada", "Example", dob, number), match(unknownAtPKB, Matched, Matched, Matched), true},
		"a word for a number":            {record(t, "Ada", "Example", dob, "N/A"), known(t, "Ada", "Example", dob, number), match(aStandIn, Matched, Matched, Matched), true},
		"a stand-in and a number":        {record(t, "Ada", "Example", dob, "0000000000", number), known(t, "Ada", "Example", dob, number), match(Matched, Matched, Matched, Matched), true},
		"both have the stand-in":         {record(t, "Ada", "Example", dob, "0000000000"), known(t, "Ben", "Example", dob, "0000000000"), match(aStandIn, Matched, Differs, Matched), false},
		"PKB has the stand-in":           {record(t, "Ada", "Example", dob, "9999999999"), known(t, "Ada", "Example", dob, number), match(aStandIn, Matched, Matched, Matched), true},
		"the host has the stand-in":      {record(t, "Ada", "Example", dob, number), known(t, "Ada", "Example", dob, "0000000000"), match(aStandIn, Matched, Matched, Matched), true},
		"both have the same slip":        {record(t, "Ada", "Example", dob, "9991566170"), known(t, "", "", "", "9991566170"), match(wrongCheck, unknownHere, unknownHere, unknownHere), false},

		"both have the date that means unknown": {record(t, "Ada", "Example", "1900-01-01"), known(t, "Ada", "Example", "1900-01-01", ""), match(unknownHere, aStandIn, Matched, Matched), false},
		"PKB has the date that means unknown":   {record(t, "Ada", "Example", "1900-01-01", number), known(t, "Ada", "Example", dob, number), match(Matched, aStandIn, Matched, Matched), true},
		"the host has the default of a system":  {record(t, "Ada", "Example", dob, number), known(t, "Ada", "Example", "1970-01-01", number), match(Matched, aStandIn, Matched, Matched), true},
		"year one, and the first name differs":  {record(t, "Ada", "Example", "0001-01-01", number), known(t, "Ben", "Example", "0001-01-01", number), match(Matched, aStandIn, Differs, Matched), false},
		"a day that nobody was born on":         {record(t, "Ada", "Example", "9999-12-31", number), known(t, "Ada", "Example", dob, number), match(Matched, aStandIn, Matched, Matched), true},
		"1 January and no number":               {record(t, "Mohamed", "Ali", "1985-01-01"), known(t, "Mohamed", "Ali", "1985-01-01", number), match(unknownAtPKB, bothJanuary, Matched, Matched), false},
		"1 January against a day, no number":    {record(t, "Mohamed", "Ali", "1985-01-01"), known(t, "Mohamed", "Ali", "1985-05-04", ""), match(unknownHere, oneJanuary, Matched, Matched), false},
		"1 January and the number":              {record(t, "Mohamed", "Ali", "1985-01-01", number), known(t, "Muhammad", "Ali", "1985-01-01", number), match(Matched, Matched, Differs, Matched), true},
		"1 January against a day, the number":   {record(t, "Mohamed", "Ali", "1985-01-01", number), known(t, "Mohamed", "Ali", "1985-05-04", number), match(Matched, Differs, Matched, Matched), false},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.self.Compare(tc.known)
			if got != tc.want || got.Same() != tc.same {
				t.Errorf("%v: same %t; want %v: same %t", got, got.Same(), tc.want, tc.same)
			}
		})
	}
}

func TestCompareFirstNames(t *testing.T) {
	for _, tc := range []struct {
		a, b    string
		want    Verdict // with a matched date of birth
		without Verdict // "" if the same
	}{
		{"Ada", "ADA", Matched, ""}, {" Ada ", "Ada", Matched, ""}, {"Anne-Marie", "Anne Marie", Matched, ""}, {"Anne‑Marie", "annemarie", Matched, ""},
		{"Ada\u00ad\u200f", "Ada", Matched, ""}, {"Zoë", "Zoe\u0308", Matched, ""}, {"ZOË", "zoë", Matched, ""}, {"Łukasz", "ŁUKASZ", Matched, ""},
		{"Νίκος", "ΝΊΚΟΣ", Matched, ""}, {"Анна", "АННА", Matched, ""}, {"李", "李", Matched, ""}, {"محمد", "محمد", Matched, ""}, {"Kaʻiulani", "Kaiulani", Matched, ""},
		{"Hiếu", "Hie\u0302\u0301u", Matched, ""}, {"김철수", "\u1100\u1175\u11b7철수", Matched, ""}, {"أحمد", "ا\u0654حمد", Matched, ""}, {"ﬁona", "Fiona", Matched, ""},
		{"Ａｄａ", "Ada", Matched, ""}, {"Ada", "Dr Ada", Matched, ""}, {"Prof. Dr. Ada", "Mrs Ada", Matched, ""},
		{"İpek", "IPEK", Matched, ""}, {"Işık", "IŞIK", Matched, ""}, {"Ali", "ALİ", Matched, ""}, {"Ali", "ali\u0307", Matched, ""},

		{"Ada Marie", "Ada", Matched, aPart}, {"Ada Marie Rose", "Ada Marie", Matched, aPart}, {"Anne Marie Louise", "Annemarie", Matched, aPart},
		{"John R", "John Robert", Matched, aPart}, {"John R.", "John", Matched, aPart}, {"Elizabeth (Liz)", "Elizabeth", Matched, aPart}, {"St.John", "St John Paul", Matched, aPart},

		{"A", "a", anInitial, ""}, {"A.", "A", anInitial, ""}, {"É", "É", anInitial, ""}, {"A", "Ada", anInitial, ""}, {"A. M.", "Ada Marie", anInitial, ""}, {"J", "J R", anInitial, ""}, {"А.", "Анна", anInitial, ""},
		{"José", "Jose", noAccents, ""}, {"Zoë", "Zoé", Differs, ""}, {"Jürgen", "Juergen", noAccents, ""}, {"Jürgen", "Jurgen", noAccents, ""}, {"Hiếu", "Hieu", noAccents, ""}, {"Hiếu", "Hiểu", Differs, ""}, {"أحمد", "احمد", noAccents, ""}, {"Νίκος", "ΝΙΚΟΣ", noAccents, ""},
		{"Анна", "Anna", otherScript, ""}, {"李娜", "Na Li", otherScript, ""},
		{"J?rg", "Jörg", lostLetter, ""}, {"J?rg", "J?rg", lostLetter, ""}, {"J\xffrg", "J\xf6rg", lostLetter, ""},

		{"Ada", "Adah", Differs, ""}, {"Ada", "Aada", Differs, ""}, {"Jon", "John", Differs, ""}, {"Liz", "Elizabeth", Differs, ""}, {"Anne", "Anne-Marie", Differs, ""}, {"Mary Ann", "Mary Jane", Differs, ""},
		{"Marie", "Ada Marie", Differs, ""}, {"B", "Ada", Differs, ""}, {"John R", "John Paul", Differs, ""}, {"J P", "John Robert", Differs, ""}, {"Işık", "Isik", noAccents, ""},
		{"Anna", "Аnna", Differs, ""}, // a Cyrillic letter that looks alike
		{"J?rg", "Jan", Differs, ""}, {"Ada", "Ada2", Differs, ""}, {"李", "李娜", Differs, ""}, {"कि", "कु", Differs, ""}, {"Zoë", "Zoe Ann", Differs, ""}, {"Søren", "Seren", Differs, ""},

		{"", "Ada", unknownAtPKB, ""}, {"Ada", "", unknownHere, ""}, {"", "", unknownHere, ""}, {"-", "-", unknownHere, ""}, {" . ", "Ada", unknownAtPKB, ""},
		{"Unknown", "Ada", aStandIn, ""}, {"Baby Girl", "Baby Girl", aStandIn, ""}, {"Baby of Mary", "Ada", aStandIn, ""}, {"Twin 1", "Twin 2", aStandIn, ""}, {"N/A", "n/a", aStandIn, ""}, {"XXX", "Ada", aStandIn, ""}, {"Mrs", "Mrs.", aStandIn, ""}, {"??", "Ada", aStandIn, ""}, {"123", "Ada", aStandIn, ""}, {"Male Infant", "Ada", aStandIn, ""}, {"Not Known", "Ada", aStandIn, ""},
		{"Na", "Na", Matched, ""}, {"Babylon", "Babylon", Matched, ""}, {"Nil", "Nil", Matched, ""},
	} {
		compare := func(a, b string, born, want Verdict) {
			t.Helper()
			if got, _ := compareNames([2]string{a, "Example"}, [2]string{b, "Example"}, born); got != want {
				t.Errorf("%q and %q: %v, want %v", a, b, got, want)
			}
		}
		without := cmp.Or(tc.without, tc.want)
		compare(tc.a, tc.b, Matched, tc.want)
		compare(tc.a, tc.b, aStandIn, without)
		if tc.want != unknownAtPKB && tc.want != unknownHere {
			compare(tc.b, tc.a, Matched, tc.want)
			compare(tc.b, tc.a, aStandIn, without)
		}
	}
}

func TestCompareLastNames(t *testing.T) {
	for _, tc := range []struct {
		a, b    string
		want    Verdict // with a matched date of birth
		without Verdict // "" if the same
	}{
		{"O'Brien", "O’BRIEN", Matched, ""}, {"O'Brien", "OBrien", Matched, ""}, {"O Brien", "O`Brien", Matched, ""}, {"D´Angelo", "DAngelo", Matched, ""}, {"O＇Brien", "O'Brien", Matched, ""},
		{"Smith–Jones", "Smith-Jones", Matched, ""}, {"St. John", "St John", Matched, ""}, {"de la Cruz", "De La  Cruz", Matched, ""}, {"Strauß", "STRAUSS", Matched, ""},
		{"Şahin", "S\u0327ahin", Matched, ""}, {"Gẁyn", "GW\u0300YN", Matched, ""}, {"Ọlá", "O\u0323LA\u0301", Matched, ""}, {"Nguyễn", "NGUYỄN", Matched, ""},
		{"Smith-Jones", "Smith", Matched, aPart}, {"Jones", "Smith Jones", Matched, aPart}, {"García López", "Garcı\u0301a", Matched, aPart}, {"Mac Donald-Smith", "MacDonald", Matched, aPart},
		{"S", "Smith", anInitial, ""}, {"Müller", "Mueller", noAccents, ""}, {"Müller", "Muller", noAccents, ""},
		{"Smith", "Smithson", Differs, ""}, {"Jones", "Smith-Brown", Differs, ""}, {"Smith-Jones", "Jones-Smith", Differs, ""}, {"O", "Smith", Differs, ""}, {"Weiß", "Weis", Differs, ""}, {"Đỗ", "Do", noAccents, ""}, {"Đỗ", "Đô", Differs, ""},
		{"Unknown", "Smith", aStandIn, ""},
	} {
		for _, pair := range [][2]string{{tc.a, tc.b}, {tc.b, tc.a}} {
			for born, want := range map[Verdict]Verdict{Matched: tc.want, aStandIn: cmp.Or(tc.without, tc.want)} {
				if _, got := compareNames([2]string{"Ada", pair[0]}, [2]string{"Ada", pair[1]}, born); got != want {
					t.Errorf("%q and %q with a date of birth %v: %v, want %v", pair[0], pair[1], born, got, want)
				}
			}
		}
	}
}

func TestCompareWholeNames(t *testing.T) {
	for _, tc := range []struct {
		a, b                   [2]string
		first, last            Verdict // with a matched date of birth
		withoutFirst, without2 Verdict
	}{
		{[2]string{"Ada", "Example"}, [2]string{"Example", "Ada"}, Matched, Matched, Differs, Differs},
		{[2]string{"Mary Ann", "Smith"}, [2]string{"Mary", "Ann Smith"}, Matched, Matched, aPart, aPart},
		{[2]string{"Anna van", "Dijk"}, [2]string{"Anna", "van Dijk"}, Matched, Matched, aPart, aPart},
		{[2]string{"Mohammed Ali", "Khan"}, [2]string{"Mohammed", "Hassan Khan"}, aPart, aPart, aPart, aPart},
		{[2]string{"Ana Maria", "Silva Santos"}, [2]string{"Ana", "Santos"}, aPart, aPart, aPart, aPart},
		{[2]string{"A", "B"}, [2]string{"B", "A"}, Differs, Differs, Differs, Differs},
		{[2]string{"Unknown", "Ada"}, [2]string{"Ada", "Unknown"}, aStandIn, aStandIn, aStandIn, aStandIn},
		{[2]string{"John", "Smith Jr."}, [2]string{"John", "Smith, Sr"}, Differs, Matched, Differs, Matched},
		{[2]string{"John", "Smith Jr"}, [2]string{"John", "Smith"}, Matched, Matched, aPart, Matched},
		{[2]string{"José", "García"}, [2]string{"Jose", "Garcia"}, noAccents, noAccents, noAccents, noAccents},
		{[2]string{"José", "García"}, [2]string{"Jose", "García"}, Differs, Matched, Differs, Matched}, // who has one accent would have the other
		{[2]string{"", "Sukarno"}, [2]string{"", "Sukarno"}, unknownHere, Matched, unknownHere, Matched},
	} {
		for born, want := range map[Verdict][2]Verdict{Matched: {tc.first, tc.last}, unknownHere: {tc.withoutFirst, tc.without2}} {
			for _, pair := range [][2][2]string{{tc.a, tc.b}, {tc.b, tc.a}} {
				if first, last := compareNames(pair[0], pair[1], born); first != want[0] || last != want[1] {
					t.Errorf("%q and %q with a date of birth %v: %v, %v, want %v", pair[0], pair[1], born, first, last, want)
				}
			}
		}
	}
}

// Whatever else holds: a contradiction never makes two people one, and what is
// contradicted would not be if it were not compared.
func TestSameNeverForgivesAContradiction(t *testing.T) {
	verdicts := []Verdict{"", unknownHere, aStandIn, noAccents, Matched, Differs}
	var tried int
	for _, m := range matches(verdicts) {
		tried++
		number := m.NHSNumber == Matched || m.PublicID == Matched
		switch {
		case !m.Same():
			continue
		case m.NHSNumber == Differs || m.DateOfBirth == Differs || m.PublicID == Differs:
			t.Errorf("%v: the same person", m)
		case !number && (m.DateOfBirth != Matched || !m.FirstName.agrees() || !m.LastName.agrees()):
			t.Errorf("%v: the same person without a number", m)
		case m.FirstName == Differs && (m.DateOfBirth != Matched || !m.LastName.agrees()):
			t.Errorf("%v: the same person with another first name", m)
		case m.FirstName == Differs && m.LastName == Differs:
			t.Errorf("%v: the same person with another name", m)
		}
		for _, better := range []Match{
			{m.NHSNumber, m.DateOfBirth, Matched, m.LastName, m.PublicID}, {m.NHSNumber, m.DateOfBirth, m.FirstName, Matched, m.PublicID},
			{m.NHSNumber, Matched, m.FirstName, m.LastName, m.PublicID}, {Matched, m.DateOfBirth, m.FirstName, m.LastName, m.PublicID},
		} {
			if !better.Same() {
				t.Errorf("%v: the same person, and not for %v", m, better)
			}
		}
	}
	if tried != 7776 {
		t.Errorf("%d tried", tried)
	}
}

// matches returns every Match of these verdicts.
func matches(verdicts []Verdict) (all []Match) {
	for _, n := range verdicts {
		for _, d := range verdicts {
			for _, f := range verdicts {
				for _, l := range verdicts {
					for _, p := range verdicts {
						all = append(all, Match{n, d, f, l, p})
					}
				}
			}
		}
	}
	return all
}

// PKB's look-up serves as a number where users/self has none, and contradicts one.
func TestWithPublicID(t *testing.T) {
	const ada, ben PublicID = "1d4a8b2d-f885-499f-ba51-50600312f316", "2d4a8b2d-f885-499f-ba51-50600312f316"
	const dob, number = "1984-02-29", "9991566171"
	for name, tc := range map[string]struct {
		self     Self
		known    Known
		lookedUp PublicID
		want     Verdict
		same     bool
	}{
		"not looked up":                         {record(t, "Ada", "Example", ""), known(t, "Ada", "Sample", "", number), "", unknownAtPKB, false},
		"a number that users/self lacks":        {record(t, "Ada", "Example", ""), known(t, "Ada", "Sample", "", number), ada, Matched, true},
		"upper case":                            {record(t, "Ada", "Example", ""), known(t, "Ada", "Sample", "", number), "1D4A8B2D-F885-499F-BA51-50600312F316", Matched, true},
		"somebody else's":                       {record(t, "Ada", "Example", dob, number), known(t, "Ada", "Example", dob, number), ben, Differs, false},
		"users/self has another number":         {record(t, "Ada", "Example", dob, "9990000018"), known(t, "Ada", "Example", dob, number), ada, Matched, false},
		"the parent's number":                   {record(t, "Ada", "Example", dob), known(t, "Ben", "Example", "", number), ada, Matched, false},
		"1 January":                             {record(t, "Mohamed", "Ali", "1985-01-01"), known(t, "Muhammad", "Ali", "1985-01-01", number), ada, Matched, true},
		"1 January against a day":               {record(t, "Mohamed", "Ali", "1985-01-01"), known(t, "Mohamed", "Ali", "1985-05-04", number), ada, Matched, false},
		"both have the date that means unknown": {record(t, "Ada", "Example", "1900-01-01"), known(t, "Ben", "Example", "1900-01-01", number), ada, Matched, false},
	} {
		m := tc.self.Compare(tc.known).WithPublicID(ada, tc.lookedUp)
		if m.PublicID != tc.want || m.Same() != tc.same {
			t.Errorf("%s: %v: same %t", name, m, m.Same())
		}
	}
	if m := (Match{}).WithPublicID("", ada); m.PublicID != unknownAtPKB {
		t.Errorf("nobody approved: %v", m)
	}
}

func TestMatchAndKnownPrintNoValues(t *testing.T) {
	m := Match{Matched, Differs, "", Matched, notLookedUp}
	const want = "NHS number matched; date of birth differs; first name undecided; last name matched"
	if got := fmt.Sprint(m); got != want {
		t.Errorf("prints %q, want %q", got, want)
	}
	if got := fmt.Sprint(Match{LastName: lostLetter, PublicID: Differs}); got != "NHS number undecided; date of birth undecided; first name undecided; last name undecided: a character was lost; public id differs" {
		t.Errorf("prints %q", got)
	}
	j, err := json.Marshal(m)
	if err != nil || string(j) != `{"NHSNumber":"matched","DateOfBirth":"differs","FirstName":"","LastName":"matched","PublicID":"undecided: not looked up"}` {
		t.Errorf("JSON %s, %v", j, err)
	}
	k := known(t, "canary", "canary", "1977-07-17", "9991566171")
	for _, printed := range []string{fmt.Sprintf("%v %+v %#v %s %x", k, k, k, k, k), fmt.Sprintf("%v %+v", &k, struct{ k Known }{k})} {
		for _, secret := range []string{"canary", "1977", "99915", "63616e"} {
			if strings.Contains(printed, secret) {
				t.Errorf("%q is in %s", secret, printed)
			}
		}
	}
}

func FuzzCompareNames(f *testing.F) {
	for _, seed := range [][2]string{{"Zoë", "Zoe\u0308"}, {"O'Brien", "OBRIEN"}, {"\u0301", "a"}, {"ǅ", "ǆ"}, {"?", "\xff"}, {"Smith-Jones Jr", "Smith"}, {"Dr A B", "A Brown"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, born := range []Verdict{Matched, Differs} {
			first, last := compareNames([2]string{a, b}, [2]string{b, a}, born)
			other1, other2 := compareNames([2]string{b, a}, [2]string{a, b}, born)
			if !mirrored(first, other1) || !mirrored(last, other2) {
				t.Errorf("%q and %q: %v, %v, and the other way round %v, %v", a, b, first, last, other1, other2)
			}
			if first, last := compareNames([2]string{a, b}, [2]string{a, b}, born); first == Differs || last == Differs {
				t.Errorf("%q, %q differs from itself: %v, %v", a, b, first, last)
			}
			// Names that are the same to a reader of Unicode are the same here.
			if first, _ := compareNames([2]string{a, "x"}, [2]string{b, "x"}, born); strings.EqualFold(a, b) && first == Differs {
				t.Errorf("%q and %q differ in case only", a, b)
			}
			if first, last := compareNames([2]string{a, a}, [2]string{b, b}, Differs); (first == Matched || last == Matched) && newName(fold(a)).letters() != newName(fold(b)).letters() && len(strings.Fields(a+b)) == 2 {
				t.Errorf("%q and %q match: %v, %v", a, b, first, last)
			}
		}
		if fold(fold(a)) != fold(a) {
			t.Errorf("%q: what is compared is %q, and of that %q", a, fold(a), fold(fold(a)))
		}
	})
}

// mirrored reports whether two verdicts are the same, the sides exchanged.
func mirrored(a, b Verdict) bool {
	if a == unknownHere || a == unknownAtPKB {
		return b == unknownHere || b == unknownAtPKB
	}
	return a == b
}

// What is no name, but megabytes, takes no time to compare.
func TestCompareIsQuick(t *testing.T) {
	begun := time.Now()
	for _, unit := range []string{"a ", "a-", "ab-", "?", "\u0301", "Dr ", "Jr ", "ı\u0307", "김 "} {
		a, b := "Ada "+strings.Repeat(unit, 1<<13), strings.Repeat(unit, 1<<13)+"x"
		compareNames([2]string{a, b}, [2]string{b, a}, Matched)
	}
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("took %v", took)
	}
}
