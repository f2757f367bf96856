// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"strings"

	"github.com/betawerk/pkb-go/internal/conceal"
)

// Person is what a host knows about its user, in plain Go. Leave out what is
// unknown. FirstName is all given names, and may hold several.
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

// Verdict is the result of comparing one element: Matched, Differs, or a text that
// begins with "undecided" and gives the reason. It holds no values, so it may be
// logged.
//
// The reasons: the host has none; PKB has none; a stand-in; not a date; 1 January on
// both sides (on one side) without a matching number; the check digit is wrong; one
// side has no accents; one is in another script; one is an initial; one is a part of
// the other; a character was lost; not looked up.
type Verdict string

// The verdicts on which a decision rests.
const (
	Matched Verdict = "matched"
	Differs Verdict = "differs"
)

const (
	unknownHere  Verdict = "undecided: the host has none"
	unknownAtPKB Verdict = "undecided: PKB has none"
	aStandIn     Verdict = "undecided: a stand-in"
	notADate     Verdict = "undecided: not a date"
	bothJanuary  Verdict = "undecided: 1 January on both sides without a matching number"
	oneJanuary   Verdict = "undecided: 1 January on one side without a matching number"
	wrongCheck   Verdict = "undecided: the check digit is wrong"
	noAccents    Verdict = "undecided: one side has no accents"
	otherScript  Verdict = "undecided: one is in another script"
	anInitial    Verdict = "undecided: one is an initial"
	aPart        Verdict = "undecided: one is a part of the other"
	lostLetter   Verdict = "undecided: a character was lost"
	notLookedUp  Verdict = "undecided: not looked up"
)

// Match reports which elements PKB's response confirms. It holds no values, so it
// may be logged.
type Match struct {
	NHSNumber, DateOfBirth, FirstName, LastName Verdict
	// PublicID is from WithPublicID; Compare leaves it undecided.
	PublicID Verdict
}

// WithPublicID returns m with PKB's own second opinion: whether the patient who
// approved is the one whose public id PKB returns for the host's NHS number. A host
// with a system client looks that up; pass "" for lookedUp if PKB knows no patient
// with the number. A matched public id then serves as a matched number, also where
// users/self has none.
func (m Match) WithPublicID(approved, lookedUp PublicID) Match {
	switch {
	case approved == "" || lookedUp == "":
		m.PublicID = unknownAtPKB
	case !strings.EqualFold(string(approved), string(lookedUp)):
		m.PublicID = Differs
	default:
		m.PublicID = Matched
		switch m.DateOfBirth {
		case bothJanuary:
			m.DateOfBirth = Matched
		case oneJanuary:
			m.DateOfBirth = Differs
		}
	}
	return m
}

// String implements fmt.Stringer.
func (m Match) String() string {
	text := "NHS number " + m.NHSNumber.text() + "; date of birth " + m.DateOfBirth.text() +
		"; first name " + m.FirstName.text() + "; last name " + m.LastName.text()
	if m.PublicID != "" && m.PublicID != notLookedUp {
		text += "; public id " + m.PublicID.text()
	}
	return text
}

func (v Verdict) text() string {
	if v == "" {
		return "undecided"
	}
	return string(v)
}

// Same reports whether both are the same person. In doubt it returns false, so that
// a person can check.
//
//  1. An NHS number, a public id or a date of birth that differs settles it: people
//     share names and birthdays, and nobody shares a number; and of two dates one is
//     wrong, and so may be the number, a parent's instead of the child's.
//  2. With a number that matches (or a public id, which PKB returned for it), the
//     first name or the date of birth must match too, unless the host has neither:
//     numbers do get filed under a relative, who has the same last name.
//  3. One of the two names may differ then, because people marry and use short
//     names, if the other one matches. So a first name that differs needs a matched
//     date of birth.
//  4. Without a number, date of birth, first name and last name must all match. In a
//     large population some people share all three, so this confirms the
//     authorization of a signed-in patient and does not identify anybody. To require
//     the number, also check m.NHSNumber == identity.Matched.
//
// With a matched date of birth a name also matches here if it is the same but for
// the accents that one side has none of.
//
// What the data cannot show, Same cannot report: a number filed under the twin, a
// number filed under a relative of the same first name where the host has no date of
// birth, or under anybody where the host has nothing but the number.
//
// A public id that matches serves as a matched number, and as no more: it is evidence
// about the same number, for a patient whose users/self has none. One that differs
// settles it: PKB has the number under somebody else.
//
// A host that does not check it links whoever approved.
func (m Match) Same() bool {
	switch {
	case m.NHSNumber == Differs || m.PublicID == Differs || m.DateOfBirth == Differs:
		return false
	case m.NHSNumber == Matched || m.PublicID == Matched:
		return m.confirmsNumber()
	}
	return m.DateOfBirth == Matched && m.FirstName.agrees() && m.LastName.agrees()
}

// confirmsNumber reports whether the rest supports a number that matches.
func (m Match) confirmsNumber() bool {
	person := m.FirstName == Matched || m.DateOfBirth == Matched || m.FirstName.isUnknownHere() && m.DateOfBirth.isUnknownHere()
	names := m.FirstName != Differs && m.LastName != Differs || m.FirstName.agrees() || m.LastName.agrees()
	return person && names
}

func (v Verdict) isUnknownHere() bool { return v == unknownHere || v == "" }
func (v Verdict) agrees() bool        { return v == Matched || v == noAccents }

// Compare reports which elements of k PKB's response confirms. It compares exactly:
// without edit distance, phonetics or a list of short names.
//
// Stand-ins are not compared: an NHS number of one repeated digit; a date of birth up
// to 1 January 1900, on 1 January 1970, or after 2199; a name such as "Unknown",
// "Baby", "N/A", "XXX", a title alone, or without letters. Neither is 1 January of
// any year, which is entered where only the year is known, unless the NHS number
// matches.
//
// NHS number: compared with those that PKB presents as one, so not with a CHI
// number of the same digits. All of them must be the known one: two that differ, or
// one that cannot be read, contradict it. Equal digits are undecided if their check
// digit is wrong.
//
// Names: the same letters in the same order. Ignored are case, spaces, hyphens,
// apostrophes, full stops, commas, invisible characters, titles before a first name
// ("Dr"), and in which form of Unicode a letter is written: "O'Brien" is "OBRIEN",
// "Anne-Marie" is "Annemarie", "Strauß" is "STRAUSS", and ﬁ is fi. The dotted and the
// dotless i of Turkish are one letter with everybody else's i. "Jr" and the like
// belong to the first name. All other letters differ, similar ones of another script
// included.
//
// If the date of birth matches, these match too: first names of which one side has
// only the first or the first few ("Ada Marie", "Ada"; "John R", "John Robert"); a
// last name that is one of the other side's two ("Smith-Jones", "Smith"), unless both
// happen at once; the same names divided otherwise between the two fields, or each
// in the other's field. Otherwise these are undecided or differ: a son has his
// father's name, reversed or with one more.
//
// Undecided are: names that are the same without accents, if one side has none in
// either name ("José García", "Jose Garcia"; "Müller", "Mueller" or "Muller"); a name
// and its initial; a name in Latin letters and one in others; and a name in which a
// character was lost ("J?rg"). All else differs: short names ("Liz"), middle names
// used as first names, other spellings ("Yusuf", "Yousef"), and slips of the hand.
func (s Self) Compare(k Known) Match {
	sent, known := s.Reveal(), k.Reveal()
	m := Match{NHSNumber: s.compareNHSNumber(known.NHSNumber), PublicID: notLookedUp}
	m.DateOfBirth = compareDates(sent.DateOfBirth, known.DateOfBirth, m.NHSNumber == Matched)
	m.FirstName, m.LastName = compareNames(
		[2]string{sent.FirstName, sent.LastName}, [2]string{known.FirstName, known.LastName}, m.DateOfBirth)
	return m
}

func (s Self) compareNHSNumber(known NHSNumber) Verdict {
	presented, standIn := s.presented()
	switch {
	case known.IsZero():
		return unknownHere
	case known.isStandIn() || len(presented) == 0 && standIn:
		return aStandIn
	case len(presented) == 0:
		return unknownAtPKB
	}
	for _, sent := range presented {
		if n, err := ParseNHSNumber(sent); err != nil || !n.Equal(known) {
			return Differs
		}
	}
	if !known.ChecksumValid() {
		return wrongCheck
	}
	return Matched
}

func compareDates(sent, known Date, number bool) Verdict {
	switch {
	case known == "":
		return unknownHere
	case sent == "":
		return unknownAtPKB
	case !known.valid() || !sent.valid():
		return notADate
	case known.isStandIn() || sent.isStandIn():
		return aStandIn
	case number || !known.isFirstOfJanuary() && !sent.isFirstOfJanuary():
		if known == sent {
			return Matched
		}
		return Differs
	case known == sent:
		return bothJanuary
	}
	return oneJanuary
}
