// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// station is a breaker and the links that are presenting a token, with instants
// counted from now.
type station struct {
	b   core.Breaker
	now time.Duration
	in  []string
}

// name is the same for stations that behave alike.
func (s station) name() string {
	b, suspect := s.b, time.Duration(0)
	if b.Suspected {
		suspect = min(s.now-b.Suspect, suspicion)
	}
	return fmt.Sprint(b.Failed, b.Streak, max(b.Until-s.now, 0), b.Probe, b.Ill, b.Alone, max(b.Own-s.now, 0), b.Refused, b.Suspected, suspect, s.in)
}

// suspicion is longer than a breaker suspects anything.
const suspicion = 40 * time.Minute

// links holds how the endpoint responds to each link's token.
type links map[string][]core.Outcome

// most is how many stations are visited before a walk counts as endless.
const most = 200_000

// walkBreaker visits every station that these links can reach, in whatever order
// they call, with up to together of them presenting at a time.
func walkBreaker(t *testing.T, of links, together int, check func(s station, link string, wait time.Duration, ok bool) string) (visited int) {
	t.Helper()
	seen := map[string]bool{}
	queue := []station{{}}
	push := func(s station) {
		if name := s.name(); !seen[name] {
			seen[name] = true
			queue = append(queue, s)
		}
	}
	names := make([]string, 0, len(of))
	for link := range of {
		names = append(names, link)
	}
	slices.Sort(names)
	for len(queue) > 0 && len(seen) < most {
		s := queue[0]
		queue = queue[1:]
		for _, until := range []time.Duration{s.b.Until, s.b.Own} {
			if until > s.now {
				push(station{s.b, until, s.in}) // time passes
			}
		}
		for _, link := range names {
			at := slices.Index(s.in, link)
			if at < 0 && len(s.in) < together {
				b, wait, ok := s.b.Enter(link, s.now)
				if bad := check(s, link, wait, ok); bad != "" {
					t.Fatalf("%s: link %s, after %d stations: %+v at %v, presenting %v", bad, link, len(seen), s.b, s.now, s.in)
				}
				if ok {
					push(station{b, s.now, append(slices.Clone(s.in), link)})
				}
				continue
			}
			if at < 0 {
				continue
			}
			left := slices.Delete(slices.Clone(s.in), at, at+1)
			push(station{s.b.Withdraw(link), s.now, left})
			for _, o := range of[link] {
				b, _ := s.b.Leave(link, s.now, core.Left{Outcome: o, Untried: true})
				push(station{b, s.now, left})
			}
		}
	}
	if len(queue) > 0 {
		t.Fatalf("%d stations, and no end", len(seen))
	}
	return len(seen)
}

// One link, whatever is wrong with it, holds no other one back: neither when it is
// refused with an unrecognized error, nor when only its requests get lost.
func TestBreakerSparesTheWell(t *testing.T) {
	for _, sick := range [][]core.Outcome{{core.Unclear, core.Lost, core.Unsent}, {core.Rejected}, {core.Unclear, core.Rejected}} {
		of := links{"sick": sick, "a": {core.OK}, "b": {core.OK, core.Unread, core.Misfit}}
		n := walkBreaker(t, of, 1, func(_ station, link string, _ time.Duration, ok bool) string {
			if !ok {
				return "it is held back by a link that is sick on its own"
			}
			return ""
		})
		t.Log(n, "stations")
	}
}

// A link that is refused for the application holds the others back for a moment at a
// time, until one of them finds out that only that link is refused.
func TestBreakerAsksTheWell(t *testing.T) {
	of := links{"sick": {core.AppWide}, "a": {core.OK}, "b": {core.OK}}
	walkBreaker(t, of, 1, func(_ station, link string, wait time.Duration, _ bool) string {
		if link != "sick" && wait > time.Second {
			return "it is held back for long by a link that is sick on its own"
		}
		return ""
	})
}

// A link that is held back learns for how long, which is never long. Once that time
// has passed and nobody is asking, the next may ask.
func TestBreakerLetsSomebodyAsk(t *testing.T) {
	check := func(s station, link string, wait time.Duration, ok bool) string {
		switch {
		case ok:
			return ""
		case wait <= 0:
			return "it is held back with a wait of zero"
		case wait > 2*time.Minute:
			return "it is held back for long"
		case len(s.in) == 0:
			if _, _, ok := s.b.Enter(link, s.now+wait); !ok {
				return "it is held back for longer than the wait that it was given, and nobody asks"
			}
		}
		return ""
	}
	ill := []core.Outcome{core.OK, core.Unclear, core.Lost}
	app := []core.Outcome{core.OK, core.AppWide}
	dead := []core.Outcome{core.OK, core.Rejected}
	for _, of := range []struct {
		links    links
		together int
	}{
		{links{"a": ill, "b": ill, "c": ill, "d": ill}, 2},
		{links{"a": app, "b": app, "c": ill}, 2},
		{links{"a": dead, "b": dead, "c": dead, "d": dead, "e": dead}, 1},
	} {
		n := walkBreaker(t, of.links, of.together, check)
		t.Log(n, "stations")
	}
}

func TestBreaker(t *testing.T) {
	leave := func(b core.Breaker, link string, at time.Duration, o core.Outcome) core.Breaker {
		b, _ = b.Leave(link, at, core.Left{Outcome: o, Untried: true})
		return b
	}
	var b core.Breaker
	for i, link := range []string{"a", "a", "a", "b"} {
		if b = leave(b, link, 0, core.Lost); b.Open() {
			t.Fatalf("open after failure %d, of two links", i+1)
		}
	}
	b = leave(b, "c", 0, core.Unclear)
	_, wait, ok := b.Enter("d", 0)
	if ok || wait != time.Second {
		t.Fatalf("an outage of three links: %v, %t", wait, ok)
	}
	b, _, ok = b.Enter("d", wait)
	if !ok {
		t.Fatal("nobody may probe")
	}
	if _, _, ok := b.Enter("e", wait); ok {
		t.Error("two probe at a time")
	}
	longer := leave(b, "d", wait, core.Lost)
	if _, w, ok := longer.Enter("e", wait); ok || w != 2*time.Second {
		t.Errorf("after a probe that failed: %v, %t", w, ok)
	}
	if same := leave(longer, "a", wait, core.Lost); same.Until != longer.Until || same.Streak != longer.Streak {
		t.Error("a link that is counted prolongs it")
	}
	for _, o := range []core.Outcome{core.OK, core.Unread, core.Misfit, core.Rejected} {
		if leave(b, "d", wait, o).Open() {
			t.Errorf("%v does not close it", o)
		}
	}
	if b := leave(core.Breaker{}, "a", 0, core.AppWide); !b.Open() {
		t.Error("a refusal of the application does not open it")
	}
	for range 12 {
		at := b.Until
		b.Probe = "d"
		if b = leave(b, "d", at, core.Lost); b.Until-at > time.Minute {
			t.Fatalf("open for %v", b.Until-at)
		}
	}
}

// A link whose last request failed is no news: it waits for its like, and neither
// opens the breaker nor holds back those whose last request did not fail.
func TestBreakerOfTheIll(t *testing.T) {
	again := core.Left{Outcome: core.Lost, Again: true}
	var b core.Breaker
	for _, link := range []string{"a", "b", "c", "d"} {
		if b, _ = b.Leave(link, 0, again); b.Open() {
			t.Fatal("links that failed before open it")
		}
	}
	for _, link := range []string{"a", "b", "c"} {
		b, _ = b.Leave(link, 0, core.Left{Outcome: core.Lost})
	}
	b, _, ok := b.Reenter("a", time.Second)
	if !ok {
		t.Fatal("a link that failed before may never ask")
	}
	if _, _, ok := b.Reenter("b", time.Second); ok {
		t.Error("two that failed before ask at a time")
	}
	if _, _, ok := b.Enter("well", time.Second); !ok {
		t.Error("a link that did not fail waits for one that did")
	}
	b, _ = b.Leave("a", time.Second, again)
	if _, wait, ok := b.Reenter("b", time.Second); ok || wait <= 0 {
		t.Errorf("its like need not wait: %v, %t", wait, ok)
	}
	if _, wait, ok := b.Enter("well", time.Second); !ok {
		t.Errorf("a link that did not fail waits for %v", wait)
	}
}

// A refusal of the application, received by one link, holds the others back for a
// moment, until a second one receives it too.
func TestBreakerAsksAnother(t *testing.T) {
	told := core.Left{Outcome: core.AppWide, RetryAfter: 10 * time.Minute}
	b, _ := (core.Breaker{}).Leave("a", 0, told)
	if _, wait, ok := b.Enter("a", 0); ok || wait != told.RetryAfter {
		t.Errorf("the link itself waits %v, %t", wait, ok)
	}
	if _, wait, ok := b.Enter("b", 0); ok || wait != time.Second {
		t.Errorf("another one waits %v, %t", wait, ok)
	}
	b, _, _ = b.Enter("b", time.Second)
	served, _ := b.Leave("b", time.Second, core.Left{Outcome: core.OK})
	if served.Open() {
		t.Error("a second link was served, and the others are still held back")
	}
	b, _ = b.Leave("b", time.Second, told)
	if _, wait, ok := b.Enter("c", time.Second); ok || wait != told.RetryAfter {
		t.Errorf("two links were refused, and a third waits %v, %t", wait, ok)
	}
}

// A store that was restored from a backup has old tokens, and each one that is
// presented ends a session.
func TestManyRejectedLinks(t *testing.T) {
	var b core.Breaker
	suspicious := false
	for i := range 5 {
		if b.Open() || suspicious {
			t.Fatalf("suspicious after %d", i)
		}
		b, suspicious = b.Leave(fmt.Sprint(i), 0, core.Left{Outcome: core.Rejected, Untried: true})
	}
	if !suspicious {
		t.Fatal("five rejected links in a row are not suspicious")
	}
	if _, wait, ok := b.Enter("x", 0); ok || wait != time.Minute {
		t.Errorf("%v, %t", wait, ok)
	}
	probed, _, _ := b.Enter("x", time.Minute)
	if again, news := probed.Leave("x", time.Minute, core.Left{Outcome: core.Rejected, Untried: true}); news || again.Until != 2*time.Minute {
		t.Errorf("after one more: %+v, %t", again, news)
	}
	if probed, _ = probed.Leave("x", time.Minute, core.Left{Outcome: core.OK}); probed.Open() {
		t.Error("a link that is served does not end the suspicion")
	}
	probed, _, _ = b.Enter("x", 31*time.Minute)
	if probed, _ = probed.Leave("x", 31*time.Minute, core.Left{Outcome: core.Rejected, Untried: true}); probed.Open() {
		t.Error("the suspicion never ends")
	}
	b = core.Breaker{}
	for i := range 20 {
		b, suspicious = b.Leave(fmt.Sprint(i), 0, core.Left{Outcome: core.Rejected})
		if b.Open() || suspicious {
			t.Fatal("rejections are suspicious that a lost response explains")
		}
	}
	for range 20 {
		if b, suspicious = b.Leave("one", 0, core.Left{Outcome: core.Rejected, Untried: true}); b.Open() || suspicious {
			t.Fatal("one link is suspicious")
		}
	}
}

func TestEvidence(t *testing.T) {
	for _, of := range []struct {
		e   core.Evidence
		few bool
	}{
		{core.Evidence{Sick: 1}, true}, {core.Evidence{Sick: 2}, true}, {core.Evidence{Sick: 3}, false}, {core.Evidence{Sick: 3, Well: 29}, false},
		{core.Evidence{Sick: 3, Well: 30}, true}, {core.Evidence{Sick: 500, Well: 500}, false},
	} {
		if of.e.Few() != of.few {
			t.Errorf("%+v: few is %t", of.e, !of.few)
		}
	}
	for _, of := range []struct {
		e    core.Evidence
		o    core.Outcome
		want core.Outcome
	}{
		{core.Evidence{}, core.AppWide, core.AppWide}, {core.Evidence{AppWide: true}, core.AppWide, core.AppWide},
		{core.Evidence{Witnessed: true}, core.AppWide, core.AppWide}, {core.Evidence{Witnessed: true, AppWide: true}, core.AppWide, core.Unclear},
		{core.Evidence{Witnessed: true, AppWide: true}, core.Lost, core.Lost}, {core.Evidence{Witnessed: true, AppWide: true}, core.OK, core.OK},
	} {
		if got := of.e.Meaning(of.o); got != of.want {
			t.Errorf("%+v: %v means %v, want %v", of.e, of.o, got, of.want)
		}
	}
}
