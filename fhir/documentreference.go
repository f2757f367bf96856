// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// DocumentReference is a document of the patient's and where it is.
type DocumentReference struct {
	Common
	MasterIdentifier *Identifier                  `json:"masterIdentifier"`
	Identifier       []Identifier                 `json:"identifier"`
	Status           string                       `json:"status"`
	DocStatus        string                       `json:"docStatus"`
	Type             CodeableConcept              `json:"type"`
	Class            CodeableConcept              `json:"class"`
	Subject          Ref                          `json:"subject"`
	Created          DateTime                     `json:"created"`
	Indexed          DateTime                     `json:"indexed"`
	Author           []Ref                        `json:"author"`
	Authenticator    *Ref                         `json:"authenticator"`
	Custodian        *Ref                         `json:"custodian"`
	RelatesTo        []DocumentReferenceRelatesTo `json:"relatesTo"`
	Description      string                       `json:"description"`
	SecurityLabel    []CodeableConcept            `json:"securityLabel"`
	Content          []DocumentReferenceContent   `json:"content"`
	Context          DocumentReferenceContext     `json:"context"`
}

// DocumentReferenceRelatesTo is another document and what this one is to it.
type DocumentReferenceRelatesTo struct {
	Redacted
	Code   string `json:"code"`
	Target Ref    `json:"target"`
}

// DocumentReferenceContent is the document in one of its formats.
type DocumentReferenceContent struct {
	Redacted
	Attachment Attachment `json:"attachment"`
	// The element format: the name is taken by what makes this print nothing.
	ContentFormat *Coding `json:"format"`
}

// DocumentReferenceContext is what the document came out of.
type DocumentReferenceContext struct {
	Redacted
	Encounter         Ref                        `json:"encounter"`
	Event             []CodeableConcept          `json:"event"`
	Period            Period                     `json:"period"`
	FacilityType      *CodeableConcept           `json:"facilityType"`
	PracticeSetting   *CodeableConcept           `json:"practiceSetting"`
	SourcePatientInfo *Ref                       `json:"sourcePatientInfo"`
	Related           []DocumentReferenceRelated `json:"related"`
}

// DocumentReferenceRelated is something that the document is about.
type DocumentReferenceRelated struct {
	Redacted
	Identifier *Identifier `json:"identifier"`
	Ref        *Ref        `json:"ref"`
}
