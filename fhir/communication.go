// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// Communication is a message that was sent, or was not.
type Communication struct {
	Common
	Identifier      []Identifier           `json:"identifier"`
	Definition      []Ref                  `json:"definition"`
	BasedOn         []Ref                  `json:"basedOn"`
	PartOf          []Ref                  `json:"partOf"`
	Status          string                 `json:"status"`
	NotDone         Boolean                `json:"notDone"`
	NotDoneReason   *CodeableConcept       `json:"notDoneReason"`
	Category        []CodeableConcept      `json:"category"`
	Medium          []CodeableConcept      `json:"medium"`
	Subject         Ref                    `json:"subject"`
	Recipient       []Ref                  `json:"recipient"`
	Topic           []Ref                  `json:"topic"`
	Context         *Ref                   `json:"context"`
	Sent            DateTime               `json:"sent"`
	Received        DateTime               `json:"received"`
	Sender          Ref                    `json:"sender"`
	ReasonCode      []CodeableConcept      `json:"reasonCode"`
	ReasonReference []Ref                  `json:"reasonReference"`
	Payload         []CommunicationPayload `json:"payload"`
	Note            []Annotation           `json:"note"`
}

// CommunicationPayload is a part of the message, in one of its types.
type CommunicationPayload struct {
	Redacted
	ContentString     string      `json:"contentString"`
	ContentAttachment *Attachment `json:"contentAttachment"`
	ContentReference  *Ref        `json:"contentReference"`
}
