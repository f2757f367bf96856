// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"bytes"
	"encoding/json"
	"iter"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// A record is written twice with each refresh, and a database keeps each version of
// its row for a while. So what comes in numbers is written briefly: as arrays, whose
// elements need no names. What another version has written more of stays an object.

// mark is an authorization whose callback was received.
type mark struct {
	Session string         `json:"s"`
	By      string         `json:"by,omitempty"`
	State   core.MarkState `json:"is"`

	rest *unknown
}

// marks are arrays: the session, the state, and the visit, if there is one.
type marks []mark

// MarshalJSON implements json.Marshaler.
func (all marks) MarshalJSON() ([]byte, error) {
	return writeList(all, func(b []byte, m *mark) []byte {
		b = appendNumber(appendText(b, m.Session), int64(m.State))
		if m.By != "" {
			b = appendText(append(b, ','), m.By)
		}
		return b
	})
}

// UnmarshalJSON implements json.Unmarshaler.
func (all *marks) UnmarshalJSON(data []byte) (err error) {
	*all, err = readList(data, func(m *mark, array []byte) error {
		for i, each := range elements(array) {
			var err error
			switch i {
			case 0:
				err = readText(each, &m.Session)
			case 1:
				err = readNumber(each, &m.State)
			case 2:
				err = readText(each, &m.By)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// element is what a list has that is written briefly.
type element[T any] interface {
	*T
	object
}

// writeList writes a list. brief appends the elements of an array that has all of an
// element, or returns nil.
func writeList[T any, P element[T]](list []T, brief func([]byte, P) []byte) ([]byte, error) {
	b := append(make([]byte, 0, 2+48*len(list)), '[')
	for i := range list {
		of := P(&list[i])
		if i > 0 {
			b = append(b, ',')
		}
		array := brief(append(b, '['), of)
		if array != nil && *of.lacks() == nil {
			b = append(array, ']')
			continue
		}
		whole, err := encode(of)
		if err != nil {
			return nil, err
		}
		b = append(b, whole...)
	}
	return append(b, ']'), nil
}

// appendText appends a text, as JSON.
func appendText(b []byte, text string) []byte {
	escaped := func(r rune) bool { return r < ' ' || r >= utf8.RuneSelf || r == '"' || r == '\\' }
	if !strings.ContainsFunc(text, escaped) {
		return append(append(append(b, '"'), text...), '"')
	}
	quoted, _ := json.Marshal(text) // a text always can
	return append(b, quoted...)
}

// appendNumber appends a number that is not the first element.
func appendNumber(b []byte, n int64) []byte { return strconv.AppendInt(append(b, ','), n, 10) }

// readList reads a list. read is called for each element, in order, with its array, or
// with nil for an object, which has been read.
func readList[T any, P element[T]](data []byte, read func(P, []byte) error) (list []T, err error) {
	if data[0] != '[' {
		return nil, json.Unmarshal(data, &list) // null, or of another kind
	}
	list = []T{}
	for _, one := range elements(data) {
		list = append(list, *new(T))
		of := P(&list[len(list)-1])
		array := one
		if one[0] != '[' {
			array, err = nil, decode(one, of)
		}
		if err == nil {
			err = read(of, array)
		}
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// elements yields the elements of an array, of which encoding/json has found that it is
// one; none of nil.
func elements(array []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		n := 0
		for from := 1; from < len(array); n++ {
			to := elementEnd(array, from)
			if one := bytes.TrimSpace(array[from:to]); len(one) == 0 || !yield(n, one) {
				return
			}
			from = to + 1
		}
	}
}

// elementEnd returns where an element of an array ends: at the comma or the bracket
// after it.
func elementEnd(array []byte, from int) int {
	depth, quoted := 0, false
	for i := from; i < len(array); i++ {
		switch c := array[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
		case depth == 0 && (c == ',' || c == ']'):
			return i
		case c == ']' || c == '}':
			depth--
		}
	}
	return len(array)
}

// readText reads a text, most of which have nothing to unescape.
func readText[T ~string](raw []byte, into *T) error {
	if n := len(raw) - 1; raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		*into = T(raw[1:n])
		return nil
	}
	return json.Unmarshal(raw, into)
}

// readNumber reads a number.
func readNumber[T ~int | ~int64 | ~uint8](raw []byte, into *T) error {
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil && int64(T(n)) == n {
		*into = T(n)
		return nil
	}
	return json.Unmarshal(raw, into)
}

// response is a response of the token endpoint, byte for byte. As almost all of them
// are, it is kept as the JSON object that it is, and otherwise in base64, which takes a
// third more.
type response []byte

// MarshalJSON implements json.Marshaler.
func (r response) MarshalJSON() ([]byte, error) {
	if r.isPlain() {
		return r, nil
	}
	return json.Marshal([]byte(r))
}

// isPlain reports whether r is an object that stays as it is within another.
func (r response) isPlain() bool {
	if len(r) == 0 || r[0] != '{' || bytes.ContainsAny(r, "<>&\u2028\u2029") { // which encoding/json escapes
		return false
	}
	var b bytes.Buffer
	return json.Compact(&b, r) == nil && bytes.Equal(b.Bytes(), r)
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *response) UnmarshalJSON(data []byte) error {
	if data[0] == '{' {
		*r = bytes.Clone(data)
		return nil
	}
	return json.Unmarshal(data, (*[]byte)(r))
}
