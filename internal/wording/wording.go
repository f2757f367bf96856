// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package wording has what there is to say about each kind of error: to the
// patient, and to those who run the host. The pages of pkb.Web, package advice and
// the document errors.md come from it; the errors themselves say what happened.
package wording

import "errors"

// Code names a kind of error. It is stable.
type Code string

// Unforeseen is the code of an error that is not this library's, or of none of the
// kinds.
const Unforeseen Code = "unforeseen"

// Turn says who has to act next.
type Turn string

// The turns.
const (
	TurnPatient Turn = "patient"
	TurnHost    Turn = "host"
	TurnPKB     Turn = "PKB"
	TurnWait    Turn = "wait"
)

// Row is one kind of error.
type Row struct {
	Code Code
	// Name is how the document calls it, with the exported names that it is about.
	Name string
	// Status is that of an HTTP response about it.
	Status int
	Turn   Turn
	// Cause says what happened; Patient is a text for the patient; Operator says
	// what those who run the host do.
	Cause, Patient, Operator string
	// Met says how a host's test meets it.
	Met string
}

// CodeOf returns the kind of an error. Package pkb, which knows them, sets it.
var CodeOf = func(error) Code { return Unforeseen }

// Of returns the row of a code.
func Of(code Code) *Row {
	for i := range rows {
		if rows[i].Code == code {
			return &rows[i]
		}
	}
	return &rows[len(rows)-1] // Unforeseen
}

// Rows returns all rows, in order.
func Rows() []Row { return rows }

// ErrWrongPatient is pkb.ErrWrongPatient, for the packages below it.
var ErrWrongPatient = errors.New("pkb: the record is another patient's than the one this user is linked with")
