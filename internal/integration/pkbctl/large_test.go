// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbctl_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// many links are few to read and much to keep: each has some KiB of sealed tokens.
const many = 20_000

// asBytes makes an app_user_id of the number n, in each dialect.
var asBytes = map[sqlstore.Dialect]string{
	sqlstore.SQLite:   "CAST(printf('user-%06d', n) AS BLOB)",
	sqlstore.Postgres: "convert_to('user-' || lpad(CAST(n AS text), 6, '0'), 'UTF8')",
	sqlstore.MySQL:    "CONCAT('user-', LPAD(n, 6, '0'))",
}

// crowd fills the table: of each hundred links one has ended. The rows are copied in the
// database, from one that the store has written.
func (h *host) crowd() {
	h.t.Helper()
	h.crowdWith("")
}

// crowdWith is crowd, with these details in each record.
func (h *host) crowdWith(details string) {
	h.t.Helper()
	k := h.kind
	now := time.Now()
	if _, err := h.store.Save(h.t.Context(), tokenstore.Record{
		AppUserID: "seed", Environment: "sandbox", ClientID: "betawerk", State: tokenstore.StateLinked, Pair: "pair-1", Generation: 1,
		LinkedAt: now, RefreshedAt: now, ExpiresAt: now.Add(time.Hour), DueAt: now.Add(time.Hour), KeyID: "2026", Details: []byte(details),
		Sealed: []byte(strings.Repeat(h.secrets[0], 60)),
	}); err != nil {
		h.t.Fatal(err)
	}
	const others = "version, environment, client_id, public_id, pair, candidate, tried, generation, expires_at, due_at, linked_at, refreshed_at, lease_owner, lease_beat, lease_ttl, key_id, details, sealed"
	digits := "(SELECT 0 AS d UNION ALL SELECT 1" + strings.Join(strings.Split(" 2 3 4 5 6 7 8 9", " "), " UNION ALL SELECT ") + ")"
	query := fmt.Sprintf(`INSERT INTO pkb_links (app_user_id, state, cause, %[1]s)
		SELECT %[2]s, CASE WHEN n %% 100 = 99 THEN 'relink_required' ELSE 'linked' END,
			CASE WHEN n %% 200 = 99 THEN 'session_expired' WHEN n %% 200 = 199 THEN 'frozen' ELSE '' END, %[1]s
		FROM pkb_links, (SELECT a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d AS n
			FROM %[3]s a, %[3]s b, %[3]s c, %[3]s d, %[3]s e) numbers WHERE n < %[4]d`, others, asBytes[k.dialect], digits, many)
	db := openDatabase(h.t, k, h.dsn)
	if _, err := db.ExecContext(h.t.Context(), query); err != nil {
		h.t.Fatal(err)
	}
	seed := h.load("seed")
	if err := h.store.Delete(h.t.Context(), "seed", seed.Version); err != nil {
		h.t.Fatal(err)
	}
}

// peak is the most memory that a running process has had, in MiB. (What the system
// reports when it has ended has the memory of the test in it, at the fork.)
func peak(pid int) (mib int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	_, _ = fmt.Sscan(rest, &mib) // 0 where there is no such file
	return mib >> 10
}

// watched is the output of a process, whose memory is looked at while it prints.
type watched struct {
	r       io.Reader
	pid     int
	n, look int64
	peak    int
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if w.n += int64(n); w.n >= w.look {
		w.look, w.peak = w.n+1<<20, max(w.peak, peak(w.pid))
	}
	return n, err
}

// enough is the memory that pkbctl may have with any number of links, in MiB: 30, and
// some pages of records. Kept in memory, these links would be 80.
const enough = 64

func (w *watched) check(t *testing.T) {
	t.Helper()
	if w.peak > enough {
		t.Errorf("%d links took %d MiB, %d are enough: they are kept in memory", many, w.peak, enough)
	}
	t.Logf("%d MiB, to print %d MiB", w.peak, w.n>>20)
}

// A crowd costs no more memory than a handful, in a pipe with each driver, and on a
// terminal.
func TestManyLinks(t *testing.T) {
	onEach(t, pkbtest.Config{}, func(t *testing.T, h *host) {
		h.crowd()
		t.Run("in a pipe", h.manyInAPipe)
		if h.kind.dialect != sqlstore.SQLite {
			return // the rest reads the same pages, and does not know the driver
		}
		t.Run("on a terminal", h.manyOnATerminal)
		t.Run("interrupted", h.manyInterrupted)
	})
}

func (h *host) manyInAPipe(t *testing.T) {
	cmd := h.command(t.Context(), "links")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := &watched{r: out, pid: cmd.Process.Pid}
	var l list
	if err := json.NewDecoder(read).Decode(&l); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(l.Links) != many || l.Matching != many || l.States["relink_required"] != many/100 || l.Causes["frozen"] != many/200 {
		t.Errorf("%d links; %d match; %v %v", len(l.Links), l.Matching, l.States, l.Causes)
	}
	for i, row := range l.Links {
		if want := fmt.Sprintf("user-%06d", i); row.AppUserID != want {
			t.Fatalf("the link at %d is %s, want %s", i, row.AppUserID, want)
		}
	}
	read.check(t)
}

func (h *host) manyOnATerminal(t *testing.T) {
	first := observe.LinkName("user-000099")
	h.shows(0, []string{"links"}, `^relink_required +200$`, `^  frozen +100$`, `^  session_expired +100$`, `^linked +19800$`,
		`^user-000099 +`+first+` +relink_required +session_expired `, `^user-004999 `, `^1 to 50 of 20000\. The next:$`, `^  pkbctl links -skip 50$`)
	// The page on which those end that have ended.
	h.shows(0, []string{"links", "-skip", "199", "-n", "3"}, `^user-019999 .* frozen`, `^user-000000 .* linked`, `^user-000001 `, `^  pkbctl links -skip 202 -n 3$`)

	s := h.terminal("links", "-n", "0")
	<-s.ended
	if err := s.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := len(regexp.MustCompile(`(?m)^user-\d{6} `).FindAllString(s.left(), -1)); n != many {
		t.Errorf("%d lines, want %d", n, many)
	}
	s.watched.check(t)
}

// The first links are printed before the last ones are read, and Ctrl-C ends it.
func (h *host) manyInterrupted(t *testing.T) {
	cmd := h.command(t.Context(), "links")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, out); err != nil || n > 4<<20 {
		t.Errorf("after Ctrl-C another %d bytes were printed (%v)", n, err)
	}
	_ = cmd.Wait() // the exit code has it
	if code := cmd.ProcessState.ExitCode(); code != 130 || !regexp.MustCompile(`interrupted; \d+ links were read\n$`).MatchString(stderr.String()) {
		t.Errorf("exit code %d, want 130, and what was done: %s", code, stderr.String())
	}
}
