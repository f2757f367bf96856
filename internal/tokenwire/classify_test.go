// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenwire_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/internal/tokenwire"
)

// pkb has the rules of a service whose session codes are known, and of one
// response that is known to the letter.
var pkb = []tokenwire.Rule{
	{Code: "API_SESSION_EXPIRED", Means: tokenwire.SessionOver, Cause: "session_expired"},
	{Code: "API_SESSION_INVALID", Means: tokenwire.SessionOver, Cause: "session_invalid"},
	{Code: "ACCESS_FROZEN_OUTWARD", Means: tokenwire.Frozen, Cause: "frozen"},
	{Status: 401, Body: "Bad refresh token", Means: tokenwire.SessionOver, Cause: "known_body"},
}

// everyReading yields all readings that a POST can have.
func everyReading(yield func(tokenwire.Reading) bool) {
	statuses := []int{0, 101, 200, 204, 299, 300, 302, 399, 400, 401, 403, 404, 407, 408, 421, 425, 429, 499, 500, 502, 503, 599, 600}
	codes := []string{
		"", "invalid_grant", "API_SESSION_EXPIRED", "API_SESSION_INVALID", "ACCESS_FROZEN_OUTWARD", "invalid_client", "unauthorized_client",
		"unsupported_grant_type", "invalid_scope", "slow_down", "temporarily_unavailable",
		"invalid_request", "invalid_token", "unauthorized", "access_denied", "their_word",
	}
	for _, status := range statuses {
		for _, code := range codes {
			for _, body := range []string{"", "Bad refresh token", "Bad refresh token!"} {
				for k := range 16 {
					r := tokenwire.Reading{
						Status: status, Code: code, Body: body,
						Sent: k&1 != 0, JSON: k&2 != 0, Tokens: k&4 != 0, Hides: k&8 != 0,
					}
					impossible := status != 0 && !r.Sent || r.Tokens && (!r.JSON || r.Hides)
					if !impossible && !yield(r) {
						return
					}
				}
			}
		}
	}
}

// refusal reports whether r is a response that refuses, and says so to us.
func refusal(r tokenwire.Reading) bool {
	return r.Sent && r.Status/100 == 4 && r.Status != 408 && r.Status != 425
}

// ends returns the cause with which r ends a link, "" if it does not.
func ends(r tokenwire.Reading) string {
	causes := map[string]string{"API_SESSION_EXPIRED": "session_expired", "API_SESSION_INVALID": "session_invalid", "ACCESS_FROZEN_OUTWARD": "frozen"}
	switch cause := causes[r.Code]; {
	case !refusal(r):
		return ""
	case r.JSON && cause != "":
		return cause
	case r.Status == 401 && r.Body == "Bad refresh token":
		return "known_body"
	case r.JSON && r.Code == "invalid_grant":
		return "grant_rejected"
	}
	return ""
}

// isAppWide reports whether r refuses whoever asks.
func isAppWide(r tokenwire.Reading) bool {
	codes := map[string]bool{
		"invalid_client": true, "unauthorized_client": true, "unsupported_grant_type": true, "invalid_scope": true,
		"slow_down": true, "temporarily_unavailable": true,
	}
	return ends(r) == "" && refusal(r) && (r.JSON && codes[r.Code] || r.Status == 429)
}

// proves says of each class whether r proves it.
func proves(r tokenwire.Reading) map[tokenwire.Class]bool {
	success, redirect := r.Status/100 == 2, r.Status/100 == 3
	return map[tokenwire.Class]bool{
		tokenwire.NotSent:   !r.Sent,
		tokenwire.OK:        success && r.Tokens,
		tokenwire.Unread:    success && r.Hides,
		tokenwire.Ambiguous: r.Sent && !refusal(r) && !redirect && (!success || !r.Tokens && !r.Hides),
		tokenwire.Rejected:  ends(r) != "",
		tokenwire.AppWide:   isAppWide(r),
		tokenwire.Unclear:   redirect || refusal(r) && ends(r) == "" && !isAppWide(r),
	}
}

// S21: whatever is read, a link ends only by a refusal that is understood, and
// a token counts as unspent only if it never left.
func TestEveryReading(t *testing.T) {
	met := make(map[tokenwire.Class]int)
	for r := range everyReading {
		class, cause := tokenwire.Classify(r, pkb)
		met[class]++
		for want, is := range proves(r) {
			if (class == want) != is {
				t.Errorf("%+v: %v; %v is %t", plain(r), class, want, is)
			}
		}
		if want := ends(r); cause != want {
			t.Errorf("%+v: cause %q, want %q", plain(r), cause, want)
		}
	}
	for class := tokenwire.OK; class <= tokenwire.Unread; class++ {
		if met[class] < 20 {
			t.Errorf("%v was met %d times: the readings are too few", class, met[class])
		}
	}
}

// plain is a reading that prints, for made-up ones.
func plain(r tokenwire.Reading) any {
	type reading tokenwire.Reading
	return reading(r)
}

// A host can say what its server's refusals mean, and nothing else.
func TestRules(t *testing.T) {
	type verdict struct {
		Class tokenwire.Class
		Cause string
	}
	inWords := func(status int, code string) tokenwire.Reading {
		return tokenwire.Reading{Sent: true, Status: status, JSON: true, Code: code}
	}
	over := func(r tokenwire.Rule) tokenwire.Rule {
		r.Means, r.Cause = tokenwire.SessionOver, "theirs"
		return r
	}
	for name, tc := range map[string]struct {
		rules []tokenwire.Rule
		read  tokenwire.Reading
		want  verdict
	}{
		"a code":                     {[]tokenwire.Rule{over(tokenwire.Rule{Code: "gone"})}, inWords(400, "gone"), verdict{tokenwire.Rejected, "theirs"}},
		"a code, with its status":    {[]tokenwire.Rule{over(tokenwire.Rule{Code: "gone", Status: 403})}, inWords(403, "gone"), verdict{tokenwire.Rejected, "theirs"}},
		"a code, with another":       {[]tokenwire.Rule{over(tokenwire.Rule{Code: "gone", Status: 403})}, inWords(400, "gone"), verdict{tokenwire.Unclear, ""}},
		"a code that is not JSON":    {[]tokenwire.Rule{over(tokenwire.Rule{Code: "gone"})}, tokenwire.Reading{Sent: true, Status: 400, Code: "gone"}, verdict{tokenwire.Unclear, ""}},
		"a code with a 5xx":          {[]tokenwire.Rule{over(tokenwire.Rule{Code: "gone", Status: 503})}, inWords(503, "gone"), verdict{tokenwire.Ambiguous, ""}},
		"a code with a 2xx":          {[]tokenwire.Rule{over(tokenwire.Rule{Code: "gone", Status: 200})}, inWords(200, "gone"), verdict{tokenwire.Ambiguous, ""}},
		"a code with a 3xx":          {[]tokenwire.Rule{over(tokenwire.Rule{Status: 302})}, inWords(302, ""), verdict{tokenwire.Unclear, ""}},
		"a status":                   {[]tokenwire.Rule{over(tokenwire.Rule{Status: 401})}, tokenwire.Reading{Sent: true, Status: 401}, verdict{tokenwire.Rejected, "theirs"}},
		"a body":                     {[]tokenwire.Rule{over(tokenwire.Rule{Body: " Gone\n"})}, tokenwire.Reading{Sent: true, Status: 400, Body: "Gone"}, verdict{tokenwire.Rejected, "theirs"}},
		"a body that has more":       {[]tokenwire.Rule{over(tokenwire.Rule{Body: "Gone"})}, tokenwire.Reading{Sent: true, Status: 400, Body: "Gone."}, verdict{tokenwire.Unclear, ""}},
		"a body with a 5xx":          {[]tokenwire.Rule{over(tokenwire.Rule{Body: "Gone"})}, tokenwire.Reading{Sent: true, Status: 500, Body: "Gone"}, verdict{tokenwire.Ambiguous, ""}},
		"a body and another code":    {[]tokenwire.Rule{over(tokenwire.Rule{Body: "Gone", Code: "gone"})}, tokenwire.Reading{Sent: true, Status: 400, JSON: true, Body: "Gone", Code: "else"}, verdict{tokenwire.Unclear, ""}},
		"no part":                    {[]tokenwire.Rule{over(tokenwire.Rule{})}, inWords(400, "anything"), verdict{tokenwire.Unclear, ""}},
		"no part but white space":    {[]tokenwire.Rule{over(tokenwire.Rule{Body: " "})}, inWords(400, "anything"), verdict{tokenwire.Unclear, ""}},
		"no meaning":                 {[]tokenwire.Rule{{Code: "invalid_grant"}}, inWords(400, "invalid_grant"), verdict{tokenwire.Rejected, "grant_rejected"}},
		"another meaning than usual": {[]tokenwire.Rule{{Code: "invalid_grant", Means: tokenwire.MeansUnclear}}, inWords(400, "invalid_grant"), verdict{tokenwire.Unclear, ""}},
		"429 by itself":              {[]tokenwire.Rule{{Status: 429, Means: tokenwire.MeansUnclear}}, tokenwire.Reading{Sent: true, Status: 429}, verdict{tokenwire.Unclear, ""}},
		"frozen":                     {[]tokenwire.Rule{{Status: 403, Means: tokenwire.Frozen, Cause: "frozen"}}, tokenwire.Reading{Sent: true, Status: 403}, verdict{tokenwire.Rejected, "frozen"}},
		"the application":            {[]tokenwire.Rule{{Status: 403, Means: tokenwire.App, Cause: "contract"}}, tokenwire.Reading{Sent: true, Status: 403}, verdict{tokenwire.AppWide, "contract"}},
		"busy":                       {[]tokenwire.Rule{{Status: 409, Means: tokenwire.Busy}}, tokenwire.Reading{Sent: true, Status: 409}, verdict{tokenwire.AppWide, ""}},
		"the first that matches": {
			[]tokenwire.Rule{over(tokenwire.Rule{Code: "gone", Status: 401}), {Code: "gone", Means: tokenwire.Busy, Cause: "second"}, over(tokenwire.Rule{Code: "gone"})},
			inWords(400, "gone"), verdict{tokenwire.AppWide, "second"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got verdict
			got.Class, got.Cause = tokenwire.Classify(tc.read, tc.rules)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClassesHaveNames(t *testing.T) {
	seen := make(map[string]bool)
	for class := tokenwire.OK; class <= tokenwire.Unread; class++ {
		if s := class.String(); s == "unknown" || seen[s] {
			t.Errorf("class %d is %q, as others are", class, s)
		} else {
			seen[s] = true
		}
	}
	if s := (tokenwire.Unread + 1).String(); s != "unknown" {
		t.Errorf("there is one more class, %q: add it to the tests", s)
	}
}
