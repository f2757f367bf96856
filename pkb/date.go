// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"errors"
	"time"
)

// Date is a day in the calendar, without a time of day or a zone: a date of
// birth. It prints as [redacted]; ISO and Time give the day. The zero Date means
// that PKB sent none that could be read.
//
// Compare dates with Equal, not with ==.
type Date struct{ concealed } // as ISO 8601 writes it: fmt follows a pointer to a time.Time, and not one to a string

// ParseDate reads a date of the form 2000-02-29.
func ParseDate(s string) (Date, error) {
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		return Date{}, errors.New("pkb: not a date of the form 2000-02-29; host's turn: write it that way")
	}
	return Date{conceal(s)}, nil
}

// IsZero reports whether there is no date.
func (d Date) IsZero() bool { return d.text == nil }

// ISO returns the date as 2000-02-29, or "".
func (d Date) ISO() string { return d.reveal() }

// Time returns the beginning of the day in loc; the zero time for no date.
func (d Date) Time(loc *time.Location) time.Time {
	if d.IsZero() {
		return time.Time{}
	}
	t, err := time.ParseInLocation(time.DateOnly, d.ISO(), loc)
	if err != nil { // not of a Date that ParseDate made
		return time.Time{}
	}
	return t
}

// Equal reports whether both are the same day, or none.
func (d Date) Equal(o Date) bool { return d.ISO() == o.ISO() }

// readDate reads what PKB sends: a date, or a date and time of which the date
// counts.
func readDate(s string) Date {
	if len(s) > len(time.DateOnly) && s[len(time.DateOnly)] == 'T' {
		s = s[:len(time.DateOnly)]
	}
	if s == "" {
		return Date{}
	}
	d, _ := ParseDate(s)
	return d
}
