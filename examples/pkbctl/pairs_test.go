// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

// readPairs reads all lines.
func readPairs(t *testing.T, r io.Reader) (all []pair) {
	t.Helper()
	for p := newPairs(r); ; {
		one, err := p.next()
		switch {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		if text := fmt.Sprintf("%v %+v %#v %s", one, one, one, one); strings.Contains(text, canary) {
			t.Errorf("a line prints its tokens: %s", text)
		}
		if one.wrong != nil && strings.Contains(one.wrong.text, canary) {
			t.Errorf("a complaint repeats the line: %s", one.wrong.text)
		}
		all = append(all, one)
	}
}

const whole = `{"app_user_id": "u", "access_token": "` + canary + `", "refresh_token": "r", "expiry": "2026-03-01T12:00:00Z"}`

// What is wrong with a line has a code for scripts and a sentence for people, and neither
// repeats anything of it.
func TestLines(t *testing.T) {
	for _, test := range []struct{ line, code string }{
		{whole, ""},
		{"  " + whole + "\t\r", ""},
		{`{"app_user_id": "u", "access_token": "a", "refresh_token": "r"}`, ""},
		{`{"app_user_id": "u", "access_token": "a", "refresh_token": "r", "expiry": null, "token_type": "bearer", "scope": "PATIENT", "expires_in": 600}`, ""},
		{`{"app_user_id": "u", "access_token": "a", "refresh_token": "r", "expiry": "2026-03-01T13:00:00.123456+01:00"}`, ""},
		{canary, "not_json"},
		{whole[:len(whole)-1], "not_json"},
		{whole + whole, "not_json"},
		{strings.Replace(whole, `"u"`, "\"\xff\"", 1), "not_json"},
		{`null`, "bad_members"},
		{`"` + canary + `"`, "bad_members"},
		{`[` + whole + `]`, "bad_members"},
		{`{"` + canary + `": "u", "access_token": "a", "refresh_token": "r"}`, "bad_members"},
		{`{"app_user_id": 7, "access_token": "a", "refresh_token": "r"}`, "bad_members"},
		{`{"access_token": "` + canary + `", "refresh_token": "r"}`, "bad_members"},
		{strings.Replace(whole, `"u"`, `""`, 1), "bad_user"},
		{strings.Replace(whole, `"u"`, `"\ud800"`, 1), "bad_user"},
		{strings.Replace(whole, `"u"`, `"`+strings.Repeat("u", 1025)+`"`, 1), "bad_user"},
		{`{"app_user_id": "u", "refresh_token": "` + canary + `"}`, "no_access_token"},
		{`{"app_user_id": "u", "access_token": "` + canary + `"}`, "no_refresh_token"},
		{strings.Replace(whole, "2026-03-01T12:00:00Z", canary, 1), "bad_expiry"},
		{strings.Replace(whole, "2026-03-01T12:00:00Z", "1772366400", 1), "bad_expiry"},
		{strings.Replace(whole, `"expiry"`, `"token_type": "MAC", "expiry"`, 1), "bad_type"},
		{strings.Replace(whole, `"r"`, `"`+strings.Repeat("r", longestTokens)+`"`, 1), "too_long"},
		{strings.Replace(whole, `"r"`, `"`+strings.Repeat("r", longestLine)+`"`, 1), "too_long"},
	} {
		got := readPairs(t, strings.NewReader("\n"+test.line))
		if len(got) != 1 || got[0].line != 2 {
			t.Fatalf("%.80s: %d lines", test.line, len(got))
		}
		switch wrong := got[0].wrong; {
		case wrong == nil && test.code != "", wrong != nil && wrong.code != test.code:
			t.Errorf("%.80s: %v, want %q", test.line, wrong, test.code)
		case wrong == nil && (got[0].user != "u" || got[0].token.RefreshToken != "r"):
			t.Errorf("%.80s: read as another pair", test.line)
		}
	}
}

// A line is what it is wherever the reads end, and those around a bad one are read.
func TestLinesAreCounted(t *testing.T) {
	lines := []string{"\ufeff" + whole, "", " \t", "bad", strings.Repeat("x", 3*longestLine), strings.ReplaceAll(whole, `"u"`, `"v"`), strings.ReplaceAll(strings.ReplaceAll(whole, `"u"`, `"w"`), `"r"`, `"s"`)}
	text := strings.Join(lines, "\r\n")
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(text), "a byte at a time": iotest.OneByteReader(strings.NewReader(text)), "with the end": iotest.DataErrReader(strings.NewReader(text + "\n"))} {
		var got []string
		for _, p := range readPairs(t, r) {
			code := ""
			if p.wrong != nil {
				code = p.wrong.code
			}
			got = append(got, fmt.Sprintf("%d %s", p.line, code))
		}
		if diff := cmp.Diff([]string{"1 ", "4 not_json", "5 too_long", "6 same_token", "7 "}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, err := newPairs(iotest.ErrReader(errReadOnly)).next(); !errors.Is(err, errReadOnly) {
		t.Errorf("a file that fails ends with %v", err)
	}
}

// Of two pairs of one user, and of two users with one refresh token, the first is taken,
// and the other names its line.
func TestLinesThatRepeat(t *testing.T) {
	got := readPairs(t, strings.NewReader(strings.Join([]string{
		whole, strings.Replace(whole, `"r"`, `"other"`, 1), strings.Replace(whole, `"u"`, `"v"`, 1), whole, strings.Replace(whole, `"r"`, `""`, 1),
	}, "\n")))
	var texts []string
	for _, p := range got[1:] {
		texts = append(texts, p.wrong.code+": "+p.wrong.text)
	}
	want := []string{
		"same_user: line 1 has a pair of the same user, which was taken", "same_token: line 1 has the same refresh token",
		"same_token: line 1 has the same refresh token", "no_refresh_token: it has no refresh token: the patient has to approve",
	}
	if diff := cmp.Diff(want, texts); diff != "" || got[0].wrong != nil {
		t.Errorf("%v (-want +got):\n%s", got[0].wrong, diff)
	}
}

// What encoding/json writes of an oauth2.Token, with the user, is a line.
func TestLinesOfEncodedTokens(t *testing.T) {
	expiry := time.Date(2026, 3, 1, 12, 0, 0, 123, time.FixedZone("", 3600))
	for _, token := range []*oauth2.Token{
		{AccessToken: "a", RefreshToken: "r", TokenType: "Bearer", Expiry: expiry, ExpiresIn: 600},
		{AccessToken: "a", RefreshToken: "r"},
	} {
		line, err := json.Marshal(struct {
			*oauth2.Token
			AppUserID string `json:"app_user_id"`
		}{token, "u"})
		if err != nil {
			t.Fatal(err)
		}
		got := readPairs(t, strings.NewReader(string(line)))[0]
		if got.wrong != nil || !got.token.Expiry.Equal(token.Expiry) || got.token.Expiry.IsZero() != token.Expiry.IsZero() {
			t.Errorf("%s: %v, expires at %v", line, got.wrong, got.token.Expiry)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add(whole + "\n" + whole)
	f.Add("\ufeff{}\n\n\xff\n" + `{"app_user_id":"` + strings.Repeat("u", 2000))
	f.Fuzz(func(t *testing.T, text string) {
		p := newPairs(strings.NewReader(text))
		for last := 0; ; {
			one, err := p.next()
			if err != nil {
				return
			}
			if one.line <= last {
				t.Fatalf("line %d comes after line %d", one.line, last)
			}
			if last = one.line; one.wrong == nil && (one.user == "" || one.token.AccessToken == "" || one.token.RefreshToken == "") {
				t.Fatalf("a pair lacks something: %q", text)
			}
		}
	})
}
