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
	"math"
	"strconv"
	"strings"
)

// Self is the answer of users/self about a patient. null, "" and a missing
// member all are the zero value, and so is a member in a form that cannot be
// read; Raw tells them apart.
//
// A Self and everything in it that is about the patient print as [redacted];
// Reveal, Code, ISO, Float64 and Raw give the content. What PKB takes from a
// vocabulary of its own, as "NHS number" or EMAIL, is a plain string.
//
// (PKB: Patient Identifier and Demographic Retrieval.)
type Self struct {
	// ID is PKB's numeric user id. It is not the public id.
	ID UserID
	// UserType was null for a patient in PKB's sample; Patient tells.
	UserType string

	// The height, in the units that PKB names its fields by. By their names,
	// HeightFeet and HeightInches are one height, and HeightInchesTotal is the
	// same in inches alone. PKB's sample rounds centimetres down.
	HeightCentimetres, HeightFeet, HeightInches, HeightInchesTotal Measure
	// The weight, in both units.
	WeightKilograms, WeightPounds Measure

	Title, FirstName, LastName Personal
	DateOfBirth                Date
	// DateDeceased is the zero Date for a patient who lives, and for a date that
	// cannot be read: PKB's pages do not show its form. Deceased tells.
	DateDeceased Date
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
	// Patient is true: an answer without it, or with null, is refused with
	// ErrNotAPatient as one with false is.
	Patient bool

	// deceased is set if there is a date of death, and raw is the whole answer:
	// pointers, and one to a string, because printers show a pointer to bytes.
	deceased *struct{}
	raw      *string
}

// UserID is PKB's numeric id of a user: a decimal number, as text. It is not
// the public id, which is a [PublicID]. It prints as [redacted]; only Reveal
// gives the number.
type UserID struct{ concealed }

// Reveal returns the number as PKB sent it, or "".
func (id UserID) Reveal() string { return id.reveal() }

// Equal reports whether both are the same number, or none.
func (id UserID) Equal(o UserID) bool { return id.reveal() == o.reveal() }

// LocalID is an identifier of an organisation or a team. It prints as
// [redacted].
type LocalID struct{ raw *string }

// Raw returns the identifier as PKB sent it.
func (l LocalID) Raw() json.RawMessage { return clone(l.raw) }

// Contact is one way to reach the patient. It prints as [redacted].
type Contact struct {
	// ID is PKB's id of the contact: a decimal number in its sample.
	ID Personal
	// Type is PKB's code: EMAIL, or another that its pages do not list.
	Type string
	// Value is the address or the number itself.
	Value Personal
	// PhoneUse is PKB's code for the use of a phone number; "" for others.
	PhoneUse string
	// Primary and Confirmed are PKB's flags; its pages do not explain them.
	Primary, Confirmed bool
}

// Gender is a code as PKB sends it; unknown codes are kept. It prints as
// [redacted].
type Gender struct{ concealed }

// The codes of Gender (PKB's blog of 5 July 2017); others can come.
const (
	GenderUnknown       = "U"
	GenderMale          = "M"
	GenderFemale        = "F"
	GenderIndeterminate = "I"
)

// Code returns the code as PKB sent it, or "".
func (g Gender) Code() string { return g.reveal() }

// Measure is a number, in the unit that the name of its field says. PKB sends
// it as text. It prints as [redacted].
type Measure struct{ concealed }

// Float64 returns the number; ok is false when PKB sent none.
func (m Measure) Float64() (value float64, ok bool) {
	value, err := strconv.ParseFloat(m.reveal(), 64)
	if err != nil || math.IsInf(value, 0) || math.IsNaN(value) {
		return 0, false
	}
	return value, true
}

// Deceased reports whether PKB sent a date of death, readable or not.
func (s *Self) Deceased() bool { return s.deceased != nil }

// Raw returns a copy of the whole answer as PKB sent it, without a byte-order
// mark: personal data, not for a log.
func (s *Self) Raw() json.RawMessage { return clone(s.raw) }

func clone(raw *string) json.RawMessage {
	if raw == nil {
		return nil
	}
	return json.RawMessage(*raw)
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
	if !json.Valid(trimmed) {
		return nil, errMalformedSelf
	}
	raw := string(trimmed)
	var w selfOnTheWire
	readObject(raw, &w)
	if !w.Patient {
		return nil, ErrNotAPatient
	}
	s := &Self{
		ID: UserID{w.ID.conceal()}, UserType: string(w.UserType),
		HeightCentimetres: w.HeightCm.measure(), HeightFeet: w.HeightFeet.measure(),
		HeightInches: w.HeightInches.measure(), HeightInchesTotal: w.HeightInchesTotal.measure(),
		WeightKilograms: w.WeightKg.measure(), WeightPounds: w.WeightLbs.measure(),
		Title: w.Title.personal(), FirstName: w.FirstName.personal(), LastName: w.LastName.personal(),
		DateOfBirth: readDate(string(w.DOB)), DateDeceased: readDate(string(w.DateDeceased.text)),
		Gender: Gender{w.Gender.conceal()}, GenderMF: Gender{w.GenderMF.conceal()},
		Email: w.Email.personal(), Phone: w.Phone.personal(),
		Address1: w.Address1.personal(), Address2: w.Address2.personal(), City: w.City.personal(),
		State: w.State.personal(), PostalCode: w.PostalCode.personal(), Country: w.Country.personal(),
		JobTitle: w.JobTitle.personal(), OrganizationName: w.OrganizationName.personal(), TeamName: w.TeamName.personal(),
		NationalIDs: nationalIDs(w.NationalIDs),
		OrgLevelIDs: w.OrgLevelIDs.local(), TeamLevelIDs: w.TeamLevelIDs.local(),
		Patient: true,
		raw:     &raw,
	}
	if w.DateDeceased.sent {
		s.deceased = new(struct{})
	}
	for _, c := range w.Contacts {
		s.Contacts = append(s.Contacts, Contact{
			ID: c.ID.personal(), Type: string(c.ContactType), Value: c.ContactValue.personal(),
			PhoneUse: string(c.PhoneUseType), Primary: bool(c.Primary), Confirmed: bool(c.Confirmed),
		})
	}
	return s, nil
}

// selfOnTheWire is the documented answer.
type selfOnTheWire struct {
	ID, UserType                                         wireText
	HeightCm, HeightFeet, HeightInches                   wireText
	HeightInchesTotal, WeightKg, WeightLbs               wireText
	Title, FirstName, LastName                           wireText
	DOB                                                  wireText
	DateDeceased                                         wireDeath
	GenderMF, Gender                                     wireText
	Email, Phone                                         wireText
	Address1, Address2, City, State, PostalCode, Country wireText
	JobTitle, OrganizationName, TeamName                 wireText
	NationalIDs                                          wireList[nationalWire, *nationalWire]
	OrgLevelIDs, TeamLevelIDs                            wireRaws
	Contacts                                             wireList[contactWire, *contactWire]
	Patient                                              wireBool
}

func (w *selfOnTheWire) member(name string) member {
	switch name {
	case "id":
		return &w.ID
	case "userType":
		return &w.UserType
	case "heightCm":
		return &w.HeightCm
	case "heightFeet":
		return &w.HeightFeet
	case "heightInches":
		return &w.HeightInches
	case "heightInchesTotal":
		return &w.HeightInchesTotal
	case "weightKg":
		return &w.WeightKg
	case "weightLbs":
		return &w.WeightLbs
	case "title":
		return &w.Title
	case "firstName":
		return &w.FirstName
	case "lastName":
		return &w.LastName
	case "dob":
		return &w.DOB
	case "dateDeceased":
		return &w.DateDeceased
	case "genderMF":
		return &w.GenderMF
	case "gender":
		return &w.Gender
	case "email":
		return &w.Email
	case "phone":
		return &w.Phone
	case "address1":
		return &w.Address1
	case "address2":
		return &w.Address2
	case "city":
		return &w.City
	case "state":
		return &w.State
	case "postalCode":
		return &w.PostalCode
	case "country":
		return &w.Country
	case "jobTitle":
		return &w.JobTitle
	case "organizationName":
		return &w.OrganizationName
	case "teamName":
		return &w.TeamName
	case "nationalIds":
		return &w.NationalIDs
	case "orgLevelIds":
		return &w.OrgLevelIDs
	case "teamLevelIds":
		return &w.TeamLevelIDs
	case "contacts":
		return &w.Contacts
	case "patient":
		return &w.Patient
	}
	return nil
}

type contactWire struct {
	ID, ContactType, ContactValue, PhoneUseType wireText
	Primary, Confirmed                          wireBool
}

func (w *contactWire) member(name string) member {
	switch name {
	case "id":
		return &w.ID
	case "contactType":
		return &w.ContactType
	case "contactValue":
		return &w.ContactValue
	case "phoneUseType":
		return &w.PhoneUseType
	case "primary":
		return &w.Primary
	case "confirmed":
		return &w.Confirmed
	}
	return nil
}

// wireText is a string; a number or boolean is kept as it is written; anything
// else is "".
type wireText string

func (t *wireText) read(value string) { *t = wireText(textOf(value)) }

// conceal points at the text where it was read, instead of copying it.
func (t *wireText) conceal() concealed {
	if *t == "" {
		return concealed{}
	}
	return concealed{text: (*string)(t)}
}

func (t *wireText) personal() Personal { return Personal{t.conceal()} }

func (t *wireText) measure() Measure {
	*t = wireText(strings.TrimSpace(string(*t)))
	return Measure{t.conceal()}
}

// wireDeath is a date of death; sent tells that there is one, whatever it looks
// like.
type wireDeath struct {
	text wireText
	sent bool
}

func (d *wireDeath) read(value string) {
	d.sent = value[0] != 'n' && value[0] != 'f' && value != `""`
	d.text.read(value)
}

// wireBool is true, or "true"; anything else is false.
type wireBool bool

func (b *wireBool) read(value string) { *b = value == "true" || value == `"true"` }

// wireTexts is an array of texts, or one in its place.
type wireTexts []string

func (l *wireTexts) read(value string) {
	*l = nil
	eachElement(value, func(e string) {
		if t := textOf(e); t != "" {
			*l = append(*l, t)
		}
	})
}

// wireList is an array of objects, or one in its place. An element in an odd
// shape is passed over.
type wireList[T any, P interface {
	*T
	object
}] []*T

func (l *wireList[T, P]) read(value string) {
	*l = nil
	eachElement(value, func(e string) {
		if e[0] == '{' {
			v := new(T)
			readObject(e, P(v))
			*l = append(*l, v)
		}
	})
}

// wireRaws is an array, or one element in its place, not looked into.
type wireRaws []string

func (l *wireRaws) read(value string) {
	*l = nil
	if value == `""` {
		return
	}
	eachElement(value, func(e string) { *l = append(*l, e) })
}

func (l wireRaws) local() []LocalID {
	var ids []LocalID
	for i := range l {
		ids = append(ids, LocalID{raw: &l[i]})
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
func (Contact) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (Contact) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler.
func (Contact) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Format implements fmt.Formatter.
func (LocalID) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (LocalID) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler; Raw has the identifier itself.
func (LocalID) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
