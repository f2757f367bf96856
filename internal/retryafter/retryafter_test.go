// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package retryafter_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/retryafter"
)

func TestIn(t *testing.T) {
	const date = "Sat, 28 Nov 2026 10:00:00 GMT"
	for _, tc := range []struct {
		asked, date string
		want        time.Duration
	}{
		{"3", "", 3 * time.Second}, {" 7 ", "", 7 * time.Second}, {"0", "", 0}, {"1.5", "", 1500 * time.Millisecond},
		{"", "", 0}, {"-1", "", 0}, {"soon", date, 0}, {"NaN", "", 0}, {"-Inf", "", 0},
		{"3600", "", time.Hour}, {"9223372036854775807", "", time.Hour}, {"1e300", "", time.Hour}, {"Inf", "", time.Hour},
		{"Sat, 28 Nov 2026 10:00:30 GMT", date, 30 * time.Second},
		{"Sat, 28 Nov 2026 09:59:00 GMT", date, 0},
		{"Sun, 29 Nov 2026 10:00:00 GMT", date, time.Hour},
		{"Sat, 28 Nov 2026 10:00:30 GMT", "", 0},
		{"Sat, 28 Nov 2026 10:00:30 GMT", "yesterday", 0},
	} {
		h := http.Header{"Retry-After": {tc.asked}, "Date": {tc.date}}
		if got := retryafter.In(h); got != tc.want {
			t.Errorf("%q at %q: %v, want %v", tc.asked, tc.date, got, tc.want)
		}
	}
	if got := retryafter.In(nil); got != 0 {
		t.Errorf("no header: %v", got)
	}
}
