// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
)

// Self is the answer of users/self about a patient. null, "" and a missing
// member all are the zero value; Raw tells them apart.
//
// A Self and everything personal in it print as [redacted]; Reveal, ISO, Float64
// and Raw give the content.
//
// (PKB: Patient Identifier and Demographic Retrieval.)
type Self struct {
	// ID is PKB's numeric user id. It is not the public id.
	ID UserID
	// UserType was null for a patient in PKB's sample; Patient tells.
	UserType string

	HeightCentimetres, HeightFeet, HeightInches, HeightInchesTotal Measure
	WeightKilograms, WeightPounds                                  Measure

	Title, FirstName, LastName Personal
	DateOfBirth, DateDeceased  Date
	// Gender is what PKB advises to use: the sex assigned at birth, by the page
	// on this call; another page calls it the administrative gender.
	Gender Gender
	// GenderMF is an older field that knows two genders only. Use Gender.
	GenderMF Gender

	Email, Phone                                         Personal
	Address1, Address2, City, State, PostalCode, Country Personal
	JobTitle, OrganizationName, TeamName                 Personal

	NationalIDs []NationalID
	// OrgLevelIDs and TeamLevelIDs are local identifiers. PKB's pages do not
	// show their members.
	OrgLevelIDs, TeamLevelIDs []LocalID
	Contacts                  []Contact
	// Patient is true: Self of anybody else is ErrNotAPatient.
	Patient bool

	// A string behind a pointer, because printers show a pointer to bytes.
	raw *string
}

// UserID is PKB's numeric id of a user, as text. It is not the public id, which
// is a [PublicID].
type UserID string

// NationalID is one national identifier.
type NationalID struct {
	Value Personal
	// Name is PKB's name of the identifier, as "NHS number".
	Name string
	// CountryCodes are those of ISO 3166-2, as "GB-ENG".
	CountryCodes []string
}

// LocalID is an identifier of an organisation or a team.
type LocalID struct{ raw *string }

// Raw returns the identifier as PKB sent it.
func (l LocalID) Raw() json.RawMessage { return clone(l.raw) }

// Contact is one way to reach the patient.
type Contact struct {
	ID string
	// Type is PKB's code, as EMAIL.
	Type  string
	Value Personal
	// PhoneUse is PKB's code for the use of a phone number.
	PhoneUse           string
	Primary, Confirmed bool
}

// Gender is a code as PKB sends it; unknown codes are kept. It prints as
// [redacted].
type Gender struct{ code concealed }

// The codes of Gender (PKB's blog of 5 July 2017); others can come.
const (
	GenderUnknown       = "U"
	GenderMale          = "M"
	GenderFemale        = "F"
	GenderIndeterminate = "I"
)

// Code returns the code as PKB sent it, or "".
func (g Gender) Code() string { return g.code.reveal() }

// Measure is a number as PKB sent it. It prints as [redacted].
type Measure struct{ text concealed }

// Float64 returns the number; ok is false when PKB sent none.
func (m Measure) Float64() (value float64, ok bool) {
	value, err := strconv.ParseFloat(m.text.reveal(), 64)
	return value, err == nil
}

// Raw returns the whole answer as PKB sent it: personal data, not for a log.
func (s *Self) Raw() json.RawMessage { return clone(s.raw) }

func clone(raw *string) json.RawMessage {
	if raw == nil {
		return nil
	}
	return json.RawMessage(*raw)
}

// NHSNumber returns the patient's NHS number, ten digits. PKB keeps the numbers
// of England and Wales, Scotland and Northern Ireland apart though their values
// look alike, so it is found by its name and country, never by its form. ok is
// false when there is none, or two that differ.
func (s *Self) NHSNumber() (number Personal, ok bool) {
	for _, id := range s.NationalIDs {
		if !id.isNHSNumber() {
			continue
		}
		digits := strings.NewReplacer(" ", "", "-", "").Replace(id.Value.Reveal())
		switch {
		case digits == "":
		case !ok:
			number, ok = NewPersonal(digits), true
		case number.Reveal() != digits:
			return Personal{}, false
		}
	}
	return number, ok
}

func (n NationalID) isNHSNumber() bool {
	if !strings.EqualFold(strings.Join(strings.Fields(n.Name), " "), "NHS number") {
		return false
	}
	for _, c := range n.CountryCodes {
		if c = strings.TrimSpace(c); strings.EqualFold(c, "GB-ENG") || strings.EqualFold(c, "GB-WLS") {
			return true
		}
	}
	return false
}

// errMalformedSelf: not one JSON object.
var errMalformedSelf = errors.New("not a JSON object")

// decodeSelf reads an answer of users/self. A member in an odd shape costs that
// member only. An answer that does not say "patient": true is refused: data
// about somebody else must not be taken for a patient's.
func decodeSelf(answer []byte) (*Self, error) {
	trimmed := bytes.TrimSpace(bytes.TrimPrefix(answer, []byte("\xef\xbb\xbf")))
	if len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, errMalformedSelf
	}
	var w selfOnTheWire
	if err := json.Unmarshal(trimmed, &w); err != nil {
		return nil, errMalformedSelf
	}
	if !w.Patient {
		return nil, ErrNotAPatient
	}
	raw := string(answer)
	s := &Self{
		ID: UserID(w.ID), UserType: string(w.UserType),
		HeightCentimetres: w.HeightCm.measure(), HeightFeet: w.HeightFeet.measure(),
		HeightInches: w.HeightInches.measure(), HeightInchesTotal: w.HeightInchesTotal.measure(),
		WeightKilograms: w.WeightKg.measure(), WeightPounds: w.WeightLbs.measure(),
		Title: w.Title.personal(), FirstName: w.FirstName.personal(), LastName: w.LastName.personal(),
		DateOfBirth: readDate(string(w.DOB)), DateDeceased: readDate(string(w.DateDeceased)),
		Gender: w.Gender.gender(), GenderMF: w.GenderMF.gender(),
		Email: w.Email.personal(), Phone: w.Phone.personal(),
		Address1: w.Address1.personal(), Address2: w.Address2.personal(), City: w.City.personal(),
		State: w.State.personal(), PostalCode: w.PostalCode.personal(), Country: w.Country.personal(),
		JobTitle: w.JobTitle.personal(), OrganizationName: w.OrganizationName.personal(), TeamName: w.TeamName.personal(),
		Patient: true,
		raw:     &raw,
	}
	for _, n := range w.NationalIDs {
		id := NationalID{Value: n.Value.personal(), Name: string(n.Name)}
		for _, c := range n.CountryCodes {
			id.CountryCodes = append(id.CountryCodes, string(c))
		}
		s.NationalIDs = append(s.NationalIDs, id)
	}
	for _, c := range w.Contacts {
		s.Contacts = append(s.Contacts, Contact{
			ID: string(c.ID), Type: string(c.ContactType), Value: c.ContactValue.personal(),
			PhoneUse: string(c.PhoneUseType), Primary: bool(c.Primary), Confirmed: bool(c.Confirmed),
		})
	}
	s.OrgLevelIDs, s.TeamLevelIDs = w.OrgLevelIDs.local(), w.TeamLevelIDs.local()
	return s, nil
}

// selfOnTheWire is the documented answer, member for member.
type selfOnTheWire struct {
	ID                wireText               `json:"id"`
	UserType          wireText               `json:"userType"`
	HeightCm          wireText               `json:"heightCm"`
	HeightFeet        wireText               `json:"heightFeet"`
	HeightInches      wireText               `json:"heightInches"`
	HeightInchesTotal wireText               `json:"heightInchesTotal"`
	WeightKg          wireText               `json:"weightKg"`
	WeightLbs         wireText               `json:"weightLbs"`
	Title             wireText               `json:"title"`
	FirstName         wireText               `json:"firstName"`
	LastName          wireText               `json:"lastName"`
	DOB               wireText               `json:"dob"`
	DateDeceased      wireText               `json:"dateDeceased"`
	GenderMF          wireText               `json:"genderMF"`
	Gender            wireText               `json:"gender"`
	Email             wireText               `json:"email"`
	Phone             wireText               `json:"phone"`
	Address1          wireText               `json:"address1"`
	Address2          wireText               `json:"address2"`
	City              wireText               `json:"city"`
	State             wireText               `json:"state"`
	PostalCode        wireText               `json:"postalCode"`
	Country           wireText               `json:"country"`
	JobTitle          wireText               `json:"jobTitle"`
	OrganizationName  wireText               `json:"organizationName"`
	TeamName          wireText               `json:"teamName"`
	NationalIDs       wireList[nationalWire] `json:"nationalIds"`
	OrgLevelIDs       wireRaws               `json:"orgLevelIds"`
	TeamLevelIDs      wireRaws               `json:"teamLevelIds"`
	Contacts          wireList[contactWire]  `json:"contacts"`
	Patient           wireBool               `json:"patient"`
}

type nationalWire struct {
	Value        wireText           `json:"value"`
	Name         wireText           `json:"name"`
	CountryCodes wireList[wireText] `json:"countryCodes"`
}

type contactWire struct {
	ID           wireText `json:"id"`
	ContactType  wireText `json:"contactType"`
	ContactValue wireText `json:"contactValue"`
	PhoneUseType wireText `json:"phoneUseType"`
	Primary      wireBool `json:"primary"`
	Confirmed    wireBool `json:"confirmed"`
}

// wireText is a string; a number or boolean is kept as it is written; anything
// else is "".
type wireText string

func (t *wireText) UnmarshalJSON(data []byte) error {
	switch data[0] {
	case '"':
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		*t = wireText(s)
	case '{', '[', 'n':
	default:
		*t = wireText(data)
	}
	return nil
}

func (t wireText) personal() Personal { return NewPersonal(string(t)) }
func (t wireText) measure() Measure   { return Measure{conceal(strings.TrimSpace(string(t)))} }
func (t wireText) gender() Gender     { return Gender{conceal(string(t))} }

// wireBool is true, or "true"; anything else is false.
type wireBool bool

func (b *wireBool) UnmarshalJSON(data []byte) error {
	*b = wireBool(string(data) == "true" || string(data) == `"true"`)
	return nil
}

// wireList is an array, or one element in its place. An element in an odd shape
// is passed over.
type wireList[T any] []T

func (l *wireList[T]) UnmarshalJSON(data []byte) error {
	var elements wireRaws
	if err := elements.UnmarshalJSON(data); err != nil {
		return err
	}
	for _, e := range elements {
		var v T
		if json.Unmarshal(e, &v) == nil {
			*l = append(*l, v)
		}
	}
	return nil
}

// wireRaws is an array, or one element in its place, not looked into.
type wireRaws []json.RawMessage

func (l *wireRaws) UnmarshalJSON(data []byte) error {
	switch {
	case data[0] == '[':
		return json.Unmarshal(data, (*[]json.RawMessage)(l))
	case data[0] == 'n' || string(data) == `""`:
	default:
		*l = wireRaws{bytes.Clone(data)}
	}
	return nil
}

func (l wireRaws) local() []LocalID {
	var ids []LocalID
	for _, e := range l {
		raw := string(e)
		ids = append(ids, LocalID{raw: &raw})
	}
	return ids
}

// What is personal prints nothing of itself.

// Format implements fmt.Formatter.
func (Self) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "pkb.Self"+redacted) }

// LogValue implements slog.LogValuer.
func (Self) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler; Raw has the answer itself.
func (Self) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Format implements fmt.Formatter.
func (NationalID) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (NationalID) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format implements fmt.Formatter.
func (Contact) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (Contact) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format implements fmt.Formatter.
func (LocalID) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (LocalID) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler; Raw has the identifier itself.
func (LocalID) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Format implements fmt.Formatter.
func (Gender) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (Gender) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler.
func (Gender) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Format implements fmt.Formatter.
func (Measure) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (Measure) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler.
func (Measure) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
