// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"encoding/json"
	"mime"
	"net/http"
	"time"
)

// sentPatient is the Patient that $process-message takes.
type sentPatient struct {
	ResourceType string `json:"resourceType"`
	ID           string `json:"id"`
	Extension    []struct {
		URL   string `json:"url"`
		Value string `json:"valueString"`
	} `json:"extension"`
	Identifier []sentIdentifier `json:"identifier"`
	Name       []struct {
		Family string   `json:"family"`
		Given  []string `json:"given"`
		Prefix []string `json:"prefix"`
	} `json:"name"`
	Telecom []sentIdentifier `json:"telecom"` // they have a system and a value, too
	Gender  string           `json:"gender"`
	Birth   string           `json:"birthDate"`
	Address []struct {
		Line       []string `json:"line"`
		City       string   `json:"city"`
		State      string   `json:"state"`
		PostalCode string   `json:"postalCode"`
		Country    string   `json:"country"`
	} `json:"address"`
	Deceased     bool   `json:"deceasedBoolean"`
	DeceasedDate string `json:"deceasedDateTime"`
}

// processMessage serves $process-message: it creates or updates a patient, and puts
// them into the organisation. Documented: the elements, which of them are required,
// and the rule of the default team. Inferred: every response, and the extension.
func (s *Server) processMessage(w http.ResponseWriter, r *http.Request) {
	refuse := func() { sendProblem(w, r, http.StatusMethodNotAllowed, "use POST") }
	if !allow(w, r, refuse, http.MethodPost) {
		return
	}
	if !s.isSystem(r) {
		code := codeBadAuth
		if patient, _ := s.bearer(r); patient != nil {
			code = userType
		}
		sendCode(w, r, code)
		return
	}
	o := s.onBehalf(w, r)
	if o == nil {
		return
	}
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var sent sentPatient
	if err := json.NewDecoder(r.Body).Decode(&sent); err != nil || mediaType != mediaTypeFHIR || sent.ResourceType != "Patient" {
		sendProblem(w, r, http.StatusBadRequest, "the body must be a Patient in "+mediaTypeFHIR)
		return
	}
	teams := s.teamsOf(sent)
	problem := sent.problem()
	if problem == "" {
		problem = o.wrongTeams(teams)
	}
	if problem != "" {
		sendProblem(w, r, http.StatusUnprocessableEntity, problem)
		return
	}
	s.put(o, sent, teams)
	sendResource(w, mustJSON(operationOutcome{ResourceType: "OperationOutcome", Issue: []outcomeIssue{{Severity: "information", Code: "informational"}}}))
}

func (s *Server) teamsOf(sent sentPatient) (teams []string) {
	for _, e := range sent.Extension {
		if e.URL == s.cfg.TeamAliasURL {
			teams = append(teams, e.Value)
		}
	}
	return teams
}

var genders = map[string]string{"unknown": "U", "male": "M", "female": "F", "other": "I"}

// problem returns what is wrong with a Patient, or "".
func (p sentPatient) problem() string {
	_, err := time.Parse(time.DateOnly, p.Birth)
	switch {
	case p.ID != "":
		return "the public id cannot be set"
	case len(p.Identifier) != 1 || !isSupported(p.Identifier[0].System) || p.Identifier[0].Value == "":
		return "one national identifier of a known system is required"
	case len(p.Name) != 1 || p.Name[0].Family == "" || len(p.Name[0].Given) == 0 || p.Name[0].Given[0] == "":
		return "name.family and name.given are required"
	case len(p.Name[0].Given) > 1:
		return "middle names cannot be set"
	case err != nil:
		return "birthDate is required"
	case genders[p.Gender] == "":
		return "gender is required"
	}
	return ""
}

// put creates or updates the patient.
func (s *Server) put(o *Organisation, sent sentPatient, teams []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := sent.Identifier[0]
	was := s.byNationalID(id.System, id.Value)
	var p Patient
	if was != nil {
		p = *was
	} else if id.System == nhsNumberSystem {
		p.NHSNumber = id.Value
	} else {
		p.NoNHSNumber = true
		for name, system := range nationalSystems {
			if system == id.System {
				p = withSelf(p, map[string]any{"nationalIds": []nationalID{{Value: id.Value, Name: name}}})
			}
		}
	}
	p = sent.onto(p)
	added := s.add(p)
	if was == nil {
		s.unregistered[added.PublicID] = true // until somebody accepts the invitation
	}
	s.join(o, added.PublicID, teams)
}

// onto returns p with the demographics that were sent.
func (p sentPatient) onto(to Patient) Patient {
	name := p.Name[0]
	to.FirstName, to.LastName, to.DateOfBirth, to.Gender = name.Given[0], name.Family, p.Birth, genders[p.Gender]
	if len(name.Prefix) > 0 {
		to.Title = name.Prefix[0]
	}
	members := map[string]any{}
	for _, c := range p.Telecom {
		if c.System == "email" && c.Value != "" {
			to.Email = c.Value
		}
		if c.System == "phone" && c.Value != "" {
			members["phone"] = c.Value
		}
	}
	if len(p.Address) > 0 {
		a := p.Address[0]
		for i, line := range a.Line {
			members[[]string{"address1", "address2"}[min(i, 1)]] = line
		}
		members["city"], members["state"], members["postalCode"], members["country"] = a.City, a.State, a.PostalCode, a.Country
	}
	if p.Deceased || p.DeceasedDate != "" {
		members["dateDeceased"] = true
		if p.DeceasedDate != "" {
			members["dateDeceased"] = p.DeceasedDate
		}
	}
	return withSelf(to, members)
}
