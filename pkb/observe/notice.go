// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/betawerk/pkb-go/internal/conceal"
)

// Notice is what a host must not miss. It is kept with the link until Config.Notify
// has accepted it, so it outlives the process, and may come more than once. Notices
// of one link come in order. It prints without the app_user_id; its JSON has it.
type Notice struct {
	// ID is the same each time the notice comes, and differs from those of the
	// user's other notices.
	ID string `json:"id"`
	// Kind is one of these. EventLinked: a link was made, or works again.
	// EventRelinkRequired: it has ended, and the patient must approve again.
	// EventEndsSoon: PKB's session ends at EndsAt; it comes twice. EventSharedRecord,
	// EventWrongPatient and EventAbandoned: an authorization that had to be checked
	// was given up; a link that the user had is unchanged.
	Kind      EventKind `json:"kind"`
	AppUserID string    `json:"app_user_id"`
	// Cause is why, if a link has ended or an authorization was given up: of
	// EventAbandoned it is "abandoned" if it could not be checked for a week, and
	// otherwise why PKB ended its session.
	Cause Cause `json:"cause,omitempty"`
	// At is when it happened.
	At time.Time `json:"at"`
	// EndsAt is set for EventEndsSoon, and Last, the second time.
	EndsAt time.Time `json:"ends_at,omitzero"`
	Last   bool      `json:"last,omitempty"`
	// Earlier is how many earlier ends of the link this one stands for, if the host
	// accepted no notices for long.
	Earlier int `json:"earlier,omitempty"`
	// Tries is how often Config.Notify has not accepted it so far.
	Tries int `json:"tries,omitempty"`
}

// String implements fmt.Stringer.
func (n Notice) String() string {
	s := string(n.Kind)
	if n.Cause != "" {
		s += " (" + string(n.Cause) + ")"
	}
	return s + " link=" + conceal.LinkName(n.AppUserID)
}

// Format implements fmt.Formatter.
func (n Notice) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, n.String()) }

// LogValue implements slog.LogValuer.
func (n Notice) LogValue() slog.Value { return slog.StringValue(n.String()) }
