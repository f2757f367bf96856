// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package observe

// Stats counts what happened in this process since New.
type Stats struct {
	// Refreshes counts refreshes whose tokens were saved.
	Refreshes uint64
	// Uncertain counts refreshes whose outcome was unknown.
	Uncertain uint64
	// SaveRetries counts retried saves of new tokens.
	SaveRetries uint64
	// Lost counts the links that ended, by cause.
	Lost map[Cause]uint64
}

// LostPerMillion returns how many links ended for this cause per million
// refreshes; 0 before the first refresh.
func (s Stats) LostPerMillion(cause Cause) float64 {
	if s.Refreshes == 0 {
		return 0
	}
	return float64(s.Lost[cause]) * 1e6 / float64(s.Refreshes)
}
