// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// canary stands for a password, and a key.
const canary = "c4n4ry-s3cret"

// pipe runs pkbctl as a script does, with an environment of its own.
func pipe(t *testing.T, env map[string]string, args ...string) (code int, out, stderr string) {
	t.Helper()
	var o, e bytes.Buffer
	c := console{
		in: strings.NewReader(""), out: &o, err: &e, getenv: func(name string) string { return env[name] },
		size: func() (int, int) { return 80, 24 },
	}
	code = run(t.Context(), c, args)
	if strings.Contains(o.String()+e.String(), canary) {
		t.Errorf("pkbctl %v prints a secret:\n%s%s", args, &o, &e)
	}
	if strings.ContainsFunc(o.String()+e.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
		t.Errorf("pkbctl %q prints what a terminal may obey:\n%q%q", args, &o, &e)
	}
	return code, o.String(), e.String()
}

// A script finds out by the exit code, a person by the text, what was wrong with the
// command line.
func TestUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "links.db")
	for _, test := range []struct {
		args []string
		env  map[string]string
		code int
		says string
	}{
		{nil, nil, 2, "Usage: pkbctl COMMAND"},
		{[]string{"-h"}, nil, 0, ""},
		{[]string{"help", "links"}, nil, 0, ""},
		{[]string{"lniks"}, nil, 2, `there is no command "lniks"`},
		{[]string{"links"}, nil, 2, "-db"},
		{[]string{"links", "-wrong"}, nil, 2, "-wrong"},
		{[]string{"links", "something"}, nil, 2, `"something" is one argument too many`},
		{[]string{"links", "-state", "dead", "-db", file}, nil, 2, "relink_required"},
		{[]string{"links", "-n", "-1", "-db", file}, nil, 2, "-n"},
		{[]string{"links", "-n", "12x", "-db", file}, nil, 2, "0 for all"},
		{[]string{"links", "-skip", "-1", "-db", file}, nil, 2, "-skip"},
		{[]string{"links", "-watch", "-n", "0", "-db", file}, nil, 2, "-watch"},
		{[]string{"links", "-due", "soon", "-db", file}, nil, 2, "-due"},
		{[]string{"links", "-db", file}, nil, 3, "there is no file"},
		{[]string{"links"}, map[string]string{"PKB_DB": file}, 3, "there is no file"},
		{[]string{"links", "-db", "postgres://app:" + canary + "@127.0.0.1:1/app"}, nil, 3, "not available"},
		{[]string{"links", "-db", "postgres://app:" + canary + "@127.0.0.1:wrong/app"}, nil, 2, "not an address of PostgreSQL"},
		{[]string{"links", "-db", "mysql://app:" + canary + "@127.0.0.1:1/app"}, nil, 3, "not available"},
		{[]string{"links", "-db", "app:" + canary + "@tcp(127.0.0.1:1)/app"}, nil, 3, "not available"},
		{[]string{"links", "-db", "app:" + canary + "@tcp(127.0.0.1:1)"}, nil, 2, "not a DSN"},
		{[]string{"links", "-db", "mysql://app:" + canary + "@127.0.0.1"}, nil, 2, "not an address"},
		{[]string{"links", "-db", "mysql://app:" + canary + "@127.0.0.1/app?timeout=x"}, nil, 2, "options"},
		// An address in the wrong place, or one that is close to an address.
		{[]string{"postgres://app:" + canary + "@db/app"}, nil, 2, "there is no command"},
		{[]string{"links", "postgres://app:" + canary + "@db/app"}, nil, 2, "one argument too many"},
		{[]string{"links", "-n", "mysql://app:" + canary + "@db/app"}, nil, 2, "invalid value"},
		{[]string{"links", "-every=app:" + canary + "@tcp(db)/app"}, nil, 2, "invalid value"},
		{[]string{"links", "-postgres://app:" + canary + "@db/app"}, nil, 2, "not defined"},
		{[]string{"links", "-state", "host=db password=" + canary, "-db", file}, nil, 2, "not a state"},
		{[]string{"links", "-table", "app:" + canary + "@db", "-db", "postgres://db/app"}, nil, 2, "Table"},
		{[]string{"links", "-db", "postgres//app:" + canary + "@db/app"}, nil, 3, "there is no file"},
		{[]string{"links", "-db", "Postgres://app:" + canary + "@db/app"}, nil, 3, "there is no file"},
		{[]string{"links", "-db", "host=db user=app password=" + canary}, nil, 3, "there is no file"},
		{[]string{"links"}, map[string]string{"PKB_DB": "sqlserver://app:" + canary + "@db"}, 3, "there is no file"},
		{[]string{"links", "-db", "app:\x1b" + canary + "@db"}, nil, 3, "there is no file"},
		{[]string{"doctor", "-offline", "-db", "oracle://app:" + canary + "@db/app"}, nil, 3, ""},
		{[]string{"copy", "-db", file, "-to", "oracle://app:" + canary + "@db//app"}, nil, 3, "there is no file"},
		{[]string{"reseal", "-db", file, "-keys", "first:" + canary}, nil, 2, "cannot be opened: no such file"},
		{[]string{"show"}, nil, 2, "USER"},
		{[]string{"show", "a", "b"}, nil, 2, "USER"},
		{[]string{"show", "--", "-odd-user", "-db"}, nil, 2, "got 2"},
		{[]string{"unlink", "a", "-db", file}, nil, 2, "-yes"},
		{[]string{"relink-url", "a", "-db", file}, nil, 2, "-link-route"},
		{[]string{"relink-url", "a", "-db", file, "-link-route", "http://app.example/pkb/link"}, nil, 2, "https"},
		{[]string{"relink-url", "a", "-db", file, "-link-route", "https://sandbox.patientsknowbest.com/apiAuthorize.action"}, nil, 2, "your own application"},
		{[]string{"reseal", "-db", file}, nil, 2, "PKB_KEYS"},
		{[]string{"reseal", "-db", file}, map[string]string{"PKB_KEYS": "id:" + canary}, 2, "not base64"},
		{[]string{"copy", "-db", file, "-to", "other.db"}, nil, 3, "there is no file"},
		{[]string{"tend", "-db", file}, nil, 2, "give -once"},
		{[]string{"tend", "-once", "-db", file}, nil, 2, "PKB_KEYS"},
		{[]string{"tend", "-once", "-check", "me", "-db", file}, nil, 2, "purview or program"},
		{[]string{"notices", "-kind", "refreshed", "-db", file}, nil, 2, "relink_required, ends_soon"},
		{[]string{"notices", "-skip", "-1", "-db", file}, nil, 2, "-skip"},
		{[]string{"notices", "-db", file}, nil, 3, "there is no file"},
	} {
		code, out, stderr := pipe(t, test.env, test.args...)
		if code != test.code || !strings.Contains(stderr, test.says) {
			t.Errorf("pkbctl %q: exit code %d, want %d; it says\n%swant %q", test.args, code, test.code, stderr, test.says)
		}
		if code != 0 && out != "" && test.args[0] != "doctor" {
			t.Errorf("pkbctl %q: a script reads %q as a result", test.args, out)
		}
	}
}

// Help is the manual: there is no other one.
func TestHelp(t *testing.T) {
	secret := map[string]string{"PKB_DB": "postgres://app:" + canary + "@db/app", "PKB_KEYS": canary}
	for _, cmd := range commands {
		code, out, _ := pipe(t, secret, cmd.name, "-h")
		if code != 0 {
			t.Errorf("%s -h: exit code %d", cmd.name, code)
		}
		for _, part := range []string{"Usage: pkbctl " + cmd.name, "PKB_DB", "Examples:\n  ", "Exit codes:\n  0 ", "In a pipe"} {
			if !strings.Contains(strings.ReplaceAll(out, "in a pipe", "In a pipe"), part) {
				t.Errorf("%s -h does not say %q:\n%s", cmd.name, part, out)
			}
		}
		for line := range strings.Lines(out) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 110 {
				t.Errorf("%s -h: a line of %d characters: %s", cmd.name, n, line)
			}
		}
	}
}

// What scripts get for what goes wrong.
func TestCodes(t *testing.T) {
	for _, test := range []struct {
		err  error
		code int
	}{
		{nil, 0},
		{errSaid, 1},
		{&pkb.RelinkError{Cause: observe.CauseSessionExpired}, 1},
		{pkb.ErrKeys, 1},
		{pkb.ErrAppUserID, 2},
		{pkb.ErrStore, 3},
		{storeFailed(errReadOnly), 3},
		{pkb.ErrNotLinked, 4},
		{&pkb.TryLaterError{}, 5},
		{&failure{exitLater, errSaid}, 5},
	} {
		if got := codeOf(test.err); got != test.code {
			t.Errorf("%v: exit code %d, want %d", test.err, got, test.code)
		}
	}
}
