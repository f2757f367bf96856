// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/pkb/record"
)

// nameOf is a concept in words.
func nameOf(c fhir.CodeableConcept) string {
	if c.Text != "" || len(c.Coding) == 0 {
		return c.Text
	}
	return cmp.Or(c.Coding[0].Display, c.Coding[0].Code)
}

// amountOf is a quantity in words; the end of a range or a half of a ratio may be unknown.
func amountOf(q *fhir.Quantity) string {
	if q == nil {
		return "?"
	}
	return strings.TrimSpace(q.Comparator + q.Value.String() + " " + cmp.Or(q.Unit, q.Code))
}

// valueOf is the value of an observation, or of one of its components, in words.
func valueOf(v fhir.ObservationValue, absent *fhir.CodeableConcept) string {
	switch {
	case v.ValueQuantity != nil:
		return amountOf(v.ValueQuantity)
	case v.ValueString != "":
		return v.ValueString
	case v.ValueCodeableConcept != nil:
		return nameOf(*v.ValueCodeableConcept)
	case v.ValueRatio != nil: // such as a titre
		return amountOf(v.ValueRatio.Numerator) + " : " + amountOf(v.ValueRatio.Denominator)
	case v.ValueRange != nil:
		return amountOf(v.ValueRange.Low) + " to " + amountOf(v.ValueRange.High)
	case v.ValueBoolean != nil:
		return strconv.FormatBool(*v.ValueBoolean)
	case v.ValuePeriod != nil:
		return string(cmp.Or(v.ValuePeriod.Start, "?") + " to " + cmp.Or(v.ValuePeriod.End, "?"))
	case v.ValueDateTime != "":
		return string(v.ValueDateTime)
	case v.ValueTime != "":
		return v.ValueTime
	case v.ValueSampledData != nil: // a curve: its points are in Data, for a chart
		return "a recording"
	case v.ValueAttachment != nil: // its content is in Data, as base64, or at URL
		return "attached: " + cmp.Or(v.ValueAttachment.Title, v.ValueAttachment.ContentType)
	case absent != nil:
		return "no value: " + nameOf(*absent)
	}
	return "-" // it has components only, or an extension in place of the value
}

// An observation has a value of one of eleven types, components with values, or a
// reason for having none. This shows one of each.
func ExampleRecord_Observations() {
	ctx := context.Background()
	server, ada, client := demo()
	demoLink(ctx, server, ada, client)
	for seed := range uint64(15) {
		if err := server.AddResource(ada, inJuly(pkbtest.MadeUpResource("Observation", seed, ada))); err != nil {
			fmt.Println(err)
			return
		}
	}
	patient := client.ForUser("app-user-1")
	from := time.Date(2018, 7, 1, 0, 0, 0, 0, time.UTC)

	for obs, err := range patient.Record().Observations(ctx, record.Laboratory, record.During(from, from.AddDate(0, 1, 0))) {
		if err != nil { // a page failed: what was yielded before is not everything
			fmt.Println(err)
			return
		}
		o := obs.Reveal()
		fmt.Printf("%s: %s\n", nameOf(o.Code), valueOf(o.ObservationValue, o.DataAbsentReason))
		for _, c := range o.Component { // a blood pressure has two, and no value itself
			fmt.Printf("  %s: %s\n", nameOf(c.Code), valueOf(c.ObservationValue, c.DataAbsentReason))
		}
	}
	// Output:
	// Haemoglobin: 161.3 g/L
	// Urine culture: No growth after 48 hours
	// Blood pressure: -
	//   Systolic: 151 mmHg
	//   Diastolic: 89 mmHg
	// Blood group: Group B
	// Antibody titre: 1 : 256
	// Pain: 0 to 4
	// Smoker: true
	// Fasting: 2022-01-05T08:00:00Z to 2022-01-05T18:00:00Z
	// Usual bedtime: 08:54:00
	// Last menstrual period: 2018-07-21
	// ECG: a recording
	// Photo of a wound: attached: wound.jpg
	// Potassium: no value: Sample too small
	// C-reactive protein: <2 mg/L
	// Urinalysis: -
	//   Protein: trace
	//   Appearance: clear
	//   Leucocytes: ? to 5
	//   Nitrite: no value: Not performed
}

// inJuly makes a laboratory result of July 2018 of an observation.
func inJuly(observation []byte) []byte {
	var tree map[string]any
	if err := json.Unmarshal(observation, &tree); err != nil {
		panic(err)
	}
	tree["category"] = []any{map[string]any{"coding": []any{map[string]any{"system": fhir.ObservationCategorySystem, "code": "LABORATORY"}}}}
	tree["effectiveDateTime"] = "2018-07-02"
	delete(tree, "effectivePeriod")
	changed, err := json.Marshal(tree)
	if err != nil {
		panic(err)
	}
	return changed
}

// The functions of the README have words for every observation that is made up, and
// none for a value that is not there.
func TestEveryValueHasWords(t *testing.T) {
	ada := pkbtest.New(pkbtest.Config{}).AddPatient(pkbtest.Patient{})
	show := func(data []byte) (lines []string) {
		r, err := fhir.Decode[fhir.Observation](data)
		if err != nil {
			t.Fatal(err)
		}
		o := r.Reveal()
		if words := valueOf(o.ObservationValue, o.DataAbsentReason); len(o.Component) == 0 || words != "-" {
			lines = append(lines, words)
		}
		for _, c := range o.Component {
			lines = append(lines, valueOf(c.ObservationValue, c.DataAbsentReason))
		}
		return lines
	}
	for seed := range uint64(300) {
		data := pkbtest.MadeUpResource("Observation", seed, ada)
		for _, words := range show(data) {
			if words == "" || words == "-" {
				t.Errorf("no words for %s", data)
			}
		}
	}
	for elements, want := range map[string]string{
		`"valueQuantity": {"value": 140.50, "code": "g/L"}`:                                         "140.50 g/L",
		`"valueQuantity": {"unit": "g/L"}`:                                                          "g/L",
		`"valueRatio": {"numerator": {"value": 1}}`:                                                 "1 : ?",
		`"valueRange": {"high": {"value": 4}}`:                                                      "? to 4",
		`"valuePeriod": {"start": "2018-07-01"}`:                                                    "2018-07-01 to ?",
		`"valueBoolean": false`:                                                                     "false",
		`"valueAttachment": {"contentType": "application/pdf"}`:                                     "attached: application/pdf",
		`"valueCodeableConcept": {"coding": [{"code": "O+"}]}`:                                      "O+",
		`"valueCodeableConcept": {}`:                                                                "",
		`"dataAbsentReason": {"coding": [{"display": "Error"}]}`:                                    "no value: Error",
		`"_valueString": {"extension": [{"url": "http://example.org/x"}]}`:                          "-",
		`"component": [{"valueQuantity": {"value": 120}}, {"dataAbsentReason": {"text": "Error"}}]`: "120, no value: Error",
		`"id": "empty"`: "-",
	} {
		if got := strings.Join(show([]byte(`{"resourceType": "Observation", `+elements+`}`)), ", "); got != want {
			t.Errorf("%s: %q, want %q", elements, got, want)
		}
	}
}
