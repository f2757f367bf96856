// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package canary finds out whether anything secret or personal gets out where
// things are printed. It plants values, lets a host link a patient while
// everything goes wrong, collects all that is logged, reported, returned and
// printed meanwhile, and searches it for what was planted, in every form in
// which printers write a text.
//
// Tests of other modules of this repository use it too: Flow.Configure is where
// they add what they observe with.
package canary

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Search is a set of planted values. Its methods may be called from any
// goroutine; the zero Search is empty.
type Search struct {
	mu sync.Mutex
	// forms are what to look for: what is written, and what it is.
	forms map[string]string
	// lengths are those of the forms, by how they begin, so that a text is read
	// once, however many of them begin alike.
	lengths map[[shortest]byte][]int
	// begins is a bit for each beginning, and for some others: most places in a
	// text are passed over by it.
	begins [1 << 16]uint64
}

// shortest is the length from which on a value can be told from chance.
const shortest = 6

// Plant adds a value that must not get out, under a name that may. A value that
// is too short to be told from chance is passed over, and reported as false.
func (s *Search) Plant(name, value string) bool {
	if len(value) < shortest {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forms == nil {
		s.forms, s.lengths = make(map[string]string), make(map[[shortest]byte][]int)
	}
	parts := map[string]string{"": value}
	if len(value) >= 24 { // half of a token is too much, too
		parts[", first half"], parts[", second half"] = value[:len(value)/2], value[len(value)/2:]
	}
	for part, text := range parts {
		written := forms(text)
		for _, form := range slices.Sorted(maps.Keys(written)) { // the plain one first
			written := written[form]
			if len(written) < shortest {
				continue
			}
			if s.forms[written] != "" {
				continue
			}
			s.forms[written] = name + part + form
			at := bit(written)
			s.begins[at/64] |= 1 << (at % 64)
			begin := [shortest]byte([]byte(written))
			if !slices.Contains(s.lengths[begin], len(written)) {
				s.lengths[begin] = append(s.lengths[begin], len(written))
			}
		}
	}
	return true
}

// Len returns how many forms of values are looked for.
func (s *Search) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.forms)
}

// Find names what of the planted values is in text, and in which form.
func (s *Search) Find(text string) []string { return slices.Sorted(maps.Keys(s.find(text))) }

// find tells besides what stands before each.
func (s *Search) find(text string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[string]string)
	for i := 0; i+shortest <= len(text); i++ {
		if at := bit(text[i:]); s.begins[at/64]&(1<<(at%64)) == 0 {
			continue
		}
		for _, n := range s.lengths[[shortest]byte([]byte(text[i:i+shortest]))] {
			if i+n > len(text) {
				continue
			}
			written := text[i : i+n]
			name, planted := s.forms[written]
			if _, known := found[name]; planted && !known && !inNumber(text, i, written) {
				found[name] = text[max(0, i-120):i]
			}
		}
	}
	return found
}

// bit is where a text's beginning stands in Search.begins.
func bit(text string) uint64 {
	begin := uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24 | uint64(text[4])<<32 | uint64(text[5])<<40
	return begin * 0x9e3779b97f4a7c15 >> (64 - 22)
}

// inNumber reports whether a number was found in a longer one, such as an
// address or a time: that is chance.
func inNumber(text string, at int, written string) bool {
	digit := func(i int) bool { return i >= 0 && i < len(text) && text[i] >= '0' && text[i] <= '9' }
	return strings.Trim(written, "0123456789") == "" && (digit(at-1) || digit(at+len(written)))
}

// forms are the ways in which printers and encoders write a text.
func forms(text string) map[string]string {
	all := map[string]string{
		"":                    text,
		" in hex":             hex.EncodeToString([]byte(text)),
		" in HEX":             strings.ToUpper(hex.EncodeToString([]byte(text))),
		" in hex with spaces": fmt.Sprintf("% x", text),
		" in HEX with spaces": fmt.Sprintf("% X", text),
		" in a query":         url.QueryEscape(text),
		" in a path":          url.PathEscape(text),
		" in HTML":            html.EscapeString(text),
		" quoted":             strings.Trim(fmt.Sprintf("%q", text), `"`),
		" as bytes":           strings.Trim(fmt.Sprintf("%d", []byte(text)), "[]"),
		" as a list of bytes": strings.Trim(strings.ReplaceAll(fmt.Sprintf("%d", []byte(text)), " ", ","), "[]"),
		" as bytes in Go":     strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(text)), "[]byte{"), "}"),
	}
	if quoted, err := json.Marshal(text); err == nil {
		all[" in JSON"] = strings.Trim(string(quoted), `"`)
	}
	// A text that begins anywhere in what was encoded looks in three ways, of
	// which the ends depend on the neighbours.
	for before := range 3 {
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			encoded := encoding.EncodeToString(append(make([]byte, before), text...))
			encoded = encoded[(before*8+5)/6:]
			if (before+len(text))%3 != 0 {
				encoded = encoded[:len(encoded)-1]
			}
			all[fmt.Sprintf(" in %s at %d", name, before)] = encoded
		}
	}
	// As people write an NHS number.
	if len(text) == 10 && strings.Trim(text, "0123456789") == "" {
		for _, between := range []string{" ", "-", "\u00a0"} {
			all[fmt.Sprintf(" with %q", between)] = text[:3] + between + text[3:6] + between + text[6:]
		}
	}
	return all
}
