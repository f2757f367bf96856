// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// Communication is a message that was sent, or was not: see NotDone.
type Communication struct {
	Common
	Identifier      []Identifier           `json:"identifier,omitempty"`
	Definition      []Ref                  `json:"definition,omitempty"`
	BasedOn         []Ref                  `json:"basedOn,omitempty"`
	PartOf          []Ref                  `json:"partOf,omitempty"`
	Status          string                 `json:"status,omitempty"`
	NotDone         *bool                  `json:"notDone,omitempty"`
	NotDoneReason   *CodeableConcept       `json:"notDoneReason,omitempty"`
	Category        []CodeableConcept      `json:"category,omitempty"`
	Medium          []CodeableConcept      `json:"medium,omitempty"`
	Subject         Ref                    `json:"subject,omitzero"`
	Recipient       []Ref                  `json:"recipient,omitempty"`
	Topic           []Ref                  `json:"topic,omitempty"`
	Context         *Ref                   `json:"context,omitempty"`
	Sent            DateTime               `json:"sent,omitempty"`
	Received        DateTime               `json:"received,omitempty"`
	Sender          Ref                    `json:"sender,omitzero"`
	ReasonCode      []CodeableConcept      `json:"reasonCode,omitempty"`
	ReasonReference []Ref                  `json:"reasonReference,omitempty"`
	Payload         []CommunicationPayload `json:"payload,omitempty"`
	Note            []Annotation           `json:"note,omitempty"`

	StatusElement   *Element `json:"_status,omitempty"`
	NotDoneElement  *Element `json:"_notDone,omitempty"`
	SentElement     *Element `json:"_sent,omitempty"`
	ReceivedElement *Element `json:"_received,omitempty"`
}

// CommunicationPayload is a part of the content of a message.
type CommunicationPayload struct {
	BackboneElement
	// content[x]: one of these, or none.
	ContentString     string      `json:"contentString,omitempty"`
	ContentAttachment *Attachment `json:"contentAttachment,omitempty"`
	ContentReference  *Ref        `json:"contentReference,omitempty"`

	ContentStringElement *Element `json:"_contentString,omitempty"`
}
