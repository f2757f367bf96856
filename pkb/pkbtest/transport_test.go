// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// In memory and over a port the responses are the same, header for header.
func TestMemoryAndPortAnswerAlike(t *testing.T) {
	type answer struct {
		Status int
		Proto  string
		Header http.Header
		Length int64
		Body   string
	}
	gather := func(a *app) []answer {
		p := a.server.AddPatient(pkbtest.Patient{})
		token := a.link(p).Access
		a.server.Next(pkbtest.Self, pkbtest.Pass(), pkbtest.Pass(), pkbtest.Respond(204, "", ""), pkbtest.Respond(200, "", "x"), func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>guess") })
		})
		var all []answer
		for _, q := range [][4]string{
			{"GET", "/json/users/self", token, ""},
			{"HEAD", "/json/users/self", token, ""},
			{"GET", "/json/users/self", token, ""},
			{"GET", "/json/users/self", token, ""},
			{"GET", "/json/users/self", token, ""},
			{"GET", "/json/users/self", "bad", ""},
			{"POST", "/fhir/Consent/$purview", token, `{"resourceType":"Parameters"}`},
			{"POST", "/apiToken.action", "", "{}"},
			{"GET", "/apiAuthorize.action", "", ""},
			{"GET", "/nowhere", "", ""},
			{"GET", "/fhir/nothing", "", ""},
		} {
			req, err := http.NewRequestWithContext(t.Context(), q[0], a.server.URL()+q[1], strings.NewReader(q[3]))
			if err != nil {
				t.Fatal(err)
			}
			if q[2] != "" {
				req.Header.Set("Authorization", "Bearer "+q[2])
			}
			if q[3] != "" {
				req.Header.Set("Content-Type", "application/fhir+json")
			}
			resp, err := a.http.Do(req)
			if err != nil {
				t.Fatalf("%v: %v", q, err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatalf("%v: %v", q, err)
			}
			_ = resp.Body.Close()
			if resp.Request.URL.Path != req.URL.Path {
				t.Errorf("Response.Request is for %s", resp.Request.URL)
			}
			if resp.Header.Get("Date") == "" {
				t.Errorf("%v: no Date", q)
			}
			resp.Header.Del("Date")
			all = append(all, answer{resp.StatusCode, resp.Proto, resp.Header, resp.ContentLength, string(body)})
		}
		return all
	}
	memory, port := newApp(t, pkbtest.Config{}), startApp(t)
	if diff := cmp.Diff(gather(port), gather(memory)); diff != "" {
		t.Errorf("(-port +memory):\n%s", diff)
	}
	// What arrived is the same too, but for the host.
	log := func(a *app) []string {
		var lines []string
		for _, q := range a.server.Requests() {
			q.Header.Del("Content-Length") // over a port the server sees one that nobody set
			lines = append(lines, q.String(), q.Form.Encode(), strings.Join(q.Header.Values("Accept-Encoding"), ","), q.Header.Get("User-Agent"))
		}
		return lines
	}
	if diff := cmp.Diff(log(port), log(memory)); diff != "" {
		t.Errorf("requests (-port +memory):\n%s", diff)
	}
}

// body is a request body that knows whether it was closed.
type body struct {
	io.Reader
	closed atomic.Bool
}

func (b *body) Close() error { b.closed.Store(true); return nil }

func TestTransportTreatsTheBodyAsOneDoes(t *testing.T) {
	s := pkbtest.New(pkbtest.Config{})
	unreadable := errors.New("unreadable")
	for name, tc := range map[string]struct {
		address string
		reader  io.Reader
		length  int64
		header  bool
		want    string // in the error; "" for none
	}{
		"good":           {s.URL() + "/x", strings.NewReader("abc"), 3, true, ""},
		"unknown length": {s.URL() + "/x", strings.NewReader("abc"), -1, true, ""},
		"too short":      {s.URL() + "/x", strings.NewReader("ab"), 3, true, "ContentLength=3"},
		"unreadable":     {s.URL() + "/x", io.MultiReader(strings.NewReader("a"), errReader{unreadable}), -1, true, "unreadable"},
		"no scheme":      {"//x/y", strings.NewReader("abc"), 3, true, "scheme"},
		"no host":        {"http:///y", strings.NewReader("abc"), 3, true, "host"},
		"no header map":  {s.URL() + "/x", strings.NewReader("abc"), 3, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := &body{Reader: tc.reader}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tc.address, b)
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = tc.length
			if !tc.header {
				req.Header = nil
			}
			resp, err := s.Transport().RoundTrip(req)
			if err == nil {
				_ = resp.Body.Close()
				if _, err := resp.Body.Read(make([]byte, 1)); err == nil || err == io.EOF {
					t.Errorf("reading a closed body: %v", err)
				}
			}
			if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if !b.closed.Load() {
				t.Error("the body was not closed")
			}
		})
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestTransportCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pkbtest.New(pkbtest.Config{})
		// Before it begins: nothing arrives.
		gone, cancel := context.WithCancelCause(t.Context())
		why := errors.New("changed my mind")
		cancel(why)
		b := &body{Reader: strings.NewReader("x")}
		req, _ := http.NewRequestWithContext(gone, http.MethodPost, s.URL()+"/x", b)
		if _, err := s.Transport().RoundTrip(req); !errors.Is(err, why) || !b.closed.Load() || s.Count("") != 0 {
			t.Errorf("%v, closed %t, %d arrived", err, b.closed.Load(), s.Count(""))
		}
		// While the body is written: the body is closed, nothing arrives.
		r, w := io.Pipe()
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		req, _ = http.NewRequestWithContext(ctx, http.MethodPost, s.URL()+"/x", r)
		if _, err := s.Transport().RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		synctest.Wait()
		if _, err := w.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the body is still read: %v", err)
		}
		if n := s.Count(""); n != 0 {
			t.Errorf("%d arrived", n)
		}
		// A client's own timeout.
		s.Next("", pkbtest.Delay(time.Hour))
		_, err := (&http.Client{Transport: s.Transport(), Timeout: time.Minute}).Get(s.URL() + "/x")
		var timeout interface{ Timeout() bool }
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("a client's timeout: %v", err)
		}
		synctest.Wait() // the bubble fails if a goroutine is left
	})
}

// A fault that fails does not hang the client.
func TestTransportSurvivesBadFaults(t *testing.T) {
	s := pkbtest.New(pkbtest.Config{})
	handler := func(f func()) pkbtest.Fault {
		return func(http.Handler) http.Handler {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { f() })
		}
	}
	s.Next("", handler(func() { panic("oh dear") }), handler(runtime.Goexit), pkbtest.Drop())
	for _, want := range []string{"oh dear", "goroutine", "cut"} {
		resp, err := (&http.Client{Transport: s.Transport()}).Get(s.URL())
		if err == nil {
			_ = resp.Body.Close()
			t.Fatal("no error")
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if want == "cut" && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v is not io.ErrUnexpectedEOF", err)
		}
	}
}

// The server's clock goes with the bubble's and with Advance.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pkbtest.New(pkbtest.Config{})
		start := s.Now()
		time.Sleep(time.Hour)
		s.Advance(time.Minute)
		if got := s.Now().Sub(start); got != time.Hour+time.Minute {
			t.Errorf("%v passed", got)
		}
	})
}
