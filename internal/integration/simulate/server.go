// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// reason is what lost a link.
type reason int

const (
	byRace     reason = iota // two presented one token, and nothing else was wrong
	bySave                   // the answer came, and the store never took it
	byResponse               // the network lost the answer
	byCrash                  // the process died with the answer
	byPause                  // the process slept with the answer
	reasons
)

// tally is what was counted in a world.
type tally struct {
	commits     int64 // pairs that the server gave for a refresh token
	posts       int64
	lost        [reasons]int64
	answersLost int64
	unnamed     int64
	badTokens   int64
}

func (t *tally) add(o tally) {
	t.commits += o.commits
	t.posts += o.posts
	t.answersLost += o.answersLost
	t.unnamed += o.unnamed
	t.badTokens += o.badTokens
	for i := range t.lost {
		t.lost[i] += o.lost[i]
	}
}

func (t *tally) allLost() (n int64) {
	for _, lost := range t.lost {
		n += lost
	}
	return n
}

// server is the strictest token endpoint there is: a refresh token works once,
// and the session dies when one comes twice. It also knows what became of each
// answer, and so what lost a session.
type server struct {
	mu       sync.Mutex
	sessions map[string]*session
	tally    *tally
}

// session is one user's present approval.
type session struct {
	user    string
	index   uint64
	epoch   int // counts approvals
	gen     int // of the refresh token that works
	since   time.Time
	before  time.Time // when the one before gen was made
	dead    bool
	killer  reason
	last    *post // the one that made gen
	commits int64
	stored  uint64 // the record's generation, for ours
	calm    bool   // no faults: the patient is approving
	dice    uint64 // how often they were thrown
}

// post is one request with a refresh token, and what became of its answer.
type post struct {
	from  *process
	at    time.Time
	lost  bool // nobody will read the answer
	saved time.Time
	// unsaved: its holder has given up saving it.
	unsaved bool
}

// answer is the body of a token response.
func (s *session) answer() []byte {
	body, _ := json.Marshal(map[string]any{
		"access_token": s.access(s.gen), "refresh_token": s.refresh(s.gen), "token_type": "Bearer",
		"expires_in": int(tokenLife.Seconds()), "scope": "PATIENT",
	})
	return body
}

func (s *session) access(gen int) string { return fmt.Sprintf("access:%s:%d:%d", s.user, s.epoch, gen) }
func (s *session) refresh(gen int) string {
	return fmt.Sprintf("refresh:%s:%d:%d", s.user, s.epoch, gen)
}

// approve begins a session and returns its first pair.
func (v *server) approve(user string) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[user]
	s.epoch, s.gen, s.dead, s.last, s.since = s.epoch+1, 1, false, nil, time.Now()
	return s.answer()
}

// split reads a token.
func split(token string) (user string, epoch, gen int) {
	parts := strings.Split(token, ":")
	if len(parts) != 4 {
		return "", 0, 0
	}
	epoch, _ = strconv.Atoi(parts[2])
	gen, _ = strconv.Atoi(parts[3])
	return parts[1], epoch, gen
}

// take processes one POST.
func (v *server) take(p *post, token string) (status int, body []byte) {
	user, epoch, gen := split(token)
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[user]
	refuse := func(code string) (int, []byte) {
		return http.StatusBadRequest, []byte(`{"error":"invalid_grant","error_description":"` + code + `"}`)
	}
	switch {
	case s == nil || epoch != s.epoch || gen > s.gen || gen < 1:
		return refuse("unknown token")
	case s.dead:
		return refuse("API_SESSION_INVALID")
	}
	if p.lost {
		v.tally.answersLost++
	}
	if gen < s.gen {
		s.dead, s.killer = true, s.judge(p)
		return refuse("API_SESSION_INVALID")
	}
	s.gen, s.last, s.before, s.since = s.gen+1, p, s.since, time.Now()
	s.commits++
	v.tally.commits++
	return http.StatusOK, s.answer()
}

// judge says what made a spent token come again.
func (s *session) judge(again *post) reason {
	switch first := s.last; {
	case again.lost:
		return byResponse // it was on its way when the network lost its sender
	case first == nil || !first.saved.IsZero() && !first.saved.After(again.at):
		return byRace
	case first.lost:
		return byResponse
	case first.from.dead.Load():
		return byCrash
	case first.from.sleptSince(first.at):
		return byPause
	case first.unsaved:
		return bySave
	}
	return byRace
}

// good reports whether PKB's API would take an access token.
func (v *server) good(user, token string) bool {
	_, epoch, gen := split(token)
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[user]
	if s.dead || epoch != s.epoch {
		return true // that it is over is what the next refresh tells
	}
	made := s.since
	if gen == s.gen-1 {
		made = s.before
	}
	return gen > 0 && (gen == s.gen || gen == s.gen-1) && time.Since(made) < tokenLife
}
