// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// Consent says who may see what of the record. PKB sends a policy of opting in,
// with one Except for each privacy label that is granted, the grantee as Actor,
// and "inactive" once a patient was discharged. The grantee is an Organization,
// a Practitioner or, for a carer, a RelatedPerson that is contained. (PKB:
// Facade Consent.)
type Consent struct {
	Common
	Identifier      Identifier        `json:"identifier"`
	Status          string            `json:"status"`
	Category        []CodeableConcept `json:"category"`
	Patient         Ref               `json:"patient"`
	Period          Period            `json:"period"`
	DateTime        DateTime          `json:"dateTime"`
	ConsentingParty []Ref             `json:"consentingParty"`
	Actor           []ConsentActor    `json:"actor"`
	Action          []CodeableConcept `json:"action"`
	Organization    []Ref             `json:"organization"`
	// One of them, or none.
	SourceAttachment *Attachment     `json:"sourceAttachment"`
	SourceIdentifier *Identifier     `json:"sourceIdentifier"`
	SourceReference  *Ref            `json:"sourceReference"`
	Policy           []ConsentPolicy `json:"policy"`
	PolicyRule       string          `json:"policyRule"`
	SecurityLabel    []Coding        `json:"securityLabel"`
	Purpose          []Coding        `json:"purpose"`
	DataPeriod       *Period         `json:"dataPeriod"`
	Data             []ConsentData   `json:"data"`
	Except           []ConsentExcept `json:"except"`
}

// ConsentActor is somebody whom the consent is about, and as what.
type ConsentActor struct {
	Redacted
	Role      CodeableConcept `json:"role"`
	Reference Ref             `json:"reference"`
}

// ConsentPolicy names a policy.
type ConsentPolicy struct {
	Redacted
	Authority string `json:"authority"`
	URI       string `json:"uri"`
}

// ConsentData is a resource that the consent is about.
type ConsentData struct {
	Redacted
	Meaning   string `json:"meaning"`
	Reference Ref    `json:"reference"`
}

// ConsentExcept is an exception from the policy.
type ConsentExcept struct {
	Redacted
	Type          string            `json:"type"`
	Period        Period            `json:"period"`
	Actor         []ConsentActor    `json:"actor"`
	Action        []CodeableConcept `json:"action"`
	SecurityLabel []Coding          `json:"securityLabel"`
	Purpose       []Coding          `json:"purpose"`
	Class         []Coding          `json:"class"`
	Code          []Coding          `json:"code"`
	DataPeriod    *Period           `json:"dataPeriod"`
	Data          []ConsentData     `json:"data"`
}
