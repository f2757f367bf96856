// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// NamingSystem describes a system of identifiers or of codes.
type NamingSystem struct {
	Common
	Name         string                 `json:"name,omitempty"`
	Status       string                 `json:"status,omitempty"`
	Kind         string                 `json:"kind,omitempty"`
	Date         DateTime               `json:"date,omitempty"`
	Publisher    string                 `json:"publisher,omitempty"`
	Contact      []ContactDetail        `json:"contact,omitempty"`
	Responsible  string                 `json:"responsible,omitempty"`
	Type         CodeableConcept        `json:"type,omitzero"`
	Description  string                 `json:"description,omitempty"`
	UseContext   []UsageContext         `json:"useContext,omitempty"`
	Jurisdiction []CodeableConcept      `json:"jurisdiction,omitempty"`
	Usage        string                 `json:"usage,omitempty"`
	UniqueID     []NamingSystemUniqueID `json:"uniqueId,omitempty"`
	ReplacedBy   *Ref                   `json:"replacedBy,omitempty"`

	NameElement        *Element `json:"_name,omitempty"`
	StatusElement      *Element `json:"_status,omitempty"`
	KindElement        *Element `json:"_kind,omitempty"`
	DateElement        *Element `json:"_date,omitempty"`
	PublisherElement   *Element `json:"_publisher,omitempty"`
	ResponsibleElement *Element `json:"_responsible,omitempty"`
	DescriptionElement *Element `json:"_description,omitempty"`
	UsageElement       *Element `json:"_usage,omitempty"`
}

// NamingSystemUniqueID is a unique name of a system, such as its URI or OID.
type NamingSystemUniqueID struct {
	BackboneElement
	Type      string `json:"type,omitempty"`
	Value     string `json:"value,omitempty"`
	Preferred *bool  `json:"preferred,omitempty"`
	Comment   string `json:"comment,omitempty"`
	Period    Period `json:"period,omitzero"`

	TypeElement      *Element `json:"_type,omitempty"`
	ValueElement     *Element `json:"_value,omitempty"`
	PreferredElement *Element `json:"_preferred,omitempty"`
	CommentElement   *Element `json:"_comment,omitempty"`
}
