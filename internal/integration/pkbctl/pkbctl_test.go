// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbctl_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/google/go-cmp/cmp"
)

// linkRow and the other types here are the shapes that are documented; what else
// is printed fails the tests.
type linkRow struct {
	AppUserID   string    `json:"app_user_id"`
	Link        string    `json:"link"`
	State       string    `json:"state"`
	Cause       string    `json:"cause"`
	Environment string    `json:"environment"`
	ClientID    string    `json:"client_id"`
	Generation  uint64    `json:"generation"`
	LinkedAt    time.Time `json:"linked_at"`
	RefreshedAt time.Time `json:"refreshed_at"`
	ExpiresAt   time.Time `json:"expires_at"`
	DueAt       time.Time `json:"due_at"`
	EndsAt      time.Time `json:"ends_at"`
	KeyID       string    `json:"key_id"`
}

type list struct {
	Total    int            `json:"total"`
	States   map[string]int `json:"states"`
	Causes   map[string]int `json:"causes"`
	Due      int            `json:"due"`
	Matching int            `json:"matching"`
	Links    []linkRow      `json:"links"`
}

func (l list) users() (users []string) {
	for _, row := range l.Links {
		users = append(users, row.AppUserID)
	}
	return users
}

type shown struct {
	linkRow
	PublicID string    `json:"public_id"`
	Claim    string    `json:"claim"`
	Pair     string    `json:"pair"`
	Waiting  string    `json:"candidate"`
	Tried    int       `json:"tried"`
	Refusals int       `json:"refusals"`
	Unread   bool      `json:"unread"`
	Damage   string    `json:"damage"`
	TendAt   time.Time `json:"tend_at"`
	Notices  []notice  `json:"notices"`
	Next     string    `json:"next"`
	Lease    *struct {
		Owner   string    `json:"owner"`
		Beat    uint64    `json:"beat"`
		TakenAt time.Time `json:"taken_at"`
	} `json:"lease"`
	Do []struct {
		Why     string `json:"why"`
		Command string `json:"command"`
	} `json:"do"`
	Patient  string `json:"patient"`
	Timeline []struct {
		Kind  string    `json:"kind"`
		At    time.Time `json:"at"`
		Until time.Time `json:"until"`
		Count int       `json:"count"`
		Cause string    `json:"cause"`
	} `json:"timeline"`
}

type outcome struct {
	AppUserID  string    `json:"app_user_id"`
	Link       string    `json:"link"`
	State      string    `json:"state"`
	Cause      string    `json:"cause"`
	Action     string    `json:"action"`
	Why        string    `json:"why"`
	ExpiresAt  time.Time `json:"expires_at"`
	DueAt      time.Time `json:"due_at"`
	Generation uint64    `json:"generation"`
}

type check struct {
	Check  string `json:"check"`
	Status string `json:"status"`
	Found  string `json:"found"`
	Fix    string `json:"fix"`
}

type diagnosis struct {
	OK     bool    `json:"ok"`
	Checks []check `json:"checks"`
}

// of returns the checks of this name and status.
func (d diagnosis) of(name, status string) (found []check) {
	for _, c := range d.Checks {
		if c.Check == name && c.Status == status {
			found = append(found, c)
		}
	}
	return found
}

// all are three links: one works, one is uncertain, one has ended; and the rest
// of one that was unlinked.
func all(h *host) {
	h.t.Helper()
	for i := range 4 {
		user := fmt.Sprintf("app-user-%d", i+1)
		p := h.link(user)
		switch i {
		case 1:
			h.change(user, func(r *tokenstore.Record) {
				r.State = tokenstore.StateUncertain
				r.Lease = tokenstore.Lease{Owner: "FLIGHT2", Beat: 3, TTL: 15 * time.Second, TakenAt: time.Now()}
				r.Tried = 1
			})
		case 2:
			h.end(user, p)
		case 3:
			if err := h.client.Unlink(h.t.Context(), user); err != nil {
				h.t.Fatal(err)
			}
		}
	}
}

func onEach(t *testing.T, cfg pkbtest.Config, do func(t *testing.T, h *host)) {
	t.Helper()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			do(t, newHost(t, k, cfg))
		})
	}
}

func TestLinks(t *testing.T) {
	onEach(t, pkbtest.Config{}, func(t *testing.T, h *host) {
		h.shows(0, []string{"links"}, `^There are no links\.$`)
		all(h)
		h.shows(0, []string{"links"},
			`^STATE +LINKS$`, `^relink_required +1$`, `^  session_invalid +1$`, `^uncertain +1$`, `^linked +1$`, `^unlinked +1$`,
			`^APP USER +LINK +STATE +CAUSE +REFRESHED +TOKEN ENDS +DUE +SESSION ENDS$`,
			`^app-user-3 +`+observe.LinkName("app-user-3")+` +relink_required +session_invalid `,
			`^app-user-2 +`+observe.LinkName("app-user-2")+` +uncertain `,
			`^app-user-1 +`+observe.LinkName("app-user-1")+` +linked +\d+s ago +in 9m +in \dm +-$`)

		var l list
		h.json(0, &l, "links")
		if diff := cmp.Diff(map[string]int{"linked": 1, "uncertain": 1, "relink_required": 1, "unlinked": 1}, l.States); diff != "" || l.Total != 4 || l.Matching != 3 {
			t.Errorf("%+v\n%s", l, diff)
		}
		r := h.load("app-user-1")
		want := linkRow{
			AppUserID: "app-user-1", Link: observe.LinkName("app-user-1"), State: "linked", Environment: h.url, ClientID: h.server.ClientID(),
			Generation: 1, LinkedAt: r.LinkedAt, RefreshedAt: r.RefreshedAt, ExpiresAt: r.ExpiresAt, DueAt: r.DueAt, KeyID: "first",
		}
		if diff := cmp.Diff(want, l.Links[0]); diff != "" {
			t.Errorf("what a script reads is not what is stored (-want +got):\n%s", diff)
		}
		for _, test := range []struct {
			args []string
			want []string
		}{
			{[]string{"-state", "relink_required"}, []string{"app-user-3"}},
			{[]string{"-state", "unlinked"}, []string{"app-user-4"}},
			{[]string{"-filter", "user-2"}, []string{"app-user-2"}},
			{[]string{"-filter", "link=" + observe.LinkName("app-user-2")}, []string{"app-user-2"}},
			{[]string{"-filter", r.PublicID}, []string{"app-user-1"}},
			{[]string{"-cause", "session_invalid"}, []string{"app-user-3"}},
			{[]string{"-cause", "session_invalid", "-state", "linked"}, nil},
			{[]string{"-cause", "no_such_cause"}, nil},
			{[]string{"-n", "2"}, []string{"app-user-1", "app-user-2"}},
			{[]string{"-n", "1", "-skip", "1"}, []string{"app-user-2"}},
			{[]string{"-skip", "1"}, []string{"app-user-2", "app-user-3"}},
			{[]string{"-skip", "3"}, nil},
			{[]string{"-due", "1h"}, []string{"app-user-1", "app-user-2"}},
			{[]string{"-due", "0s"}, nil},
			{[]string{"-env", "sandbox"}, nil},
		} {
			var l list
			h.json(0, &l, append([]string{"links"}, test.args...)...)
			if diff := cmp.Diff(test.want, l.users()); diff != "" {
				t.Errorf("links %v (-want +got):\n%s", test.args, diff)
			}
		}
	})
}

// A terminal is told what changes, and so is a pipe.
func TestWatch(t *testing.T) {
	onEach(t, pkbtest.Config{}, func(t *testing.T, h *host) {
		h.link("app-user-1")
		s := h.terminal("links", "-watch", "-every", "100ms")
		s.wait("app-user-1", 2) // it was drawn again
		h.link("app-user-2")
		s.wait("app-user-2", 1)
		s.press(ctrlC)
		if said := s.end(); said.code != 0 {
			t.Errorf("Ctrl-C is how a watch ends, and the exit code is %d", said.code)
		}

		cmd := h.command(t.Context(), "links", "-watch", "-every", "100ms")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(out)
		next := func() (l list) {
			if err := d.Decode(&l); err != nil {
				t.Fatal(err)
			}
			return l
		}
		if l := next(); l.Total != 2 || l.States["linked"] != 2 {
			t.Errorf("the first line: %+v", l)
		}
		time.Sleep(300 * time.Millisecond) // several looks, and nothing to report
		if err := h.client.Unlink(t.Context(), "app-user-2"); err != nil {
			t.Fatal(err)
		}
		if l := next(); l.States["linked"] != 1 || l.States["unlinked"] != 1 {
			t.Errorf("a link was unlinked, and the next line says %+v", l)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("interrupting is how a watch ends: %v", err)
		}
	})
}

func TestShow(t *testing.T) {
	onEach(t, pkbtest.Config{}, func(t *testing.T, h *host) {
		all(h)
		name := observe.LinkName("app-user-1")
		r := h.load("app-user-1")
		for _, user := range []string{"app-user-1", name} {
			h.shows(0, []string{"show", user},
				`^app user +app-user-1$`, `^link in logs +`+name+`$`, `^state +linked$`, `^public id +`+r.PublicID+`$`, `^sealed with +first$`,
				`^token ends +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  in 9m$`,
				`^WHEN \(UTC\) +WHAT +UNTIL +CAUSE$`, ` approved$`, ` exchanged$`, ` linked$`)
		}
		h.shows(0, []string{"show", "app-user-2"}, `^tried +once, with an outcome that is not known$`, `^lease +FLIGHT2, taken \d+s ago, beat 3$`, `^next +the holder of the lease saves`)
		h.shows(1, []string{"show", "app-user-3"}, `^state +relink_required$`, `^cause +session_invalid$`, ` relink_required +session_invalid$`)
		h.shows(0, []string{"show", "app-user-4"}, `^state +unlinked$`, ` unlinked$`)

		var s shown
		h.json(0, &s, "show", "app-user-2")
		if s.Lease == nil || s.Lease.Owner != "FLIGHT2" || s.Lease.Beat != 3 || s.Tried != 1 || s.Next == "" {
			t.Errorf("lease: %+v, tried %d, next %q", s.Lease, s.Tried, s.Next)
		}
		var kinds []string
		for _, h := range s.Timeline {
			kinds = append(kinds, h.Kind)
		}
		if diff := cmp.Diff([]string{"approved", "exchanged", "linked"}, kinds); diff != "" {
			t.Errorf("the link's timeline (-want +got):\n%s", diff)
		}
		if h.load("app-user-1").Version != r.Version {
			t.Error("show has written")
		}
		s = shown{}
		h.json(1, &s, "show", "app-user-3")
		if len(s.Do) != 2 || s.Do[1].Command != "pkbctl relink-url -link-route https://YOUR-APP/pkb/link app-user-3" || s.Patient == "" {
			t.Errorf("the link has ended: do %+v, and tell the patient %q", s.Do, s.Patient)
		}
		if s := h.pipe("show", "nobody"); s.code != 4 {
			t.Errorf("a user who is not there: exit code %d, want 4", s.code)
		}
	})
}

// The dry run says what the real one does, sends nothing and writes nothing; the
// real one presents no token twice.
func TestRefresh(t *testing.T) {
	onEach(t, pkbtest.Config{TokenLife: 2 * time.Second}, func(t *testing.T, h *host) {
		h.link("app-user-1")
		keys := h.keyFile(h.keys)
		over := h.load("app-user-1").ExpiresAt.Add(100 * time.Millisecond)
		time.Sleep(time.Until(over))

		before := h.load("app-user-1")
		var o outcome
		h.json(0, &o, "refresh", "-n", "app-user-1")
		if o.Action != "refresh" || o.Generation != 1 || o.Why == "" {
			t.Errorf("the token has expired, and the dry run says %+v", o)
		}
		if h.server.Refreshes() != 0 || h.load("app-user-1").Version != before.Version {
			t.Error("a dry run has sent or written something")
		}
		h.json(0, &o, "refresh", "app-user-1", "-keys", keys)
		if o.Action != "refreshed" || o.Generation < 2 {
			t.Errorf("%+v", o)
		}
		if h.server.Refreshes() < 1 {
			t.Error("no refresh was sent")
		}
		time.Sleep(time.Until(h.load("app-user-1").ExpiresAt.Add(100 * time.Millisecond)))
		h.shows(0, []string{"refresh", "app-user-1", "-keys", keys}, `^app-user-1  refreshed$`, `^new tokens were received and saved$`)

		time.Sleep(time.Until(h.load("app-user-1").ExpiresAt.Add(100 * time.Millisecond)))
		h.server.Next(pkbtest.Token, pkbtest.Respond(http.StatusTooManyRequests, "text/plain", "slow down"))
		h.json(5, &o, "refresh", "app-user-1", "-keys", keys)
		if o.Action != "wait" {
			t.Errorf("PKB asks to slow down: %+v", o)
		}
		if n := h.server.ReusedRefreshTokens(); n != 0 {
			t.Errorf("%d refresh tokens were presented twice", n)
		}
	})
}

// What is not due, or cannot be repaired, is left alone.
func TestNotDue(t *testing.T) {
	onEach(t, pkbtest.Config{}, func(t *testing.T, h *host) {
		all(h)
		keys := h.keyFile(h.keys)
		refreshes := h.server.Refreshes()
		for _, test := range []struct {
			user, dry, real string
			code            int
		}{
			{"app-user-1", "none", "none", 0},
			{"app-user-3", "relink", "relink", 1},
		} {
			var o outcome
			h.json(test.code, &o, "refresh", "-n", test.user)
			if o.Action != test.dry {
				t.Errorf("%s, dry: %+v", test.user, o)
			}
			h.json(test.code, &o, "refresh", test.user, "-keys", keys)
			if o.Action != test.real {
				t.Errorf("%s: %+v", test.user, o)
			}
		}
		h.shows(0, []string{"refresh", "-n", "app-user-2"}, `^app-user-2  wait$`, `a process took the lease at `)
		if s := h.pipe("refresh", "app-user-4", "-keys", keys); s.code != 4 {
			t.Errorf("an unlinked user: exit code %d, want 4\n%s", s.code, s.err)
		}
		if s := h.pipe("refresh", "app-user-1"); s.code != 2 || !strings.Contains(s.err, "-keys") {
			t.Errorf("without keys: exit code %d, want 2\n%s", s.code, s.err)
		}
		if h.server.Refreshes() != refreshes {
			t.Error("a refresh was sent that was not due")
		}
	})
}

func TestRelinkURL(t *testing.T) {
	onEach(t, pkbtest.Config{}, func(t *testing.T, h *host) {
		all(h)
		const route = "https://app.example/pkb/link"
		h.shows(0, []string{"relink-url", "-link-route", route, "app-user-3"}, `^`+route+`$`, `app-user-3 is relink_required, session_invalid`)
		h.shows(0, []string{"relink-url", "-link-route", route, "app-user-1"}, `^`+route+`$`, `nobody has to approve`)
		var to struct {
			AppUserID string `json:"app_user_id"`
			Link      string `json:"link"`
			State     string `json:"state"`
			Cause     string `json:"cause"`
			Needed    bool   `json:"needed"`
			URL       string `json:"url"`
		}
		h.json(0, &to, "relink-url", "-link-route", route, observe.LinkName("app-user-3"))
		if to.URL != route || !to.Needed || to.AppUserID != "app-user-3" || to.Cause != "session_invalid" {
			t.Errorf("%+v", to)
		}
	})
}

// Nobody is unlinked by accident.
func TestUnlink(t *testing.T) {
	onEach(t, pkbtest.Config{}, func(t *testing.T, h *host) {
		h.link("app-user-1")
		h.link("app-user-2")
		linked := func(user string) bool { return h.load(user).State == tokenstore.StateLinked }

		if s := h.pipe("unlink", "app-user-1"); s.code != 2 || !strings.Contains(s.err, "-yes") || !linked("app-user-1") {
			t.Errorf("in a pipe without -yes: exit code %d, linked %t\n%s", s.code, linked("app-user-1"), s.err)
		}
		for answer, code := range map[string]int{"y\n": 2, "\n": 2, ctrlC: 130} {
			s := h.terminal("unlink", "app-user-1")
			s.wait("Type yes:", 1)
			s.press(answer)
			if said := s.end(); said.code != code || !linked("app-user-1") {
				t.Errorf("the answer is %q: exit code %d, want %d; linked %t\n%s", answer, said.code, code, linked("app-user-1"), said.out)
			}
		}
		s := h.terminal("unlink", "app-user-1")
		s.wait("Unlink app-user-1, which is linked? The patient has to approve again. Type yes:", 1)
		s.press("yes\n")
		if said := s.end(); said.code != 0 || linked("app-user-1") {
			t.Errorf("exit code %d, linked %t\n%s", said.code, linked("app-user-1"), said.out)
		}
		if r := h.load("app-user-1"); len(r.Sealed) > 0 || r.PublicID != "" {
			t.Error("tokens or the public id are left after an unlink")
		}
		var gone struct {
			AppUserID string `json:"app_user_id"`
			Link      string `json:"link"`
			Unlinked  bool   `json:"unlinked"`
		}
		h.json(0, &gone, "unlink", "-yes", "app-user-2")
		if !gone.Unlinked || linked("app-user-2") {
			t.Errorf("%+v", gone)
		}
		if s := h.pipe("unlink", "-yes", "app-user-2"); s.code != 4 {
			t.Errorf("a second time: exit code %d, want 4", s.code)
		}
	})
}

type progress struct {
	Records  int     `json:"records"`
	Total    int     `json:"total"`
	Rate     float64 `json:"rate"`
	Left     float64 `json:"left_seconds"`
	Done     bool    `json:"done"`
	Resealed int     `json:"resealed"`
	Failed   int     `json:"failed"`
	Copied   int     `json:"copied"`
}

// lines reads JSON lines.
func lines(t *testing.T, s said) (all []progress) {
	t.Helper()
	for d := json.NewDecoder(strings.NewReader(s.out)); d.More(); {
		var p progress
		d.DisallowUnknownFields()
		if err := d.Decode(&p); err != nil {
			t.Fatalf("%v\n%s", err, s.out)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Fatalf("nothing was printed: %s", s.err)
	}
	return all
}

func TestReseal(t *testing.T) {
	onEach(t, pkbtest.Config{}, func(t *testing.T, h *host) {
		for i := range 3 {
			h.link(fmt.Sprintf("app-user-%d", i))
		}
		second, err := keys.Generate("second")
		if err != nil {
			t.Fatal(err)
		}
		third, err := keys.Generate("third")
		if err != nil {
			t.Fatal(err)
		}
		h.shows(0, []string{"reseal", "-keys", h.keyFile(second + "," + h.keys)},
			`^Sealing the links of http://127\.0\.0\.1:\d+, client id test-client with the key "second"\.$`,
			`^All 3 records are checked: 3 resealed, 0 failed\.$`)
		if id := h.load("app-user-0").KeyID; id != "second" {
			t.Errorf("the link is sealed with %q", id)
		}
		s := h.pipe("reseal", "-keys", h.keyFile(third+","+second))
		got := lines(t, s)
		last := got[len(got)-1]
		if s.code != 0 || !last.Done || last.Resealed != 3 || last.Failed != 0 || last.Records != 3 || last.Total != 3 {
			t.Errorf("exit code %d, %+v", s.code, last)
		}
		// Keys that others can read are not used.
		exposed := h.keyFile(third + "," + second)
		if err := os.Chmod(exposed, 0o640); err != nil {
			t.Fatal(err)
		}
		if s := h.pipe("reseal", "-keys", exposed); s.code != 2 || !strings.Contains(s.err, "chmod 600") {
			t.Errorf("exit code %d, want 2\n%s", s.code, s.err)
		}
		// Keys that were lost: nothing is changed, and nothing is said to be done.
		s = h.pipe("reseal", "-keys", h.keyFile(h.keys))
		got = lines(t, s)
		if last = got[len(got)-1]; s.code != 1 || last.Failed != 3 || h.load("app-user-0").KeyID != "third" {
			t.Errorf("exit code %d, %+v\n%s", s.code, last, s.err)
		}
		if _, err := h.open(third).ForUser("app-user-0").Self(t.Context()); err != nil {
			t.Errorf("the link does not work after it was sealed twice: %v", err)
		}
	})
}

// What was copied works, in the other database.
func TestCopy(t *testing.T) {
	for i, k := range kinds {
		to := kinds[(i+1)%len(kinds)]
		t.Run(k.name+" to "+to.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, k, pkbtest.Config{})
			target := to.dsn(t)
			all(h)
			s := h.pipe("copy", "-to", to.address(target))
			got := lines(t, s)
			if last := got[len(got)-1]; s.code != 0 || !last.Done || last.Copied != 4 || last.Records != 4 {
				t.Errorf("exit code %d, %+v\n%s", s.code, last, s.err)
			}
			h.shows(0, []string{"copy", "-to", to.address(target)}, `^All 4 records are in the target, 0 copied now\.$`)

			h.store = openStore(t, to, target)
			moved := h.open(h.keys)
			if _, err := moved.ForUser("app-user-1").Self(t.Context()); err != nil {
				t.Errorf("a link that was copied does not work: %v", err)
			}
			// It is in use there: the old one must not be copied over it.
			h.change("app-user-1", func(r *tokenstore.Record) { r.Generation++ })
			if s := h.pipe("copy", "-to", to.address(target)); s.code != 1 || !strings.Contains(s.err, "newer") {
				t.Errorf("exit code %d\n%s", s.code, s.err)
			}
		})
	}
}

// A copy that is interrupted is begun again.
func TestInterrupted(t *testing.T) {
	h := newHost(t, kinds[0], pkbtest.Config{})
	h.link("app-user-1")
	r := h.load("app-user-1")
	for i := range 2000 {
		r.Version, r.AppUserID = 0, fmt.Sprintf("made-up-%05d", i)
		if _, err := h.store.Save(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	target := filepath.Join(h.dir, "copy.db")
	s := h.terminal("copy", "-to", target)
	s.wait("[", 1) // the bar
	s.press(ctrlC)
	said := s.end()
	var read, total, copied int
	_, line, _ := strings.Cut(said.out, "pkbctl copy: ")
	if n, err := fmt.Sscanf(line, "interrupted; %d of %d records are in the target, %d copied now; run it again", &read, &total, &copied); said.code != 130 || n != 3 {
		t.Fatalf("exit code %d, want 130, and what was done (%v)\n%s", said.code, err, said.out)
	}
	got := lines(t, h.pipe("copy", "-to", target))
	last := got[len(got)-1]
	if !last.Done || last.Records != 2001 || last.Copied == 0 || last.Copied > total-copied || read < copied {
		t.Errorf("the first copy has done %d; the second one continues there, and completes: %+v", copied, last)
	}
	if !slices.ContainsFunc(got, func(p progress) bool { return !p.Done && p.Rate > 0 && p.Left > 0 }) {
		t.Error("no line has the rate and what is left")
	}
}

func TestDoctor(t *testing.T) {
	onEach(t, pkbtest.Config{}, func(t *testing.T, h *host) {
		all(h)
		keyFile := h.keyFile(h.keys)
		before := h.server.Refreshes() + h.server.Exchanges()
		said := h.shows(0, []string{"doctor", "-keys", keyFile, "-redirect", "https://app.example/pkb/callback", "-write"},
			`^ok    database  (SQLite|PostgreSQL|MySQL or MariaDB), 4 records in pkb_links$`,
			`^ok    clock `, `^ok    store +the database keeps all \d+ promises of a store$`, `^ok    config `, `^ok    redirect `,
			`^ok    keys +"first", which seals \(3\); all 3 sealed links open$`,
			`^warn  links +1 relink_required, 1 uncertain, 1 linked, 1 unlinked$`, `^ +fix: .*pkbctl relink-url$`,
			`^ok    pkb +authorize responds`, `^ok    pkb +plain http, on loopback$`, `^ok    clock +PKB's clock agrees`,
			`^ok    pkb +token responds`, `^ok    pkb +users/self responds`, `^ok    pkb +purview responds`)
		if strings.Contains(said.out, "left behind") {
			t.Error("the table of the check is left behind")
		}
		var d diagnosis
		h.json(0, &d, "doctor", "-keys", keyFile)
		if !d.OK || len(d.of("pkb", "ok")) != 5 || len(d.of("store", "skip")) != 1 || len(d.of("redirect", "skip")) != 1 {
			t.Errorf("%+v", d)
		}
		if h.server.Refreshes()+h.server.Exchanges() != before {
			t.Error("doctor has sent a token or a code")
		}

		// Things go wrong, one after the other.
		other, err := keys.Generate("other")
		if err != nil {
			t.Fatal(err)
		}
		impostor, err := keys.Generate("first")
		if err != nil {
			t.Fatal(err)
		}
		exposed := h.keyFile(h.keys)
		if err := os.Chmod(exposed, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			name        string
			args        []string
			code        int
			check, says string
		}{
			{"a key is missing", []string{"-keys", h.keyFile(other)}, 1, "keys", `"first", which is not on the keyring`},
			{"a key is another one", []string{"-keys", h.keyFile(impostor)}, 1, "keys", "3 links do not open with the key they name: "},
			{"others can read the keys", []string{"-keys", exposed}, 1, "keys", "others on this machine"},
			{"a key is no key", []string{"-keys", h.keyFile("first:AAAA")}, 1, "keys", "32"},
			{"http redirect", []string{"-redirect", "http://app.example/cb"}, 1, "redirect", "plain http"},
			{"localhost in production", []string{"-env", "production", "-client-id", "x", "-offline", "-redirect", "http://localhost/pkb/callback"}, 1, "redirect", "production"},
			{"plain http", []string{"-env", "http://pkb.example"}, 1, "config", "plain http"},
			{"nobody listens", []string{"-env", "http://127.0.0.1:1", "-client-id", "x"}, 1, "pkb", "authorize: there is no connection"},
			{"another table", []string{"-table", "no_such_table"}, 3, "database", "absent"},
		} {
			var d diagnosis
			h.json(test.code, &d, append([]string{"doctor"}, test.args...)...)
			found := d.of(test.check, "fail")
			if d.OK || len(found) == 0 || !strings.Contains(found[0].Found, test.says) || found[0].Fix == "" {
				t.Errorf("%s: want a failed %s that says %q, and how to fix it; got %+v", test.name, test.check, test.says, d.Checks)
			}
		}
		h.server.Advance(10 * time.Minute)
		d = diagnosis{}
		h.json(1, &d, "doctor")
		if found := d.of("clock", "fail"); len(found) != 1 || !strings.Contains(found[0].Found, "PKB's clock is") {
			t.Errorf("PKB's clock is ten minutes ahead: %+v", d.Checks)
		}
	})
}

// A PKB with a certificate: whether it is trusted, and how long it lasts.
func TestDoctorTLS(t *testing.T) {
	h := newHost(t, kinds[0], pkbtest.Config{})
	secure := httptest.NewTLSServer(h.server)
	defer secure.Close()
	args := func(more ...string) []string {
		return append([]string{"doctor", "-env", secure.URL, "-client-id", h.server.ClientID()}, more...)
	}
	var d diagnosis
	h.json(1, &d, args()...)
	if found := d.of("pkb", "fail"); len(found) != 4 || !strings.Contains(found[0].Found, "does not trust") {
		t.Errorf("a certificate of an unknown authority: %+v", d.Checks)
	}

	file := filepath.Join(h.dir, "authorities.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	h.env = []string{"SSL_CERT_FILE=" + file}
	h.shows(0, args(), `^ok    pkb +TLS 1\.3, with a certificate until \d{4}-`)
	h.shows(0, args("-expiry", "1000000h"), `^warn  pkb +TLS 1\.3, and the certificate expires in \d+d`, `^ +fix: the certificate is PKB's, or `)
}

// A host may have given its environment a name of its own. Where that is, an
// operator has to say when PKB is asked, and not before.
func TestNamedEnvironment(t *testing.T) {
	h := newHost(t, kinds[0], pkbtest.Config{})
	h.place.Name = "tests"
	h.client = h.open(h.keys)
	h.link("app-user-1")
	h.link("app-user-2")
	keys, here := h.keyFile(h.keys), "tests="+h.url

	var l list
	h.json(0, &l, "links", "-env", here)
	if l.Total != 2 {
		t.Errorf("links of the environment that is named: %+v", l)
	}
	h.shows(0, []string{"show", "app-user-1"}, `^issued for +tests, client id test-client$`, ` linked$`)
	h.shows(0, []string{"doctor", "-keys", keys}, `^ok    config +tests, client id test-client, from the links$`,
		`^warn  config `, `fix: give -env tests=ADDRESS`, `^ok    keys +"first", which seals \(2\); all 2 sealed links open$`, `^skip  pkb `)
	var d diagnosis
	h.json(0, &d, "doctor", "-keys", keys, "-env", here)
	if len(d.of("pkb", "ok")) != 5 || len(d.of("config", "ok")) != 1 {
		t.Errorf("%+v", d)
	}
	if s := h.pipe("refresh", "app-user-1", "-keys", keys); s.code != 2 || !strings.Contains(s.err, "-env tests=ADDRESS") {
		t.Errorf("exit code %d, want 2\n%s", s.code, s.err)
	}
	var o outcome
	h.json(0, &o, "refresh", "app-user-1", "-keys", keys, "-env", here)
	if o.Action != "none" {
		t.Errorf("%+v", o)
	}
	if s := h.pipe("unlink", "-yes", "app-user-2"); s.code != 0 || h.load("app-user-2").Environment != "tests" {
		t.Errorf("exit code %d; the rest of the link is for %q\n%s", s.code, h.load("app-user-2").Environment, s.err)
	}
}

// notice is one of pkbctl notices.
type notice struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"`
	AppUserID string    `json:"app_user_id"`
	Link      string    `json:"link"`
	Cause     string    `json:"cause"`
	At        time.Time `json:"at"`
	EndsAt    time.Time `json:"ends_at"`
	Last      bool      `json:"last"`
	Earlier   int       `json:"earlier"`
	Tries     int       `json:"tries"`
	NextAt    time.Time `json:"next_at"`
}
