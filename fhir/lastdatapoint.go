// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import "time"

// LastDataPoint reads the answer of PKB's operation date-of-last-data-point: the
// newest time in it, and whether there is one. It returns ErrMalformed,
// ErrResourceType, or ErrDateTime for a time that cannot be read.
//
// PKB's example is not FHIR: the time is a member lastRecordUpdate beside a
// part's valueIdentifier. It is found there, and, as FHIR would have it, in a
// value of a part or parameter that is called lastRecordUpdate.
//
// (PKB: date-of-last-data-point; Facade: Examples.)
func LastDataPoint(data []byte) (newest time.Time, found bool, err error) {
	data, err = object(data)
	if err != nil {
		return time.Time{}, false, err
	}
	if kind := kindOf(data); kind != "Parameters" {
		return time.Time{}, false, &ResourceTypeError{Want: "Parameters", Got: kind}
	}
	see := func(value []byte) {
		var sent DateTime
		sent.read(value)
		if sent.IsZero() {
			return
		}
		t, precision := sent.Time(time.UTC)
		switch {
		case precision == NoPrecision:
			err = ErrDateTime
		case !found || t.After(newest):
			newest, found = t, true
		}
	}
	eachMember(data, func(name, value []byte) {
		if string(name) == "parameter" {
			eachElement(value, func(e []byte) { eachUpdate(e, see) })
		}
	})
	if err != nil {
		return time.Time{}, false, err
	}
	return newest, found, nil
}

// eachUpdate finds the times in a parameter and its parts.
func eachUpdate(parameter []byte, see func(value []byte)) {
	const update = "lastRecordUpdate"
	called := ""
	eachMember(parameter, func(name, value []byte) {
		if string(name) == "name" {
			called = unquote(value)
		}
	})
	eachMember(parameter, func(name, value []byte) {
		switch string(name) {
		case update:
			see(value)
		case "valueDateTime", "valueInstant", "valueDate", "valueString":
			if called == update {
				see(value)
			}
		case "part":
			eachElement(value, func(e []byte) { eachUpdate(e, see) })
		}
	})
}
