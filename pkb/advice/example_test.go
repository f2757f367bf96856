// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package advice_test

import (
	"fmt"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// For returns what to do about an error, for the patient and the operator.
func ExampleFor() {
	err := fmt.Errorf("loading the record: %w", &pkb.RelinkError{Cause: observe.CauseSessionExpired})
	a := advice.For(err)
	fmt.Println(a.Code, a.Status, a.Turn == advice.TurnPatient)
	fmt.Println(a.Patient)
	// Output:
	// session_expired 409 true
	// Your link to Patients Know Best has ended. Please link your record again.
}
