// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"net/http"
	"strings"
)

// PKB's response codes, as documented in its code system.
const (
	codeTokenExpired   = "ACC_TOKEN_EXPIRED"
	codeBadAuth        = "BAD_AUTHENTICATION"
	codeSessionExpired = "API_SESSION_EXPIRED"
	codeSessionInvalid = "API_SESSION_INVALID"
	codeFrozen         = "ACCESS_FROZEN_OUTWARD"

	responseCodeSystem = "http://fhir.patientsknowbest.com/codesystem/response-code"
	mediaTypeFHIR      = "application/fhir+json"
)

// statusOf returns the HTTP status of a response code; PKB documents none.
func statusOf(code string) int {
	switch code {
	case codeTokenExpired, codeBadAuth, codeSessionExpired, codeSessionInvalid:
		return http.StatusUnauthorized
	}
	return http.StatusForbidden
}

type operationOutcome struct {
	ResourceType string         `json:"resourceType"`
	Issue        []outcomeIssue `json:"issue"`
}

type outcomeIssue struct {
	Severity    string          `json:"severity"`
	Code        string          `json:"code"`
	Details     *outcomeDetails `json:"details,omitempty"`
	Diagnostics string          `json:"diagnostics,omitempty"`
}

type outcomeDetails struct {
	Coding []outcomeCoding `json:"coding"`
}

type outcomeCoding struct {
	System string `json:"system"`
	Code   string `json:"code"`
}

// sendCode sends one of PKB's response codes. PKB documents the code
// system and that an OperationOutcome carries the code; the place in it, the
// status and the media type are inferred.
func sendCode(w http.ResponseWriter, r *http.Request, code string) {
	status := statusOf(code)
	issue := "forbidden"
	if status == http.StatusUnauthorized {
		issue = "login"
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	sendOutcome(w, r, status, outcomeIssue{
		Code:    issue,
		Details: &outcomeDetails{Coding: []outcomeCoding{{System: responseCodeSystem, Code: code}}},
	})
}

// sendProblem sends an OperationOutcome that has no response code.
func sendProblem(w http.ResponseWriter, r *http.Request, status int, diagnostics string) {
	code := "processing"
	switch status {
	case http.StatusNotFound:
		code = "not-found"
	case http.StatusForbidden:
		code = "forbidden"
	case http.StatusMethodNotAllowed:
		code = "not-supported"
	}
	sendOutcome(w, r, status, outcomeIssue{Code: code, Diagnostics: diagnostics})
}

func sendOutcome(w http.ResponseWriter, r *http.Request, status int, issue outcomeIssue) {
	issue.Severity = "error"
	contentType := mediaTypeFHIR
	if strings.HasSuffix(r.URL.Path, "/json/users/self") {
		contentType = "application/json"
	}
	w.Header().Set("Cache-Control", "no-store")
	send(w, status, contentType, mustJSON(operationOutcome{ResourceType: "OperationOutcome", Issue: []outcomeIssue{issue}}))
}

func fhirNotFound(w http.ResponseWriter, r *http.Request) {
	sendProblem(w, r, http.StatusNotFound, "there is nothing at this address")
}

// bearer returns the patient whose access token r has, which was sent without an
// organisation, or the response code for
// why there is none.
func (s *Server) bearer(r *http.Request) (*Patient, string) {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return nil, codeBadAuth
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.access[token]
	if _, system := s.system[token]; system || a != nil && r.Header.Get("X-Org-Public-Id") != "" {
		return nil, userType // a patient has no organisation, and a system client no record (inferred)
	}
	if a == nil || !strings.EqualFold(scheme, "Bearer") {
		return nil, codeBadAuth
	}
	if over := a.session.over(s.now()); over != "" {
		return nil, over
	}
	if !s.now().Before(a.expires) {
		return nil, codeTokenExpired
	}
	if s.frozen[a.session.publicID] {
		return nil, codeFrozen
	}
	return s.patient(a.session.publicID), ""
}
