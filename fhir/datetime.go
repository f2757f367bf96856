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

// dateTimes are the forms of FHIR, followed by those of servers that omit the
// seconds, the colon in the zone or the zone.
var dateTimes = []struct {
	layout    string
	precision Precision
}{
	{"2006", ToYear}, {"2006-01", ToMonth}, {time.DateOnly, ToDay}, {time.RFC3339, ToInstant},
	{"2006-01-02T15:04:05Z0700", ToInstant}, {"2006-01-02T15:04Z07:00", ToInstant}, {"2006-01-02T15:04Z0700", ToInstant},
	{"2006-01-02T15:04:05", ToInstant}, {"2006-01-02T15:04", ToInstant},
}

// Time returns the instant, or the beginning of the year, month or day in loc, and
// its precision. The precision is NoPrecision, and the time zero, for text that is
// absent or not of a known form.
func (d DateTime) Time(loc *time.Location) (time.Time, Precision) {
	s := strings.TrimSpace(string(d))
	for _, form := range dateTimes {
		if t, err := time.ParseInLocation(form.layout, s, loc); err == nil {
			return t, form.precision
		}
	}
	return time.Time{}, NoPrecision
}
