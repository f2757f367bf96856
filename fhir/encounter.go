// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// Encounter is a contact of the patient with a provider, as a stay in hospital.
type Encounter struct {
	Common
	Identifier       []Identifier              `json:"identifier"`
	Status           string                    `json:"status"`
	StatusHistory    []EncounterStatus         `json:"statusHistory"`
	Class            Coding                    `json:"class"`
	ClassHistory     []EncounterClass          `json:"classHistory"`
	Type             []CodeableConcept         `json:"type"`
	Priority         *CodeableConcept          `json:"priority"`
	Subject          Ref                       `json:"subject"`
	EpisodeOfCare    []Ref                     `json:"episodeOfCare"`
	IncomingReferral []Ref                     `json:"incomingReferral"`
	Participant      []EncounterParticipant    `json:"participant"`
	Appointment      *Ref                      `json:"appointment"`
	Period           Period                    `json:"period"`
	Length           *Quantity                 `json:"length"`
	Reason           []CodeableConcept         `json:"reason"`
	Diagnosis        []EncounterDiagnosis      `json:"diagnosis"`
	Account          []Ref                     `json:"account"`
	Hospitalization  *EncounterHospitalization `json:"hospitalization"`
	Location         []EncounterLocation       `json:"location"`
	ServiceProvider  *Ref                      `json:"serviceProvider"`
	PartOf           *Ref                      `json:"partOf"`
}

// EncounterStatus is a status that the encounter had.
type EncounterStatus struct {
	Redacted
	Status string `json:"status"`
	Period Period `json:"period"`
}

// EncounterClass is a class that the encounter had.
type EncounterClass struct {
	Redacted
	Class  Coding `json:"class"`
	Period Period `json:"period"`
}

// EncounterParticipant is who took part beside the patient.
type EncounterParticipant struct {
	Redacted
	Type       []CodeableConcept `json:"type"`
	Period     Period            `json:"period"`
	Individual Ref               `json:"individual"`
}

// EncounterDiagnosis is a diagnosis that belongs to the encounter.
type EncounterDiagnosis struct {
	Redacted
	Condition Ref             `json:"condition"`
	Role      CodeableConcept `json:"role"`
	Rank      Decimal         `json:"rank"`
}

// EncounterHospitalization is about the admission.
type EncounterHospitalization struct {
	Redacted
	PreAdmissionIdentifier *Identifier       `json:"preAdmissionIdentifier"`
	Origin                 *Ref              `json:"origin"`
	AdmitSource            *CodeableConcept  `json:"admitSource"`
	ReAdmission            *CodeableConcept  `json:"reAdmission"`
	DietPreference         []CodeableConcept `json:"dietPreference"`
	SpecialCourtesy        []CodeableConcept `json:"specialCourtesy"`
	SpecialArrangement     []CodeableConcept `json:"specialArrangement"`
	Destination            *Ref              `json:"destination"`
	DischargeDisposition   *CodeableConcept  `json:"dischargeDisposition"`
}

// EncounterLocation is a place and when the patient was there.
type EncounterLocation struct {
	Redacted
	Location Ref    `json:"location"`
	Status   string `json:"status"`
	Period   Period `json:"period"`
}
