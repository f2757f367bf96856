// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// DocumentReference describes a document and has its address.
type DocumentReference struct {
	Common
	MasterIdentifier *Identifier                  `json:"masterIdentifier,omitempty"`
	Identifier       []Identifier                 `json:"identifier,omitempty"`
	Status           string                       `json:"status,omitempty"`
	DocStatus        string                       `json:"docStatus,omitempty"`
	Type             CodeableConcept              `json:"type,omitzero"`
	Class            CodeableConcept              `json:"class,omitzero"`
	Subject          Ref                          `json:"subject,omitzero"`
	Created          DateTime                     `json:"created,omitempty"`
	Indexed          DateTime                     `json:"indexed,omitempty"`
	Author           []Ref                        `json:"author,omitempty"`
	Authenticator    *Ref                         `json:"authenticator,omitempty"`
	Custodian        *Ref                         `json:"custodian,omitempty"`
	RelatesTo        []DocumentReferenceRelatesTo `json:"relatesTo,omitempty"`
	Description      string                       `json:"description,omitempty"`
	SecurityLabel    []CodeableConcept            `json:"securityLabel,omitempty"`
	Content          []DocumentReferenceContent   `json:"content,omitempty"`
	Context          DocumentReferenceContext     `json:"context,omitzero"`

	StatusElement      *Element `json:"_status,omitempty"`
	DocStatusElement   *Element `json:"_docStatus,omitempty"`
	CreatedElement     *Element `json:"_created,omitempty"`
	IndexedElement     *Element `json:"_indexed,omitempty"`
	DescriptionElement *Element `json:"_description,omitempty"`
}

// DocumentReferenceRelatesTo is another document and the relationship to it.
type DocumentReferenceRelatesTo struct {
	BackboneElement
	Code   string `json:"code,omitempty"`
	Target Ref    `json:"target,omitzero"`

	CodeElement *Element `json:"_code,omitempty"`
}

// DocumentReferenceContent is the document in one of its formats.
type DocumentReferenceContent struct {
	BackboneElement
	Attachment Attachment `json:"attachment,omitzero"`
	Format     *Coding    `json:"format,omitempty"`
}

// DocumentReferenceContext describes the clinical context in which the document
// was prepared.
type DocumentReferenceContext struct {
	BackboneElement
	Encounter         Ref                        `json:"encounter,omitzero"`
	Event             []CodeableConcept          `json:"event,omitempty"`
	Period            Period                     `json:"period,omitzero"`
	FacilityType      *CodeableConcept           `json:"facilityType,omitempty"`
	PracticeSetting   *CodeableConcept           `json:"practiceSetting,omitempty"`
	SourcePatientInfo *Ref                       `json:"sourcePatientInfo,omitempty"`
	Related           []DocumentReferenceRelated `json:"related,omitempty"`
}

// DocumentReferenceRelated is an identifier or a resource related to a document.
type DocumentReferenceRelated struct {
	BackboneElement
	Identifier *Identifier `json:"identifier,omitempty"`
	Ref        *Ref        `json:"ref,omitempty"`
}
