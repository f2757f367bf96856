// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package jsonwalk reads JSON from a server that is not trusted to keep to a shape:
// in one pass, without copies, and so that an unexpected value spoils nothing but
// itself.
package jsonwalk

import (
	"bytes"
	"encoding/json"
	"errors"
	"sync"
	"unicode/utf8"
)

// Err is the error for data that is not one JSON object.
var Err = errors.New("not a JSON object")

// Walk goes through JSON once. It checks the grammar exactly as json.Valid does, and
// shows members and elements on the way. encoding/json would need several passes
// over a page, and copy the resources.
type Walk struct {
	data  []byte
	at    int
	depth int
	bad   bool
	watch bool
	names [][]byte // of the objects that the walk is in, while it watches
	lent  *[maxNames][]byte
	odd   int

	elements int
}

// maxDepth is the depth at which encoding/json gives up, too.
const maxDepth = 10000

// Object calls member for each member with its name, which is a part of data where
// possible. member may walk through the value or leave it. Object reports whether
// there was an object; if not, it does not move.
func (w *Walk) Object(member func(name []byte)) bool {
	if !w.open('{') {
		return false
	}
	others := len(w.names)
	for first := true; !w.closed('}', first); first = false {
		w.space()
		name := w.Quoted()
		if w.watch {
			w.note(name, others)
		}
		w.space()
		w.expect(':')
		w.space()
		if begin := w.at; !w.bad {
			if member(name); w.at == begin {
				w.Skip()
			}
		}
	}
	w.names = w.names[:others]
	return true
}

// Watch calls walk, and reports whether it walked through a name that encoding/json
// may confuse with another, because it ignores case, or with the same name in the
// same object. It also reports objects of very many members.
func (w *Walk) Watch(walk func()) (odd bool) {
	before, watched := w.odd, w.watch
	w.watch = true
	walk()
	w.watch = watched
	return w.odd > before
}

// maxNames is how many names of an object are compared with each other.
const maxNames = 64

// note counts name if it is odd among those of its object.
func (w *Walk) note(name []byte, others int) {
	if !isLower(name) || len(w.names)-others >= maxNames {
		w.odd++
		return
	}
	for _, other := range w.names[others:] {
		if len(other) == len(name) && bytes.EqualFold(other, name) {
			w.odd++
			return
		}
	}
	if w.lent == nil {
		w.lent = namesPool.Get().(*[maxNames][]byte)
		w.names = w.lent[:0]
	}
	w.names = append(w.names, name)
}

// namesPool lends the room for names, which is larger than most objects.
var namesPool = sync.Pool{New: func() any { return new([maxNames][]byte) }}

// isLower reports whether name is ASCII and begins with a lower-case letter, after
// an underscore or not, as all names of FHIR do.
func isLower(name []byte) bool {
	for _, c := range name {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	name = bytes.TrimPrefix(name, []byte("_"))
	return len(name) > 0 && name[0] >= 'a' && name[0] <= 'z'
}

// Array calls element at each element, which may walk through it or leave it. Array
// reports whether there was an array; if not, it does not move.
func (w *Walk) Array(element func()) bool {
	if !w.open('[') {
		return false
	}
	for first := true; !w.closed(']', first); first = false {
		w.space()
		w.elements++
		if begin := w.at; !w.bad {
			if element(); w.at == begin {
				w.Skip()
			}
		}
	}
	return true
}

// Elements returns the number of elements of arrays that the walk went through, at any
// depth. Decoding each can take a struct, however short it is written.
func (w *Walk) Elements() int { return w.elements }

// Each is Array, but takes one value for an array of one, and null for an empty
// array.
func (w *Walk) Each(element func()) {
	if w.Array(element) || w.Next() == 'n' {
		return
	}
	if begin := w.at; !w.bad {
		if element(); w.at == begin {
			w.Skip()
		}
	}
}

// Text walks through a value and returns the text of a string, or "".
func (w *Walk) Text() string {
	if w.Next() != '"' {
		w.Skip()
		return ""
	}
	return string(w.Quoted())
}

// Scalar walks through a value and returns the text of a string, a number or boolean
// as it is written, and "" for anything else.
func (w *Walk) Scalar() string {
	switch w.Next() {
	case '"':
		return string(w.Quoted())
	case '{', '[', 'n':
		w.Skip()
		return ""
	}
	return string(w.Value())
}

// At returns the position of the walk, for Since.
func (w *Walk) At() int { return w.at }

// Since returns the data between begin, from At, and the position of the walk.
func (w *Walk) Since(begin int) []byte { return w.data[begin:w.at] }

// Bad reports whether the data has turned out not to be JSON.
func (w *Walk) Bad() bool { return w.bad }

// Value walks through a value and returns it.
func (w *Walk) Value() []byte {
	begin := w.at
	w.Skip()
	return w.data[begin:w.at]
}

// Skip walks through a value.
func (w *Walk) Skip() {
	switch w.Next() {
	case '{':
		w.Object(func([]byte) {})
	case '[':
		w.Array(func() {})
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

// Next returns the next byte, or 0 at the end and after Bad.
func (w *Walk) Next() byte {
	if w.bad || w.at >= len(w.data) {
		return 0
	}
	return w.data[w.at]
}

func (w *Walk) space() {
	for w.at < len(w.data) {
		switch w.data[w.at] {
		case ' ', '\n', '\r', '\t':
			w.at++
		default:
			return
		}
	}
}

func (w *Walk) expect(c byte) {
	if w.Next() != c {
		w.bad = true
		return
	}
	w.at++
}

func (w *Walk) open(c byte) bool {
	if w.Next() != c {
		return false
	}
	w.at++
	if w.depth++; w.depth > maxDepth {
		w.bad = true
	}
	return true
}

// closed walks over a comma, or over the end of an object or array.
func (w *Walk) closed(c byte, first bool) bool {
	w.space()
	switch {
	case w.Next() == c:
		w.at++
		w.depth--
		return true
	case !first:
		w.expect(',')
	}
	return w.bad || w.at >= len(w.data) && w.cut()
}

func (w *Walk) cut() bool {
	w.bad = true
	return true
}

func (w *Walk) word(s string) {
	if !bytes.HasPrefix(w.data[w.at:], []byte(s)) {
		w.bad = true
		return
	}
	w.at += len(s)
}

func (w *Walk) number() {
	if w.Next() == '-' {
		w.at++
	}
	if w.Next() == '0' {
		w.at++
	} else {
		w.digits()
	}
	if w.Next() == '.' {
		w.at++
		w.digits()
	}
	if c := w.Next(); c == 'e' || c == 'E' {
		w.at++
		if c := w.Next(); c == '+' || c == '-' {
			w.at++
		}
		w.digits()
	}
}

func (w *Walk) digits() {
	begin := w.at
	for w.at < len(w.data) && w.data[w.at] >= '0' && w.data[w.at] <= '9' {
		w.at++
	}
	if w.at == begin {
		w.bad = true
	}
}

// stringEnd walks over a string, and reports whether it has no escapes.
func (w *Walk) stringEnd() (plain bool) {
	w.expect('"')
	plain = true
	for !w.bad {
		rest := w.data[w.at:]
		i := 0
		for i < len(rest) && ordinary[rest[i]] {
			i++
		}
		if w.at += i; i == len(rest) {
			break
		}
		w.at++
		switch rest[i] {
		case '"':
			return plain
		case '\\':
			plain = false
			w.escape()
		default:
			w.bad = true
		}
	}
	w.bad = true
	return false
}

// ordinary are the bytes that stand for themselves in a string.
var ordinary = func() (is [256]bool) {
	for c := range is {
		is[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return is
}()

func (w *Walk) escape() {
	switch w.Next() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		w.at++
	case 'u':
		for range 4 {
			w.at++
			if !isHex(w.Next()) {
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

// Quoted walks over a string and returns its text.
func (w *Walk) Quoted() []byte {
	begin := w.at
	plain := w.stringEnd()
	if w.bad {
		return nil
	}
	if text := w.data[begin+1 : w.at-1]; plain && utf8.Valid(text) {
		return text
	}
	var s string
	_ = json.Unmarshal(w.data[begin:w.at], &s) // with escapes, or bytes of no letter
	return []byte(s)
}

// Whole walks through data, which must be one object, and returns it without a
// byte-order mark and without white space around it.
func Whole(data []byte, member func(w *Walk, name []byte)) ([]byte, error) {
	w := Walk{data: data}
	return w.whole(member)
}

// WholeWatched is Whole that watches, as [Walk.Watch] does, and counts, as
// [Walk.Elements] does.
func WholeWatched(data []byte, member func(w *Walk, name []byte)) (_ []byte, odd bool, elements int, err error) {
	w := Walk{data: data, watch: true}
	data, err = w.whole(member)
	return data, w.odd > 0, w.elements, err
}

func (w *Walk) whole(member func(w *Walk, name []byte)) ([]byte, error) {
	w.data = bytes.Trim(bytes.TrimPrefix(w.data, []byte("\xef\xbb\xbf")), " \t\r\n")
	defer func() {
		if w.lent != nil {
			clear(w.lent[:]) // they are parts of data
			namesPool.Put(w.lent)
		}
	}()
	if !w.Object(func(name []byte) { member(w, name) }) || w.bad || w.at != len(w.data) {
		return nil, Err
	}
	return w.data, nil
}
