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

// EventKind is what happened to a link.
type EventKind string

// The kinds of events.
const (
	// EventApproved: the patient returned from PKB with a code.
	EventApproved EventKind = "approved"
	// EventExchanged: the code was exchanged, and the tokens were saved.
	EventExchanged EventKind = "exchanged"
	// EventLinked: an authorization was completed, and its tokens are in use.
	EventLinked EventKind = "linked"
	// EventRefreshed: new tokens were received and saved.
	EventRefreshed EventKind = "refreshed"
	// EventAdopted: another process refreshed the tokens, and this one uses them.
	EventAdopted EventKind = "adopted"
	// EventUncertain: a refresh was sent, and its outcome is unknown.
	EventUncertain EventKind = "uncertain"
	// EventRecovered: a refresh succeeded after an uncertain one.
	EventRecovered EventKind = "recovered"
	// EventSaveRetried: the store failed to save new tokens; the save is retried.
	EventSaveRetried EventKind = "save_retried"
	// EventSaveFailed: new tokens could not be saved for a minute, or until Close
	// ran out of time. Only this process's memory has them, and it keeps trying:
	// fix the store, or the keys, before the process ends.
	EventSaveFailed EventKind = "save_failed"
	// EventRelinkRequired: the link has ended; Event.Cause is why.
	EventRelinkRequired EventKind = "relink_required"
	// EventEndsSoon: PKB's session ends at Event.EndsAt.
	EventEndsSoon EventKind = "ends_soon"
	// EventWrongPatient: another patient's authorization was refused.
	EventWrongPatient EventKind = "wrong_patient"
	// EventSharedRecord: an authorization was refused, or a link ended, because
	// another of the host's users is linked with the same record.
	EventSharedRecord EventKind = "record_shared"
	// EventRefused: an authorization was refused: the account is not a patient's,
	// or Config.Identify refused it.
	EventRefused EventKind = "refused"
	// EventKeyRotated: Reseal sealed the tokens with another key.
	EventKeyRotated EventKind = "key_rotated"
	// EventScopeChanged: the response to a refresh had another scope, which is the
	// user type, than PATIENT. The tokens are used; ask PKB.
	EventScopeChanged EventKind = "scope_changed"
	// EventUnlinked: Unlink ended the link.
	EventUnlinked EventKind = "unlinked"
	// EventStoreRolledBack: the store has older tokens than this process has seen,
	// as after a restored backup, and this process cannot restore the newer ones.
	// The old tokens are spent and are not sent. Bring the store forward from its
	// log or another copy; for the rest, the patients must approve again. It is
	// sent at most once a minute, for one link.
	EventStoreRolledBack EventKind = "store_rolled_back"
	// EventMassRejection: PKB refused five refresh tokens in a row. For half an
	// hour, one token a minute is sent, so that the other sessions survive. If the
	// store was restored from a backup, stop all processes and bring it forward;
	// otherwise ask PKB.
	EventMassRejection EventKind = "mass_rejection"
	// EventAppTrouble: the token endpoint refuses the application or accepts no
	// requests, or it refuses a link in unknown words, and nothing shows yet that
	// this is about the link. No link is affected.
	EventAppTrouble EventKind = "app_trouble"
	// EventUnclear: the token endpoint refused a link in unknown words. Until it
	// has served another link, EventAppTrouble is sent as well.
	EventUnclear EventKind = "refused_unclear"
	// EventUnreadable: the response to a refresh, which may hold the new tokens,
	// could not be read and is kept.
	EventUnreadable EventKind = "response_unreadable"
	// EventUnchecked: an authorization was saved, and could not be checked yet.
	EventUnchecked EventKind = "unchecked"
	// EventAbandoned: an authorization expired or was replaced before it was
	// checked.
	EventAbandoned EventKind = "abandoned"
	// EventNotExchanged: the code of an authorization was not exchanged for tokens.
	EventNotExchanged EventKind = "not_exchanged"
	// EventRestored: the store had lost acknowledged writes, and this process wrote
	// what it knew of the link.
	EventRestored EventKind = "restored"
	// EventDiscarded: Client.Discard dropped a response that could not be read.
	EventDiscarded EventKind = "discarded"
	// EventTransportRepeats: Config.HTTPClient sent a request to the token endpoint
	// more than once, or tried to. That ends sessions: remove the repetition.
	EventTransportRepeats EventKind = "transport_repeats"
)

// Event is something that happened to a link in this process. It prints without the
// app_user_id; its JSON has it.
type Event struct {
	Kind EventKind `json:"kind"`
	// AppUserID is the user of the link. Keep it out of metric labels.
	AppUserID string `json:"app_user_id"`
	// Cause is set for EventRelinkRequired, and for EventAbandoned if PKB refused the token.
	Cause Cause `json:"cause,omitempty"`
	// EndsAt is set for EventEndsSoon.
	EndsAt time.Time `json:"ends_at,omitzero"`
	// Status and Code are those of the token endpoint's response.
	Status int    `json:"status,omitempty"`
	Code   string `json:"code,omitempty"`
	// Err is what failed, or nil. JSON omits it.
	Err error `json:"-"`
}

// String implements fmt.Stringer.
func (e Event) String() string {
	s := string(e.Kind)
	if e.Cause != "" {
		s += " (" + string(e.Cause) + ")"
	}
	return s + " link=" + conceal.LinkName(e.AppUserID)
}

// Format implements fmt.Formatter.
func (e Event) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.String()) }

// LogValue implements slog.LogValuer.
func (e Event) LogValue() slog.Value { return slog.StringValue(e.String()) }
