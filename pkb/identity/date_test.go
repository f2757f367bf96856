// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"strings"
	"testing"
	"time"
)

func TestParseDate(t *testing.T) {
	for _, s := range []string{"2000-02-29", "1899-12-31", "2024-01-01"} {
		if d, err := ParseDate(s); err != nil || string(d) != s {
			t.Errorf("%s: %q, %v", s, d, err)
		}
	}
	for _, s := range []string{"", "2001-02-29", "2000-2-29", "29/02/2000", "2000-02-29 ", "2000-02-29T00:00:00Z", "20000229", "0000-00-00", "12000-01-01", "canary"} {
		d, err := ParseDate(s)
		if err == nil || d != "" {
			t.Errorf("%q: %q, %v, want an error", s, d, err)
		} else if s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("%q is in the error", s)
		}
	}
}

func TestDateHasATime(t *testing.T) {
	east := time.FixedZone("east", 9*60*60)
	if got := Date("2000-02-29").Time(east); !got.Equal(time.Date(2000, 2, 29, 0, 0, 0, 0, east)) || got.Location() != east {
		t.Errorf("Time = %v", got)
	}
	for _, none := range []Date{"", "29/02/2000"} {
		if !none.Time(time.UTC).IsZero() {
			t.Errorf("%q has a time", none)
		}
	}
}

func FuzzParseDate(f *testing.F) {
	for _, seed := range []string{"2000-02-29", "2001-02-29", "0000-01-01", "", "2000-02-29T10:00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDate(s)
		if (err == nil) != (string(d) == s && d != "") {
			t.Errorf("%q: %q, %v", s, d, err)
		}
	})
}
