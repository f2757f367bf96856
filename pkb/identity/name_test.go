// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/unicode/norm"
)

// scripts are those whose letters are all tried.
var scripts = map[string]*unicode.RangeTable{
	"Latin": unicode.Latin, "Greek": unicode.Greek, "Cyrillic": unicode.Cyrillic, "Arabic": unicode.Arabic,
	"Hebrew": unicode.Hebrew, "Hangul": unicode.Hangul, "Devanagari": unicode.Devanagari,
}

// lettersOf returns every letter of a script.
func lettersOf(table *unicode.RangeTable) (all []string) {
	for r := range rune(unicode.MaxRune) {
		if unicode.Is(table, r) && unicode.IsLetter(r) {
			all = append(all, string(r))
		}
	}
	return all
}

var forms = map[string]norm.Form{"NFC": norm.NFC, "NFD": norm.NFD, "NFKC": norm.NFKC, "NFKD": norm.NFKD}

// A name is the same name in whichever form of Unicode two systems keep it, and in
// capitals, which may lose its accents.
func TestNamesInEveryForm(t *testing.T) {
	tried := 0
	for script, table := range scripts {
		for some := range slices.Chunk(lettersOf(table), 40) {
			tried += len(some)
			for _, accent := range []string{"", "\u0301\u0323", "\u0323\u0301"} { // below and above, in the order in which they were typed
				if script == "Hangul" && accent != "" {
					continue // its 11,000 syllables take none
				}
				name := "Ka" + strings.Join(some, accent+"lo") + accent + "ra"
				for form, f := range forms {
					if first, last := compareNames([2]string{name, name}, [2]string{f.String(name), f.String(name)}, Differs); first != Matched || last != Matched {
						t.Errorf("%s: %q in %s: %v, %v", script, name, form, first, last)
					}
				}
				for _, other := range []string{strings.ToUpper(name), strings.ToLower(name)} {
					if first, last := compareNames([2]string{name, name}, [2]string{other, other}, Differs); first != last || first != Matched && first != noAccents {
						t.Errorf("%s: %q and %q: %v", script, name, other, first)
					}
				}
			}
		}
	}
	if tried < 15000 {
		t.Errorf("%d letters tried", tried)
	}
}

// Two different letters are never the same: those that are equal differ in case or
// compatibility only, by the tables of Go and of Unicode, or are listed here.
func TestNoTwoLettersAreOne(t *testing.T) {
	alike := make(map[string][]string) // letters by what is compared
	compatible := make(map[string][]string)
	for _, table := range scripts {
		for _, letter := range lettersOf(table) {
			compared := newName(fold("ka" + letter + "lo")).letters()
			alike[compared] = append(alike[compared], letter)
			compatible[norm.NFKD.String(letter)] = append(compatible[norm.NFKD.String(letter)], letter)
		}
	}
	merged := make(map[string][]string)
	for _, letters := range alike {
		same := reach(slices.Max(letters), compatible)
		for _, letter := range letters {
			if !same[letter] {
				merged[slices.Max(letters)] = append(merged[slices.Max(letters)], letter)
			}
		}
	}
	for _, letters := range merged {
		slices.Sort(letters)
	}
	want := map[string][]string{
		"ｉ":      {"İ", "ı"}, // the Turkish ones
		"ｎ":      {"ŉ"},      // an n after an apostrophe
		"ａ":      {"ẚ"},      // an a before one
		"\u1fbe": {"\u037a"}, // an iota below another letter, and one on its own
	}
	if diff := cmp.Diff(want, merged); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// reach returns all letters that are one letter in another case or in a compatible
// form.
func reach(letter string, compatible map[string][]string) map[string]bool {
	found := map[string]bool{letter: true}
	for todo := []string{letter}; len(todo) > 0; todo = todo[1:] {
		next := []string{strings.ToLower(todo[0]), strings.ToUpper(todo[0]), norm.NFKC.String(todo[0])}
		if r := []rune(todo[0]); len(r) == 1 {
			next = append(next, string(unicode.SimpleFold(r[0])))
		}
		for _, s := range append(next, compatible[norm.NFKD.String(todo[0])]...) {
			if !found[s] {
				found[s] = true
				todo = append(todo, s)
			}
		}
	}
	return found
}
