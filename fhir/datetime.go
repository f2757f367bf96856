// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"strings"
	"time"
)

// DateTime is a date, dateTime or instant of FHIR as it was written: a year, a
// month, a day or an instant. It is "" when absent.
type DateTime string

// Precision is how exact a DateTime is.
type Precision int

const (
	NoPrecision Precision = iota // absent, or not of a known form
	ToYear
	ToMonth
	ToDay
	ToInstant
)

// dates are the forms of a date, and clocks and zones those of what follows a day in an
// instant: first those of FHIR, then those of servers that omit the seconds, the colon
// or the minutes in the zone, or the zone.
var (
	dates = []struct {
		layout    string
		precision Precision
	}{{"2006", ToYear}, {"2006-01", ToMonth}, {time.DateOnly, ToDay}}
	clocks = []string{"T15:04:05", "T15:04"}
	zones  = []string{"Z07:00", "Z0700", "Z07", ""}
)

// Time returns the instant, or the beginning of the year, month or day in loc, and
// its precision. The precision is NoPrecision, and the time zero, for text that is
// absent or not of a known form. Forms that FHIR does not have are known, too: no
// seconds, no zone, which then is that of loc, or one as +0000 or +00; a space or t in
// place of T; z in place of Z. A leap second is the second after it.
func (d DateTime) Time(loc *time.Location) (time.Time, Precision) {
	s := strings.TrimSpace(string(d))
	const day, second = len(time.DateOnly), len("2006-01-02T15:04:05")
	if len(s) <= day {
		for _, form := range dates {
			if t, err := time.ParseInLocation(form.layout, s, loc); err == nil {
				return t, form.precision
			}
		}
		return time.Time{}, NoPrecision
	}
	if s[day] == ' ' || s[day] == 't' {
		s = s[:day] + "T" + s[day+1:]
	}
	if before, isLower := strings.CutSuffix(s, "z"); isLower {
		s = before + "Z"
	}
	var leap time.Duration
	if len(s) >= second && s[second-3:second] == ":60" {
		s, leap = s[:second-3]+":59"+s[second:], time.Second
	}
	for _, clock := range clocks {
		for _, zone := range zones {
			if t, err := time.ParseInLocation(time.DateOnly+clock+zone, s, loc); err == nil {
				return t.Add(leap), ToInstant
			}
		}
	}
	return time.Time{}, NoPrecision
}
