// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
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
	if len(s) > len(time.DateOnly) && s[len(time.DateOnly)] == 'T' {
		s = s[:len(time.DateOnly)]
	}
	d, _ := ParseDate(s)
	return d
}
