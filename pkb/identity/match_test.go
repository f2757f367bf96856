// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
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
	match := func(number, dob, first, last Verdict) Match { return Match{number, dob, first, last} }
	for name, tc := range map[string]struct {
		self  Self
		known Known
		want  Match
		same  bool
	}{
		"everything":       {record(t, "Ada", "Example", dob, number), known(t, "Ada", "Example", dob, number), match(Matched, Matched, Matched, Matched), true},
		"nothing is known": {record(t, "Ada", "Example", dob, number), Known{}, Match{}, false},
		"nothing is sent":  {record(t, "", "", ""), known(t, "Ada", "Example", dob, number), Match{}, false},
		"no answer at all": {Self{}, known(t, "Ada", "Example", dob, number), Match{}, false},
		"another person of the same name and birthday": {record(t, "Ada", "Example", dob, other), known(t, "Ada", "Example", dob, number), match(Differs, Matched, Matched, Matched), false},
		"the number alone":                            {record(t, "Ada", "Example", dob, number), known(t, "", "", "", number), match(Matched, NotCompared, NotCompared, NotCompared), true},
		"the parent's number":                         {record(t, "Ada", "Example", dob, number), known(t, "Ben", "Example", "2015-02-28", number), match(Matched, Differs, Differs, Matched), false},
		"married":                                     {record(t, "Ada", "Example", dob, number), known(t, "Ada", "Sample", dob, number), match(Matched, Matched, Matched, Differs), true},
		"both names differ":                           {record(t, "Ada", "Example", dob, number), known(t, "Ben", "Sample", dob, number), match(Matched, Matched, Differs, Differs), false},
		"the only name known differs":                 {record(t, "Ada", "Example", dob, number), known(t, "", "Sample", dob, number), match(Matched, Matched, NotCompared, Differs), false},
		"no number to compare":                        {record(t, "Ada", "Example", dob), known(t, "Ada", "Example", dob, number), match(NotCompared, Matched, Matched, Matched), true},
		"a twin":                                      {record(t, "Ada", "Example", dob), known(t, "Ben", "Example", dob, ""), match(NotCompared, Matched, Differs, Matched), false},
		"a namesake":                                  {record(t, "Ada", "Example", dob), known(t, "Ada", "Example", "1984-02-28", ""), match(NotCompared, Differs, Matched, Matched), false},
		"no date":                                     {record(t, "Ada", "Example", ""), known(t, "Ada", "Example", dob, ""), match(NotCompared, NotCompared, Matched, Matched), false},
		"day and month the other way round":           {record(t, "Ada", "Example", "1984-03-02"), known(t, "Ada", "Example", "1984-02-03", ""), match(NotCompared, Differs, Matched, Matched), false},
		"first and last the other way round":          {record(t, "Example", "Ada", dob), known(t, "Ada", "Example", dob, ""), match(NotCompared, Matched, Differs, Differs), false},
		"the CHI number's digits":                     {record(t, "Ada", "Example", dob), known(t, "", "", "", "9990000018"), match(NotCompared, NotCompared, NotCompared, NotCompared), false},
		"two numbers, one of them right":              {record(t, "Ada", "Example", dob, number, other), known(t, "Ada", "Example", dob, number), match(Differs, Matched, Matched, Matched), false},
		"the same number twice":                       {record(t, "Ada", "Example", dob, number, "999 156 6171"), known(t, "", "", "", number), match(Matched, NotCompared, NotCompared, NotCompared), true},
		"a number that cannot be read":                {record(t, "Ada", "Example", dob, "999156617"), known(t, "Ada", "Example", dob, number), match(Differs, Matched, Matched, Matched), false},
		"an empty number":                             {record(t, "Ada", "Example", dob, " - "), known(t, "Ada", "Example", dob, number), match(NotCompared, Matched, Matched, Matched), true},
		"both sides have the stand-in":                {record(t, "Ada", "Example", dob, "0000000000"), known(t, "Ben", "Example", dob, "0000000000"), match(NotCompared, Matched, Differs, Matched), false},
		"both sides have the same slip":               {record(t, "Ada", "Example", dob, "9991566170"), known(t, "", "", "", "9991566170"), match(NotCompared, NotCompared, NotCompared, NotCompared), false},
		"one side has a stand-in":                     {record(t, "Ada", "Example", dob, number), known(t, "Ada", "Example", dob, "0000000000"), match(Differs, Matched, Matched, Matched), false},
		"both sides have the date that means unknown": {record(t, "Ada", "Example", "1900-01-01"), known(t, "Ada", "Example", "1900-01-01", ""), match(NotCompared, NotCompared, Matched, Matched), false},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.self.Compare(tc.known)
			if got != tc.want || got.Same() != tc.same {
				t.Errorf("%v: same %t; want %v: same %t", got, got.Same(), tc.want, tc.same)
			}
		})
	}
}

func TestCompareNames(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want Verdict
	}{
		{"Ada", "ADA", Matched}, {" Ada ", "Ada", Matched}, {"O'Brien", "O’BRIEN", Matched}, {"O'Brien", "OBrien", Matched}, {"O Brien", "O`Brien", Matched},
		{"Anne-Marie", "Anne Marie", Matched}, {"Anne‑Marie", "annemarie", Matched}, {"Smith–Jones", "Smith-Jones", Matched},
		{"St. John", "St John", Matched}, {"de la Cruz", "De La  Cruz", Matched}, {"Ada\u00ad\u200f", "Ada", Matched},
		{"Zoë", "Zoe\u0308", Matched}, {"ZOË", "zoë", Matched}, {"Şahin", "S\u0327ahin", Matched}, {"Łukasz", "ŁUKASZ", Matched}, {"Ștefan", "s\u0326tefan", Matched},
		{"Νίκος", "ΝΊΚΟΣ", Matched}, {"Анна", "АННА", Matched}, {"李", "李", Matched}, {"محمد", "محمد", Matched}, {"İpek", "İPEK", Matched},

		{"Ada", "Adah", Differs}, {"Ada", "Aada", Differs}, {"Jon", "John", Differs}, {"Liz", "Elizabeth", Differs}, {"Anne", "Anne Marie", Differs},
		{"José", "Jose", Differs}, {"Müller", "Mueller", Differs}, {"Strauß", "Strauss", Differs}, {"Zoë", "Zoé", Differs}, {"İpek", "Ipek", Differs}, {"Işık", "Isik", Differs},
		{"Anna", "Аnna", Differs}, // a Cyrillic letter that looks alike
		{"A", "Ada", Differs}, {"J?rg", "Jörg", Differs}, {"Ada", "Dr Ada", Differs}, {"Ada", "Ada 2", Differs}, {"李", "李娜", Differs},
		{"Hieu", "Hiếu", Differs}, {"Hiếu", "Hie\u0302\u0301u", Differs}, // another normal form, not known here

		{"", "Ada", NotCompared}, {"", "", NotCompared}, {"-", "-", NotCompared}, {" . ", "Ada", NotCompared},
		{"A", "a", NotCompared}, {"A.", "A", NotCompared}, {"É", "É", NotCompared}, {"J?rg", "J?rg", NotCompared}, {"J\xffrg", "J\xf6rg", NotCompared},
	} {
		if got := compareNames(tc.a, tc.b); got != tc.want {
			t.Errorf("%q and %q: %v, want %v", tc.a, tc.b, got, tc.want)
		}
		if got := compareNames(tc.b, tc.a); got != tc.want {
			t.Errorf("%q and %q, the other way round: %v, want %v", tc.b, tc.a, got, tc.want)
		}
	}
}

// Whatever else holds: a contradiction never makes two people one.
func TestSameNeverForgivesAContradiction(t *testing.T) {
	verdicts := []Verdict{NotCompared, Matched, Differs}
	for _, n := range verdicts {
		for _, d := range verdicts {
			for _, f := range verdicts {
				for _, l := range verdicts {
					m := Match{n, d, f, l}
					if m.Same() && (n == Differs || d == Differs) {
						t.Errorf("%v: the same person", m)
					}
					if m.Same() && n != Matched && m != (Match{NotCompared, Matched, Matched, Matched}) {
						t.Errorf("%v: the same person without a number", m)
					}
					for _, worse := range []Match{{Differs, d, f, l}, {n, Differs, f, l}, {n, d, Differs, l}, {n, d, f, Differs}} {
						if worse.Same() && !m.Same() {
							t.Errorf("%v: the same person, and not for %v", worse, m)
						}
					}
				}
			}
		}
	}
}

func TestMatchAndKnownPrintNoValues(t *testing.T) {
	m := Match{Matched, Differs, NotCompared, Matched}
	const want = "NHS number matched, date of birth differs, first name not compared, last name matched"
	if got := fmt.Sprint(m); got != want {
		t.Errorf("prints %q, want %q", got, want)
	}
	j, err := json.Marshal(m)
	if err != nil || string(j) != `{"NHSNumber":"matched","DateOfBirth":"differs","FirstName":"not compared","LastName":"matched"}` {
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
	for _, seed := range [][2]string{{"Zoë", "Zoe\u0308"}, {"O'Brien", "OBRIEN"}, {"\u0301", "a"}, {"ǅ", "ǆ"}, {"?", "\xff"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		got := compareNames(a, b)
		if got != compareNames(b, a) {
			t.Errorf("%q and %q: the order matters", a, b)
		}
		if compareNames(a, a) == Differs {
			t.Errorf("%q differs from itself", a)
		}
		if letters(letters(a)) != letters(a) {
			t.Errorf("%q: what counts is %q, and of that %q", a, letters(a), letters(letters(a)))
		}
		// Names that are the same to a reader of Unicode are the same here.
		if strings.EqualFold(a, b) && got == Differs {
			t.Errorf("%q and %q differ in case only", a, b)
		}
		if got == Matched && letters(a) != letters(b) {
			t.Errorf("%q and %q match, though %q is not %q", a, b, letters(a), letters(b))
		}
	})
}
