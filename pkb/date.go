// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Date is a day in the calendar, without a time of day or a zone: a date of
// birth. It prints as [redacted]; ISO and Time give the day. The zero Date means
// that PKB sent none that could be read.
type Date struct{ day *time.Time }

// ParseDate reads a date of the form 2000-02-29.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return Date{}, errors.New("pkb: not a date of the form 2000-02-29")
	}
	return Date{day: &t}, nil
}

// IsZero reports whether there is no date.
func (d Date) IsZero() bool { return d.day == nil }

// ISO returns the date as 2000-02-29, or "".
func (d Date) ISO() string {
	if d.day == nil {
		return ""
	}
	return d.day.Format(time.DateOnly)
}

// Time returns the beginning of the day in loc; the zero time for no date.
func (d Date) Time(loc *time.Location) time.Time {
	if d.day == nil {
		return time.Time{}
	}
	return time.Date(d.day.Year(), d.day.Month(), d.day.Day(), 0, 0, 0, 0, loc)
}

// Equal reports whether both are the same day, or none.
func (d Date) Equal(o Date) bool { return d.ISO() == o.ISO() }

// readDate reads what PKB sends: a date, or a date and time of which the date
// counts.
func readDate(s string) Date {
	if len(s) > len(time.DateOnly) && s[len(time.DateOnly)] == 'T' {
		s = s[:len(time.DateOnly)]
	}
	d, _ := ParseDate(s)
	return d
}

// Format implements fmt.Formatter.
func (Date) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String implements fmt.Stringer.
func (Date) String() string { return redacted }

// LogValue implements slog.LogValuer.
func (Date) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler.
func (Date) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
