// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"bytes"
	"encoding/json"
)

// walk goes through JSON once: it checks the grammar, exactly as json.Valid
// does, and shows members and elements on the way. encoding/json would go
// through a page several times for that, and copy the resources.
type walk struct {
	data  []byte
	at    int
	depth int
	bad   bool
}

// maxDepth is where encoding/json gives up, too.
const maxDepth = 10000

// object calls member for each member, with its name, which is part of data if
// it can be. member may walk through the value or leave it. It reports whether
// there was an object; if not, it stays where it is.
func (w *walk) object(member func(name []byte)) bool {
	if !w.open('{') {
		return false
	}
	for first := true; !w.closed('}', first); first = false {
		w.space()
		name := w.quoted()
		w.space()
		w.expect(':')
		w.space()
		if begin := w.at; !w.bad {
			if member(name); w.at == begin {
				w.skip()
			}
		}
	}
	return true
}

// array calls element before each element, which may walk through it or leave
// it. It reports whether there was an array; if not, it stays where it is.
func (w *walk) array(element func()) bool {
	if !w.open('[') {
		return false
	}
	for first := true; !w.closed(']', first); first = false {
		w.space()
		if begin := w.at; !w.bad {
			if element(); w.at == begin {
				w.skip()
			}
		}
	}
	return true
}

// each is array, with one value in the place of an array as its only element;
// null is none.
func (w *walk) each(element func()) {
	if w.array(element) || w.next() == 'n' {
		return
	}
	if begin := w.at; !w.bad {
		if element(); w.at == begin {
			w.skip()
		}
	}
}

// text walks through a value and returns its text, or "" for anything but a
// string.
func (w *walk) text() string {
	if w.next() != '"' {
		w.skip()
		return ""
	}
	return string(w.quoted())
}

// value walks through a value and returns it.
func (w *walk) value() []byte {
	begin := w.at
	w.skip()
	return w.data[begin:w.at]
}

func (w *walk) skip() {
	switch w.next() {
	case '{':
		w.object(func([]byte) {})
	case '[':
		w.array(func() {})
	case '"':
		w.stringEnd()
	case 't':
		w.word("true")
	case 'f':
		w.word("false")
	case 'n':
		w.word("null")
	default:
		w.number()
	}
}

// next returns the byte that is next, or 0 at the end and where the JSON has
// turned out to be none.
func (w *walk) next() byte {
	if w.bad || w.at >= len(w.data) {
		return 0
	}
	return w.data[w.at]
}

func (w *walk) space() {
	for w.at < len(w.data) {
		switch w.data[w.at] {
		case ' ', '\n', '\r', '\t':
			w.at++
		default:
			return
		}
	}
}

func (w *walk) expect(c byte) {
	if w.next() != c {
		w.bad = true
		return
	}
	w.at++
}

func (w *walk) open(c byte) bool {
	if w.next() != c {
		return false
	}
	w.at++
	if w.depth++; w.depth > maxDepth {
		w.bad = true
	}
	return true
}

// closed walks over a comma, or over the end of an object or array.
func (w *walk) closed(c byte, first bool) bool {
	w.space()
	switch {
	case w.next() == c:
		w.at++
		w.depth--
		return true
	case !first:
		w.expect(',')
	}
	return w.bad || w.at >= len(w.data) && w.cut()
}

// cut notes that the JSON breaks off.
func (w *walk) cut() bool {
	w.bad = true
	return true
}

func (w *walk) word(s string) {
	if !bytes.HasPrefix(w.data[w.at:], []byte(s)) {
		w.bad = true
		return
	}
	w.at += len(s)
}

func (w *walk) number() {
	if w.next() == '-' {
		w.at++
	}
	if w.next() == '0' {
		w.at++
	} else {
		w.digits()
	}
	if w.next() == '.' {
		w.at++
		w.digits()
	}
	if c := w.next(); c == 'e' || c == 'E' {
		w.at++
		if c := w.next(); c == '+' || c == '-' {
			w.at++
		}
		w.digits()
	}
}

// digits walks over one digit or more.
func (w *walk) digits() {
	begin := w.at
	for w.at < len(w.data) && w.data[w.at] >= '0' && w.data[w.at] <= '9' {
		w.at++
	}
	if w.at == begin {
		w.bad = true
	}
}

// stringEnd walks over a string, and reports whether it is what it looks like:
// without escapes.
func (w *walk) stringEnd() (plain bool) {
	w.expect('"')
	plain = true
	for !w.bad && w.at < len(w.data) {
		c := w.data[w.at]
		w.at++
		switch {
		case c == '"':
			return plain
		case c == '\\':
			plain = false
			w.escape()
		case c < ' ':
			w.bad = true
		}
	}
	w.bad = true
	return false
}

func (w *walk) escape() {
	switch w.next() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		w.at++
	case 'u':
		for range 4 {
			w.at++
			if !isHex(w.next()) {
				w.bad = true
			}
		}
		w.at++
	default:
		w.bad = true
	}
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// quoted walks over a string and returns its text.
func (w *walk) quoted() []byte {
	begin := w.at
	if plain := w.stringEnd(); w.bad {
		return nil
	} else if plain {
		return w.data[begin+1 : w.at-1]
	}
	var s string
	_ = json.Unmarshal(w.data[begin:w.at], &s) // it is a string
	return []byte(s)
}

// whole walks through data, which has to be one object, and returns it without
// what some servers put in front of JSON and without white space around it.
func whole(data []byte, member func(w *walk, name []byte)) ([]byte, error) {
	data = bytes.Trim(trim(data), " \t\r\n")
	w := walk{data: data}
	if !w.object(func(name []byte) { member(&w, name) }) || w.bad || w.at != len(data) {
		return nil, ErrMalformed
	}
	return data, nil
}
