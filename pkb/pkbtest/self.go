// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
)

// member is one member of a JSON object whose order is kept.
type member struct {
	name  string
	value any
}

type nationalID struct {
	Value        string   `json:"value"`
	Name         string   `json:"name"`
	CountryCodes []string `json:"countryCodes"`
}

type contact struct {
	ID           string  `json:"id"`
	ContactType  string  `json:"contactType"`
	ContactValue string  `json:"contactValue"`
	PhoneUseType *string `json:"phoneUseType"`
	Primary      bool    `json:"primary"`
	Confirmed    bool    `json:"confirmed"`
}

// self serves users/self. Documented: path, method, members, their order and
// types, with null and "" where PKB's sample has them. Inferred: all errors.
func (s *Server) self(w http.ResponseWriter, r *http.Request) {
	refuse := func() {
		sendProblem(w, r, http.StatusMethodNotAllowed, "use GET")
	}
	if !allow(w, r, refuse, http.MethodGet, http.MethodHead) {
		return
	}
	patient, code := s.bearer(r)
	if code != "" {
		sendCode(w, r, code)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	send(w, http.StatusOK, "application/json", toObject(selfOf(patient), patient.Self))
}

func selfOf(p *Patient) []member {
	// genderMF knows only two values; what it is for others is inferred.
	genderMF := map[string]any{"M": "m", "F": "f"}[p.Gender]
	var nationalIDs any // null without one is inferred
	if p.NHSNumber != "" {
		nationalIDs = []nationalID{{p.NHSNumber, "NHS number", []string{"GB-ENG", "GB-WLS"}}}
	}
	return []member{
		{"id", p.UserID},
		{"userType", nil},
		{"heightCm", "170"},
		{"heightFeet", "5"},
		{"heightInches", "7"},
		{"heightInchesTotal", "67"},
		{"weightKg", "70"},
		{"weightLbs", "154.3"},
		{"title", p.Title},
		{"firstName", p.FirstName},
		{"lastName", p.LastName},
		{"dob", p.DateOfBirth},
		{"dateDeceased", nil},
		{"genderMF", genderMF},
		{"gender", p.Gender},
		{"email", p.Email},
		{"phone", ""},
		{"address1", "1 Sample Street"},
		{"address2", ""},
		{"city", "Sample City"},
		{"state", "COUNTY"},
		{"postalCode", "ZZ99 3WZ"}, // a pseudo postcode: nobody lives there
		{"country", "GB-ENG"},
		{"jobTitle", nil},
		{"organizationName", nil},
		{"teamName", nil},
		{"nationalIds", nationalIDs},
		{"orgLevelIds", nil},
		{"teamLevelIds", nil},
		{"contacts", []contact{{ID: "1" + p.UserID, ContactType: "EMAIL", ContactValue: p.Email, Primary: true, Confirmed: true}}},
		{"patient", !p.NotPatient},
	}
}

// toObject writes the members in their order, with overrides in place and
// members that are new behind them.
func toObject(members []member, overrides map[string]any) []byte {
	overrides = maps.Clone(overrides)
	for i, m := range members {
		if v, ok := overrides[m.name]; ok {
			members[i].value = v
			delete(overrides, m.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		members = append(members, member{name, overrides[name]})
	}
	var b bytes.Buffer
	for i, m := range members {
		b.WriteByte("{,"[min(i, 1)])
		b.Write(mustJSON(m.name))
		b.WriteByte(':')
		b.Write(mustJSON(m.value))
	}
	b.WriteByte('}')
	return b.Bytes()
}
