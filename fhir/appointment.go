// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import "encoding/json"

// Appointment is a booked or cancelled appointment. PKB sends the status
// "booked", "cancelled" or "noshow", and uses Reason and Comment. (PKB:
// Appointment.)
type Appointment struct {
	Common
	Identifier            []Identifier             `json:"identifier,omitempty"`
	Status                string                   `json:"status,omitempty"`
	ServiceCategory       CodeableConcept          `json:"serviceCategory,omitzero"`
	ServiceType           []CodeableConcept        `json:"serviceType,omitempty"`
	Specialty             []CodeableConcept        `json:"specialty,omitempty"`
	AppointmentType       *CodeableConcept         `json:"appointmentType,omitempty"`
	Reason                []CodeableConcept        `json:"reason,omitempty"`
	Indication            []Ref                    `json:"indication,omitempty"`
	Priority              json.Number              `json:"priority,omitempty"`
	Description           string                   `json:"description,omitempty"`
	SupportingInformation []Ref                    `json:"supportingInformation,omitempty"`
	Start                 DateTime                 `json:"start,omitempty"`
	End                   DateTime                 `json:"end,omitempty"`
	MinutesDuration       json.Number              `json:"minutesDuration,omitempty"`
	Slot                  []Ref                    `json:"slot,omitempty"`
	Created               DateTime                 `json:"created,omitempty"`
	Comment               string                   `json:"comment,omitempty"`
	IncomingReferral      []Ref                    `json:"incomingReferral,omitempty"`
	Participant           []AppointmentParticipant `json:"participant,omitempty"`
	RequestedPeriod       []Period                 `json:"requestedPeriod,omitempty"`

	StatusElement          *Element `json:"_status,omitempty"`
	PriorityElement        *Element `json:"_priority,omitempty"`
	DescriptionElement     *Element `json:"_description,omitempty"`
	StartElement           *Element `json:"_start,omitempty"`
	EndElement             *Element `json:"_end,omitempty"`
	MinutesDurationElement *Element `json:"_minutesDuration,omitempty"`
	CreatedElement         *Element `json:"_created,omitempty"`
	CommentElement         *Element `json:"_comment,omitempty"`
}

// AppointmentParticipant is a person, place or device involved in an appointment.
type AppointmentParticipant struct {
	BackboneElement
	Type     []CodeableConcept `json:"type,omitempty"`
	Actor    Ref               `json:"actor,omitzero"`
	Required string            `json:"required,omitempty"`
	Status   string            `json:"status,omitempty"`

	RequiredElement *Element `json:"_required,omitempty"`
	StatusElement   *Element `json:"_status,omitempty"`
}
