// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/betawerk/pkb-go/fhir"
)

// A resource prints as [redacted]. Reveal returns the decoded struct, and Raw the
// JSON that was received.
func ExampleDecode() {
	obs, err := fhir.Decode[fhir.Observation]([]byte(`{"resourceType": "Observation", "id": "obs-1", "status": "unknown",
		"code": {"coding": [{"system": "http://loinc.org", "code": "718-7"}], "text": "Haemoglobin"},
		"subject": {"reference": "Patient/1d4a8b2d-f885-499f-ba51-50600312f316"},
		"effectiveDateTime": "2018-07", "valueQuantity": {"value": 140.50, "unit": "g/L"}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(obs, obs.Type(), obs.ID(), len(obs.Raw()) > 0)

	o := obs.Reveal()
	fmt.Println(o.Code.Text, o.Code.Code("http://loinc.org"), o.Issued == "")
	if q := o.ValueQuantity; q != nil { // nil in an observation whose value is of another type
		value, err := q.Value.Float64()
		fmt.Println(q.Value, q.Unit, value, err)
	}
	ref, err := o.Subject.Parse()
	fmt.Println(ref.Type, ref.ID, err)
	// Output:
	// [redacted] Observation obs-1 true
	// Haemoglobin 718-7 true
	// 140.50 g/L 140.5 <nil>
	// Patient 1d4a8b2d-f885-499f-ba51-50600312f316 <nil>
}

// FHIR's dates can be of a month, or of a year.
func ExampleDateTime() {
	report, err := fhir.Decode[fhir.DiagnosticReport]([]byte(`{"resourceType": "DiagnosticReport",
		"effectiveDateTime": "2018-07", "issued": "2018-07-04T12:30:00.5+01:00"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	effective, issued := report.Reveal().EffectiveDateTime, report.Reveal().Issued
	at, precision := effective.Time(time.UTC)
	fmt.Println(effective, at.Format(time.DateOnly), precision == fhir.ToMonth)
	at, precision = issued.Time(time.UTC)
	fmt.Println(at, precision == fhir.ToInstant)
	// Output:
	// 2018-07 2018-07-01 true
	// 2018-07-04 12:30:00.5 +0100 +0100 true
}

// A host builds the resources for its own tests.
func ExampleNewResource() {
	obs, err := fhir.NewResource(fhir.Observation{
		Common: fhir.Common{ID: "obs-1"},
		Status: "final",
		Code:   fhir.CodeableConcept{Text: "Heart rate"},
		ObservationValue: fhir.ObservationValue{
			ValueQuantity: &fhir.Quantity{Value: "62", Unit: "/min"},
		},
	})
	fmt.Println(obs, obs.ID(), obs.Reveal().ValueQuantity.Value, err)
	fmt.Println(string(obs.Raw()))

	_, err = json.Marshal(obs) // on purpose: encode what Reveal or Raw returns
	fmt.Println(err)
	// Output:
	// [redacted] obs-1 62 <nil>
	// {"resourceType":"Observation","id":"obs-1","status":"final","code":{"text":"Heart rate"},"valueQuantity":{"value":62,"unit":"/min"}}
	// json: error calling MarshalJSON for type fhir.Resource[github.com/betawerk/pkb-go/fhir.Observation]: a value that is secret or about a patient is not encoded or decoded: encode what Reveal or Raw returns
}

// Two resources are equal if their JSON is, whatever the order of its members.
func ExampleResource_Equal() {
	sent, err := fhir.Decode[fhir.Encounter]([]byte(`{"id": "1", "resourceType": "Encounter"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	built, err := fhir.NewResource(fhir.Encounter{Common: fhir.Common{ID: "1"}})
	fmt.Println(sent.Equal(built), sent.IsZero(), err)
	// Output: true false <nil>
}

// A carer is a contained resource.
func ExampleResource_Contained() {
	consent, err := fhir.Decode[fhir.Consent]([]byte(`{"resourceType": "Consent", "status": "active",
		"contained": [{"resourceType": "RelatedPerson", "id": "carer", "name": [{"family": "Sample"}]}],
		"actor": [{"reference": {"reference": "#carer"}}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range consent.Contained() {
		carer, err := fhir.As[fhir.RelatedPerson](r)
		fmt.Println(r.Type(), carer.ID(), carer.Reveal().Name[0].Family, err)
	}
	// Output: RelatedPerson carer Sample <nil>
}

// A page can hold resources of any type, with codes of any kind.
func ExampleDecodeBundle() {
	page, err := fhir.DecodeBundle([]byte(`{"resourceType": "Bundle", "type": "searchset",
		"link": [{"relation": "next", "url": "https://pkb.example/fhir?_getpages=2"}],
		"entry": [
			{"resource": {"resourceType": "Appointment", "status": "brand-new"}, "search": {"mode": "match"}},
			{"resource": {"resourceType": "Unheard", "of": true}, "search": {"mode": "include"}}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(page.Type, page.Next)
	for _, e := range page.Entries {
		appointment, err := fhir.As[fhir.Appointment](e.Resource)
		fmt.Println(e.Mode, e.Resource.Type(), appointment.Reveal().Status, err)
	}
	// Output:
	// searchset https://pkb.example/fhir?_getpages=2
	// match Appointment brand-new <nil>
	// include Unheard  fhir: a resource of type Unheard, want Appointment
}

// PKB's own example is not FHIR, and is read all the same.
func ExampleLastDataPoint() {
	at, found, err := fhir.LastDataPoint([]byte(`{ "resourceType" : "Parameters", "parameter" : [ { "name" : "lastDataPointsResult", "part" : [
		{ "name" : "patientIdentifier", "valueIdentifier": { "system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000018" },
		"lastRecordUpdate" :"2020-08-01T09:57:34.2112Z" } ] } ] }`))
	fmt.Println(at, found, err)
	// Output: 2020-08-01 09:57:34.2112 +0000 UTC true <nil>
}

// A modifier extension changes what a resource means.
func ExampleResource_Modifiers() {
	obs, err := fhir.Decode[fhir.Observation]([]byte(`{"resourceType": "Observation", "status": "final",
		"component": [{"modifierExtension": [{"url": "https://lab.example/withdrawn", "valueBoolean": true}],
			"valueString": "positive"}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	if unknown := obs.Modifiers(); len(unknown) > 0 {
		fmt.Println("not used: it has", unknown)
	}
	// Output: not used: it has [https://lab.example/withdrawn]
}

// References lead from one resource of a page to another, or into the same resource.
func ExampleBundle_Resolve() {
	page, err := fhir.DecodeBundle([]byte(`{"resourceType": "Bundle", "entry": [
		{"fullUrl": "https://pkb.example/fhir/Encounter/7", "resource": {"resourceType": "Encounter", "id": "7",
			"subject": {"reference": "Patient/1"},
			"serviceProvider": {"reference": "#ward"},
			"contained": [{"resourceType": "Organization", "id": "ward", "name": "Ward 4"}]}},
		{"fullUrl": "https://pkb.example/fhir/Patient/1", "resource": {"resourceType": "Patient", "id": "1"}}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	from := page.Entries[0]
	encounter, err := fhir.As[fhir.Encounter](from.Resource)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, ref := range []fhir.Ref{encounter.Reveal().Subject, *encounter.Reveal().ServiceProvider, {Reference: "Patient/2"}} {
		found, ok := page.Resolve(from, ref)
		fmt.Println(ref.Reference, found.Type(), found.ID(), ok)
	}
	// Output:
	// Patient/1 Patient 1 true
	// #ward Organization ward true
	// Patient/2   false
}

// A search yields resources without their page; what a resource contains is found in
// it.
func ExampleResource_Resolve() {
	consent, err := fhir.Decode[fhir.Consent]([]byte(`{"resourceType": "Consent",
		"contained": [{"resourceType": "RelatedPerson", "id": "carer", "name": [{"family": "Sample"}]}],
		"actor": [{"reference": {"reference": "#carer"}}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	if found, ok := consent.Resolve(consent.Reveal().Actor[0].Reference); ok {
		carer, err := fhir.As[fhir.RelatedPerson](found)
		fmt.Println(carer.Reveal().Name[0].Family, err)
	}
	// Output: Sample <nil>
}
