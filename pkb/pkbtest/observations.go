// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"encoding/base64"
	"math/rand/v2"
	"time"
)

type (
	object = map[string]any
	list   = []any
)

// madeUpValues make what an Observation measures, and its value: one of each kind that
// STU3 has, in the order of the comment of MadeUpResource.
var madeUpValues = []func(r *rand.Rand, at time.Time) object{
	func(r *rand.Rand, _ time.Time) object {
		return object{
			"code":           object{"coding": list{object{"system": "http://snomed.info/sct", "code": "1022431000000105"}}, "text": "Haemoglobin"},
			"valueQuantity":  object{"value": float64(500+r.IntN(1500)) / 10, "unit": "g/L", "system": "http://unitsofmeasure.org", "code": "g/L"},
			"referenceRange": list{object{"low": quantity(130, "g/L"), "high": quantity(170, "g/L")}},
		}
	},
	func(r *rand.Rand, _ time.Time) object {
		return object{"code": inWords("Urine culture"), "valueString": pick(r, "No growth after 48 hours", "Not detected")}
	},
	func(r *rand.Rand, _ time.Time) object {
		return object{"code": inWords("Blood pressure"), "component": list{
			object{"code": inWords("Systolic"), "valueQuantity": quantity(100+r.IntN(60), "mmHg")},
			object{"code": inWords("Diastolic"), "valueQuantity": quantity(60+r.IntN(40), "mmHg")},
		}}
	},
	func(r *rand.Rand, _ time.Time) object {
		group := pick(r, "A", "B", "AB", "0")
		return object{"code": inWords("Blood group"), "valueCodeableConcept": object{"coding": list{object{"system": "http://pkbtest.example/blood-group", "code": group, "display": "Group " + group}}}}
	},
	func(r *rand.Rand, _ time.Time) object {
		return object{"code": inWords("Antibody titre"), "valueRatio": object{"numerator": object{"value": 1}, "denominator": object{"value": 16 << r.IntN(5)}}}
	},
	func(r *rand.Rand, _ time.Time) object {
		low := r.IntN(5)
		return object{"code": inWords("Pain"), "valueRange": object{"low": object{"value": low}, "high": object{"value": low + 1 + r.IntN(5)}}}
	},
	func(r *rand.Rand, _ time.Time) object {
		return object{"code": inWords("Smoker"), "valueBoolean": r.IntN(2) == 0}
	},
	func(_ *rand.Rand, at time.Time) object {
		return object{"code": inWords("Fasting"), "valuePeriod": object{"start": at.Add(-10 * time.Hour).Format(time.RFC3339), "end": at.Format(time.RFC3339)}}
	},
	func(_ *rand.Rand, at time.Time) object {
		return object{"code": inWords("Usual bedtime"), "valueTime": at.Format(time.TimeOnly)}
	},
	func(r *rand.Rand, at time.Time) object {
		return object{"code": inWords("Last menstrual period"), "valueDateTime": at.AddDate(0, 0, -r.IntN(28)).Format(time.DateOnly)}
	},
	func(_ *rand.Rand, at time.Time) object {
		return object{
			"code": inWords("ECG"), "effectivePeriod": object{"start": at.Format(time.RFC3339), "end": at.Add(10 * time.Second).Format(time.RFC3339)},
			"valueSampledData": object{"origin": quantity(0, "mV"), "period": 20, "factor": 0.5, "dimensions": 1, "data": "2 1 0 -1 E 4"},
		}
	},
	func(_ *rand.Rand, _ time.Time) object {
		return object{"code": inWords("Photo of a wound"), "valueAttachment": madeUpLetter("wound.jpg", "image/jpeg")}
	},
	func(r *rand.Rand, _ time.Time) object {
		return object{"code": inWords("Potassium"), "dataAbsentReason": inWords(pick(r, "Sample haemolysed", "Sample too small"))}
	},
	func(r *rand.Rand, _ time.Time) object {
		return object{"code": inWords("C-reactive protein"), "valueQuantity": object{"value": 1 + r.IntN(5), "comparator": "<", "unit": "mg/L"}}
	},
	func(r *rand.Rand, _ time.Time) object {
		return object{"code": inWords("Urinalysis"), "component": list{
			object{"code": inWords("Protein"), "valueCodeableConcept": inWords(pick(r, "negative", "trace", "++"))},
			object{"code": inWords("Appearance"), "valueString": "clear"},
			object{"code": inWords("Leucocytes"), "valueRange": object{"high": object{"value": 5}}},
			object{"code": inWords("Nitrite"), "dataAbsentReason": inWords("Not performed")},
		}}
	},
}

func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }

func inWords(s string) object { return object{"text": s} }

func quantity(value int, unit string) object { return object{"value": value, "unit": unit} }

// madeUpLetter is an attachment with its content in it.
func madeUpLetter(title, contentType string) object {
	return object{"contentType": contentType, "title": title, "data": base64.StdEncoding.EncodeToString([]byte("made up"))}
}
