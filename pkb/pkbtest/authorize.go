// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
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

// code is an authorization code; it stays known after use, to notice a second.
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
	// params are what the consent form carries along.
	params []param
}

type param struct{ Name, Value string }

// authorize serves the consent page (GET) and its buttons (POST). Documented:
// path, parameters, error page instead of redirect, Approve and Deny. Inferred:
// that the page posts to its own address, and status 302 and 400.
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
		s.mu.Lock()
		patients := slices.Clone(s.patients)
		s.mu.Unlock()
		sendPage(w, http.StatusOK, consentPage, struct {
			Client   string
			Params   []param
			Patients []*Patient
		}{s.cfg.ClientID, req.params, patients})
		return
	}

	var back url.Values
	switch fields.Get("decision") {
	case "deny":
		back = url.Values{"error": {"access_denied"}}
	case "approve":
		issued := s.issueCode(req, fields.Get("patient"))
		if issued == "" {
			sendPage(w, http.StatusBadRequest, errorPage, "No patient was chosen, or one that this server does not know.")
			return
		}
		back = url.Values{"code": {issued}}
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

// issueCode commits an approval. It returns "" if nobody has that public id.
func (s *Server) issueCode(req authorizeRequest, publicID string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.patient(publicID) == nil {
		return ""
	}
	issued := newToken()
	s.codes[issued] = &code{
		clientID: s.cfg.ClientID, redirectURI: req.sentRedirectURI, registered: req.redirectURI,
		challenge: req.challenge, publicID: publicID, scope: scopePatient, expires: s.now().Add(s.cfg.CodeLife),
	}
	return issued
}

var challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// readAuthorize checks an authorize request. What is wrong with it comes back
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

// redirectMatches says whether sent is the registered base, with or without
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

const pageStyle = `body{font:1.1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}` +
	`fieldset{margin:1rem 0}label{display:block;padding:.4rem 0}button{font:inherit;padding:.6rem 1.4rem;margin-right:.6rem}` +
	`aside{border-left:.3rem solid #8a5a00;padding-left:.8rem}`

// pagePolicy lets a page do nothing but show its own style. There is no
// form-action: Chromium applies it to the redirect too, which must reach the
// app.
var pagePolicy = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; frame-ancestors 'none'"
}()

func page(name, content string) *template.Template {
	return template.Must(template.New(name).Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>` + name + ` - PKB for tests</title>
<style>` + pageStyle + `</style>
</head>
<body>
<main>
` + content + `
<aside><p>This is a PKB for tests. It is not Patients Know Best, and its patients are made up.</p></aside>
</main>
</body>
</html>
`))
}

var errorPage = page("Error", `<h1>This did not work</h1>
<p role="alert">{{.}}</p>
<p>Nothing was sent to the app.</p>`)

// The form's address is relative, so that it works under any path.
var consentPage = page("Approve access", `<h1>Approve access to your record</h1>
<p>The app <strong>{{.Client}}</strong> asks for access to your health record.</p>
<form method="post" action="apiAuthorize.action">
{{range .Params}}<input type="hidden" name="{{.Name}}" value="{{.Value}}">
{{end}}<fieldset>
<legend>Who are you?</legend>
{{range $i, $p := .Patients}}<label><input type="radio" name="patient" value="{{.PublicID}}"{{if eq $i 0}} checked{{end}}> {{.Title}} {{.FirstName}} {{.LastName}}, born {{.DateOfBirth}}</label>
{{else}}<p>This server has no patients yet.</p>
{{end}}</fieldset>
<button type="submit" name="decision" value="approve">Approve</button>
<button type="submit" name="decision" value="deny">Deny</button>
</form>`)

func sendPage(w http.ResponseWriter, status int, t *template.Template, data any) {
	page := mustRender(t, data)
	guardPage(w)
	send(w, status, "text/html; charset=utf-8", page)
}

// mustRender panics when a page cannot be made; the pages are constants.
func mustRender(t *template.Template, data any) []byte {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		panic(fmt.Sprintf("pkbtest: a page could not be made: %v", err))
	}
	return b.Bytes()
}

// guardPage keeps what the page and its address hold from caches and others.
func guardPage(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", pagePolicy)
}
