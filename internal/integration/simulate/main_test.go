// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
)

// Ours loses nothing that can be kept; and the simulation sees what loses a link
// where that is lost.
func TestSimulate(t *testing.T) {
	var table strings.Builder
	f := simulate(t, &table, 6000, 1, 0)
	if !f.ok() || f.Refreshes < 6000 || f.PostsPerExpiry > 1.1 || f.Notices < 300 || f.DeliveredAgain == 0 {
		t.Errorf("%+v\n%s", f, table.String())
	}
	for _, want := range []struct {
		design string
		why    reason
	}{
		{"map of mutexes", byRace},
		{"lease row, replicas' time", byClock},
		{"lease row, database's time", byWording},
	} {
		i := slices.IndexFunc(designs, func(d design) bool { return d.name == want.design })
		if peer := run(t, designs[i], 2500, 1, 0); peer.lost[want.why] == 0 {
			t.Errorf("%s must lose links so, and has lost none: %+v", want.design, peer)
		}
	}
	forgetful := design{name: "ours, for a host that forgets", ours: true, start: func(p *process) keeper {
		return startWith(p, func(context.Context, custody.Notice) error { return nil })
	}}
	if got := run(t, forgetful, 1000, 1, 0); got.untold == 0 || got.told > 0 {
		t.Errorf("a host that forgets has taken %d notices and lost %d", got.told, got.untold)
	}
}

// A time whose two readings differ, as package time itself never makes one.
func TestInstant(t *testing.T) {
	wall := time.Date(2026, 3, 1, 1, 2, 3, 4, time.UTC)
	a, b := instant(wall, 5*time.Second), instant(wall.Add(time.Hour), 7*time.Second)
	if !a.Round(0).Equal(wall) || a.UnixNano() != wall.UnixNano() {
		t.Errorf("the wall clock reads %v, want %v", a, wall)
	}
	if d := b.Sub(a); d != 2*time.Second {
		t.Errorf("the monotonic clock went on by %v, want 2s", d)
	}
	if d := b.Round(0).Sub(a.Round(0)); d != time.Hour {
		t.Errorf("the wall clock went on by %v, want an hour", d)
	}
}

// A machine that was suspended: its wall clock went on, its monotonic one did not.
func TestSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(0)
		before := c.now()
		c.halt(time.Hour, true)
		time.Sleep(90 * time.Minute)
		after := c.now()
		if d := after.Sub(before); d != 30*time.Minute {
			t.Errorf("the monotonic clock went on by %v, want 30m", d)
		}
		if d := after.Round(0).Sub(before.Round(0)); d != 90*time.Minute {
			t.Errorf("the wall clock went on by %v, want 90m", d)
		}
	})
}

// Whoever stood still is to blame, whichever of the two the server saw first, unless
// the other one could have known.
func TestJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{began: time.Now()}
		one, other := &process{world: w, clock: newClock(0)}, &process{world: w, clock: newClock(0)}
		at := func(after time.Duration) time.Time { return w.began.Add(after) }
		for name, tc := range map[string]struct {
			first, again post
			want         reason
		}{
			"nothing was wrong": {post{looked: at(1), at: at(2)}, post{looked: at(3), at: at(4)}, byRace},
			"the second stood still": {
				post{looked: at(3), at: at(4), saved: at(5)}, post{looked: at(1), at: at(6), overslept: true}, byPause,
			},
			"the first stood still, and went on before the second": {
				post{looked: at(1), at: at(6), overslept: true}, post{looked: at(5), at: at(7)}, byPause,
			},
			"the first stood still, and saved before the second sent": {
				post{looked: at(1), at: at(6), overslept: true, saved: at(7)}, post{looked: at(5), at: at(8)}, byPause,
			},
			"the first stood still, and the second looked after it had saved": {
				post{looked: at(1), at: at(4), overslept: true, saved: at(5)}, post{looked: at(6), at: at(7)}, byRace,
			},
		} {
			tc.first.from, tc.again.from = one, other
			v := &server{tally: &tally{}}
			if got := v.judge(&session{last: &tc.first}, &tc.again); got != tc.want {
				t.Errorf("%s: %v, want %v", name, got, tc.want)
			}
		}
	})
}
