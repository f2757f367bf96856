// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// scopePatient is the only user type this server knows.
const scopePatient = "PATIENT"

// code is an authorization code; it is kept after use, to notice a second use.
type code struct {
	clientID string
	// redirectURI is what the authorize request sent, "" if nothing.
	redirectURI string
	// registered is where the code was sent to.
	registered string
	challenge  string
	publicID   string
	scope      string
	expires    time.Time
	// session was made from the code; nil while the code is unused.
	session *session
}

// authorizeRequest is an authorize request that was found to be good.
type authorizeRequest struct {
	sentRedirectURI string
	redirectURI     string
	state           string
	challenge       string
	// params are what the pages' forms carry along.
	params []param
}

type param struct{ Name, Value string }

// authorize serves the log-in page and the consent page (GET) and the consent
// page's buttons (POST). Documented: path, parameters, error page instead of
// redirect, a log-in and a page that names the client, with Approve and Deny.
// Inferred: that the pages post to their own address, and status 302 and 400.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	refuse := func() {
		sendPage(w, http.StatusMethodNotAllowed, errorPage, "This page is opened with GET.")
	}
	if !allow(w, r, refuse, http.MethodGet, http.MethodHead, http.MethodPost) {
		return
	}
	fields, problem := r.URL.Query(), ""
	if r.Method == http.MethodPost {
		fields, problem = readForm(r)
	}
	var req authorizeRequest
	if problem == "" {
		req, problem = s.readAuthorize(fields)
	}
	if problem != "" {
		sendPage(w, http.StatusBadRequest, errorPage, problem)
		return
	}
	if r.Method != http.MethodPost {
		s.logIn(w, req, fields)
		return
	}

	var back url.Values
	switch fields.Get("decision") {
	case "deny":
		back = url.Values{"error": {"access_denied"}}
	case "approve":
		issued, denies := s.issueCode(req, fields.Get("patient"))
		switch {
		case denies:
			back = url.Values{"error": {"access_denied"}}
		case issued == "":
			sendPage(w, http.StatusBadRequest, errorPage, "No patient was chosen, or one that this server does not know.")
			return
		default:
			back = url.Values{"code": {issued}}
		}
	default:
		sendPage(w, http.StatusBadRequest, errorPage, "The form was sent without Approve or Deny.")
		return
	}
	if req.state != "" {
		back.Set("state", req.state)
	}
	guardPage(w)
	w.Header().Set("Location", withQuery(req.redirectURI, back))
	send(w, http.StatusFound, "", nil)
}

// issueCode grants an authorization. It returns "" if nobody has that public id, or
// if whoever has it denies.
func (s *Server) issueCode(req authorizeRequest, publicID string) (issued string, denies bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.patient(publicID)
	if p == nil || p.Denies {
		return "", p != nil
	}
	issued = newToken()
	s.codes[issued] = &code{
		clientID: s.cfg.ClientID, redirectURI: req.sentRedirectURI, registered: req.redirectURI,
		challenge: req.challenge, publicID: publicID, scope: scopePatient, expires: s.now().Add(s.cfg.CodeLife),
	}
	return issued, false
}

var challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// readAuthorize checks an authorize request. What is wrong with it is returned
// as a sentence for the error page.
func (s *Server) readAuthorize(q url.Values) (authorizeRequest, string) {
	for name, values := range q {
		if len(values) > 1 {
			return authorizeRequest{}, fmt.Sprintf("The parameter %q was sent more than once.", name)
		}
	}
	req := authorizeRequest{
		sentRedirectURI: q.Get("redirect_uri"), redirectURI: q.Get("redirect_uri"),
		state: q.Get("state"), challenge: q.Get("code_challenge"),
	}
	for _, name := range []string{"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"} {
		if q.Has(name) {
			req.params = append(req.params, param{name, q.Get(name)})
		}
	}
	switch {
	case q.Get("client_id") == "":
		return req, "The parameter client_id is missing."
	case q.Get("client_id") != s.cfg.ClientID:
		return req, fmt.Sprintf("The client_id %q is not known; this server knows %q.", q.Get("client_id"), s.cfg.ClientID)
	case q.Get("response_type") != "code":
		return req, "The parameter response_type must be code."
	case q.Has("scope") && q.Get("scope") != scopePatient:
		return req, fmt.Sprintf("The scope %q is not enabled for this client; PATIENT is.", q.Get("scope"))
	}
	if req.sentRedirectURI == "" {
		if len(s.cfg.RedirectURIs) != 1 {
			return req, "The parameter redirect_uri is missing, and several are registered."
		}
		req.redirectURI = s.cfg.RedirectURIs[0]
	} else if !slices.ContainsFunc(s.cfg.RedirectURIs, func(base string) bool { return redirectMatches(base, req.redirectURI) }) {
		return req, fmt.Sprintf("The redirect_uri %q is not registered; registered are: %s.", req.sentRedirectURI, strings.Join(s.cfg.RedirectURIs, " "))
	}
	method := q.Get("code_challenge_method")
	switch {
	case req.challenge == "" && s.cfg.RequirePKCE:
		return req, "The parameter code_challenge is missing; this client must use PKCE."
	case req.challenge == "" && method != "":
		return req, "The parameter code_challenge_method was sent without code_challenge."
	case req.challenge != "" && method != "S256":
		return req, "The parameter code_challenge_method must be S256."
	case req.challenge != "" && !challengeForm.MatchString(req.challenge):
		return req, "The parameter code_challenge is not the base64url form of a SHA-256 sum."
	}
	return req, ""
}

// redirectMatches reports whether sent is the registered base, with or without
// more query parameters. PKB documents only that sentence; the rest is
// inferred: everything else must be equal, but for the port of a loopback
// address.
func redirectMatches(base, sent string) bool {
	if base == sent {
		return true
	}
	b, err := url.Parse(base)
	if err != nil {
		return false
	}
	u, err := url.Parse(sent)
	if err != nil || strings.Contains(sent, "#") {
		return false
	}
	if u.Scheme != b.Scheme || u.Opaque != b.Opaque || u.User.String() != b.User.String() || u.EscapedPath() != b.EscapedPath() {
		return false
	}
	loopback := u.Scheme == "http" && isLoopback(b.Hostname()) && u.Hostname() == b.Hostname()
	if !strings.EqualFold(u.Host, b.Host) && !loopback {
		return false
	}
	extra := u.Query()
	for name, values := range b.Query() {
		if !slices.Equal(extra[name], values) {
			return false
		}
	}
	// A code or state of the app's own making would be mixed up with ours.
	return !extra.Has("code") && !extra.Has("state") && !extra.Has("error")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// withQuery adds to a query without touching what is there.
func withQuery(uri string, add url.Values) string {
	joint := "?"
	if strings.Contains(uri, "?") {
		joint = "&"
	}
	return uri + joint + add.Encode()
}
