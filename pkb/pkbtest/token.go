// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"
)

// tokenAnswer is the token endpoint's response; its members are documented.
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope"`
}

// tokenRefusal is an error response as in RFC 6749 section 5.2 (inferred).
type tokenRefusal struct {
	status      int
	basic       bool
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

func refusal(code, description string) *tokenRefusal {
	return &tokenRefusal{status: http.StatusBadRequest, Error: code, Description: description}
}

// token serves the token endpoint. What it does is done under one lock, so it
// happens whole and at once, even if the client is gone.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	refuse := func() {
		sendRefusal(w, &tokenRefusal{status: http.StatusMethodNotAllowed, Error: "invalid_request", Description: "use POST"})
	}
	if !allow(w, r, refuse, http.MethodPost) {
		return
	}
	form, problem := readForm(r)
	if problem != "" {
		sendRefusal(w, refusal("invalid_request", problem))
		return
	}
	if bad := s.authenticate(r, form); bad != nil {
		sendRefusal(w, bad)
		return
	}
	var answer *tokenAnswer
	var bad *tokenRefusal
	switch grant := form.Get("grant_type"); grant {
	case "authorization_code":
		answer, bad = s.exchange(form)
	case "refresh_token":
		answer, bad = s.rotate(form)
	case "":
		bad = refusal("invalid_request", "grant_type is missing")
	default:
		bad = refusal("unsupported_grant_type", "authorization_code and refresh_token are supported")
	}
	if bad != nil {
		sendRefusal(w, bad)
		return
	}
	sendTokenJSON(w, http.StatusOK, answer)
}

// authenticate checks which client asks. Documented: client_id in the form.
// Inferred: everything about secrets.
func (s *Server) authenticate(r *http.Request, form url.Values) *tokenRefusal {
	id, secret := form.Get("client_id"), form.Get("client_secret")
	headers := r.Header.Values("Authorization")
	basic := len(headers) > 0
	invalid := func(why string) *tokenRefusal {
		return &tokenRefusal{status: http.StatusUnauthorized, basic: basic, Error: "invalid_client", Description: why}
	}
	if basic {
		if s.cfg.ClientSecret == "" {
			return invalid("this client has no secret: send client_id in the form and no Authorization header")
		}
		if secret != "" {
			return refusal("invalid_request", "the client authenticates in two ways")
		}
		user, password, ok := r.BasicAuth()
		user, userErr := url.QueryUnescape(user)
		password, passwordErr := url.QueryUnescape(password)
		if !ok || len(headers) > 1 || userErr != nil || passwordErr != nil {
			return invalid("the Authorization header is not HTTP Basic")
		}
		if id != "" && id != user {
			return invalid("client_id differs between form and header")
		}
		id, secret = user, password
	}
	switch {
	case id == "":
		return invalid("client_id is missing")
	case id != s.cfg.ClientID:
		return invalid("the client is not known")
	case s.cfg.ClientSecret == "" && form.Has("client_secret"):
		return invalid("this client has no secret, but one was sent")
	case secret != s.cfg.ClientSecret:
		return invalid("the client secret is missing or wrong")
	}
	return nil
}

// exchange spends an authorization code. A refused exchange leaves the code as
// it was, but for a second use, which kills the session (inferred).
func (s *Server) exchange(form url.Values) (*tokenAnswer, *tokenRefusal) {
	if form.Get("code") == "" {
		return nil, refusal("invalid_request", "code is missing")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.codes[form.Get("code")]
	verifier := form.Get("code_verifier")
	switch {
	case c == nil:
		return nil, refusal("invalid_grant", "the code is not known")
	case c.session != nil:
		c.session.invalid = true
		return nil, refusal("invalid_grant", "the code was used before")
	case !s.now().Before(c.expires):
		return nil, refusal("invalid_grant", "the code has expired")
	case c.clientID != s.cfg.ClientID:
		return nil, refusal("invalid_grant", "the code belongs to another client")
	case c.redirectURI != "" && form.Get("redirect_uri") != c.redirectURI:
		return nil, refusal("invalid_grant", "redirect_uri is not that of the authorize request")
	case c.redirectURI == "" && form.Has("redirect_uri") && form.Get("redirect_uri") != c.registered:
		return nil, refusal("invalid_grant", "redirect_uri is not the registered one")
	case c.challenge == "" && verifier != "":
		return nil, refusal("invalid_grant", "code_verifier was sent, but no code_challenge before it")
	case c.challenge != "" && c.challenge != challengeOf(verifier):
		return nil, refusal("invalid_grant", "code_verifier is missing or wrong")
	}
	life := s.cfg.SessionLife
	if p := s.patient(c.publicID); p.SessionLife > 0 {
		life = p.SessionLife
	}
	c.session = &session{publicID: c.publicID, scope: c.scope, ends: s.now().Add(life)}
	s.sessions = append(s.sessions, c.session)
	return s.issueTokens(c.session), nil
}

// rotate spends a refresh token. Documented: a second use invalidates the
// session. Inferred: that unknown ones are invalid_grant.
func (s *Server) rotate(form url.Values) (*tokenAnswer, *tokenRefusal) {
	if form.Get("refresh_token") == "" {
		return nil, refusal("invalid_request", "refresh_token is missing")
	}
	if form.Has("scope") && form.Get("scope") != scopePatient {
		return nil, refusal("invalid_scope", "the scope was not granted")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.refresh[form.Get("refresh_token")]
	if t == nil {
		return nil, refusal("invalid_grant", "the refresh token is not known")
	}
	if t.spent {
		s.reused++
		if t.session.over(s.now()) == "" {
			t.session.invalid = true
		}
	}
	if over := t.session.over(s.now()); over != "" {
		return nil, refusal("invalid_grant", over)
	}
	t.spent = true
	return s.issueTokens(t.session), nil
}

// issueTokens makes the next pair of a session. Callers hold the lock.
func (s *Server) issueTokens(e *session) *tokenAnswer {
	now := s.now()
	answer := &tokenAnswer{
		AccessToken: newToken(), TokenType: "Bearer",
		ExpiresIn: int64(s.cfg.TokenLife / time.Second), Scope: e.scope,
	}
	s.access[answer.AccessToken] = &accessToken{session: e, expires: now.Add(s.cfg.TokenLife)}
	// PKB's one exception: an access token that outlives the session has no
	// refresh token with it.
	if s.cfg.TokenLife <= e.ends.Sub(now) {
		answer.RefreshToken = newToken()
		s.refresh[answer.RefreshToken] = &refreshToken{session: e}
	}
	return answer
}

// challengeOf is S256 of RFC 7636.
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// readForm reads a form from the body. What is wrong with it comes back in
// words.
func readForm(r *http.Request) (url.Values, string) {
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/x-www-form-urlencoded" {
		return nil, "the body must be a form (application/x-www-form-urlencoded)"
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, "the body could not be read"
	}
	form, err := url.ParseQuery(string(data))
	if err != nil {
		return nil, "the body is not a well-formed form"
	}
	for name, values := range form {
		if len(values) > 1 {
			return nil, fmt.Sprintf("the parameter %q was sent more than once", name)
		}
	}
	return form, ""
}

func sendRefusal(w http.ResponseWriter, bad *tokenRefusal) {
	if bad.basic && bad.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="pkbtest"`)
	}
	sendTokenJSON(w, bad.status, bad)
}

func sendTokenJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	send(w, status, "application/json;charset=UTF-8", mustJSON(v))
}

// mustJSON panics when v, which is ours or a test's, cannot be written as JSON.
func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("pkbtest: a response could not be written as JSON: %v", err))
	}
	return data
}
