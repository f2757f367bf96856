// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// Questionnaire is a form: the questions.
type Questionnaire struct {
	Common
	URL             string              `json:"url"`
	Identifier      []Identifier        `json:"identifier"`
	Version         string              `json:"version"`
	Name            string              `json:"name"`
	Title           string              `json:"title"`
	Status          string              `json:"status"`
	Experimental    Boolean             `json:"experimental"`
	Date            DateTime            `json:"date"`
	Publisher       string              `json:"publisher"`
	Description     string              `json:"description"`
	Purpose         string              `json:"purpose"`
	ApprovalDate    DateTime            `json:"approvalDate"`
	LastReviewDate  DateTime            `json:"lastReviewDate"`
	EffectivePeriod Period              `json:"effectivePeriod"`
	Jurisdiction    []CodeableConcept   `json:"jurisdiction"`
	Contact         []ContactDetail     `json:"contact"`
	Copyright       string              `json:"copyright"`
	Code            []Coding            `json:"code"`
	SubjectType     []string            `json:"subjectType"`
	Item            []QuestionnaireItem `json:"item"`
}

// QuestionnaireItem is a question, a text, or a group of them.
type QuestionnaireItem struct {
	Redacted
	LinkID     string                    `json:"linkId"`
	Definition string                    `json:"definition"`
	Code       []Coding                  `json:"code"`
	Prefix     string                    `json:"prefix"`
	Text       string                    `json:"text"`
	Type       string                    `json:"type"`
	EnableWhen []QuestionnaireEnableWhen `json:"enableWhen"`
	Required   Boolean                   `json:"required"`
	Repeats    Boolean                   `json:"repeats"`
	ReadOnly   Boolean                   `json:"readOnly"`
	MaxLength  Decimal                   `json:"maxLength"`
	Options    *Ref                      `json:"options"`
	Option     []QuestionnaireOption     `json:"option"`
	// The answer to begin with, in one of its types.
	InitialBoolean    Boolean             `json:"initialBoolean"`
	InitialDecimal    Decimal             `json:"initialDecimal"`
	InitialInteger    Decimal             `json:"initialInteger"`
	InitialDate       DateTime            `json:"initialDate"`
	InitialDateTime   DateTime            `json:"initialDateTime"`
	InitialTime       string              `json:"initialTime"`
	InitialString     string              `json:"initialString"`
	InitialURI        string              `json:"initialUri"`
	InitialAttachment *Attachment         `json:"initialAttachment"`
	InitialCoding     *Coding             `json:"initialCoding"`
	InitialQuantity   *Quantity           `json:"initialQuantity"`
	InitialReference  *Ref                `json:"initialReference"`
	Item              []QuestionnaireItem `json:"item"`
}

// QuestionnaireEnableWhen is an answer to another question that makes this one
// be asked.
type QuestionnaireEnableWhen struct {
	Redacted
	Question         string      `json:"question"`
	HasAnswer        Boolean     `json:"hasAnswer"`
	AnswerBoolean    Boolean     `json:"answerBoolean"`
	AnswerDecimal    Decimal     `json:"answerDecimal"`
	AnswerInteger    Decimal     `json:"answerInteger"`
	AnswerDate       DateTime    `json:"answerDate"`
	AnswerDateTime   DateTime    `json:"answerDateTime"`
	AnswerTime       string      `json:"answerTime"`
	AnswerString     string      `json:"answerString"`
	AnswerURI        string      `json:"answerUri"`
	AnswerAttachment *Attachment `json:"answerAttachment"`
	AnswerCoding     *Coding     `json:"answerCoding"`
	AnswerQuantity   *Quantity   `json:"answerQuantity"`
	AnswerReference  *Ref        `json:"answerReference"`
}

// QuestionnaireOption is one of the answers to choose from.
type QuestionnaireOption struct {
	Redacted
	ValueInteger Decimal  `json:"valueInteger"`
	ValueDate    DateTime `json:"valueDate"`
	ValueTime    string   `json:"valueTime"`
	ValueString  string   `json:"valueString"`
	ValueCoding  *Coding  `json:"valueCoding"`
}

// QuestionnaireResponse is a form that was filled in.
type QuestionnaireResponse struct {
	Common
	Identifier    *Identifier                 `json:"identifier"`
	BasedOn       []Ref                       `json:"basedOn"`
	Parent        []Ref                       `json:"parent"`
	Questionnaire Ref                         `json:"questionnaire"`
	Status        string                      `json:"status"`
	Subject       Ref                         `json:"subject"`
	Context       *Ref                        `json:"context"`
	Authored      DateTime                    `json:"authored"`
	Author        Ref                         `json:"author"`
	Source        Ref                         `json:"source"`
	Item          []QuestionnaireResponseItem `json:"item"`
}

// QuestionnaireResponseItem is a question with its answers, or a group of them.
type QuestionnaireResponseItem struct {
	Redacted
	LinkID     string                        `json:"linkId"`
	Definition string                        `json:"definition"`
	Text       string                        `json:"text"`
	Subject    *Ref                          `json:"subject"`
	Answer     []QuestionnaireResponseAnswer `json:"answer"`
	Item       []QuestionnaireResponseItem   `json:"item"`
}

// QuestionnaireResponseAnswer is an answer in one of its types.
type QuestionnaireResponseAnswer struct {
	Redacted
	ValueBoolean    Boolean                     `json:"valueBoolean"`
	ValueDecimal    Decimal                     `json:"valueDecimal"`
	ValueInteger    Decimal                     `json:"valueInteger"`
	ValueDate       DateTime                    `json:"valueDate"`
	ValueDateTime   DateTime                    `json:"valueDateTime"`
	ValueInstant    DateTime                    `json:"valueInstant"`
	ValueTime       string                      `json:"valueTime"`
	ValueString     string                      `json:"valueString"`
	ValueURI        string                      `json:"valueUri"`
	ValueAttachment *Attachment                 `json:"valueAttachment"`
	ValueCoding     *Coding                     `json:"valueCoding"`
	ValueQuantity   *Quantity                   `json:"valueQuantity"`
	ValueReference  *Ref                        `json:"valueReference"`
	Item            []QuestionnaireResponseItem `json:"item"`
}
