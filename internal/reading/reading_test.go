// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package reading_test

import (
	"math"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/internal/reading"
)

// Counted by ear, and by none of the rules.
func TestSyllables(t *testing.T) {
	for n, words := range map[int]string{
		1: "a the some link linked page made give used start like site sites changed asked please eye one done's don't can't it's through yours while signed closed moved",
		2: "something someone every record started pages table people again account before other window patient access after allow approve chosen between opened address ended closes changes being doctor's app-like",
		3: "approval another attempted somebody however organise deleted completed re-started cannot-do",
		4: "application information authority available",
		5: "authorisation",
	} {
		for word := range strings.FieldsSeq(words) {
			if got := reading.Syllables(word); got != n {
				t.Errorf("%s has %d syllables, and %d are counted", word, n, got)
			}
		}
	}
}

func TestGrade(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want float64
	}{
		"nothing":       {"", 0},
		"no words":      {"... !", 0},
		"six easy":      {"The cat sat on the mat.", 0.39*6 + 11.8 - 15.59},
		"two sentences": {"The cat sat. Did it sit on the mat?", 0.39*4.5 + 11.8 - 15.59},
		"a name":        {"Patients Know Best works.", 0.39*2 + 11.8 - 15.59},
		"a date":        {"It ends on 12 November 2026.", 0.39*4 + 11.8 - 15.59},
		"an address":    {"See app.example now.", 0.39*4 + 11.8*6/4 - 15.59},
		"no full stop":  {"Go back", 0.39*2 + 11.8 - 15.59},
	} {
		if got := reading.Grade(tc.text); math.Abs(got-tc.want) > 1e-9 {
			t.Errorf("%s: grade %.2f, want %.2f", name, got, tc.want)
		}
	}
	const official = "Notwithstanding the aforementioned authorisation, applications that necessitate additional verification are unavailable until administrators have reconsidered them."
	if got := reading.Grade(official); got <= reading.MaxGrade {
		t.Errorf("a text that nobody reads has the grade %.1f", got)
	}
}
