// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"time"

	"github.com/betawerk/pkb-go/internal/jsonwalk"
)

// LastDataPoint decodes the response of PKB's operation date-of-last-data-point. It
// returns the newest time in it, and whether there is one; or [ErrMalformed],
// [ErrResourceType], or [ErrDateTime] for a time that cannot be parsed.
//
// PKB's example is not FHIR: the time is a member lastRecordUpdate next to a part's
// valueIdentifier. It is found there and, as FHIR would have it, in the value of a
// part or parameter with the name lastRecordUpdate.
//
// (PKB: date-of-last-data-point; Facade: Examples.)
func LastDataPoint(data []byte) (newest time.Time, found bool, err error) {
	var (
		k     kinds
		times []DateTime
	)
	_, err = whole(data, func(w *jsonwalk.Walk, name []byte) {
		switch string(name) {
		case "resourceType":
			k.member(w, name)
		case "parameter":
			w.Each(func() { updatesAt(w, &times) })
		}
	})
	if err != nil {
		return time.Time{}, false, err
	}
	if k.kind() != "Parameters" {
		return time.Time{}, false, &ResourceTypeError{Want: "Parameters", Got: k.kind()}
	}
	for _, sent := range times {
		if sent == "" {
			continue
		}
		t, precision := sent.Time(time.UTC)
		if precision == NoPrecision {
			return time.Time{}, false, ErrDateTime
		}
		if !found || t.After(newest) {
			newest, found = t, true
		}
	}
	return newest, found, nil
}

// updatesAt walks through a parameter and adds the times in it and in its parts.
func updatesAt(w *jsonwalk.Walk, times *[]DateTime) {
	const update = "lastRecordUpdate"
	var (
		called string
		values []DateTime // by name only once the name is known
	)
	read := func() DateTime { return DateTime(w.Scalar()) }
	w.Object(func(name []byte) {
		switch string(name) {
		case "name":
			called = w.Text()
		case update:
			*times = append(*times, read())
		case "valueDateTime", "valueInstant", "valueDate", "valueString":
			values = append(values, read())
		case "part":
			w.Each(func() { updatesAt(w, times) })
		}
	})
	if called == update {
		*times = append(*times, values...)
	}
}
