// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package fhir reads the FHIR STU3 (3.0.2) that PKB's Facade sends.
//
// It checks what the samply decoders do not, that a resource is of the type
// asked for, and survives what they do not, codes they do not know. It imports
// no other package of this module.
package fhir

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	models "github.com/samply/golang-fhir-models/fhir-models/fhir"
)

// What can be wrong with a resource. No text repeats what was read.
var (
	// ErrMalformed: not one JSON object.
	ErrMalformed = errors.New("fhir: not a JSON object")
	// ErrResourceType: a resource of another type than asked for, or none.
	// errors.As with *ResourceTypeError tells which.
	ErrResourceType = errors.New("fhir: not a resource of the type asked for")
)

// ResourceTypeError is ErrResourceType with both types.
type ResourceTypeError struct {
	// Want is the type asked for; Got is the one that came, "" if there was
	// none or its name is not one of letters.
	Want, Got string
}

func (e *ResourceTypeError) Error() string {
	if e.Got == "" {
		return "fhir: the answer has no resourceType, and " + e.Want + " is expected"
	}
	return "fhir: the answer is of type " + e.Got + ", and " + e.Want + " is expected"
}

// Is reports whether target is ErrResourceType.
func (e *ResourceTypeError) Is(target error) bool { return target == ErrResourceType }

// ResourceType returns the resourceType of a resource, or ErrMalformed. It is
// "" for an object without one, with two, or with one that is not a name.
func ResourceType(data []byte) (string, error) {
	dec := json.NewDecoder(bytes.NewReader(trim(data)))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return "", ErrMalformed
	}
	found, n := "", 0
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return "", ErrMalformed
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return "", ErrMalformed
		}
		if key == "resourceType" {
			n++
			_ = json.Unmarshal(value, &found) // anything but a string is no type
		}
	}
	if _, err := dec.Token(); err != nil {
		return "", ErrMalformed
	}
	if _, err := dec.Token(); err != io.EOF {
		return "", ErrMalformed
	}
	if n != 1 || !isName(found) {
		return "", nil
	}
	return found, nil
}

func isName(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

// trim takes off what some servers put in front of JSON.
func trim(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) }

func check(data []byte, want string) error {
	got, err := ResourceType(data)
	if err != nil {
		return err
	}
	if got != want {
		return &ResourceTypeError{Want: want, Got: got}
	}
	return nil
}

// Parameters is the FHIR resource Parameters; what samply models for R4 has the
// same shape in STU3.
type Parameters = models.Parameters

// DecodeParameters reads a Parameters resource. It returns ErrMalformed or
// ErrResourceType.
func DecodeParameters(data []byte) (Parameters, error) {
	if err := check(data, "Parameters"); err != nil {
		return Parameters{}, err
	}
	p, err := models.UnmarshalParameters(trim(data))
	if err != nil {
		return Parameters{}, ErrMalformed
	}
	return p, nil
}
