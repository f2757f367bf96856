// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir_test

import (
	"errors"
	"fmt"

	"github.com/betawerk/pkb-go/fhir"
)

// The response of Purview names whose record a token opens.
func ExamplePurview() {
	ref, err := fhir.Purview([]byte(`{"resourceType": "Parameters", "parameter": [
		{"name": "purview", "valueReference": {"reference": "Patient/1d4a8b2d-f885-499f-ba51-50600312f316"}}]}`))
	fmt.Println(ref.Type, ref.ID, err)
	// Output: Patient 1d4a8b2d-f885-499f-ba51-50600312f316 <nil>
}

// An operation outcome has the reason why PKB refused.
func ExampleDecodeOperationOutcome() {
	outcome, err := fhir.DecodeOperationOutcome([]byte(`{"resourceType": "OperationOutcome", "issue": [
		{"severity": "error", "code": "login", "details": {"coding": [
			{"system": "http://fhir.patientsknowbest.com/codesystem/response-code", "code": "API_SESSION_EXPIRED"}]}}]}`))
	fmt.Println(outcome.ResponseCode() == fhir.SessionExpired, outcome.IsError(), err)
	for _, issue := range outcome.Issue {
		// Texts can hold personal data: do not log them.
		fmt.Println(issue.Severity, issue.Code, issue.Details.Text == "", issue.Diagnostics == "")
	}
	// Output:
	// true true <nil>
	// error login true true
}

// A resource of another type is an error, and not an empty resource.
func ExampleResourceType() {
	_, err := fhir.Decode[fhir.Parameters]([]byte(`{"resourceType": "OperationOutcome"}`))
	fmt.Println(errors.Is(err, fhir.ErrResourceType), err)
	kind, err := fhir.ResourceType([]byte(`{"resourceType": "OperationOutcome"}`))
	fmt.Println(kind, err)
	// Output:
	// true fhir: a resource of type OperationOutcome, want Parameters
	// OperationOutcome <nil>
}

// References are relative or absolute.
func ExampleParseReference() {
	ref, err := fhir.ParseReference("https://pkb.example/fhir/Patient/1d4a8b2d/_history/2")
	fmt.Println(ref.Base, ref.Type, ref.ID, err)
	// Output: https://pkb.example/fhir Patient 1d4a8b2d <nil>
}
