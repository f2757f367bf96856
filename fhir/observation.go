// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// Observation is one data point: a measurement, a test result, a symptom.
//
// PKB sends the status "unknown" always, its own category, the patient as
// subject, and a privacy label in Meta.Security. (PKB: Observation.)
type Observation struct {
	Redacted // of the two that come with what follows, neither would count
	Common
	Identifier []Identifier      `json:"identifier"`
	BasedOn    []Ref             `json:"basedOn"`
	Status     string            `json:"status"`
	Category   []CodeableConcept `json:"category"`
	Code       CodeableConcept   `json:"code"`
	Subject    Ref               `json:"subject"`
	Context    Ref               `json:"context"`
	// One of them, or neither.
	EffectiveDateTime DateTime `json:"effectiveDateTime"`
	EffectivePeriod   *Period  `json:"effectivePeriod"`
	Issued            DateTime `json:"issued"`
	Performer         []Ref    `json:"performer"`
	ObservationValue
	DataAbsentReason *CodeableConcept            `json:"dataAbsentReason"`
	Interpretation   *CodeableConcept            `json:"interpretation"`
	Comment          string                      `json:"comment"`
	BodySite         *CodeableConcept            `json:"bodySite"`
	Method           *CodeableConcept            `json:"method"`
	Specimen         *Ref                        `json:"specimen"`
	Device           *Ref                        `json:"device"`
	ReferenceRange   []ObservationReferenceRange `json:"referenceRange"`
	Related          []ObservationRelated        `json:"related"`
	Component        []ObservationComponent      `json:"component"`
}

// ObservationValue is a value in one of its types, or in none.
type ObservationValue struct {
	Redacted
	ValueQuantity        *Quantity        `json:"valueQuantity"`
	ValueCodeableConcept *CodeableConcept `json:"valueCodeableConcept"`
	ValueString          string           `json:"valueString"`
	ValueBoolean         Boolean          `json:"valueBoolean"`
	ValueRange           *Range           `json:"valueRange"`
	ValueRatio           *Ratio           `json:"valueRatio"`
	ValueSampledData     *SampledData     `json:"valueSampledData"`
	ValueAttachment      *Attachment      `json:"valueAttachment"`
	ValueTime            string           `json:"valueTime"`
	ValueDateTime        DateTime         `json:"valueDateTime"`
	ValuePeriod          *Period          `json:"valuePeriod"`
}

// ObservationReferenceRange says what is usual.
type ObservationReferenceRange struct {
	Redacted
	Low       *Quantity         `json:"low"`
	High      *Quantity         `json:"high"`
	Type      *CodeableConcept  `json:"type"`
	AppliesTo []CodeableConcept `json:"appliesTo"`
	Age       *Range            `json:"age"`
	Text      string            `json:"text"`
}

// ObservationRelated points to an observation that has to do with this one.
type ObservationRelated struct {
	Redacted
	Type   string `json:"type"`
	Target Ref    `json:"target"`
}

// ObservationComponent is a part of the result, as the systolic pressure.
type ObservationComponent struct {
	Redacted
	Code CodeableConcept `json:"code"`
	ObservationValue
	DataAbsentReason *CodeableConcept            `json:"dataAbsentReason"`
	Interpretation   *CodeableConcept            `json:"interpretation"`
	ReferenceRange   []ObservationReferenceRange `json:"referenceRange"`
}
