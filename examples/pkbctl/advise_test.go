// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

// commandsOf returns the names of the commands that are advised.
func commandsOf(a advised) string {
	var names []string
	for _, s := range a.Do {
		if s.Command != "" {
			names = append(names, strings.Fields(s.Command)[1])
		}
	}
	return strings.Join(names, " ")
}

// Every state and cause has its next action, and nobody is bothered about a link that
// works.
func TestAdvise(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	base := tokenstore.Record{AppUserID: "app-user-1", State: tokenstore.StateLinked, ExpiresAt: at.Add(8 * time.Minute), DueAt: at.Add(6 * time.Minute)}
	ended := func(cause observe.Cause) func(*tokenstore.Record) {
		return func(r *tokenstore.Record) {
			r.State, r.Cause, r.PublicID = tokenstore.StateRelinkRequired, string(cause), "public"
		}
	}
	relink := func(cause observe.Cause) string { return advice.For(&pkb.RelinkError{Cause: cause}).Patient }
	later := advice.For(pkb.ErrTryLater).Patient
	for _, test := range []struct {
		name     string
		change   func(*tokenstore.Record)
		damaged  bool
		commands string
		patient  string
	}{
		{"it works", func(*tokenstore.Record) {}, false, "", ""},
		{"it ends soon", func(r *tokenstore.Record) { r.EndsAt = at.Add(time.Hour) }, false, "relink-url", ""},
		{"it ends later", func(r *tokenstore.Record) { r.EndsAt = at.Add(30 * 24 * time.Hour) }, false, "", ""},
		{"the token has expired", func(r *tokenstore.Record) { r.ExpiresAt = at }, false, "refresh refresh", later},
		{"an authorization waits", func(r *tokenstore.Record) { r.Candidate = "b" }, false, "refresh refresh", ""},
		{"a lease", func(r *tokenstore.Record) { r.Lease.Owner, r.Lease.TakenAt, r.Tried = "x", at, 1 }, false, "show", ""},
		{"uncertain", func(r *tokenstore.Record) { r.State, r.Tried = tokenstore.StateUncertain, 1 }, false, "show", ""},
		{"uncertain, and expired", func(r *tokenstore.Record) { r.State, r.Tried, r.ExpiresAt = tokenstore.StateUncertain, 1, at }, false, "refresh refresh", later},
		{"refused in unknown words", func(r *tokenstore.Record) { r.Details = []byte(`{"unclear":2}`) }, false, "refresh relink-url", ""},
		{"an unread response", func(r *tokenstore.Record) { r.Tried, r.Details = 1, []byte(`{"unread":true}`) }, false, "relink-url discard", ""},
		{"an unread response, and expired", func(r *tokenstore.Record) { r.Tried, r.Details, r.ExpiresAt = 1, []byte(`{"unread":true}`), at }, false, "relink-url discard", later},
		{"damaged", func(*tokenstore.Record) {}, true, "doctor", advice.For(pkb.ErrKeys).Patient},
		{"pending", func(r *tokenstore.Record) { r.State = tokenstore.StatePending }, false, "relink-url", advice.For(pkb.ErrNotLinked).Patient},
		{"pending, to be checked", func(r *tokenstore.Record) { r.State, r.Candidate = tokenstore.StatePending, "b" }, false, "show", advice.For(pkb.ErrUnchecked).Patient},
		{"unlinked", func(r *tokenstore.Record) { r.State = tokenstore.StateUnlinked }, false, "relink-url", advice.For(pkb.ErrNotLinked).Patient},
		{"ended, and approved again", func(r *tokenstore.Record) { ended("frozen")(r); r.Candidate = "b" }, false, "refresh refresh", advice.For(pkb.ErrUnchecked).Patient},
		{"session_expired", ended(observe.CauseSessionExpired), false, "relink-url", relink(observe.CauseSessionExpired)},
		{"session_invalid", ended(observe.CauseSessionInvalid), false, "relink-url", relink(observe.CauseSessionInvalid)},
		{"grant_rejected", ended(observe.CauseGrantRejected), false, "relink-url", relink(observe.CauseGrantRejected)},
		{"final_token_expired", ended(observe.CauseFinalTokenExpired), false, "relink-url", relink(observe.CauseFinalTokenExpired)},
		{"outcome_unknown", ended(observe.CauseOutcomeUnknown), false, "relink-url", relink(observe.CauseOutcomeUnknown)},
		{"frozen", ended(observe.CauseFrozen), false, "relink-url", relink(observe.CauseFrozen)},
		{"wrong_patient", ended(observe.CauseWrongPatient), false, "relink-url", relink(observe.CauseWrongPatient)},
		{"shared", ended(observe.CauseShared), false, "links relink-url", relink(observe.CauseShared)},
		{"refused_unclear", ended(observe.CauseRefusedUnclear), false, "relink-url refresh", relink(observe.CauseRefusedUnclear)},
		{"response_unreadable", ended(observe.CauseResponseUnreadable), false, "relink-url discard", relink(observe.CauseResponseUnreadable)},
		{"a cause of a later version", ended("new"), false, "relink-url", relink("new")},
	} {
		r := base
		test.change(&r)
		c, _ := onTerminal(80, nil)
		got := c.advise(r, test.damaged, at)
		if commandsOf(got) != test.commands || got.Patient != test.patient {
			t.Errorf("%s: %s, %q; want %s, %q", test.name, commandsOf(got), got.Patient, test.commands, test.patient)
		}
		for _, s := range got.Do {
			if s.Why == "" || s.Command != "" && !strings.HasSuffix(s.Command, "app-user-1") && !strings.HasSuffix(s.Command, " public") && !test.damaged {
				t.Errorf("%s: %+v", test.name, s)
			}
		}
	}
}

// A command is printed with the flags it needs, and without a password.
func TestCommandsToCopy(t *testing.T) {
	odd := tokenstore.Record{AppUserID: "\x1b[2J", State: tokenstore.StateRelinkRequired, Cause: "frozen"}
	for _, test := range []struct {
		env  map[string]string
		args []string
		user string
		want string
	}{
		{nil, []string{"-db", "web app.db"}, "u", `pkbctl relink-url -db 'web app.db' -link-route https://YOUR-APP/pkb/link u`},
		{map[string]string{"PKB_DB": "x.db", "PKB_LINK_ROUTE": "https://a.example/l"}, nil, "u", `pkbctl relink-url u`},
		{map[string]string{"PKB_LINK_ROUTE": "https://a.example/l"}, []string{"-db", "postgres://app@db/app", "-table", "t", "-json"}, "a b", `pkbctl relink-url -db postgres://app@db/app -table t 'a b'`},
		{map[string]string{"PKB_LINK_ROUTE": "https://a.example/l"}, []string{"-db", "postgres://app:" + canary + "@db/app"}, "u", `pkbctl relink-url -db "$PKB_DB" u`},
		{map[string]string{"PKB_LINK_ROUTE": "https://a.example/l"}, nil, "-u", `pkbctl relink-url ` + observe.LinkName("-u")},
		{map[string]string{"PKB_LINK_ROUTE": "https://a.example/l"}, nil, odd.AppUserID, `pkbctl relink-url ` + observe.LinkName(odd.AppUserID)},
	} {
		c := console{getenv: func(name string) string { return test.env[name] }}
		_, called, err := showCommand.parse(c, append(test.args, "someone"))
		if err != nil {
			t.Fatal(err)
		}
		r := odd
		r.AppUserID = test.user
		var got string
		for _, s := range called.advise(r, false, now()).Do {
			got = s.Command
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%v %v (-want +got):\n%s", test.env, test.args, diff)
		}
	}
}
