// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

func TestExcerpt(t *testing.T) {
	for name, tc := range map[string]struct{ body, want string }{
		"nothing":             {"", ""},
		"a page":              {"<html><head><title>503 Service Unavailable</title></head><body>\r\n<h1>Ada Example</h1> nginx/1.18.0</body>", "<html><head><title>503 service unavailable</title></head><body> <h1>*</h1> nginx/*</body>"},
		"another status":      {"<h1>999 1000 011</h1>", "<h1>*</h1>"},
		"OAuth":               {`{"error":"invalid_grant","error_description":"the token 7f3a.canary of ada@example.org was used on 2000-02-29"}`, `{"error":"invalid_grant","error_description":"the * was *"}`},
		"outcome":             {`{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"login","details":{"coding":[{"code":"API_SESSION_EXPIRED"}]},"diagnostics":"NHS number 9991000011"}]}`, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"login","details":{"coding":[{"code":"API_SESSION_EXPIRED"}]},"diagnostics":"*"}]}`},
		"tokens":              {`{"access_token":"2YotnFZFEjr1zCsicMWpAA","refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA"}`, `{"access_token":"*","refresh_token":"*"}`},
		"a member's name":     {`{"9991000011":{"Example, Ada":true}}`, `{"*":{"*, *":true}}`},
		"a token in pieces":   {"a/b=c,7f3a\n\n\t7f3b  7f3c", "*/*=*,*"},
		"not UTF-8":           {"\xff\xfe error \u00e9rror", "* error *"},
		"in other letters":    {"ERROR Error eRRoR bad_gateway BadGateway", "error error error *"},
		"numbers":             {"1 22 333 503 5031", "* 503 *"},
		"words of one letter": {"P. q An", "*"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := pkb.Excerpt(503, []byte(tc.body)); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
	if got := pkb.Excerpt(503, []byte(strings.Repeat("error,", 10_000))); len(got) > 512 || len(got) < 500 {
		t.Errorf("an excerpt of %d bytes", len(got))
	}
}

// An excerpt has to be asked for, and even then nothing prints it.
func TestExcerptIsAskedFor(t *testing.T) {
	const page = "<html>Ada Example is blocked</html>"
	fault := pkbtest.Respond(403, "text/html", page)
	for _, asked := range []bool{false, true} {
		t.Run(fmt.Sprintf("asked for: %t", asked), func(t *testing.T) {
			want := map[bool]string{true: "<html>* is blocked</html>"}[asked]
			r := newRig(t, withConfig(func(c *pkb.Config) { c.InsecureDebugResponses = asked }))

			pending, query := r.approve(t, user, r.patient)
			r.pkb.Next(pkbtest.Token, fault)
			_, exchange := r.Complete(t.Context(), user, pending, query)
			r.link(t, user, r.patient)
			r.pkb.Next(pkbtest.Self, fault)
			_, call := r.ForUser(user).Self(t.Context())
			r.pkb.Next(pkbtest.Self, pkbtest.Respond(200, "text/html", page))
			_, success := r.ForUser(user).Self(t.Context())
			r.pkb.Advance(sold)
			r.pkb.Next(pkbtest.Token, fault)
			_, refresh := r.Token(t.Context(), user)

			for name, err := range map[string]error{"code exchange": exchange, "call": call, "refresh": refresh, "success": success} {
				got := "no error with an excerpt"
				if api, ok := errors.AsType[*pkb.APIError](err); ok {
					got = api.Excerpt()
				} else if later, ok := errors.AsType[*pkb.TryLaterError](err); ok {
					got = later.Excerpt()
				}
				if name == "success" && got != "" || name != "success" && got != want {
					t.Errorf("%s: excerpt %q, want %q", name, got, want)
				}
				if text := printed(t, err); strings.Contains(text, "blocked") {
					t.Errorf("%s: the excerpt is printed:\n%s", name, text)
				}
			}
		})
	}
}

// Whatever stands in an answer, and wherever: nothing of it that is not on the
// list gets into the excerpt.
func FuzzExcerpt(f *testing.F) {
	const canary = "7f3a9991000011Zq"
	f.Add(`{"error":"`, `"}`)
	f.Add("<html><title>503 ", "</title>")
	f.Add("the error is ", " not found, please try again")
	f.Add("\xff", "\x00")
	f.Add("%", "=")
	f.Fuzz(func(t *testing.T, before, after string) {
		got := pkb.Excerpt(503, []byte(before+canary+after))
		if len(got) > 512 {
			t.Errorf("%d bytes", len(got))
		}
		for i := 0; i+3 <= len(canary); i++ {
			if strings.Contains(got, canary[i:i+3]) && !strings.Contains(before+after, canary[i:i+3]) {
				t.Errorf("%q is in %q", canary[i:i+3], got)
			}
		}
		for _, word := range strings.FieldsFunc(got, func(r rune) bool { return strings.ContainsRune(" {}[]:,\"<>/=", r) }) {
			if again := pkb.Excerpt(503, []byte(word)); again != word {
				t.Errorf("%q is not on the list", word)
			}
		}
	})
}
