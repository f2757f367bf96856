// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
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
// without the app_user_id.
type Event struct {
	Kind EventKind
	// AppUserID is whose link it is. Keep it out of metric labels.
	AppUserID string
	// Cause is that of EventRelinkRequired.
	Cause Cause
	// EndsAt is that of EventEndsSoon.
	EndsAt time.Time
	// Status and Code are those of a token endpoint that answered.
	Status int
	Code   string
	// Err is what went wrong, or nil.
	Err error
}

// String implements fmt.Stringer.
func (e Event) String() string {
	s := string(e.Kind)
	if e.Cause != "" {
		s += " (" + string(e.Cause) + ")"
	}
	return s + " link=" + custody.LinkName(e.AppUserID)
}

// Format implements fmt.Formatter.
func (e Event) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.String()) }

// LogValue implements slog.LogValuer.
func (e Event) LogValue() slog.Value { return slog.StringValue(e.String()) }

// Stats counts what happened in this process since New.
type Stats struct {
	// Refreshes counts new tokens that came and were saved.
	Refreshes uint64
	// Uncertain counts refreshes whose outcome was unknown.
	Uncertain uint64
	// SaveRetries counts saves of new tokens that had to be repeated.
	SaveRetries uint64
	// Lost counts links that ended, by cause.
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

// Stats returns the counts so far.
func (c *Client) Stats() Stats {
	counted := c.keeper.Stats()
	s := Stats{
		Refreshes:   counted.Events[custody.Refreshed],
		Uncertain:   counted.Events[custody.Uncertain],
		SaveRetries: counted.Events[custody.SaveRetried],
		Lost:        map[Cause]uint64{},
	}
	for cause, n := range counted.Lost {
		s.Lost[Cause(cause)] = n
	}
	return s
}

// Rotation says what a token endpoint does with a refresh token that it has
// seen before. The zero Rotation is Strict.
type Rotation struct{ window time.Duration }

// Strict is the rotation of PKB, and the default: a refresh token that comes
// twice ends the session (PKB: CS Response Code, API_SESSION_INVALID). So a
// refresh whose response was lost is not repeated while the access token at hand
// serves; when that has expired, nothing is left to lose, and it is.
func Strict() Rotation { return Rotation{} }

// Forgiving is the rotation of a server that is known to take a refresh token
// again within window of its first use, as some do so that a lost answer can be
// had again. A refresh whose answer was lost is then repeated once, at once. It
// is not known of PKB: do not use it there.
func Forgiving(window time.Duration) Rotation { return Rotation{window: window} }
