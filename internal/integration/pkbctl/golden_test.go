// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbctl_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/width"

	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

var update = flag.Bool("update", false, "write what pkbctl prints to testdata")

// The golden files are written as if this was now.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	evil   = "evil\x1b[2J\u009b2J\u202eresu\npkbctl"
	uuid   = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
	public = "5cd24d2b-6c7e-4d0c-9a5d-b2a0d0f6a0c1"
)

var long = strings.Repeat("long-", 40) + "id"

// night is a database as an operator may find it, at a moment. Times are such that they
// read the same for a minute after it.
func (h *host) night(at time.Time) {
	h.t.Helper()
	ended := func(cause observe.Cause) func(*tokenstore.Record) {
		return func(r *tokenstore.Record) {
			r.State, r.Cause, r.ExpiresAt, r.DueAt = tokenstore.StateRelinkRequired, string(cause), at.Add(-150*time.Minute), time.Time{}
		}
	}
	for user, change := range map[string]func(*tokenstore.Record){
		"app-user-1": func(r *tokenstore.Record) {
			r.Details = fmt.Appendf(nil, `{"past":[{"kind":"approved","at":%q},{"kind":"linked","at":%q},{"kind":"refreshed","at":%q,"until":%q,"n":12}]}`,
				stamp(at.Add(-60*time.Hour)), stamp(at.Add(-60*time.Hour)), stamp(at.Add(-50*time.Hour)), stamp(at.Add(-125*time.Second)))
		},
		"app-user-2": func(r *tokenstore.Record) {
			r.State, r.Tried = tokenstore.StateUncertain, 1
			r.DueAt = at.Add(-150 * time.Second)
		},
		"app-user-3":       func(r *tokenstore.Record) { r.Tried, r.Details = 1, []byte(`{"unread":true}`) },
		"app-user-4":       func(r *tokenstore.Record) { r.Details = []byte(`{"unclear":3}`) },
		"Zoe\u0308 Müller": func(r *tokenstore.Record) { r.EndsAt = at.Add(84 * time.Hour) },
		"O'Neill":          func(r *tokenstore.Record) { r.EndsAt = at.Add(84 * 24 * time.Hour) },
		"山田太郎":             ended(observe.CauseGrantRejected),
		uuid:               ended(observe.CauseSessionExpired),
		uuid[:35] + "0":    ended(observe.CauseSessionExpired),
		evil:               func(r *tokenstore.Record) { ended(observe.CauseShared)(r); r.PublicID = public },
		long:               ended(observe.CauseWrongPatient),
		"unreadable":       ended(observe.CauseResponseUnreadable),
		"refused":          ended(observe.CauseRefusedUnclear),
		"pending-1":        func(r *tokenstore.Record) { r.State, r.Pair = tokenstore.StatePending, "" },
		"unlinked-1":       func(r *tokenstore.Record) { r.State, r.Pair, r.Sealed = tokenstore.StateUnlinked, "", nil },
		"ﾊﾝｶｸ\tand ｚｅｎｋａｋｕ": ended("a cause\x1b[1m of later"),
	} {
		r := tokenstore.Record{
			AppUserID: user, Environment: "sandbox", ClientID: "betawerk", State: tokenstore.StateLinked, Pair: "pair-1",
			Generation: 12, LinkedAt: at.Add(-60 * time.Hour), RefreshedAt: at.Add(-125 * time.Second),
			ExpiresAt: at.Add(10*time.Minute - time.Second), DueAt: at.Add(8*time.Minute - time.Second),
			KeyID: "2026", Sealed: []byte(h.secrets[0]),
		}
		change(&r)
		there, err := h.store.Load(h.t.Context(), user)
		if err != nil && !errors.Is(err, tokenstore.ErrNotFound) {
			h.t.Fatal(err)
		}
		r.Version = there.Version
		if _, err := h.store.Save(h.t.Context(), r); err != nil {
			h.t.Fatal(err)
		}
	}
}

func stamp(t time.Time) string { return t.Format(time.RFC3339) }

// transcript is what a terminal shows for some commands, with its times moved from at
// to noon.
func (h *host) transcript(at time.Time) string {
	h.t.Helper()
	var b strings.Builder
	for _, args := range [][]string{
		{"links"},
		{"links", "-n", "4", "-skip", "2"},
		{"links", "-cause", "session_expired"},
		{"links", "-state", "unlinked"},
		{"links", "-cause", "no_such_cause"},
		{"links", "-skip", "100"},
		{"show", "app-user-1"},
		{"show", "app-user-2"},
		{"show", "app-user-3"},
		{"show", "app-user-4"},
		{"show", uuid},
		{"show", "Zoe\u0308 Müller"},
		{"show", observe.LinkName(evil)},
		{"show", "refused"},
		{"show", "unreadable", "-table", "pkb_links"},
		{"refresh", "-n", "app-user-2"},
		{"relink-url", "-link-route", "https://app.example/pkb/link", "O'Neill"},
		{"doctor", "-db", "", "-offline", "-env", "sandbox", "-client-id", "betawerk", "-redirect", "http://localhost/callback"},
		{"copy", "-to", fmt.Sprintf("copy-%d.db", h.width)},
		{"show", "nobody"},
	} {
		s := h.terminal(args...).end()
		fmt.Fprintf(&b, "$ pkbctl %s\n%s[%d]\n\n", strings.Join(args, " "), s.out, s.code)
		for line := range strings.Lines(s.out) {
			line = strings.TrimSuffix(line, "\n")
			if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
				h.t.Errorf("pkbctl %s prints what a terminal may obey: %q", args, line)
			}
			if n := shownWidth(line); n > h.width && args[0] != "show" && !strings.HasPrefix(line, "  pkbctl ") {
				h.t.Errorf("pkbctl %s breaks a line at %d columns: it has %d: %s", args, h.width, n, line)
			}
		}
	}
	return times.ReplaceAllStringFunc(b.String(), func(text string) string {
		t, err := time.Parse(time.DateTime, text)
		if err != nil {
			h.t.Fatal(err)
		}
		return t.Add(noon.Sub(at)).Format(time.DateTime)
	})
}

var times = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)

// shownWidth is how many columns of a terminal a line takes.
func shownWidth(line string) (n int) {
	for _, r := range line {
		switch kind := width.LookupRune(r).Kind(); {
		case unicode.In(r, unicode.Mn, unicode.Me):
		case kind == width.EastAsianWide || kind == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

// What an operator sees is the same on every database, and fits each width; -update
// writes it anew, from SQLite.
func TestTerminal(t *testing.T) {
	onEach(t, pkbtest.Config{}, func(t *testing.T, h *host) {
		widths := []int{80, 100, 120, 160}
		if h.kind.dialect != sqlstore.SQLite {
			widths = widths[1:2] // no database knows how wide the terminal is
		}
		for _, columns := range widths {
			h.width = columns
			at := time.Now().UTC().Truncate(time.Second)
			h.night(at)
			got := h.transcript(at)
			file := filepath.Join("testdata", fmt.Sprintf("%d.txt", columns))
			if *update {
				if strings.HasSuffix(t.Name(), kinds[0].name) {
					if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				continue
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("at %d columns; after an intended change run go test ./pkbctl -run TestTerminal -update (-want +got):\n%s", columns, diff)
			}
		}
	})
}
