// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import "encoding/json"

// Encounter is a contact of the patient with a provider, such as a hospital stay.
type Encounter struct {
	Common
	Identifier       []Identifier              `json:"identifier,omitempty"`
	Status           string                    `json:"status,omitempty"`
	StatusHistory    []EncounterStatus         `json:"statusHistory,omitempty"`
	Class            Coding                    `json:"class,omitzero"`
	ClassHistory     []EncounterClass          `json:"classHistory,omitempty"`
	Type             []CodeableConcept         `json:"type,omitempty"`
	Priority         *CodeableConcept          `json:"priority,omitempty"`
	Subject          Ref                       `json:"subject,omitzero"`
	EpisodeOfCare    []Ref                     `json:"episodeOfCare,omitempty"`
	IncomingReferral []Ref                     `json:"incomingReferral,omitempty"`
	Participant      []EncounterParticipant    `json:"participant,omitempty"`
	Appointment      *Ref                      `json:"appointment,omitempty"`
	Period           Period                    `json:"period,omitzero"`
	Length           *Quantity                 `json:"length,omitempty"`
	Reason           []CodeableConcept         `json:"reason,omitempty"`
	Diagnosis        []EncounterDiagnosis      `json:"diagnosis,omitempty"`
	Account          []Ref                     `json:"account,omitempty"`
	Hospitalization  *EncounterHospitalization `json:"hospitalization,omitempty"`
	Location         []EncounterLocation       `json:"location,omitempty"`
	ServiceProvider  *Ref                      `json:"serviceProvider,omitempty"`
	PartOf           *Ref                      `json:"partOf,omitempty"`

	StatusElement *Element `json:"_status,omitempty"`
}

// EncounterStatus is an earlier status of an encounter.
type EncounterStatus struct {
	BackboneElement
	Status string `json:"status,omitempty"`
	Period Period `json:"period,omitzero"`

	StatusElement *Element `json:"_status,omitempty"`
}

// EncounterClass is an earlier class of an encounter.
type EncounterClass struct {
	BackboneElement
	Class  Coding `json:"class,omitzero"`
	Period Period `json:"period,omitzero"`
}

// EncounterParticipant is a person involved in an encounter, other than the
// patient.
type EncounterParticipant struct {
	BackboneElement
	Type       []CodeableConcept `json:"type,omitempty"`
	Period     Period            `json:"period,omitzero"`
	Individual Ref               `json:"individual,omitzero"`
}

// EncounterDiagnosis is a diagnosis that is relevant to an encounter.
type EncounterDiagnosis struct {
	BackboneElement
	Condition Ref             `json:"condition,omitzero"`
	Role      CodeableConcept `json:"role,omitzero"`
	Rank      json.Number     `json:"rank,omitempty"`

	RankElement *Element `json:"_rank,omitempty"`
}

// EncounterHospitalization has the details of an admission.
type EncounterHospitalization struct {
	BackboneElement
	PreAdmissionIdentifier *Identifier       `json:"preAdmissionIdentifier,omitempty"`
	Origin                 *Ref              `json:"origin,omitempty"`
	AdmitSource            *CodeableConcept  `json:"admitSource,omitempty"`
	ReAdmission            *CodeableConcept  `json:"reAdmission,omitempty"`
	DietPreference         []CodeableConcept `json:"dietPreference,omitempty"`
	SpecialCourtesy        []CodeableConcept `json:"specialCourtesy,omitempty"`
	SpecialArrangement     []CodeableConcept `json:"specialArrangement,omitempty"`
	Destination            *Ref              `json:"destination,omitempty"`
	DischargeDisposition   *CodeableConcept  `json:"dischargeDisposition,omitempty"`
}

// EncounterLocation is a place where the patient was, and when.
type EncounterLocation struct {
	BackboneElement
	Location Ref    `json:"location,omitzero"`
	Status   string `json:"status,omitempty"`
	Period   Period `json:"period,omitzero"`

	StatusElement *Element `json:"_status,omitempty"`
}
