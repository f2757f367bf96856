// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb/identity"
)

// Whatever a search returns, a public id comes of it only for one patient who has the
// number.
func FuzzPatientIn(f *testing.F) {
	number, err := identity.ParseNHSNumber("9990000018")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		`{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","id":"1d4a8b2d-f885-499f-ba51-50600312f316","identifier":[{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"9990000018"}]}}]}`,
		`{"resourceType":"Bundle","entry":{"resource":{"resourceType":"Patient","id":"1D4A8B2D-f885-499f-ba51-50600312f316","identifier":{"system":"https://fhir.nhs.uk/Id/nhs-number","value":9990000018}}}}`,
		`{"resourceType":"Bundle"}`, `{}`, `[]`, ``, `<html>`,
		`{"resourceType":"Bundle","link":[{"relation":"next","url":"x"}],"entry":[{"resource":{"resourceType":"OperationOutcome","issue":[{"severity":"error"}]}}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		found, problem, err := patientIn(data, number)
		if found == "" {
			return
		}
		if problem != "" || err != nil {
			t.Fatalf("%s and %q, %v", found, problem, err)
		}
		if id, err := identity.ParsePublicID(string(found)); err != nil || id != found {
			t.Fatalf("%q is no public id", found)
		}
		page, err := fhir.DecodeBundle(data)
		if err != nil {
			t.Fatal(err)
		}
		patients := map[identity.PublicID]bool{}
		for _, e := range page.Entries {
			if id, err := identity.ParsePublicID(e.Resource.ID()); err == nil && e.Resource.Type() == "Patient" && e.Mode != "include" {
				patients[id] = true
				if !hasNHSNumber(e.Resource, number) {
					t.Fatal("a patient without the number")
				}
			}
		}
		if len(patients) != 1 || !patients[found] {
			t.Fatalf("%s of %v", found, patients)
		}
	})
}

// Whatever $status-query returns, it is read without a panic, and what it reports of a
// number fits together.
func FuzzStatusesIn(f *testing.F) {
	for _, seed := range []string{
		`{"resourceType":"Parameters","parameter":[{"name":"patientStatus","part":[{"name":"patientIdentifier","valueIdentifier":{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"9990000018"}},{"name":"registered","valueBoolean":true},{"name":"dateOfBirth","valueDate":"1941-03-17"}]}]}`,
		`{"resourceType":"Parameters","parameter":{"name":"patientStatus","part":{"name":"patientIdentifier","valueIdentifier":{"system":"https://fhir.nhs.uk/Id/nhs-number ","value":9990000018}}}}`,
		`{"resourceType":"Parameters","parameter":[{"name":"patientStatus","part":[{"name":"patientIdentifier","valueIdentifier":{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"9990000018"}},{"name":"diagnostics","valueString":"No access"},{"name":"dateOfBirth","valueDate":"1941-03-17"}]}]}`,
		`{"resourceType":"OperationOutcome"}`, `{}`, `[`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		found, problem, err := statusesIn(data, identity.KindNHSNumber)
		if (problem != "" || err != nil) && found != nil {
			t.Fatalf("%q, %v, and a result", problem, err)
		}
		for number, status := range found {
			d := status.Reveal()
			switch {
			case len(number) != 10:
				t.Fatalf("a number of %d digits", len(number))
			case d.Presence != Found && d.Presence != NotFound && d.Presence != NoAccess:
				t.Fatalf("the presence %q", d.Presence)
			case d.DateOfBirth != "" && (d.Presence != Found || d.DateOfBirth.Time(time.UTC).IsZero()):
				t.Fatalf("%s with the date %q", d.Presence, d.DateOfBirth)
			}
		}
	})
}

// Whatever users/self has, what is sent is a complete Patient, or nothing is.
func FuzzEncode(f *testing.F) {
	const whole = `{"patient":true,"firstName":"A","lastName":"B","dob":"1941-03-17","gender":"F","nationalIds":[{"value":"9990000018","name":"NHS number","countryCodes":["GB-ENG"]}]`
	f.Add([]byte(whole + `}`))
	f.Add([]byte(whole + `,"dateDeceased":true,"address1":"x","email":"a@b.example","contacts":{"contactType":"EMAIL","contactValue":"c"}}`))
	f.Add([]byte(whole + `,"gender":"X"}`))
	f.Add([]byte(`{"patient":true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		self, err := identity.DecodeSelf(data)
		if err != nil {
			return
		}
		body, err := new(Client).encode(Addition{Self: self})
		if err != nil {
			if body != nil {
				t.Fatal("an error, and a body")
			}
			return
		}
		var p patient
		if err := json.Unmarshal(body, &p); err != nil {
			t.Fatal(err)
		}
		if len(p.Identifier) != 1 || p.Identifier[0].Value == "" || p.Identifier[0].System == "" || len(p.Name) != 1 || p.Name[0].Family == "" ||
			len(p.Name[0].Given) != 1 || p.Name[0].Given[0] == "" || p.Gender == "" || identity.Date(p.BirthDate).Time(time.UTC).IsZero() {
			t.Fatal("a required element is absent")
		}
	})
}
