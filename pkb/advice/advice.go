// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package advice says what to do about an error of this module: who has to act, what
// to tell the patient, what to do as an operator, and what to answer over HTTP. The
// document errors.md of this package has all of it in one table.
package advice

import (
	"github.com/betawerk/pkb-go/internal/wording"
	_ "github.com/betawerk/pkb-go/pkb" // it knows the kinds of errors
)

// Turn says who has to act next.
type Turn string

// The turns.
const (
	// TurnPatient: only the patient can go on, by approving or signing in.
	TurnPatient Turn = "patient"
	// TurnHost: you can: something is wrong in your application, its configuration,
	// its store or its keys.
	TurnHost Turn = "host"
	// TurnPKB: Patients Know Best can; trying again does not help.
	TurnPKB Turn = "PKB"
	// TurnWait: nobody has to do anything: trying later is right.
	TurnWait Turn = "wait"
)

// Advice is what to do about an error.
type Advice struct {
	// Code names the kind of error, such as "not_linked" or "wrong_patient": for a
	// single-page app that has texts of its own. It is stable; errors.md lists all.
	Code string
	// Status is the HTTP status for a response about the error.
	Status int
	// Turn is who has to act.
	Turn Turn
	// Cause says what happened.
	Cause string
	// Patient is a text for the patient, in plain English. It is safe to show:
	// nothing that came from PKB, a browser or a store is in it.
	Patient string
	// Operator says what those who run the host do; for most errors of one patient,
	// nothing.
	Operator string
}

// For returns what to do about an error of any call of this module, wrapped or not.
// An error that it does not know is the host's turn, with a text for the patient that
// promises nothing. For(nil) is the zero Advice.
func For(err error) Advice {
	if err == nil {
		return Advice{}
	}
	row := wording.Of(wording.CodeOf(err))
	return Advice{
		Code: string(row.Code), Status: row.Status, Turn: Turn(row.Turn),
		Cause: row.Cause, Patient: row.Patient, Operator: row.Operator,
	}
}
