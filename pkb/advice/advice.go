// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package advice returns what to do about an error of this module: who has to act, what
// to tell the patient, what an operator does, and the HTTP status to respond with.
// The file errors.md of this package has it in one table.
package advice

import (
	"github.com/betawerk/pkb-go/internal/wording"
	_ "github.com/betawerk/pkb-go/pkb" // sets wording.CodeOf
)

// Turn is who has to act next.
type Turn string

// The turns.
const (
	// TurnPatient: only the patient can continue, by approving or signing in.
	TurnPatient Turn = "patient"
	// TurnHost: you can: your application, its configuration, its store or its keys
	// have a fault.
	TurnHost Turn = "host"
	// TurnPKB: Patients Know Best can; trying again does not help.
	TurnPKB Turn = "PKB"
	// TurnWait: nobody has to act: try again later.
	TurnWait Turn = "wait"
)

// Advice is what to do about an error.
type Advice struct {
	// Code names the kind of error, such as "not_linked" or "wrong_patient", for an
	// app with texts of its own. It is stable; errors.md lists all.
	Code string
	// Status is the HTTP status to respond with.
	Status int
	// Turn is who has to act.
	Turn Turn
	// Cause is what happened.
	Cause string
	// Patient is a text for the patient, in plain English. It is safe to show:
	// nothing from PKB, a browser or a store is in it.
	Patient string
	// Operator is what the operator of the host does; for most errors of one
	// patient, nothing.
	Operator string
}

// For returns what to do about an error of any call of this module, wrapped or not.
// For an unknown error it is the host's turn. For(nil) is the zero Advice.
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
