// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenwire_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/internal/tokenwire"
)

// S29, S30, S32, S33: what is read of a token response, and of an odd one.
func TestParse(t *testing.T) {
	full := tokenwire.Grant{AccessToken: "a", RefreshToken: "r", Scope: "PATIENT", ExpiresIn: 10 * time.Minute}
	only := tokenwire.Grant{AccessToken: "a"}
	lasting := func(d time.Duration) tokenwire.Grant { return tokenwire.Grant{AccessToken: "a", ExpiresIn: d} }
	for name, tc := range map[string]struct {
		body string
		want tokenwire.Grant
		err  string
	}{
		"as documented":          {`{"access_token":"a","token_type":"Bearer","expires_in":600,"refresh_token":"r","scope":"PATIENT"}`, full, ""},
		"lower-case bearer":      {`{"access_token":"a","token_type":"bearer","expires_in":600,"refresh_token":"r","scope":"PATIENT"}`, full, ""},
		"expires_in as string":   {`{"access_token":"a","expires_in":"600","refresh_token":"r","scope":"PATIENT"}`, full, ""},
		"expires_in as float":    {`{"access_token":"a","expires_in":600.0,"refresh_token":"r","scope":"PATIENT"}`, full, ""},
		"expires_in with spaces": {`{"access_token":"a","expires_in":" 600 "}`, lasting(10 * time.Minute), ""},
		"unknown members":        {`{"patient":"x","id_token":{"a":[1]},"access_token":"a","expires_in":600,"refresh_token":"r","scope":"PATIENT"}`, full, ""},
		"repeated member":        {`{"access_token":"old","access_token":"a"}`, only, ""},
		"other letters":          {`{"access_token":"a","Access_Token":"b","REFRESH_TOKEN":"c"}`, only, ""},
		"no expires_in":          {`{"access_token":"a"}`, only, ""},
		"expires_in null":        {`{"access_token":"a","expires_in":null}`, only, ""},
		"expires_in empty":       {`{"access_token":"a","expires_in":""}`, only, ""},
		"expires_in negative":    {`{"access_token":"a","expires_in":-5}`, only, ""},
		"expires_in nonsense":    {`{"access_token":"a","expires_in":{"x":1}}`, only, ""},
		"expires_in NaN":         {`{"access_token":"a","expires_in":"NaN"}`, only, ""},
		"expires_in huge":        {`{"access_token":"a","expires_in":99999999999999}`, lasting(24 * time.Hour), ""},
		"expires_in beyond all":  {`{"access_token":"a","expires_in":1e999}`, lasting(24 * time.Hour), ""},
		"refresh_token null":     {`{"access_token":"a","refresh_token":null}`, only, ""},
		"refresh_token odd":      {`{"access_token":"a","refresh_token":7}`, only, ""},
		"white space":            {" \r\n{\"access_token\":\"a\"}\n ", only, ""},

		"empty":                {``, tokenwire.Grant{}, "the token response is empty"},
		"null":                 {`null`, tokenwire.Grant{}, "the token response is not a JSON object"},
		"array":                {`[]`, tokenwire.Grant{}, "the token response is not a JSON object"},
		"page":                 {`<!doctype html>`, tokenwire.Grant{}, "the token response is a web page, not JSON"},
		"cut":                  {`{"access_token":"a`, tokenwire.Grant{}, "the token response is not a JSON object"},
		"error":                {`{"error":"x"}`, tokenwire.Grant{}, "the token response has status 200 and an error in it"},
		"no token":             {`{}`, tokenwire.Grant{}, "the token response has no access_token"},
		"empty token":          {`{"access_token":""}`, tokenwire.Grant{}, "the token response has no access_token"},
		"other type":           {`{"access_token":"a","token_type":"mac"}`, tokenwire.Grant{}, "the token response has a token_type other than Bearer"},
		"header injection":     {`{"access_token":"a\r\nX: y"}`, tokenwire.Grant{}, "the access_token cannot be sent in a header"},
		"token with non-ASCII": {`{"access_token":"ä"}`, tokenwire.Grant{}, "the access_token cannot be sent in a header"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tokenwire.Parse([]byte(tc.body))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("grant (-want +got):\n%s", diff)
			}
			switch {
			case tc.err == "" && err != nil:
				t.Errorf("error %v", err)
			case tc.err != "" && (err == nil || err.Error() != tc.err):
				t.Errorf("error %v, want %q", err, tc.err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"access_token":"canary-token","expires_in":"600"}`))
	f.Add([]byte("\xef\xbb\xbf{\"access_token\":\"a\",\"expires_in\":1e999}"))
	f.Add([]byte(`{"error":"invalid_grant"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		g, err := tokenwire.Parse(body)
		if (err == nil) != (g.AccessToken != "") {
			t.Errorf("token %t, error %v", g.AccessToken != "", err)
		}
		if g.ExpiresIn < 0 || g.ExpiresIn > 24*time.Hour {
			t.Errorf("expires in %v", g.ExpiresIn)
		}
		if strings.ContainsAny(g.AccessToken, "\r\n") {
			t.Error("a token with a line break")
		}
		if s := fmt.Sprintf("%v %+v %#v %s", g, g, g, g); g.AccessToken != "" && len(g.AccessToken) > 12 && strings.Contains(s, g.AccessToken) {
			t.Error("a grant prints its token")
		}
	})
}
