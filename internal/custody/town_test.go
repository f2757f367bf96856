// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// town is a token endpoint with many sessions, at the other end of a network that
// tests can disturb. No endpoint is stricter: a refresh token works once, and
// presenting it a second time ends its session. Keepers reach it through the real
// tokenwire.Endpoint.
type town struct {
	// life is the life of an access token.
	life time.Duration
	// rules take precedence over those of PKB, as Config.TokenErrors do.
	rules []tokenwire.Rule
	// road is what happens to a POST before anybody has read of it; an error means
	// that it never left.
	road func(*http.Request) error
	// bend makes the response to a question. serve is what the town does
	// undisturbed, and may be called once or not at all.
	bend func(ctx context.Context, q question, serve func() reply) (reply, error)

	mu       sync.Mutex
	sessions map[string]*session
	codes    map[string]int
	// whose is whose a session is: a patient, an error, or a function that is asked.
	// Without it a session is its user's own.
	whose map[string]any
	asked int // how often somebody asked whose
}

// session is what one authorization began.
type session struct {
	name      string
	serial    int    // of its latest pair
	ended     bool   // nothing of it works any more
	word      string // the code for its end
	presented int    // refresh tokens that were presented
	again     int    // of these, those that had been before
	seen      map[string]bool
}

// question is one POST that reached the town.
type question struct {
	refresh bool
	session string
	serial  int // of the pair that is presented
	nth     int // of the session's refreshes, from 1
}

// reply is a response of the town.
type reply struct {
	status int
	header map[string]string
	body   string
	cut    bool // the connection breaks after the body
}

func newTown() *town {
	return &town{life: life, sessions: map[string]*session{}, codes: map[string]int{}, whose: map[string]any{}}
}

// RoundTrip implements http.RoundTripper.
func (w *town) RoundTrip(req *http.Request) (*http.Response, error) {
	if w.road != nil {
		if err := w.road(req); err != nil {
			return nil, err
		}
	}
	raw, err := io.ReadAll(req.Body)
	_ = req.Body.Close()
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, err
	}
	r, err := w.respond(req.Context(), form)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	for name, value := range r.header {
		header.Set(name, value)
	}
	body := io.Reader(strings.NewReader(r.body))
	if r.cut {
		body = io.MultiReader(body, cutOff{})
	}
	return &http.Response{
		StatusCode: r.status, Status: strconv.Itoa(r.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(body), ContentLength: -1, Request: req,
	}, nil
}

type cutOff struct{}

func (cutOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// respond responds to one form.
func (w *town) respond(ctx context.Context, form url.Values) (reply, error) {
	q := question{refresh: form.Get("grant_type") == "refresh_token"}
	var serve func() reply
	if q.refresh {
		token := form.Get("refresh_token")
		name, number, _ := strings.Cut(token, ":r")
		q.session = name
		q.serial, _ = strconv.Atoi(number)
		w.mu.Lock()
		s := w.sessions[name]
		if s == nil {
			w.mu.Unlock()
			return reply{}, fmt.Errorf("nobody was ever given the refresh token %q", token)
		}
		s.presented++
		q.nth = s.presented
		w.mu.Unlock()
		serve = func() reply { return w.renew(s, token) }
	} else {
		q.session = form.Get("code")
		serve = func() reply { return w.spend(q.session) }
	}
	w.mu.Lock()
	bend := w.bend
	w.mu.Unlock()
	if bend != nil {
		return bend(ctx, q, serve)
	}
	return serve(), nil
}

// spend returns the first pair for a code.
func (w *town) spend(code string) reply {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.codes[code]++
	if w.codes[code] > 1 {
		return refusal(400, "invalid_grant")
	}
	s := &session{name: code, seen: map[string]bool{}, word: "API_SESSION_INVALID"}
	w.sessions[code] = s
	return w.pair(s)
}

// renew returns the next pair for a refresh token, or ends the session of one that
// was presented already.
func (w *town) renew(s *session, token string) reply {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.seen[token] {
		s.again++
		s.ended = true
	}
	if s.ended {
		return refusal(400, s.word)
	}
	if token != s.name+":r"+strconv.Itoa(s.serial) {
		return refusal(400, "invalid_grant")
	}
	s.seen[token] = true
	return w.pair(s)
}

// pair makes a pair; w.mu is held.
func (w *town) pair(s *session) reply {
	s.serial++
	return tokens(s.name, s.serial, w.life)
}

func tokens(session string, serial int, life time.Duration) reply {
	return reply{status: 200, header: map[string]string{"Content-Type": "application/json"}, body: fmt.Sprintf(
		`{"access_token":"%[1]s:a%[2]d","refresh_token":"%[1]s:r%[2]d","token_type":"Bearer","expires_in":%[3]d,"scope":"PATIENT"}`,
		session, serial, int(life.Seconds()))}
}

func refusal(status int, code string) reply {
	return reply{status: status, header: map[string]string{"Content-Type": "application/json"}, body: `{"error":"` + code + `"}`}
}

// disturb sets bend for every POST from now on; nil means none.
func (w *town) disturb(bend func(ctx context.Context, q question, serve func() reply) (reply, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bend = bend
}

// belongs sets whose a session is.
func (w *town) belongs(session string, whose any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whose[session] = whose
}

// end ends a session, with one of PKB's codes.
func (w *town) end(session, word string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions[session].ended, w.sessions[session].word = true, word
}

// posts returns how often refresh tokens of a session were presented.
func (w *town) posts(session string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.sessions[session]; s != nil {
		return s.presented
	}
	return 0
}

// spent returns how often a code was presented.
func (w *town) spent(code string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.codes[code]
}

// alive reports whether a session still works.
func (w *town) alive(session string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sessions[session]
	return s != nil && !s.ended
}

// wantNoneAgain checks that no token and no code was presented again after the town
// had accepted it.
func (w *town) wantNoneAgain(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, s := range w.sessions {
		if s.again > 0 {
			t.Errorf("a refresh token of session %q was presented again after it was spent", name)
		}
	}
	for code, n := range w.codes {
		if n > 1 {
			t.Errorf("code %q was presented %d times", code, n)
		}
	}
}

// verify is custody.Config.Verify.
func (w *town) verify(ctx context.Context, c custody.Candidate) (string, error) {
	name, _, _ := strings.Cut(c.AccessToken, ":a")
	w.mu.Lock()
	w.asked++
	whose := w.whose[name]
	w.mu.Unlock()
	switch v := whose.(type) {
	case string:
		return v, nil
	case error:
		return "", v
	case func(context.Context, custody.Candidate) (string, error):
		return v(ctx, c)
	}
	if c.User == user {
		return patient, nil
	}
	return "patient of " + c.User, nil
}

var errDown = errors.New("no response")

// notThem is the error of Verify for a session that must not be used.
func notThem() error { return &custody.RefusedError{Err: errors.New("not the person we know")} }

// pkbWords are the rules that package pkb has for PKB's response codes.
var pkbWords = []tokenwire.Rule{
	{Code: "API_SESSION_EXPIRED", Means: tokenwire.SessionOver, Cause: "session_expired"},
	{Code: "API_SESSION_INVALID", Means: tokenwire.SessionOver, Cause: "session_invalid"},
	{Code: "ACCESS_FROZEN_OUTWARD", Means: tokenwire.Frozen, Cause: "frozen"},
}

// replica returns a process that works with the town and shares store.
func (w *town) replica(t testing.TB, store tokenstore.Store, change ...func(*custody.Config)) *custody.Keeper {
	t.Helper()
	ring := &seal.Ring{}
	if err := ring.Add("k1", make([]byte, seal.KeySize)); err != nil {
		t.Fatal(err)
	}
	e := w.endpoint()
	c := custody.Config{
		Store: store, Ring: ring, Environment: "test", ClientID: "client",
		Refresh: func(ctx context.Context, token string) tokenwire.Outcome { return e.Refresh(ctx, token, "") },
		Verify:  w.verify, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Foreseen:   []custody.Cause{"session_expired", "frozen"},
		HardMargin: 30 * time.Second, AssumedLife: w.life, PostTimeout: postLimit,
	}
	for _, f := range change {
		f(&c)
	}
	return custody.New(c)
}

// postLimit is the longest that a POST may take.
const postLimit = 3 * time.Minute

func (w *town) endpoint() *tokenwire.Endpoint {
	return &tokenwire.Endpoint{
		URL: "https://pkb.example/apiToken.action", ClientID: "client", HTTP: &http.Client{Transport: w},
		Timeout: postLimit, Rules: append(append([]tokenwire.Rule(nil), w.rules...), pkbWords...),
	}
}

// visit is one authorization whose callback is received; its session is also its
// code.
func (w *town) visit(who, session string, terms ...custody.Terms) custody.Approval {
	e := w.endpoint()
	a := custody.Approval{User: who, Session: session, Exchange: func(ctx context.Context) tokenwire.Outcome {
		return e.Exchange(ctx, session, "https://app.example/callback", "")
	}}
	for _, t := range terms {
		a.Terms = t
	}
	return a
}

// joins links a user, without any trouble.
func (w *town) joins(t testing.TB, k *custody.Keeper, who, session string, terms ...custody.Terms) tokenstore.Record {
	t.Helper()
	r, err := k.Approve(t.Context(), w.visit(who, session, terms...))
	if err != nil {
		t.Fatalf("the authorization %q: %v", session, err)
	}
	return r
}

// stage runs f with a town and a store, in a bubble.
func stage(t *testing.T, f func(t *testing.T, w *town, s *tokenstore.Memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(10 * time.Minute) // what is under way ends: afterwards this clock stands still
		f(t, newTown(), tokenstore.NewMemory())
	})
}

// slowly makes every POST of a kind take a while.
func slowly(refresh bool, d time.Duration) func(context.Context, question, func() reply) (reply, error) {
	return func(_ context.Context, q question, serve func() reply) (reply, error) {
		if q.refresh == refresh {
			time.Sleep(d)
		}
		return serve(), nil
	}
}

// sessionOf returns the session that an access token belongs to.
func sessionOf(token custody.Token) string {
	name, _, _ := strings.Cut(token.Value, ":a")
	return name
}

// wantServed asks for a token to show, which must be of the session.
func wantServed(t *testing.T, k *custody.Keeper, who, session string) custody.Token {
	t.Helper()
	token, err := k.Present(t.Context(), who)
	if err != nil || sessionOf(token) != session {
		t.Fatalf("a token of %q: %v, want one of %q", sessionOf(token), err, session)
	}
	return token
}

// wantEnded checks that only the patient can repair the link, and why.
func wantEnded(t *testing.T, k *custody.Keeper, who string, cause custody.Cause) {
	t.Helper()
	token, err := k.Present(t.Context(), who)
	if lost, ok := errors.AsType[*custody.LostError](err); !ok || lost.Cause != cause {
		t.Fatalf("a token of %q: %v, want relink required: %s", sessionOf(token), err, cause)
	}
}

// wantLater checks that there is no token, that nothing is lost, and why.
func wantLater(t *testing.T, k *custody.Keeper, who, reason string) *custody.WaitError {
	t.Helper()
	token, err := k.Present(t.Context(), who)
	wait, ok := errors.AsType[*custody.WaitError](err)
	if !ok || wait.Reason != reason {
		t.Fatalf("a token of %q: %v, want to wait: %s", sessionOf(token), err, reason)
	}
	return wait
}

// wantNoLink checks that there is no link.
func wantUnlinked(t *testing.T, k *custody.Keeper, who string) {
	t.Helper()
	if token, err := k.Present(t.Context(), who); !errors.Is(err, custody.ErrNoLink) {
		t.Fatalf("a token of %q: %v, want no link", sessionOf(token), err)
	}
}

// tells records the events of a keeper.
type tells struct {
	mu   sync.Mutex
	all  []custody.Event
	seen map[custody.Kind]int
}

func (e *tells) config(c *custody.Config) {
	c.OnEvent = func(ev custody.Event) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.seen == nil {
			e.seen = map[custody.Kind]int{}
		}
		e.all = append(e.all, ev)
		e.seen[ev.Kind]++
	}
}

// count returns how many events of a kind were received.
func (e *tells) count(k custody.Kind) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen[k]
}

// counts returns the count of each kind.
func (e *tells) counts() map[custody.Kind]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.seen)
}

// repeating is a transport that sends a request again if the response is 503, as
// some do.
type repeating struct{ town *town }

func (r *repeating) RoundTrip(req *http.Request) (*http.Response, error) {
	form, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	trace := httptrace.ContextClientTrace(req.Context())
	for {
		again := req.Clone(req.Context())
		again.Body = io.NopCloser(bytes.NewReader(form))
		if trace != nil && trace.WroteHeaders != nil {
			trace.WroteHeaders()
		}
		resp, err := r.town.RoundTrip(again)
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
			return resp, err
		}
	}
}
