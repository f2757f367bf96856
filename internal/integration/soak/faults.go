// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// fault is something that a refresh meets.
type fault struct {
	name string
	// perMille of all refreshes meet it.
	perMille float64
	do       func(random *rand.Rand) pkbtest.Fault
	// withholds: PKB does the work, and its response does not arrive. With a
	// refresh token that works once, the link cannot be kept. garbles: half of it
	// arrives, as if it were the whole.
	withholds, garbles bool
}

func always(f pkbtest.Fault) func(*rand.Rand) pkbtest.Fault {
	return func(*rand.Rand) pkbtest.Fault { return f }
}

var faults = []fault{
	{name: "slow", perMille: 60, do: func(random *rand.Rand) pkbtest.Fault {
		return pkbtest.Delay(50*time.Millisecond + time.Duration(random.Int64N(int64(time.Second))))
	}},
	{name: "429", perMille: 2, do: always(slowDown)},
	{name: "503", perMille: 4, do: always(unavailable)},
	{name: "cut before the work", perMille: 4, do: always(pkbtest.Drop())},
	{name: "client refused", perMille: 0.5, do: always(pkbtest.Respond(http.StatusUnauthorized, "application/json", `{"error":"invalid_client"}`))},
	{name: "cut after the work", perMille: 0.5, withholds: true, do: always(pkbtest.DropAfter())},
	{name: "502 after the work", perMille: 0.3, withholds: true, do: always(pkbtest.RespondAfter(http.StatusBadGateway, "text/html", "<h1>Bad gateway</h1>"))},
	{name: "half a response", perMille: 0.2, withholds: true, garbles: true, do: always(pkbtest.Rewrite(func(_ http.Header, body []byte) []byte { return body[:len(body)/2] }))},
}

var unavailable = pkbtest.Respond(http.StatusServiceUnavailable, "text/html", "<h1>Service unavailable</h1>")

// outage is what every refresh meets for a moment, some times in a run.
var outage = fault{name: "outage", do: always(unavailable)}

const outages = 8

func slowDown(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1")
		pkbtest.Respond(http.StatusTooManyRequests, "text/plain", "slow down")(nil).ServeHTTP(w, r)
	})
}

// server is a PKB that misbehaves, and knows what it did to whose link.
type server struct {
	pkb  *pkbtest.Server
	url  string
	http *http.Server
	// faults are those that happen.
	faults []fault

	mu     sync.Mutex
	random *rand.Rand
	// began is when faults began, zero while there are none; length is for how
	// long.
	began  time.Time
	length time.Duration
	met    map[string]int // faults, by name
	// codes are those that were given out, and to which user.
	codes    map[string]string
	sessions map[string]*session // by user, the present one
	tokens   map[string]*token   // refresh tokens, the newest two of each session
	// doublePosts counts refresh tokens that were presented again although the response to
	// the first time had been sent.
	doublePosts int
}

// session is what one authorization opened.
type session struct {
	newest string
	// ended: a refresh token was presented twice. excused: the response to the first time
	// had been withheld.
	ended, excused bool
	// garbled: the response to the newest token was.
	garbled bool
}

// token is a refresh token.
type token struct {
	session  *session
	previous string
	// spent: PKB has issued a successor; withheld: the response with it was not sent.
	spent, withheld bool
}

// startServer starts the server on a free port of this machine, without faults.
func startServer(ctx context.Context, cfg pkbtest.Config, seed uint64) (*server, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{
		pkb: pkbtest.New(cfg), url: "http://" + listener.Addr().String(), faults: faults, random: rand.New(rand.NewPCG(seed, seed)),
		met: map[string]int{}, codes: map[string]string{}, sessions: map[string]*session{}, tokens: map[string]*token{},
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.http.Serve(listener) }() // it ends with ErrServerClosed
	return s, nil
}

func (s *server) close() error { return s.http.Close() }

// misbehave begins the faults; behave ends them.
func (s *server) misbehave(length time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began, s.length = time.Now(), length
}

func (s *server) behave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = time.Time{}
}

// expect says whose code it is.
func (s *server) expect(code, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code] = user
}

// excused reports whether the server has lost a link that ended with cause: it
// ended the current session of user because a refresh token was presented twice, after it
// had withheld the response to the first time; or it sent a response that nobody can
// read, which a client rather keeps than presents the token again.
func (s *server) excused(user string, cause observe.Cause) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.sessions[user]
	if e != nil && cause == observe.CauseResponseUnreadable {
		return e.garbled
	}
	return e != nil && e.ended && e.excused
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/apiToken.action"):
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // whoever sent it has gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		switch form, _ := url.ParseQuery(string(body)); form.Get("grant_type") {
		case "authorization_code":
			s.exchange(w, r, form.Get("code"))
			return
		case "refresh_token":
			s.refresh(w, r, form.Get("refresh_token"))
			return
		}
	case strings.HasSuffix(r.URL.Path, "/json/users/self") && s.chance("call: 503", 2):
		unavailable(nil).ServeHTTP(w, r)
		return
	}
	s.pkb.ServeHTTP(w, r)
}

// chance reports whether a fault happens that so many in a thousand meet.
func (s *server) chance(name string, perMille float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.IsZero() || s.random.Float64()*1000 >= perMille {
		return false
	}
	s.met[name]++
	return true
}

// pick returns the fault that the next refresh meets.
func (s *server) pick() (f fault, do pkbtest.Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f = fault{do: always(pkbtest.Pass())}
	if s.began.IsZero() {
		return f, f.do(s.random)
	}
	every := s.length / outages
	at := s.random.Float64() * 1000
	if passed := time.Since(s.began); passed%every > every/2 && passed%every < every/2+min(3*time.Second, every/10) {
		f = outage
	} else {
		for _, one := range s.faults {
			if at -= one.perMille; at < 0 {
				f = one
				break
			}
		}
	}
	if f.name != "" {
		s.met[f.name]++
	}
	return f, f.do(s.random)
}

// answered is PKB's response to r, not sent yet.
func (s *server) answered(r *http.Request) (answer *httptest.ResponseRecorder, refreshToken string) {
	answer = httptest.NewRecorder()
	s.pkb.ServeHTTP(answer, r)
	var pair struct {
		RefreshToken string `json:"refresh_token"`
	}
	if answer.Code == http.StatusOK {
		_ = json.Unmarshal(answer.Body.Bytes(), &pair) // it is ours
	}
	return answer, pair.RefreshToken
}

func send(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) //nolint:gosec // it is PKB's own answer; a client that has gone is noticed by refresh
}

// exchange opens a session, in place of the user's present one.
func (s *server) exchange(w http.ResponseWriter, r *http.Request, code string) {
	answer, first := s.answered(r)
	if first != "" {
		s.mu.Lock()
		user := s.codes[code]
		delete(s.codes, code)
		if old := s.sessions[user]; old != nil {
			s.forget(s.tokens[old.newest].previous)
			s.forget(old.newest)
		}
		e := &session{newest: first}
		s.sessions[user], s.tokens[first] = e, &token{session: e}
		s.mu.Unlock()
	}
	send(w, answer)
}

func (s *server) forget(refreshToken string) { delete(s.tokens, refreshToken) }

// refresh lets PKB respond to a refresh, with a fault or without.
func (s *server) refresh(w http.ResponseWriter, r *http.Request, presented string) {
	f, do := s.pick()
	do(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		t := s.tokens[presented]
		if t != nil && t.spent {
			t.session.ended = true
			t.session.excused = t.session.excused || t.withheld
			if !t.withheld {
				s.doublePosts++
			}
		}
		s.mu.Unlock()
		answer, successor := s.answered(r)
		if t != nil && successor != "" {
			s.mu.Lock()
			s.forget(t.previous)
			t.spent, t.withheld, t.previous = true, f.withholds, ""
			t.session.garbled = f.garbles
			t.session.newest, s.tokens[successor] = successor, &token{session: t.session, previous: presented}
			s.mu.Unlock()
		}
		send(w, answer)
	})).ServeHTTP(w, r)
	if r.Context().Err() != nil { // nobody waits for the response
		s.mu.Lock()
		if t := s.tokens[presented]; t != nil {
			t.withheld = true
		}
		s.mu.Unlock()
	}
}
