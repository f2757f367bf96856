// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// ProcedureRequest is a request for a service. At PKB it asks for a questionnaire
// to be completed.
type ProcedureRequest struct {
	Common
	Identifier   []Identifier      `json:"identifier,omitempty"`
	Definition   []Ref             `json:"definition,omitempty"`
	BasedOn      []Ref             `json:"basedOn,omitempty"`
	Replaces     []Ref             `json:"replaces,omitempty"`
	Requisition  *Identifier       `json:"requisition,omitempty"`
	Status       string            `json:"status,omitempty"`
	Intent       string            `json:"intent,omitempty"`
	Priority     string            `json:"priority,omitempty"`
	DoNotPerform *bool             `json:"doNotPerform,omitempty"`
	Category     []CodeableConcept `json:"category,omitempty"`
	Code         CodeableConcept   `json:"code,omitzero"`
	Subject      Ref               `json:"subject,omitzero"`
	Context      *Ref              `json:"context,omitempty"`
	// occurrence[x]: one of these, or none.
	OccurrenceDateTime DateTime `json:"occurrenceDateTime,omitempty"`
	OccurrencePeriod   *Period  `json:"occurrencePeriod,omitempty"`
	OccurrenceTiming   *Timing  `json:"occurrenceTiming,omitempty"`
	// asNeeded[x]: one of these, or none.
	AsNeededBoolean         *bool                     `json:"asNeededBoolean,omitempty"`
	AsNeededCodeableConcept *CodeableConcept          `json:"asNeededCodeableConcept,omitempty"`
	AuthoredOn              DateTime                  `json:"authoredOn,omitempty"`
	Requester               ProcedureRequestRequester `json:"requester,omitzero"`
	PerformerType           *CodeableConcept          `json:"performerType,omitempty"`
	Performer               *Ref                      `json:"performer,omitempty"`
	ReasonCode              []CodeableConcept         `json:"reasonCode,omitempty"`
	ReasonReference         []Ref                     `json:"reasonReference,omitempty"`
	SupportingInfo          []Ref                     `json:"supportingInfo,omitempty"`
	Specimen                []Ref                     `json:"specimen,omitempty"`
	BodySite                []CodeableConcept         `json:"bodySite,omitempty"`
	Note                    []Annotation              `json:"note,omitempty"`
	RelevantHistory         []Ref                     `json:"relevantHistory,omitempty"`

	StatusElement             *Element `json:"_status,omitempty"`
	IntentElement             *Element `json:"_intent,omitempty"`
	PriorityElement           *Element `json:"_priority,omitempty"`
	DoNotPerformElement       *Element `json:"_doNotPerform,omitempty"`
	OccurrenceDateTimeElement *Element `json:"_occurrenceDateTime,omitempty"`
	AsNeededBooleanElement    *Element `json:"_asNeededBoolean,omitempty"`
	AuthoredOnElement         *Element `json:"_authoredOn,omitempty"`
}

// ProcedureRequestRequester is who made a request, and on whose behalf.
type ProcedureRequestRequester struct {
	BackboneElement
	Agent      Ref  `json:"agent,omitzero"`
	OnBehalfOf *Ref `json:"onBehalfOf,omitempty"`
}
