// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"crypto/rand"
	"encoding/base64"
	"time"
)

// session is what one authorization opens. Tokens point to it and die with it.
type session struct {
	publicID string
	scope    string
	ends     time.Time
	invalid  bool
}

// over returns the response code of a session that is no more, else "".
func (e *session) over(now time.Time) string {
	switch {
	case e.invalid:
		return codeSessionInvalid
	case !now.Before(e.ends):
		return codeSessionExpired
	}
	return ""
}

type accessToken struct {
	session *session
	expires time.Time
}

type refreshToken struct {
	session *session
	spent   bool
}

// EndSessions ends the patient's sessions as when their time has expired: both
// tokens get API_SESSION_EXPIRED. A nil patient means every patient.
func (s *Server) EndSessions(p *Patient) {
	s.eachLive(p, func(e *session) { e.ends = s.now() })
}

// InvalidateSessions invalidates the patient's sessions, as when the patient revokes
// access (inferred): both tokens get API_SESSION_INVALID. A nil patient
// means every patient.
func (s *Server) InvalidateSessions(p *Patient) {
	s.eachLive(p, func(e *session) { e.invalid = true })
}

// LiveSessions returns how many of the patient's sessions are neither expired
// nor invalid. A nil patient means every patient.
func (s *Server) LiveSessions(p *Patient) int {
	n := 0
	s.eachLive(p, func(*session) { n++ })
	return n
}

// Freeze freezes the patient's access or thaws it: while frozen, Purview and
// users/self return ACCESS_FROZEN_OUTWARD. Tokens can still be refreshed
// (inferred).
func (s *Server) Freeze(p *Patient, frozen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen[p.PublicID] = frozen
}

func (s *Server) eachLive(p *Patient, do func(*session)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.sessions {
		if (p == nil || e.publicID == p.PublicID) && e.over(s.now()) == "" {
			do(e)
		}
	}
}

// newToken returns 32 characters of A-Z, a-z, 0-9, "-" and "_", the shape of
// PKB's access tokens.
func newToken() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // it never fails
	return base64.RawURLEncoding.EncodeToString(b)
}
