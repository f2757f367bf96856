// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package wording has the texts about each kind of error, for the patient and for
// the operator: for the pages of pkb.Web, package advice and its errors.md.
package wording

import "errors"

// Code names a kind of error. It is stable.
type Code string

// Unforeseen is the code of an error of no known kind.
const Unforeseen Code = "unforeseen"

// Turn is who has to act next.
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
	// Name is the name in errors.md, with the exported names concerned.
	Name string
	// Status is the HTTP status to respond with.
	Status int
	Turn   Turn
	// Cause is what happened; Patient is a text for the patient; Operator is what
	// the operator of the host does.
	Cause, Patient, Operator string
	// Met is how a host's test provokes it.
	Met string
}

// CodeOf returns the kind of an error. Package pkb sets it.
var CodeOf = func(error) Code { return Unforeseen }

// The texts of the page that pkb.Web shows around a row's text for the patient. Each
// title is true of what it is for: a user whose link does not work or who has none,
// one whose link works, and one of whom nothing is known.
const (
	NotLinked   = "Your record was not linked"
	StillLinked = "Your record is still linked"
	Trouble     = "This did not work"
	Unchanged   = "Nothing has changed. Your record is still linked."
	GoBack      = "Go back to the app"
)

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

// The errors of package pkbsystem, which pkb does not import.
var (
	ErrNoPatient = errors.New("pkbsystem: PKB shows the organisation no patient with this number")
	ErrInput     = errors.New("pkbsystem: nothing was sent: a field is absent or unusable")
	ErrUncertain = errors.New("pkbsystem: the patient was sent, and PKB's response is not known")
	// ErrConfig is in each *pkbsystem.ConfigError.
	ErrConfig = errors.New("pkbsystem: a mistake in the Config")
)

// SystemOperation is the beginning of the operations of package pkbsystem, and
// SystemToken the one that requests a token.
const (
	SystemOperation = "system "
	SystemToken     = SystemOperation + "token"
)
