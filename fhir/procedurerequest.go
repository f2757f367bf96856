// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// ProcedureRequest asks for something to be done, at PKB for a questionnaire to
// be filled in. An occurrenceTiming is in Resource.Raw only.
type ProcedureRequest struct {
	Common
	Identifier   []Identifier      `json:"identifier"`
	Definition   []Ref             `json:"definition"`
	BasedOn      []Ref             `json:"basedOn"`
	Replaces     []Ref             `json:"replaces"`
	Requisition  *Identifier       `json:"requisition"`
	Status       string            `json:"status"`
	Intent       string            `json:"intent"`
	Priority     string            `json:"priority"`
	DoNotPerform Boolean           `json:"doNotPerform"`
	Category     []CodeableConcept `json:"category"`
	Code         CodeableConcept   `json:"code"`
	Subject      Ref               `json:"subject"`
	Context      *Ref              `json:"context"`
	// One of them, or neither.
	OccurrenceDateTime      DateTime                  `json:"occurrenceDateTime"`
	OccurrencePeriod        *Period                   `json:"occurrencePeriod"`
	AsNeededBoolean         Boolean                   `json:"asNeededBoolean"`
	AsNeededCodeableConcept *CodeableConcept          `json:"asNeededCodeableConcept"`
	AuthoredOn              DateTime                  `json:"authoredOn"`
	Requester               ProcedureRequestRequester `json:"requester"`
	PerformerType           *CodeableConcept          `json:"performerType"`
	Performer               *Ref                      `json:"performer"`
	ReasonCode              []CodeableConcept         `json:"reasonCode"`
	ReasonReference         []Ref                     `json:"reasonReference"`
	SupportingInfo          []Ref                     `json:"supportingInfo"`
	Specimen                []Ref                     `json:"specimen"`
	BodySite                []CodeableConcept         `json:"bodySite"`
	Note                    []Annotation              `json:"note"`
	RelevantHistory         []Ref                     `json:"relevantHistory"`
}

// ProcedureRequestRequester is who asks, and for whom.
type ProcedureRequestRequester struct {
	Redacted
	Agent      Ref  `json:"agent"`
	OnBehalfOf *Ref `json:"onBehalfOf"`
}
