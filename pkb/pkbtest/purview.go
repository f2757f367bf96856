// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
)

type parameters struct {
	ResourceType string      `json:"resourceType"`
	Parameter    []parameter `json:"parameter,omitempty"`
}

type parameter struct {
	Name           string    `json:"name"`
	ValueReference reference `json:"valueReference"`
}

type reference struct {
	Reference string `json:"reference"`
}

// purview serves the Purview operation. Documented: the response. Inferred: path
// and methods.
func (s *Server) purview(w http.ResponseWriter, r *http.Request) {
	methods := []string{http.MethodGet, http.MethodPost}
	if s.cfg.PurviewGETOnly {
		methods = methods[:1]
	}
	if s.cfg.PurviewPOSTOnly {
		methods = methods[len(methods)-1:]
	}
	if s.cfg.PurviewGETOnly && s.cfg.PurviewPOSTOnly {
		methods = nil
	}
	patient := s.caller(w, r, "the operation is not offered with this method", methods...)
	if patient == nil {
		return
	}
	references := patient.Purview
	if references == nil {
		references = []string{"Patient/" + patient.PublicID}
	}
	answer := parameters{ResourceType: "Parameters"}
	for _, ref := range references {
		answer.Parameter = append(answer.Parameter, parameter{Name: "purview", ValueReference: reference{ref}})
	}
	var body bytes.Buffer
	_ = json.Indent(&body, mustJSON(answer), "", "    ") // as PKB prints it
	w.Header().Set("Cache-Control", "no-store")
	send(w, http.StatusOK, mediaTypeFHIR, body.Bytes())
}

// caller returns the patient whose token a valid request has; or nil, when it has
// sent an error.
func (s *Server) caller(w http.ResponseWriter, r *http.Request, otherMethod string, methods ...string) *Patient {
	refuse := func() { sendProblem(w, r, http.StatusMethodNotAllowed, otherMethod) }
	if !allow(w, r, refuse, methods...) {
		return nil
	}
	if status, problem := checkParameters(r); status != 0 {
		sendProblem(w, r, status, problem)
		return nil
	}
	patient, code := s.bearer(r)
	if code != "" {
		sendCode(w, r, code)
		return nil
	}
	return patient
}

// checkParameters accepts no body without a content type, or a Parameters
// resource. Everything else is refused (inferred from the kind of server that
// PKB's Facade appears to be).
func checkParameters(r *http.Request) (int, string) {
	if r.Method != http.MethodPost {
		return 0, ""
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return http.StatusBadRequest, "the body could not be read"
	}
	contentType := r.Header.Get("Content-Type")
	if contentType == "" && len(body) == 0 {
		return 0, ""
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	switch {
	case contentType == "":
		return http.StatusBadRequest, "the body has no content type"
	case err != nil || mediaType == "application/x-www-form-urlencoded":
		return http.StatusBadRequest, "the content type must be " + mediaTypeFHIR
	case mediaType != mediaTypeFHIR && mediaType != "application/json+fhir" && mediaType != "application/json":
		return http.StatusUnsupportedMediaType, "the content type must be " + mediaTypeFHIR
	}
	var sent struct {
		ResourceType string `json:"resourceType"`
	}
	if err := json.Unmarshal(body, &sent); err != nil || sent.ResourceType != "Parameters" {
		return http.StatusBadRequest, "the body must be a Parameters resource"
	}
	return 0, ""
}
