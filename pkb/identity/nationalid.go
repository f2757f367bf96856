// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"slices"
	"strings"
	"unicode"

	"github.com/betawerk/pkb-go/internal/jsonwalk"
)

// NationalID is one national identifier.
type NationalID struct {
	// Value is the identifier as PKB sent it.
	Value string `json:"value,omitempty"`
	// Name is PKB's name of the identifier, such as "NHS number".
	Name string `json:"name,omitempty"`
	// CountryCodes are those of ISO 3166-2, such as "GB-ENG".
	CountryCodes []string `json:"countryCodes,omitempty"`
}

// NationalIDKind is a kind of national identifier, by the name that PKB's list
// gives it.
type NationalIDKind string

// The kinds that PKB lists (PKB: Naming systems). It keeps the first three
// apart though their values look alike.
const (
	// KindUnknown is every other kind, and an identifier whose name and country
	// do not go together; NationalID has both as they came.
	KindUnknown                    NationalIDKind = ""
	KindNHSNumber                  NationalIDKind = "NHS Number"             // England and Wales
	KindCHINumber                  NationalIDKind = "CHI Number"             // Scotland
	KindHealthAndCareNumber        NationalIDKind = "Health and Care Number" // Northern Ireland
	KindIndividualHealthIdentifier NationalIDKind = "Individual Health Identifier"
	KindSSN                        NationalIDKind = "SSN"
	KindSIN                        NationalIDKind = "SIN"
	KindHKID                       NationalIDKind = "HKID"
	KindBSN                        NationalIDKind = "BSN"
	KindKrankenversichertennummer  NationalIDKind = "Krankenversichertennummer"
	KindCivilID                    NationalIDKind = "Civil ID"
)

// nationalIDKinds is PKB's list. names are those that users/self may use, with
// letters and digits only: PKB shows "NHS number" and no other, so all the rest
// are inferred, from the list and from what the identifiers are called.
var nationalIDKinds = []struct {
	kind      NationalIDKind
	countries []string
	system    string
	names     []string
}{
	{KindNHSNumber, []string{"GB-ENG", "GB-WLS"}, "https://fhir.nhs.uk/Id/nhs-number", []string{"nhsnumber"}},
	{KindCHINumber, []string{"GB-SCT"}, "urn:oid:2.16.840.1.113883.2.1.3.2.4.16.53", []string{"chinumber", "chi"}},
	{KindHealthAndCareNumber, []string{"GB-NIR"}, "urn:uuid:1479257a-ce8f-482a-89fa-429ac066c158", []string{"healthandcarenumber", "hcnumber"}},
	{KindIndividualHealthIdentifier, []string{"IE"}, "http://ns.electronichealth.net.au/id/hi/ihi/1.0", []string{"individualhealthidentifier", "ihi"}},
	{KindSSN, []string{"US"}, "http://hl7.org/fhir/sid/us-ssn", []string{"ssn", "socialsecuritynumber"}},
	{KindSIN, []string{"CA"}, "https://fhir.infoway-inforoute.ca/NamingSystem/ca-social-insurance-number", []string{"sin", "socialinsurancenumber"}},
	{KindHKID, []string{"HK"}, "http://fhir.patientsknowbest.com/id/hong-kong-identity-card-number", []string{"hkid", "hongkongidentitycardnumber"}},
	{KindBSN, []string{"NL"}, "http://fhir.nl/fhir/NamingSystem/bsn", []string{"bsn", "burgerservicenummer"}},
	{KindKrankenversichertennummer, []string{"DE"}, "http://fhir.de/NamingSystem/gkv/kvnr-30", []string{"krankenversichertennummer", "kvnr"}},
	{KindCivilID, []string{"KW"}, "http://fhir.patientsknowbest.com/id/kuwait-civil-id", []string{"civilid"}},
}

// KindBySystem returns the kind that PKB's list gives a FHIR identifier system,
// or KindUnknown. Use it for resources; users/self has names and countries
// instead, for [NationalID.Kind].
func KindBySystem(system string) NationalIDKind {
	for i := range nationalIDKinds {
		if nationalIDKinds[i].system == system {
			return nationalIDKinds[i].kind
		}
	}
	return KindUnknown
}

// System returns the kind's identifier system in FHIR, or "".
func (k NationalIDKind) System() string {
	for i := range nationalIDKinds {
		if nationalIDKinds[i].kind == k {
			return nationalIDKinds[i].system
		}
	}
	return ""
}

// Countries returns the codes of the countries that PKB's list has for the
// kind, or nil.
func (k NationalIDKind) Countries() []string {
	for i := range nationalIDKinds {
		if nationalIDKinds[i].kind == k {
			return slices.Clone(nationalIDKinds[i].countries)
		}
	}
	return nil
}

// Kind reports which kind of identifier this is, from the name and country codes
// PKB sent: both must be the kind's, in any case and spacing. The format of the
// value is not considered. Names other than "NHS number" are inferred.
func (n NationalID) Kind() NationalIDKind {
	name := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, n.Name)
	for i := range nationalIDKinds {
		k := &nationalIDKinds[i]
		if slices.Contains(k.names, name) && slices.ContainsFunc(n.CountryCodes, func(country string) bool {
			return slices.ContainsFunc(k.countries, func(c string) bool { return strings.EqualFold(c, strings.TrimSpace(country)) })
		}) {
			return k.kind
		}
	}
	return KindUnknown
}

func readNationalID(w *jsonwalk.Walk, name string, n *NationalID) {
	switch name {
	case "value":
		n.Value = w.Scalar()
	case "name":
		n.Name = w.Scalar()
	case "countryCodes":
		n.CountryCodes = nil
		w.Each(func() {
			if code := w.Scalar(); code != "" {
				n.CountryCodes = append(n.CountryCodes, code)
			}
		})
	}
}

// NHSNumber returns the patient's NHS number: the one that PKB presents as
// such, by name and country, never by its form. Its checksum and range are
// questions of their own. ok is false when there is none, one that is not ten
// digits, or two that differ: NationalIDs has them all.
func (s Self) NHSNumber() (number NHSNumber, ok bool) {
	for _, sent := range s.presented() {
		n, err := ParseNHSNumber(sent)
		if err != nil || !number.IsZero() && !n.Equal(number) {
			return NHSNumber{}, false
		}
		number = n
	}
	return number, !number.IsZero()
}

// presented returns what PKB presents as an NHS number, without empty ones.
func (s Self) presented() (sent []string) {
	for _, id := range s.Reveal().NationalIDs {
		if id.Kind() == KindNHSNumber && strings.TrimFunc(id.Value, isSeparator) != "" {
			sent = append(sent, id.Value)
		}
	}
	return sent
}
