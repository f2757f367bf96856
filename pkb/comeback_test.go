// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/google/go-cmp/cmp"
)

// Whoever comes back to an approval that made the link is led to Done, from wherever
// and however often, and nothing is sent. "Was not linked" is on none of these pages:
// the record is linked.
func TestComingBackToAnApprovalThatSucceeded(t *testing.T) {
	for name, visit := range map[string]func(*testing.T, *town, *browser) *browser{
		"reload":                func(_ *testing.T, _ *town, b *browser) *browser { return b },
		"another browser":       func(t *testing.T, h *town, _ *browser) *browser { return h.newBrowser(t) },
		"another process":       func(_ *testing.T, _ *town, b *browser) *browser { b.to = 0; return b },
		"a process that is new": func(t *testing.T, h *town, b *browser) *browser { h.open(h.replica(t)); return b },
		"an hour later":         func(_ *testing.T, h *town, b *browser) *browser { h.pkb.Advance(time.Hour); return b },
		"a day later":           func(_ *testing.T, h *town, b *browser) *browser { h.pkb.Advance(24 * time.Hour); return b },
		"with tabs of later starts": func(t *testing.T, h *town, b *browser) *browser {
			for range 6 {
				b.approves(t, h.patient)
			}
			return b
		},
		"after a refresh": func(t *testing.T, h *town, b *browser) *browser {
			h.pkb.Advance(sold)
			token(t.Context(), t, h.Client, user)
			return b
		},
		"after the session has ended": func(t *testing.T, h *town, b *browser) *browser {
			h.pkb.EndSessions(h.patient)
			h.pkb.Advance(sold)
			if _, err := h.Token(t.Context(), user); !errors.Is(err, pkb.ErrRelinkRequired) {
				t.Fatal(err)
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTown(t, 2)
			b := h.newBrowser(t)
			callback := b.links(t, h.patient)
			if left := b.kept(t); len(left) != 0 {
				t.Errorf("%d cookies left behind", len(left))
			}
			again := visit(t, h, b)
			sent := h.sent()
			for range 2 {
				if got := again.get(t, callback); !got.done() {
					t.Errorf("status %d to %q\n%s", got.status, got.location, got.text)
				}
			}
			if n := h.sent() - sent; n != 0 {
				t.Errorf("%d requests were sent for it", n)
			}
		})
	}
}

// A mobile backend that calls Complete itself gets the same: with the Pending it kept,
// with a later one, with none, and after its time.
func TestCompleteAfterSuccess(t *testing.T) {
	r := newRig(t)
	pending, query := r.approve(t, user, r.patient)
	want, err := r.Complete(t.Context(), user, pending, query)
	if err != nil {
		t.Fatal(err)
	}
	later, _ := r.approve(t, user, r.patient)
	for name, p := range map[string]pkb.Pending{"its own": pending, "none": {}, "a later one": later} {
		for _, c := range []*pkb.Client{r.Client, r.replica(t)} {
			got, err := c.Complete(t.Context(), user, p, query)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%s: %v (-first visit +this one):\n%s", name, err, diff)
			}
		}
	}
	r.pkb.Advance(3 * time.Hour)
	if got, err := r.Complete(t.Context(), user, pending, query); err != nil || got.PublicID != want.PublicID {
		t.Errorf("after its time: %v", err)
	}
	for name, tc := range map[string]struct {
		user  string
		query url.Values
		want  error
	}{
		"another user":           {"user-2", query, pkb.ErrState},
		"another state":          {user, url.Values{"code": query["code"], "state": {"another"}}, pkb.ErrState},
		"two states":             {user, url.Values{"code": query["code"], "state": {query.Get("state"), "x"}}, pkb.ErrState},
		"no state":               {user, url.Values{"code": query["code"]}, pkb.ErrState},
		"this time it is denied": {user, url.Values{"error": {"access_denied"}, "state": query["state"]}, pkb.ErrAccessDenied},
	} {
		if link, err := r.Complete(t.Context(), tc.user, pkb.Pending{}, tc.query); !errors.Is(err, tc.want) || link != (pkb.Link{}) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if n := r.pkb.Exchanges(); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

// What did not succeed, or is not the link any more, is told as what the record says.
func TestComingBackToWhatIsNotTheLink(t *testing.T) {
	const still, gone = "Your record is still linked", "Your record was not linked"
	for name, tc := range map[string]struct {
		happens func(*testing.T, *town, *browser) (callback string)
		status  int
		title   string
	}{
		"a later approval is the link": {func(t *testing.T, h *town, b *browser) string {
			first := b.links(t, h.patient)
			b.links(t, h.patient)
			return first
		}, http.StatusBadRequest, still},
		"it was refused, and another is the link": {func(t *testing.T, h *town, b *browser) string {
			b.links(t, h.patient)
			refused := b.approves(t, h.pkb.AddPatient(pkbtest.Patient{}))
			if got := b.get(t, refused); got.status != http.StatusConflict {
				t.Errorf("the refusal has the status %d", got.status)
			}
			return refused
		}, http.StatusBadRequest, still},
		"it was denied at PKB": {func(t *testing.T, h *town, b *browser) string {
			return changed(t, b.approves(t, h.patient), func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") })
		}, http.StatusOK, gone},
		"it was approved, and then denied": {func(t *testing.T, h *town, b *browser) string {
			return changed(t, b.links(t, h.patient), func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") })
		}, http.StatusOK, still},
		"the user was unlinked": {func(t *testing.T, h *town, b *browser) string {
			callback := b.links(t, h.patient)
			if err := h.Unlink(t.Context(), user); err != nil {
				t.Fatal(err)
			}
			return callback
		}, http.StatusBadRequest, gone},
		"unlinked between start and callback": {func(t *testing.T, h *town, b *browser) string {
			b.links(t, h.patient)
			callback := b.approves(t, h.patient)
			if err := h.Unlink(t.Context(), user); err != nil {
				t.Fatal(err)
			}
			return callback
		}, http.StatusConflict, gone},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTown(t, 1)
			b := h.newBrowser(t)
			got := b.get(t, tc.happens(t, h, b))
			if got.status != tc.status || !strings.Contains(got.text, "<h1>"+tc.title+"</h1>") {
				t.Errorf("status %d, want %d with %q\n%s", got.status, tc.status, tc.title, got.text)
			}
		})
	}
}

// The first approval waits to be checked: there is no other link, and the patient is
// led to Done each time. Beside a link that works, the page says that this one stays.
func TestComingBackToAnApprovalThatWaits(t *testing.T) {
	for _, linked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newTown(t, 2, askOnce)
			b := h.newBrowser(t)
			if linked {
				b.links(t, h.patient)
			}
			h.pkb.Next(pkbtest.Purview, pkbtest.Respond(503, "", ""))
			callback := b.approves(t, h.patient)
			for i, visitor := range []*browser{b, b, h.newBrowser(t)} {
				visitor.to = i % 2
				got := visitor.get(t, callback)
				if linked && (got.status != http.StatusBadGateway || !strings.Contains(got.text, "Nothing has changed. Your record is still linked.") || !strings.Contains(got.text, "still being checked")) {
					t.Errorf("visit %d: status %d\n%s", i, got.status, got.text)
				} else if !linked && !got.done() {
					t.Errorf("visit %d: status %d to %q\n%s", i, got.status, got.location, got.text)
				}
			}
			if err := h.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A callback is submitted twice at once, in one process or in two: each visit is led
// to the link, and the code is sent once.
func TestSubmittedTwiceAtOnce(t *testing.T) {
	for _, processes := range []int{1, 2} {
		t.Run(fmt.Sprint(processes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newTown(t, processes)
				b := h.newBrowser(t)
				callback := b.approves(t, h.patient)
				h.pkb.Next(pkbtest.Token, pkbtest.Delay(5*time.Second))
				cookies := b.kept(t)
				var visits sync.WaitGroup
				for i := range 4 {
					visits.Go(func() {
						time.Sleep(time.Duration(i) * time.Second) // the patient is impatient
						tab := h.newBrowser(t)
						tab.to = i % processes
						u, err := url.Parse(home)
						if err != nil {
							t.Error(err)
							return
						}
						tab.Jar.SetCookies(u, secure(cookies))
						if got := tab.get(t, callback); !got.done() {
							t.Errorf("visit %d: status %d to %q\n%s", i, got.status, got.location, got.text)
						}
					})
				}
				visits.Wait()
				if n := h.pkb.Exchanges(); n != 1 || h.pkb.LiveSessions(h.patient) != 1 {
					t.Errorf("%d exchanges, %d sessions", n, h.pkb.LiveSessions(h.patient))
				}
			})
		})
	}
}

// secure are cookies as a jar takes them for __Host- names.
func secure(cookies []*http.Cookie) (all []*http.Cookie) {
	for _, c := range cookies {
		all = append(all, &http.Cookie{Name: c.Name, Value: c.Value, Path: "/", Secure: true})
	}
	return all
}

// Somebody else signs in while the patient is at PKB. The callback is refused for them
// and makes no link for anybody; when the user who started is back, it can still be
// completed.
func TestAnotherUserSignedInMeanwhile(t *testing.T) {
	for _, aead := range []bool{false, true} {
		h := newTown(t, 2, func(_ *pkbtest.Config, c *pkb.Config) {
			if aead {
				_, c.Keys = newVault(t)
			}
		})
		b := h.newBrowser(t)
		callback := b.approves(t, h.patient)
		h.signedIn = "user-2"
		got := b.get(t, callback)
		if got.status != http.StatusBadRequest || !strings.Contains(got.text, "You are signed in as somebody else") {
			t.Errorf("another user: status %d\n%s", got.status, got.text)
		}
		h.signedIn = ""
		if got := b.get(t, callback); got.status != http.StatusUnauthorized || strings.Contains(got.text, "not linked") {
			t.Errorf("nobody: status %d\n%s", got.status, got.text)
		}
		if n := h.sent(); n != 0 {
			t.Errorf("%d requests were sent", n)
		}
		h.signedIn = user
		b.to = 0
		if got := b.get(t, callback); !got.done() {
			t.Errorf("the user who started: status %d\n%s", got.status, got.text)
		}
		if _, err := h.Link(t.Context(), "user-2"); !errors.Is(err, pkb.ErrNotLinked) {
			t.Errorf("user-2: %v", err)
		}
	}
}

// Another browser of the same user, as after a link from a mail, has no cookie: it is
// told so, nothing is used up, and the browser that started completes.
func TestCallbackInAnotherBrowser(t *testing.T) {
	h := newTown(t, 1)
	b := h.newBrowser(t)
	callback := b.approves(t, h.patient)
	got := h.newBrowser(t).get(t, callback)
	if got.status != http.StatusBadRequest || !strings.Contains(got.text, "opened in another browser") || h.sent() != 0 {
		t.Errorf("another browser: status %d, %d requests\n%s", got.status, h.sent(), got.text)
	}
	if got := b.get(t, callback); !got.done() {
		t.Errorf("the browser that started: status %d\n%s", got.status, got.text)
	}
}

// Several tabs, in whatever order they come back, and in whatever process: each is led
// to the link.
func TestSeveralTabs(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 0, 4, 1, 3}} {
		h := newTown(t, 2)
		b := h.newBrowser(t)
		var tabs []string
		for i := range 5 {
			b.to = i % 2
			tabs = append(tabs, b.approves(t, h.patient))
		}
		for i, tab := range order {
			b.to = i % 2
			if got := b.get(t, tabs[tab]); !got.done() {
				t.Errorf("%v: tab %d: status %d\n%s", order, tab, got.status, got.text)
			}
		}
		if got := b.get(t, tabs[order[4]]); !got.done() {
			t.Errorf("%v: the last one again: status %d", order, got.status)
		}
	}
}

// Who fetches a page ahead, or looks at it without coming in, begins nothing and uses
// nothing up: the patient's own visit works afterwards.
func TestFetchedAhead(t *testing.T) {
	type look struct {
		method  string
		headers []string
	}
	looks := map[string]look{
		"HEAD":               {method: http.MethodHead},
		"HEAD of a prefetch": {http.MethodHead, []string{"Sec-Purpose: prefetch"}},
	}
	for _, header := range []string{
		"Sec-Purpose: prefetch", "Sec-Purpose: prefetch;prerender", "Sec-Purpose: prefetch;anonymous-client-ip", "Purpose: prefetch", "Purpose: preview",
		"X-Purpose: preview", "X-Moz: prefetch", "X-moz: Prefetch", "X-Sec-Purpose: prefetch",
	} {
		looks[header] = look{http.MethodGet, []string{header}}
	}
	for name, l := range looks {
		t.Run(name, func(t *testing.T) {
			h := newTown(t, 1)
			b := h.newBrowser(t)
			callback := b.approves(t, h.patient)
			kept := len(b.kept(t))
			for _, address := range []string{callback, home + "/pkb/link", home + "/pkb/switch"} {
				for range 6 {
					got := b.visit(t, l.method, address, l.headers...)
					if got.status < 400 || got.cookies != 0 || l.method == http.MethodHead && got.text != "" {
						t.Errorf("%s: status %d, %d cookies", address, got.status, got.cookies)
					}
				}
			}
			if n := len(b.kept(t)); n != kept || h.sent() != 0 {
				t.Errorf("afterwards: %d cookies of %d, %d requests sent", n, kept, h.sent())
			}
			if got := b.get(t, callback); !got.done() {
				t.Errorf("the patient's own visit: status %d\n%s", got.status, got.text)
			}
		})
	}
	t.Run("a script that fetches", func(t *testing.T) {
		h := newTown(t, 1)
		b := h.newBrowser(t)
		for _, mode := range []string{"cors", "no-cors", "same-origin"} {
			if got := b.get(t, home+"/pkb/link", "Sec-Fetch-Mode: "+mode); got.status != http.StatusTooEarly || got.cookies != 0 {
				t.Errorf("%s: status %d, %d cookies", mode, got.status, got.cookies)
			}
		}
		if got := b.get(t, home+"/pkb/link", "Sec-Fetch-Mode: navigate"); got.status != http.StatusSeeOther {
			t.Errorf("a navigation: status %d", got.status)
		}
	})
}

// A link scanner follows every redirect, and has no cookies of the patient's: it finds
// the callback in the patient's mail, and uses nothing up.
func TestLinkScanner(t *testing.T) {
	for _, session := range []string{"", user} {
		h := newTown(t, 1)
		b := h.newBrowser(t)
		callback := b.approves(t, h.patient)
		h.signedIn = session
		scanner := h.newBrowser(t)
		scanner.Jar = nil
		for _, address := range []string{home + "/pkb/link", callback, callback} {
			if got := scanner.get(t, address); got.done() {
				t.Errorf("%s: led to Done", address)
			}
		}
		if n := h.sent(); n != 0 {
			t.Errorf("%d requests were sent", n)
		}
		h.signedIn = user
		if got := b.get(t, callback); !got.done() {
			t.Errorf("the patient's own visit: status %d\n%s", got.status, got.text)
		}
	}
}

// Two users of the app approve with one record: the one who is refused may come back
// as often as they like, and the other one's link stands.
func TestComingBackToASharedRecord(t *testing.T) {
	h := newTown(t, 2)
	b := h.newBrowser(t)
	b.links(t, h.patient)
	h.signedIn = "user-2"
	callback := b.approves(t, h.patient)
	for i, want := range []int{http.StatusConflict, http.StatusBadRequest, http.StatusBadRequest} {
		b.to = i % 2
		got := b.get(t, callback)
		if got.status != want || !strings.Contains(got.text, "<h1>Your record was not linked</h1>") {
			t.Errorf("visit %d: status %d\n%s", i, got.status, got.text)
		}
	}
	if link, err := h.Link(t.Context(), user); err != nil || link.PublicID != identity.PublicID(h.patient.PublicID) {
		t.Errorf("user-1: %v, %v", link, err)
	}
}
