// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenwire_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jarcoal/httpmock"

	"github.com/betawerk/pkb-go/internal/tokenwire"
)

const tokenURL = "https://pkb.example/apiToken.action"

func endpoint(rt http.RoundTripper) *tokenwire.Endpoint {
	return &tokenwire.Endpoint{
		URL: tokenURL, ClientID: "client", UserAgent: "test",
		HTTP: &http.Client{Transport: rt}, Timeout: 5 * time.Second,
		SessionCodes: []string{"API_SESSION_INVALID", "API_SESSION_EXPIRED"},
	}
}

// What goes out, to the letter.
func TestRequests(t *testing.T) {
	type sent struct {
		Method, URL string
		Header      http.Header
		Form        url.Values
		User, Pass  string
	}
	common := http.Header{
		"Accept":       {"application/json"},
		"Content-Type": {"application/x-www-form-urlencoded"},
		"User-Agent":   {"test"},
	}
	for name, tc := range map[string]struct {
		change func(*tokenwire.Endpoint)
		post   func(*tokenwire.Endpoint) tokenwire.Outcome
		want   sent
	}{
		"exchange": {
			post: func(e *tokenwire.Endpoint) tokenwire.Outcome {
				return e.Exchange(t.Context(), "the-code", "https://app.example/cb", "")
			},
			want: sent{Form: url.Values{
				"grant_type": {"authorization_code"}, "client_id": {"client"},
				"code": {"the-code"}, "redirect_uri": {"https://app.example/cb"},
			}},
		},
		"exchange with PKCE and a secret in the form": {
			change: func(e *tokenwire.Endpoint) { e.ClientSecret = "s3 cret" },
			post: func(e *tokenwire.Endpoint) tokenwire.Outcome {
				return e.Exchange(t.Context(), "the-code", "https://app.example/cb", "verifier")
			},
			want: sent{Form: url.Values{
				"grant_type": {"authorization_code"}, "client_id": {"client"}, "client_secret": {"s3 cret"},
				"code": {"the-code"}, "redirect_uri": {"https://app.example/cb"}, "code_verifier": {"verifier"},
			}},
		},
		"refresh": {
			post: func(e *tokenwire.Endpoint) tokenwire.Outcome { return e.Refresh(t.Context(), "rt", "PATIENT") },
			want: sent{Form: url.Values{
				"grant_type": {"refresh_token"}, "client_id": {"client"}, "refresh_token": {"rt"}, "scope": {"PATIENT"},
			}},
		},
		"refresh with a secret in the header": {
			change: func(e *tokenwire.Endpoint) { e.ClientSecret, e.Style = "s3 cret", tokenwire.InHeader },
			post:   func(e *tokenwire.Endpoint) tokenwire.Outcome { return e.Refresh(t.Context(), "rt", "") },
			want: sent{
				Form: url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"rt"}},
				User: "client", Pass: "s3+cret",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			mock := httpmock.NewMockTransport()
			var got sent
			mock.RegisterResponder("POST", tokenURL, func(req *http.Request) (*http.Response, error) {
				body, err := io.ReadAll(req.Body)
				if err != nil {
					return nil, err
				}
				got.Form, err = url.ParseQuery(string(body))
				if err != nil {
					return nil, err
				}
				got.Method, got.URL, got.Header = req.Method, req.URL.String(), req.Header.Clone()
				got.User, got.Pass, _ = req.BasicAuth()
				got.Header.Del("Authorization")
				return httpmock.NewStringResponse(200, `{"access_token":"at","token_type":"Bearer","expires_in":600}`), nil
			})
			e := endpoint(mock)
			if tc.change != nil {
				tc.change(e)
			}
			if out := tc.post(e); out.Class != tokenwire.OK {
				t.Fatalf("outcome %v: %v", out, out.Err)
			}
			want := tc.want
			want.Method, want.URL, want.Header = "POST", tokenURL, common
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
			if n := mock.GetTotalCallCount(); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

// S21, S32, S37: what an answer proves.
func TestOutcomes(t *testing.T) {
	type outcome struct {
		Class      tokenwire.Class
		Code       string
		RetryAfter time.Duration
		KeptBody   bool
	}
	for name, tc := range map[string]struct {
		status int
		header http.Header
		body   string
		want   outcome
	}{
		"pair":                       {200, nil, `{"access_token":"a","refresh_token":"r","expires_in":600}`, outcome{Class: tokenwire.OK, KeptBody: true}},
		"text/plain":                 {200, http.Header{"Content-Type": {"text/plain"}}, `{"access_token":"a"}`, outcome{Class: tokenwire.OK, KeptBody: true}},
		"byte-order mark":            {200, nil, "\xef\xbb\xbf" + `{"access_token":"a"}`, outcome{Class: tokenwire.OK, KeptBody: true}},
		"unasked gzip":               {200, nil, gzipped(`{"access_token":"a"}`), outcome{Class: tokenwire.OK, KeptBody: true}},
		"HTML with 200":              {200, nil, "<html>maintenance</html>", outcome{Class: tokenwire.Ambiguous, KeptBody: true}},
		"more than 1 MB":             {200, nil, `{"access_token":"a","x":"` + strings.Repeat("x", 1<<20) + `"}`, outcome{Class: tokenwire.Ambiguous, KeptBody: true}},
		"unpacks to more than 1 MB":  {200, nil, gzipped(`{"access_token":"a","x":"` + strings.Repeat("x", 1<<20) + `"}`), outcome{Class: tokenwire.Ambiguous, KeptBody: true}},
		"empty 200":                  {200, nil, "", outcome{Class: tokenwire.Ambiguous}},
		"200 with invalid_grant":     {200, nil, `{"error":"invalid_grant"}`, outcome{Class: tokenwire.Rejected, Code: "invalid_grant"}},
		"200 with an unknown error":  {200, nil, `{"error":"oops, token abc"}`, outcome{Class: tokenwire.Ambiguous, KeptBody: true}},
		"200 without access token":   {200, nil, `{"token_type":"Bearer"}`, outcome{Class: tokenwire.Ambiguous, KeptBody: true}},
		"invalid_grant":              {400, nil, `{"error":"invalid_grant","error_description":"secret"}`, outcome{Class: tokenwire.Rejected, Code: "invalid_grant"}},
		"session code in prose":      {400, nil, `{"error":"invalid_grant","error_description":"API_SESSION_INVALID"}`, outcome{Class: tokenwire.Rejected, Code: "API_SESSION_INVALID"}},
		"session code in an outcome": {401, nil, `{"resourceType":"OperationOutcome","issue":[{"details":{"coding":[{"code":"API_SESSION_EXPIRED"}]}}]}`, outcome{Class: tokenwire.Rejected, Code: "API_SESSION_EXPIRED"}},
		"session code in HTML":       {500, nil, `<p>API_SESSION_EXPIRED</p>`, outcome{Class: tokenwire.Rejected, Code: "API_SESSION_EXPIRED"}},
		"part of a longer word":      {400, nil, `NOT_API_SESSION_EXPIRED_YET`, outcome{Class: tokenwire.AppWide}},
		"invalid_client":             {401, nil, `{"error":"invalid_client"}`, outcome{Class: tokenwire.AppWide, Code: "invalid_client"}},
		"400 with HTML":              {400, nil, `<html>`, outcome{Class: tokenwire.AppWide}},
		"403 of a gateway":           {403, nil, `<html>`, outcome{Class: tokenwire.AppWide}},
		"404":                        {404, nil, ``, outcome{Class: tokenwire.AppWide}},
		"429":                        {429, http.Header{"Retry-After": {"7"}}, ``, outcome{Class: tokenwire.AppWide, RetryAfter: 7 * time.Second}},
		"redirect":                   {302, http.Header{"Location": {"https://elsewhere.example/"}}, ``, outcome{Class: tokenwire.AppWide}},
		"307 would send it again":    {307, http.Header{"Location": {"https://elsewhere.example/"}}, ``, outcome{Class: tokenwire.AppWide}},
		"500":                        {500, nil, `{"error":"server_error"}`, outcome{Class: tokenwire.Ambiguous}},
		"502":                        {502, nil, `<html>`, outcome{Class: tokenwire.Ambiguous}},
		"503":                        {503, http.Header{"Retry-After": {"-1"}}, ``, outcome{Class: tokenwire.Ambiguous}},
		"504":                        {504, nil, ``, outcome{Class: tokenwire.Ambiguous}},
		"408":                        {408, nil, ``, outcome{Class: tokenwire.Ambiguous}},
	} {
		t.Run(name, func(t *testing.T) {
			mock := httpmock.NewMockTransport()
			mock.RegisterResponder("POST", tokenURL, func(req *http.Request) (*http.Response, error) {
				_, _ = io.ReadAll(req.Body)
				resp := httpmock.NewStringResponse(tc.status, tc.body)
				maps.Copy(resp.Header, tc.header)
				return resp, nil
			})
			out := endpoint(mock).Refresh(t.Context(), "the-refresh-token", "PATIENT")
			got := outcome{out.Class, out.Code, out.RetryAfter, len(out.Body) > 0}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if out.Status != tc.status {
				t.Errorf("status %d, want %d", out.Status, tc.status)
			}
			if n := mock.GetTotalCallCount(); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
			text := fmt.Sprintf("%v %+v %s", out, out, out.Err)
			for _, secret := range []string{"the-refresh-token", "secret", "abc", "maintenance"} {
				if strings.Contains(text, secret) {
					t.Errorf("%q is printed in %q", secret, text)
				}
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

// A failure is "not sent" only when the form was never read.
// S22: what a failure on the way proves.
func TestFailures(t *testing.T) {
	read := func(req *http.Request) { _, _ = io.ReadAll(req.Body) }
	for name, tc := range map[string]struct {
		send func(*http.Request) (*http.Response, error)
		want tokenwire.Class
		text string
	}{
		"dial": {
			func(*http.Request) (*http.Response, error) {
				return nil, &net.OpError{Op: "dial", Err: errors.New("to 10.0.0.1 with token=x")}
			}, tokenwire.NotSent, "no connection could be made",
		},
		"dns": {
			func(*http.Request) (*http.Response, error) { return nil, &net.DNSError{Name: "pkb.example"} },
			tokenwire.NotSent, "the host name could not be resolved",
		},
		"reset after sending": {
			func(req *http.Request) (*http.Response, error) { read(req); return nil, io.ErrUnexpectedEOF },
			tokenwire.Ambiguous, "the connection was cut",
		},
		"something else after sending": {
			func(req *http.Request) (*http.Response, error) { read(req); return nil, errors.New("token=x") },
			tokenwire.Ambiguous, "the request failed",
		},
		"answer cut short": {
			func(req *http.Request) (*http.Response, error) {
				read(req)
				resp := httpmock.NewStringResponse(200, "")
				resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"access_tok`), failing{}))
				return resp, nil
			}, tokenwire.Ambiguous, "the connection was cut",
		},
		"answer complete, then cut": {
			func(req *http.Request) (*http.Response, error) {
				read(req)
				resp := httpmock.NewStringResponse(200, "")
				resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"access_token":"a"}`), failing{}))
				return resp, nil
			}, tokenwire.OK, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			out := endpoint(roundTrip(tc.send)).Refresh(t.Context(), "rt", "")
			if out.Class != tc.want {
				t.Errorf("class %v, want %v", out.Class, tc.want)
			}
			if tc.text != "" && (out.Err == nil || out.Err.Error() != tc.text) {
				t.Errorf("error %v, want %q", out.Err, tc.text)
			}
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// The real transport: a server that is not there, one that hangs up, one that
// is too slow, and one that sends the client elsewhere.
func TestRealTransport(t *testing.T) {
	e := endpoint(&http.Transport{DisableKeepAlives: true})

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.URL = "http://" + l.Addr().String()
	_ = l.Close()
	if out := e.Refresh(t.Context(), "rt", ""); out.Class != tokenwire.NotSent {
		t.Errorf("nobody listening: %v, want not sent", out)
	}

	hits := make(chan string, 10)
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/slow", func(http.ResponseWriter, *http.Request) { <-release })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/new", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/new", func(_ http.ResponseWriter, r *http.Request) { hits <- r.URL.Path })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	defer close(release)

	e.URL = srv.URL + "/cut"
	if out := e.Refresh(t.Context(), "rt", ""); out.Class != tokenwire.Ambiguous {
		t.Errorf("cut: %v, want ambiguous", out)
	}
	e.URL, e.Timeout = srv.URL+"/slow", 50*time.Millisecond
	if out := e.Refresh(t.Context(), "rt", ""); out.Class != tokenwire.Ambiguous || !errors.Is(out.Err, context.DeadlineExceeded) {
		t.Errorf("slow: %v, %v, want ambiguous", out, out.Err)
	}
	e.URL, e.Timeout = srv.URL+"/moved", 5*time.Second
	if out := e.Refresh(t.Context(), "rt", ""); out.Class != tokenwire.AppWide || len(hits) != 0 {
		t.Errorf("moved: %v, and %d requests to the new address", out, len(hits))
	}
	e.URL = srv.URL + "/new"
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out := e.Refresh(ctx, "rt", ""); out.Class != tokenwire.NotSent || len(hits) != 0 {
		t.Errorf("cancelled before: %v, want not sent", out)
	}
}
