// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// An import that cannot begin says why, before anything is sent.
func TestImportUsage(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	db, err := open("-db", filepath.Join(dir, "links.db"), sqlstore.Config{}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer db.close()
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	key, err := keys.Generate("first")
	if err != nil {
		t.Fatal(err)
	}
	good, empty, blank := file("good", whole, 0o600), file("empty", "", 0o600), file("blank", "\n \n", 0o600)
	env := map[string]string{"PKB_DB": filepath.Join(dir, "links.db"), "PKB_KEYS": key, "PKB_ENV": "http://127.0.0.1:1", "PKB_CLIENT_ID": "c"}
	for _, test := range []struct {
		args []string
		env  map[string]string
		says string
		code int
	}{
		{[]string{good, "-yes"}, nil, "-check purview, or -check program", 2},
		{[]string{good, "-yes", "-check", "nobody"}, nil, "purview or program", 2},
		{[]string{good, "-check", "purview"}, nil, "give -yes", 2},
		{[]string{"-", "-check", "purview"}, nil, "give -yes", 2},
		{[]string{good, "-yes", "-check", "purview", "-rate", "-1"}, nil, "-rate", 2},
		{[]string{"-yes", "-check", "purview"}, nil, "FILE", 2},
		{[]string{filepath.Join(dir, canary), "-n"}, nil, "the file with the tokens cannot be opened: no such file", 2},
		{[]string{dir, "-n"}, nil, "the file with the tokens cannot be read", 2},
		{[]string{empty, "-n"}, nil, "no line in the file", 2},
		{[]string{blank, "-yes", "-check", "purview"}, nil, "no line in the file", 2},
		{[]string{"-", "-n"}, nil, "no line in the file", 2},
		{[]string{good, "-n"}, map[string]string{"PKB_KEYS": ""}, "no keys", 2},
		{[]string{good, "-n"}, map[string]string{"PKB_ENV": "", "PKB_CLIENT_ID": ""}, "give -env and -client-id", 2},
		{[]string{good, "-n"}, map[string]string{"PKB_ENV": "mine"}, "-env mine=ADDRESS", 2},
		{[]string{good, "-n"}, map[string]string{"PKB_DB": filepath.Join(dir, "other.db")}, "there is no file", 3},
		{[]string{good, "-n", "-table", "other"}, nil, "is absent", 3},
		{[]string{good, "-n", "-session-life", "-1h"}, nil, "SessionLife", 2},
		{[]string{good, "-n"}, map[string]string{"PKB_SESSION_LIFE": "a month"}, "PKB_SESSION_LIFE", 2},
		{[]string{good, "-yes", "-check", "purview", "-report", filepath.Join(dir, "no", "such")}, nil, "-report", 2},
		{[]string{good, "-n"}, nil, "", 0},
	} {
		all := map[string]string{}
		for _, e := range []map[string]string{env, test.env} {
			for name, value := range e {
				all[name] = value
			}
		}
		code, out, stderr := pipe(t, all, append([]string{"import"}, test.args...)...)
		if code != test.code || !strings.Contains(stderr, test.says) {
			t.Errorf("pkbctl import %q: exit code %d, want %d; it says\n%s%swant %q", test.args, code, test.code, out, stderr, test.says)
		}
	}
	if runtime.GOOS == "windows" {
		return // files have no such modes there
	}
	for mode, private := range map[fs.FileMode]bool{0o400: true, 0o700: true, 0o640: false, 0o604: false, 0o620: false, 0o666: false} {
		code, _, stderr := pipe(t, env, "import", "-n", file("moded", whole, mode))
		if private && code != 0 || !private && (code != 2 || !strings.Contains(stderr, "chmod 600")) {
			t.Errorf("mode %o: exit code %d\n%s", mode, code, stderr)
		}
	}
	for mode, private := range map[fs.FileMode]bool{0o600: true, 0o644: false} {
		in, err := os.Open(file("in", whole, mode))
		if err != nil {
			t.Fatal(err)
		}
		var out, stderr bytes.Buffer
		c := console{in: in, out: &out, err: &stderr, getenv: func(name string) string { return env[name] }, size: func() (int, int) { return 80, 24 }}
		if code := run(t.Context(), c, []string{"import", "-n", "-"}); private && code != 0 || !private && code != 2 {
			t.Errorf("on standard input, mode %o: exit code %d\n%s", mode, code, &stderr)
		}
	}
}

// Each refusal has the code of its error and a sentence, without a token or a text of
// somebody else's.
func TestReasons(t *testing.T) {
	for _, test := range []struct {
		err    error
		code   string
		reason string
	}{
		{&pkb.RelinkError{Cause: observe.CauseSessionExpired}, "session_expired", "session has expired"},
		{&pkb.RelinkError{Cause: observe.CauseSessionInvalid}, "session_invalid", "other code has refreshed it since"},
		{&pkb.RelinkError{Cause: observe.CauseGrantRejected}, "grant_rejected", "for this client id"},
		{&pkb.RelinkError{Cause: observe.CauseFrozen}, "relink_frozen", "frozen"},
		{&pkb.RelinkError{Cause: "later\x1b"}, "relink_required", `later\x1b`},
		{&pkb.StateError{Reason: "used"}, "state_used", "was imported before"},
		{&pkb.SharedRecordError{AppUserIDs: []string{"a", "b", "c", "d"}}, "shared_record", "another user (a, b, c): "},
		{&pkb.SharedRecordError{}, "shared_record", "another user: "},
		{pkb.ErrWrongPatient, "wrong_patient", "another patient"},
		{identity.ErrNotAPatient, "not_a_patient", "is not a patient's"},
		{pkb.ErrOtherEnvironment, "other_environment", "another environment"},
		{pkb.ErrNotLinked, "not_linked", "unlinked"},
		{pkb.ErrKeys, "keys", "does not open"},
		{pkb.ErrNewer, "newer_version", "later version"},
		{errors.New("something else"), "unforeseen", "something else"},
	} {
		f := (&importing{}).judge(fate{}, pkb.Link{}, test.err)
		if f.Result != refused || f.Code != test.code || !strings.Contains(f.Reason, test.reason) || f.stops != nil {
			t.Errorf("%v: %+v, want %s, %q", test.err, f, test.code, test.reason)
		}
	}
	linked := pkb.Link{State: tokenstore.StateUncertain}
	for _, test := range []struct {
		err   error
		link  pkb.Link
		check checking
		want  verdict
		stops bool
	}{
		{nil, linked, byPurview, imported, false},
		{pkb.ErrOvertaken, linked, byPurview, already, false},
		{pkb.ErrOvertaken, pkb.Link{State: tokenstore.StatePending}, byPurview, waiting, false},
		{pkb.ErrUnchecked, pkb.Link{}, byPurview, waiting, false},
		{pkb.ErrUnchecked, pkb.Link{}, byProgram, waiting, false},
		{pkb.ErrStore, pkb.Link{}, byPurview, "", true},
		{pkb.ErrClosed, pkb.Link{}, byPurview, "", true},
	} {
		f := (&importing{importOptions: importOptions{check: test.check}}).judge(fate{}, test.link, test.err)
		if f.Result != test.want || (f.stops != nil) != test.stops {
			t.Errorf("%v, %s: %+v", test.err, test.link.State, f)
		}
	}
}

// A pair that PKB could not be asked about counts towards the end of the import, and one
// whose access token PKB does not accept does not: PKB was asked.
func TestUnasked(t *testing.T) {
	for status, want := range map[int]string{0: "unchecked", 401: "token_rejected", 403: "token_rejected", 404: "unchecked", 429: "unchecked", 503: "unchecked"} {
		err := fmt.Errorf("%w: %w", pkb.ErrUnchecked, &pkb.APIError{Operation: "purview", Status: status})
		f := (&importing{importOptions: importOptions{check: byPurview}}).judge(fate{}, pkb.Link{State: tokenstore.StatePending}, err)
		if f.Result != waiting || f.Code != want || f.Reason == "" {
			t.Errorf("status %d: %+v, want that it waits, %s", status, f, want)
		}
	}
	i := &importing{importOptions: importOptions{check: byPurview}}
	unasked := fate{Result: waiting, Code: "unchecked"}
	for _, between := range []fate{{Result: imported}, {Result: waiting, Code: "token_rejected"}, {Result: refused, Code: "session_expired"}, {}} {
		for n := range unaskedMost - 1 {
			if err := i.asked(unasked); err != nil {
				t.Errorf("after %d lines: %v", n, err)
			}
		}
		if err := i.asked(fate{Result: already}); err != nil { // nobody was asked
			t.Error(err)
		}
		if between.Result != "" {
			if err := i.asked(between); err != nil {
				t.Error(err)
			}
		}
	}
	if err := i.asked(unasked); err == nil || codeOf(err) != exitLater || !strings.Contains(err.Error(), "20 pairs in a row") {
		t.Errorf("the twentieth in a row: %v", err)
	}
}

// Whatever its tokens met, a pair whose response may be on its way is left alone.
func TestInDoubt(t *testing.T) {
	lease := tokenstore.Lease{Owner: "somebody"}
	for name, test := range map[string]struct {
		r    tokenstore.Record
		want bool
	}{
		"nobody":                       {tokenstore.Record{}, false},
		"waits to be checked":          {tokenstore.Record{State: tokenstore.StatePending, Candidate: "s/1"}, false},
		"is being refreshed":           {tokenstore.Record{State: tokenstore.StatePending, Candidate: "s/1", Lease: lease}, true},
		"its response was lost":        {tokenstore.Record{State: tokenstore.StatePending, Candidate: "s/1", Details: []byte(`{"v":1,"candidate_tried":1}`)}, true},
		"a link that has ended before": {tokenstore.Record{State: tokenstore.StateRelinkRequired, Pair: "q/1", Tried: 1}, false},
		"beside a link that has ended": {tokenstore.Record{State: tokenstore.StateRelinkRequired, Pair: "q/1", Candidate: "s/1", Lease: lease}, true},
	} {
		if got := inDoubt(test.r); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// The pace is that of all workers together, from the first on, and ends with its context.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := newPace(10)
		done := make(chan error)
		for range 5 {
			go func() {
				for range 2 {
					done <- p.wait(t.Context())
				}
			}()
		}
		for range 10 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took != 900*time.Millisecond {
			t.Errorf("ten at ten a second took %v", took)
		}
		for range 1000 {
			if err := newPace(0).wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		slow := newPace(0.01)
		if err := errors.Join(slow.wait(ctx)); err != nil {
			t.Errorf("the first waits: %v", err)
		}
		if err := slow.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the second, without the time: %v", err)
		}
	})
}

// The commands of the guide are ones that there are.
func TestGuide(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "pkb", "import.md"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, " #")
		args := strings.Fields(line)
		if len(args) < 2 || args[0] != "pkbctl" {
			continue
		}
		n++
		at := slices.IndexFunc(commands, func(c *command) bool { return c.name == args[1] })
		if at < 0 {
			t.Errorf("%s: there is no command %q", line, args[1])
			continue
		}
		if _, _, err := commands[at].parse(console{getenv: func(string) string { return "" }}, args[2:]); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if n < 8 {
		t.Errorf("%d commands were found", n)
	}
}

// In place of the host's Identify pkbctl neither accepts nor refuses anybody.
func TestChecking(t *testing.T) {
	for check, asks := range map[checking]bool{"": true, byProgram: true, byPurview: false} {
		var cfg pkb.Config
		check.leave(&cfg)
		if (cfg.Identify != nil) != asks {
			t.Errorf("-check %q: Identify is set: %t", check, cfg.Identify != nil)
		}
		if asks {
			if err := cfg.Identify(t.Context(), pkb.Candidate{}); err == nil || errors.Is(err, pkb.ErrIdentityRefused) {
				t.Errorf("-check %q: %v", check, err)
			}
		}
	}
}
