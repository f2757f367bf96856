// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
	"fmt"
	"strings"
)

// PublicID is a PKB public id: a UUID in lower case. It is what Purview names
// and what FHIR calls Patient.id on the Facade; it is not the numeric id of
// users/self, which is a [UserID]. It is plain text that names a patient: keep it,
// encode it, and leave it out of logs.
type PublicID string

var errNotAUUID = errors.New("identity: not a public id, which is a UUID")

// ParsePublicID reads a public id in either case, and refuses everything else:
// above all a number, which is the id of users/self.
//
// (PKB: PKB Public ID.)
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
