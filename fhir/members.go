// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"bytes"
	"encoding/json"
)

// This file reads JSON that json.Valid has accepted, without the price of
// asking a state machine about each byte again.

// eachMember calls found for each member of an object, in order; value is part
// of data. It does nothing for anything but an object.
func eachMember(data []byte, found func(name, value []byte)) {
	i := skipSpace(data, 0)
	if i == len(data) || data[i] != '{' {
		return
	}
	for i = skipSpace(data, i+1); i < len(data) && data[i] == '"'; {
		end := skipValue(data, i)
		name := unquoted(data[i:end])
		i = skipSpace(data, end) + 1 // the colon
		i = skipSpace(data, i)
		end = skipValue(data, i)
		found(name, data[i:end])
		i = skipSpace(data, end)
		if i < len(data) && data[i] == ',' {
			i = skipSpace(data, i+1)
		}
	}
}

// eachElement calls found for each element of an array. One value in the place
// of an array is its only element, but null is none.
func eachElement(data []byte, found func(value []byte)) {
	i := skipSpace(data, 0)
	if i == len(data) || data[i] == 'n' {
		return
	}
	if data[i] != '[' {
		found(data[i:])
		return
	}
	for i = skipSpace(data, i+1); i < len(data) && data[i] != ']'; {
		end := skipValue(data, i)
		found(data[i:end])
		i = skipSpace(data, end)
		if i < len(data) && data[i] == ',' {
			i = skipSpace(data, i+1)
		}
	}
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\r' || data[i] == '\t') {
		i++
	}
	return min(i, len(data))
}

// skipValue returns where the value ends that begins at i.
func skipValue(data []byte, i int) int {
	depth := 0
	for i < len(data) {
		switch data[i] {
		case '"':
			i = skipString(data, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ' ', '\n', '\r', '\t', ',', ':':
			i++
			continue
		default: // a number, true, false, null
			for i < len(data) && !endsWord(data[i]) {
				i++
			}
		}
		if depth <= 0 {
			return i
		}
	}
	return len(data)
}

func endsWord(c byte) bool {
	switch c {
	case ' ', '\n', '\r', '\t', ',', ':', ']', '}':
		return true
	}
	return false
}

func skipString(data []byte, i int) int {
	for i++; i < len(data); {
		n := bytes.IndexByte(data[i:], '"')
		if n < 0 {
			break
		}
		i += n
		escapes := 0
		for data[i-1-escapes] == '\\' { // ends at the opening quote at the latest
			escapes++
		}
		i++
		if escapes%2 == 0 {
			return i
		}
	}
	return len(data)
}

// unquoted returns the text of a JSON string, as part of data if it can, and
// nothing for anything else.
func unquoted(data []byte) []byte {
	if len(data) < 2 || data[0] != '"' {
		return nil
	}
	if bytes.IndexByte(data, '\\') < 0 {
		return data[1 : len(data)-1]
	}
	var s string
	_ = json.Unmarshal(data, &s) // valid, so it is a string
	return []byte(s)
}

// unquote returns the text of a JSON string, and "" for anything else.
func unquote(data []byte) string { return string(unquoted(data)) }
