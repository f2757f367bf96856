// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenwire_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/jarcoal/httpmock"

	"github.com/betawerk/pkb-go/internal/tokenwire"
)

// verdict is an outcome without its secrets.
type verdict struct {
	Class      tokenwire.Class
	Code       string
	Cause      string
	RetryAfter time.Duration
}

// respond returns the outcome of a response.
func respond(t *testing.T, status int, header http.Header, body string) tokenwire.Outcome {
	t.Helper()
	mock := httpmock.NewMockTransport()
	mock.RegisterResponder("POST", tokenURL, func(req *http.Request) (*http.Response, error) {
		_, _ = io.ReadAll(req.Body)
		resp := httpmock.NewStringResponse(status, body)
		maps.Copy(resp.Header, header)
		return resp, nil
	})
	out := endpoint(mock).Refresh(t.Context(), "the-refresh-token", "PATIENT")
	if out.Status != status {
		t.Errorf("status %d, want %d", out.Status, status)
	}
	if n := mock.GetTotalCallCount(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	if out.Repeated {
		t.Error("one request counts as two")
	}
	kept := out.Class == tokenwire.OK || out.Class == tokenwire.Unread
	if (len(out.Body) > 0) != kept {
		t.Errorf("%v keeps %d bytes of the response", out, len(out.Body))
	}
	text := fmt.Sprintf("%v %+v %#v %s", out, out, out, out.Err)
	for _, secret := range []string{"the-refresh-token", "secret", "maintenance"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is printed in %q", secret, text)
		}
	}
	return out
}

// S21, S32, S37: what a response proves.
func TestResponses(t *testing.T) {
	const (
		ok, rejected, app = tokenwire.OK, tokenwire.Rejected, tokenwire.AppWide
		ambiguous         = tokenwire.Ambiguous
		unclear, unread   = tokenwire.Unclear, tokenwire.Unread
	)
	packed := gzipped(`{"access_token":"a"}`)
	long := strings.Repeat("x", 1<<20)
	outcome := func(coding string) string { return `{"resourceType":"OperationOutcome","issue":[` + coding + `]}` }
	expired := verdict{Class: rejected, Code: "API_SESSION_EXPIRED", Cause: "session_expired"}
	invalid := verdict{Class: rejected, Code: "invalid_grant", Cause: "grant_rejected"}
	for name, tc := range map[string]struct {
		status int
		header http.Header
		body   string
		want   verdict
	}{
		// Tokens, in whatever wrapping.
		"pair":                 {200, nil, `{"access_token":"a","refresh_token":"r","expires_in":600}`, verdict{Class: ok}},
		"201":                  {201, nil, `{"access_token":"a"}`, verdict{Class: ok}},
		"text/plain":           {200, http.Header{"Content-Type": {"text/plain"}}, `{"access_token":"a"}`, verdict{Class: ok}},
		"byte-order mark":      {200, nil, "\xef\xbb\xbf" + `{"access_token":"a"}`, verdict{Class: ok}},
		"unasked gzip":         {200, nil, packed, verdict{Class: ok}},
		"gzip without its end": {200, nil, packed[:len(packed)-8], verdict{Class: ok}},
		"tokens and an error":  {200, nil, `{"access_token":"a","error":"invalid_grant"}`, verdict{Class: ok}},

		// The outcome for the token is unknown.
		"HTML with 200":             {200, nil, "<html>maintenance, secret-token</html>", verdict{Class: ambiguous}},
		"HTML with attributes":      {200, nil, `<html lang="en">[maintenance]</html>`, verdict{Class: ambiguous}},
		"a piece of HTML with 200":  {200, nil, "<p>maintenance</p>", verdict{Class: ambiguous}},
		"prose with 200":            {200, nil, "Down for maintenance.", verdict{Class: ambiguous}},
		"more than 1 MB":            {200, nil, `{"access_token":"a","x":"` + long + `"}`, verdict{Class: ambiguous}},
		"unpacks to more than 1 MB": {200, nil, gzipped(`{"access_token":"a","x":"` + long + `"}`), verdict{Class: ambiguous}},
		"broken gzip":               {200, nil, "\x1f\x8b not gzip", verdict{Class: ambiguous}},
		"gzip cut short":            {200, nil, gzipped(`{"access_token":"a","x":"` + long[:1000] + `"}`)[:30], verdict{Class: ambiguous}},
		"empty 200":                 {200, nil, "", verdict{Class: ambiguous}},
		"blank 200":                 {200, nil, " \r\n", verdict{Class: ambiguous}},
		"204":                       {204, nil, "", verdict{Class: ambiguous}},
		"{} with 200":               {200, nil, "{}", verdict{Class: ambiguous}},
		"null with 200":             {200, nil, "null", verdict{Class: ambiguous}},
		"[] with 200":               {200, nil, `[{"access_token":""}]`, verdict{Class: ambiguous}},
		"200 with invalid_grant":    {200, nil, `{"error":"invalid_grant"}`, verdict{Class: ambiguous, Code: "invalid_grant"}},
		"200 with an unknown error": {200, nil, `{"error":"oops, secret abc","error_description":"a","access_token":""}`, verdict{Class: ambiguous}},
		"200 with an error object":  {200, nil, `{"error":{"code":"x","message":"a"},"status":"failed"}`, verdict{Class: ambiguous}},
		"200 with an outcome":       {200, nil, outcome(`{"details":{"coding":[{"code":"API_SESSION_EXPIRED"}]}}`), verdict{Class: ambiguous, Code: "API_SESSION_EXPIRED"}},
		"200 of a server in repair": {200, nil, `{"status":"maintenance"}`, verdict{Class: ambiguous}},
		"500":                       {500, nil, `{"error":"server_error"}`, verdict{Class: ambiguous}},
		"500 with invalid_grant":    {500, nil, `{"error":"invalid_grant"}`, verdict{Class: ambiguous, Code: "invalid_grant"}},
		"503 with invalid_grant":    {503, nil, `{"error":"invalid_grant"}`, verdict{Class: ambiguous, Code: "invalid_grant"}},
		"503 with a session code":   {503, nil, outcome(`{"code":"API_SESSION_EXPIRED"}`), verdict{Class: ambiguous, Code: "API_SESSION_EXPIRED"}},
		"502":                       {502, nil, `<html>`, verdict{Class: ambiguous}},
		"503":                       {503, http.Header{"Retry-After": {"-1"}}, ``, verdict{Class: ambiguous}},
		"503 for a while":           {503, http.Header{"Retry-After": {"9223372036854775807"}}, ``, verdict{Class: ambiguous, RetryAfter: time.Hour}},
		"504":                       {504, nil, ``, verdict{Class: ambiguous}},
		"408":                       {408, nil, ``, verdict{Class: ambiguous}},
		"425":                       {425, nil, ``, verdict{Class: ambiguous}},

		// The successor may be in it.
		"200 without access token": {200, nil, `{"token_type":"Bearer"}`, verdict{Class: unread}},
		"200 with other names":     {200, nil, `{"accessToken":"secret-a","refreshToken":"secret-r"}`, verdict{Class: unread}},
		"200 with another type":    {200, nil, `{"access_token":"secret-a","token_type":"mac"}`, verdict{Class: unread}},
		"200 with a wrapping":      {200, nil, `{"status":"ok","data":{"access_token":"secret-a"}}`, verdict{Class: unread}},
		"200 with it in a message": {200, nil, `{"message":[{"access_token":"secret-a"}]}`, verdict{Class: unread}},
		"200 with an array":        {200, nil, `[{"access_token":"secret-a"}]`, verdict{Class: unread}},
		"200 with a form":          {200, nil, `access_token=secret-a&refresh_token=secret-r`, verdict{Class: unread}},
		"200 with a short form":    {200, nil, `access_token=at`, verdict{Class: unread}},
		"200 with a bare token":    {200, nil, `secret7fd8a0c3e1b24596ad17`, verdict{Class: unread}},
		"200 with XML":             {200, nil, `<OAuth><refresh_token>secret</refresh_token></OAuth>`, verdict{Class: unread}},
		"200 in bytes":             {200, nil, "\xc3\x28 \xa0\xa1", verdict{Class: unread}},
		"200 in UTF-16":            {200, nil, wide(`{"access_token":"a"}`), verdict{Class: unread}},
		"200 with half an object":  {200, nil, `{"access_token":"secret-a","refresh_`, verdict{Class: unread}},
		"200 with more behind it":  {200, nil, `{"access_token":"secret-a"}}`, verdict{Class: unread}},

		// Recognized.
		"invalid_grant":                  {400, nil, `{"error":"invalid_grant","error_description":"secret"}`, invalid},
		"invalid_grant, 401":             {401, nil, " {\"error\":\"invalid_grant\"}\n", invalid},
		"invalid_grant in HTML's name":   {400, http.Header{"Content-Type": {"text/html"}}, `{"error":"invalid_grant"}`, invalid},
		"invalid_grant, byte-order mark": {400, nil, "\xef\xbb\xbf" + `{"error":"invalid_grant"}`, invalid},
		"invalid_grant, 429":             {429, nil, `{"error":"invalid_grant"}`, invalid},
		"invalid_grant, and how":         {400, nil, `{"error":"invalid_grant","error_description":"API_SESSION_EXPIRED"}`, expired},
		"invalid_grant, and prose":       {400, nil, `{"error":"invalid_grant","error_description":"not API_SESSION_EXPIRED"}`, invalid},
		"a session code as the error":    {400, nil, `{"error":"API_SESSION_EXPIRED"}`, expired},
		"a session code in an outcome":   {401, nil, outcome(`{"details":{"coding":[{"code":"API_SESSION_EXPIRED"}]}}`), expired},
		"as its second coding":           {401, nil, outcome(`{"code":7},{"details":{"text":[],"coding":[{"code":"x"},{"code":"API_SESSION_EXPIRED"}]}}`), expired},
		"as its text":                    {401, nil, outcome(`{"details":{"text":"API_SESSION_EXPIRED"}}`), expired},
		"as its issue":                   {401, nil, outcome(`{"code":"API_SESSION_EXPIRED","details":"x"}`), expired},
		"next to an unknown error":       {401, nil, `{"error":"x","resourceType":"OperationOutcome","issue":[{"code":"API_SESSION_EXPIRED"}]}`, expired},
		"frozen":                         {403, nil, outcome(`{"code":"ACCESS_FROZEN_OUTWARD"}`), verdict{Class: rejected, Code: "ACCESS_FROZEN_OUTWARD", Cause: "frozen"}},
		"a body that a rule knows":       {401, nil, "\nBad refresh token ", verdict{Class: rejected, Cause: "known_body"}},
		"a body that a rule knows, gzip": {401, nil, gzipped("Bad refresh token"), verdict{Class: rejected, Cause: "known_body"}},
		"invalid_client":                 {401, nil, `{"error":"invalid_client"}`, verdict{Class: app, Code: "invalid_client"}},
		"invalid_scope":                  {400, nil, `{"error":"invalid_scope"}`, verdict{Class: app, Code: "invalid_scope"}},
		"temporarily_unavailable":        {400, nil, `{"error":"temporarily_unavailable"}`, verdict{Class: app, Code: "temporarily_unavailable"}},
		"429":                            {429, http.Header{"Retry-After": {"7"}}, ``, verdict{Class: app, RetryAfter: 7 * time.Second}},
		"429 with a page":                {429, nil, `<html>`, verdict{Class: app}},

		// Refused with an unrecognized error.
		"400, empty":                      {400, nil, ``, verdict{Class: unclear}},
		"401, empty":                      {401, nil, ``, verdict{Class: unclear}},
		"unauthorized":                    {401, nil, `{"error":"unauthorized","error_description":"secret"}`, verdict{Class: unclear}},
		"invalid_token":                   {400, nil, `{"error":"invalid_token"}`, verdict{Class: unclear}},
		"invalid_request":                 {400, nil, `{"error":"invalid_request"}`, verdict{Class: unclear}},
		"access_denied":                   {403, nil, `{"error":"access_denied"}`, verdict{Class: unclear}},
		"nested":                          {400, nil, `{"error":{"error":"invalid_grant","code":"API_SESSION_EXPIRED"}}`, verdict{Class: unclear}},
		"in an array":                     {400, nil, `{"error":["invalid_grant"]}`, verdict{Class: unclear}},
		"an array":                        {400, nil, `[{"error":"invalid_grant"}]`, verdict{Class: unclear}},
		"errors":                          {400, nil, `{"errors":[{"code":"API_SESSION_EXPIRED"}]}`, verdict{Class: unclear}},
		"problem+json":                    {400, http.Header{"Content-Type": {"application/problem+json"}}, `{"type":"about:blank","title":"invalid_grant"}`, verdict{Class: unclear}},
		"other letters":                   {400, nil, `{"Error":"invalid_grant"}`, verdict{Class: unclear}},
		"a code with space":               {400, nil, `{"error":" invalid_grant"}`, verdict{Class: unclear}},
		"XML":                             {400, nil, `<error>invalid_grant</error>`, verdict{Class: unclear}},
		"a string":                        {400, nil, `"invalid_grant"`, verdict{Class: unclear}},
		"HTML with 400":                   {400, nil, `<html>invalid_grant API_SESSION_EXPIRED`, verdict{Class: unclear}},
		"404 page that names a code":      {404, nil, `<p>API_SESSION_EXPIRED</p>`, verdict{Class: unclear}},
		"403 of a gateway":                {403, nil, `<html>`, verdict{Class: unclear}},
		"a session code in prose":         {400, nil, `{"error":"x","error_description":"API_SESSION_INVALID"}`, verdict{Class: unclear}},
		"a code in no outcome":            {400, nil, `{"resourceType":"Patient","issue":[{"code":"API_SESSION_EXPIRED"}]}`, verdict{Class: unclear}},
		"an RFC code in an outcome":       {400, nil, outcome(`{"code":"invalid_grant"}`), verdict{Class: unclear}},
		"a code in an outcome's comments": {400, nil, outcome(`{"diagnostics":"API_SESSION_EXPIRED"}`), verdict{Class: unclear}},
		"half an object":                  {400, nil, `{"error":"invalid_grant"`, verdict{Class: unclear}},
		"more behind the object":          {400, nil, `{"error":"invalid_grant"} x`, verdict{Class: unclear}},
		"400 and more than 1 MB":          {400, nil, `{"error":"invalid_grant","x":"` + long + `"}`, verdict{Class: unclear}},
		"a known body and more":           {401, nil, `Bad refresh token: secret`, verdict{Class: unclear}},
		"a known body, other status":      {400, nil, `Bad refresh token`, verdict{Class: unclear}},
		"redirect":                        {302, http.Header{"Location": {"https://elsewhere.example/"}}, ``, verdict{Class: unclear}},
		"redirect to no address":          {302, http.Header{"Location": {"://\x7f"}}, `{"error":"invalid_grant"}`, verdict{Class: unclear, Code: "invalid_grant"}},
		"307 would send it again":         {307, http.Header{"Location": {"https://elsewhere.example/"}}, ``, verdict{Class: unclear}},
	} {
		t.Run(name, func(t *testing.T) {
			out := respond(t, tc.status, tc.header, tc.body)
			if diff := cmp.Diff(tc.want, verdict{out.Class, out.Code, out.Cause, out.RetryAfter}); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if out.Class == tokenwire.Unread && string(out.Body) != tc.body {
				t.Errorf("kept is %q", out.Body)
			}
			if success := tc.status/100 == 2; (out.Err != nil) != (success && out.Class != ok || len(tc.body) > 1<<20) {
				t.Errorf("error %v", out.Err)
			}
		})
	}
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

// wide is s in UTF-16.
func wide(s string) string {
	b := []byte{0xff, 0xfe}
	for _, c := range utf16.Encode([]rune(s)) {
		b = append(b, byte(c), byte(c>>8))
	}
	return string(b)
}

// S37: a response that brought no tokens can be looked at by a caller who asks for
// it, and is printed nowhere.
func TestExcerpt(t *testing.T) {
	for name, tc := range map[string]struct {
		status  int
		body    string
		what    string
		excerpt string
	}{
		"refusal": {400, "secret", "the response has no tokens", "400 secret"},
		"unread":  {200, `{"token_type":"secret"}`, "the token response has no access_token", `200 {"token_type":"secret"}`},
		"tokens":  {200, `{"access_token":"a"}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := endpoint(roundTrip(func(*http.Request) (*http.Response, error) {
				return httpmock.NewStringResponse(tc.status, tc.body), nil
			}))
			e.Excerpt = func(status int, body []byte) string { return fmt.Sprint(status, " ", string(body)) }
			out := e.Refresh(t.Context(), "rt", "")
			if tc.what == "" {
				if out.Err != nil {
					t.Fatalf("error %v", out.Err)
				}
				return
			}
			failed, ok := errors.AsType[*tokenwire.Failure](out.Err)
			if !ok || failed.Error() != tc.what || failed.Excerpt() != tc.excerpt {
				t.Errorf("error %v, want %q with %q", out.Err, tc.what, tc.excerpt)
			}
			if s := fmt.Sprintf("%v %+v %#v", failed, failed, failed); strings.Contains(s, "secret") {
				t.Errorf("the excerpt is printed in %q", s)
			}
		})
	}
}

// A reading holds a whole body, and prints nothing of it.
func TestReadingPrintsNothing(t *testing.T) {
	r := tokenwire.Reading{Body: "secret", Code: "secret"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if s := fmt.Sprintf(verb, r); s != "[redacted]" {
			t.Errorf("%s prints %q", verb, s)
		}
	}
}
