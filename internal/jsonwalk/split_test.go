// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package jsonwalk

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// split returns the elements of "e" and the rest, read in pieces of every size.
func split(t *testing.T, text string) (elements []string, rest string, err error) {
	t.Helper()
	type outcome struct {
		Elements []string
		Rest     string
		Failed   bool
	}
	var first outcome
	for i, r := range []io.Reader{
		strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text)), iotest.HalfReader(strings.NewReader(text)), iotest.DataErrReader(strings.NewReader(text)),
	} {
		var o outcome
		rest, err := Split(r, "e", func(data []byte) error {
			o.Elements = append(o.Elements, string(data))
			return nil
		})
		if o.Rest, o.Failed = string(rest), err != nil; err != nil && !errors.Is(err, Err) {
			t.Errorf("%s: %v", text, err)
		}
		if i == 0 {
			first = o
		} else if diff := cmp.Diff(first, o); diff != "" {
			t.Errorf("%s: the result depends on how it is read:\n%s", text, diff)
		}
	}
	if first.Failed {
		err = Err
	}
	return first.Elements, first.Rest, err
}

func TestSplit(t *testing.T) {
	for _, tc := range []struct {
		text     string
		elements []string
		rest     string
	}{
		{`{}`, nil, `{}`},
		{`{"a":1,"e":[{"b":[1,{"e":[2]}]},"]",null, 3 ,[4]],"c":"}"}`, []string{`{"b":[1,{"e":[2]}]}`, `"]"`, `null`, `3`, `[4]`}, `{"a":1,"e":[],"c":"}"}`},
		{" {\"e\" :\n[ ] , \"d\":{\"e\":[1]}}\n", nil, " {\"e\" :\n[] , \"d\":{\"e\":[1]}}\n"},
		{`{"e":{"a":"\\","b":"\"},]"}}`, []string{`{"a":"\\","b":"\"},]"}`}, `{"e":[]}`},
		{`{"e":7,"a":2}`, []string{`7`}, `{"e":[],"a":2}`},
		{`{"e":"x"}`, []string{`"x"`}, `{"e":[]}`},
		{`{"e":null}`, nil, `{"e":null}`},
		{`{"e":[1],"e":[2,3]}`, []string{`1`, `2`, `3`}, `{"e":[],"e":[]}`},
		{`{"f":["e",{"e":1}],"x":"e","e":[1]}`, []string{`1`}, `{"f":["e",{"e":1}],"x":"e","e":[]}`},
		{`{"\u0065":[1]}`, nil, `{"\u0065":[1]}`},
		{"\ufeff{\"e\":[1]}", []string{`1`}, "\ufeff{\"e\":[]}"},
		{`<html>`, nil, `<html>`}, // whoever walks through it refuses it
		{`[{"e":[1]}]`, nil, `[{"e":[1]}]`},
	} {
		elements, rest, err := split(t, tc.text)
		if diff := cmp.Diff(tc.elements, elements); err != nil || diff != "" || rest != tc.rest {
			t.Errorf("%s: rest %s, %v, elements (-want +got):\n%s", tc.text, rest, err, diff)
		}
	}
	for _, text := range []string{`{`, `{"e":[`, `{"e":[1`, `{"e":[1]`, `{"e":{`, `{"e":"x`, `{"e":[1,]}`, `{"e":[,1]}`, `{"e":[,]}`, `{"e":}`, `{"e":,"a":1}`, `{"e":[1}`, `{"e":1]`} {
		if elements, rest, err := split(t, text); err == nil {
			t.Errorf("%s: elements %q, rest %s", text, elements, rest)
		}
	}
}

// What goes wrong on either side is what Split returns.
func TestSplitFails(t *testing.T) {
	wrong := errors.New("of a test")
	if _, err := Split(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(`{"e":[1]}`))), "e", func([]byte) error { return nil }); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("a reader that fails: %v", err)
	}
	n := 0
	if _, err := Split(strings.NewReader(`{"e":[1,2]}`), "e", func([]byte) error { n++; return wrong }); !errors.Is(err, wrong) || n != 1 {
		t.Errorf("after %d elements: %v", n, err)
	}
}

// What Split takes apart means, put together again, what it meant before; and it makes
// no JSON of what is none.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{`{"e":[1,"2",{"e":3}],"a":"\"e\":["}`, `{"e":{}}`, `{"e":[}`, `[{"e":[1]}]`, `{"e":[1]}{"e":[2]}`, `{"e":[{]}]}`, `{"e"x:[1]}`} {
		f.Add(seed, uint8(1))
	}
	f.Fuzz(func(t *testing.T, text string, piece uint8) {
		var elements [][]byte
		r := io.Reader(strings.NewReader(text))
		if piece > 0 {
			r = &pieces{r, int(piece)}
		}
		rest, err := Split(r, "e", func(data []byte) error {
			elements = append(elements, bytes.Clone(data))
			return nil
		})
		whole := err == nil && isObject(rest)
		for _, e := range elements {
			whole = whole && json.Valid(e)
		}
		if valid := isObject([]byte(text)); whole != valid {
			t.Fatalf("%q: valid %t; taken apart into %q and %q, which is valid: %t, %v", text, valid, elements, rest, whole, err)
		}
		if !whole {
			return
		}
		var want [][]byte
		count := func(data []byte) {
			if _, err := Whole(data, func(w *Walk, name []byte) {
				if string(name) == "e" {
					w.Each(func() { want = append(want, w.Value()) })
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		count(rest) // names with escapes
		left := len(want)
		want = nil
		if count([]byte(text)); len(want) != left+len(elements) {
			t.Errorf("%q: %d elements, of which %d were left and %d found", text, len(want), left, len(elements))
		}
		if left == 0 {
			if diff := cmp.Diff(want, elements); diff != "" {
				t.Errorf("%q: elements (-want +got):\n%s", text, diff)
			}
		}
	})
}

func isObject(data []byte) bool {
	_, err := Whole(data, func(*Walk, []byte) {})
	return err == nil
}

// pieces reads so much at a time.
type pieces struct {
	r io.Reader
	n int
}

func (p *pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.n)]) }
