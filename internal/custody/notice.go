// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"slices"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// notice is one that a record owes the host. It holds nothing secret and nothing
// about the patient.
type notice struct {
	N       uint64          `json:"n"`
	Kind    core.NoticeKind `json:"kind"`
	Cause   core.Cause      `json:"cause,omitempty"`
	Session string          `json:"session,omitempty"`
	Warning core.Warning    `json:"level,omitempty"`
	Tries   int             `json:"tries,omitempty"`
	Also    int             `json:"also,omitempty"`
	// At is when it happened, and EndsAt, when the session ends, if that is known.
	At     time.Time `json:"at"`
	EndsAt time.Time `json:"ends_at,omitzero"`
}

func (n notice) owed() core.Notice {
	return core.Notice{N: n.N, Kind: n.Kind, Cause: n.Cause, Session: n.Session, Warning: n.Warning, Tries: n.Tries, Also: n.Also}
}

// notices are the record's, with the times of those that were there before.
func (o *row) notices(now time.Time) (all []notice) {
	for _, n := range o.Notices {
		kept := notice{At: now.UTC().Truncate(time.Millisecond)}
		if i := slices.IndexFunc(o.details.Notices, func(was notice) bool { return was.N == n.N }); i >= 0 {
			kept = o.details.Notices[i]
		} else if n.Kind == core.EndsSoon {
			kept.EndsAt = o.stored.EndsAt
		}
		kept.N, kept.Kind, kept.Cause, kept.Session, kept.Warning, kept.Tries, kept.Also = n.N, n.Kind, n.Cause, n.Session, n.Warning, n.Tries, n.Also
		all = append(all, kept)
	}
	return all
}
