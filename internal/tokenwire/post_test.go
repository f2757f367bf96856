// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenwire_test

import (
	"errors"
	"io"
	"net"
	"net/http"
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
		Rules: pkb,
	}
}

// The requests, byte for byte.
func TestRequests(t *testing.T) {
	type sent struct {
		Method, URL string
		Header      http.Header
		Form        url.Values
		User, Pass  string
		Length      int64
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
			change: func(e *tokenwire.Endpoint) { e.ClientSecret = func() string { return "s3 cret" } },
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
			change: func(e *tokenwire.Endpoint) {
				e.ClientSecret, e.Style = func() string { return "s3 cret" }, tokenwire.InHeader
			},
			post: func(e *tokenwire.Endpoint) tokenwire.Outcome { return e.Refresh(t.Context(), "rt", "") },
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
				got.Length = req.ContentLength - int64(len(body))
				if req.GetBody != nil {
					t.Error("the form can be read again: net/http would send it again")
				}
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

// A failure is "not sent" only when the form was never read. S22: what a failure on
// the way proves.
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
		"response cut short": {
			func(req *http.Request) (*http.Response, error) {
				read(req)
				resp := httpmock.NewStringResponse(200, "")
				resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"access_tok`), failing{}))
				return resp, nil
			}, tokenwire.Ambiguous, "the connection was cut",
		},
		"response complete, then cut": {
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
