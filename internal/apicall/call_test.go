// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package apicall

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What is not repeatable is sent once, whatever happens, and a failure proves whether
// PKB can have received it.
func TestWhatWritesIsSentOnceAndKnowsWhetherItLeft(t *testing.T) {
	closed, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + closed.Addr().String()
	_ = closed.Close()

	type outcome struct {
		Status, Requests int
		Sent, Accepted   bool
	}
	for name, tc := range map[string]struct {
		serve http.HandlerFunc // nil: nobody listens
		any   bool
		want  outcome
	}{
		"nobody listens":      {nil, true, outcome{}},
		"cut":                 {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true, outcome{Requests: 1, Sent: true}},
		"busy":                {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, true, outcome{Status: 503, Requests: 1, Sent: true}},
		"created":             {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }, true, outcome{Requests: 1, Accepted: true}},
		"created, not wanted": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }, false, outcome{Status: 201, Requests: 1, Sent: true}},
		"redirected":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(307) }, true, outcome{Status: 307, Requests: 1, Sent: true}},
	} {
		t.Run(name, func(t *testing.T) {
			var got outcome
			var requests atomic.Int32
			address := nobody
			if tc.serve != nil {
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					if body, _ := io.ReadAll(r.Body); string(body) != "{}" {
						t.Errorf("the body is %q", body)
					}
					tc.serve(w, r)
				}))
				defer server.Close()
				address = server.URL
			}
			p := Policy{Timeout: time.Minute, Retries: 3, MaxBytes: 1 << 20, Final: func(error) bool { return false }, Logger: slog.New(slog.DiscardHandler)}
			request := Request{Method: http.MethodPost, URL: address, MediaType: "application/json", Body: []byte("{}"), AnySuccess: tc.any}
			failed, err := p.Do(t.Context(), Client(nil, time.Minute), request, func(b *Body) error { _, err := b.All(); return err })
			if failed == nil && err != nil {
				t.Fatal(err)
			}
			got.Requests = int(requests.Load())
			if got.Accepted = failed == nil; failed != nil {
				got.Status, got.Sent = failed.Status, failed.Sent
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
