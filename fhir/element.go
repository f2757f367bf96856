// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import "strings"

// The data types of STU3 that the resources here are made of. Codes are kept as
// they came, whatever they are; what did not come is the zero value, and so is
// what came in a shape that STU3 does not have. Resource.Raw has all of it.
// Samply's data types would lose a whole resource to one unknown code, and print
// what they hold.

// Common is what every resource has.
type Common struct {
	Redacted
	ID                string      `json:"id"`
	Meta              Meta        `json:"meta"`
	ImplicitRules     string      `json:"implicitRules"`
	Language          string      `json:"language"`
	Text              Narrative   `json:"text"`
	Extension         []Extension `json:"extension"`
	ModifierExtension []Extension `json:"modifierExtension"`
}

// Meta is about the resource itself. PKB puts the privacy label of a data point
// into Security, as a code of PrivacyLabelSystem.
type Meta struct {
	Redacted
	VersionID   string   `json:"versionId"`
	LastUpdated DateTime `json:"lastUpdated"`
	Profile     []string `json:"profile"`
	Security    []Coding `json:"security"`
	Tag         []Coding `json:"tag"`
}

// PKB's own code systems (PKB: FHIR Conformance; Code systems).
const (
	PrivacyLabelSystem        = "http://fhir.patientsknowbest.com/codesystem/privacy-label"
	ObservationCategorySystem = "http://fhir.patientsknowbest.com/codesystem/observation-category"
)

// Narrative is a resource as text for people, in XHTML. Do not show Div in a
// page without cleaning it.
type Narrative struct {
	Redacted
	Status string `json:"status"`
	Div    string `json:"div"`
}

// Coding is a code and the system it is from.
type Coding struct {
	Redacted
	System       string  `json:"system"`
	Version      string  `json:"version"`
	Code         string  `json:"code"`
	Display      string  `json:"display"`
	UserSelected Boolean `json:"userSelected"`
}

// CodeableConcept is a concept: codes, or a text, or both.
type CodeableConcept struct {
	Redacted
	Coding []Coding `json:"coding"`
	Text   string   `json:"text"`
}

// Code returns the first code of the system, or "". White space around a system
// does not count: PKB's pages have an example with some.
func (c CodeableConcept) Code(system string) string {
	for _, coding := range c.Coding {
		if strings.TrimSpace(coding.System) == system {
			return coding.Code
		}
	}
	return ""
}

// Identifier is an identifier and the system it is from.
type Identifier struct {
	Redacted
	Use      string          `json:"use"`
	Type     CodeableConcept `json:"type"`
	System   string          `json:"system"`
	Value    string          `json:"value"`
	Period   Period          `json:"period"`
	Assigner *Ref            `json:"assigner"`
}

// Ref is what FHIR calls a Reference: another resource, by its address, by an
// identifier, or in words.
type Ref struct {
	Redacted
	Reference  string      `json:"reference"`
	Identifier *Identifier `json:"identifier"`
	Display    string      `json:"display"`
}

// Parse reads the address. One to a contained resource, as "#1", is none that
// can be read from a server: it returns ErrReference for it, as for nothing.
func (r Ref) Parse() (Reference, error) { return ParseReference(strings.TrimSpace(r.Reference)) }

// Period is a time with a beginning, an end, or both.
type Period struct {
	Redacted
	Start DateTime `json:"start"`
	End   DateTime `json:"end"`
}

// Quantity is a measured amount. Age, Duration, Money and SimpleQuantity have
// its shape. Comparator is "" where the value is exact.
type Quantity struct {
	Redacted
	Value      Decimal `json:"value"`
	Comparator string  `json:"comparator"`
	Unit       string  `json:"unit"`
	System     string  `json:"system"`
	Code       string  `json:"code"`
}

// Range is what lies between two amounts, with these.
type Range struct {
	Redacted
	Low  *Quantity `json:"low"`
	High *Quantity `json:"high"`
}

// Ratio is one amount to another.
type Ratio struct {
	Redacted
	Numerator   *Quantity `json:"numerator"`
	Denominator *Quantity `json:"denominator"`
}

// SampledData is a series of measurements by a device.
type SampledData struct {
	Redacted
	Origin     Quantity `json:"origin"`
	Period     Decimal  `json:"period"`
	Factor     Decimal  `json:"factor"`
	LowerLimit Decimal  `json:"lowerLimit"`
	UpperLimit Decimal  `json:"upperLimit"`
	Dimensions Decimal  `json:"dimensions"`
	Data       string   `json:"data"`
}

// Attachment is content in another format. Data is in base64; a URL is an
// address that the server chose: send no token there unseen.
type Attachment struct {
	Redacted
	ContentType string   `json:"contentType"`
	Language    string   `json:"language"`
	Data        string   `json:"data"`
	URL         string   `json:"url"`
	Size        Decimal  `json:"size"`
	Hash        string   `json:"hash"`
	Title       string   `json:"title"`
	Creation    DateTime `json:"creation"`
}

// Annotation is a note and who wrote it.
type Annotation struct {
	Redacted
	AuthorReference *Ref     `json:"authorReference"`
	AuthorString    string   `json:"authorString"`
	Time            DateTime `json:"time"`
	Text            string   `json:"text"`
}

// HumanName is a person's name.
type HumanName struct {
	Redacted
	Use    string   `json:"use"`
	Text   string   `json:"text"`
	Family string   `json:"family"`
	Given  []string `json:"given"`
	Prefix []string `json:"prefix"`
	Suffix []string `json:"suffix"`
	Period Period   `json:"period"`
}

// ContactPoint is a way to reach somebody.
type ContactPoint struct {
	Redacted
	System string  `json:"system"`
	Value  string  `json:"value"`
	Use    string  `json:"use"`
	Rank   Decimal `json:"rank"`
	Period Period  `json:"period"`
}

// Address is a postal address.
type Address struct {
	Redacted
	Use        string   `json:"use"`
	Type       string   `json:"type"`
	Text       string   `json:"text"`
	Line       []string `json:"line"`
	City       string   `json:"city"`
	District   string   `json:"district"`
	State      string   `json:"state"`
	PostalCode string   `json:"postalCode"`
	Country    string   `json:"country"`
	Period     Period   `json:"period"`
}

// ContactDetail is whom to ask about a definition.
type ContactDetail struct {
	Redacted
	Name    string         `json:"name"`
	Telecom []ContactPoint `json:"telecom"`
}

// Extension is what a resource has beside the elements of FHIR. Values of rarer
// types are in Resource.Raw only.
type Extension struct {
	Redacted
	URL                  string           `json:"url"`
	ValueString          string           `json:"valueString"`
	ValueCode            string           `json:"valueCode"`
	ValueURI             string           `json:"valueUri"`
	ValueBoolean         Boolean          `json:"valueBoolean"`
	ValueInteger         Decimal          `json:"valueInteger"`
	ValueDecimal         Decimal          `json:"valueDecimal"`
	ValueDate            DateTime         `json:"valueDate"`
	ValueDateTime        DateTime         `json:"valueDateTime"`
	ValueInstant         DateTime         `json:"valueInstant"`
	ValueCoding          *Coding          `json:"valueCoding"`
	ValueCodeableConcept *CodeableConcept `json:"valueCodeableConcept"`
	ValueQuantity        *Quantity        `json:"valueQuantity"`
	ValueIdentifier      *Identifier      `json:"valueIdentifier"`
	ValuePeriod          *Period          `json:"valuePeriod"`
	ValueReference       *Ref             `json:"valueReference"`
	Extension            []Extension      `json:"extension"`
}
