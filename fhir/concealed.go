// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// concealed is a text behind a pointer: a printer that walks unexported fields
// by reflection finds an address and not the text.
type concealed struct {
	Redacted
	text *string
}

func conceal(s string) concealed {
	if s == "" {
		return concealed{}
	}
	return concealed{text: &s}
}

func (c concealed) reveal() string {
	if c.text == nil {
		return ""
	}
	return *c.text
}

// read takes a JSON string; a number or boolean as it is written, anything else
// as nothing.
func (c *concealed) read(data []byte) {
	switch data[0] {
	case '"':
		var s string
		_ = json.Unmarshal(data, &s) // it is a string
		*c = conceal(s)
	case '{', '[', 'n':
		*c = concealed{}
	default:
		*c = conceal(string(data))
	}
}

// DateTime is one of FHIR's dates and times: a year, a month, a day, or an
// instant. It prints as [redacted]; Reveal and Time give it. The zero DateTime
// means that none came.
//
// Compare with Equal, not with ==.
type DateTime struct{ concealed }

// UnmarshalJSON implements json.Unmarshaler. It never fails: what is no date is
// kept, and has no Time.
func (d *DateTime) UnmarshalJSON(data []byte) error {
	d.read(data)
	return nil
}

// Reveal returns the text as it came.
func (d DateTime) Reveal() string { return d.reveal() }

// IsZero reports whether none came.
func (d DateTime) IsZero() bool { return d.text == nil }

// Equal reports whether both have the same text.
func (d DateTime) Equal(o DateTime) bool { return d.reveal() == o.reveal() }

// Precision is how exact a DateTime is.
type Precision int

// The precisions of a DateTime.
const (
	NoPrecision Precision = iota // it cannot be read
	ToYear
	ToMonth
	ToDay
	ToInstant
)

// dateTimes are the forms of FHIR, and the last one for servers that leave the
// zone away.
var dateTimes = []struct {
	layout    string
	precision Precision
}{
	{"2006", ToYear}, {"2006-01", ToMonth}, {time.DateOnly, ToDay}, {time.RFC3339, ToInstant}, {"2006-01-02T15:04:05", ToInstant},
}

// Time returns the beginning of the year, month or day in loc, or the instant,
// and which of them it is; NoPrecision for what cannot be read.
func (d DateTime) Time(loc *time.Location) (time.Time, Precision) {
	s := strings.TrimSpace(d.reveal())
	for _, form := range dateTimes {
		if t, err := time.ParseInLocation(form.layout, s, loc); err == nil {
			return t, form.precision
		}
	}
	return time.Time{}, NoPrecision
}

// Boolean is true, false, or nothing. It prints as [redacted]; Bool gives it. The
// zero Boolean means that none came.
//
// Compare with Equal, not with ==.
type Boolean struct{ concealed }

// UnmarshalJSON implements json.Unmarshaler. It never fails.
func (b *Boolean) UnmarshalJSON(data []byte) error {
	b.read(data)
	return nil
}

// Bool returns the value; ok is false if none came, or none that is true or
// false.
func (b Boolean) Bool() (value, ok bool) {
	s := b.reveal()
	return s == "true", s == "true" || s == "false"
}

// IsZero reports whether none came. It is false for false.
func (b Boolean) IsZero() bool { return b.text == nil }

// Equal reports whether both are the same.
func (b Boolean) Equal(o Boolean) bool { return b.reveal() == o.reveal() }

// Decimal is a number as it came, with all its digits: 1.50 is not 1.5. It
// prints as [redacted]; Reveal and Float64 give it. The zero Decimal means that
// none came.
//
// Compare with Equal, not with ==.
type Decimal struct{ concealed }

// UnmarshalJSON implements json.Unmarshaler. It never fails.
func (d *Decimal) UnmarshalJSON(data []byte) error {
	d.read(data)
	return nil
}

// Reveal returns the number as it was written.
func (d Decimal) Reveal() string { return d.reveal() }

// IsZero reports whether none came. It is false for the number 0.
func (d Decimal) IsZero() bool { return d.text == nil }

// Equal reports whether both are written alike.
func (d Decimal) Equal(o Decimal) bool { return d.reveal() == o.reveal() }

// Float64 returns the nearest float64; ok is false if there is no number, or
// none of that size.
func (d Decimal) Float64() (value float64, ok bool) {
	value, err := strconv.ParseFloat(d.reveal(), 64)
	if err != nil || math.IsInf(value, 0) || math.IsNaN(value) {
		return 0, false
	}
	return value, true
}
