// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package transports

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

var write = flag.Bool("write", false, "write the page of the docs")

// result is what was found of a row.
type result struct {
	// refused is the error of New.
	refused string
	// unlinked is the error of an authorization that ought to work.
	unlinked string
	notes    []string
	// faults are ours.
	faults []string
}

func (r *result) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}
func (r *result) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// trials are what each row goes through, in a world of its own.
var trials = []struct {
	name string
	try  func(w *world, h *host, c *pkb.Client, found *result)
}{
	{"a life", aLife},
	{"a lost exchange", aLostExchange},
	{"a lost refresh", aLostRefresh},
	{"slow responses", slowResponses},
	{"redirects", redirects},
}

// The page of the docs has what is so, over both versions of HTTP.
func TestPage(t *testing.T) {
	found := make([][2]result, len(rows))
	t.Run("rows", func(t *testing.T) {
		for i := range rows {
			for version := range found[i] {
				t.Run(fmt.Sprintf("%s, %s, HTTP/%d", rows[i].transport, rows[i].setting, version+1), func(t *testing.T) {
					t.Parallel()
					found[i][version] = tryRow(t, &rows[i], version == 1)
					for _, fault := range found[i][version].faults {
						t.Error(fault)
					}
				})
			}
		}
	})
	for i, r := range rows {
		noted := len(found[i][0].notes)+len(found[i][1].notes) > 0 || found[i][0].unlinked != ""
		if noted != (r.advice != "") {
			t.Errorf("%s, %s: notes %t, advice %q: a host is told what to do about notes, and about nothing else", r.transport, r.setting, noted, r.advice)
		}
	}
	const name = "../../../pkb/transports.md"
	if *write {
		if err := os.WriteFile(name, []byte(page(found)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), page(found)); diff != "" {
		t.Errorf("transports.md is not what was found (-page +found); write it anew with -write, if that is right:\n%s", diff)
	}
}

func tryRow(t *testing.T, r *row, http2 bool) (found result) {
	for _, trial := range trials {
		if found.refused != "" || found.unlinked != "" {
			break // all of them begin with New, and with a link
		}
		t.Run(trial.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, r, http2)
				h := &host{w: w}
				c, err := w.client(r.make(h))
				if err != nil {
					found.refused = err.Error()
					return
				}
				trial.try(w, h, c, &found)
				w.mu.Lock()
				defer w.mu.Unlock()
				for fault := range w.wrong {
					if found.unlinked == "" { // which is because of it
						found.fault("%s: %s", trial.name, fault)
					}
				}
			})
		})
	}
	slices.Sort(found.notes)
	found.notes = slices.Compact(found.notes)
	return found
}

// aLife is two users who link, read and go on for an hour.
func aLife(w *world, h *host, c *pkb.Client, found *result) {
	for _, user := range users {
		if err := w.link(c, user); err != nil {
			found.unlinked = err.Error()
			return
		}
	}
	cacheable := pkbtest.Rewrite(func(header http.Header, body []byte) []byte {
		header.Set("Cache-Control", "max-age=86400")
		return body
	})
	for range 6 {
		time.Sleep(10 * time.Minute)
		for _, user := range users {
			w.pkb.Next(pkbtest.Self, cacheable)
			self, err := c.ForUser(user).Self(w.t.Context())
			if err != nil {
				found.fault("%s cannot read: %v: %v", user, err, pkbtest.Cause(err))
				return
			}
			if number, _ := self.NHSNumber(); number.Reveal() != w.patients[user].NHSNumber {
				found.fault("%s reads somebody else's record", user)
			}
			w.pkb.ClearFaults() // of a response that came from a cache
		}
	}
	if n := w.pkb.Refreshes(); n < 2*5 || w.pkb.ReusedRefreshTokens() != 0 {
		found.fault("%d refreshes in an hour, and %d tokens presented twice", n, w.pkb.ReusedRefreshTokens())
	}
	if w.repeats() {
		found.fault("a repetition was reported, and there was none")
	}
	if h.log == nil {
		return
	}
	if exposed := w.exposed(h.log()); len(exposed) > 0 {
		found.note("what it writes has each %s", strings.Join(exposed, ", each "))
	}
}

func (w *world) repeats() bool {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.events[observe.EventTransportRepeats] > 0
}

// noteRepeats notes that the library has named the transport.
func (w *world) noteRepeats(found *result) {
	if w.repeats() {
		found.note("a second send of a token request is cut off, and reported (`transport_repeats`)")
	}
}

// aLostExchange is a response to a code that the network takes.
func aLostExchange(w *world, _ *host, c *pkb.Client, found *result) {
	if err := w.link(c, users[0], pkbtest.DropAfter()); err == nil {
		found.fault("a link was made of a response that was lost")
	}
	time.Sleep(time.Minute)
	if n := w.pkb.Exchanges(); n != 1 {
		found.fault("the code was presented %d times", n)
	}
	w.noteRepeats(found)
}

// aLostRefresh is a response to a refresh that the network takes, while the access token
// is still valid.
func aLostRefresh(w *world, _ *host, c *pkb.Client, found *result) {
	if err := w.link(c, users[0]); err != nil {
		found.fault("a link: %v", err)
		return
	}
	w.pkb.Next(pkbtest.Token, pkbtest.DropAfter())
	for waited := time.Duration(0); w.pkb.Refreshes() == 0 && waited < 10*time.Minute; waited += 15 * time.Second {
		time.Sleep(15 * time.Second)
		if _, err := c.Token(w.t.Context(), users[0]); err != nil {
			found.fault("no token after %v: %v", waited, err)
			return
		}
		synctest.Wait()
	}
	time.Sleep(30 * time.Second) // in which a transport repeats, and the library does not
	if n := w.pkb.Refreshes(); n != 1 || w.pkb.ReusedRefreshTokens() != 0 {
		found.fault("the refresh token was presented %d times", n)
	}
	if _, err := c.ForUser(users[0]).Self(w.t.Context()); err != nil {
		found.fault("the access token is lost, too: %v", err)
	}
	w.noteRepeats(found)
}

// slowResponses is a token endpoint that takes 20 seconds.
func slowResponses(w *world, _ *host, c *pkb.Client, found *result) {
	const lost = "a token response that takes 20 s is lost"
	if err := w.link(c, users[0], pkbtest.Delay(20*time.Second)); err != nil {
		found.note(lost)
		if n := w.pkb.Exchanges(); n != 1 {
			found.fault("the code was presented %d times", n)
		}
		w.noteRepeats(found)
		return
	}
	time.Sleep(10 * time.Minute)
	w.pkb.Next(pkbtest.Token, pkbtest.Delay(20*time.Second))
	began := time.Now()
	_, err := c.ForUser(users[0]).Self(w.t.Context())
	if took := time.Since(began); err == nil && took < 20*time.Second {
		found.fault("the refresh took %v: the test does not show what it is for", took)
	}
	if err != nil {
		time.Sleep(30 * time.Second)
		if _, again := c.ForUser(users[0]).Self(w.t.Context()); again != nil {
			found.note(lost)
		} else {
			found.note("a call that waits for a slow refresh fails, and the next one works")
		}
	}
	if n := w.pkb.ReusedRefreshTokens(); n != 0 {
		found.fault("%d refresh tokens were presented twice", n)
	}
	w.noteRepeats(found)
}

// redirect leads to a server that has no business with tokens.
func redirect(status int) pkbtest.Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.test/", status)
		})
	}
}

func redirects(w *world, _ *host, c *pkb.Client, found *result) {
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		if err := w.link(c, users[0], redirect(status)); err == nil {
			found.fault("a link was made of a redirect")
		}
	}
	if err := w.link(c, users[1]); err != nil {
		found.fault("a link after a redirect: %v", err)
		return
	}
	w.pkb.Next(pkbtest.Self, redirect(http.StatusFound))
	var api *pkb.APIError
	if _, err := c.ForUser(users[1]).Self(w.t.Context()); !errors.As(err, &api) {
		found.fault("a redirected read: %v", err)
	}
	w.mu.Lock()
	elsewhere := w.elsewhere
	w.mu.Unlock()
	if exposed := w.exposed(elsewhere); len(exposed) > 0 {
		found.fault("a redirect took the %s along", strings.Join(exposed, ", the "))
	}
	if elsewhere != "" {
		found.note("redirects are followed, without a form or a token")
	}
}
