// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// RelatedPerson is a person related to the patient. PKB sends it as a contained
// resource only: a patient who cares for this one. (PKB: Facade RelatedPerson.)
type RelatedPerson struct {
	Common
	Identifier   []Identifier    `json:"identifier,omitempty"`
	Active       *bool           `json:"active,omitempty"`
	Patient      Ref             `json:"patient,omitzero"`
	Relationship CodeableConcept `json:"relationship,omitzero"`
	Name         []HumanName     `json:"name,omitempty"`
	Telecom      []ContactPoint  `json:"telecom,omitempty"`
	Gender       string          `json:"gender,omitempty"`
	BirthDate    DateTime        `json:"birthDate,omitempty"`
	Address      []Address       `json:"address,omitempty"`
	Photo        []Attachment    `json:"photo,omitempty"`
	Period       Period          `json:"period,omitzero"`

	ActiveElement    *Element `json:"_active,omitempty"`
	GenderElement    *Element `json:"_gender,omitempty"`
	BirthDateElement *Element `json:"_birthDate,omitempty"`
}
