// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"slices"
	"time"
)

// Outcome is what a response of the token endpoint proves, or the lack of one.
type Outcome uint8

const (
	OK       Outcome = iota + 1 // a successor
	Rejected                    // the session behind the token has ended
	Unclear                     // refused with an unrecognized error
	AppWide                     // the application is refused, or everybody
	Unsent                      // nothing left the process
	Lost                        // sent, with no proof of what became of it
	Unread                      // whole, unreadable, and perhaps a successor
	Misfit                      // a pair that is of no use here, such as another user type's
)

func (o Outcome) String() string {
	return [...]string{"", "ok", "rejected", "unclear", "app-wide", "not sent", "lost", "unread", "misfit"}[o]
}

// Breaker keeps requests away from a failing token endpoint. It belongs to one
// process. It counts links, not responses, so that one sick link neither opens it
// nor keeps it open. Instants are durations since a fixed instant of the process.
type Breaker struct {
	// Failed lists the different links that failed since the last success.
	Failed []string
	// Streak is how often it opened without a success; it is closed at zero.
	Streak int
	Until  time.Duration
	// Probe is the one link that may ask while it is open. Ill is set if the probe's
	// last request failed too: a link whose last request did not fail need not wait
	// for such a probe.
	Probe string
	Ill   bool
	// Alone is the only link that was refused for the application, and so opened it.
	// It waits until Own, and so do links whose last request failed. The others wait
	// until Until: one of them finds out whether the application is refused or the
	// link is.
	Alone string
	Own   time.Duration
	// Refused lists the different links whose untried token was rejected since the
	// last success. Suspect is when that began to look like a store restored from a
	// backup.
	Refused   []string
	Suspected bool
	Suspect   time.Duration
}

const (
	opensAt      = 3 // this many different links in a row are an outage
	suspiciousAt = 5 // this many different rejected links in a row are no coincidence
	firstOff     = time.Second
	longestOff   = time.Minute
	suspectFor   = 30 * time.Minute
	suspectEvery = time.Minute
	remembered   = 8 // at most this many links
)

// Enter asks to present a token of a link. If ok is false, wait is how long to wait
// before asking again. Every Enter needs a Leave or a Withdraw.
func (b Breaker) Enter(link string, now time.Duration) (_ Breaker, wait time.Duration, ok bool) {
	until := b.Until
	if b.Alone == link {
		until = b.Own
	}
	return b.enter(link, now, until, false)
}

// Reenter is Enter for a link whose last request failed: its next failure is no news
// about the server, and holds no other link back.
func (b Breaker) Reenter(link string, now time.Duration) (_ Breaker, wait time.Duration, ok bool) {
	return b.enter(link, now, max(b.Until, b.Own), true)
}

func (b Breaker) enter(link string, now, until time.Duration, ill bool) (_ Breaker, wait time.Duration, ok bool) {
	switch {
	case !b.Open():
		return b, 0, true
	case until > now:
		return b, until - now, false
	case b.Probe != "" && b.Probe != link && b.Probe != b.Alone && (ill || !b.Ill):
		return b, firstOff, false
	}
	b.Probe, b.Ill = link, ill
	return b, 0, true
}

// Open reports whether requests are kept away.
func (b Breaker) Open() bool { return b.Streak > 0 || b.Suspected }

// Withdraw is Leave for a link that presented nothing.
func (b Breaker) Withdraw(link string) Breaker {
	if b.Probe == link {
		b.Probe, b.Ill = "", false
	}
	return b
}

// Left is the outcome of a presentation.
type Left struct {
	Outcome    Outcome
	RetryAfter time.Duration
	// Untried means that the token was presented for the first time, so that nothing
	// known explains a rejection.
	Untried bool
	// Again means that the link's last request failed as well.
	Again bool
	// Spread lengthens the wait, so that processes do not ask at the same time.
	Spread time.Duration
}

// Leave reports the outcome. suspicious is true when all tokens in the store begin
// to look spent.
func (b Breaker) Leave(link string, now time.Duration, l Left) (_ Breaker, suspicious bool) {
	probed := b.Probe == link && b.Open()
	b = b.Withdraw(link)
	switch l.Outcome {
	case OK, Unread, Misfit:
		return Breaker{}, false
	case Rejected:
		return b.rejected(link, now, l)
	case AppWide:
		return b.barred(link, now, l, probed), false
	}
	return b.failed(link, now, l, probed), false
}

// barred handles a refusal of the application. Until a second link has received it
// too, the others wait for a moment only, whatever Retry-After this one was sent.
func (b Breaker) barred(link string, now time.Duration, l Left, probed bool) Breaker {
	n := b.trip(link, now, l, probed)
	switch {
	case b.Streak == 0:
		n.Alone, n.Own = link, n.Until
		n.Until = max(b.Until, now+firstOff+min(l.Spread, firstOff/4))
	case b.Alone != link:
		n.Until, n.Alone, n.Own = max(n.Until, b.Own), "", 0
	}
	return n
}

// failed counts a link. A link that is counted already, or whose last request
// failed, is no news: it neither opens the breaker nor keeps it open.
func (b Breaker) failed(link string, now time.Duration, l Left, probed bool) Breaker {
	if l.Again && !probed {
		return b
	}
	if !slices.Contains(b.Failed, link) {
		b.Failed = add(b.Failed, link)
	} else if !probed {
		return b
	}
	if len(b.Failed) < opensAt && b.Streak == 0 {
		return b
	}
	return b.trip(link, now, l, probed)
}

// trip opens the breaker, or extends it when the probe failed. A failure of a
// request from before it opened is the same trouble, not more of it. The link that
// opened it alone lengthens only its own wait, and a link whose last request failed
// only the wait of its like.
func (b Breaker) trip(link string, now time.Duration, l Left, probed bool) Breaker {
	until := &b.Until
	if b.Alone == link || l.Again && l.Outcome != AppWide {
		until = &b.Own
	}
	if b.Streak > 0 && !probed {
		*until = max(*until, now+min(l.RetryAfter, time.Hour))
		return b
	}
	b.Streak = min(b.Streak+1, 7)
	off := min(firstOff<<(b.Streak-1), longestOff)
	*until = now + max(off+min(l.Spread, off/4), l.RetryAfter)
	return b
}

// rejected handles a rejection: the endpoint judges tokens, so it works. Many in a
// row mean that the tokens in the store are old, and each one presented ends a
// session.
func (b Breaker) rejected(link string, now time.Duration, l Left) (_ Breaker, suspicious bool) {
	n := Breaker{Refused: b.Refused, Suspected: b.Suspected, Suspect: b.Suspect}
	if !l.Untried {
		if n.Suspected {
			n.Until = b.Until
		}
		return n, false
	}
	if !slices.Contains(n.Refused, link) {
		n.Refused = add(n.Refused, link)
	}
	if len(n.Refused) < suspiciousAt {
		return n, false
	}
	if !n.Suspected {
		n.Suspected, n.Suspect, suspicious = true, now, true
	}
	if now-n.Suspect >= suspectFor {
		return Breaker{}, false
	}
	n.Until = now + suspectEvery
	return n, suspicious
}

// add appends without changing the slice that was given.
func add(links []string, link string) []string {
	if len(links) >= remembered {
		return links
	}
	return append(slices.Clone(links), link)
}

// Evidence is what one process knows when a link is refused.
type Evidence struct {
	// Witnessed means that another link succeeded in this process since the previous
	// try of this link.
	Witnessed bool
	// AppWide means that the previous try was refused for the application.
	AppWide bool
	Sick    int // links refused lately, including this one
	Well    int // other links served since this one was first refused
	// Flaps means that one of the sick links was served since. A server that accepts
	// today what it refused a moment ago proves little about one link.
	Flaps bool
	// Green means that this process has not watched this link for long. It then
	// knows few of the sick links: perhaps two of a hundred.
	Green bool
}

// Few reports whether so few links are refused with unrecognized errors that the fault is
// theirs and not the server's: at most two, or at most one for ten others that were
// served meanwhile.
func (e Evidence) Few() bool {
	return !e.Green && (e.Sick <= 2 && !e.Flaps || e.Well >= e.Enough())
}

// Enough is the number of other links that must be served for Few.
func (e Evidence) Enough() int { return 10 * e.Sick }

// Meaning returns what an outcome means given the evidence: a refusal of the
// application, while the same application is served for another link, is about this
// link.
func (e Evidence) Meaning(o Outcome) Outcome {
	if o == AppWide && e.AppWide && e.Witnessed {
		return Unclear
	}
	return o
}
