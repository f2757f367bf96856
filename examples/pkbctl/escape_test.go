// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// An app_user_id is somebody's input: it must not move the cursor, turn text around, or
// print a line of its own; and it must not pass for another one.
func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"app-user-1": "app-user-1", "Jörg Müller": "Jörg Müller", "Zoe\u0308": "Zoe\u0308", "山田": "山田", "\ufffd": "\ufffd",
		"a\x1b[2Jb": `a\x1b[2Jb`, "a\nok    keys": `a\nok    keys`, "a\u202eb": `a\u202eb`, "a\u200bb": `a\u200bb`,
		"\u009b2J": `\u009b2J`, "\x9b": `\x9b`, "\x7f": `\x7f`, "\x00": `\x00`, "\U000e0041": `\U000e0041`, "a\u00a0b": `a\u00a0b`,
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

// The same holds for JSON, which is read back as it was.
func TestJSONIsPrintable(t *testing.T) {
	for _, s := range []string{"Jörg <&> 山田", "\u009b2J\x7f", "\u202e\u2066", "\U000e0041\u2028", "\x1b\n\t"} {
		b, err := encode(map[string]string{"id": s}, "  ")
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(string(b), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
			t.Errorf("a terminal may obey %q", b)
		}
		var back map[string]string
		if err := json.Unmarshal(b, &back); err != nil || back["id"] != s {
			t.Errorf("%q is read back as %q (%v)", s, back["id"], err)
		}
	}
}

// What is printed to copy reaches a command as it is.
func TestWord(t *testing.T) {
	if got := word("app-user-1"); got != "app-user-1" {
		t.Errorf("a plain id is %s", got)
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	for _, s := range []string{"a b", "it's", "$(id)", "`id`", `a\b`, "a\x1b'\\[2J", "山田\u202e", "", "!x", "~", "a\nb"} {
		w := word(s)
		if clean(w) != w {
			t.Errorf("%q is printed as %q", s, w)
		}
		cmd := exec.CommandContext(t.Context(), bash, "-c", "printf %s "+w)
		cmd.Env = []string{"LC_ALL=C.UTF-8"}
		out, err := cmd.Output()
		if diff := cmp.Diff(s, string(out)); err != nil || diff != "" {
			t.Errorf("%s reaches a command as %q (%v)", w, out, err)
		}
	}
}
