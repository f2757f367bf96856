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
	bySave                   // the response was received, and the store did not accept it in time
	byClock                  // a lease was taken over too early, by a clock that was wrong
	byWording                // refused in unknown words, and taken for ended
	byStore                  // the store lost what it had acknowledged, or showed an old row
	byResponse               // the network lost the response
	byCrash                  // the process died with the response
	byPause                  // the process stood still with the answer, or with the token
	byEnd                    // PKB ended it: nothing was lost
	reasons
)

// tally is what was counted in a world.
type tally struct {
	commits int64 // pairs that the server gave for a refresh token
	posts   int64 // that it, or the way to it, was asked
	refused int64 // by a gateway before it
	lost    [reasons]int64
	// answersLost, rowsLost and known are what could have lost a link: answers,
	// writes of rows with a new pair, and those of the links lost with them whose
	// pair a process knew that was awake and had seen the database away.
	answersLost, rowsLost, known int64
	// unnamed links were said to have ended with a cause that does not fit; of
	// limbo was nothing said for hours, although they did not work.
	unnamed, limbo int64
	// badTokens are access tokens that the API did not take; wrongTime, those of
	// them that a wrong clock explains.
	badTokens, wrongTime int64
	// told are the notices that the host has taken, toldAgain, how often it took one
	// again, and disordered, those that are older than what it had taken. untold it has
	// not taken, and noticesFell neither, which the store had lost.
	told, toldAgain, disordered, untold, noticesFell int64
	// where are the links, and the notices, that ours must not have lost.
	where []string
}

func (t *tally) add(o tally) {
	t.commits += o.commits
	t.posts += o.posts
	t.refused += o.refused
	t.answersLost += o.answersLost
	t.rowsLost += o.rowsLost
	t.known += o.known
	t.unnamed += o.unnamed
	t.limbo += o.limbo
	t.badTokens += o.badTokens
	t.wrongTime += o.wrongTime
	t.told += o.told
	t.toldAgain += o.toldAgain
	t.disordered += o.disordered
	t.untold += o.untold
	t.noticesFell += o.noticesFell
	t.where = append(t.where, o.where...)
	for i := range t.lost {
		t.lost[i] += o.lost[i]
	}
}

func (t *tally) allLost() (n int64) {
	for why, lost := range t.lost {
		if reason(why) != byEnd {
			n += lost
		}
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
	told     *told // of ours, whose sessions live for so long; nil for the others
}

// session is one user's current authorization.
type session struct {
	user   string
	index  uint64
	epoch  int // counts authorizations
	gen    int // of the refresh token that works
	since  time.Time
	before time.Time // when the one before gen was made
	began  time.Time // when it was authorized
	dead   bool
	killer reason
	// mumbles: that it is dead is said in unknown words.
	mumbles bool
	expired bool  // it has ended by its age, which PKB says
	refused bool  // in unknown words, since it last gave a pair
	last    *post // the one that made gen
	again   *post // the one that presented a token a second time
	// fell: the row went back, and nobody has brought it forward since.
	fell  *fall
	lease lease
	// early: the lease was taken over too early, by another clock.
	early   bool
	looked  map[*process]look
	worked  time.Time // when a caller was last served
	missed  int       // how often since then nobody had a link
	commits int64
	grown   bool   // it has refreshed often enough
	calm    bool   // no faults: the patient is approving
	dice    uint64 // how often they were thrown
}

// fall is a row that the store took back.
type fall struct {
	gen int
	// pair: a pair is lost; else a lease, with the intent to present its pair.
	pair  bool
	at    time.Time
	saver *process // of what is lost
	saved time.Time
}

// lease is who had a session's lease last, and when it was taken or renewed.
type lease struct {
	by *process
	at time.Time
}

// look is the last time that a process was at a session's row.
type look struct {
	at    time.Time
	older bool // what it saw was not the newest row
}

// post is one request with a refresh token, and what became of its answer.
type post struct {
	from *process
	at   time.Time
	lost bool // nobody will read the response
	// saved is when its pair was, and by whom; failed says that a save was not
	// acknowledged.
	saved  time.Time
	saver  *process
	failed bool
	// looked is when its sender last looked at the row; overslept: it stood still
	// after that. stale: what it saw there was old.
	looked           time.Time
	overslept, stale bool
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
	return refreshToken(s.user, s.epoch, gen)
}

func refreshToken(user string, epoch, gen int) string {
	return fmt.Sprintf("refresh:%s:%d:%d", user, epoch, gen)
}

// approve begins a session and returns its first pair.
func (v *server) approve(user string, mumbles bool) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[user]
	s.epoch, s.gen, s.dead, s.last, s.again, s.since = s.epoch+1, 1, false, nil, nil, time.Now()
	s.began = s.since
	s.mumbles, s.refused, s.fell, s.early, s.looked, s.worked = mumbles, false, nil, false, map[*process]look{}, time.Now()
	s.missed, s.expired = 0, false
	return s.answer()
}

// split reads a token.
func split(token string) (user string, pair pairID) {
	parts := strings.Split(token, ":")
	if len(parts) != 4 {
		return "", pairID{}
	}
	pair.epoch, _ = strconv.Atoi(parts[2])
	pair.gen, _ = strconv.Atoi(parts[3])
	return parts[1], pair
}

// saw notes that a process was at a session's row.
func (v *server) saw(s *session, p *process) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s.looked[p] = look{at: time.Now(), older: s.looked[p].older}
}

// misled notes whether what it saw there was old.
func (v *server) misled(s *session, p *process, is bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s.looked[p] = look{at: time.Now(), older: is}
}

// send returns a request that a process is about to send.
func (v *server) send(s *session, p *process) *post {
	v.mu.Lock()
	defer v.mu.Unlock()
	sent := &post{from: p, at: time.Now(), looked: s.looked[p].at, stale: s.looked[p].older}
	until, halted := p.clock.haltedSince(s.looked[p].at)
	sent.overslept = halted && time.Since(until) < time.Second
	return sent
}

// keeps notes that a process wrote a row, with which pair.
func (v *server) keeps(s *session, p *process, pair pairID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if pair != (pairID{s.epoch, s.gen}) {
		return
	}
	if f := s.fell; f != nil && (f.pair || s.gen > f.gen || p == f.saver) {
		s.fell = nil
	}
	if s.last != nil && s.last.saved.IsZero() {
		s.last.saved, s.last.saver = time.Now(), p
		s.early = false
	}
}

// refusesToKeep notes that a save of a pair was not acknowledged.
func (v *server) refusesToKeep(s *session, p *process, pair pairID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s.last != nil && s.last.from == p && pair == (pairID{s.epoch, s.gen}) {
		s.last.failed = true
	}
}

// loses notes that a row went back.
func (v *server) loses(s *session, had, has pairID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if had != (pairID{s.epoch, s.gen}) {
		return
	}
	f := &fall{gen: s.gen, pair: has != had, at: time.Now(), saver: s.lease.by, saved: time.Now()}
	if f.pair {
		v.tally.rowsLost++
		if s.last != nil {
			f.saver, f.saved = s.last.saver, s.last.saved
		}
	}
	s.fell = f
}

// leased notes who has a session's lease. Nobody else may take it within lasts of
// its latest renewal, unless its holder gives it back; clocks that differ can make
// them.
func (v *server) leased(s *session, p *process, before, after string, lasts time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if before != "" && before != after && s.lease.by != nil && s.lease.by != p && time.Since(s.lease.at) < lasts {
		s.early = true
	}
	s.lease = lease{p, time.Now()}
}

// end ends a session as PKB does when it wants to.
func (v *server) end(s *session) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !s.dead {
		s.dead, s.killer = true, byEnd
	}
}

// take processes one POST.
func (v *server) take(p *post, token string) (status int, body []byte) {
	user, pair := split(token)
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[user]
	if s != nil && v.told != nil && !s.dead && time.Since(s.began) > sessionLife {
		s.dead, s.killer, s.expired = true, byEnd, true
		v.told.aged(user, s.epoch)
	}
	switch {
	case s == nil || pair.epoch != s.epoch || pair.gen > s.gen || pair.gen < 1:
		return http.StatusBadRequest, []byte(`{"error":"invalid_grant","error_description":"unknown token"}`)
	case s.dead:
		return s.refuse()
	}
	if p.lost {
		v.tally.answersLost++
	}
	if pair.gen < s.gen {
		s.dead, s.killer, s.again = true, v.judge(s, p), p
		return s.refuse()
	}
	s.gen, s.last, s.before, s.since = s.gen+1, p, s.since, time.Now()
	s.refused = false
	s.commits++
	v.tally.commits++
	return http.StatusOK, s.answer()
}

// refuse is what a dead session's token gets.
func (s *session) refuse() (status int, body []byte) {
	if s.expired {
		return http.StatusBadRequest, []byte(`{"error":"API_SESSION_EXPIRED"}`)
	}
	if s.mumbles {
		s.refused = true
		words := unknownWords[s.index%uint64(len(unknownWords))]
		return words.status, []byte(words.body)
	}
	return http.StatusBadRequest, []byte(`{"error":"API_SESSION_INVALID"}`)
}

// knownFor is how long a process can be expected to know what it saved.
const knownFor = 5 * time.Minute

// judge says what made a spent token come again.
func (v *server) judge(s *session, again *post) reason {
	first := s.last
	switch {
	case again.lost:
		return byResponse // it was on its way when the network lost its sender
	case again.overslept, first != nil && first.overslept && (first.saved.IsZero() || first.saved.After(again.looked)):
		// The one that stood still can also be the first: it went on when another had
		// taken its place and was about to send.
		return byPause
	case s.fell != nil:
		f := s.fell
		if f.saver != nil && !f.saver.dead.Load() && f.saver.clock.halted() == 0 && time.Since(f.saved) < knownFor && f.saver.noticed(f.at) {
			v.tally.known++
		}
		return byStore
	case again.stale:
		return byStore
	case first == nil || !first.saved.IsZero() && !first.saved.After(again.at):
	case first.lost:
		return byResponse
	case first.from.dead.Load():
		return byCrash
	case first.stoodStill():
		return byPause
	case first.failed:
		return bySave
	}
	if s.early {
		return byClock
	}
	return byRace
}

// String tells what became of it, measured from when the world began.
func (p *post) String() string {
	if p == nil {
		return "none"
	}
	since := func(t time.Time) time.Duration { return t.Sub(p.from.world.began) }
	text := fmt.Sprintf("looked %v, sent %v", since(p.looked), since(p.at))
	if !p.saved.IsZero() {
		text += fmt.Sprintf(", saved %v", since(p.saved))
	}
	for _, is := range []struct {
		so   bool
		what string
	}{{p.lost, "lost"}, {p.failed, "a save failed"}, {p.overslept, "stood still before"}, {p.stoodStill(), "stood still after"}, {p.stale, "saw an old row"}, {p.from.dead.Load(), "died"}} {
		if is.so {
			text += ", " + is.what
		}
	}
	return text
}

// stoodStill reports whether the sender stood still after it had sent.
func (p *post) stoodStill() bool {
	_, yes := p.from.clock.haltedSince(p.at)
	return yes
}

// replaced reports whether the patient has approved again since an access token's
// authorization, which has ended that.
func (v *server) replaced(user, token string) bool {
	_, pair := split(token)
	v.mu.Lock()
	defer v.mu.Unlock()
	return pair.epoch != v.sessions[user].epoch
}

// good reports whether PKB's API would take an access token.
func (v *server) good(user, token string) bool {
	_, pair := split(token)
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[user]
	if s.dead || pair.epoch != s.epoch {
		return true // the next refresh finds out that it has ended
	}
	made := s.since
	if pair.gen == s.gen-1 {
		made = s.before
	}
	return pair.gen > 0 && (pair.gen == s.gen || pair.gen == s.gen-1) && time.Since(made) < tokenLife
}
