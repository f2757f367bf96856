// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/betawerk/pkb-go/internal/apicall"
	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/internal/jsonwalk"
	"github.com/betawerk/pkb-go/pkb/identity"
)

// PatientStatus is what PKB reports about one number. It prints [redacted] and is not
// encoded; Reveal returns the content. The zero PatientStatus is absent: PKB's response
// did not mention the number, or in words that are not known.
type PatientStatus struct{ hidden }

type hidden = conceal.Hidden[StatusDetails]

// StatusDetails is the content of a PatientStatus, in plain Go. It is personal data: do
// not log it.
type StatusDetails struct {
	// Presence is whether PKB knows the number.
	Presence Presence
	// Registered reports that somebody can log in to the record; nil if PKB does not
	// report it, as for NotFound.
	Registered *bool
	// Deceased is nil if PKB does not report it.
	Deceased *bool
	// DateOfBirth is "" unless the presence is Found.
	DateOfBirth identity.Date
}

// Presence is whether PKB knows a number.
type Presence string

// The presences, by PKB's words.
const (
	Found    Presence = "found"
	NotFound Presence = "not found"
	// NoAccess: PKB knows the number, and does not show the record to the organisation.
	NoAccess Presence = "no access"
)

// Reveal returns the content.
func (s PatientStatus) Reveal() StatusDetails { return conceal.Open(s.hidden) }

// IsZero reports whether the PatientStatus is absent.
func (s PatientStatus) IsZero() bool { return conceal.Absent(s.hidden) }

// Equal reports whether both are the same.
func (s PatientStatus) Equal(o PatientStatus) bool {
	a, b := s.Reveal(), o.Reveal()
	same := func(a, b *bool) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
	return a.Presence == b.Presence && a.DateOfBirth == b.DateOfBirth && same(a.Registered, b.Registered) && same(a.Deceased, b.Deceased)
}

// statusKinds are those that $status-query takes; another refuses the whole request.
var statusKinds = []identity.NationalIDKind{identity.KindNHSNumber, identity.KindCHINumber, identity.KindHealthAndCareNumber}

// Status reports for each number whether PKB knows it, and whether its owner is
// registered or deceased. The result has the order of numbers. kind is what the
// numbers are: identity.KindNHSNumber, KindCHINumber or KindHealthAndCareNumber.
//
// It sends Config.StatusBatch numbers at a time, one request after the other. On an
// error the result has what the requests before it returned.
//
// It returns an *InputError, without sending anything, for another kind, and for a
// number that is absent or has a wrong check digit; or a *pkb.APIError.
//
// (PKB: Status query. The types of the values in a response are inferred.)
func (c *Client) Status(ctx context.Context, kind identity.NationalIDKind, numbers ...identity.NHSNumber) (all []PatientStatus, err error) {
	var bad []string
	if !slices.Contains(statusKinds, kind) {
		bad = append(bad, "kind")
	}
	for i, n := range numbers {
		if !n.ChecksumValid() {
			bad = append(bad, "numbers["+strconv.Itoa(i)+"]")
		}
	}
	if bad != nil {
		return nil, &InputError{Fields: bad}
	}
	all = make([]PatientStatus, 0, len(numbers))
	for batch := range slices.Chunk(numbers, c.cfg.StatusBatch) {
		found, err := c.status(ctx, kind, batch)
		if err != nil {
			return append(all, make([]PatientStatus, len(numbers)-len(all))...), err
		}
		for _, n := range batch {
			all = append(all, found[n.Reveal()])
		}
	}
	return all, nil
}

// identifier is a FHIR identifier.
type identifier struct {
	System string `json:"system"`
	Value  string `json:"value"`
}

// status sends one batch, and returns what was found by number.
func (c *Client) status(ctx context.Context, kind identity.NationalIDKind, numbers []identity.NHSNumber) (found map[string]PatientStatus, err error) {
	type parameter struct {
		Name            string     `json:"name"`
		ValueIdentifier identifier `json:"valueIdentifier"`
	}
	sent := struct {
		ResourceType string      `json:"resourceType"`
		Parameter    []parameter `json:"parameter"`
	}{ResourceType: "Parameters"}
	asked := make(map[string]bool, len(numbers))
	for _, n := range numbers {
		if number := n.Reveal(); !asked[number] {
			asked[number] = true
			sent.Parameter = append(sent.Parameter, parameter{"patientIdentifier", identifier{kind.System(), number}})
		}
	}
	body, err := json.Marshal(sent)
	if err != nil {
		return nil, err
	}
	request := apicall.Request{Operation: opStatus, Method: http.MethodPost, URL: c.cfg.StatusURL, MediaType: mediaTypeFHIR, Body: body, Repeatable: true}
	err = c.read(ctx, request, func(data []byte) (problem string, err error) {
		found, problem, err = statusesIn(data, kind)
		return problem, err
	})
	return found, err
}

// statusesIn returns what a response of $status-query reports, by number.
func statusesIn(data []byte, kind identity.NationalIDKind) (found map[string]PatientStatus, problem string, err error) {
	found = map[string]PatientStatus{}
	types, twice := 0, false
	_, err = jsonwalk.Whole(data, func(w *jsonwalk.Walk, name []byte) {
		switch string(name) {
		case "resourceType":
			if w.Text() == "Parameters" {
				types++
			}
		case "parameter":
			w.Each(func() {
				id, status := statusAt(w)
				number, err := identity.ParseNHSNumber(id.Value)
				if err != nil || strings.TrimSpace(id.System) != kind.System() || status.Presence == "" {
					return
				}
				s := PatientStatus{conceal.Of(status)}
				if before, ok := found[number.Reveal()]; ok && !before.Equal(s) {
					twice = true
				}
				found[number.Reveal()] = s
			})
		}
	})
	switch {
	case err != nil:
		return nil, "the response is not JSON", err
	case types != 1:
		return nil, "the response is not Parameters", nil
	case twice:
		return nil, "the response contradicts itself about a patient", nil
	}
	return found, "", nil
}

// statusAt walks through a parameter patientStatus.
func statusAt(w *jsonwalk.Walk) (id identifier, status StatusDetails) {
	called, diagnostics, hasDiagnostics := "", "", false
	w.Object(func(name []byte) {
		switch string(name) {
		case "name":
			called = w.Text()
		case "part":
			w.Each(func() {
				part := partAt(w)
				switch part.name {
				case "patientIdentifier":
					id = part.identifier
				case "registered":
					status.Registered = part.truth()
				case "deceased":
					status.Deceased = part.truth()
				case "dateOfBirth":
					status.DateOfBirth = part.date()
				case "diagnostics":
					diagnostics, hasDiagnostics = strings.ToLower(strings.Join(strings.Fields(part.text), " ")), true
				}
			})
		}
	})
	switch {
	case called != "patientStatus":
	case !hasDiagnostics || diagnostics == "":
		status.Presence = Found
	case diagnostics == string(NotFound) || diagnostics == string(NoAccess):
		status.Presence = Presence(diagnostics)
	}
	if status.Presence != Found {
		status.DateOfBirth = ""
	}
	return id, status
}

// statusPart is one part of a parameter, with a value of any type.
type statusPart struct {
	name, text string
	identifier identifier
}

func partAt(w *jsonwalk.Walk) (part statusPart) {
	w.Object(func(name []byte) {
		switch n := string(name); {
		case n == "name":
			part.name = w.Text()
		case !strings.HasPrefix(n, "value"):
		case w.Next() == '{':
			w.Object(func(name []byte) {
				switch string(name) {
				case "system":
					part.identifier.System = w.Text()
				case "value":
					part.identifier.Value = w.Scalar()
				}
			})
		default:
			part.text = w.Scalar()
		}
	})
	return part
}

func (p statusPart) truth() *bool {
	switch p.text {
	case "true", "false":
		value := p.text == "true"
		return &value
	}
	return nil
}

func (p statusPart) date() identity.Date {
	date, _ := identity.ParseDate(p.text[:min(len(p.text), len("2000-02-29"))])
	return date
}
