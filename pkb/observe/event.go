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

// EventKind says what happened to a link.
type EventKind string

// The kinds of events.
const (
	// EventApproved: the patient came back from PKB with a code.
	EventApproved EventKind = "approved"
	// EventExchanged: the code was exchanged, and the tokens were saved.
	EventExchanged EventKind = "exchanged"
	// EventLinked: an approval was completed, and its tokens are in use.
	EventLinked EventKind = "linked"
	// EventRefreshed: new tokens came and were saved.
	EventRefreshed EventKind = "refreshed"
	// EventAdopted: another process refreshed the tokens, and this one uses what
	// it saved.
	EventAdopted EventKind = "adopted"
	// EventUncertain: a refresh was sent, and its outcome is not known.
	EventUncertain EventKind = "uncertain"
	// EventRecovered: a refresh succeeded after an uncertain one.
	EventRecovered EventKind = "recovered"
	// EventSaveRetried: the store did not take new tokens; it is tried again.
	EventSaveRetried EventKind = "save_retried"
	// EventSaveFailed: the store, or the keys, have not taken new tokens for a
	// minute, or until Close ran out of time. They are in this process's memory only,
	// which tries on: fix the store before the process ends.
	EventSaveFailed EventKind = "save_failed"
	// EventRelinkRequired: the link has ended; Event.Cause says why.
	EventRelinkRequired EventKind = "relink_required"
	// EventEndsSoon: PKB's session ends at Event.EndsAt.
	EventEndsSoon EventKind = "ends_soon"
	// EventWrongPatient: another patient's approval was refused.
	EventWrongPatient EventKind = "wrong_patient"
	// EventSharedRecord: an approval was refused, or a link ended, because
	// another of the host's users is linked with the same record.
	EventSharedRecord EventKind = "record_shared"
	// EventRefused: an approval was refused: the account is not a patient's, or
	// Config.Identify said no.
	EventRefused EventKind = "refused"
	// EventKeyRotated: Reseal sealed the tokens with another key.
	EventKeyRotated EventKind = "key_rotated"
	// EventScopeChanged: a refresh came back with another scope, that is user
	// type, than PATIENT. The tokens are used; look into it with PKB.
	EventScopeChanged EventKind = "scope_changed"
	// EventUnlinked: Unlink ended the link.
	EventUnlinked EventKind = "unlinked"
	// EventStoreRolledBack: the store has older tokens than this process has
	// seen, as after a restored backup, and this process cannot restore them. They
	// are spent, and are not sent. Bring
	// the store forward, from its log or another copy; what cannot be brought
	// forward, the patients must approve again. Told at most once a minute, of
	// one link for all.
	EventStoreRolledBack EventKind = "store_rolled_back"
	// EventMassRejection: PKB refused five refresh tokens in a row, and took
	// none in between. If the store was restored from a backup, stop all
	// processes and bring it forward: for half an hour only one token a minute
	// is sent, so that the others are not ended. If it was not, ask PKB.
	EventMassRejection EventKind = "mass_rejection"
	// EventAppTrouble: the token endpoint refuses the application or is not
	// taking requests; or it refuses a link in unknown words, and nothing shows yet
	// that this is about the link. No link is affected.
	EventAppTrouble EventKind = "app_trouble"
	// EventUnclear: the token endpoint refused a link in unknown words. Until it
	// has served another link since, EventAppTrouble is told as well.
	EventUnclear EventKind = "refused_unclear"
	// EventUnreadable: the response to a refresh, which may hold the new tokens,
	// could not be read and is kept.
	EventUnreadable EventKind = "answer_unreadable"
	// EventUnchecked: an authorization was saved, and it could not be found out yet
	// whose it is.
	EventUnchecked EventKind = "unchecked"
	// EventAbandoned: an authorization that waited to be checked can no longer be.
	EventAbandoned EventKind = "abandoned"
	// EventNotExchanged: the code of an authorization brought no tokens.
	EventNotExchanged EventKind = "not_exchanged"
	// EventRestored: the store had lost acknowledged writes, and this process wrote
	// what it knew of the link.
	EventRestored EventKind = "restored"
	// EventDiscarded: Client.Discard gave up a response that could not be read.
	EventDiscarded EventKind = "discarded"
	// EventTransportRepeats: Config.HTTPClient sent a request to the token endpoint
	// more than once by itself. That ends sessions: take the repetition out.
	EventTransportRepeats EventKind = "transport_repeats"
)

// Event is something that happened to a link in this process. It prints
// without the app_user_id; its JSON has it.
type Event struct {
	Kind EventKind `json:"kind"`
	// AppUserID is whose link it is. Keep it out of metric labels.
	AppUserID string `json:"app_user_id"`
	// Cause is that of EventRelinkRequired.
	Cause Cause `json:"cause,omitempty"`
	// EndsAt is that of EventEndsSoon.
	EndsAt time.Time `json:"ends_at,omitzero"`
	// Status and Code are those of the token endpoint's response.
	Status int    `json:"status,omitempty"`
	Code   string `json:"code,omitempty"`
	// Err is what failed, or nil. It has no place in JSON.
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
