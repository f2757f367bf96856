// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package judge has the fixtures of package fhir, and what pkbtest makes up,
// judged by a decoder that is not ours: google/fhir's for STU3, which accepts
// no unknown element, code or shape.
package judge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/fhir/go/fhirversion"
	"github.com/google/fhir/go/jsonformat"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

func newJudge(t *testing.T) *jsonformat.Unmarshaller {
	t.Helper()
	judge, err := jsonformat.NewUnmarshaller("UTC", fhirversion.STU3)
	if err != nil {
		t.Fatal(err)
	}
	return judge
}

const fixtures = "../../../fhir/testdata/*.json"

// A fixture that is no STU3 would let a reader of something else pass.
func TestFixturesAreSTU3(t *testing.T) {
	judge := newJudge(t)
	names, err := filepath.Glob(fixtures)
	if err != nil || len(names) < 20 {
		t.Fatalf("%d fixtures, %v", len(names), err)
	}
	judged := map[string]bool{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := judge.Unmarshal(data); err != nil {
			t.Errorf("%s: %v", filepath.Base(name), err)
		}
		kind, err := fhir.ResourceType(data)
		if err != nil {
			t.Fatal(err)
		}
		judged[kind] = true
	}
	for _, kind := range append(pkbtest.MadeUpKinds(), "Patient", "Person", "RelatedPerson", "Bundle", "Parameters", "OperationOutcome") {
		if !judged[kind] {
			t.Errorf("no fixture of %s", kind)
		}
	}
}

// Tests that use what pkbtest makes up test STU3.
func TestMadeUpResourcesAreSTU3(t *testing.T) {
	judge := newJudge(t)
	patient := pkbtest.New(pkbtest.Config{}).AddPatient(pkbtest.Patient{})
	for _, kind := range pkbtest.MadeUpKinds() {
		for seed := range uint64(20) {
			if _, err := judge.Unmarshal(pkbtest.MadeUpResource(kind, seed, patient)); err != nil {
				t.Fatalf("%s with seed %d: %v", kind, seed, err)
			}
		}
	}
}

// The judge does refuse: an element of R4, an unknown code, a list in place of
// one.
func TestTheJudgeRefuses(t *testing.T) {
	judge := newJudge(t)
	for _, wrong := range []struct{ file, old, new string }{
		{"observation.json", `"comment"`, `"note"`},
		{"observation.json", `"status": "unknown"`, `"status": "brand-new"`},
		{"observation.json", `"interpretation": {"text": "normal"}`, `"interpretation": [{"text": "normal"}]`},
		{"appointment.json", `"reason"`, `"reasonCode"`},
		{"patient.json", `"gender": "female"`, `"gender": "indeterminate"`},
		{"encounter.json", `"status": "finished",`, ``},
	} {
		data := fixture(t, wrong.file)
		changed := strings.Replace(string(data), wrong.old, wrong.new, 1)
		if changed == string(data) {
			t.Fatalf("%s has no %s", wrong.file, wrong.old)
		}
		if _, err := judge.Unmarshal([]byte(changed)); err == nil {
			t.Errorf("%s with %s is accepted", wrong.file, wrong.new)
		}
	}
}

func fixture(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(filepath.Dir(fixtures), name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
