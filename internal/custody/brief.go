// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"bytes"
	"encoding/json"
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
		if array == nil {
			return nil
		}
		return json.Unmarshal(array, &[...]any{&m.Session, &m.State, &m.By})
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
func readList[T any, P element[T]](data []byte, read func(P, []byte) error) ([]T, error) {
	var each []json.RawMessage
	if err := json.Unmarshal(data, &each); err != nil {
		return nil, err
	}
	list := make([]T, len(each))
	for i, one := range each {
		array, err := []byte(nil), error(nil)
		if one[0] == '[' {
			array = one
		} else {
			err = decode(one, P(&list[i]))
		}
		if err == nil {
			err = read(&list[i], array)
		}
		if err != nil {
			return nil, err
		}
	}
	return list, nil
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
