// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"errors"
	"fmt"
	"net/url"
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

// publicIDFromPurview returns the patient that an answer of Purview names. An
// absolute reference must be one of the server that answered: scheme, host and
// port.
func publicIDFromPurview(answer []byte, server string) (PublicID, error) {
	ref, err := fhir.Purview(answer)
	if err != nil {
		return "", err
	}
	if ref.Base != "" && !sameServer(ref.Base, server) {
		return "", errElsewhere
	}
	if ref.Type != "Patient" {
		return "", ErrNotAPatient
	}
	return ParsePublicID(ref.ID)
}

func sameServer(a, b string) bool {
	u, err := url.Parse(a)
	if err != nil {
		return false
	}
	v, err := url.Parse(b)
	return err == nil && u.Scheme == v.Scheme && u.Hostname() != "" && strings.EqualFold(u.Hostname(), v.Hostname()) && port(u) == port(v)
}

func port(u *url.URL) string {
	switch p := u.Port(); {
	case p != "":
		return p
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
