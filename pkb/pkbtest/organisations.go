// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Organisation is a made-up organisation, on whose behalf a system client calls.
type Organisation struct {
	// PublicID is its PKB public id, a UUID: the value of X-Org-Public-Id.
	PublicID string
	// TeamAliases are the aliases of its teams; the first is the default team's.
	// Default: one, "default-team".
	TeamAliases []string
	// GrantsNothing makes an organisation that has granted the client nothing: each
	// call on its behalf gets 403.
	GrantsNothing bool
	// NoAccess are the public ids of patients that the organisation may not see. A
	// search silently leaves them out, and $status-query has "No access".
	NoAccess []string
}

// AddOrganisation adds an organisation and returns it with all fields filled. One
// with the same PublicID is replaced, and keeps its patients. The server keeps a
// copy.
func (s *Server) AddOrganisation(o Organisation) *Organisation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.PublicID == "" {
		o.PublicID = madeUpUUID(-1 - len(s.organisations))
	}
	if len(o.TeamAliases) == 0 {
		o.TeamAliases = []string{"default-team"}
	}
	kept := o
	kept.TeamAliases, kept.NoAccess = slices.Clone(o.TeamAliases), slices.Clone(o.NoAccess)
	s.organisations[o.PublicID] = &kept
	return &o
}

// Members returns the patients that were added to the organisation by
// $process-message: the aliases of their teams, by public id.
func (s *Server) Members(o *Organisation) map[string][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	members := map[string][]string{}
	for publicID, teams := range s.members[o.PublicID] {
		members[publicID] = slices.Clone(teams)
	}
	return members
}

// isSystem reports whether a request has the token of a system client, live or not.
func (s *Server) isSystem(r *http.Request) bool {
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.system[token]
	return ok
}

// onBehalf returns the organisation for which a system client calls; or nil, when it
// has sent an error. Documented: the header is required, and the organisation's
// grant is checked at the call. Inferred: each status.
func (s *Server) onBehalf(w http.ResponseWriter, r *http.Request) *Organisation {
	headers := r.Header.Values("Authorization")
	scheme, token, _ := strings.Cut(strings.Join(headers, " "), " ")
	ids := r.Header.Values("X-Org-Public-Id")
	s.mu.Lock()
	expires, known := s.system[token]
	live := s.now().Before(expires)
	var o *Organisation
	if len(ids) == 1 {
		o = s.organisations[ids[0]]
	}
	s.mu.Unlock()
	switch {
	case !known || len(headers) != 1 || !strings.EqualFold(scheme, "Bearer"):
		sendCode(w, r, codeBadAuth)
	case !live:
		sendCode(w, r, codeTokenExpired)
	case len(ids) != 1:
		sendProblem(w, r, http.StatusBadRequest, "X-Org-Public-Id is required, once")
	case o == nil || o.GrantsNothing:
		sendProblem(w, r, http.StatusForbidden, "the organisation has granted this client nothing")
	default:
		return o
	}
	return nil
}

// byNationalID finds the patient with an identifier; nil if there is none. Callers
// hold the lock.
func (s *Server) byNationalID(system, value string) *Patient {
	for _, p := range s.patients {
		for _, id := range nationalIDsOf(p) {
			if nationalSystems[id.Name] == system && id.Value == value {
				return p
			}
		}
	}
	return nil
}

// join makes a patient a member of teams of an organisation. Callers hold the lock.
func (s *Server) join(o *Organisation, publicID string, teams []string) {
	if len(teams) == 0 {
		teams = o.TeamAliases[:1]
	}
	if s.members[o.PublicID] == nil {
		s.members[o.PublicID] = map[string][]string{}
	}
	s.members[o.PublicID][publicID] = teams
}

// wrongTeams returns what is wrong with team aliases, or "". Documented: if any is
// sent, one of them must be the default team's.
func (o *Organisation) wrongTeams(teams []string) string {
	for _, team := range teams {
		if !slices.Contains(o.TeamAliases, team) {
			return fmt.Sprintf("the team alias %q is not known", team)
		}
	}
	if len(teams) > 0 && !slices.Contains(teams, o.TeamAliases[0]) {
		return "none of the team aliases is the default team's"
	}
	return ""
}

// withSelf returns a copy of p with other members of users/self.
func withSelf(p Patient, members map[string]any) Patient {
	self := maps.Clone(p.Self)
	if self == nil {
		self = map[string]any{}
	}
	maps.Copy(self, members)
	p.Self = self
	return p
}
