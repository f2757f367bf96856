// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package reading measures how hard a text is to read, for tests of what patients
// read: by the Flesch-Kincaid grade, which the NHS digital service manual uses to aim
// at a reading age of 9 to 11 years.
package reading

import (
	"regexp"
	"strings"
	"unicode"
)

// MaxGrade is the highest grade of a text for patients: a reading age of 11.
const MaxGrade = 6.0

// names count as one word of one syllable each: whoever reads the text knows them, and
// no shorter word stands for them.
var names = []string{"Patients Know Best", "NHS", "PKB"}

var (
	// A date counts as a name does: whichever month it is in, the text is as hard.
	date        = regexp.MustCompile(`\b\d{1,2} (January|February|March|April|May|June|July|August|September|October|November|December) \d{4}\b`)
	sentenceEnd = regexp.MustCompile(`[.!?]+(\s|$)`)
	word        = regexp.MustCompile(`[\p{L}\p{N}]+(['’-][\p{L}\p{N}]+)*`)
)

// Grade returns the Flesch-Kincaid grade of a text in English: the year of school in
// which it can be read. Add 5 for the age. It is 0 for a text without words.
func Grade(text string) float64 {
	for _, name := range names {
		text = strings.ReplaceAll(text, name, "Name")
	}
	text = date.ReplaceAllLiteralString(text, "Name")
	sentences, words, syllables := 0, 0, 0
	for _, sentence := range sentenceEnd.Split(text, -1) {
		found := word.FindAllString(sentence, -1)
		if len(found) == 0 {
			continue
		}
		sentences++
		words += len(found)
		for _, w := range found {
			syllables += Syllables(w)
		}
	}
	if words == 0 {
		return 0
	}
	return 0.39*float64(words)/float64(sentences) + 11.8*float64(syllables)/float64(words) - 15.59
}

// exceptions are words that the rules of Syllables get wrong, among those that texts
// for patients have.
var exceptions = map[string]int{
	"being": 2, "created": 3, "doing": 2, "going": 2, "trying": 2, "saying": 2, "idea": 3, "area": 3, "really": 2,
	"every": 2, "different": 2, "science": 2, "quiet": 2, "reopen": 3,
}

// Syllables counts the syllables of an English word: groups of vowels, without a silent
// e at the end.
func Syllables(word string) int {
	word = strings.ToLower(strings.NewReplacer("’", "'", "'s", "", "n't", "nt").Replace(word))
	if parts := strings.Split(word, "-"); len(parts) > 1 {
		n := 0
		for _, part := range parts {
			n += Syllables(part)
		}
		return n
	}
	if n := exceptions[word]; n > 0 {
		return n
	}
	if rest, ok := strings.CutPrefix(word, "some"); ok && rest != "" {
		return 1 + Syllables(rest)
	}
	n, inVowels := 0, false
	for _, r := range word {
		vowel := strings.ContainsRune("aeiouy", r)
		if vowel && !inVowels {
			n++
		}
		inVowels = vowel
		if unicode.IsDigit(r) {
			n++ // a digit is read as a word
		}
	}
	if silent(word) {
		n--
	}
	return max(n, 1)
}

// silent reports whether the last e of a word is not spoken, as in made, sites and
// linked, but is in table, pages and started.
func silent(word string) bool {
	stem, suffix := word, ""
	for _, s := range []string{"es", "ed", "e"} {
		if strings.HasSuffix(word, s) {
			stem, suffix = strings.TrimSuffix(word, s), s
			break
		}
	}
	if suffix == "" || stem == "" || strings.ContainsAny(stem[len(stem)-1:], "aeiouy") {
		return false
	}
	switch suffix {
	case "ed":
		return !strings.HasSuffix(stem, "t") && !strings.HasSuffix(stem, "d")
	case "es":
		for _, hiss := range []string{"s", "x", "z", "ch", "sh", "c", "g"} {
			if strings.HasSuffix(stem, hiss) {
				return false
			}
		}
	}
	// A consonant before l, as in table.
	return !(strings.HasSuffix(stem, "l") && len(stem) > 1 && !strings.ContainsAny(stem[len(stem)-2:len(stem)-1], "aeiouylr"))
}
