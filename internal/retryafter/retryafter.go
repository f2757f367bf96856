// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package retryafter reads the Retry-After header of all responses.
package retryafter

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// most is the maximum wait.
const most = time.Hour

// In returns how long a response asks to wait, at most an hour, or 0. A date is
// measured from the response's own Date, so that the system clock is not compared
// with the server's; without a Date it is ignored.
func In(h http.Header) time.Duration {
	asked := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseFloat(asked, 64); err == nil {
		if n >= most.Seconds() {
			return most
		}
		return max(0, time.Duration(n*float64(time.Second)))
	}
	until, err := http.ParseTime(asked)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return min(max(0, until.Sub(now)), most)
}
