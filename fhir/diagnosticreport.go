// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// DiagnosticReport is the report on a test. Its results are references.
type DiagnosticReport struct {
	Common
	Identifier []Identifier    `json:"identifier,omitempty"`
	BasedOn    []Ref           `json:"basedOn,omitempty"`
	Status     string          `json:"status,omitempty"`
	Category   CodeableConcept `json:"category,omitzero"`
	Code       CodeableConcept `json:"code,omitzero"`
	Subject    Ref             `json:"subject,omitzero"`
	Context    Ref             `json:"context,omitzero"`
	// effective[x]: one of these, or none.
	EffectiveDateTime DateTime                    `json:"effectiveDateTime,omitempty"`
	EffectivePeriod   *Period                     `json:"effectivePeriod,omitempty"`
	Issued            DateTime                    `json:"issued,omitempty"`
	Performer         []DiagnosticReportPerformer `json:"performer,omitempty"`
	Specimen          []Ref                       `json:"specimen,omitempty"`
	Result            []Ref                       `json:"result,omitempty"`
	ImagingStudy      []Ref                       `json:"imagingStudy,omitempty"`
	Image             []DiagnosticReportImage     `json:"image,omitempty"`
	Conclusion        string                      `json:"conclusion,omitempty"`
	CodedDiagnosis    []CodeableConcept           `json:"codedDiagnosis,omitempty"`
	PresentedForm     []Attachment                `json:"presentedForm,omitempty"`

	StatusElement            *Element `json:"_status,omitempty"`
	EffectiveDateTimeElement *Element `json:"_effectiveDateTime,omitempty"`
	IssuedElement            *Element `json:"_issued,omitempty"`
	ConclusionElement        *Element `json:"_conclusion,omitempty"`
}

// DiagnosticReportPerformer is a person or an organization responsible for a
// report.
type DiagnosticReportPerformer struct {
	BackboneElement
	Role  CodeableConcept `json:"role,omitzero"`
	Actor Ref             `json:"actor,omitzero"`
}

// DiagnosticReportImage is an image that belongs to a report.
type DiagnosticReportImage struct {
	BackboneElement
	Comment string `json:"comment,omitempty"`
	Link    Ref    `json:"link,omitzero"`

	CommentElement *Element `json:"_comment,omitempty"`
}
