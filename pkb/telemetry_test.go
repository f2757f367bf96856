// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/google/go-cmp/cmp"
)

// step is an operation that began, and what became of it.
type step struct {
	Op     observe.Operation
	Within observe.Operation
	observe.Result
}

// listener is a Telemetry that writes everything down.
type listener struct {
	mu     sync.Mutex
	begun  int
	steps  []step // in the order of their ends
	events []string
	// callers are what the refreshes were begun for.
	callers []context.Context
}

type within struct{}

func (l *listener) Begin(ctx context.Context, op observe.Operation) (context.Context, func(observe.Result)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun++
	outer, _ := ctx.Value(within{}).(observe.Operation)
	return context.WithValue(ctx, within{}, op), func(r observe.Result) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.steps = append(l.steps, step{op, outer, r})
	}
}

func (l *listener) Event(kind observe.EventKind, cause observe.Cause) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, strings.TrimSuffix(string(kind)+" "+string(cause), " "))
}

func (l *listener) Follow(refresh, caller context.Context) context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.callers = append(l.callers, caller)
	return refresh
}

// take returns what was written down, and forgets it. Events come on a goroutine
// of their own, so it is for bubbles, and lets what goes on there come to rest.
func (l *listener) take() (steps []step, events []string) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	steps, events = l.steps, l.events
	l.steps, l.events = nil, nil
	return steps, events
}

func listening(t *testing.T, change ...func(*pkbtest.Config, *pkb.Config)) (*rig, *listener) {
	t.Helper()
	l := &listener{}
	r := newRig(t, append(change, func(_ *pkbtest.Config, c *pkb.Config) { c.Telemetry = l })...)
	return r, l
}

// What is told of a link's life: each operation once, within the one that it
// belongs to.
func TestOperationsOfALife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := listening(t, func(_ *pkbtest.Config, c *pkb.Config) {
			c.Identify = func(context.Context, pkb.Candidate) error { return nil }
		})
		r.pkb.Next(pkbtest.Token, pkbtest.Delay(3*time.Second))
		pending, query := r.approve(t, user, r.patient)
		if _, err := r.Complete(t.Context(), user, pending, query); err != nil {
			t.Fatal(err)
		}
		token(t.Context(), t, r.Client, user)
		token(t.Context(), t, r.Client, user) // in memory: no operation
		if _, err := r.ForUser(user).Self(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.pkb.Advance(11 * time.Minute)
		if _, err := r.ForUser(user).Purview(t.Context()); err != nil {
			t.Fatal(err)
		}
		ok := func(status, requests int) observe.Result {
			return observe.Result{Outcome: observe.OutcomeOK, Status: status, Requests: requests}
		}
		wantSteps := []step{
			{observe.OpAuthorize, "", ok(0, 0)},
			{observe.OpExchange, observe.OpComplete, ok(200, 0)},
			{observe.OpPurview, observe.OpComplete, ok(200, 1)},
			{observe.OpSelf, observe.OpComplete, ok(200, 1)},
			{observe.OpComplete, "", ok(0, 0)},
			{observe.OpSelf, "", ok(200, 1)},
			{observe.OpRefresh, "", ok(200, 0)},
			{observe.OpPurview, "", ok(200, 1)},
		}
		steps, events := l.take()
		for i := range steps {
			if op := steps[i].Op; (op == observe.OpExchange || op == observe.OpComplete) && steps[i].Duration != 3*time.Second {
				t.Errorf("%s took %v, want the 3s that PKB took", op, steps[i].Duration)
			}
			steps[i].Duration = 0
		}
		if diff := cmp.Diff(wantSteps, steps); diff != "" {
			t.Errorf("operations (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"approved", "exchanged", "linked", "refreshed"}, events); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// Repetitions lie within one operation, which says how many there were.
func TestRepetitionsAreOneOperation(t *testing.T) {
	for name, tc := range map[string]struct {
		faults []pkbtest.Fault
		want   observe.Result
	}{
		"busy twice":           {[]pkbtest.Fault{pkbtest.Respond(503, "", ""), pkbtest.Respond(503, "", "")}, observe.Result{Outcome: observe.OutcomeOK, Status: 200, Requests: 3}},
		"busy for good":        {[]pkbtest.Fault{pkbtest.Respond(503, "", ""), pkbtest.Respond(503, "", ""), pkbtest.Respond(503, "", "")}, observe.Result{Outcome: observe.OutcomeUnavailable, Status: 503, Requests: 3}},
		"a token is refused":   {[]pkbtest.Fault{pkbtest.Refuse(string(fhir.AccessTokenExpired))}, observe.Result{Outcome: observe.OutcomeOK, Status: 200, Requests: 2}},
		"refused for a reason": {[]pkbtest.Fault{pkbtest.Respond(403, "", "")}, observe.Result{Outcome: observe.OutcomeRefused, Status: 403, Requests: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, l := listening(t)
				r.link(t, user, r.patient)
				l.take()
				r.pkb.Next(pkbtest.Self, tc.faults...)
				_, _ = r.ForUser(user).Self(t.Context())
				steps, _ := l.take()
				var got []observe.Result
				for _, s := range steps {
					if s.Op == observe.OpSelf {
						s.Duration = 0
						got = append(got, s.Result)
					}
				}
				if diff := cmp.Diff([]observe.Result{tc.want}, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// What is told of each trouble: whose turn it is.
func TestOutcomes(t *testing.T) {
	// do makes the trouble, and links first where it has to.
	type result = observe.Result
	self := func(t *testing.T, r *rig) error {
		_, err := r.ForUser(user).Self(t.Context())
		return err
	}
	expired := func(t *testing.T, r *rig) error {
		r.pkb.Advance(11 * time.Minute)
		_, err := r.Token(t.Context(), user)
		return err
	}
	complete := func(t *testing.T, r *rig) error {
		pending, query := r.approve(t, user, r.patient)
		_, err := r.Complete(t.Context(), user, pending, query)
		return err
	}
	for name, tc := range map[string]struct {
		op       observe.Operation
		endpoint pkbtest.Endpoint
		fault    pkbtest.Fault
		prepare  func(t *testing.T, r *rig)
		do       func(t *testing.T, r *rig) error
		want     result
	}{
		"call: no answer":         {op: observe.OpSelf, endpoint: pkbtest.Self, fault: pkbtest.Drop(), do: self, want: result{Outcome: observe.OutcomeUnavailable}},
		"call: 500":               {op: observe.OpSelf, endpoint: pkbtest.Self, fault: pkbtest.Respond(500, "text/html", "<html>"), do: self, want: result{Outcome: observe.OutcomeUnavailable, Status: 500}},
		"call: 404":               {op: observe.OpSelf, endpoint: pkbtest.Self, fault: pkbtest.Respond(404, "", ""), do: self, want: result{Outcome: observe.OutcomeMisconfigured, Status: 404}},
		"call: 403":               {op: observe.OpSelf, endpoint: pkbtest.Self, fault: pkbtest.Respond(403, "", ""), do: self, want: result{Outcome: observe.OutcomeRefused, Status: 403}},
		"call: frozen":            {op: observe.OpSelf, endpoint: pkbtest.Self, fault: pkbtest.Refuse("ACCESS_FROZEN_OUTWARD"), do: self, want: result{Outcome: observe.OutcomeRefused, Status: 403, Code: "ACCESS_FROZEN_OUTWARD"}},
		"call: not what PKB says": {op: observe.OpSelf, endpoint: pkbtest.Self, fault: pkbtest.Respond(200, "application/json", "[]"), do: self, want: result{Outcome: observe.OutcomeUnreadable, Status: 200}},
		"read: not what PKB says": {op: "Organization read", endpoint: pkbtest.Facade, fault: pkbtest.Respond(200, "application/fhir+json", `{"resourceType":"Patient"}`), do: func(t *testing.T, r *rig) error {
			_, err := r.ForUser(user).Record().Organization(t.Context(), "1")
			return err
		}, want: result{Outcome: observe.OutcomeUnreadable, Status: 200}},
		"search: not what PKB says": {op: "Consent search", endpoint: pkbtest.Facade, fault: pkbtest.Respond(200, "application/fhir+json", `{"resourceType":"Patient"}`), do: func(t *testing.T, r *rig) error {
			for _, err := range r.ForUser(user).Record().Consents(t.Context()) {
				return err
			}
			return nil
		}, want: result{Outcome: observe.OutcomeUnreadable, Status: 200}},
		"call: a word nobody knows":   {op: observe.OpSelf, endpoint: pkbtest.Self, fault: pkbtest.Refuse("CANARY_OF_THE_SERVER"), do: self, want: result{Outcome: observe.OutcomeRefused, Status: 403}},
		"refresh: invalid_client":     {op: observe.OpRefresh, endpoint: pkbtest.Token, fault: pkbtest.Respond(401, "application/json", `{"error":"invalid_client"}`), do: expired, want: result{Outcome: observe.OutcomeMisconfigured, Status: 401, Code: "invalid_client"}},
		"refresh: 429":                {op: observe.OpRefresh, endpoint: pkbtest.Token, fault: pkbtest.Respond(429, "", ""), do: expired, want: result{Outcome: observe.OutcomeUnavailable, Status: 429}},
		"refresh: lost":               {op: observe.OpRefresh, endpoint: pkbtest.Token, fault: pkbtest.Drop(), do: expired, want: result{Outcome: observe.OutcomeUncertain}},
		"refresh: invalid_grant":      {op: observe.OpRefresh, endpoint: pkbtest.Token, fault: pkbtest.Respond(400, "application/json", `{"error":"invalid_grant"}`), do: expired, want: result{Outcome: observe.OutcomeRefused, Status: 400, Code: "invalid_grant"}},
		"exchange: lost":              {op: observe.OpExchange, endpoint: pkbtest.Token, fault: pkbtest.Drop(), do: complete, want: result{Outcome: observe.OutcomeUncertain}},
		"complete: store":             {op: observe.OpComplete, do: complete, prepare: func(_ *testing.T, r *rig) { r.config.Store.(*moody).set(nil, errDown) }, want: result{Outcome: observe.OutcomeStore}},
		"call: no link":               {op: observe.OpSelf, do: func(t *testing.T, r *rig) error { _, err := r.ForUser("nobody").Self(t.Context()); return err }, want: result{Outcome: observe.OutcomeNotLinked}},
		"call: link has ended":        {op: observe.OpSelf, prepare: func(_ *testing.T, r *rig) { r.pkb.EndSessions(r.patient) }, do: self, want: result{Outcome: observe.OutcomeNotLinked}},
		"call: caller left":           {op: observe.OpSelf, endpoint: pkbtest.Self, fault: pkbtest.Delay(time.Minute), do: func(t *testing.T, r *rig) error { return leaving(t, r) }, want: result{Outcome: observe.OutcomeCanceled}},
		"call: closed":                {op: observe.OpSelf, prepare: func(t *testing.T, r *rig) { _ = r.Close(t.Context()) }, do: self, want: result{Outcome: observe.OutcomeClosed}},
		"authorize: nobody signed in": {op: observe.OpAuthorize, do: func(t *testing.T, r *rig) error { _, _, err := r.Authorize(t.Context(), ""); return err }, want: result{Outcome: observe.OutcomeRefused}},
		"authorize: redirect": {op: observe.OpAuthorize, do: func(t *testing.T, r *rig) error {
			_, _, err := r.Authorize(t.Context(), user, pkb.RedirectTo("x"))
			return err
		}, want: result{Outcome: observe.OutcomeMisconfigured}},
		"complete: denied": {op: observe.OpComplete, do: denied, want: result{Outcome: observe.OutcomeDenied}},
		"complete: another state": {op: observe.OpComplete, do: func(t *testing.T, r *rig) error {
			_, err := r.Complete(t.Context(), user, pkb.Pending{}, url.Values{})
			return err
		}, want: result{Outcome: observe.OutcomeRefused}},
		"call: refresh elsewhere": {op: observe.OpSelf, endpoint: pkbtest.Token, fault: pkbtest.Respond(401, "application/json", `{"error":"invalid_client"}`), do: func(t *testing.T, r *rig) error { r.pkb.Advance(11 * time.Minute); return self(t, r) }, want: result{Outcome: observe.OutcomeUnavailable, Status: 401, Code: "invalid_client"}},
		"call: another environment": {op: observe.OpSelf, prepare: func(t *testing.T, r *rig) {
			r.config.Environment.Name = "another"
			r.Client = r.replica(t)
		}, do: self, want: result{Outcome: observe.OutcomeMisconfigured}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, l := listening(t, func(_ *pkbtest.Config, c *pkb.Config) { c.Store = &moody{Memory: c.Store.(*tokenstore.Memory)} })
				r.link(t, user, r.patient)
				if tc.prepare != nil {
					tc.prepare(t, r)
				}
				if tc.fault != nil {
					r.pkb.Next(tc.endpoint, tc.fault)
				}
				if tc.endpoint == pkbtest.Self { // a read is repeated
					r.pkb.Next(tc.endpoint, tc.fault, tc.fault)
				}
				l.take()
				if err := tc.do(t, r); err == nil && tc.op != observe.OpRefresh {
					t.Fatal("nothing went wrong")
				}
				steps, _ := l.take()
				// What the store does not take is tried on until it does.
				defer func() { _ = r.Close(t.Context()) }()
				defer r.config.Store.(*moody).set(nil, nil)
				for _, s := range steps {
					s.Duration, s.Requests = 0, 0
					if s.Op == tc.op {
						if diff := cmp.Diff(tc.want, s.Result); diff != "" {
							t.Errorf("(-want +got):\n%s", diff)
						}
						return
					}
				}
				t.Errorf("%s was not told of: %v", tc.op, steps)
			})
		})
	}
}

func leaving(t *testing.T, r *rig) error {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Second, cancel)
	_, err := r.ForUser(user).Self(ctx)
	return err
}

func denied(t *testing.T, r *rig) error {
	_, pending, err := r.Authorize(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Complete(t.Context(), user, pending, url.Values{"state": {pending.State().Reveal()}, "error": {"access_denied"}})
	return err
}

// moody is a store that fails when told to.
type moody struct {
	*tokenstore.Memory
	mu         sync.Mutex
	load, save error
}

func (m *moody) set(load, save error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load, m.save = load, save
}

func (m *moody) mood() (load, save error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.load, m.save
}

// breaking is a fault that lets the request pass, and takes the store away for a
// while before the answer comes.
func breaking(store *moody, while time.Duration) pkbtest.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			store.set(errDown, errDown)
			time.AfterFunc(while, func() { store.set(nil, nil) })
			next.ServeHTTP(w, r)
		})
	}
}

var errDown = errors.New("down: canary")

func (m *moody) Load(ctx context.Context, appUserID string) (tokenstore.Record, error) {
	if load, _ := m.mood(); load != nil {
		return tokenstore.Record{}, load
	}
	return m.Memory.Load(ctx, appUserID)
}

func (m *moody) Save(ctx context.Context, rec tokenstore.Record) (tokenstore.Record, error) {
	if _, save := m.mood(); save != nil {
		return tokenstore.Record{}, save
	}
	return m.Memory.Save(ctx, rec)
}

type callers struct{}

// A refresh outlives the call that needed it, and has nothing of its context: not
// its end, and not its values, which may be a transaction of the host's. Only
// Follow sees the caller.
func TestRefreshIsNobodysRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := listening(t)
		r.link(t, user, r.patient)
		l.take()
		r.pkb.Advance(11 * time.Minute)
		r.pkb.Next(pkbtest.Token, pkbtest.Delay(5*time.Second))
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), callers{}, "canary"), time.Second)
		defer cancel()
		if _, err := r.Token(ctx, user); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		steps, _ := l.take()
		want := []step{{observe.OpRefresh, "", observe.Result{Outcome: observe.OutcomeOK, Status: 200, Duration: 5 * time.Second}}}
		if diff := cmp.Diff(want, steps); diff != "" {
			t.Errorf("a refresh was cut short or begun within its caller (-want +got):\n%s", diff)
		}
		if n := len(l.callers); n == 0 || l.callers[n-1].Value(callers{}) != "canary" {
			t.Error("Follow was not shown the caller")
		}
	})
}

// carrier puts something of its own into every context that it gives back.
type carrier struct{ *listener }

type carried struct{}

func (c carrier) Follow(refresh, caller context.Context) context.Context {
	return context.WithValue(c.listener.Follow(refresh, caller), carried{}, caller.Value(callers{}))
}

func (c carrier) Begin(ctx context.Context, op observe.Operation) (context.Context, func(observe.Result)) {
	if op == observe.OpRefresh {
		c.Event(observe.EventKind(fmt.Sprintf("%v for %v", ctx.Value(callers{}), ctx.Value(carried{}))), "")
	}
	return c.listener.Begin(ctx, op)
}

func TestFollowReachesTheRefresh(t *testing.T) { synctest.Test(t, testFollowReachesTheRefresh) }

func testFollowReachesTheRefresh(t *testing.T) {
	l := &listener{}
	r := newRig(t, func(_ *pkbtest.Config, c *pkb.Config) { c.Telemetry = carrier{l} })
	r.link(t, user, r.patient)
	l.take()
	r.pkb.Advance(11 * time.Minute)
	token(context.WithValue(t.Context(), callers{}, "caller"), t, r.Client, user)
	if _, events := l.take(); len(events) == 0 || events[0] != "<nil> for caller" {
		t.Errorf("told %q: the refresh must see what Follow gave it, and no value of its caller's", events)
	}
}

// Whatever goes wrong, what is told can be a label: no user, no token, nothing
// that PKB wrote, and few values.
func TestTelemetryIsToldNothingPersonal(t *testing.T) {
	synctest.Test(t, testTelemetryIsToldNothingPersonal)
}

func testTelemetryIsToldNothingPersonal(t *testing.T) {
	r, l := listening(t)
	const appUserID = "canary-user@example.com"
	var secrets []string
	for range 3 {
		r.pkb.Next(pkbtest.Self, pkbtest.Respond(400, "application/fhir+json", `{"resourceType":"OperationOutcome","issue":[{"code":"canary-code","diagnostics":"canary text"}]}`))
		pending, query := r.approve(t, appUserID, r.patient)
		secrets = append(secrets, query.Get("code"), query.Get("state"))
		if _, err := r.Complete(t.Context(), appUserID, pending, query); err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, token(t.Context(), t, r.Client, appUserID))
		_, _ = r.ForUser(appUserID).Self(t.Context())
		for _, fault := range []pkbtest.Fault{
			pkbtest.Respond(400, "application/json", `{"error":"canary-error"}`), pkbtest.Drop(), pkbtest.Refuse("API_SESSION_EXPIRED"),
		} {
			r.pkb.Advance(11 * time.Minute)
			r.pkb.Next(pkbtest.Token, fault)
			_, _ = r.Token(t.Context(), appUserID)
		}
	}
	steps, events := l.take()
	if l.begun != len(steps) || len(steps) == 0 {
		t.Errorf("%d operations began and %d ended", l.begun, len(steps))
	}
	told := fmt.Sprintf("%+v %q", steps, events)
	for _, secret := range append(secrets, "canary", appUserID, r.patient.NHSNumber, r.patient.PublicID) {
		if strings.Contains(told, secret) {
			t.Errorf("telemetry was told %q", secret)
		}
	}
}

// unreadable hides the tokens of a response under names that nobody knows.
func unreadable() pkbtest.Fault {
	return pkbtest.Rewrite(func(_ http.Header, body []byte) []byte {
		return bytes.ReplaceAll(body, []byte("_token"), []byte("Token"))
	})
}

// repeating is a transport that sends each request twice, as net/http shows it.
type repeating struct{ next http.RoundTripper }

func (rt repeating) RoundTrip(q *http.Request) (*http.Response, error) {
	if strings.HasSuffix(q.URL.Path, "/apiToken.action") {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return nil, err
		}
		trace := httptrace.ContextClientTrace(q.Context())
		trace.WroteHeaders()
		trace.WroteHeaders()
		q = q.Clone(q.Context())
		q.Body = io.NopCloser(bytes.NewReader(body))
	}
	return rt.next.RoundTrip(q)
}

// Each kind of event reaches Config.OnEvent, and Telemetry with it.
func TestEachEventIsTold(t *testing.T) {
	elsewhere := func(t *testing.T, r *rig) { // another process refreshes
		token(t.Context(), t, r.Client, user)
		r.pkb.Advance(11 * time.Minute)
		other := r.config
		other.OnEvent, other.Telemetry = nil, nil
		peer, err := pkb.New(other)
		if err != nil {
			t.Fatal(err)
		}
		token(t.Context(), t, peer, user)
		token(t.Context(), t, r.Client, user)
	}
	refresh := func(fault ...pkbtest.Fault) func(*testing.T, *rig) {
		return func(t *testing.T, r *rig) {
			for _, f := range append(fault, pkbtest.Pass()) {
				r.pkb.Advance(11 * time.Minute)
				r.pkb.Next(pkbtest.Token, f)
				_, _ = r.Token(t.Context(), user)
				time.Sleep(time.Minute)
			}
		}
	}
	// unchecked approves as another patient while PKB does not say whose it is.
	unchecked := func(t *testing.T, r *rig) *pkbtest.Patient {
		other := r.pkb.AddPatient(pkbtest.Patient{})
		fail := pkbtest.Respond(503, "", "")
		r.pkb.Next(pkbtest.Purview, fail, fail, fail)
		pending, query := r.approve(t, user, other, pkb.AllowSwitch())
		if _, err := r.Complete(t.Context(), user, pending, query); !errors.Is(err, pkb.ErrUnchecked) {
			t.Fatalf("Complete: %v, want ErrUnchecked", err)
		}
		return other
	}
	provokes := map[observe.EventKind]func(*testing.T, *rig){
		observe.EventApproved:  func(*testing.T, *rig) {},
		observe.EventExchanged: func(*testing.T, *rig) {},
		observe.EventLinked:    func(*testing.T, *rig) {},
		observe.EventRefreshed: refresh(),
		observe.EventAdopted:   elsewhere,
		observe.EventUncertain: refresh(pkbtest.Drop()),
		observe.EventRecovered: refresh(pkbtest.Drop()),
		observe.EventSaveRetried: func(t *testing.T, r *rig) {
			store := r.config.Store.(*moody)
			refresh(breaking(store, 3*time.Second))(t, r)
		},
		observe.EventSaveFailed: func(t *testing.T, r *rig) {
			store := r.config.Store.(*moody)
			refresh(breaking(store, 2*time.Minute))(t, r)
			time.Sleep(5 * time.Minute)
		},
		observe.EventRelinkRequired: func(t *testing.T, r *rig) {
			r.pkb.EndSessions(r.patient)
			_, _ = r.ForUser(user).Self(t.Context())
		},
		observe.EventEndsSoon: func(t *testing.T, r *rig) {
			for range 12 {
				refresh()(t, r)
			}
		},
		observe.EventWrongPatient: func(t *testing.T, r *rig) { r.refused(t, user, r.pkb.AddPatient(pkbtest.Patient{})) },
		observe.EventSharedRecord: func(t *testing.T, r *rig) { r.refused(t, "user-2", r.patient) },
		observe.EventRefused: func(t *testing.T, r *rig) {
			r.refused(t, "user-2", r.pkb.AddPatient(pkbtest.Patient{Purview: []string{"Practitioner/1d4a8b2d-f885-499f-ba51-50600312f316"}}))
		},
		observe.EventKeyRotated: func(t *testing.T, r *rig) {
			if err := r.config.Keys.Promote("new"); err != nil {
				t.Fatal(err)
			}
			if _, err := reseal(t.Context(), r.Client); err != nil {
				t.Fatal(err)
			}
		},
		observe.EventScopeChanged: refresh(pkbtest.Rewrite(func(_ http.Header, body []byte) []byte {
			return bytes.Replace(body, []byte(`"PATIENT"`), []byte(`"CLINICIAN"`), 1)
		})),
		observe.EventUnlinked: func(t *testing.T, r *rig) {
			if err := r.Unlink(t.Context(), user); err != nil {
				t.Fatal(err)
			}
		},
		observe.EventStoreRolledBack: func(t *testing.T, r *rig) {
			token(t.Context(), t, r.Client, user)
			old, err := r.store.Load(t.Context(), user)
			if err != nil {
				t.Fatal(err)
			}
			refresh()(t, r)
			now, err := r.store.Load(t.Context(), user)
			if err != nil {
				t.Fatal(err)
			}
			old.Version = now.Version
			if _, err := r.store.Save(t.Context(), old); err != nil {
				t.Fatal(err)
			}
			refresh()(t, r)
		},
		observe.EventMassRejection: func(t *testing.T, r *rig) {
			for i := range 5 {
				other := fmt.Sprintf("other-%d", i)
				r.link(t, other, r.pkb.AddPatient(pkbtest.Patient{}))
			}
			r.pkb.Advance(11 * time.Minute)
			for i := range 5 {
				r.pkb.Next(pkbtest.Token, pkbtest.Respond(400, "application/json", `{"error":"invalid_grant"}`))
				_, _ = r.Token(t.Context(), fmt.Sprintf("other-%d", i))
			}
		},
		observe.EventAppTrouble: refresh(pkbtest.Respond(401, "application/json", `{"error":"invalid_client"}`)),
		observe.EventUnclear:    refresh(pkbtest.Respond(400, "", "")),
		observe.EventUnreadable: refresh(unreadable()),
		observe.EventDiscarded: func(t *testing.T, r *rig) {
			refresh(unreadable())(t, r)
			if err := r.Discard(t.Context(), user); err != nil {
				t.Fatal(err)
			}
		},
		observe.EventUnchecked: func(t *testing.T, r *rig) { unchecked(t, r) },
		observe.EventAbandoned: func(t *testing.T, r *rig) { // what waits has ended before it could be checked
			r.pkb.EndSessions(unchecked(t, r))
			refresh()(t, r)
		},
		observe.EventNotExchanged: func(t *testing.T, r *rig) {
			r.pkb.Next(pkbtest.Token, pkbtest.Respond(500, "", ""))
			r.refused(t, user, r.patient)
		},
		observe.EventRestored: func(t *testing.T, r *rig) { // the store loses the latest writes, and this process knows them
			old, err := r.store.Load(t.Context(), user)
			if err != nil {
				t.Fatal(err)
			}
			r.pkb.Advance(11 * time.Minute)
			token(t.Context(), t, r.Client, user)
			now, err := r.store.Load(t.Context(), user)
			if err != nil {
				t.Fatal(err)
			}
			old.Version = now.Version
			if _, err := r.store.Save(t.Context(), old); err != nil {
				t.Fatal(err)
			}
			r.pkb.Next(pkbtest.Self, pkbtest.Respond(401, "", "")) // so that the record is looked at
			if _, err := r.ForUser(user).Self(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		observe.EventTransportRepeats: func(t *testing.T, r *rig) {
			r.config.HTTPClient = &http.Client{Transport: repeating{r.pkb.Transport()}}
			r.Client = r.replica(t)
			refresh()(t, r)
		},
	}
	for _, kind := range kindsOfEvents(t) {
		if provokes[kind] == nil {
			t.Errorf("nothing provokes %s: add it", kind)
		}
	}
	for kind, provoke := range provokes {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d diary
				keys := &keys.Keyring{}
				for i, id := range []string{"old", "new"} {
					if err := keys.AddKey(id, bytes.Repeat([]byte{byte(i + 1)}, 32)); err != nil {
						t.Fatal(err)
					}
				}
				r, l := listening(t, func(server *pkbtest.Config, c *pkb.Config) {
					c.OnEvent, c.Keys, c.Store = d.note, keys, &moody{Memory: c.Store.(*tokenstore.Memory)}
					if kind == observe.EventEndsSoon {
						server.SessionLife, c.SessionLife, c.FirstWarning, c.LastWarning = 3*time.Hour, 3*time.Hour, time.Hour, time.Hour
					}
				})
				r.link(t, user, r.patient)
				provoke(t, r)
				synctest.Wait()
				told := 0
				given := d.all()
				for _, e := range given {
					if e.Kind != kind {
						continue
					}
					told++
					if e.AppUserID == "" {
						t.Error("the event does not say whose link it is")
					}
					if (e.Cause != "") != (kind == observe.EventRelinkRequired || kind == observe.EventAbandoned) {
						t.Errorf("cause %q", e.Cause)
					}
				}
				if told == 0 {
					t.Errorf("not told; only %v", d.kinds())
				}
				_, events := l.take()
				if len(events) != len(given) {
					t.Errorf("Telemetry was told of %d events, OnEvent of %d", len(events), len(given))
				}
				if err := r.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// kindsOfEvents are those that events.go lists.
func kindsOfEvents(t *testing.T) (kinds []observe.EventKind) {
	t.Helper()
	source, err := os.ReadFile("observe/event.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile(`(?m)^\tEvent\w+ EventKind = "(\w+)"$`).FindAllSubmatch(source, -1) {
		kinds = append(kinds, observe.EventKind(found[1]))
	}
	if len(kinds) < 28 {
		t.Fatalf("only %d kinds of events found: the search is broken", len(kinds))
	}
	return kinds
}

// refused approves for user as p, and wants to be refused.
func (r *rig) refused(t *testing.T, user string, p *pkbtest.Patient) {
	t.Helper()
	pending, query := r.approve(t, user, p)
	if _, err := r.Complete(t.Context(), user, pending, query); err == nil {
		t.Fatal("the approval was not refused")
	}
}
