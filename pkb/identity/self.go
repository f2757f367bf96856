// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package identity holds who a patient is, by PKB: the response of users/self, the
// PKB public id, the NHS number and other national identifiers. [Self.Compare]
// compares it with what a host knows about its user.
//
// [Self] and [NHSNumber] are about a patient: they print [redacted], and encoding
// them is an error. What Reveal returns is plain Go: strings, lists and a [Date],
// which encode, compare and print as they are.
package identity

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/internal/jsonwalk"
)

var (
	// ErrNotAPatient: PKB reports that the account is not a patient's.
	ErrNotAPatient = errors.New("pkb: the PKB account is not a patient's")
	errMalformed   = errors.New("identity: the response is not a JSON object")
	errNotAUser    = errors.New("identity: the response is not about a user")
)

// Self is the response of users/self about a patient. It prints [redacted] and is
// not encoded; Reveal returns the demographics, and Raw the JSON as PKB sent it.
// The zero Self is absent. (PKB: Patient Identifier and Demographic Retrieval.)
type Self struct{ hidden }

type hidden = conceal.Hidden[response]

type response struct {
	demographics Demographics
	raw          string
	deceased     bool
	patient      flag
}

// Demographics is what users/self reports about a patient, in plain Go, with PKB's
// member names in JSON. A member that is null, "", absent, or of JSON that does not
// fit is left at its zero value; Self.Raw distinguishes them.
//
// It is personal data: do not log it.
type Demographics struct {
	// ID is PKB's numeric user id. It is not the public id.
	ID UserID `json:"id,omitempty"`
	// UserType was null for a patient in PKB's sample; Patient decides.
	UserType string `json:"userType,omitempty"`

	// Height, in the units of PKB's member names. By those, HeightFeet and
	// HeightInches are one height, and HeightInchesTotal is the same in inches.
	// PKB's sample rounds centimetres down.
	HeightCentimetres Measure `json:"heightCm,omitempty"`
	HeightFeet        Measure `json:"heightFeet,omitempty"`
	HeightInches      Measure `json:"heightInches,omitempty"`
	HeightInchesTotal Measure `json:"heightInchesTotal,omitempty"`
	// Weight, in both units.
	WeightKilograms Measure `json:"weightKg,omitempty"`
	WeightPounds    Measure `json:"weightLbs,omitempty"`

	Title       string `json:"title,omitempty"`
	FirstName   string `json:"firstName,omitempty"`
	LastName    string `json:"lastName,omitempty"`
	DateOfBirth Date   `json:"dob,omitempty"`
	// DateDeceased is "" for a living patient, and for a date in another form than
	// that of DateOfBirth: PKB's pages do not show its format. Self.Deceased decides.
	DateDeceased Date `json:"dateDeceased,omitempty"`
	// Gender is the member that PKB advises to use: the sex assigned at birth, by
	// the page on this call; another page calls it the administrative gender.
	Gender Gender `json:"gender,omitempty"`
	// GenderMF is an older member with two genders only. Use Gender.
	GenderMF Gender `json:"genderMF,omitempty"`

	Email            string `json:"email,omitempty"`
	Phone            string `json:"phone,omitempty"`
	Address1         string `json:"address1,omitempty"`
	Address2         string `json:"address2,omitempty"`
	City             string `json:"city,omitempty"`
	State            string `json:"state,omitempty"`
	PostalCode       string `json:"postalCode,omitempty"`
	Country          string `json:"country,omitempty"`
	JobTitle         string `json:"jobTitle,omitempty"`
	OrganizationName string `json:"organizationName,omitempty"`
	TeamName         string `json:"teamName,omitempty"`

	NationalIDs []NationalID `json:"nationalIds,omitempty"`
	// OrgLevelIDs and TeamLevelIDs are local identifiers, as PKB sent them: its
	// pages do not show their members.
	OrgLevelIDs  []json.RawMessage `json:"orgLevelIds,omitempty"`
	TeamLevelIDs []json.RawMessage `json:"teamLevelIds,omitempty"`
	Contacts     []Contact         `json:"contacts,omitempty"`
	// Patient is always true: DecodeSelf returns an error for anything else.
	Patient bool `json:"patient"`
}

// UserID is PKB's numeric id of a user: a decimal number, as text. The public id is
// a [PublicID].
type UserID string

// Contact is a way to contact the patient.
type Contact struct {
	// ID is PKB's id of the contact: a decimal number in its sample.
	ID string `json:"id,omitempty"`
	// Type is PKB's code, such as EMAIL; its pages list no others.
	Type string `json:"contactType,omitempty"`
	// Value is the address or the number.
	Value string `json:"contactValue,omitempty"`
	// PhoneUse is PKB's code for the use of a phone number.
	PhoneUse string `json:"phoneUseType,omitempty"`
	// Primary and Confirmed are PKB's flags, which its pages do not explain.
	Primary   bool `json:"primary"`
	Confirmed bool `json:"confirmed"`
}

// Gender is a code as PKB sends it, known or not.
type Gender string

// The codes that PKB's blog of 5 July 2017 lists.
const (
	GenderUnknown       Gender = "U"
	GenderMale          Gender = "M"
	GenderFemale        Gender = "F"
	GenderIndeterminate Gender = "I"
)

// Measure is a number as PKB sends it, in the unit of its field's name.
type Measure string

// Float64 returns the number; ok is false if there is none.
func (m Measure) Float64() (value float64, ok bool) {
	value, err := strconv.ParseFloat(string(m), 64)
	if err != nil || math.IsInf(value, 0) || math.IsNaN(value) {
		return 0, false
	}
	return value, true
}

// NewSelf returns a Self with these demographics, for tests. Its Patient is true.
func NewSelf(d Demographics) Self {
	d.Patient = true
	raw, _ := json.Marshal(d) // fails only for a local id that is not JSON
	return Self{conceal.Of(response{demographics: d, raw: string(raw), deceased: isDeceased(d.DateDeceased, nil)})}
}

// DecodeSelf decodes a response of users/self. A member whose JSON does not fit is
// left at its zero value; the rest is decoded.
//
// Only a response in which "patient" is false is ErrNotAPatient; "false", 0 and "no"
// are false, too. One in which it is neither true nor false is not about a user, such
// as {} or a notice of a proxy: that is another error, which proves nothing about who
// approved.
func DecodeSelf(data []byte) (Self, error) {
	var r response
	raw, err := jsonwalk.Whole(data, func(w *jsonwalk.Walk, name []byte) { readMember(w, string(name), &r) })
	if err != nil {
		return Self{}, errMalformed
	}
	switch r.patient {
	case unset:
		return Self{}, errNotAUser
	case no:
		return Self{}, ErrNotAPatient
	}
	r.demographics.Patient = true
	r.raw = string(raw)
	return Self{conceal.Of(r)}, nil
}

// Reveal returns the demographics: show them to the patient, and do not log them.
func (s Self) Reveal() Demographics { return conceal.Open(s.hidden).demographics }

// Raw returns a copy of the whole response as PKB sent it, without a byte-order
// mark: personal data, not for a log.
func (s Self) Raw() json.RawMessage {
	if s.IsZero() {
		return nil
	}
	return json.RawMessage(conceal.Open(s.hidden).raw)
}

// IsZero reports whether the Self is absent.
func (s Self) IsZero() bool { return conceal.Absent(s.hidden) }

// Equal reports whether both have the same demographics.
func (s Self) Equal(o Self) bool {
	return s.IsZero() == o.IsZero() && s.Deceased() == o.Deceased() && s.text() == o.text()
}

func (s Self) text() string {
	b, _ := json.Marshal(s.Reveal()) // fails only for a local id that is not JSON
	return string(b)
}

// Deceased reports whether PKB sent a date of death, in whatever format, or true.
// Anything else, such as "false", 0, {} or the stand-in 1900-01-01, is none.
func (s Self) Deceased() bool { return conceal.Open(s.hidden).deceased }

func readMember(w *jsonwalk.Walk, name string, r *response) {
	d := &r.demographics
	if text := texts[name]; text != nil {
		*text(d) = w.Scalar()
		return
	}
	if measure := measures[name]; measure != nil {
		*measure(d) = Measure(strings.TrimSpace(w.Scalar()))
		return
	}
	switch name {
	case "id":
		d.ID = UserID(strings.TrimSpace(w.Scalar()))
	case "dob":
		d.DateOfBirth = readDate(w.Scalar())
	case "dateDeceased":
		begin := w.At()
		d.DateDeceased = readDate(w.Scalar())
		r.deceased = isDeceased(d.DateDeceased, w.Since(begin))
	case "gender":
		d.Gender = Gender(strings.TrimSpace(w.Scalar()))
	case "genderMF":
		d.GenderMF = Gender(strings.TrimSpace(w.Scalar()))
	case "nationalIds":
		d.NationalIDs = readObjects(w, readNationalID)
	case "orgLevelIds":
		d.OrgLevelIDs = readRaw(w)
	case "teamLevelIds":
		d.TeamLevelIDs = readRaw(w)
	case "contacts":
		d.Contacts = readObjects(w, readContact)
	case "patient":
		r.patient = readFlag(w)
	}
}

// texts and measures return the field of a member of that type.
var (
	texts = map[string]func(*Demographics) *string{
		"userType":         func(d *Demographics) *string { return &d.UserType },
		"title":            func(d *Demographics) *string { return &d.Title },
		"firstName":        func(d *Demographics) *string { return &d.FirstName },
		"lastName":         func(d *Demographics) *string { return &d.LastName },
		"email":            func(d *Demographics) *string { return &d.Email },
		"phone":            func(d *Demographics) *string { return &d.Phone },
		"address1":         func(d *Demographics) *string { return &d.Address1 },
		"address2":         func(d *Demographics) *string { return &d.Address2 },
		"city":             func(d *Demographics) *string { return &d.City },
		"state":            func(d *Demographics) *string { return &d.State },
		"postalCode":       func(d *Demographics) *string { return &d.PostalCode },
		"country":          func(d *Demographics) *string { return &d.Country },
		"jobTitle":         func(d *Demographics) *string { return &d.JobTitle },
		"organizationName": func(d *Demographics) *string { return &d.OrganizationName },
		"teamName":         func(d *Demographics) *string { return &d.TeamName },
	}
	measures = map[string]func(*Demographics) *Measure{
		"heightCm":          func(d *Demographics) *Measure { return &d.HeightCentimetres },
		"heightFeet":        func(d *Demographics) *Measure { return &d.HeightFeet },
		"heightInches":      func(d *Demographics) *Measure { return &d.HeightInches },
		"heightInchesTotal": func(d *Demographics) *Measure { return &d.HeightInchesTotal },
		"weightKg":          func(d *Demographics) *Measure { return &d.WeightKilograms },
		"weightLbs":         func(d *Demographics) *Measure { return &d.WeightPounds },
	}
)

func readContact(w *jsonwalk.Walk, name string, c *Contact) {
	switch name {
	case "id":
		c.ID = w.Scalar()
	case "contactType":
		c.Type = w.Scalar()
	case "contactValue":
		c.Value = w.Scalar()
	case "phoneUseType":
		c.PhoneUse = w.Scalar()
	case "primary":
		c.Primary = readFlag(w) == yes
	case "confirmed":
		c.Confirmed = readFlag(w) == yes
	}
}

// flag is a boolean that may be absent.
type flag uint8

const (
	unset flag = iota
	no
	yes
)

// readFlag reads a boolean, and what encoders write for one.
func readFlag(w *jsonwalk.Walk) flag {
	switch strings.ToLower(strings.TrimSpace(w.Scalar())) {
	case "true", "1", "yes", "y":
		return yes
	case "false", "0", "no", "n":
		return no
	}
	return unset
}

// readObjects reads an array of objects, or a single one. Other elements are
// ignored.
func readObjects[T any](w *jsonwalk.Walk, member func(*jsonwalk.Walk, string, *T)) (found []T) {
	w.Each(func() {
		var v T
		if w.Object(func(name []byte) { member(w, string(name), &v) }) {
			found = append(found, v)
		}
	})
	return found
}

// readRaw reads an array, or a single element, undecoded.
func readRaw(w *jsonwalk.Walk) (found []json.RawMessage) {
	w.Each(func() {
		if e := w.Value(); len(e) > 0 && e[0] != 'n' && string(e) != `""` {
			found = append(found, append(json.RawMessage(nil), e...))
		}
	})
	return found
}
