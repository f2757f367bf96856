// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// Consent records who may see which parts of the record. PKB sends an opt-in policy
// with one Except for each privacy label that is granted, the grantee as Actor, and
// the status "inactive" once a patient was discharged. The grantee is an
// Organization, a Practitioner or, for a carer, a contained RelatedPerson. (PKB:
// Facade Consent.)
type Consent struct {
	Common
	Identifier      Identifier        `json:"identifier,omitzero"`
	Status          string            `json:"status,omitempty"`
	Category        []CodeableConcept `json:"category,omitempty"`
	Patient         Ref               `json:"patient,omitzero"`
	Period          Period            `json:"period,omitzero"`
	DateTime        DateTime          `json:"dateTime,omitempty"`
	ConsentingParty []Ref             `json:"consentingParty,omitempty"`
	Actor           []ConsentActor    `json:"actor,omitempty"`
	Action          []CodeableConcept `json:"action,omitempty"`
	Organization    []Ref             `json:"organization,omitempty"`
	// source[x]: one of these, or none.
	SourceAttachment *Attachment     `json:"sourceAttachment,omitempty"`
	SourceIdentifier *Identifier     `json:"sourceIdentifier,omitempty"`
	SourceReference  *Ref            `json:"sourceReference,omitempty"`
	Policy           []ConsentPolicy `json:"policy,omitempty"`
	PolicyRule       string          `json:"policyRule,omitempty"`
	SecurityLabel    []Coding        `json:"securityLabel,omitempty"`
	Purpose          []Coding        `json:"purpose,omitempty"`
	DataPeriod       *Period         `json:"dataPeriod,omitempty"`
	Data             []ConsentData   `json:"data,omitempty"`
	Except           []ConsentExcept `json:"except,omitempty"`

	StatusElement     *Element `json:"_status,omitempty"`
	DateTimeElement   *Element `json:"_dateTime,omitempty"`
	PolicyRuleElement *Element `json:"_policyRule,omitempty"`
}

// ConsentActor is a person or an organization that a consent is about, and their
// role.
type ConsentActor struct {
	BackboneElement
	Role      CodeableConcept `json:"role,omitzero"`
	Reference Ref             `json:"reference,omitzero"`
}

// ConsentPolicy is a policy that a consent refers to.
type ConsentPolicy struct {
	BackboneElement
	Authority string `json:"authority,omitempty"`
	URI       string `json:"uri,omitempty"`

	AuthorityElement *Element `json:"_authority,omitempty"`
	URIElement       *Element `json:"_uri,omitempty"`
}

// ConsentData is a resource that a consent controls.
type ConsentData struct {
	BackboneElement
	Meaning   string `json:"meaning,omitempty"`
	Reference Ref    `json:"reference,omitzero"`

	MeaningElement *Element `json:"_meaning,omitempty"`
}

// ConsentExcept is an exception to the policy of a consent.
type ConsentExcept struct {
	BackboneElement
	Type          string            `json:"type,omitempty"`
	Period        Period            `json:"period,omitzero"`
	Actor         []ConsentActor    `json:"actor,omitempty"`
	Action        []CodeableConcept `json:"action,omitempty"`
	SecurityLabel []Coding          `json:"securityLabel,omitempty"`
	Purpose       []Coding          `json:"purpose,omitempty"`
	Class         []Coding          `json:"class,omitempty"`
	Code          []Coding          `json:"code,omitempty"`
	DataPeriod    *Period           `json:"dataPeriod,omitempty"`
	Data          []ConsentData     `json:"data,omitempty"`

	TypeElement *Element `json:"_type,omitempty"`
}
