// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"container/list"
	"maps"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/internal/tokenwire"
)

// endpoint is what this process has seen of the token endpoint: the breaker, and
// which links are refused with an unrecognized error while others are served. The
// core judges; this remembers.
type endpoint struct {
	mu      sync.Mutex
	since   time.Time // the instant from which the breaker counts
	breaker core.Breaker
	last    tokenwire.Outcome // the reason for an open breaker
	served  int               // successes so far
	lately  lately
	refused map[string]refusal
	// others are links whose records count refusals, whichever process met them. A
	// link stays with the process that was refused, because that one is the first to
	// ask again, so each process alone sees few of them.
	others map[string]sighting
}

// sighting is when a record was seen to count refusals.
type sighting struct {
	at   time.Time
	over bool // a later one counted none: the link was served
}

// refusal is a link's latest one.
type refusal struct {
	served  int // how many successes there were by then
	first   int // and by the first of the refusals in a row
	appWide bool
	over    bool // the link was served since
	flaps   bool // it was served between two refusals
	at      time.Time
	since   time.Time // the first of the refusals in a row
}

// refusalsLast is how long a link counts as refused that is not asked about any
// more, or that is served again.
const refusalsLast = time.Hour

// watchFirst is how long this process must have watched a link being refused before
// it may call the link at fault: until then it has seen few of the other refusals.
const watchFirst = time.Hour

func (e *endpoint) elapsed(now time.Time) time.Duration {
	if e.since.IsZero() {
		e.since = now
	}
	return most(e.since, now)
}

// enter asks to present a token of a user's link. again means that the outcome of an
// earlier presentation is unknown.
func (e *endpoint) enter(user string, now time.Time, again bool) (wait time.Duration, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if again || e.ill(user) {
		e.breaker, wait, ok = e.breaker.Reenter(user, e.elapsed(now))
	} else {
		e.breaker, wait, ok = e.breaker.Enter(user, e.elapsed(now))
	}
	return wait, ok
}

// ill reports whether a link's last request was refused, with an unrecognized error
// or for the application; e.mu is held.
func (e *endpoint) ill(user string) bool {
	r, before := e.refused[user]
	return before && !r.over
}

// withdraw reports that nothing was presented.
func (e *endpoint) withdraw(user string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.breaker = e.breaker.Withdraw(user)
}

func (e *endpoint) evidence(user string, now time.Time) core.Evidence {
	e.mu.Lock()
	defer e.mu.Unlock()
	mine := e.refused[user]
	before := e.ill(user)
	if !before {
		mine = refusal{first: e.served, since: now}
	}
	ev := core.Evidence{
		Witnessed: before && e.served > mine.served, AppWide: mine.appWide, Sick: 1, Green: now.Sub(mine.since) < watchFirst,
	}
	e.forget(now)
	for u, r := range e.refused {
		if u != user {
			ev.Sick++
			ev.Flaps = ev.Flaps || r.over || r.flaps
		}
	}
	for u, s := range e.others {
		if _, counted := e.refused[u]; u != user && !counted {
			ev.Sick++
			ev.Flaps = ev.Flaps || s.over
		}
	}
	ev.Well = e.lately.since(mine.first, user, ev.Enough())
	return ev
}

// forget drops what was a while ago, by the monotonic clock: a step of the wall clock
// must not make links forgotten. e.mu is held.
func (e *endpoint) forget(now time.Time) {
	maps.DeleteFunc(e.refused, func(_ string, r refusal) bool { return now.Sub(r.at) > refusalsLast })
	maps.DeleteFunc(e.others, func(_ string, s sighting) bool { return now.Sub(s.at) > refusalsLast })
}

// saw records whether a record that was loaded counts refusals.
func (e *endpoint) saw(user string, r core.Record, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before, known := e.others[user]
	switch {
	case r.Phase != core.Linked:
		delete(e.others, user)
	case r.Active.Unclear > 0:
		if e.others == nil {
			e.others = map[string]sighting{}
		}
		e.others[user] = sighting{at: now}
	case known && !before.over:
		e.others[user] = sighting{at: before.at, over: true}
	}
}

// leave records the outcome of a presentation. untried means that nothing known
// explains a rejection; again is as for enter. suspicious is true when the tokens in
// the store look old.
func (e *endpoint) leave(user string, now time.Time, out tokenwire.Outcome, means core.Outcome, untried, again bool) (suspicious bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	again = again || e.ill(user)
	switch means {
	case core.OK:
		e.served++
		e.lately.add(user, e.served)
		if r, before := e.refused[user]; before {
			r.over = true
			e.refused[user] = r
		}
	case core.Unclear, core.AppWide:
		mine := e.refused[user]
		if !e.ill(user) {
			mine = refusal{first: e.served, since: now, flaps: mine.over && least(mine.at, now) <= refusalsLast}
		}
		mine.served, mine.appWide, mine.at = e.served, outcomeOf(out) == core.AppWide, now
		if e.refused == nil {
			e.refused = map[string]refusal{}
		}
		e.refused[user] = mine
	case core.Rejected, core.Unread:
		delete(e.refused, user)
	}
	e.breaker, suspicious = e.breaker.Leave(user, e.elapsed(now), core.Left{
		Outcome: means, RetryAfter: out.RetryAfter, Untried: untried, Again: again, Spread: mathrand.N(longestSpread),
	})
	e.last = tokenwire.Outcome{Status: out.Status, Code: out.Code, Cause: out.Cause, Err: out.Err}
	return suspicious
}

// exchanged records the outcome of a code exchange: a success is a witness.
func (e *endpoint) exchanged(o core.Outcome) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if o == core.OK {
		e.served++
	}
}

// longestSpread bounds the random part of the breaker's waits, so that processes do
// not return at the same time.
const longestSpread = 15 * time.Second

// settle forgets a link that was given up.
func (e *endpoint) settle(user string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.refused, user)
	delete(e.others, user)
}

// heldBack returns why tokens are not presented, or nil.
func (e *endpoint) heldBack(now time.Time) *WaitError {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.breaker.Open() {
		return nil
	}
	wait := max(0, e.breaker.Until-e.elapsed(now))
	if e.breaker.Suspected && e.breaker.Streak == 0 {
		return &WaitError{Reason: WaitSuspect, RetryAfter: wait}
	}
	return &WaitError{Reason: WaitAppWide, Status: e.last.Status, Code: e.last.Code, RetryAfter: wait, Cause: e.last.Cause, Err: e.last.Err}
}

func outcomeOf(out tokenwire.Outcome) core.Outcome {
	switch out.Class {
	case tokenwire.OK:
		return core.OK
	case tokenwire.Rejected:
		return core.Rejected
	case tokenwire.NotSent:
		return core.Unsent
	case tokenwire.AppWide:
		return core.AppWide
	case tokenwire.Unclear:
		return core.Unclear
	case tokenwire.Unread:
		return core.Unread
	}
	return core.Lost
}

// lately holds the links that were served, the latest first; no more than it takes
// to outweigh a hundred that are refused.
type lately struct {
	order list.List
	at    map[string]*list.Element
}

type success struct {
	user string
	n    int // of all successes
}

const latelyMost = 1000

func (l *lately) add(user string, n int) {
	if e := l.at[user]; e != nil {
		e.Value = success{user, n}
		l.order.MoveToFront(e)
		return
	}
	if l.at == nil {
		l.at = map[string]*list.Element{}
	}
	l.at[user] = l.order.PushFront(success{user, n})
	if l.order.Len() > latelyMost {
		delete(l.at, l.order.Remove(l.order.Back()).(success).user)
	}
}

// since counts the links other than but that were served after the nth success, up
// to enough.
func (l *lately) since(n int, but string, enough int) (count int) {
	for e := l.order.Front(); e != nil && count < enough; e = e.Next() {
		s, _ := e.Value.(success)
		if s.n <= n {
			break
		}
		if s.user != but {
			count++
		}
	}
	return count
}
