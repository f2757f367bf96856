// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// What is here takes JSON apart that json.Valid has passed, once and without
// copies: users/self is read at every call. An odd value costs itself and
// nothing around it, which encoding/json offers at the price of reading
// everything twice.

// member is where the value of a member goes.
type member interface{ read(value string) }

// object knows where the values of its members go; nil is nowhere.
type object interface{ member(name string) member }

// readObject reads the members of an object; the last of a name counts.
func readObject(value string, o object) {
	for at := space(value, 1); at < len(value) && value[at] != '}'; {
		end := valueEnd(value, at)
		name := value[at:end]
		at = space(value, space(value, end)+1) // behind the colon
		end = valueEnd(value, at)
		if m := o.member(textOf(name)); m != nil {
			m.read(value[at:end])
		}
		at = next(value, end)
	}
}

// eachElement calls f with every element of an array that is not null, or with
// the one value that is in its place.
func eachElement(value string, f func(element string)) {
	if value[0] != '[' {
		if value[0] != 'n' {
			f(value)
		}
		return
	}
	for at := space(value, 1); at < len(value) && value[at] != ']'; {
		end := valueEnd(value, at)
		if value[at] != 'n' {
			f(value[at:end])
		}
		at = next(value, end)
	}
}

// textOf returns what a string says, a number or boolean as it is written, and
// "" for all else.
func textOf(value string) string {
	switch value[0] {
	case '"':
		// Most texts are what they look like, and need no second reader.
		if text := value[1 : len(value)-1]; strings.IndexByte(text, '\\') < 0 && utf8.ValidString(text) {
			return text
		}
		var text string
		_ = json.Unmarshal([]byte(value), &text) // it is a string
		return text
	case '{', '[', 'n':
		return ""
	}
	return value
}

// space returns where something other than white space is.
func space(s string, at int) int {
	for at < len(s) && (s[at] == ' ' || s[at] == '\n' || s[at] == '\t' || s[at] == '\r') {
		at++
	}
	return at
}

// next returns where the next element or the closing bracket is.
func next(s string, end int) int {
	if end = space(s, end); end < len(s) && s[end] == ',' {
		end = space(s, end+1)
	}
	return end
}

// valueEnd returns where the value ends that begins at at.
func valueEnd(s string, at int) int {
	switch s[at] {
	case '"':
		return stringEnd(s, at)
	case '{', '[':
		for depth := 0; at < len(s); at++ {
			switch s[at] {
			case '"':
				at = stringEnd(s, at) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return at + 1
				}
			}
		}
		return len(s)
	}
	if n := strings.IndexAny(s[at:], ",]} \n\t\r"); n >= 0 {
		return at + n
	}
	return len(s)
}

func stringEnd(s string, at int) int {
	for at++; at < len(s); at++ {
		switch s[at] {
		case '\\':
			at++
		case '"':
			return at + 1
		}
	}
	return len(s)
}
