// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The bar is drawn ten times a second at most, and is gone at the end.
func TestBar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, out := onTerminal(120, nil)
		c.meter.clear()
		c.meter.bar(newProgress(50, 200, 10*time.Second), "50 copied")
		c.meter.bar(newProgress(51, 200, 10*time.Second), "51 copied")
		time.Sleep(often)
		c.meter.bar(newProgress(100, 200, 20*time.Second), "100 copied")
		c.meter.clear()
		c.meter.clear()
		want := "\r\x1b[K[######..................]  25 %  50 of 200  50 copied  5/s, 30s left" +
			"\r\x1b[K[############............]  50 %  100 of 200  100 copied  5/s, 20s left" +
			"\r\x1b[K"
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestBarIsForPeople(t *testing.T) {
	c, out := onTerminal(40, nil)
	c.meter.bar(newProgress(50, 200, 10*time.Second), strings.Repeat("long ", 20))
	if n := columns(strings.TrimPrefix(out.String(), "\r\x1b[K")); n > 39 {
		t.Errorf("the bar is %d columns wide, and the terminal 40", n)
	}
	c, out = onTerminal(80, nil)
	c.watched = false
	c.meter.bar(newProgress(50, 200, 10*time.Second), "50 copied")
	c.meter.clear()
	if out.Len() > 0 {
		t.Errorf("nobody is there to see %q", out)
	}
}

// Reading is silent unless it takes long.
func TestReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, out := onTerminal(80, nil)
		show := c.meter.reading()
		show(500)
		if out.Len() > 0 {
			t.Errorf("after no time: %q", out)
		}
		time.Sleep(patience + 1)
		show(1000)
		if diff := cmp.Diff("\r\x1b[Kreading the links: 1000", out.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
