// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package jsonwalk_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/internal/jsonwalk"
)

// seeds are JSON, and near misses.
var seeds = []string{
	`{}`, ` { "a" : [ 1 , { } , [ ] , "" , null , true , false ] } `, "\xef\xbb\xbf{}", `{"a":1}`, `{"a":[0,-0,1.5e+3,-1E-2]}`, `{"a":01}`, `{"a":1.}`, `{"a":.5}`,
	`{"a":+1}`, `{"a":1e}`, `{"a":-}`, `{"\u00e9\/\"":"\ud800"}`, `{"a":"\x"}`, "{\"a\":\"\x01\"}", "{\"a\":\"\n\"}", "{\"a\":\"\xff\"}", `{"a":"\u12g4"}`, `{"a":tru}`, `{"a":nul}`, "{\"\xc4a\":1}",
	`{"a":truefalse}`, `{"a":{}{}}`, `{"a":"b}`, `{"a":"\`, `{"a":[1,]}`, `{"a":[1 2]}`, `{"a" "b"}`, `{,}`, `{"a":1,}`, `{"a":1}}`, `{"a":[}`, `{"a":"\u12"}`, `{"a":}`, `{`, `{"a`, `{} {}`,
	`[]`, `[{}]`, `null`, `"x"`, `7`, ``, `<html>`, `{"a":1,"A":2,"b":{"a":1}}`,
	`{"a":` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999) + `}`, `{"a":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`,
}

// Whole accepts exactly what encoding/json accepts as an object.
func FuzzWhole(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		plain := bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
		var object map[string]json.RawMessage
		isObject := json.Valid(plain) && json.Unmarshal(plain, &object) == nil && object != nil
		members := map[string]json.RawMessage{}
		whole, err := jsonwalk.Whole(data, func(w *jsonwalk.Walk, name []byte) { members[string(name)] = w.Value() })
		if (err == nil) != isObject || err != nil && !errors.Is(err, jsonwalk.Err) {
			t.Fatalf("error %v, and an object: %t", err, isObject)
		}
		if err != nil {
			return
		}
		if !json.Valid(whole) || !bytes.Contains(data, whole) {
			t.Errorf("%q is not the object", whole)
		}
		if diff := cmp.Diff(object, members); diff != "" {
			t.Errorf("members (-encoding/json +ours):\n%s", diff)
		}
		// Walking through the values or leaving them makes no difference.
		for _, through := range []func(*jsonwalk.Walk){
			func(*jsonwalk.Walk) {}, (*jsonwalk.Walk).Skip, func(w *jsonwalk.Walk) { w.Text() }, func(w *jsonwalk.Walk) { w.Scalar() },
			func(w *jsonwalk.Walk) { w.Each(func() { w.Scalar() }) }, func(w *jsonwalk.Walk) { w.Object(func([]byte) {}) },
		} {
			if again, err := jsonwalk.Whole(data, func(w *jsonwalk.Walk, _ []byte) { through(w) }); err != nil || !bytes.Equal(again, whole) {
				t.Errorf("%q, %v", again, err)
			}
		}
	})
}

func TestScalars(t *testing.T) {
	for value, want := range map[string][2]string{
		`"a\"b"`: {`a"b`, `a"b`}, `1.50`: {"", "1.50"}, `true`: {"", "true"}, `false`: {"", "false"}, `null`: {}, `{"a":"b"}`: {}, `["a"]`: {}, `""`: {},
		"\"\xff\xfea\"": {"\ufffd\ufffda", "\ufffd\ufffda"},
	} {
		var got [2]string
		if _, err := jsonwalk.Whole([]byte(`{"x":`+value+`}`), func(w *jsonwalk.Walk, _ []byte) { got[0] = w.Text() }); err != nil {
			t.Errorf("%s: %v", value, err)
		}
		if _, err := jsonwalk.Whole([]byte(`{"x":`+value+`}`), func(w *jsonwalk.Walk, _ []byte) { got[1] = w.Scalar() }); err != nil {
			t.Errorf("%s: %v", value, err)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
}

func TestEach(t *testing.T) {
	for value, want := range map[string]string{`["a","b"]`: "a,b", `"a"`: "a", `null`: "", `[]`: "", `[["a"],"b",null]`: ",b,", `{"x":1}`: ""} {
		var got []string
		if _, err := jsonwalk.Whole([]byte(`{"x":`+value+`,"y":1}`), func(w *jsonwalk.Walk, name []byte) {
			if string(name) == "x" {
				w.Each(func() { got = append(got, w.Text()) })
			}
		}); err != nil || strings.Join(got, ",") != want {
			t.Errorf("%s: %q, %v", value, got, err)
		}
	}
}

// Names that encoding/json confuses are counted.
func TestOdd(t *testing.T) {
	many := strings.Repeat(`,"b":1`, 1)
	for i := range 70 {
		many += `,"m` + strings.Repeat("x", i) + `":1`
	}
	for data, want := range map[string]bool{
		`{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}],"_a":{}}`: false,
		`{"a":1,"a":2}`: true, `{"aB":1,"ab":2}`: true, `{"A":1}`: true, `{"_A":1}`: true, `{"":1}`: true, `{"a":[{"b":1,"b":2}]}`: true,
		`{"statu\u017f":1}`: true, "{\"\u212a\":1}": true, `{"a":1,"\u0061":2}`: true, `{"a":1` + many + `}`: true,
	} {
		_, odd, _, err := jsonwalk.WholeWatched([]byte(data), func(*jsonwalk.Walk, []byte) {})
		if odd != want || err != nil {
			t.Errorf("%.60s: %t, %v", data, odd, err)
		}
		inner := false
		if _, err := jsonwalk.Whole([]byte(`{"A":1,"A":2,"a":`+data+`,"a":2}`), func(w *jsonwalk.Walk, name []byte) {
			if string(name) == "a" {
				inner = w.Watch(w.Skip) || inner
			}
		}); inner != want || err != nil {
			t.Errorf("%.60s in another: %t, %v", data, inner, err)
		}
	}
}

// Elements of arrays are counted at any depth, whether walked through or left.
func TestElements(t *testing.T) {
	for value, want := range map[string]int{`1`: 0, `[]`: 0, `[1,{},null]`: 3, `[[],[1,[2]]]`: 5, `{"a":[{"b":["c"]}],"d":[1]}`: 3} {
		_, _, got, err := jsonwalk.WholeWatched([]byte(`{"x":`+value+`}`), func(*jsonwalk.Walk, []byte) {})
		if got != want || err != nil {
			t.Errorf("%s: %d, want %d, %v", value, got, want, err)
		}
		if _, err := jsonwalk.Whole([]byte(`{"before":[1,2],"x":`+value+`}`), func(w *jsonwalk.Walk, name []byte) {
			if string(name) == "x" {
				before := w.Elements()
				w.Each(func() {})
				got = w.Elements() - before
			}
		}); got != want || err != nil {
			t.Errorf("%s by itself: %d, want %d, %v", value, got, want, err)
		}
	}
}
