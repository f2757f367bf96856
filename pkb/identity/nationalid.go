// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"slices"
	"strings"
	"unicode"

	"github.com/betawerk/pkb-go/internal/jsonwalk"
)

// NationalID is a national identifier.
type NationalID struct {
	// Value is the identifier as PKB sent it.
	Value string `json:"value,omitempty"`
	// Name is PKB's name of the identifier, such as "NHS number".
	Name string `json:"name,omitempty"`
	// CountryCodes are those of ISO 3166-2, such as "GB-ENG".
	CountryCodes []string `json:"countryCodes,omitempty"`
}

// NationalIDKind is a kind of national identifier, named as in PKB's list.
type NationalIDKind string

// The kinds that PKB lists (PKB: Naming systems). It distinguishes the first three
// though their values look alike.
const (
	// KindUnknown is any other kind, or one whose name and country contradict each
	// other.
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

type kindRow struct {
	kind      NationalIDKind
	countries []string
	system    string
	names     []string
}

// nationalIDKinds is PKB's list. names are those that users/self may use, with
// letters and digits only. PKB's pages show only "NHS number"; the rest are
// inferred.
var nationalIDKinds = []kindRow{
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

// KindBySystem returns the kind of a FHIR identifier system in PKB's list, spaces
// around it aside, or KindUnknown. It is for resources; users/self has names and
// countries instead, for [NationalID.Kind].
func KindBySystem(system string) NationalIDKind {
	system = strings.TrimSpace(system)
	return listed(func(k kindRow) bool { return k.system == system }).kind
}

// System returns the kind's FHIR identifier system, or "".
func (k NationalIDKind) System() string { return k.row().system }

// Countries returns the kind's country codes in PKB's list, or nil.
func (k NationalIDKind) Countries() []string { return slices.Clone(k.row().countries) }

func (k NationalIDKind) row() kindRow { return listed(func(row kindRow) bool { return row.kind == k }) }

// listed returns the first row that fits, or the zero row.
func listed(fits func(kindRow) bool) kindRow {
	if i := slices.IndexFunc(nationalIDKinds, fits); i >= 0 {
		return nationalIDKinds[i]
	}
	return kindRow{}
}

// Kind reports which kind of identifier this is, from the name and country codes
// PKB sent: both must be the kind's, ignoring case and spacing. The format of the
// value is not considered. Names other than "NHS number" are inferred.
func (n NationalID) Kind() NationalIDKind {
	name := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, n.Name)
	return listed(func(k kindRow) bool {
		return slices.Contains(k.names, name) && slices.ContainsFunc(n.CountryCodes, func(country string) bool {
			return slices.ContainsFunc(k.countries, func(c string) bool { return strings.EqualFold(c, strings.TrimSpace(country)) })
		})
	}).kind
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

// NHSNumber returns the patient's NHS number: the identifier whose name and country
// are an NHS number's, whatever its form. It checks neither checksum nor range. Values
// that stand for an unknown number are ignored: one digit ten times, "N/A", "Unknown".
// ok is false if there is none, one that is not ten digits, or two that differ:
// NationalIDs has them all.
func (s Self) NHSNumber() (number NHSNumber, ok bool) {
	sent, _ := s.presented()
	for _, text := range sent {
		n, err := ParseNHSNumber(text)
		if err != nil || !number.IsZero() && !n.Equal(number) {
			return NHSNumber{}, false
		}
		number = n
	}
	return number, !number.IsZero()
}

// presented returns what PKB presents as NHS numbers, and whether there was a
// stand-in in addition.
func (s Self) presented() (sent []string, standIn bool) {
	for _, id := range s.Reveal().NationalIDs {
		switch {
		case id.Kind() != KindNHSNumber || strings.TrimFunc(id.Value, isSeparator) == "":
		case id.isStandIn():
			standIn = true
		default:
			sent = append(sent, id.Value)
		}
	}
	return sent, standIn
}
