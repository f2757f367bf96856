// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"encoding/json"
	"strings"
)

// Common has the elements that every resource has. One with a ModifierExtension has
// another meaning without it: [Resource.Modifiers] finds those of its elements, too.
type Common struct {
	ResourceType      string            `json:"resourceType,omitempty"`
	ID                string            `json:"id,omitempty"`
	Meta              Meta              `json:"meta,omitzero"`
	ImplicitRules     string            `json:"implicitRules,omitempty"`
	Language          string            `json:"language,omitempty"`
	Text              Narrative         `json:"text,omitzero"`
	Contained         []json.RawMessage `json:"contained,omitempty"`
	Extension         []Extension       `json:"extension,omitempty"`
	ModifierExtension []Extension       `json:"modifierExtension,omitempty"`

	IDElement            *Element `json:"_id,omitempty"`
	ImplicitRulesElement *Element `json:"_implicitRules,omitempty"`
	LanguageElement      *Element `json:"_language,omitempty"`
}

// Meta is the metadata of a resource. PKB puts the privacy label of a data point
// into Security, as a code of [PrivacyLabelSystem].
type Meta struct {
	Element
	VersionID   string       `json:"versionId,omitempty"`
	LastUpdated DateTime     `json:"lastUpdated,omitempty"`
	Profile     List[string] `json:"profile,omitempty"`
	Security    []Coding     `json:"security,omitempty"`
	Tag         []Coding     `json:"tag,omitempty"`

	VersionIDElement   *Element   `json:"_versionId,omitempty"`
	LastUpdatedElement *Element   `json:"_lastUpdated,omitempty"`
	ProfileElement     []*Element `json:"_profile,omitempty"`
}

// Narrative is a summary of a resource for people to read.
type Narrative struct {
	Element
	Status string `json:"status,omitempty"`
	// Div is XHTML. Sanitise it before showing it in a page.
	Div string `json:"div,omitempty"`

	StatusElement *Element `json:"_status,omitempty"`
	DivElement    *Element `json:"_div,omitempty"`
}

// Element is what every element can have in addition to its value. Of an element of a
// primitive type it is in a field of its own: that of birthDate, for example, is
// BirthDateElement, and _birthDate in JSON.
type Element struct {
	ID        string      `json:"id,omitempty"`
	Extension []Extension `json:"extension,omitempty"`
}

// BackboneElement is what every element that is defined within a resource can have.
// One with a ModifierExtension has another meaning without it: [Resource.Modifiers]
// finds those of a whole resource.
type BackboneElement struct {
	Element
	ModifierExtension []Extension `json:"modifierExtension,omitempty"`
}

// Extension is an element that is not part of STU3. URL identifies its meaning. A resource with a ModifierExtension has another meaning without it.
type Extension struct {
	Element
	URL string `json:"url,omitempty"`
	// value[x]: one of these, or none.
	ValueBase64Binary    string           `json:"valueBase64Binary,omitempty"`
	ValueBoolean         *bool            `json:"valueBoolean,omitempty"`
	ValueCode            string           `json:"valueCode,omitempty"`
	ValueDate            DateTime         `json:"valueDate,omitempty"`
	ValueDateTime        DateTime         `json:"valueDateTime,omitempty"`
	ValueDecimal         json.Number      `json:"valueDecimal,omitempty"`
	ValueID              string           `json:"valueId,omitempty"`
	ValueInstant         DateTime         `json:"valueInstant,omitempty"`
	ValueInteger         json.Number      `json:"valueInteger,omitempty"`
	ValueMarkdown        string           `json:"valueMarkdown,omitempty"`
	ValueOID             string           `json:"valueOid,omitempty"`
	ValuePositiveInt     json.Number      `json:"valuePositiveInt,omitempty"`
	ValueString          string           `json:"valueString,omitempty"`
	ValueTime            string           `json:"valueTime,omitempty"`
	ValueUnsignedInt     json.Number      `json:"valueUnsignedInt,omitempty"`
	ValueURI             string           `json:"valueUri,omitempty"`
	ValueAddress         *Address         `json:"valueAddress,omitempty"`
	ValueAge             *Quantity        `json:"valueAge,omitempty"`
	ValueAnnotation      *Annotation      `json:"valueAnnotation,omitempty"`
	ValueAttachment      *Attachment      `json:"valueAttachment,omitempty"`
	ValueCodeableConcept *CodeableConcept `json:"valueCodeableConcept,omitempty"`
	ValueCoding          *Coding          `json:"valueCoding,omitempty"`
	ValueContactPoint    *ContactPoint    `json:"valueContactPoint,omitempty"`
	ValueCount           *Quantity        `json:"valueCount,omitempty"`
	ValueDistance        *Quantity        `json:"valueDistance,omitempty"`
	ValueDuration        *Quantity        `json:"valueDuration,omitempty"`
	ValueHumanName       *HumanName       `json:"valueHumanName,omitempty"`
	ValueIdentifier      *Identifier      `json:"valueIdentifier,omitempty"`
	ValueMoney           *Quantity        `json:"valueMoney,omitempty"`
	ValuePeriod          *Period          `json:"valuePeriod,omitempty"`
	ValueQuantity        *Quantity        `json:"valueQuantity,omitempty"`
	ValueRange           *Range           `json:"valueRange,omitempty"`
	ValueRatio           *Ratio           `json:"valueRatio,omitempty"`
	ValueReference       *Ref             `json:"valueReference,omitempty"`
	ValueSampledData     *SampledData     `json:"valueSampledData,omitempty"`
	ValueSignature       *Signature       `json:"valueSignature,omitempty"`
	ValueTiming          *Timing          `json:"valueTiming,omitempty"`
	ValueMeta            *Meta            `json:"valueMeta,omitempty"`

	ValueBase64BinaryElement *Element `json:"_valueBase64Binary,omitempty"`
	ValueBooleanElement      *Element `json:"_valueBoolean,omitempty"`
	ValueCodeElement         *Element `json:"_valueCode,omitempty"`
	ValueDateElement         *Element `json:"_valueDate,omitempty"`
	ValueDateTimeElement     *Element `json:"_valueDateTime,omitempty"`
	ValueDecimalElement      *Element `json:"_valueDecimal,omitempty"`
	ValueIDElement           *Element `json:"_valueId,omitempty"`
	ValueInstantElement      *Element `json:"_valueInstant,omitempty"`
	ValueIntegerElement      *Element `json:"_valueInteger,omitempty"`
	ValueMarkdownElement     *Element `json:"_valueMarkdown,omitempty"`
	ValueOIDElement          *Element `json:"_valueOid,omitempty"`
	ValuePositiveIntElement  *Element `json:"_valuePositiveInt,omitempty"`
	ValueStringElement       *Element `json:"_valueString,omitempty"`
	ValueTimeElement         *Element `json:"_valueTime,omitempty"`
	ValueUnsignedIntElement  *Element `json:"_valueUnsignedInt,omitempty"`
	ValueURIElement          *Element `json:"_valueUri,omitempty"`
}

// Coding is a code and the system that defines it.
type Coding struct {
	Element
	System       string `json:"system,omitempty"`
	Version      string `json:"version,omitempty"`
	Code         string `json:"code,omitempty"`
	Display      string `json:"display,omitempty"`
	UserSelected *bool  `json:"userSelected,omitempty"`

	SystemElement       *Element `json:"_system,omitempty"`
	VersionElement      *Element `json:"_version,omitempty"`
	CodeElement         *Element `json:"_code,omitempty"`
	DisplayElement      *Element `json:"_display,omitempty"`
	UserSelectedElement *Element `json:"_userSelected,omitempty"`
}

// CodeableConcept is a concept as codes, as text, or as both.
type CodeableConcept struct {
	Element
	Coding []Coding `json:"coding,omitempty"`
	Text   string   `json:"text,omitempty"`

	TextElement *Element `json:"_text,omitempty"`
}

// Identifier is an identifier and the system that issued it.
type Identifier struct {
	Element
	Use      string          `json:"use,omitempty"`
	Type     CodeableConcept `json:"type,omitzero"`
	System   string          `json:"system,omitempty"`
	Value    string          `json:"value,omitempty"`
	Period   Period          `json:"period,omitzero"`
	Assigner *Ref            `json:"assigner,omitempty"`

	UseElement    *Element `json:"_use,omitempty"`
	SystemElement *Element `json:"_system,omitempty"`
	ValueElement  *Element `json:"_value,omitempty"`
}

// Ref is the FHIR type Reference: another resource, by its address, by an
// identifier, or in words. [Ref.Parse] reads the address.
type Ref struct {
	Element
	Reference  string      `json:"reference,omitempty"`
	Identifier *Identifier `json:"identifier,omitempty"`
	Display    string      `json:"display,omitempty"`

	ReferenceElement *Element `json:"_reference,omitempty"`
	DisplayElement   *Element `json:"_display,omitempty"`
}

// Period is a period of time with a start, an end, or both.
type Period struct {
	Element
	Start DateTime `json:"start,omitempty"`
	End   DateTime `json:"end,omitempty"`

	StartElement *Element `json:"_start,omitempty"`
	EndElement   *Element `json:"_end,omitempty"`
}

// Quantity is a measured amount. Age, Count, Distance, Duration, Money and
// SimpleQuantity have the same elements.
type Quantity struct {
	Element
	Value json.Number `json:"value,omitempty"`
	// Comparator is "" where the value is exact.
	Comparator string `json:"comparator,omitempty"`
	Unit       string `json:"unit,omitempty"`
	System     string `json:"system,omitempty"`
	Code       string `json:"code,omitempty"`

	ValueElement      *Element `json:"_value,omitempty"`
	ComparatorElement *Element `json:"_comparator,omitempty"`
	UnitElement       *Element `json:"_unit,omitempty"`
	SystemElement     *Element `json:"_system,omitempty"`
	CodeElement       *Element `json:"_code,omitempty"`
}

// Range is an inclusive range between two quantities.
type Range struct {
	Element
	Low  *Quantity `json:"low,omitempty"`
	High *Quantity `json:"high,omitempty"`
}

// Ratio is a ratio of two quantities.
type Ratio struct {
	Element
	Numerator   *Quantity `json:"numerator,omitempty"`
	Denominator *Quantity `json:"denominator,omitempty"`
}

// SampledData is a series of measurements taken by a device.
type SampledData struct {
	Element
	Origin     Quantity    `json:"origin,omitzero"`
	Period     json.Number `json:"period,omitempty"`
	Factor     json.Number `json:"factor,omitempty"`
	LowerLimit json.Number `json:"lowerLimit,omitempty"`
	UpperLimit json.Number `json:"upperLimit,omitempty"`
	Dimensions json.Number `json:"dimensions,omitempty"`
	Data       string      `json:"data,omitempty"`

	PeriodElement     *Element `json:"_period,omitempty"`
	FactorElement     *Element `json:"_factor,omitempty"`
	LowerLimitElement *Element `json:"_lowerLimit,omitempty"`
	UpperLimitElement *Element `json:"_upperLimit,omitempty"`
	DimensionsElement *Element `json:"_dimensions,omitempty"`
	DataElement       *Element `json:"_data,omitempty"`
}

// Attachment is content in another format.
type Attachment struct {
	Element
	ContentType string `json:"contentType,omitempty"`
	Language    string `json:"language,omitempty"`
	// Data is the content in base64.
	Data string `json:"data,omitempty"`
	// URL is an address the server chose. Do not send a token to it without
	// checking its origin.
	URL      string      `json:"url,omitempty"`
	Size     json.Number `json:"size,omitempty"`
	Hash     string      `json:"hash,omitempty"`
	Title    string      `json:"title,omitempty"`
	Creation DateTime    `json:"creation,omitempty"`

	ContentTypeElement *Element `json:"_contentType,omitempty"`
	LanguageElement    *Element `json:"_language,omitempty"`
	DataElement        *Element `json:"_data,omitempty"`
	URLElement         *Element `json:"_url,omitempty"`
	SizeElement        *Element `json:"_size,omitempty"`
	HashElement        *Element `json:"_hash,omitempty"`
	TitleElement       *Element `json:"_title,omitempty"`
	CreationElement    *Element `json:"_creation,omitempty"`
}

// Annotation is a note with its author.
type Annotation struct {
	Element
	// author[x]: one of these, or none.
	AuthorReference *Ref     `json:"authorReference,omitempty"`
	AuthorString    string   `json:"authorString,omitempty"`
	Time            DateTime `json:"time,omitempty"`
	Text            string   `json:"text,omitempty"`

	AuthorStringElement *Element `json:"_authorString,omitempty"`
	TimeElement         *Element `json:"_time,omitempty"`
	TextElement         *Element `json:"_text,omitempty"`
}

// HumanName is the name of a person.
type HumanName struct {
	Element
	Use    string       `json:"use,omitempty"`
	Text   string       `json:"text,omitempty"`
	Family string       `json:"family,omitempty"`
	Given  List[string] `json:"given,omitempty"`
	Prefix List[string] `json:"prefix,omitempty"`
	Suffix List[string] `json:"suffix,omitempty"`
	Period Period       `json:"period,omitzero"`

	UseElement    *Element   `json:"_use,omitempty"`
	TextElement   *Element   `json:"_text,omitempty"`
	FamilyElement *Element   `json:"_family,omitempty"`
	GivenElement  []*Element `json:"_given,omitempty"`
	PrefixElement []*Element `json:"_prefix,omitempty"`
	SuffixElement []*Element `json:"_suffix,omitempty"`
}

// ContactPoint is a phone number, an email address or another means of contact.
type ContactPoint struct {
	Element
	System string      `json:"system,omitempty"`
	Value  string      `json:"value,omitempty"`
	Use    string      `json:"use,omitempty"`
	Rank   json.Number `json:"rank,omitempty"`
	Period Period      `json:"period,omitzero"`

	SystemElement *Element `json:"_system,omitempty"`
	ValueElement  *Element `json:"_value,omitempty"`
	UseElement    *Element `json:"_use,omitempty"`
	RankElement   *Element `json:"_rank,omitempty"`
}

// Address is a postal address.
type Address struct {
	Element
	Use        string       `json:"use,omitempty"`
	Type       string       `json:"type,omitempty"`
	Text       string       `json:"text,omitempty"`
	Line       List[string] `json:"line,omitempty"`
	City       string       `json:"city,omitempty"`
	District   string       `json:"district,omitempty"`
	State      string       `json:"state,omitempty"`
	PostalCode string       `json:"postalCode,omitempty"`
	Country    string       `json:"country,omitempty"`
	Period     Period       `json:"period,omitzero"`

	UseElement        *Element   `json:"_use,omitempty"`
	TypeElement       *Element   `json:"_type,omitempty"`
	TextElement       *Element   `json:"_text,omitempty"`
	LineElement       []*Element `json:"_line,omitempty"`
	CityElement       *Element   `json:"_city,omitempty"`
	DistrictElement   *Element   `json:"_district,omitempty"`
	StateElement      *Element   `json:"_state,omitempty"`
	PostalCodeElement *Element   `json:"_postalCode,omitempty"`
	CountryElement    *Element   `json:"_country,omitempty"`
}

// ContactDetail is a person or an organization to contact about a definition.
type ContactDetail struct {
	Element
	Name    string         `json:"name,omitempty"`
	Telecom []ContactPoint `json:"telecom,omitempty"`

	NameElement *Element `json:"_name,omitempty"`
}

// Signature is a digital signature, or a scanned one.
type Signature struct {
	Element
	Type []Coding `json:"type,omitempty"`
	When DateTime `json:"when,omitempty"`
	// who[x]: one of these, or none.
	WhoURI       string `json:"whoUri,omitempty"`
	WhoReference *Ref   `json:"whoReference,omitempty"`
	// onBehalfOf[x]: one of these, or none.
	OnBehalfOfURI       string `json:"onBehalfOfUri,omitempty"`
	OnBehalfOfReference *Ref   `json:"onBehalfOfReference,omitempty"`
	ContentType         string `json:"contentType,omitempty"`
	Blob                string `json:"blob,omitempty"`

	WhenElement          *Element `json:"_when,omitempty"`
	WhoURIElement        *Element `json:"_whoUri,omitempty"`
	OnBehalfOfURIElement *Element `json:"_onBehalfOfUri,omitempty"`
	ContentTypeElement   *Element `json:"_contentType,omitempty"`
	BlobElement          *Element `json:"_blob,omitempty"`
}

// Timing is when something happens, once or repeatedly.
type Timing struct {
	Element
	Event  List[DateTime]   `json:"event,omitempty"`
	Repeat *TimingRepeat    `json:"repeat,omitempty"`
	Code   *CodeableConcept `json:"code,omitempty"`

	EventElement []*Element `json:"_event,omitempty"`
}

// TimingRepeat is the rule by which events repeat.
type TimingRepeat struct {
	Element
	// bounds[x]: one of these, or none.
	BoundsDuration *Quantity    `json:"boundsDuration,omitempty"`
	BoundsRange    *Range       `json:"boundsRange,omitempty"`
	BoundsPeriod   *Period      `json:"boundsPeriod,omitempty"`
	Count          json.Number  `json:"count,omitempty"`
	CountMax       json.Number  `json:"countMax,omitempty"`
	Duration       json.Number  `json:"duration,omitempty"`
	DurationMax    json.Number  `json:"durationMax,omitempty"`
	DurationUnit   string       `json:"durationUnit,omitempty"`
	Frequency      json.Number  `json:"frequency,omitempty"`
	FrequencyMax   json.Number  `json:"frequencyMax,omitempty"`
	Period         json.Number  `json:"period,omitempty"`
	PeriodMax      json.Number  `json:"periodMax,omitempty"`
	PeriodUnit     string       `json:"periodUnit,omitempty"`
	DayOfWeek      List[string] `json:"dayOfWeek,omitempty"`
	TimeOfDay      List[string] `json:"timeOfDay,omitempty"`
	When           List[string] `json:"when,omitempty"`
	Offset         json.Number  `json:"offset,omitempty"`

	CountElement        *Element   `json:"_count,omitempty"`
	CountMaxElement     *Element   `json:"_countMax,omitempty"`
	DurationElement     *Element   `json:"_duration,omitempty"`
	DurationMaxElement  *Element   `json:"_durationMax,omitempty"`
	DurationUnitElement *Element   `json:"_durationUnit,omitempty"`
	FrequencyElement    *Element   `json:"_frequency,omitempty"`
	FrequencyMaxElement *Element   `json:"_frequencyMax,omitempty"`
	PeriodElement       *Element   `json:"_period,omitempty"`
	PeriodMaxElement    *Element   `json:"_periodMax,omitempty"`
	PeriodUnitElement   *Element   `json:"_periodUnit,omitempty"`
	DayOfWeekElement    []*Element `json:"_dayOfWeek,omitempty"`
	TimeOfDayElement    []*Element `json:"_timeOfDay,omitempty"`
	WhenElement         []*Element `json:"_when,omitempty"`
	OffsetElement       *Element   `json:"_offset,omitempty"`
}

// UsageContext is a context that a definition is meant for.
type UsageContext struct {
	Element
	Code Coding `json:"code,omitzero"`
	// value[x]: one of these, or none.
	ValueCodeableConcept *CodeableConcept `json:"valueCodeableConcept,omitempty"`
	ValueQuantity        *Quantity        `json:"valueQuantity,omitempty"`
	ValueRange           *Range           `json:"valueRange,omitempty"`
}

// The code systems of PKB (PKB: FHIR Conformance; Code systems).
const (
	PrivacyLabelSystem        = "http://fhir.patientsknowbest.com/codesystem/privacy-label"
	ObservationCategorySystem = "http://fhir.patientsknowbest.com/codesystem/observation-category"
)

// Code returns the first code of the system, or "". White space around a system
// is ignored: an example on PKB's pages has some.
func (c CodeableConcept) Code(system string) string {
	for _, coding := range c.Coding {
		if strings.TrimSpace(coding.System) == system {
			return coding.Code
		}
	}
	return ""
}

// Parse reads the address of a resource on a server. It returns [ErrReference]
// for a reference without one, and for one to a contained resource, such as "#1".
func (r Ref) Parse() (Reference, error) { return ParseReference(strings.TrimSpace(r.Reference)) }

// List is a list of texts or times. An element that has an extension in place of a
// value is "" here, and null in JSON.
type List[T ~string] []T

// MarshalJSON implements json.Marshaler.
func (l List[T]) MarshalJSON() ([]byte, error) {
	values := make([]*T, len(l))
	for i := range l {
		if l[i] != "" {
			values[i] = &l[i]
		}
	}
	return json.Marshal(values)
}
