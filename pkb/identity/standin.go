// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"slices"
	"strings"
	"unicode"
)

// Stand-ins are what people and systems enter where a value is unknown. They are
// never compared.

// isStandIn reports whether all digits are the same, which the check digit allows.
func (n NHSNumber) isStandIn() bool {
	d := n.Reveal()
	return d != "" && strings.Trim(d, d[:1]) == ""
}

// isStandIn reports whether the value is a stand-in for a number, or a word for an
// unknown one.
func (n NationalID) isStandIn() bool {
	if number, err := ParseNHSNumber(n.Value); err == nil {
		return number.isStandIn()
	}
	if strings.ContainsFunc(n.Value, unicode.IsDigit) {
		return false
	}
	words := newName(fold(n.Value))
	return len(words.words) > 0 && words.isStandIn()
}

// isStandIn reports whether d is the default of a system, or a day on which nobody
// alive was born: 1 January 1970, everything up to 1 January 1900, and everything
// from 2200 on.
func (d Date) isStandIn() bool {
	return d != "" && (d <= "1900-01-01" || d == "1970-01-01" || d >= "2200-01-01")
}

// isFirstOfJanuary reports whether d is the day that is entered where only the year
// is known.
func (d Date) isFirstOfJanuary() bool { return strings.HasSuffix(string(d), "-01-01") }

// Folded, and without what separates words. Names that real people have are among
// them ("Null", "Boy"): those people are not confirmed by that name, and not
// contradicted either. "na" is not: it is a name in Chinese and Korean.
var (
	standInNames = []string{
		"unknown", "unk", "notknown", "notgiven", "notstated", "notrecorded", "notprovided", "notavailable", "notapplicable",
		"n/a", "n/k", "none", "null", "noname", "nofirstname", "nolastname", "nosurname", "unnamed", "anonymous", "anon",
		"fnu", "lnu", "nfn", "nln", "tba", "tbc",
	}
	standInWords = []string{
		"unknown", "baby", "babyboy", "babygirl", "b/o", "infant", "newborn", "neonate", "twin", "triplet", "male", "female", "boy", "girl",
	}
)

// isStandIn reports whether the name identifies nobody: a word for an unknown name,
// what a newborn is called before it has one, a title alone, or no letters at all.
func (n name) isStandIn() bool {
	letters := n.letters()
	return !strings.ContainsFunc(letters, unicode.IsLetter) ||
		slices.Contains(standInNames, letters) || slices.Contains(standInWords, n.words[0]) || slices.Contains(titles, letters) ||
		len(letters) > 1 && (strings.Trim(letters, "x") == "" || strings.Trim(letters, "z") == "")
}
