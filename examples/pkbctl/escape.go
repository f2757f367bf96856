// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// clean makes text from elsewhere safe to print: an app_user_id may hold anything, and
// a terminal obeys control characters. They are escaped as in Go, so that two ids that
// differ in one of them look different.
func clean(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unicode.IsPrint(r):
			b.WriteString(s[:n])
		default:
			escaped := strconv.QuoteRuneToASCII(r)
			b.WriteString(escaped[1 : len(escaped)-1])
		}
		s = s[n:]
	}
	return b.String()
}

// cleanLines is clean for text of several lines.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = clean(line)
	}
	return strings.Join(lines, "\n")
}

// encode returns v as JSON, indented if indent is not "". What is not printable is
// escaped, because encoding/json leaves C1 control characters and changes of the
// direction of text as they are.
func encode(v any, indent string) ([]byte, error) {
	var raw bytes.Buffer
	e := json.NewEncoder(&raw)
	e.SetIndent("", indent)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	var b []byte
	for _, r := range raw.String() {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b = utf8.AppendRune(b, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return b, nil
}

// rows prints a JSON document with a list, one row after the other.
type rows struct {
	w       io.Writer
	between string
	last    string
}

func newRows(w io.Writer, name string) *rows {
	begin := "{\n  \"" + name + "\": ["
	return &rows{w, begin + "\n", begin + "]"}
}

func (r *rows) add(v any) error {
	row, err := encode(v, "  ")
	if err != nil {
		return err
	}
	indented := bytes.ReplaceAll(bytes.TrimSpace(row), []byte("\n"), []byte("\n    "))
	_, err = fmt.Fprintf(r.w, "%s    %s", r.between, indented)
	r.between, r.last = ",\n", "\n  ]"
	return err
}

// end ends the list, and adds the members of an object.
func (r *rows) end(v any) error {
	rest, err := encode(v, "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(r.w, "%s,%s", r.last, bytes.TrimPrefix(rest, []byte("{")))
	return err
}

// document prints one JSON document, to be read.
func (c *call) document(v any) error { return c.encoded(v, "  ") }

// line prints one JSON document on a line.
func (c *call) line(v any) error { return c.encoded(v, "") }

func (c *call) encoded(v any, indent string) error {
	b, err := encode(v, indent)
	if err != nil {
		return err
	}
	_, err = c.out.Write(b)
	return err
}

// holdsPassword matches what may be the address of a database with a password in it,
// in any of the forms that drivers take, or is close to one.
var holdsPassword = regexp.MustCompile(`(?is):([^/]|/[^/]).*@|passw|pwd\s*=|secret\s*=`)

const hidden = "[not repeated: it may hold a password]"

// say makes the text of an error safe to print: the flag package, the operating system
// and we repeat what was typed, and an address of a database is easily typed in the
// wrong place.
func (c console) say(text string) string {
	typed := append([]string{c.getenv("PKB_DB"), c.getenv("PKB_COPY_TO")}, c.args...)
	for _, whole := range typed {
		_, value, _ := strings.Cut(whole, "=")
		for _, part := range []string{whole, value} {
			if part == "" || !holdsPassword.MatchString(part) {
				continue
			}
			quoted := strconv.Quote(part)
			for _, form := range []string{part, quoted[1 : len(quoted)-1], clean(part)} {
				text = strings.ReplaceAll(text, form, hidden)
			}
		}
	}
	return cleanLines(text)
}

// word writes s so that a shell reads it as one word.
func word(s string) string {
	switch {
	case plainWord.MatchString(s):
		return s
	case clean(s) == s:
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return "$'" + strings.ReplaceAll(clean(strings.ReplaceAll(s, `\`, `\\`)), "'", `\'`) + "'"
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)
