// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core

import (
	"slices"
	"time"
)

// Outcome is what a response of the token endpoint proves, or the lack of one.
type Outcome uint8

// The outcomes.
const (
	OK       Outcome = iota + 1 // a successor
	Rejected                    // the session behind the token has ended
	Unclear                     // refused, in words that nobody knows
	AppWide                     // the application is refused, or everybody
	Unsent                      // nothing left the process
	Lost                        // sent, and nothing proves what became of it
	Unread                      // whole, unreadable, and perhaps a successor
	Misfit                      // a pair that is of no use here, such as another user type's
)

// String implements fmt.Stringer.
func (o Outcome) String() string {
	return [...]string{"", "ok", "rejected", "unclear", "app-wide", "not sent", "lost", "unread", "misfit"}[o]
}

// Breaker keeps requests away from a token endpoint that is in trouble. It is of
// one process, and counts links, not responses: one link, whatever is wrong with
// it, neither opens it nor keeps it open. Instants are durations since any fixed
// one of the process.
type Breaker struct {
	// Failed are the different links that failed with no success since.
	Failed []string
	// Streak is how often it opened without a success; it is closed at zero.
	Streak int
	Until  time.Duration
	// Probe is the link that asks while it is open; one at a time. Ill says that its
	// last request failed as well, so that one whose did not need not wait for it.
	Probe string
	Ill   bool
	// Alone is the link that opened it by being refused for the application, as
	// long as no other one was. It waits until Own, and so do links whose last
	// request failed as well; the others until Until: one of them finds out whether
	// it is about the application, or about the server.
	Alone string
	Own   time.Duration
	// Refused are different links whose untried token was rejected, with none
	// taken in between; Suspect says since when that looks like a store that was
	// restored from a backup.
	Refused   []string
	Suspected bool
	Suspect   time.Duration
}

// The breaker's figures.
const (
	opensAt      = 3 // different links in a row are an outage
	suspiciousAt = 5 // different rejected links in a row are no coincidence
	firstOff     = time.Second
	longestOff   = time.Minute
	suspectFor   = 30 * time.Minute
	suspectEvery = time.Minute
	remembered   = 8 // links, at most
)

// Enter asks to present a token of a link. If it may not be presented, wait is
// how long that is so. Whoever enters must leave.
func (b Breaker) Enter(link string, now time.Duration) (_ Breaker, wait time.Duration, ok bool) {
	until := b.Until
	if b.Alone == link {
		until = b.Own
	}
	return b.enter(link, now, until, false)
}

// Reenter is Enter for a link whose last request failed as well: what becomes of it
// is no news of the server, and holds no other link back.
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

// Withdraw is Leave for whoever presented nothing after all.
func (b Breaker) Withdraw(link string) Breaker {
	if b.Probe == link {
		b.Probe, b.Ill = "", false
	}
	return b
}

// Left is what a presentation came to.
type Left struct {
	Outcome    Outcome
	RetryAfter time.Duration
	// Untried: the token was presented for the first time, so that nothing known
	// explains a rejection.
	Untried bool
	// Again: the link's last request failed as well.
	Again bool
	// Spread lengthens the wait, so that processes do not ask at once.
	Spread time.Duration
}

// Leave reports what came of it. suspicious says that it begins to look as if all
// tokens in the store were spent.
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

// barred: in the server's words, it is not about this link. Until another one has
// heard them too, the others wait for a moment only, whatever this one was asked
// for.
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

// failed counts a link. One that is counted, or whose last request failed as well,
// is no news, neither for opening nor for staying open.
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

// trip opens the breaker, or opens it for longer when the probe failed. What was
// sent before it opened is the same trouble, and not more of it. The link that
// opened it alone makes only itself wait longer, and one whose last request failed
// as well only its like.
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

// rejected: the endpoint judges tokens, so it works. But many in a row mean that
// the tokens are yesterday's, and each one presented ends a session.
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

// add returns links with one more, without changing the slice that was given.
func add(links []string, link string) []string {
	if len(links) >= remembered {
		return links
	}
	return append(slices.Clone(links), link)
}

// Evidence is what one process knows when a link is refused.
type Evidence struct {
	// Witnessed: another link succeeded in this process since its previous try of
	// this link.
	Witnessed bool
	// AppWide: that previous try was refused for the application.
	AppWide bool
	Sick    int // links that were refused lately, this one among them
	Well    int // other links that were served since this one was first refused
	// Flaps: one of the sick was served since. A server that takes today what it
	// refused a moment ago says little about one link.
	Flaps bool
	// Green: this process has not watched this link for long. Of the sick it knows
	// those that came to it since it was started, which may be two of a hundred.
	Green bool
}

// Few reports whether so few links are refused in unknown words that it is about
// them and not about the server: at most two, or at most one for ten others that
// were served meanwhile.
func (e Evidence) Few() bool {
	return !e.Green && (e.Sick <= 2 && !e.Flaps || e.Well >= e.Enough())
}

// Enough is how many others must be served for that.
func (e Evidence) Enough() int { return 10 * e.Sick }

// Meaning returns what an outcome means in its light: a refusal of the
// application, while the same application is served for another link, is about
// this link.
func (e Evidence) Meaning(o Outcome) Outcome {
	if o == AppWide && e.AppWide && e.Witnessed {
		return Unclear
	}
	return o
}
