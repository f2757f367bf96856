// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/betawerk/pkb-go/internal/conceal"
)

// Person is what a host knows about its user, in plain Go. Leave out what is
// unknown, and placeholders such as 000 000 0000 or "Unknown".
type Person struct {
	NHSNumber           NHSNumber
	DateOfBirth         Date
	FirstName, LastName string
}

// Known is a Person that prints [redacted] and is not encoded, for Self.Compare.
// The zero Known is absent.
type Known struct{ person }

type person = conceal.Hidden[Person]

// NewKnown returns p, redacted.
func NewKnown(p Person) Known { return Known{conceal.Of(p)} }

// Reveal returns the person.
func (k Known) Reveal() Person { return conceal.Open(k.person) }

// IsZero reports whether the Known is absent.
func (k Known) IsZero() bool { return conceal.Absent(k.person) }

// Equal reports whether both are the same.
func (k Known) Equal(o Known) bool {
	a, b := k.Reveal(), o.Reveal()
	return a.NHSNumber.Equal(b.NHSNumber) && a.DateOfBirth == b.DateOfBirth && a.FirstName == b.FirstName && a.LastName == b.LastName
}

// Verdict is the result of comparing one element.
type Verdict uint8

// The verdicts.
const (
	// NotCompared: one side is absent, or identifies nobody.
	NotCompared Verdict = iota
	// Matched: both sides agree.
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

// Match reports which elements PKB's response confirms. It holds no values, so it
// may be logged.
type Match struct {
	NHSNumber, DateOfBirth, FirstName, LastName Verdict
}

// String implements fmt.Stringer.
func (m Match) String() string {
	return "NHS number " + m.NHSNumber.String() + ", date of birth " + m.DateOfBirth.String() +
		", first name " + m.FirstName.String() + ", last name " + m.LastName.String()
}

// Same reports whether both are the same person. In doubt it returns false, so that
// a person can check.
//
//   - An NHS number that differs settles it, whatever else matches: people share
//     names and birthdays, and nobody shares a number.
//   - A date of birth that differs settles it too. One of the two is wrong, and so
//     may be the number: a parent's instead of the child's.
//   - A matching NHS number is enough otherwise, unless names were compared and
//     none matches: numbers do get filed under a twin or a spouse. One name may
//     differ, because people marry and use short names.
//   - Without an NHS number to compare, date of birth, first name and last name
//     must all match. In a large population some people share all three, so this
//     confirms the authorization of a signed-in patient and does not identify
//     anybody. To require the number, also check m.NHSNumber == identity.Matched.
//
// A host that does not check it links whoever approved.
func (m Match) Same() bool {
	switch {
	case m.NHSNumber == Differs || m.DateOfBirth == Differs:
		return false
	case m.NHSNumber == Matched:
		return m.FirstName == Matched || m.LastName == Matched || m.FirstName != Differs && m.LastName != Differs
	}
	return m.DateOfBirth == Matched && m.FirstName == Matched && m.LastName == Matched
}

// Compare reports which elements of k PKB's response confirms. It compares exactly:
// without edit distance, phonetics or a list of short names.
//
// NHS number: compared with those that PKB presents as one, so not with a CHI
// number of the same digits. All of them must be the known one: two that differ, or
// one that cannot be read, contradict it. Equal digits are not compared if their
// checksum is wrong or one digit is repeated ten times: they are a placeholder.
//
// Date of birth: equal or not. 1 January 1900, which systems use for an unknown
// day, is not compared with itself.
//
// Names: the same letters in the same order. Case, spaces, hyphens, apostrophes,
// full stops and invisible characters are ignored, because people type them
// differently ("O'Brien", "OBRIEN"; "Anne-Marie", "Anne Marie"). Accents are not
// ignored: "Jose" and "José" differ, as do similar letters of another script. A
// combining accent equals the accented letter in the European languages of Latin
// script; other text must be in the same Unicode normal form on both sides. A part
// of a name is not the name. An initial, and a name in which a character was lost
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

// letters returns the characters of a name that are compared.
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

// fold returns one rune for all that differ in case only: the lower-case one if
// there is one.
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
	return least // the lower case of the dotted capital I belongs to another letter
}

// compose returns the letter of base and a combining accent.
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

// accented has, for each combining accent, letters without and with it: those of
// U+00C0 to U+017F and U+0218 to U+021B.
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
