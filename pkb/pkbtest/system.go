// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Endpoints of system clients. Their other calls go to Facade.
const (
	SystemToken Endpoint = "system-token" // api/oauth/token
	Messaging   Endpoint = "messaging"    // phr-fhir/Patient/$process-message
)

const (
	statusQueryPath = "Patient/$status-query"
	userType        = "USER_TYPE_NOT_PERM"
	systemScope     = "system"
	maxStatusQuery  = 5000 // PKB's figure
)

// systemAnswer is the response of the system clients' token endpoint; its members
// are documented, and the values of scope and client_name are not.
type systemAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope"`
	JTI         string `json:"jti"`
	ClientName  string `json:"client_name"`
}

// unauthorized is the refusal as PKB's page prints it, without a comma.
const unauthorized = `{"error":"unauthorized" "error_description":"Full authentication is required to access this resource"}`

// systemToken serves the system clients' token endpoint. Documented: the form, HTTP
// Basic without any encoding of id and secret, the members of the response, the 401.
// Inferred: other refusals.
func (s *Server) systemToken(w http.ResponseWriter, r *http.Request) {
	refuse := func() {
		sendRefusal(w, &tokenRefusal{status: http.StatusMethodNotAllowed, Error: "invalid_request", Description: "use POST"})
	}
	if !allow(w, r, refuse, http.MethodPost) {
		return
	}
	id, secret, ok := r.BasicAuth()
	if !ok || id != s.cfg.SystemClientID || subtle.ConstantTimeCompare([]byte(secret), []byte(s.cfg.SystemClientSecret)) != 1 {
		w.Header().Set("WWW-Authenticate", `Basic realm="pkbtest"`)
		w.Header().Set("Cache-Control", "no-store")
		send(w, http.StatusUnauthorized, "application/json", []byte(unauthorized))
		return
	}
	form, problem := readForm(r)
	switch scope := form.Get("scope"); {
	case problem != "":
		sendRefusal(w, refusal("invalid_request", problem))
	case form.Get("grant_type") != "client_credentials":
		sendRefusal(w, refusal("unsupported_grant_type", "client_credentials is supported"))
	case scope != "" && scope != systemScope:
		sendRefusal(w, refusal("invalid_scope", "the scope is not this client's"))
	default:
		sendTokenJSON(w, http.StatusOK, s.issueSystemToken())
	}
}

func (s *Server) issueSystemToken() systemAnswer {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := newToken() + "." + newToken() + "." + newToken() // it looks like a JWT
	s.system[token] = s.now().Add(s.cfg.TokenLife)
	return systemAnswer{
		AccessToken: token, TokenType: "bearer", ExpiresIn: int64(s.cfg.TokenLife / time.Second),
		Scope: systemScope, JTI: newToken(), ClientName: s.cfg.SystemClientID,
	}
}

// systemFacade serves what the Facade offers to system clients, of which this server
// has two calls: the search for a patient, and $status-query.
func (s *Server) systemFacade(w http.ResponseWriter, r *http.Request, path string) {
	o := s.onBehalf(w, r)
	if o == nil {
		return
	}
	otherMethod := func() { sendProblem(w, r, http.StatusMethodNotAllowed, "this is not offered with this method") }
	switch path {
	case "Patient":
		if allow(w, r, otherMethod, http.MethodGet) {
			s.findForSystem(w, r, o)
		}
	case statusQueryPath:
		if allow(w, r, otherMethod, http.MethodPost) {
			s.statusQuery(w, r, o)
		}
	default:
		sendCode(w, r, userType)
	}
}

// findForSystem serves the search for a patient by NHS number.
func (s *Server) findForSystem(w http.ResponseWriter, r *http.Request, o *Organisation) {
	q := r.URL.Query()
	system, value, _ := strings.Cut(q.Get("identifier"), "|")
	if len(q) != 1 || len(q["identifier"]) != 1 || system != nhsNumberSystem {
		sendProblem(w, r, http.StatusBadRequest, "the one parameter is identifier, and only NHS numbers are supported")
		return
	}
	found := &result{}
	s.mu.Lock()
	if p := s.byNationalID(system, value); p != nil && !o.mayNotSee(p) {
		found.matches = []*resource{{kind: "Patient", id: p.PublicID, body: facadePatient(p)}}
	}
	s.mu.Unlock()
	s.send(w, found, "", 0)
}

func (o *Organisation) mayNotSee(p *Patient) bool { return slices.Contains(o.NoAccess, p.PublicID) }

// sentIdentifier is a FHIR identifier.
type sentIdentifier struct {
	System string `json:"system"`
	Value  string `json:"value"`
}

// statusQuery serves $status-query. Documented: the names of the parameters, their
// number, the supported systems, and the two diagnostics. Inferred: their types.
func (s *Server) statusQuery(w http.ResponseWriter, r *http.Request, o *Organisation) {
	body, _ := io.ReadAll(r.Body) // it was read before
	r.Body = io.NopCloser(bytes.NewReader(body))
	if status, problem := checkParameters(r); status != 0 {
		sendProblem(w, r, status, problem)
		return
	}
	var sent struct {
		Parameter []struct {
			Name       string         `json:"name"`
			Identifier sentIdentifier `json:"valueIdentifier"`
		} `json:"parameter"`
	}
	if err := json.Unmarshal(body, &sent); err != nil || len(sent.Parameter) == 0 || len(sent.Parameter) > maxStatusQuery {
		sendProblem(w, r, http.StatusBadRequest, "there must be 1 to 5000 parameters patientIdentifier")
		return
	}
	var found []any
	for _, p := range sent.Parameter {
		if p.Name != "patientIdentifier" || !isSupported(p.Identifier.System) {
			sendProblem(w, r, http.StatusBadRequest, "a parameter or an identifier's system is not supported, so the whole request is refused")
			return
		}
		found = append(found, map[string]any{"name": "patientStatus", "part": s.statusOf(o, p.Identifier)})
	}
	sendResource(w, mustJSON(map[string]any{"resourceType": "Parameters", "parameter": found}))
}

func isSupported(system string) bool {
	for _, known := range nationalSystems {
		if known == system {
			return true
		}
	}
	return false
}

// statusOf returns the parts about one patient.
func (s *Server) statusOf(o *Organisation, id sentIdentifier) []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := []any{map[string]any{"name": "patientIdentifier", "valueIdentifier": id}}
	add := func(name, kind string, value any) { parts = append(parts, map[string]any{"name": name, kind: value}) }
	p := s.byNationalID(id.System, id.Value)
	if p == nil {
		add("diagnostics", "valueString", "Not found")
		return parts
	}
	add("registered", "valueBoolean", !s.unregistered[p.PublicID])
	add("deceased", "valueBoolean", p.Self["dateDeceased"] != nil)
	if o.mayNotSee(p) {
		add("diagnostics", "valueString", "No access")
	} else {
		add("dateOfBirth", "valueDate", p.DateOfBirth)
	}
	return parts
}
