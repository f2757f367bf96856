// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// A timeline is read as it was written, whatever is in it.
func TestTimelineIsReadAsWritten(t *testing.T) {
	at := func(ms int64) time.Time { return time.UnixMilli(1764415725123 + ms).UTC() }
	for text, want := range map[string]timeline{
		`[]`: {},
		`[["approved",1764415725123],["linked",312],["refreshed",600000,86400000,144]]`: {
			{Kind: Approved, At: at(0)}, {Kind: Linked, At: at(312)}, {Kind: Refreshed, At: at(600312), Until: at(87000312), Count: 144},
		},
		`[["relink_required",1764415725123,0,0,"session_expired"],["relink_required",-5,7,2,"frozen"]]`: {
			{Kind: RelinkRequired, At: at(0), Cause: "session_expired"}, {Kind: RelinkRequired, At: at(-5), Until: at(2), Count: 2, Cause: "frozen"},
		},
		`[["refreshed",1764415725123,0,2]]`:          {{Kind: Refreshed, At: at(0), Until: at(0), Count: 2}},
		`[["a kind \"of\" tomorrow",1764415725123]]`: {{Kind: `a kind "of" tomorrow`, At: at(0)}},
		`[{"kind":"linked","at":"2025-11-29T11:28:45.123Z","more":[1]},["refreshed",312]]`: {
			{Kind: Linked, At: at(0), rest: &unknown{members: map[string]json.RawMessage{"more": json.RawMessage("[1]")}}}, {Kind: Refreshed, At: at(312)},
		},
		`[{"kind":"linked","at":"2025-11-29T11:28:45.123Z","until":"2025-11-29T11:28:46.123Z"},["refreshed",312]]`: {
			{Kind: Linked, At: at(0), Until: at(1000)}, {Kind: Refreshed, At: at(312)},
		},
	} {
		var got timeline
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(Happened{}, unknown{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
		var again timeline
		if b, err := json.Marshal(got); err != nil || json.Unmarshal(b, &again) != nil || !cmp.Equal(got, again, cmp.AllowUnexported(Happened{}, unknown{})) {
			t.Errorf("%s is written as %s, %v", text, b, err)
		}
		if b, _ := json.Marshal(want); len(b) > len(text) {
			t.Errorf("%s is written as %s", text, b)
		}
	}
	for _, text := range []string{`{}`, `[1]`, `[[1,2]]`, `[["linked","2025"]]`} {
		if err := json.Unmarshal([]byte(text), &timeline{}); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}

// So are marks.
func TestMarksAreReadAsWritten(t *testing.T) {
	want := marks{{Session: "s1", By: "visit", State: core.Open}, {Session: "s2", State: core.Spent}, {Session: "s3", State: core.Void}}
	const text = `[["s1",1,"visit"],["s2",2],["s3",3]]`
	var got marks
	if err := json.Unmarshal([]byte(text), &got); err != nil || !cmp.Equal(want, got, cmp.AllowUnexported(mark{})) {
		t.Errorf("%v, %v", got, err)
	}
	if b, err := json.Marshal(want); err != nil || string(b) != text {
		t.Errorf("%s, %v", b, err)
	}
}

// The elements of an array are what encoding/json finds in it.
func FuzzElements(f *testing.F) {
	for _, array := range []string{
		`[]`, `[ ]`, `[1]`, `[ "a" , -2.5e1,null,true ]`, `[["a",1],{"b":[{}],"c":"]}"}]`, `["\\","\"",",[","\\\"]"]`, "[\"\xff\",\n[[],[[]]]\t]", `{}`, `[1,]`,
	} {
		f.Add([]byte(array))
	}
	f.Fuzz(func(t *testing.T, array []byte) {
		var want []json.RawMessage
		if json.Unmarshal(array, &want) != nil || want == nil {
			return // never read
		}
		got := make([]json.RawMessage, 0, len(want))
		for i, one := range elements(bytes.TrimSpace(array)) {
			if i != len(got) {
				t.Errorf("%q: element %d is called %d", array, len(got), i)
			}
			got = append(got, one)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", array, diff)
		}
	})
}

// A response is kept byte for byte, whatever it is.
func TestResponsesAreKeptAsTheyCame(t *testing.T) {
	for body, plain := range map[string]bool{
		`{"access_token":"a","expires_in":6.0E2,"x":[1,{}]}`: true,
		`{"access_token":"ü\u00fc"}`:                         true,
		`{"access_token": "a"}`:                              false,
		"{\"access_token\":\"a\"}\n":                         false,
		`{"access_token":"<&>"}`:                             false,
		"{\"access_token\":\"\u2028\"}":                      false,
		"{\"access_token\":\"\xff\"}":                        true,
		`{"access_token":`:                                   false,
		`"text"`:                                             false,
		"":                                                   false,
	} {
		kept, err := encode(&secrets{Active: &answer{Body: response(body)}})
		if err != nil {
			t.Fatal(err)
		}
		var got secrets
		if err := decode(kept, &got); err != nil || string(got.Active.Body) != body {
			t.Errorf("%q is kept as %s, and read as %q, %v", body, kept, got.Active.Body, err)
		}
		if is := len(body) > 0 && len(kept) < len(body)+100 && string(kept[len(`{"active":{"body":`)]) == "{"; is != plain {
			t.Errorf("%q is kept as %s", body, kept)
		}
	}
}
