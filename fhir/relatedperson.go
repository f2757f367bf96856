// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// RelatedPerson is somebody who has to do with the patient. At PKB it comes
// contained only: a patient who cares for this one. (PKB: Facade
// RelatedPerson.)
type RelatedPerson struct {
	Common
	Identifier   []Identifier    `json:"identifier"`
	Active       Boolean         `json:"active"`
	Patient      Ref             `json:"patient"`
	Relationship CodeableConcept `json:"relationship"`
	Name         []HumanName     `json:"name"`
	Telecom      []ContactPoint  `json:"telecom"`
	Gender       string          `json:"gender"`
	BirthDate    DateTime        `json:"birthDate"`
	Address      []Address       `json:"address"`
	Photo        []Attachment    `json:"photo"`
	Period       Period          `json:"period"`
}
