// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/internal/conceal"
)

// Kind is what happened to a link.
type Kind string

// The kinds of events.
const (
	// Approved: the patient came back with a code.
	Approved Kind = "approved"
	// Exchanged: the pair of a new authorization was saved.
	Exchanged Kind = "exchanged"
	// Linked: an authorization was completed and its pair is in use.
	Linked Kind = "linked"
	// Refreshed: a new pair was saved.
	Refreshed Kind = "refreshed"
	// Adopted: this process uses a pair that another process got.
	Adopted Kind = "adopted"
	// Uncertain: a refresh was sent, and its outcome is unknown.
	Uncertain Kind = "uncertain"
	// Recovered: a refresh succeeded after an uncertain one.
	Recovered Kind = "recovered"
	// SaveRetried: saving a new pair failed, and is retried.
	SaveRetried Kind = "save_retried"
	// SaveFailed: the store has not accepted a new pair for a minute, or by the time
	// the process was to end. The pair is in this process's memory, and saving is
	// retried until the process ends.
	SaveFailed Kind = "save_failed"
	// RelinkRequired: the link was lost, for Event.Cause.
	RelinkRequired Kind = "relink_required"
	// EndsSoon: the session ends at Event.EndsAt.
	EndsSoon Kind = "ends_soon"
	// OtherPatient: another patient's authorization was refused.
	OtherPatient Kind = "wrong_patient"
	// Shared: an authorization was refused because another user is linked to the
	// same patient.
	Shared Kind = "record_shared"
	// Refused: Config.Verify refused an authorization.
	Refused Kind = "refused"
	// KeyRotated: the tokens were sealed with another key.
	KeyRotated Kind = "key_rotated"
	// ScopeChanged: a refresh returned another scope than Config.Scope.
	ScopeChanged Kind = "scope_changed"
	// Unlinked: the host ended the link.
	Unlinked Kind = "unlinked"
	// StoreRolledBack: the store has an older pair than this process has seen.
	StoreRolledBack Kind = "store_rolled_back"
	// MassRejection: many refresh tokens in a row are refused.
	MassRejection Kind = "mass_rejection"
	// AppTrouble: the token endpoint refuses the application or everybody, or
	// refuses with an unrecognized error and nothing shows that it is about one
	// link. No link is affected.
	AppTrouble Kind = "app_trouble"
	// Unclear: a refresh was refused with an unrecognized error, while others
	// succeeded.
	Unclear Kind = "refused_unclear"
	// Unreadable: the complete response to a refresh is kept, and cannot be read.
	Unreadable Kind = "response_unreadable"
	// Unchecked: it could not be checked whose a new session is; it waits.
	Unchecked Kind = "unchecked"
	// Abandoned: a session that waited to be checked has ended, or was replaced.
	Abandoned Kind = "abandoned"
	// NotExchanged: the code of an authorization brought no tokens.
	NotExchanged Kind = "not_exchanged"
	// Restored: the store had gone back, and was restored from what this process
	// knew.
	Restored Kind = "restored"
	// Discarded: an operator gave up a response that cannot be read.
	Discarded Kind = "discarded"
	// TransportRepeats: the host's transport sent a request to the token endpoint
	// more than once.
	TransportRepeats Kind = "transport_repeats"
)

// levels are the log levels; the default is for debugging.
var levels = map[Kind]slog.Level{
	Linked: slog.LevelInfo, Unlinked: slog.LevelInfo, Recovered: slog.LevelInfo, EndsSoon: slog.LevelInfo,
	Unclear: slog.LevelWarn, Unreadable: slog.LevelError, Unchecked: slog.LevelWarn, Abandoned: slog.LevelWarn, NotExchanged: slog.LevelDebug,
	Restored: slog.LevelWarn, Discarded: slog.LevelWarn, TransportRepeats: slog.LevelError,
	Uncertain: slog.LevelWarn, SaveRetried: slog.LevelWarn, RelinkRequired: slog.LevelWarn,
	OtherPatient: slog.LevelWarn, Shared: slog.LevelWarn, Refused: slog.LevelWarn, ScopeChanged: slog.LevelWarn, AppTrouble: slog.LevelWarn, SaveFailed: slog.LevelError,
	StoreRolledBack: slog.LevelError, MassRejection: slog.LevelError,
	Approved: slog.LevelDebug, Exchanged: slog.LevelDebug, Refreshed: slog.LevelDebug, Adopted: slog.LevelDebug, KeyRotated: slog.LevelDebug,
}

// Event is something that happened to a link in this process.
type Event struct {
	Kind Kind
	User string
	// Cause is set for RelinkRequired, and for Abandoned if the server refused the token.
	Cause Cause
	// EndsAt is set for EndsSoon.
	EndsAt time.Time
	// Status and Code are from the token endpoint's response.
	Status int
	Code   string
	Err    error
}

// emit counts and logs an event and passes it to the host.
func (k *Keeper) emit(e Event) {
	k.counts.add(e)
	attrs := []slog.Attr{slog.String("event", string(e.Kind)), slog.String("link", conceal.LinkName(e.User))}
	if e.Cause != "" {
		attrs = append(attrs, slog.String("cause", string(e.Cause)))
	}
	if e.Status != 0 {
		attrs = append(attrs, slog.Int("status", e.Status))
	}
	if e.Code != "" {
		attrs = append(attrs, slog.String("code", e.Code))
	}
	if !e.EndsAt.IsZero() {
		attrs = append(attrs, slog.Time("ends_at", e.EndsAt))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	k.Logger.LogAttrs(context.Background(), levels[e.Kind], "pkb: link event", attrs...)
	if k.OnEvent != nil {
		k.events.add(k, e.Kind, func() { k.OnEvent(e) })
	}
}

// handed is a call of the host's, about an event of this kind, or "" for what is only
// measured.
type handed struct {
	kind Kind
	call func()
}

// eventQueue hands events to the host in order, one at a time, so that no flight
// waits for the host.
type eventQueue struct {
	mu      sync.Mutex
	waiting []handed
	running bool
	dropped int
	idle    chan struct{} // closed when the queue is empty; nil unless drain waits
}

// maxWaiting bounds the events that a slow host has not accepted yet.
const maxWaiting = 4096

func (q *eventQueue) add(k *Keeper, kind Kind, call func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= maxWaiting {
		if q.dropped++; q.dropped == 1 {
			k.Logger.Error("pkb: Config.OnEvent does not keep up; events are dropped")
		}
		return
	}
	q.waiting = append(q.waiting, handed{kind, call})
	if !q.running {
		q.running = true
		go q.deliver(k)
	}
}

// deliver hands over the queue. If the host panics, or ends its goroutine, only that
// event is lost.
func (q *eventQueue) deliver(k *Keeper) {
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.running, q.waiting, q.dropped = false, nil, 0
			if q.idle != nil {
				close(q.idle)
				q.idle = nil
			}
			q.mu.Unlock()
			return
		}
		next := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		k.hand(next)
	}
}

// drain waits up to patience until the host has accepted the events so far.
func (q *eventQueue) drain(patience time.Duration) {
	q.mu.Lock()
	if !q.running {
		q.mu.Unlock()
		return
	}
	if q.idle == nil {
		q.idle = make(chan struct{})
	}
	idle := q.idle
	q.mu.Unlock()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-idle:
	case <-late.C:
	}
}

func (k *Keeper) hand(h handed) {
	returned := make(chan struct{})
	go func() {
		ok := false
		defer func() {
			_ = recover()
			if !ok {
				k.Logger.Error("pkb: Config.OnEvent panicked", "event", string(h.kind))
			}
			close(returned)
		}()
		h.call()
		ok = true
	}()
	<-returned
}

// Stats are counts of events since the keeper was made, in this process.
type Stats struct {
	// Events are counted by kind; RelinkRequired is the sum of Lost.
	Events map[Kind]uint64
	// Lost are the links that ended, by cause.
	Lost map[Cause]uint64
}

type counts struct {
	mu     sync.Mutex
	events map[Kind]uint64
	lost   map[Cause]uint64
}

func (c *counts) add(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.events == nil {
		c.events, c.lost = map[Kind]uint64{}, map[Cause]uint64{}
	}
	c.events[e.Kind]++
	if e.Kind == RelinkRequired {
		c.lost[e.Cause]++
	}
}

// Stats returns the counts so far.
func (k *Keeper) Stats() Stats {
	k.counts.mu.Lock()
	defer k.counts.mu.Unlock()
	return Stats{Events: maps.Clone(k.counts.events), Lost: maps.Clone(k.counts.lost)}
}
