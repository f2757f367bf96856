// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/internal/tokenwire"
)

// breaker keeps refreshes away from a token endpoint that is in trouble, so
// that the trouble of one application or of the server makes no link uncertain
// and no queue at the door. It opens at the first answer that is about the
// application, and after a few lost ones; it closes with the first answer that
// is about a token.
//
// It also closes for a while when one refresh token after the other is refused:
// then the store may hold the tokens of yesterday, and each one presented ends
// a session whose living token may still be found.
type breaker struct {
	mu       sync.Mutex
	failures int // in a row
	until    time.Time
	probing  bool
	last     tokenwire.Outcome
	// refused counts the tokens that were rejected in a row, with none taken in
	// between; suspect is since when that looks like a store that was restored
	// from a backup.
	refused int
	suspect time.Time
}

const (
	// lostInARow is how many lost answers in a row are an outage and not bad
	// luck.
	lostInARow = 3
	// backgroundGrace is how long after the end of a back-off only callers who
	// are waiting may try.
	backgroundGrace = 5 * time.Second
	// refusedInARow is how many refused tokens in a row are not a few sessions
	// that have ended.
	refusedInARow = 5
	// suspectFor is how long an operator has to mend the store, before the rest
	// of its tokens is presented as well; one is every suspectEvery.
	suspectFor   = 30 * time.Minute
	suspectEvery = time.Minute
)

// enter asks to send one refresh. When it may not be sent, wait says how long
// that will be so. Whoever enters must leave.
func (b *breaker) enter(now time.Time, early bool) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.IsZero() {
		return 0, true
	}
	opens := b.until
	if early {
		opens = opens.Add(backgroundGrace)
	}
	if wait = opens.Sub(now); wait > 0 {
		return wait, false
	}
	if b.probing {
		return time.Second, false // one at a time, until one has an answer
	}
	b.probing = true
	return 0, true
}

// leave reports what came of it; unforeseen says that nothing was known that
// could explain a rejection. It returns true when it begins to look as if all
// tokens in the store are spent.
func (b *breaker) leave(now time.Time, out tokenwire.Outcome, unforeseen bool) (suspicious bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	switch out.Class {
	case tokenwire.OK:
		b.failures, b.until, b.last = 0, time.Time{}, tokenwire.Outcome{}
		b.refused, b.suspect = 0, time.Time{}
		return false
	case tokenwire.Rejected:
		b.failures, b.until, b.last = 0, time.Time{}, tokenwire.Outcome{}
		if !unforeseen {
			return false
		}
		if b.refused++; b.refused < refusedInARow {
			return false
		}
		if b.suspect.IsZero() {
			b.suspect, suspicious = now, true
		}
		if now.Sub(b.suspect) < suspectFor {
			b.until = now.Add(suspectEvery)
		}
		return suspicious
	case tokenwire.AppWide:
	case tokenwire.NotSent, tokenwire.Ambiguous:
		if b.failures+1 < lostInARow && b.until.IsZero() {
			b.failures++
			return false
		}
	default:
		return false // nothing was sent
	}
	if asked := now.Add(out.RetryAfter); now.Before(b.until) {
		// Sent before the breaker opened: the same trouble, and not more of it.
		if asked.After(b.until) {
			b.until = asked
		}
		return false
	}
	b.failures++
	off := time.Second << min(b.failures-1, 6)
	off += mathrand.N(off / 4)
	b.until = now.Add(max(min(off, time.Minute), out.RetryAfter))
	b.last = tokenwire.Outcome{Status: out.Status, Code: out.Code, Err: out.Err}
	return false
}

// refusal is what a caller gets while the breaker is open.
func (b *breaker) refusal(wait time.Duration) *WaitError {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reason(wait)
}

// heldBack is the same for whoever only wants to know; nil while the breaker is
// closed. It stays until a refresh has an answer that says otherwise.
func (b *breaker) heldBack(now time.Time) *WaitError {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until.IsZero() {
		return nil
	}
	return b.reason(max(0, b.until.Sub(now)))
}

// reason says why the breaker is open; b.mu is held.
func (b *breaker) reason(wait time.Duration) *WaitError {
	if !b.suspect.IsZero() && b.last.Class == 0 && b.failures == 0 {
		return &WaitError{Reason: WaitSuspect, RetryAfter: wait}
	}
	return &WaitError{Reason: WaitAppWide, Status: b.last.Status, Code: b.last.Code, RetryAfter: wait, Err: b.last.Err}
}
