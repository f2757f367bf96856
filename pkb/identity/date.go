// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
	"time"
)

// Date is a day in the calendar, without a time of day or a zone, as ISO 8601
// writes it: 2000-02-29. It is plain text, so it encodes, compares with == and is
// kept in a column as it is. "" is no date.
type Date string

// ParseDate reads a date of the form 2000-02-29.
func ParseDate(s string) (Date, error) {
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		return "", errors.New("identity: not a date of the form 2000-02-29")
	}
	return Date(s), nil
}

// Time returns the beginning of the day in loc; the zero time for no date.
func (d Date) Time(loc *time.Location) time.Time {
	t, err := time.ParseInLocation(time.DateOnly, string(d), loc)
	if err != nil {
		return time.Time{}
	}
	return t
}

// valid reports whether d is a day of the calendar.
func (d Date) valid() bool {
	_, err := ParseDate(string(d))
	return err == nil
}

// readDate reads what PKB sends: a date, or a date and time of which the date
// counts.
func readDate(s string) Date {
	if len(s) > len(time.DateOnly) && s[len(time.DateOnly)] == 'T' {
		s = s[:len(time.DateOnly)]
	}
	d, _ := ParseDate(s)
	return d
}
