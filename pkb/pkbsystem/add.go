// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/apicall"
	"github.com/betawerk/pkb-go/pkb/identity"
)

// Addition is a patient to add to the organisation.
type Addition struct {
	// Self is who the patient is: what pkb.Patient.Self returned, or what
	// identity.NewSelf makes of demographics of your own. Required are a national
	// identifier, FirstName, LastName, DateOfBirth and Gender.
	Self identity.Self
	// TeamAliases are teams of the organisation; none means its default team. If there
	// are any, one of them must be the default team's. They need Config.TeamAliasURL.
	TeamAliases []string
	// WithoutContacts leaves out e-mail addresses and the phone number. With an e-mail
	// address PKB may send the patient an invitation.
	WithoutContacts bool
}

// AddPatient adds the patient to the organisation, by PKB's $process-message, which is
// not FHIR's operation of that name: it creates a record if PKB has none, and updates
// the demographics of one that it has. Names are sent as one given and one family name,
// because middle names cannot be set.
//
// Nothing is sent, and an *InputError returned, if a required field is absent, if the
// national identifiers contradict each other, or if the gender is none of PKB's codes.
//
// The request is sent once, and never repeated after it may have reached PKB. An error
// that wraps ErrUncertain means that PKB's response is not known; any other *pkb.APIError
// that PKB has not accepted the patient, and its Outcome, if present, why. A 401 is such a
// refusal, after which the request is sent once more with a new token.
//
// (PKB: Process message; Link the Patient to your PKB Organisation. What PKB responds is
// inferred.)
func (c *Client) AddPatient(ctx context.Context, a Addition) (err error) {
	body, err := c.encode(a)
	if err != nil {
		return err
	}
	ctx, end := c.begin(ctx, opAdd)
	defer func() { end(err) }()
	data, failed := c.call(ctx, apicall.Request{
		Operation: opAdd, Method: http.MethodPost, URL: c.cfg.AddPatientURL, MediaType: mediaTypeFHIR, Body: body, AnySuccess: true,
	})
	if failed == nil {
		if outcome, err := fhir.DecodeOperationOutcome(data); err == nil && outcome.IsError() {
			return unusable(opAdd, data, "the response is an OperationOutcome with an error", nil)
		}
		return nil
	}
	err = errorOf(opAdd, failed)
	if failed.Sent && tokenError(failed.Err) == nil && mayBeDone(failed.Status) {
		return &uncertainError{err}
	}
	return err
}

// mayBeDone reports whether PKB may have accepted what it responds to with this status,
// 0 for no response. A redirect and a 4xx are refusals.
func mayBeDone(status int) bool {
	return status < 300 || status >= 500 || status == http.StatusRequestTimeout
}

// The Patient of $process-message (PKB: Process message), in STU3.
type (
	patient struct {
		ResourceType     string       `json:"resourceType"`
		Extension        []extension  `json:"extension,omitempty"`
		Identifier       []identifier `json:"identifier"`
		Name             []humanName  `json:"name"`
		Telecom          []identifier `json:"telecom,omitempty"` // a system and a value, too
		Gender           string       `json:"gender"`
		BirthDate        string       `json:"birthDate"`
		DeceasedBoolean  bool         `json:"deceasedBoolean,omitempty"`
		DeceasedDateTime string       `json:"deceasedDateTime,omitempty"`
		Address          []address    `json:"address,omitempty"`
	}
	extension struct {
		URL   string `json:"url"`
		Value string `json:"valueString"`
	}
	humanName struct {
		Family string   `json:"family"`
		Given  []string `json:"given"`
		Prefix []string `json:"prefix,omitempty"`
	}
	address struct {
		Line       []string `json:"line,omitempty"`
		City       string   `json:"city,omitempty"`
		State      string   `json:"state,omitempty"`
		PostalCode string   `json:"postalCode,omitempty"`
		Country    string   `json:"country,omitempty"`
	}
)

// genders are FHIR's codes by PKB's (PKB: Facade Patient, which has the reverse).
var genders = map[identity.Gender]string{
	identity.GenderUnknown: "unknown", identity.GenderMale: "male", identity.GenderFemale: "female", identity.GenderIndeterminate: "other",
}

// encode returns the Patient, or an *InputError.
func (c *Client) encode(a Addition) ([]byte, error) {
	d := a.Self.Reveal()
	var bad []string
	require := func(field string, usable bool) {
		if !usable {
			bad = append(bad, field)
		}
	}
	id, ok := nationalID(a.Self)
	require("NationalIDs", ok)
	require("FirstName", usableText(d.FirstName))
	require("LastName", usableText(d.LastName))
	require("DateOfBirth", !d.DateOfBirth.Time(time.UTC).IsZero())
	require("Gender", genders[d.Gender] != "")
	require("TeamAliases", len(a.TeamAliases) == 0 || c.cfg.TeamAliasURL != "" && !slices.ContainsFunc(a.TeamAliases, func(s string) bool { return !usableText(s) }))
	if bad != nil {
		return nil, &InputError{Fields: bad}
	}
	p := patient{
		ResourceType: "Patient", Identifier: []identifier{id}, Gender: genders[d.Gender], BirthDate: string(d.DateOfBirth),
		Name:             []humanName{{Family: strings.TrimSpace(d.LastName), Given: present(d.FirstName), Prefix: present(d.Title)}},
		Address:          addresses(d),
		DeceasedDateTime: string(d.DateDeceased), DeceasedBoolean: a.Self.Deceased() && d.DateDeceased == "",
	}
	for _, alias := range a.TeamAliases {
		p.Extension = append(p.Extension, extension{c.cfg.TeamAliasURL, alias})
	}
	if !a.WithoutContacts {
		p.Telecom = contacts(d)
	}
	return json.Marshal(p)
}

// nationalID returns the verified identifier: the NHS number, or else a number that
// serves in its place. ok is false without one, and if two of a kind differ.
func nationalID(self identity.Self) (id identifier, ok bool) {
	ids := self.Reveal().NationalIDs
	kinds := slices.Clone(statusKinds)
	for _, sent := range ids {
		if kind := sent.Kind(); kind != identity.KindUnknown && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	for _, kind := range kinds {
		for _, sent := range ids {
			if sent.Kind() != kind || strings.TrimSpace(sent.Value) == "" {
				continue
			}
			next := identifier{kind.System(), strings.TrimSpace(sent.Value)}
			if slices.Contains(statusKinds, kind) {
				number, err := identity.ParseNHSNumber(sent.Value)
				if err != nil || !number.ChecksumValid() {
					return identifier{}, false
				}
				next.Value = number.Reveal()
			}
			if ok && next != id {
				return identifier{}, false
			}
			id, ok = next, utf8.ValidString(next.Value)
		}
		if ok {
			return id, true
		}
	}
	return identifier{}, false
}

func usableText(s string) bool { return strings.TrimSpace(s) != "" && utf8.ValidString(s) }

// present returns the texts that are not empty.
func present(texts ...string) (found []string) {
	for _, s := range texts {
		if s = strings.TrimSpace(s); s != "" {
			found = append(found, s)
		}
	}
	return found
}

func addresses(d identity.Demographics) []address {
	a := address{
		Line: present(d.Address1, d.Address2), City: strings.TrimSpace(d.City), State: strings.TrimSpace(d.State),
		PostalCode: strings.TrimSpace(d.PostalCode), Country: strings.TrimSpace(d.Country),
	}
	if len(a.Line) == 0 && a.City+a.State+a.PostalCode+a.Country == "" {
		return nil
	}
	return []address{a}
}

// contacts returns the phone number and each e-mail address once, the main one first:
// PKB sends an invitation to one of them only.
func contacts(d identity.Demographics) (found []identifier) {
	for _, number := range present(d.Phone) {
		found = append(found, identifier{"phone", number})
	}
	addresses := present(d.Email)
	for _, c := range d.Contacts {
		if strings.EqualFold(c.Type, "EMAIL") {
			addresses = append(addresses, present(c.Value)...)
		}
	}
	for _, a := range addresses {
		if e := (identifier{"email", a}); !slices.Contains(found, e) {
			found = append(found, e)
		}
	}
	return found
}
