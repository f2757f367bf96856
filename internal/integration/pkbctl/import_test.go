// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbctl_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// The long form is go test ./pkbctl -run TestImportKilled -pairs 10000 -parallel 1.
var pairs = flag.Int("pairs", 1200, "how many pairs TestImportKilled imports into each database")

// pair is a line of what import reads.
type pair struct {
	User    string    `json:"app_user_id"`
	Access  string    `json:"access_token,omitempty"`
	Refresh string    `json:"refresh_token,omitempty"`
	Expiry  time.Time `json:"expiry"`
}

// expired is the pair of which the access token has expired.
func (p pair) expired() pair {
	p.Expiry = time.Now().Add(-time.Minute)
	return p
}

// other is code that knows nothing of this library.
func (h *host) other() (oauth2.Config, context.Context) {
	at := pkb.BaseURL(h.server.URL())
	return oauth2.Config{
		ClientID: h.server.ClientID(), RedirectURL: cluster.RedirectURL, Scopes: []string{"PATIENT"},
		Endpoint: oauth2.Endpoint{AuthURL: at.AuthorizeURL, TokenURL: at.TokenURL, AuthStyle: oauth2.AuthStyleInParams},
	}, context.WithValue(h.t.Context(), oauth2.HTTPClient, &http.Client{Transport: h.server.Transport()})
}

// obtained are tokens that other code obtained for a patient.
func (h *host) obtained(user string, p *pkbtest.Patient) pair {
	h.t.Helper()
	code, ctx := h.other()
	back, err := h.server.Approve(ctx, code.AuthCodeURL("a state"), p)
	if err != nil {
		h.t.Fatal(err)
	}
	token, err := code.Exchange(ctx, back.Query().Get("code"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.secrets = append(h.secrets, token.AccessToken, token.RefreshToken)
	return pair{user, token.AccessToken, token.RefreshToken, token.Expiry}
}

// refreshed is what code does that was not stopped.
func (h *host) refreshed(p pair) {
	h.t.Helper()
	code, ctx := h.other()
	if _, err := code.TokenSource(ctx, &oauth2.Token{RefreshToken: p.Refresh}).Token(); err != nil {
		h.t.Fatal(err)
	}
}

// file writes pairs, and lines that are none.
func (h *host) file(name string, all ...any) {
	h.t.Helper()
	var b bytes.Buffer
	for _, one := range all {
		if text, ok := one.(string); ok {
			b.WriteString(text + "\n")
			continue
		}
		line, err := json.Marshal(one)
		if err != nil {
			h.t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	if err := os.WriteFile(filepath.Join(h.dir, name), b.Bytes(), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// importer gives pkbctl what import, tend and refresh need.
func (h *host) importer() {
	h.env = append(h.env, "PKB_KEYS_FILE="+h.keyFile(h.keys), "PKB_ENV="+h.url, "PKB_CLIENT_ID="+h.server.ClientID())
}

// states counts the links.
func (h *host) states() map[tokenstore.State]int {
	h.t.Helper()
	all := map[tokenstore.State]int{}
	for after := ""; ; {
		page, err := h.store.List(h.t.Context(), after, 500)
		if err != nil {
			h.t.Fatal(err)
		}
		if len(page) == 0 {
			return all
		}
		for _, r := range page {
			all[r.State]++
			after = r.AppUserID
		}
	}
}

// clean makes what is printed the same in each run.
var cleanings = []struct {
	from *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`"rate":[0-9.e+]+`), `"rate":100`},
	{regexp.MustCompile(`"left_seconds":[0-9.e+-]+`), `"left_seconds":1`},
	{regexp.MustCompile(`"(at|next_at)": "[^"]+"`), `"$1": "2026-03-01T12:00:00Z"`},
	{regexp.MustCompile(`"id": "[0-9a-z]+-`), `"id": "m7qa1ee8-`},
}

// golden compares with a file what is the same on every database.
func (h *host) golden(name, got string) {
	h.t.Helper()
	for _, c := range cleanings {
		got = c.from.ReplaceAllString(got, c.to)
	}
	file := filepath.Join("testdata", name)
	if *update {
		if h.kind.dialect == sqlstore.SQLite {
			if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
				h.t.Fatal(err)
			}
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		h.t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		h.t.Errorf("%s; after an intended change run go test ./pkbctl -run %s -update (-want +got):\n%s", name, "'TestImport|TestTend'", diff)
	}
}

// dialogue is what a terminal shows of some commands, and then a pipe.
func (h *host) dialogue(commands ...[]string) string {
	h.t.Helper()
	var b strings.Builder
	for _, args := range commands {
		s := h.terminal(args...).end()
		fmt.Fprintf(&b, "$ pkbctl %s\n%s[%d]\n\n", strings.Join(args, " "), s.out, s.code)
	}
	return b.String()
}

// every is pairs of all kinds: each bad one has a reason, the good ones become links, and
// nothing else does.
func (h *host) every() (all []any) {
	h.t.Helper()
	patient := func() *pkbtest.Patient { return h.server.AddPatient(pkbtest.Patient{}) }
	elsewhere := h.obtained("dan", patient()).expired()
	h.refreshed(elsewhere)
	spare := h.link("owner")
	professional := patient()
	professional.Purview = []string{"Practitioner/" + professional.PublicID}
	teacher := h.obtained("gus", h.server.AddPatient(*professional))
	taken := h.obtained("app-user-1", patient())
	h.link("app-user-1")
	ada, bea := h.obtained("ada", patient()), h.obtained("bea", patient()).expired()
	without := h.obtained("cem", patient())
	without.Refresh = ""
	foreign := pair{"eve", "of-another-client", "id-altogether", time.Now().Add(-time.Minute)}
	h.secrets = append(h.secrets, foreign.Access, foreign.Refresh)
	return []any{
		ada, bea, without, elsewhere, foreign, h.obtained("fay", spare), taken, `{"app_user_id": "ida", `,
		pair{"ada", "another", "pair", time.Time{}}, pair{"bob", bea.Access, bea.Refresh, bea.Expiry}, teacher,
	}
}

// An import says what became of each line, on a terminal and in a pipe, and what it has
// done it does not do twice: nothing is lost, and no token is sent a second time.
func TestImport(t *testing.T) {
	onEach(t, pkbtest.Config{}, func(t *testing.T, h *host) {
		h.width = 100
		h.importer()
		lines := h.every()
		h.file("pairs.jsonl", lines...)
		before := h.load("app-user-1").Version
		spent := h.server.Refreshes()
		h.golden("import.txt", h.dialogue([]string{"import", "-n", "pairs.jsonl"}))
		if n := h.states()[tokenstore.StateLinked]; n != 2 || h.server.Refreshes() != spent {
			t.Errorf("with -n there are %d links, and %d refreshes", n, h.server.Refreshes()-spent)
		}
		s := h.pipe("import", "-check", "purview", "-yes", "-notices", "-report", "refused.jsonl", "pairs.jsonl")
		h.golden("import.json", fmt.Sprintf("%s%s[%d]\n", s.out, s.err, s.code))
		report, err := os.ReadFile(filepath.Join(h.dir, "refused.jsonl"))
		if err != nil || strings.Count(string(report), "\n") != 8 || !strings.HasPrefix(s.out, string(report)) {
			t.Errorf("-report has\n%s(%v), want the lines that were not imported of\n%s", report, err, s.out)
		}
		if n := h.server.Refreshes() - spent; n != 3 {
			t.Errorf("%d refreshes, want one each of the pairs that have expired", n)
		}
		h.golden("import-again.txt", h.dialogue([]string{"import", "-check", "purview", "-yes", "-notices", "pairs.jsonl"}))
		if n := h.server.Refreshes() - spent; n != 3 {
			t.Errorf("%d refreshes after a second import, want 3: a token was sent twice", n)
		}
		h.shows(0, []string{"show", "dan"}, ` exchanged$`, ` abandoned +session_invalid$`)
		if h.load("app-user-1").Version != before {
			t.Error("the link that was there was written")
		}
		for _, user := range []string{"ada", "bea", "owner", "app-user-1"} {
			if _, err := h.client.ForUser(user).Self(t.Context()); err != nil {
				t.Errorf("%s: %v", user, err)
			}
		}
	})
}

// On a terminal import asks first whether what refreshed before has stopped.
func TestImportAsks(t *testing.T) {
	h := newHost(t, kinds[0], pkbtest.Config{})
	h.importer()
	h.file("pairs.jsonl", h.obtained("ada", h.server.AddPatient(pkbtest.Patient{})))
	for _, of := range []struct {
		answer string
		code   int
		links  int
	}{{"no\n", 2, 0}, {ctrlC, 130, 0}, {"yes\n", 0, 1}} {
		s := h.terminal("import", "-check", "purview", "pairs.jsonl")
		s.wait("stopped, for good?", 1)
		s.press(of.answer)
		if said := s.end(); said.code != of.code || h.states()[tokenstore.StateLinked] != of.links {
			t.Errorf("the answer is %q: exit code %d, want %d; %d links\n%s", of.answer, said.code, of.code, h.states()[tokenstore.StateLinked], said.out)
		}
	}
}

// While PKB is down nothing counts as imported. What was saved waits, and is few: the
// import stops, says how to go on, and goes on.
func TestImportWhilePKBIsDown(t *testing.T) {
	for name, of := range map[string]struct {
		down, up func(h *host)
		// spent means that a refresh token may have been spent.
		spent bool
	}{
		"nobody reaches it":         {(*host).hangUp, (*host).listen, false},
		"Purview fails":             {func(h *host) { h.cut(pkbtest.Purview) }, func(h *host) { h.cut("") }, false},
		"the token endpoint breaks": {func(h *host) { h.cut(pkbtest.Token) }, func(h *host) { h.cut("") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, pkbtest.Config{}, func(t *testing.T, h *host) { h.importWhileDown(t, of.down, of.up, of.spent) })
		})
	}
}

func (h *host) importWhileDown(t *testing.T, down, up func(*host), spent bool) {
	const all, few, atOnce = 100, 20, 8
	h.importer()
	var lines []any
	for i := range all {
		lines = append(lines, h.obtained(fmt.Sprintf("user-%03d", i), h.server.AddPatient(pkbtest.Patient{})).expired())
	}
	h.file("pairs.jsonl", lines...)
	args := []string{"import", "-check", "purview", "-yes", "-rate", "0", "pairs.jsonl"}
	down(h)
	s := h.pipe(args...)
	if s.code != 5 || !strings.Contains(s.err, "PKB could not be asked about 20 pairs in a row") || !strings.Contains(s.err, "0 imported") ||
		!strings.Contains(s.err, "run it again with the same file") {
		t.Errorf("exit code %d, want 5, and how to go on:\n%s%s", s.code, s.out, s.err)
	}
	states := h.states()
	n := states[tokenstore.StatePending]
	if n < few || n >= few+atOnce || len(states) != 1 {
		t.Errorf("%v, want %d to %d that wait, and nothing else", states, few, few+atOnce-1)
	}
	if told := strings.Count(s.out, `"result":"waiting","code":"unchecked"`); told != n {
		t.Errorf("%d wait, and %d are listed:\n%s", n, told, s.out)
	}
	up(h)
	s = h.pipe(args...)
	last := importLines(t, s)
	lost := last.Waiting // those at the token endpoint when it broke
	if (lost > 0) != spent || lost > atOnce || (s.code == 5) != spent || last.Imported != all-lost || strings.Count(s.out, `"code":"in_doubt"`) != lost {
		t.Errorf("once PKB is back: exit code %d, %+v\n%s%s", s.code, last, s.out, s.err)
	}
	if states := h.states(); states[tokenstore.StateLinked] != all-lost || states[tokenstore.StatePending] != lost {
		t.Errorf("%v, want %d links", states, all-lost)
	}
	if twice := h.twice(); twice > 0 || h.server.Refreshes() != all-lost {
		t.Errorf("%d tokens were sent twice; %d refreshes, want %d", twice, h.server.Refreshes(), all-lost)
	}
}

// A single pair that PKB cannot be asked about does not stop the others; the exit code
// and a sentence say that it waits.
func TestImportWithGaps(t *testing.T) {
	h := newHost(t, kinds[0], pkbtest.Config{})
	h.importer()
	gone := h.obtained("ada", h.server.AddPatient(pkbtest.Patient{}))
	h.server.InvalidateSessions(nil)
	h.file("pairs.jsonl", gone, h.obtained("bea", h.server.AddPatient(pkbtest.Patient{})))
	s := h.pipe("import", "-check", "purview", "-yes", "pairs.jsonl")
	if last := importLines(t, s); s.code != 5 || last.Imported != 1 || !strings.Contains(s.out, `"code":"token_rejected"`) || !strings.Contains(s.err, "1 pair waits to be checked: import the same file again") {
		t.Errorf("an access token that PKB does not accept: exit code %d\n%s%s", s.code, s.out, s.err)
	}
}

// A process that is killed in the middle of an import is started again with the same
// file: each link is made once, and no token is sent twice. Of the pairs that were under
// way the response may be lost; those are named, and left alone.
func TestImportKilled(t *testing.T) {
	onEach(t, pkbtest.Config{}, func(t *testing.T, h *host) {
		h.importer()
		patients := make([]any, *pairs)
		for i := range patients {
			p := h.obtained(fmt.Sprintf("user-%06d", i), h.server.AddPatient(pkbtest.Patient{}))
			if i%2 == 1 {
				p = p.expired()
			}
			patients[i] = p
		}
		h.file("pairs.jsonl", patients...)
		args := []string{"import", "-check", "purview", "-yes", "-rate", "0", "pairs.jsonl"}
		began := time.Now()
		done := h.killed(t, args, *pairs/2-100)
		if n := h.states()[tokenstore.StateLinked]; n < done || n == *pairs {
			t.Fatalf("%d links when the import was killed, which had reported %d", n, done)
		}
		s := h.pipe(args...)
		last := importLines(t, s)
		lost := last.Waiting
		if last.Imported+last.Already+lost != *pairs || last.Refused != 0 || lost > 8 || last.Already < done-8 || !last.Done || (s.code == 5) != (lost > 0) {
			t.Errorf("exit code %d, %+v\n%s", s.code, last, s.err)
		}
		if n := strings.Count(s.out, `"code":"in_doubt"`); n != lost {
			t.Errorf("%d lines are in doubt, and %d wait:\n%s", n, lost, s.out)
		}
		if states := h.states(); states[tokenstore.StateLinked] != *pairs-lost || states[tokenstore.StatePending] != lost {
			t.Errorf("%v, want %d links, and %d in doubt", states, *pairs-lost, lost)
		}
		if twice := h.twice(); twice > 0 {
			t.Errorf("%d tokens were sent twice", twice)
		}
		t.Logf("%d pairs, of which the first run reported %d, in %v; %d in doubt", *pairs, done, time.Since(began).Round(100*time.Millisecond), lost)
	})
}

// killed runs pkbctl until it has reported so many lines, kills it, and returns how many
// it has reported.
func (h *host) killed(t *testing.T, args []string, after int) (reported int) {
	t.Helper()
	cmd := h.command(t.Context(), args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); reported < after && lines.Scan(); {
		var p importLine
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil || p.Done {
			t.Fatalf("it ends before it is killed: %s (%v)", lines.Text(), err)
		}
		reported = p.Records
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if reported < after {
		t.Fatalf("%d lines were reported, want %d before it is killed", reported, after)
	}
	return reported
}

// importLine is a line of progress of import.
type importLine struct {
	Records  int     `json:"records"`
	Total    int     `json:"total"`
	Rate     float64 `json:"rate"`
	Left     float64 `json:"left_seconds"`
	Done     bool    `json:"done"`
	Imported int     `json:"imported"`
	Already  int     `json:"already"`
	Waiting  int     `json:"waiting"`
	Refused  int     `json:"refused"`
}

// importLines checks the progress, and returns its last line.
func importLines(t *testing.T, s said) (last importLine) {
	t.Helper()
	for line := range strings.Lines(s.out) {
		if !strings.HasPrefix(line, `{"records"`) {
			continue
		}
		var p importLine
		if err := json.Unmarshal([]byte(line), &p); err != nil || p.Records < last.Records || p.Rate <= 0 || p.Records < p.Total && p.Left <= 0 {
			t.Errorf("progress: %v %s", err, line)
		}
		last = p
	}
	return last
}

// A process without Config.Notify neither delivers notices nor loses any, and leaves a
// record alone that is due for nothing else.
func TestTendOnce(t *testing.T) {
	onEach(t, pkbtest.Config{}, func(t *testing.T, h *host) {
		h.width = 100
		h.importer()
		var mu sync.Mutex // links are looked after at the same time
		var heard []string
		inbox := h.openWith(h.keys, func(c *pkb.Config) {
			c.Notify = func(_ context.Context, n observe.Notice) error {
				mu.Lock()
				defer mu.Unlock()
				heard = append(heard, n.AppUserID+" "+string(n.Kind))
				return nil
			}
		})
		h.client = inbox
		h.link("ada")
		h.end("bea", h.link("bea"))
		h.client = h.open(h.keys)
		h.file("pairs.jsonl", h.obtained("cem", h.server.AddPatient(pkbtest.Patient{})))
		if s := h.pipe("import", "-check", "program", "-yes", "pairs.jsonl"); s.code != 0 {
			t.Fatalf("exit code %d\n%s%s", s.code, s.out, s.err)
		}
		versions := func() (all []uint64) {
			for _, user := range []string{"ada", "bea"} {
				all = append(all, h.load(user).Version)
			}
			return all
		}
		before := versions()
		due := func() {
			h.change("cem", func(r *tokenstore.Record) { r.TendAt = time.Now().Add(-time.Second).UTC().Truncate(time.Microsecond) })
		}
		due()
		told := h.dialogue([]string{"tend", "-once"}) // its program checks it
		due()
		told += h.dialogue([]string{"tend", "-once", "-check", "purview"}, []string{"tend", "-once"}, []string{"tend"})
		due()
		s := h.pipe("tend", "-once")
		h.golden("tend.txt", told+fmt.Sprintf("$ pkbctl tend -once | cat\n%s%s[%d]\n", s.out, s.err, s.code))
		if r := h.load("cem"); r.State != tokenstore.StateLinked || r.PublicID == "" {
			t.Errorf("a pair that Purview has checked is %s", r.State)
		}
		if diff := cmp.Diff(before, versions()); diff != "" {
			t.Errorf("a record was written of which only a notice waits:\n%s", diff)
		}
		h.aged("ada", "bea")
		s = h.pipe("notices")
		h.golden("notices.txt", h.dialogue([]string{"notices"}, []string{"notices", "-kind", "relink_required"}, []string{"notices", "-older", "24h"}, []string{"notices", "-kind", "none"})+
			fmt.Sprintf("$ pkbctl notices | cat\n%s%s[%d]\n", s.out, s.err, s.code))
		if _, err := inbox.TendOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		slices.SortStableFunc(heard, func(a, b string) int { return strings.Compare(a[:3], b[:3]) })
		if diff := cmp.Diff([]string{"ada linked", "bea linked", "bea relink_required"}, heard); diff != "" {
			t.Errorf("what a process with Notify delivers after pkbctl has tended (-want +got):\n%s", diff)
		}
		h.shows(0, []string{"notices"}, `^There are no notices that wait\.$`)
	})
}

// aged moves the notices of links two and a half hours back, so that they read the same
// for a minute.
func (h *host) aged(users ...string) {
	h.t.Helper()
	at := time.Now().Add(-150 * time.Minute).UTC().Truncate(time.Millisecond)
	for _, user := range users {
		h.change(user, func(r *tokenstore.Record) {
			r.Details = noticedAt.ReplaceAll(r.Details, []byte(`${1}"`+at.Format(time.RFC3339Nano)+`"`))
			r.TendAt = at
		})
	}
}

var noticedAt = regexp.MustCompile(`("kind":\d+,(?:"cause":"[a-z_]+",)?(?:"session":"[^"]+",)?"at":)"[^"]+"`)
