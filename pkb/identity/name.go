// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// name is a name in the form in which names are compared.
type name struct {
	words []string // what spaces, full stops and commas separate
	parts []string // what hyphens separate in addition
}

func newName(folded string) name {
	return name{
		words: strings.FieldsFunc(strings.Map(withoutDashes, folded), separatesWords),
		parts: strings.FieldsFunc(folded, func(r rune) bool { return separatesWords(r) || isDash(r) }),
	}
}

func separatesWords(r rune) bool { return unicode.IsSpace(r) || r == '.' || r == ',' }

func withoutDashes(r rune) rune {
	if isDash(r) {
		return -1
	}
	return r
}

func (n name) letters() string { return strings.Join(n.words, "") }

// fold returns s in one form for all that Unicode calls equal but for case and
// compatibility (Unicode 3.13, D146), without apostrophes and invisible characters.
func fold(s string) string {
	s = strings.Map(counted, s)
	s = norm.NFKD.String(cases.Fold().String(norm.NFKD.String(s)))
	return oneI(strings.Map(counted, s))
}

// oneI makes one letter of the four i. The capital of the Turkish dotless i is
// everybody else's I, and the small letter of the Turkish dotted I everybody else's i:
// software that changes case without knowing the language changes the one into the
// other.
func oneI(folded string) string {
	afterI := false
	return strings.Map(func(r rune) rune {
		switch {
		case r == 'ı':
			r = 'i'
		case r == '\u0307' && afterI:
			return -1
		}
		afterI = r == 'i' || afterI && unicode.Is(unicode.Mn, r)
		return r
	}, folded)
}

const apostrophes = "'\u2018\u2019\u02bb\u02bc\u02b9\u02be\u02bf\u2032`\u00b4"

// counted drops what is ignored in a name.
func counted(r rune) rune {
	if isInvisible(r) || strings.ContainsRune(apostrophes, r) {
		return -1
	}
	return r
}

// Two ways in which folded names are typed where there are no accents.
var withoutAccents = []func(string) string{
	plain,
	func(folded string) string { return plain(strings.ReplaceAll(folded, "\u0308", "e")) },
}

// plain drops marks that are put above, below or through a letter, and keeps those
// that are letters of their own, such as the vowels of Devanagari.
func plain(folded string) string {
	return stroke.Replace(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) && norm.NFD.PropertiesString(string(r)).CCC() != 0 {
			return -1
		}
		return r
	}, folded))
}

// stroke has the common letters whose stroke is no mark to Unicode, and to those who
// type them is.
var stroke = strings.NewReplacer("ł", "l", "đ", "d", "ø", "o", "ħ", "h")

// titles come before a first name.
var titles = []string{"mr", "mrs", "ms", "miss", "mx", "master", "dr", "prof", "professor", "sir", "dame", "lord", "lady", "rev", "reverend"}

// generations come after a last name, and tell a father from his son.
var generations = []string{"jr", "jnr", "junior", "sr", "snr", "senior", "ii", "iii", "iv"}

// fullName is a first and a last name in the form in which they are compared.
type fullName struct{ first, last name }

// newFullName reads both names, without titles. What follows a last name to tell
// generations apart is one more first name.
func newFullName(first, last string) fullName {
	n := fullName{newName(first), newName(last)}
	for len(n.first.words) > 1 && slices.Contains(titles, n.first.words[0]) {
		n.first.words = n.first.words[1:]
	}
	if end := len(n.last.words) - 1; end > 0 && len(n.first.words) > 0 && slices.Contains(generations, n.last.words[end]) {
		n.first.words = append(n.first.words, n.last.words[end])
		n.last.words, n.last.parts = n.last.words[:end], n.last.parts[:len(n.last.parts)-1]
	}
	return n
}

// compareNames compares both names. With a matched date of birth, a name also
// matches that is a part of the other, and so do names in each other's field.
func compareNames(sent, known [2]string, born Verdict) (first, last Verdict) {
	for i := range sent {
		sent[i], known[i] = fold(sent[i]), fold(known[i])
	}
	as := func(form func(string) string) (a, b fullName) {
		return newFullName(form(sent[0]), form(sent[1])), newFullName(form(known[0]), form(known[1]))
	}
	a, b := as(func(s string) string { return s })
	first, last = unfit(a.first, b.first), unfit(a.last, b.last)
	if first == "" && last == "" && born == Matched && sameWhole(a, b) {
		return Matched, Matched
	}
	first = cmp.Or(first, compareFirst(a.first, b.first))
	last = cmp.Or(last, compareLast(a.last, b.last))
	if (first == Differs || last == Differs) && isPlain(sent) != isPlain(known) {
		for _, form := range withoutAccents {
			a, b := as(form)
			if first == Differs && compareFirst(a.first, b.first) == Matched {
				first = noAccents
			}
			if last == Differs && compareLast(a.last, b.last) == Matched {
				last = noAccents
			}
		}
	}
	switch {
	case born != Matched || first == aPart && last == aPart:
		// Of two names in part, each may have what the other contradicts:
		// "Ali Omar, Khan" and "Ali, Hassan Khan".
	case first == aPart:
		first = Matched
	case last == aPart:
		last = Matched
	}
	return first, last
}

// isPlain reports whether a whole name has no accents.
func isPlain(folded [2]string) bool {
	return plain(folded[0]) == folded[0] && plain(folded[1]) == folded[1]
}

// unfit returns why two names are not compared, or "".
func unfit(sent, known name) Verdict {
	switch {
	case len(known.words) == 0:
		return unknownHere
	case len(sent.words) == 0:
		return unknownAtPKB
	case sent.isStandIn() || known.isStandIn():
		return aStandIn
	case isLatin(sent.letters()) != isLatin(known.letters()):
		return otherScript
	}
	return ""
}

// isLatin reports whether letters has a letter of the Latin script.
func isLatin(letters string) bool {
	return strings.ContainsFunc(letters, func(r rune) bool { return unicode.Is(unicode.Latin, r) })
}

// compareFirst compares first names, of which people have several.
func compareFirst(a, b name) Verdict {
	if v := compareAlike(a, b); v != Differs {
		return v
	}
	if begins(a, b) || begins(b, a) {
		return aPart
	}
	v := aPart
	for i := range min(len(a.words), len(b.words)) {
		x, y := a.words[i], b.words[i]
		switch {
		case isInitial(x) && strings.HasPrefix(y, x), isInitial(y) && strings.HasPrefix(x, y):
			if i == 0 {
				v = anInitial
			}
		case x != y:
			return Differs
		}
	}
	return v
}

// begins reports whether short is the first names of long, some of them.
func begins(long, short name) bool {
	return !short.isInitials() && leads(long.words, short.letters())
}

// leads reports whether letters are those of the first few words, one after another.
func leads(words []string, letters string) bool {
	for _, word := range words {
		rest, ok := strings.CutPrefix(letters, word)
		if !ok || rest == "" {
			return ok
		}
		letters = rest
	}
	return false
}

// mostParts bounds the work for a text that is no name.
const mostParts = 20

// compareLast compares last names, of which people have one or two.
func compareLast(a, b name) Verdict {
	if v := compareAlike(a, b); v != Differs {
		return v
	}
	short, long := a, b
	if len(a.letters()) > len(b.letters()) {
		short, long = b, a
	}
	letters := short.letters()
	if short.isInitials() {
		if strings.HasPrefix(long.letters(), letters) {
			return anInitial
		}
		return Differs
	}
	for i := range min(len(long.parts), mostParts) {
		if leads(long.parts[i:], letters) {
			return aPart
		}
	}
	return Differs
}

// compareAlike compares the letters of two names.
func compareAlike(a, b name) Verdict {
	x, y := a.letters(), b.letters()
	switch {
	case isLost(x) || isLost(y):
		if fits(x, y) || fits(y, x) {
			return lostLetter
		}
		return Differs
	case x != y:
		return Differs
	case a.isInitials():
		return anInitial
	}
	return Matched
}

// sameWhole reports whether two people have the same words in the same order and
// divided otherwise, or each other's fields.
func sameWhole(a, b fullName) bool {
	for _, n := range []name{a.first, a.last, b.first, b.last} {
		if n.isInitials() || isLost(n.letters()) {
			return false
		}
	}
	return slices.Equal(slices.Concat(a.first.words, a.last.words), slices.Concat(b.first.words, b.last.words)) ||
		a.first.letters() == b.last.letters() && a.last.letters() == b.first.letters()
}

const lost = "?\ufffd" // what software writes for a character that it cannot

func isLost(letters string) bool { return strings.ContainsAny(letters, lost) }

// fits reports whether letters may be what pattern was before it lost characters.
func fits(pattern, letters string) bool {
	begin, end := strings.IndexAny(pattern, lost), strings.LastIndexAny(pattern, lost)
	if begin < 0 {
		return false
	}
	_, size := utf8.DecodeRuneInString(pattern[end:])
	return len(letters) >= begin+len(pattern)-end-size &&
		strings.HasPrefix(letters, pattern[:begin]) && strings.HasSuffix(letters, pattern[end+size:])
}

// isInitials reports whether there is nothing but initials.
func (n name) isInitials() bool {
	return !slices.ContainsFunc(n.words, func(word string) bool { return !isInitial(word) })
}

// isInitial reports whether a word is one letter of a script that has capitals; in
// other scripts one character can be a name.
func isInitial(word string) bool {
	r, size := utf8.DecodeRuneInString(word)
	return unicode.ToUpper(r) != r && !strings.ContainsFunc(word[size:], func(r rune) bool { return !unicode.Is(unicode.Mn, r) })
}
