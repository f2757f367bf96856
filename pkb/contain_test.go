// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// eachFall runs a test, in a bubble, with each way in which code of the host's that only
// watches can fail its caller. relent lets the calls that hang return.
func eachFall(t *testing.T, test func(t *testing.T, fall, relent func())) {
	t.Helper()
	for _, way := range []struct {
		name string
		fall func() // nil: it hangs
	}{{"does not return", nil}, {"ends its goroutine", runtime.Goexit}, {"panics", func() { panic("canary") }}} {
		t.Run(way.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				released := sync.NewCond(&sync.Mutex{})
				round := 0
				hang := func() {
					released.L.Lock()
					defer released.L.Unlock()
					for mine := round; mine == round; {
						released.Wait()
					}
				}
				relent := func() {
					released.L.Lock()
					defer released.L.Unlock()
					round++
					released.Broadcast()
				}
				defer relent()
				if way.fall == nil {
					way.fall = hang
				}
				test(t, way.fall, relent)
			})
		})
	}
}

// faulty is a Telemetry of which one method fails its callers.
type faulty struct {
	fall func()

	mu   sync.Mutex
	at   string
	fell int
}

// failsAt has one method fail from now on.
func (f *faulty) failsAt(method string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.fell = method, 0
}

func (f *faulty) came(to string) {
	f.mu.Lock()
	falls := f.at == to
	if falls {
		f.fell++
	}
	f.mu.Unlock()
	if falls {
		f.fall()
	}
}

func (f *faulty) falls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fell
}

func (f *faulty) Begin(ctx context.Context, _ observe.Operation) (context.Context, func(observe.Result)) {
	f.came("Begin")
	return ctx, func(observe.Result) { f.came("end") }
}

func (f *faulty) Event(observe.EventKind, observe.Cause) { f.came("Event") }

func (f *faulty) Follow(refresh, _ context.Context) context.Context {
	f.came("Follow")
	return refresh
}

func (f *faulty) Swept(observe.Sweep) { f.came("Swept") }

func (f *faulty) Notified(observe.EventKind, bool) { f.came("Notified") }

// A Telemetry that fails costs a figure. What PKB has issued is saved all the same, the
// code is not lost, nobody waits for long, and OnEvent and Notify get what they would.
func TestTelemetryThatFails(t *testing.T) {
	eachFall(t, func(t *testing.T, fall, relent func()) {
		var log syncBuffer
		watcher := &faulty{fall: fall}
		var events, notices []string
		var mu sync.Mutex
		r := newRig(t, withConfig(func(c *pkb.Config) {
			c.Telemetry, c.Logger = watcher, slog.New(slog.NewTextHandler(&log, nil))
			c.OnEvent = func(e observe.Event) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, string(e.Kind))
			}
			c.Notify = func(_ context.Context, n observe.Notice) error {
				mu.Lock()
				defer mu.Unlock()
				notices = append(notices, string(n.Kind))
				return nil
			}
		}))
		for _, method := range []string{"Begin", "end", "Event", "Follow", "Swept", "Notified"} {
			synctest.Wait()
			log.Reset()
			mu.Lock()
			events, notices = nil, nil
			mu.Unlock()
			watcher.failsAt(method)
			user, began := "user of "+method, time.Now()
			r.link(t, user, r.patient)
			for range 3 {
				r.pkb.Advance(sold)
				token(t.Context(), t, r.Client, user)
			}
			if _, err := r.ForUser(user).Self(t.Context()); err != nil {
				t.Errorf("%s: Self: %v", method, err)
			}
			if _, err := r.TendOnce(t.Context()); err != nil {
				t.Errorf("%s: TendOnce: %v", method, err)
			}
			// Each of the calls may be waited for once, and events are on a goroutine of
			// their own.
			if took := time.Since(began); took > 40*time.Second {
				t.Errorf("%s: it all took %v", method, took)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if watcher.falls() == 0 {
				t.Errorf("%s did not fail", method)
			}
			mu.Lock()
			gotEvents, gotNotices := slices.Clone(events), slices.Clone(notices)
			mu.Unlock()
			if diff := cmp.Diff([]string{"approved", "exchanged", "linked", "refreshed", "refreshed", "refreshed"}, gotEvents); diff != "" {
				t.Errorf("%s: OnEvent (-want +got):\n%s", method, diff)
			}
			if len(gotNotices) != 1 {
				t.Errorf("%s: Notify got %q", method, gotNotices)
			}
			if text := log.String(); !strings.Contains(text, `"pkb: Config.Telemetry failed" error="`) || !strings.Contains(text, method) || strings.Contains(text, "canary") {
				t.Errorf("%s: the log:\n%s", method, text)
			}
			watcher.failsAt("")
			relent()
			if err := r.Unlink(t.Context(), user); err != nil {
				t.Error(err)
			}
		}
		if n := r.pkb.ReusedRefreshTokens(); n != 0 {
			t.Errorf("%d refresh tokens came twice", n)
		}
	})
}

// When so many calls hang that a Telemetry is plainly stuck, nobody waits for it any
// more.
func TestTelemetryThatHangsIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		var log syncBuffer
		watcher := &faulty{fall: func() { <-release }}
		r := newRig(t, withConfig(func(c *pkb.Config) {
			c.Telemetry, c.Logger = watcher, slog.New(slog.NewTextHandler(&log, nil))
		}))
		r.link(t, user, r.patient)
		watcher.failsAt("end")
		began := time.Now()
		for range 100 {
			if _, err := r.ForUser(user).Self(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("a hundred calls took %v", took)
		}
		if n, lines := watcher.falls(), strings.Count(log.String(), "Config.Telemetry"); n > 20 || n != lines {
			t.Errorf("%d calls hang, and the log has %d lines of it", n, lines)
		}
	})
}

// What a Telemetry returns is for what it knows of a context: neither an end of its own
// nor nothing at all cuts a request off.
func TestTelemetryThatReturnsAnotherContext(t *testing.T) {
	ended, cancel := context.WithCancel(context.WithValue(t.Context(), carried{}, "span"))
	cancel()
	for name, returned := range map[string]context.Context{"one that has ended": ended, "none": nil, "one of its own": context.Background()} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, withConfig(func(c *pkb.Config) { c.Telemetry = returns{returned} }))
			var caller, span any
			r.config.HTTPClient = &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
				caller, span = req.Context().Value(callers{}), req.Context().Value(carried{})
				return r.pkb.Transport().RoundTrip(req)
			})}
			r.Client = r.replica(t)
			r.link(t, user, r.patient)
			r.pkb.Advance(sold)
			token(t.Context(), t, r.Client, user)
			if _, err := r.ForUser(user).Self(context.WithValue(t.Context(), callers{}, "caller")); err != nil {
				t.Error(err)
			}
			if caller != "caller" || (span == "span") != (returned == ended) {
				t.Errorf("the request's context has %v of the caller's, and %v of the Telemetry's", caller, span)
			}
			if n := r.pkb.Refreshes(); n != 1 {
				t.Errorf("%d refreshes", n)
			}
		})
	}
}

type returns struct{ ctx context.Context }

func (r returns) Begin(context.Context, observe.Operation) (context.Context, func(observe.Result)) {
	return r.ctx, nil
}
func (r returns) Event(observe.EventKind, observe.Cause)                  {}
func (r returns) Follow(context.Context, context.Context) context.Context { return r.ctx }

// faultyHandler fails its callers once it is told to.
type faultyHandler struct {
	slog.Handler
	watcher *faulty
}

func (h faultyHandler) Handle(context.Context, slog.Record) error {
	h.watcher.came("Handle")
	return nil
}

func (h faultyHandler) Enabled(context.Context, slog.Level) bool {
	h.watcher.came("Enabled")
	return true
}

// A Logger that fails costs a line, also between PKB's response and the save.
func TestLoggerThatFails(t *testing.T) {
	eachFall(t, func(t *testing.T, fall, relent func()) {
		watcher, store := &faulty{fall: fall}, &moody{Memory: tokenstore.NewMemory()}
		r := newRig(t, withConfig(func(c *pkb.Config) {
			c.Logger, c.Store = slog.New(faultyHandler{slog.DiscardHandler, watcher}), store
		}))
		r.link(t, user, r.patient)
		for _, method := range []string{"Handle", "Enabled", "Handle"} {
			watcher.failsAt(method)
			r.pkb.Advance(sold)
			r.pkb.Next(pkbtest.Token, breaking(store, 10*time.Second)) // saves fail, which is logged
			if _, err := r.Token(t.Context(), user); !errors.Is(err, pkb.ErrStore) {
				t.Errorf("Token: %v, want ErrStore: what PKB has issued is not saved yet", err)
			}
			time.Sleep(time.Minute)
			token(t.Context(), t, r.Client, user)
			if watcher.falls() == 0 {
				t.Errorf("%s did not fail", method)
			}
			relent()
		}
		if again, refreshes := r.pkb.ReusedRefreshTokens(), r.pkb.Refreshes(); again != 0 || refreshes != 3 {
			t.Errorf("%d refreshes, %d tokens twice", refreshes, again)
		}
	})
}
