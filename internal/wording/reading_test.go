// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package wording_test

import (
	"testing"

	"github.com/betawerk/pkb-go/internal/reading"
	"github.com/betawerk/pkb-go/internal/wording"
)

// Who reads at the age of 11 can read every text for patients. "Patients Know Best"
// counts as one word: it is a name.
func TestPatientsCanReadIt(t *testing.T) {
	texts := map[string]string{
		"NotLinked": wording.NotLinked, "StillLinked": wording.StillLinked, "Trouble": wording.Trouble,
		"Unchanged": wording.Unchanged, "GoBack": wording.GoBack,
	}
	for _, row := range wording.Rows() {
		texts[string(row.Code)] = row.Patient
	}
	for name, text := range texts {
		if text == "" {
			t.Errorf("%s has no text for the patient", name)
		}
		if grade := reading.Grade(text); grade > reading.MaxGrade {
			t.Errorf("%s has the grade %.1f, which is the age of %.0f: use shorter words and sentences\n\t%s", name, grade, grade+5, text)
		}
	}
}
