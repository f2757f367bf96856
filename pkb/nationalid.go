// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// NationalID is one national identifier. It prints as [redacted].
type NationalID struct {
	// Value is the identifier as PKB sent it.
	Value Personal
	// Name is PKB's name of the identifier, as "NHS number".
	Name string
	// CountryCodes are those of ISO 3166-2, as "GB-ENG".
	CountryCodes []string
}

// nationalWire is an element of nationalIds.
type nationalWire struct {
	Value        wireText           `json:"value"`
	Name         wireText           `json:"name"`
	CountryCodes wireList[wireText] `json:"countryCodes"`
}

func nationalIDs(sent []*nationalWire) []NationalID {
	var ids []NationalID
	for _, n := range sent {
		id := NationalID{Value: n.Value.personal(), Name: string(n.Name)}
		for _, c := range n.CountryCodes {
			if *c != "" {
				id.CountryCodes = append(id.CountryCodes, string(*c))
			}
		}
		ids = append(ids, id)
	}
	return ids
}

// NHSNumber returns the patient's NHS number, ten digits without spaces. PKB
// keeps the numbers of England and Wales, Scotland (CHI) and Northern Ireland
// (Health and Care) apart though their values look alike, so it is found by its
// name and country, never by its form. ok is false when there is none, one that
// is not ten digits, or two that differ: NationalIDs has them all.
func (s *Self) NHSNumber() (number Personal, ok bool) {
	found := ""
	for _, id := range s.NationalIDs {
		if !id.isNHSNumber() {
			continue
		}
		switch digits := withoutSpaces.Replace(id.Value.Reveal()); {
		case digits == "":
		case found == "" && isTenDigits(digits):
			found = digits
		case found != digits:
			return Personal{}, false
		}
	}
	return NewPersonal(found), found != ""
}

// withoutSpaces takes out what people write between groups of digits.
var withoutSpaces = strings.NewReplacer(" ", "", "\u00a0", "", "-", "")

func isTenDigits(s string) bool { return len(s) == 10 && strings.Trim(s, "0123456789") == "" }

// isNHSNumber goes by the name, in whatever case and spacing, and a country.
func (n NationalID) isNHSNumber() bool {
	if !strings.EqualFold(strings.Join(strings.Fields(n.Name), ""), "NHSnumber") {
		return false
	}
	for _, c := range n.CountryCodes {
		if c = strings.TrimSpace(c); strings.EqualFold(c, "GB-ENG") || strings.EqualFold(c, "GB-WLS") {
			return true
		}
	}
	return false
}

// Format implements fmt.Formatter.
func (NationalID) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (NationalID) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler.
func (NationalID) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
