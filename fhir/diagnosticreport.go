// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// DiagnosticReport is the report on a test, with its results as references.
type DiagnosticReport struct {
	Common
	Identifier []Identifier    `json:"identifier"`
	BasedOn    []Ref           `json:"basedOn"`
	Status     string          `json:"status"`
	Category   CodeableConcept `json:"category"`
	Code       CodeableConcept `json:"code"`
	Subject    Ref             `json:"subject"`
	Context    Ref             `json:"context"`
	// One of them, or neither.
	EffectiveDateTime DateTime                    `json:"effectiveDateTime"`
	EffectivePeriod   *Period                     `json:"effectivePeriod"`
	Issued            DateTime                    `json:"issued"`
	Performer         []DiagnosticReportPerformer `json:"performer"`
	Specimen          []Ref                       `json:"specimen"`
	Result            []Ref                       `json:"result"`
	ImagingStudy      []Ref                       `json:"imagingStudy"`
	Image             []DiagnosticReportImage     `json:"image"`
	Conclusion        string                      `json:"conclusion"`
	CodedDiagnosis    []CodeableConcept           `json:"codedDiagnosis"`
	PresentedForm     []Attachment                `json:"presentedForm"`
}

// DiagnosticReportPerformer is who answers for a report.
type DiagnosticReportPerformer struct {
	Redacted
	Role  CodeableConcept `json:"role"`
	Actor Ref             `json:"actor"`
}

// DiagnosticReportImage is an image that belongs to a report.
type DiagnosticReportImage struct {
	Redacted
	Comment string `json:"comment"`
	Link    Ref    `json:"link"`
}
