// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb/observe"
)

// inboxOf returns the inbox that the replicas share.
func inboxOf(t *testing.T, r *rig) *inbox {
	t.Helper()
	db, _, err := openDatabase(r.settings.db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &inbox{db: db, now: time.Now}
}

// until loads the account page until it shows the text, or does not.
func (p *person) until(h *host, text string, shown bool) answer {
	p.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		a := p.get(h.url + "account")
		if strings.Contains(a.body, text) == shown {
			return a
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("half a minute later the account shows %q: %t:\n%s", text, !shown, a.body)
		}
	}
}

// A link that ends is told on the account page, by whichever replica heard of it, to
// this patient only, until there is a new link.
func TestNoticesReachTheAccount(t *testing.T) {
	for name, db := range map[string]func(*testing.T) string{"SQLite": func(*testing.T) string { return "" }, "PostgreSQL": scratchPostgres} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, db(t))
			one, two := r.replicas[0], r.replicas[1]
			amira, ben := newPerson(t), newPerson(t)
			amira.signIn(one, "amira")
			ben.signIn(one, "ben")
			mustNotShow(t, amira.link(r, one, one), "Messages")
			r.pkb.InvalidateSessions(r.patient)
			amira.get(one.url + "account") // which finds out
			told := amira.until(two, "<p>PKB has ended your link.", true)
			mustShow(t, told, "Messages", time.Now().UTC().Format("2 January 2006"))
			mustNotShow(t, ben.get(one.url+"account"), "Messages")

			amira.link(r, one, two)
			amira.until(one, "Messages", false)
			mustShow(t, amira.get(two.url+"account"), "Ada Canary")
		})
	}
}

// A patient is warned in time, once though the notice comes twice, with a way to keep
// the link. When they unlink, the message goes with it.
func TestMessageBeforeTheEnd(t *testing.T) {
	r := newRig(t, "")
	one, two := r.replicas[0], r.replicas[1]
	amira := newPerson(t)
	amira.signIn(one, "amira")
	linked := amira.link(r, one, one)
	in := inboxOf(t, r)
	first := observe.Notice{
		ID: "a-2", Kind: observe.EventEndsSoon, AppUserID: "amira", At: time.Now().Add(time.Minute), EndsAt: time.Date(2030, 5, 3, 12, 0, 0, 0, time.UTC),
	}
	last := first
	last.ID, last.Last, last.At = "a-3", true, first.At.Add(time.Hour)
	for _, n := range []observe.Notice{first, first, last} {
		if err := in.take(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if status := amira.send("GET", two.url+"account", nil, map[string]string{"If-None-Match": linked.header.Get("ETag")}).status; status != 200 {
		t.Errorf("a page that is open: status %d, want 200 and the message", status)
	}
	warned := amira.get(two.url + "account")
	mustShow(t, warned, "Your link will end on 3 May 2030. Approve again before that day to keep it.", `<a href="/pkb/link">Approve again</a>`, "Ada Canary")
	if n := strings.Count(warned.body, "will end on"); n != 1 {
		t.Errorf("the same is told %d times", n)
	}
	mustNotShow(t, amira.post(one.url+"unlink", nil), "Messages", "will end on")
}

// Messages are not kept for ever.
func TestOldMessagesGo(t *testing.T) {
	r := newRig(t, "")
	in := inboxOf(t, r)
	now := time.Now()
	in.now = func() time.Time { return now }
	for _, n := range []observe.Notice{
		{ID: "1", Kind: observe.EventAbandoned, AppUserID: "ben", At: now},
		{ID: "2", Kind: observe.EventAbandoned, AppUserID: "amira", At: now},
	} {
		if err := in.take(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(messageLife + time.Hour)
	if err := in.take(t.Context(), observe.Notice{ID: "3", Kind: observe.EventAbandoned, AppUserID: "amira", At: now}); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]int{"amira": 1, "ben": 1} {
		if all, err := in.messages(t.Context(), user); err != nil || len(all) != want {
			t.Errorf("%s has %d messages, %v; want %d", user, len(all), err, want)
		}
	}
}

// While the app's table cannot be written, the library keeps the notice.
func TestNoticeIsRefusedWithoutADatabase(t *testing.T) {
	r := newRig(t, "")
	in := inboxOf(t, r)
	if err := in.db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := in.take(t.Context(), observe.Notice{ID: "1", Kind: observe.EventLinked, AppUserID: "amira"}); err == nil {
		t.Error("a notice that is in no table was accepted")
	}
}

// Every kind of notice has words, which have no code in them.
func TestWordsForEveryNotice(t *testing.T) {
	source, err := os.ReadFile("../../pkb/observe/notice.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`Event[A-Z]\w+`).FindAllString(strings.SplitN(string(source), "AppUserID ", 2)[0], -1)
	slices.Sort(kinds)
	kinds = slices.DeleteFunc(slices.Compact(kinds), func(kind string) bool { return kind == "EventKind" })
	known := map[string]observe.EventKind{
		"EventAbandoned": observe.EventAbandoned, "EventEndsSoon": observe.EventEndsSoon, "EventLinked": observe.EventLinked,
		"EventRelinkRequired": observe.EventRelinkRequired, "EventSharedRecord": observe.EventSharedRecord, "EventWrongPatient": observe.EventWrongPatient,
	}
	if len(kinds) != len(known) {
		t.Errorf("notices are %q, and there are words for %d", kinds, len(known))
	}
	texts := map[string]bool{}
	for _, name := range kinds {
		kind, ok := known[name]
		if !ok {
			t.Errorf("there are no words for %s", name)
		}
		text, _ := wordsNotice(observe.Notice{Kind: kind, Cause: observe.CauseSessionExpired})
		if text == "" || strings.Contains(text, "_") {
			t.Errorf("%s: %q", kind, text)
		}
		texts[text] = true
	}
	if len(texts) < len(known)-1 { // a link that was made is shown by the page itself
		t.Errorf("only %d texts for %d kinds", len(texts), len(known))
	}
}
