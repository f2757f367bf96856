// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package observe

// TokenError defines what an error response of the token endpoint means, for
// Config.TokenErrors. All of Status, Code and Body that are set must match; Code or
// Body must be set. It does not apply to a success or to a status of 500 and above.
type TokenError struct {
	// Status is the HTTP status, from 400 to 499 except 408 and 425; 0 means any of
	// them.
	Status int
	// Code is the "error" member of a JSON object, or a response code in an
	// OperationOutcome.
	Code string
	// Body is the whole body, without the white space around it.
	Body  string
	Means TokenMeans
}

// TokenMeans is what an error response of the token endpoint means.
type TokenMeans string

// The meanings.
const (
	// MeansSessionOver: the session behind this token has ended, and the patient
	// must approve again (CauseSessionInvalid).
	MeansSessionOver TokenMeans = "session_over"
	// MeansFrozen: PKB has frozen this patient's access (CauseFrozen).
	MeansFrozen TokenMeans = "frozen"
	// MeansApplication: the application or its configuration is refused, for every
	// link.
	MeansApplication TokenMeans = "application"
	// MeansBusy: no link is served now.
	MeansBusy TokenMeans = "busy"
	// MeansUnclear: it concerns this link, and proves nothing.
	MeansUnclear TokenMeans = "unclear"
)
