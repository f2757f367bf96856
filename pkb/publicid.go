// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"errors"
	"fmt"
	"strings"

	"github.com/betawerk/pkb-go/fhir"
)

// PublicID is a PKB public id: a UUID in lower case. It is what Purview names
// and what FHIR calls Patient.id on the Facade; it is not the numeric id of
// users/self, which is a [UserID].
type PublicID string

var (
	errNotAUUID  = errors.New("pkb: not a public id, which is a UUID; host's turn: use the one that Purview names")
	errElsewhere = &answerError{what: "the answer names a record on another server"}
)

// ParsePublicID reads a public id, and refuses everything else.
func ParsePublicID(s string) (PublicID, error) {
	id := strings.ToLower(strings.TrimSpace(s))
	if !isUUID(id) {
		if id != "" && strings.Trim(id, "0123456789") == "" {
			return "", fmt.Errorf("%w; this is a number, like the user id of users/self", errNotAUUID)
		}
		return "", errNotAUUID
	}
	return PublicID(id), nil
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// publicIDFromPurview returns the patient that an answer of Purview names. An
// absolute reference must be one of the server that answered.
func publicIDFromPurview(answer []byte, server string) (PublicID, error) {
	ref, err := fhir.Purview(answer)
	if err != nil {
		return "", err
	}
	if ref.Base != "" && !strings.EqualFold(origin(ref.Base), server) {
		return "", errElsewhere
	}
	if ref.Type != "Patient" {
		return "", ErrNotAPatient
	}
	return ParsePublicID(ref.ID)
}
