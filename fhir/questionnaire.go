// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import "encoding/json"

// Questionnaire is a form with questions.
type Questionnaire struct {
	Common
	URL             string              `json:"url,omitempty"`
	Identifier      []Identifier        `json:"identifier,omitempty"`
	Version         string              `json:"version,omitempty"`
	Name            string              `json:"name,omitempty"`
	Title           string              `json:"title,omitempty"`
	Status          string              `json:"status,omitempty"`
	Experimental    *bool               `json:"experimental,omitempty"`
	Date            DateTime            `json:"date,omitempty"`
	Publisher       string              `json:"publisher,omitempty"`
	Description     string              `json:"description,omitempty"`
	Purpose         string              `json:"purpose,omitempty"`
	ApprovalDate    DateTime            `json:"approvalDate,omitempty"`
	LastReviewDate  DateTime            `json:"lastReviewDate,omitempty"`
	EffectivePeriod Period              `json:"effectivePeriod,omitzero"`
	UseContext      []UsageContext      `json:"useContext,omitempty"`
	Jurisdiction    []CodeableConcept   `json:"jurisdiction,omitempty"`
	Contact         []ContactDetail     `json:"contact,omitempty"`
	Copyright       string              `json:"copyright,omitempty"`
	Code            []Coding            `json:"code,omitempty"`
	SubjectType     List[string]        `json:"subjectType,omitempty"`
	Item            []QuestionnaireItem `json:"item,omitempty"`

	URLElement            *Element   `json:"_url,omitempty"`
	VersionElement        *Element   `json:"_version,omitempty"`
	NameElement           *Element   `json:"_name,omitempty"`
	TitleElement          *Element   `json:"_title,omitempty"`
	StatusElement         *Element   `json:"_status,omitempty"`
	ExperimentalElement   *Element   `json:"_experimental,omitempty"`
	DateElement           *Element   `json:"_date,omitempty"`
	PublisherElement      *Element   `json:"_publisher,omitempty"`
	DescriptionElement    *Element   `json:"_description,omitempty"`
	PurposeElement        *Element   `json:"_purpose,omitempty"`
	ApprovalDateElement   *Element   `json:"_approvalDate,omitempty"`
	LastReviewDateElement *Element   `json:"_lastReviewDate,omitempty"`
	CopyrightElement      *Element   `json:"_copyright,omitempty"`
	SubjectTypeElement    []*Element `json:"_subjectType,omitempty"`
}

// QuestionnaireItem is a question, a text to display, or a group of items.
type QuestionnaireItem struct {
	BackboneElement
	LinkID     string                    `json:"linkId,omitempty"`
	Definition string                    `json:"definition,omitempty"`
	Code       []Coding                  `json:"code,omitempty"`
	Prefix     string                    `json:"prefix,omitempty"`
	Text       string                    `json:"text,omitempty"`
	Type       string                    `json:"type,omitempty"`
	EnableWhen []QuestionnaireEnableWhen `json:"enableWhen,omitempty"`
	Required   *bool                     `json:"required,omitempty"`
	Repeats    *bool                     `json:"repeats,omitempty"`
	ReadOnly   *bool                     `json:"readOnly,omitempty"`
	MaxLength  json.Number               `json:"maxLength,omitempty"`
	Options    *Ref                      `json:"options,omitempty"`
	Option     []QuestionnaireOption     `json:"option,omitempty"`
	// initial[x]: one of these, or none.
	InitialBoolean    *bool               `json:"initialBoolean,omitempty"`
	InitialDecimal    json.Number         `json:"initialDecimal,omitempty"`
	InitialInteger    json.Number         `json:"initialInteger,omitempty"`
	InitialDate       DateTime            `json:"initialDate,omitempty"`
	InitialDateTime   DateTime            `json:"initialDateTime,omitempty"`
	InitialTime       string              `json:"initialTime,omitempty"`
	InitialString     string              `json:"initialString,omitempty"`
	InitialURI        string              `json:"initialUri,omitempty"`
	InitialAttachment *Attachment         `json:"initialAttachment,omitempty"`
	InitialCoding     *Coding             `json:"initialCoding,omitempty"`
	InitialQuantity   *Quantity           `json:"initialQuantity,omitempty"`
	InitialReference  *Ref                `json:"initialReference,omitempty"`
	Item              []QuestionnaireItem `json:"item,omitempty"`

	LinkIDElement          *Element `json:"_linkId,omitempty"`
	DefinitionElement      *Element `json:"_definition,omitempty"`
	PrefixElement          *Element `json:"_prefix,omitempty"`
	TextElement            *Element `json:"_text,omitempty"`
	TypeElement            *Element `json:"_type,omitempty"`
	RequiredElement        *Element `json:"_required,omitempty"`
	RepeatsElement         *Element `json:"_repeats,omitempty"`
	ReadOnlyElement        *Element `json:"_readOnly,omitempty"`
	MaxLengthElement       *Element `json:"_maxLength,omitempty"`
	InitialBooleanElement  *Element `json:"_initialBoolean,omitempty"`
	InitialDecimalElement  *Element `json:"_initialDecimal,omitempty"`
	InitialIntegerElement  *Element `json:"_initialInteger,omitempty"`
	InitialDateElement     *Element `json:"_initialDate,omitempty"`
	InitialDateTimeElement *Element `json:"_initialDateTime,omitempty"`
	InitialTimeElement     *Element `json:"_initialTime,omitempty"`
	InitialStringElement   *Element `json:"_initialString,omitempty"`
	InitialURIElement      *Element `json:"_initialUri,omitempty"`
}

// QuestionnaireEnableWhen is a condition under which an item is shown: an answer to
// another question.
type QuestionnaireEnableWhen struct {
	BackboneElement
	Question  string `json:"question,omitempty"`
	HasAnswer *bool  `json:"hasAnswer,omitempty"`
	// answer[x]: one of these, or none.
	AnswerBoolean    *bool       `json:"answerBoolean,omitempty"`
	AnswerDecimal    json.Number `json:"answerDecimal,omitempty"`
	AnswerInteger    json.Number `json:"answerInteger,omitempty"`
	AnswerDate       DateTime    `json:"answerDate,omitempty"`
	AnswerDateTime   DateTime    `json:"answerDateTime,omitempty"`
	AnswerTime       string      `json:"answerTime,omitempty"`
	AnswerString     string      `json:"answerString,omitempty"`
	AnswerURI        string      `json:"answerUri,omitempty"`
	AnswerAttachment *Attachment `json:"answerAttachment,omitempty"`
	AnswerCoding     *Coding     `json:"answerCoding,omitempty"`
	AnswerQuantity   *Quantity   `json:"answerQuantity,omitempty"`
	AnswerReference  *Ref        `json:"answerReference,omitempty"`

	QuestionElement       *Element `json:"_question,omitempty"`
	HasAnswerElement      *Element `json:"_hasAnswer,omitempty"`
	AnswerBooleanElement  *Element `json:"_answerBoolean,omitempty"`
	AnswerDecimalElement  *Element `json:"_answerDecimal,omitempty"`
	AnswerIntegerElement  *Element `json:"_answerInteger,omitempty"`
	AnswerDateElement     *Element `json:"_answerDate,omitempty"`
	AnswerDateTimeElement *Element `json:"_answerDateTime,omitempty"`
	AnswerTimeElement     *Element `json:"_answerTime,omitempty"`
	AnswerStringElement   *Element `json:"_answerString,omitempty"`
	AnswerURIElement      *Element `json:"_answerUri,omitempty"`
}

// QuestionnaireOption is a permitted answer.
type QuestionnaireOption struct {
	BackboneElement
	// value[x]: one of these, or none.
	ValueInteger json.Number `json:"valueInteger,omitempty"`
	ValueDate    DateTime    `json:"valueDate,omitempty"`
	ValueTime    string      `json:"valueTime,omitempty"`
	ValueString  string      `json:"valueString,omitempty"`
	ValueCoding  *Coding     `json:"valueCoding,omitempty"`

	ValueIntegerElement *Element `json:"_valueInteger,omitempty"`
	ValueDateElement    *Element `json:"_valueDate,omitempty"`
	ValueTimeElement    *Element `json:"_valueTime,omitempty"`
	ValueStringElement  *Element `json:"_valueString,omitempty"`
}

// QuestionnaireResponse is a completed form.
type QuestionnaireResponse struct {
	Common
	Identifier    *Identifier                 `json:"identifier,omitempty"`
	BasedOn       []Ref                       `json:"basedOn,omitempty"`
	Parent        []Ref                       `json:"parent,omitempty"`
	Questionnaire Ref                         `json:"questionnaire,omitzero"`
	Status        string                      `json:"status,omitempty"`
	Subject       Ref                         `json:"subject,omitzero"`
	Context       *Ref                        `json:"context,omitempty"`
	Authored      DateTime                    `json:"authored,omitempty"`
	Author        Ref                         `json:"author,omitzero"`
	Source        Ref                         `json:"source,omitzero"`
	Item          []QuestionnaireResponseItem `json:"item,omitempty"`

	StatusElement   *Element `json:"_status,omitempty"`
	AuthoredElement *Element `json:"_authored,omitempty"`
}

// QuestionnaireResponseItem is a question with its answers, or a group of items.
type QuestionnaireResponseItem struct {
	BackboneElement
	LinkID     string                        `json:"linkId,omitempty"`
	Definition string                        `json:"definition,omitempty"`
	Text       string                        `json:"text,omitempty"`
	Subject    *Ref                          `json:"subject,omitempty"`
	Answer     []QuestionnaireResponseAnswer `json:"answer,omitempty"`
	Item       []QuestionnaireResponseItem   `json:"item,omitempty"`

	LinkIDElement     *Element `json:"_linkId,omitempty"`
	DefinitionElement *Element `json:"_definition,omitempty"`
	TextElement       *Element `json:"_text,omitempty"`
}

// QuestionnaireResponseAnswer is an answer to a question.
type QuestionnaireResponseAnswer struct {
	BackboneElement
	// value[x]: one of these, or none.
	ValueBoolean    *bool                       `json:"valueBoolean,omitempty"`
	ValueDecimal    json.Number                 `json:"valueDecimal,omitempty"`
	ValueInteger    json.Number                 `json:"valueInteger,omitempty"`
	ValueDate       DateTime                    `json:"valueDate,omitempty"`
	ValueDateTime   DateTime                    `json:"valueDateTime,omitempty"`
	ValueTime       string                      `json:"valueTime,omitempty"`
	ValueString     string                      `json:"valueString,omitempty"`
	ValueURI        string                      `json:"valueUri,omitempty"`
	ValueAttachment *Attachment                 `json:"valueAttachment,omitempty"`
	ValueCoding     *Coding                     `json:"valueCoding,omitempty"`
	ValueQuantity   *Quantity                   `json:"valueQuantity,omitempty"`
	ValueReference  *Ref                        `json:"valueReference,omitempty"`
	Item            []QuestionnaireResponseItem `json:"item,omitempty"`

	ValueBooleanElement  *Element `json:"_valueBoolean,omitempty"`
	ValueDecimalElement  *Element `json:"_valueDecimal,omitempty"`
	ValueIntegerElement  *Element `json:"_valueInteger,omitempty"`
	ValueDateElement     *Element `json:"_valueDate,omitempty"`
	ValueDateTimeElement *Element `json:"_valueDateTime,omitempty"`
	ValueTimeElement     *Element `json:"_valueTime,omitempty"`
	ValueStringElement   *Element `json:"_valueString,omitempty"`
	ValueURIElement      *Element `json:"_valueUri,omitempty"`
}
