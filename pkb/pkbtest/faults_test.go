// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// refreshOnce posts a refresh token and returns status, body and error.
func refreshOnce(ctx context.Context, a *app, token string) (int, string, error) {
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {a.server.ClientID()}, "refresh_token": {token}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.server.URL()+"/apiToken.action", strings.NewReader(form.Encode()))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := a.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// Each fault: what the client sees, and whether the refresh token was spent.
// The same in memory and over a port.
func TestFaults(t *testing.T) {
	fails := func(_ int, _ string, err error) bool { return err != nil }
	answers := func(status int, body string) func(int, string, error) bool {
		return func(s int, b string, err error) bool { return err == nil && s == status && b == body }
	}
	ok := func(s int, b string, err error) bool {
		return err == nil && s == 200 && strings.Contains(b, `"expires_in":600`)
	}
	faults := map[string]struct {
		fault pkbtest.Fault
		want  func(int, string, error) bool
		spent bool
	}{
		"Pass":                {pkbtest.Pass(), ok, true},
		"nil":                 {nil, ok, true},
		"Respond":             {pkbtest.Respond(503, "text/html", "<h1>closed"), answers(503, "<h1>closed"), false},
		"Respond with little": {pkbtest.Respond(429, "", ""), answers(429, ""), false},
		"RespondAfter":        {pkbtest.RespondAfter(502, "text/html", "bad gateway"), answers(502, "bad gateway"), true},
		"Drop":                {pkbtest.Drop(), fails, false},
		"DropAfter":           {pkbtest.DropAfter(), fails, true},
		"Delay":               {pkbtest.Delay(time.Millisecond), ok, true},
		"Rewrite to odd JSON": {
			pkbtest.Rewrite(func(_ http.Header, b []byte) []byte {
				return append([]byte("\xef\xbb\xbf"), bytes.Replace(b, []byte(":600"), []byte(`:"600"`), 1)...)
			}),
			func(s int, b string, err error) bool {
				return s == 200 && strings.HasPrefix(b, "\xef\xbb\xbf{") && strings.Contains(b, `"expires_in":"600"`)
			}, true,
		},
		"Rewrite to gzip": {
			pkbtest.Rewrite(func(h http.Header, b []byte) []byte {
				h.Set("Content-Encoding", "gzip")
				var packed bytes.Buffer
				z := gzip.NewWriter(&packed)
				_, _ = z.Write(b)
				_ = z.Close()
				return packed.Bytes()
			}), ok, true,
		},
		"Rewrite to bad gzip": {
			pkbtest.Rewrite(func(h http.Header, b []byte) []byte { h.Set("Content-Encoding", "gzip"); return b }),
			fails, true,
		},
		"Rewrite to half a response": {
			pkbtest.Rewrite(func(h http.Header, b []byte) []byte { h.Set("Content-Length", "1000"); return b[:20] }),
			func(s int, b string, err error) bool {
				return s == 200 && len(b) == 20 && errors.Is(err, io.ErrUnexpectedEOF)
			}, true,
		},
		"flushed, then cut": {
			func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					_, _ = io.WriteString(w, "{")
					w.(http.Flusher).Flush()
					panic(http.ErrAbortHandler)
				})
			},
			func(s int, b string, err error) bool {
				return s == 200 && b == "{" && errors.Is(err, io.ErrUnexpectedEOF)
			}, false,
		},
		"two in one": {
			func(next http.Handler) http.Handler {
				return pkbtest.Delay(time.Millisecond)(pkbtest.DropAfter()(next))
			},
			fails, true,
		},
	}
	for where, newApp := range map[string]func(*testing.T) *app{
		"memory": func(t *testing.T) *app { return newApp(t, pkbtest.Config{}) },
		"port":   startApp,
	} {
		for name, tc := range faults {
			t.Run(where+"/"+name, func(t *testing.T) {
				a := newApp(t)
				first := a.link(a.server.AddPatient(pkbtest.Patient{}))
				a.server.Next(pkbtest.Token, tc.fault)
				if status, body, err := refreshOnce(t.Context(), a, first.Refresh); !tc.want(status, body, err) {
					t.Errorf("%d %q, %v", status, body, err)
				}
				if n := a.server.Refreshes(); n != 1 {
					t.Errorf("%d refreshes arrived", n)
				}
				_, _, _ = refreshOnce(t.Context(), a, first.Refresh)
				if spent := a.server.ReusedRefreshTokens() == 1; spent != tc.spent {
					t.Errorf("refresh token spent: %t, want %t", spent, tc.spent)
				}
			})
		}
	}
}

func startApp(t *testing.T) *app {
	s, err := pkbtest.Start(pkbtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.Close()
		s.Close()
	})
	return &app{t, s, &http.Client{Transport: transport}}
}

// Faults are used in order, each once, and only at their own endpoint.
func TestFaultsQueue(t *testing.T) {
	a := newApp(t, pkbtest.Config{})
	token := a.link(a.server.AddPatient(pkbtest.Patient{})).Access
	a.server.Next(pkbtest.Self, pkbtest.Respond(500, "", ""), pkbtest.Pass())
	a.server.Next(pkbtest.Self, pkbtest.Refuse("USER_TYPE_NOT_PERM"))
	a.server.Next("", pkbtest.Respond(418, "", ""))
	var got []int
	for range 4 {
		status, _ := a.purview(token)
		got = append(got, status)
	}
	for range 4 {
		status, _ := a.self(token)
		got = append(got, status)
	}
	status, _, _ := a.call(http.MethodGet, "/elsewhere", "", "", "")
	got = append(got, status)
	if diff := cmp.Diff([]int{200, 200, 200, 200, 500, 200, 403, 200, 418}, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	a.server.Next(pkbtest.Purview, pkbtest.Refuse("USER_TYPE_NOT_PERM"), pkbtest.Refuse("ACC_TOKEN_EXPIRED"))
	if status, code := a.purview(token); status != 403 || code != "USER_TYPE_NOT_PERM" {
		t.Errorf("%d %s", status, code)
	}
	if status, code := a.purview(token); status != 401 || code != "ACC_TOKEN_EXPIRED" {
		t.Errorf("%d %s", status, code)
	}
}

// A delay takes no real time in a bubble, and a client that leaves does not
// stop the server's work.
func TestDelayAndCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, pkbtest.Config{})
		first := a.link(a.server.AddPatient(pkbtest.Patient{}))
		start := a.server.Now()
		a.server.Next(pkbtest.Token, pkbtest.Delay(time.Hour))
		status, _, err := refreshOnce(t.Context(), a, first.Refresh)
		if err != nil || status != 200 || a.server.Now().Sub(start) != time.Hour {
			t.Fatalf("%d, %v after %v", status, err, a.server.Now().Sub(start))
		}

		first = a.link(a.server.AddPatient(pkbtest.Patient{}))
		start = a.server.Now()
		a.server.Next(pkbtest.Token, pkbtest.Delay(time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, _, err := refreshOnce(ctx, a, first.Refresh); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("refresh: %v", err)
		}
		if waited := a.server.Now().Sub(start); waited != time.Minute {
			t.Errorf("the client waited %v", waited)
		}
		synctest.Wait()
		if got := a.refresh(first.Refresh); got.Description != "API_SESSION_INVALID" {
			t.Errorf("the work was not done: %+v", got)
		}
	})
}

// The same over a port, with real time.
func TestDelayOverAPort(t *testing.T) {
	a := startApp(t)
	first := a.link(a.server.AddPatient(pkbtest.Patient{}))
	a.server.Next(pkbtest.Token, pkbtest.Delay(time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := refreshOnce(ctx, a, first.Refresh); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("refresh: %v", err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		q := a.server.Requests()
		if q[len(q)-1].Status == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the work was not done")
		}
	}
}
