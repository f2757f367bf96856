// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// Observation is one data point: a measurement, a test result or a symptom.
//
// PKB always sends the status "unknown", its own category, the patient as subject,
// and a privacy label in Meta.Security. (PKB: Observation.)
type Observation struct {
	Common
	Identifier []Identifier      `json:"identifier,omitempty"`
	BasedOn    []Ref             `json:"basedOn,omitempty"`
	Status     string            `json:"status,omitempty"`
	Category   []CodeableConcept `json:"category,omitempty"`
	Code       CodeableConcept   `json:"code,omitzero"`
	Subject    Ref               `json:"subject,omitzero"`
	Context    Ref               `json:"context,omitzero"`
	// effective[x]: one of these, or none.
	EffectiveDateTime DateTime `json:"effectiveDateTime,omitempty"`
	EffectivePeriod   *Period  `json:"effectivePeriod,omitempty"`
	Issued            DateTime `json:"issued,omitempty"`
	Performer         []Ref    `json:"performer,omitempty"`
	ObservationValue
	DataAbsentReason *CodeableConcept            `json:"dataAbsentReason,omitempty"`
	Interpretation   *CodeableConcept            `json:"interpretation,omitempty"`
	Comment          string                      `json:"comment,omitempty"`
	BodySite         *CodeableConcept            `json:"bodySite,omitempty"`
	Method           *CodeableConcept            `json:"method,omitempty"`
	Specimen         *Ref                        `json:"specimen,omitempty"`
	Device           *Ref                        `json:"device,omitempty"`
	ReferenceRange   []ObservationReferenceRange `json:"referenceRange,omitempty"`
	Related          []ObservationRelated        `json:"related,omitempty"`
	Component        []ObservationComponent      `json:"component,omitempty"`

	StatusElement            *Element `json:"_status,omitempty"`
	EffectiveDateTimeElement *Element `json:"_effectiveDateTime,omitempty"`
	IssuedElement            *Element `json:"_issued,omitempty"`
	CommentElement           *Element `json:"_comment,omitempty"`
}

// ObservationValue is the element value[x]: one of these, or none. STU3 has no boolean
// in a component.
type ObservationValue struct {
	ValueQuantity        *Quantity        `json:"valueQuantity,omitempty"`
	ValueCodeableConcept *CodeableConcept `json:"valueCodeableConcept,omitempty"`
	ValueString          string           `json:"valueString,omitempty"`
	ValueBoolean         *bool            `json:"valueBoolean,omitempty"`
	ValueRange           *Range           `json:"valueRange,omitempty"`
	ValueRatio           *Ratio           `json:"valueRatio,omitempty"`
	ValueSampledData     *SampledData     `json:"valueSampledData,omitempty"`
	ValueAttachment      *Attachment      `json:"valueAttachment,omitempty"`
	ValueTime            string           `json:"valueTime,omitempty"`
	ValueDateTime        DateTime         `json:"valueDateTime,omitempty"`
	ValuePeriod          *Period          `json:"valuePeriod,omitempty"`

	ValueStringElement   *Element `json:"_valueString,omitempty"`
	ValueBooleanElement  *Element `json:"_valueBoolean,omitempty"`
	ValueTimeElement     *Element `json:"_valueTime,omitempty"`
	ValueDateTimeElement *Element `json:"_valueDateTime,omitempty"`
}

// ObservationReferenceRange is a range in which results are usual.
type ObservationReferenceRange struct {
	BackboneElement
	Low       *Quantity         `json:"low,omitempty"`
	High      *Quantity         `json:"high,omitempty"`
	Type      *CodeableConcept  `json:"type,omitempty"`
	AppliesTo []CodeableConcept `json:"appliesTo,omitempty"`
	Age       *Range            `json:"age,omitempty"`
	Text      string            `json:"text,omitempty"`

	TextElement *Element `json:"_text,omitempty"`
}

// ObservationRelated is another observation and the relationship to it.
type ObservationRelated struct {
	BackboneElement
	Type   string `json:"type,omitempty"`
	Target Ref    `json:"target,omitzero"`

	TypeElement *Element `json:"_type,omitempty"`
}

// ObservationComponent is a part of a result, such as the systolic pressure.
type ObservationComponent struct {
	BackboneElement
	Code CodeableConcept `json:"code,omitzero"`
	ObservationValue
	DataAbsentReason *CodeableConcept            `json:"dataAbsentReason,omitempty"`
	Interpretation   *CodeableConcept            `json:"interpretation,omitempty"`
	ReferenceRange   []ObservationReferenceRange `json:"referenceRange,omitempty"`
}
