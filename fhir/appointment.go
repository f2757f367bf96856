// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// Appointment is an appointment of the patient's. PKB sends the status
// "booked", "cancelled" or "noshow", and uses Reason and Comment. (PKB:
// Appointment.)
type Appointment struct {
	Common
	Identifier            []Identifier             `json:"identifier"`
	Status                string                   `json:"status"`
	ServiceCategory       CodeableConcept          `json:"serviceCategory"`
	ServiceType           []CodeableConcept        `json:"serviceType"`
	Specialty             []CodeableConcept        `json:"specialty"`
	AppointmentType       *CodeableConcept         `json:"appointmentType"`
	Reason                []CodeableConcept        `json:"reason"`
	Indication            []Ref                    `json:"indication"`
	Priority              Decimal                  `json:"priority"`
	Description           string                   `json:"description"`
	SupportingInformation []Ref                    `json:"supportingInformation"`
	Start                 DateTime                 `json:"start"`
	End                   DateTime                 `json:"end"`
	MinutesDuration       Decimal                  `json:"minutesDuration"`
	Slot                  []Ref                    `json:"slot"`
	Created               DateTime                 `json:"created"`
	Comment               string                   `json:"comment"`
	IncomingReferral      []Ref                    `json:"incomingReferral"`
	Participant           []AppointmentParticipant `json:"participant"`
	RequestedPeriod       []Period                 `json:"requestedPeriod"`
}

// AppointmentParticipant is who or what takes part.
type AppointmentParticipant struct {
	Redacted
	Type     []CodeableConcept `json:"type"`
	Actor    Ref               `json:"actor"`
	Required string            `json:"required"`
	Status   string            `json:"status"`
}
