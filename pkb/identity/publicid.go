// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
	"fmt"
	"strings"
)

// PublicID is a PKB public id: a UUID in lower case. Purview returns it, and on the
// Facade it is Patient.id. It is not the numeric id of users/self, which is a
// [UserID]. It is plain text that identifies a patient: store it, encode it, and
// keep it out of logs.
type PublicID string

var errNotAUUID = errors.New("identity: not a public id: not a UUID")

// ParsePublicID parses a public id in either case. It refuses anything else, above
// all a number, which is the id of users/self. (PKB: PKB Public ID.)
func ParsePublicID(s string) (PublicID, error) {
	id := strings.ToLower(strings.TrimSpace(s))
	if !isUUID(id) {
		if id != "" && strings.Trim(id, "0123456789") == "" {
			return "", fmt.Errorf("%w but a number, such as the user id of users/self", errNotAUUID)
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
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if s[i] != '-' {
				return false
			}
		} else if strings.IndexByte("0123456789abcdef", s[i]) < 0 {
			return false
		}
	}
	return true
}
