// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package jsonwalk

import (
	"bytes"
	"io"
)

// Split reads an object from r to its end, passes each element of the array that is the
// member name to element, and returns the object without the elements. An object that
// is mostly such an array is never in memory as a whole. As with [Walk.Each], a value
// that is no array is an array of one. The data of an element is overwritten after
// element has returned.
//
// Split finds where values end, and checks no more: whoever walks through the elements
// and the rest finds out whether they are JSON. A member whose name has escapes stays
// in the rest, as does null. Split returns the errors of r and of element, and Err.
func Split(r io.Reader, name string, element func(data []byte) error) (rest []byte, err error) {
	s := splitter{name: `"` + name + `"`, element: element}
	if _, err := io.Copy(&s, r); err != nil {
		return nil, err
	}
	if s.taking || s.quoted || s.depth != 0 {
		return nil, Err
	}
	return s.rest, nil
}

// splitter takes an object apart that is written to it in pieces.
type splitter struct {
	name    string // in quotes
	element func(data []byte) error
	rest    []byte
	part    []byte // an element of which the end has not been written

	depth           int
	quoted, escaped bool // in a string; after a backslash in it
	place           place
	nameAt          int // where in rest the name begins

	taking bool // elements are passed on: of an array, whose depth is 2, or one value
	base   int  // the depth that the elements are at
	taken  int  // of this array
}

// place is where the splitter is in the members of the object.
type place int8

const (
	inValue place = iota
	beforeName
	inName
	afterOurs // after the name of the array
)

// marks are the bytes that mean something outside of strings.
var marks = [256]bool{'"': true, '{': true, '[': true, '}': true, ']': true, ',': true}

// Write implements io.Writer.
func (s *splitter) Write(p []byte) (int, error) {
	from := 0 // what of p has been neither kept nor passed on
	for i := 0; i < len(p); i++ {
		if s.quoted {
			if i = s.inString(p, i); !s.quoted && s.place == inName {
				s.keep(p[from : i+1])
				from = i + 1
				s.named()
			}
			continue
		}
		c := p[i]
		if s.place == afterOurs && c > ' ' && c != ':' {
			s.keep(p[from:i])
			if from = i; s.begin(c) {
				from++
				continue
			}
		}
		if !marks[c] {
			continue
		}
		switch c {
		case '"':
			if s.place == beforeName && s.depth == 1 {
				s.keep(p[from:i])
				from, s.nameAt, s.place = i, len(s.rest), inName
			}
			s.quoted = true
		case '{', '[':
			if s.depth++; s.depth == 1 && c == '{' {
				s.place = beforeName
			}
		case '}', ']', ',':
			if s.taking && s.depth == s.base {
				if err := s.end(p[from:i], c); err != nil {
					return 0, err
				}
				if from = i; s.taking { // the comma is in no element
					from++
					continue
				}
			}
			s.closed(c)
		}
	}
	s.keep(p[from:])
	return len(p), nil
}

func (s *splitter) keep(data []byte) {
	if s.taking {
		s.part = append(s.part, data...)
	} else {
		s.rest = append(s.rest, data...)
	}
}

// inString goes on in a string at i, and returns the position of its last byte in p.
func (s *splitter) inString(p []byte, i int) int {
	if s.escaped {
		s.escaped = false
		i++
	}
	for ; i < len(p); i++ {
		if c := p[i]; c == '"' {
			s.quoted = false
			return i
		} else if c == '\\' {
			if i++; i == len(p) {
				s.escaped = true
			}
		}
	}
	return len(p) - 1
}

// named is called after the name of a member of the object.
func (s *splitter) named() {
	if s.place = inValue; string(s.rest[s.nameAt:]) == s.name {
		s.place = afterOurs
	}
}

// begin is called at the first byte of the array, or of what is in its place. It
// reports whether the byte has been dealt with.
func (s *splitter) begin(c byte) (done bool) {
	s.place = inValue
	switch c {
	case '[':
		s.rest = append(s.rest, '[')
		s.depth++
		s.taking, s.base, s.taken = true, 2, 0
		return true
	case 'n': // null
	default:
		s.rest = append(s.rest, "[]"...)
		s.taking, s.base, s.taken = true, 1, 0
	}
	return false
}

// end passes on an element that ends with data, before c.
func (s *splitter) end(data []byte, c byte) error {
	closes := byte(']')
	if s.base == 1 {
		closes = '}'
	}
	if len(s.part) > 0 {
		data = append(s.part, data...)
		s.part = data[:0]
	}
	data = bytes.Trim(data, " \t\r\n")
	s.taking = s.base == 2 && c == ','
	switch {
	case c != closes && c != ',':
		return Err
	case len(data) == 0:
		if c == ']' && s.taken == 0 {
			return nil
		}
		return Err
	}
	s.taken++
	return s.element(data)
}

// closed is called after a value that is no element.
func (s *splitter) closed(c byte) {
	if c != ',' {
		s.depth--
	} else if s.depth == 1 {
		s.place = beforeName
	}
}
