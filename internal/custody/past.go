// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// Happened is something that happened to a link, as it is kept with it. It
// holds nothing secret and nothing about the patient.
type Happened struct {
	Kind Kind `json:"kind"`
	// At is when; of several in a row, when the first did.
	At time.Time `json:"at"`
	// Until is when the last of several in a row happened.
	Until time.Time `json:"until,omitzero"`
	// Count is how many in a row; 0 stands for one.
	Count int `json:"n,omitempty"`
	// Cause is that of RelinkRequired.
	Cause Cause `json:"cause,omitempty"`
}

// maxPast bounds what is kept of a link's past: with everything else it fits
// into a record's details many times.
const maxPast = 40

// note adds to the link's past what the next save is about. The same again in a
// row is counted: a link that is refreshed for a year has a short past.
func (r *row) note(kind Kind, at time.Time, cause Cause) {
	at = at.UTC().Truncate(time.Millisecond)
	past := slices.Clone(r.details.Past) // rows are copied, and a copy must not change this one
	if n := len(past); n > 0 && past[n-1].Kind == kind && past[n-1].Cause == cause {
		last := &past[n-1]
		last.Count, last.Until = max(last.Count, 1)+1, at
	} else {
		past = append(past, Happened{Kind: kind, At: at, Cause: cause})
	}
	r.details.Past = past[max(0, len(past)-maxPast):]
}

// Verified reports whether it is known whose link a record is, and that it may
// be used. Most records do not even name the doubt: their past is not read for
// it at every call.
func Verified(r tokenstore.Record) bool {
	return r.PublicID != "" && (!bytes.Contains(r.Details, []byte(`"unverified"`)) || !remembered(r).Unverified)
}

func remembered(r tokenstore.Record) (d details) {
	_ = json.Unmarshal(r.Details, &d) // what cannot be read is not remembered
	return d
}
