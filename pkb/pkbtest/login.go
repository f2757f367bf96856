// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"net/http"
	"net/url"
	"strings"
)

// maxListed is how many patients the log-in page lists; the others are typed.
const maxListed = 30

type login struct {
	Client  string
	Params  []param
	Problem string
	// Who is what was typed.
	Who       string
	Scenarios []*Patient
	Others    []*Patient
	Unlisted  int
}

type consent struct {
	Client  string
	Params  []param
	Patient *Patient
	// Again is the address of the log-in page.
	Again string
}

// logIn sends the log-in page, or, when somebody was chosen on it,
// the consent page. Both are asked for with GET and change nothing, so that the
// browser's Back and Reload do what they should.
func (s *Server) logIn(w http.ResponseWriter, req authorizeRequest, fields url.Values) {
	if !fields.Has("patient") && !fields.Has("who") {
		sendPage(w, http.StatusOK, loginPage, s.login(req))
		return
	}
	who := strings.TrimSpace(fields.Get("who"))
	s.mu.Lock()
	p := s.patient(fields.Get("patient"))
	if who != "" {
		p = s.find(who)
	}
	s.mu.Unlock()
	if p == nil {
		page := s.login(req)
		page.Who, page.Problem = who, "Choose who you are, or type a public id or an e-mail address."
		if who != "" {
			page.Problem = "Nobody here has this public id or e-mail address."
		}
		sendPage(w, http.StatusBadRequest, loginPage, page)
		return
	}
	again := url.Values{}
	for _, param := range req.params {
		again.Set(param.Name, param.Value)
	}
	sendPage(w, http.StatusOK, consentPage, consent{s.cfg.ClientName, req.params, p, "apiAuthorize.action?" + again.Encode()})
}

// login lists those with a scenario before the others.
func (s *Server) login(req authorizeRequest) login {
	page := login{Client: s.cfg.ClientName, Params: req.params}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.patients {
		if p.Scenario != "" && len(page.Scenarios) < maxListed {
			page.Scenarios = append(page.Scenarios, p)
		}
	}
	for _, p := range s.patients {
		if p.Scenario == "" && len(page.Scenarios)+len(page.Others) < maxListed {
			page.Others = append(page.Others, p)
		}
	}
	page.Unlisted = len(s.patients) - len(page.Scenarios) - len(page.Others)
	return page
}
