// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
	"strings"
	"time"
)

// Date is a calendar day without a time of day or a zone, in the form of ISO 8601:
// 2000-02-29. It is plain text, so it can be encoded, stored, and compared with ==.
// "" is no date.
type Date string

// ParseDate parses a date of the form 2000-02-29.
func ParseDate(s string) (Date, error) {
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		return "", errors.New("identity: not a date of the form 2000-02-29")
	}
	return Date(s), nil
}

// Time returns the beginning of the day in loc, or the zero time for no date.
func (d Date) Time(loc *time.Location) time.Time {
	t, err := time.ParseInLocation(time.DateOnly, string(d), loc)
	if err != nil {
		return time.Time{}
	}
	return t
}

func (d Date) valid() bool {
	_, err := ParseDate(string(d))
	return err == nil
}

// readDate reads a date of PKB's, and the date of a date and time.
func readDate(s string) Date {
	s = strings.TrimSpace(s)
	n := len(time.DateOnly)
	if len(s) < n {
		return ""
	}
	if isTimeOfDay(s[n:]) {
		s = s[:n]
	}
	d, _ := ParseDate(s)
	return d
}

// isTimeOfDay reports whether s, which follows a date, begins as a time or a zone
// does: "T10:00:00Z", " 00:00:00.0", "Z", "+01:00".
func isTimeOfDay(s string) bool {
	if s == "Z" {
		return true
	}
	return len(s) > 1 && strings.IndexByte("T +-", s[0]) >= 0 && s[1] >= '0' && s[1] <= '9'
}
