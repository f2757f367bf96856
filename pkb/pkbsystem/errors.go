// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem

import (
	"strings"

	"github.com/betawerk/pkb-go/internal/wording"
)

// The sentinels, for errors.Is. Every other error of a call is a *pkb.APIError.
var (
	// ErrNoPatient: PKB knows no patient with this number, or does not show them to the
	// organisation. Its response does not distinguish the two.
	ErrNoPatient = wording.ErrNoPatient
	// ErrInput: what the call was given cannot be sent. Nothing was sent. *InputError
	// has the fields.
	ErrInput = wording.ErrInput
	// ErrUncertain: a patient was sent, and PKB's response is not known: it was lost, or
	// cannot be used. The error also wraps the *pkb.APIError. Calling AddPatient again
	// with the same patient is an update, if PKB has received the first (inferred). An
	// error of AddPatient without ErrUncertain means that PKB has not accepted it.
	ErrUncertain = wording.ErrUncertain
)

// InputError is ErrInput with the fields. It has no values.
type InputError struct {
	// Fields are the names of what is absent or cannot be used, such as "NHSNumber" or
	// "DateOfBirth": fields of Addition, or of identity.Demographics.
	Fields []string
}

func (e *InputError) Error() string {
	return "pkbsystem: nothing was sent: absent or unusable: " + strings.Join(e.Fields, ", ")
}

// Is reports whether target is ErrInput.
func (e *InputError) Is(target error) bool { return target == ErrInput }

// uncertainError is ErrUncertain with its cause.
type uncertainError struct{ cause error }

func (e *uncertainError) Error() string   { return ErrUncertain.Error() + ": " + e.cause.Error() }
func (e *uncertainError) Unwrap() []error { return []error{ErrUncertain, e.cause} }
