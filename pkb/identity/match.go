// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/betawerk/pkb-go/internal/conceal"
)

// Person is what a host knows about its user, in plain Go. Leave out what is not
// known, and what stands in for it: no 000 000 0000, no "Unknown".
type Person struct {
	NHSNumber           NHSNumber
	DateOfBirth         Date
	FirstName, LastName string
}

// Known is a Person that prints [redacted] and is not encoded, for Self.Compare.
// The zero Known is nobody.
type Known struct{ person }

type person = conceal.Hidden[Person]

// NewKnown returns p, concealed.
func NewKnown(p Person) Known { return Known{conceal.Of(p)} }

// Reveal returns what is known.
func (k Known) Reveal() Person { return conceal.Open(k.person) }

// IsZero reports whether it is nobody.
func (k Known) IsZero() bool { return conceal.Absent(k.person) }

// Equal reports whether both know the same.
func (k Known) Equal(o Known) bool {
	a, b := k.Reveal(), o.Reveal()
	return a.NHSNumber.Equal(b.NHSNumber) && a.DateOfBirth == b.DateOfBirth && a.FirstName == b.FirstName && a.LastName == b.LastName
}

// Verdict is what comparing one thing has shown.
type Verdict uint8

// The verdicts.
const (
	// NotCompared: one side has none, or one that says nothing about a person.
	NotCompared Verdict = iota
	// Matched: both sides say the same.
	Matched
	// Differs: the sides contradict each other.
	Differs
)

// String implements fmt.Stringer.
func (v Verdict) String() string {
	switch v {
	case Matched:
		return "matched"
	case Differs:
		return "differs"
	}
	return "not compared"
}

// MarshalText implements encoding.TextMarshaler.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Match says what of a host's knowledge PKB's answer confirms. It holds
// verdicts and no values, so it may be logged.
type Match struct {
	NHSNumber, DateOfBirth, FirstName, LastName Verdict
}

// String implements fmt.Stringer.
func (m Match) String() string {
	return "NHS number " + m.NHSNumber.String() + ", date of birth " + m.DateOfBirth.String() +
		", first name " + m.FirstName.String() + ", last name " + m.LastName.String()
}

// Same is a careful answer to the question whether both are the same person:
// false wherever there is doubt, for a person to look at.
//
//   - An NHS number that differs settles it, whatever else matches: people share
//     names and birthdays, and nobody shares a number.
//   - A date of birth that differs settles it too. One of the two is wrong, and
//     the number may be: a parent's where the child's was meant.
//   - A matching NHS number is enough with these, unless names were compared and
//     none matches: numbers do get filed under a twin or a spouse. One name may
//     differ, because people marry and go by short names.
//   - Without an NHS number to compare, date of birth, first name and last name
//     must all match. That says less: in a large population some people share
//     all three. It guards an approval that a signed-in patient gave a moment
//     ago, and is no way to find somebody. A host that wants the number in any
//     case asks for m.NHSNumber == identity.Matched as well.
//
// A host that does not look at the answer before it trusts a link, links
// whoever approved.
func (m Match) Same() bool {
	switch {
	case m.NHSNumber == Differs || m.DateOfBirth == Differs:
		return false
	case m.NHSNumber == Matched:
		return m.FirstName == Matched || m.LastName == Matched || m.FirstName != Differs && m.LastName != Differs
	}
	return m.DateOfBirth == Matched && m.FirstName == Matched && m.LastName == Matched
}

// Compare reports what of k PKB's response confirms. Nothing is matched by
// likeness: there is no distance, no sound, no list of short names.
//
// NHS number: compared with what PKB presents as one, which leaves out a CHI
// number of the same digits. All that it presents must be the known one: two
// that differ, or one that cannot be read, contradict it. Equal digits whose
// checksum is wrong, or that are one digit ten times over, are not compared:
// they stand in for a number.
//
// Date of birth: the same day, or not. 1 January 1900, which systems write for
// a day they do not know, is not compared with itself.
//
// Names: the same letters in the same order. Case does not count, nor do
// spaces, hyphens, apostrophes, full stops and invisible characters: they are
// typed one way here and another there ("O'Brien", "OBRIEN"; "Anne-Marie", "Anne
// Marie"). Accents do count: "Jose" and "José" differ, as letters of another
// script do that look alike. An accent typed as a character of its own is the
// accented letter in the European languages of Latin script; other text has to
// be in the same Unicode normal form on both sides, or differs. A part of a
// name is not the name. An initial, and a name in which a character was lost
// ("?"), are not compared with their equals.
func (s Self) Compare(k Known) Match {
	sent, known := s.Reveal(), k.Reveal()
	return Match{
		NHSNumber:   compareNHSNumbers(s.presented(), known.NHSNumber),
		DateOfBirth: compareDates(sent.DateOfBirth, known.DateOfBirth),
		FirstName:   compareNames(sent.FirstName, known.FirstName),
		LastName:    compareNames(sent.LastName, known.LastName),
	}
}

func compareNHSNumbers(presented []string, known NHSNumber) Verdict {
	if len(presented) == 0 || known.IsZero() {
		return NotCompared
	}
	for _, sent := range presented {
		if n, err := ParseNHSNumber(sent); err != nil || !n.Equal(known) {
			return Differs
		}
	}
	if !known.ChecksumValid() || known.repeated() {
		return NotCompared
	}
	return Matched
}

func compareDates(sent, known Date) Verdict {
	switch {
	case !sent.valid() || !known.valid():
		return NotCompared
	case sent != known:
		return Differs
	case known == "1900-01-01":
		return NotCompared
	}
	return Matched
}

func compareNames(sent, known string) Verdict {
	a, b := letters(sent), letters(known)
	switch {
	case a == "" || b == "":
		return NotCompared
	case a != b:
		return Differs
	case strings.ContainsAny(a, "?\ufffd"), isInitial(a):
		return NotCompared
	}
	return Matched
}

// isInitial reports whether a name is one Latin letter; in other scripts one
// character can be a name.
func isInitial(name string) bool {
	r, size := utf8.DecodeRuneInString(name)
	return size == len(name) && unicode.Is(unicode.Latin, r)
}

// letters returns what counts of a name.
func letters(name string) string {
	folded := make([]rune, 0, len(name))
	for _, r := range name {
		switch {
		case isSeparator(r), strings.ContainsRune(apostrophes, r), r == '.', unicode.Is(unicode.Cf, r):
			continue
		}
		r = fold(r)
		if last := len(folded) - 1; last >= 0 {
			if whole, ok := compose(folded[last], r); ok {
				folded[last] = whole
				continue
			}
		}
		folded = append(folded, r)
	}
	return string(folded)
}

const apostrophes = "'\u2018\u2019\u02bc\u02b9\u2032`\u00b4"

// fold returns one and the same rune for all that differ in case only: the
// small one if there is one.
func fold(r rune) rune {
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	small := unicode.ToLower(least)
	for next := unicode.SimpleFold(least); next != least; next = unicode.SimpleFold(next) {
		if next == small {
			return small
		}
	}
	return least // the dotted capital I has a small letter that is another one's
}

// compose returns the letter that base and a combining accent make.
func compose(base, accent rune) (rune, bool) {
	pairs := accented[accent]
	for pairs != "" {
		plain, n := utf8.DecodeRuneInString(pairs)
		whole, m := utf8.DecodeRuneInString(pairs[n:])
		if plain == base {
			return whole, true
		}
		pairs = pairs[n+m:]
	}
	return 0, false
}

// accented has, for each combining accent, letters without and with it: those
// of U+00C0 to U+017F and U+0218 to U+021B.
var accented = map[rune]string{
	'\u0300': "aàeèiìoòuù",
	'\u0301': "aáeéiíoóuúyýcćlĺnńrŕsśzź",
	'\u0302': "aâeêiîoôuûcĉgĝhĥjĵsŝwŵyŷ",
	'\u0303': "aãnñoõiĩuũ",
	'\u0304': "aāeēiīoōuū",
	'\u0306': "aăeĕgğiĭoŏuŭ",
	'\u0307': "cċeėgġzż",
	'\u0308': "aäeëiïoöuüyÿ",
	'\u030a': "aåuů",
	'\u030b': "oőuű",
	'\u030c': "cčdďeěnňrřsštťzž",
	'\u0326': "sștț",
	'\u0327': "cçgģkķlļnņrŗsştţ",
	'\u0328': "aąeęiįuų",
}
