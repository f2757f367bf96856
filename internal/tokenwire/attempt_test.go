// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenwire_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"

	"github.com/betawerk/pkb-go/internal/tokenwire"
)

const timeout = 3 * time.Minute

// piped is an endpoint whose server is at the other end of a pipe, in a bubble. talk
// is what the server does with a connection once it has read a form.
func piped(talk func(conn net.Conn)) *tokenwire.Endpoint {
	e := endpoint(&http.Transport{
		ResponseHeaderTimeout: time.Second,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				defer func() { _ = server.Close() }()
				if req, err := http.ReadRequest(bufio.NewReader(server)); err == nil {
					_, _ = io.ReadAll(req.Body)
					talk(server)
				}
			}()
			return client, nil
		},
	})
	e.URL, e.Timeout = "http://pkb.example/", timeout
	e.HTTP.Timeout = time.Second
	return e
}

// H1, H6: how long a response is waited for does not depend on the caller or the
// server, but on what the rest can still prove.
func TestPatience(t *testing.T) {
	const refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 25\r\n\r\n"
	type step struct {
		after time.Duration
		text  string
	}
	for name, tc := range map[string]struct {
		steps []step // then nothing, for ever
		want  tokenwire.Class
		took  time.Duration
		says  string
	}{
		"tokens, late":       {[]step{{timeout - 1, "HTTP/1.1 200 OK\r\n\r\n" + tokens + "<eof>"}}, tokenwire.OK, timeout - 1, ""},
		"tokens, in pieces":  {[]step{{time.Minute, "HTTP/1.1 200 OK\r\n\r\n" + tokens[:9]}, {time.Minute, tokens[9:] + "<eof>"}}, tokenwire.OK, 2 * time.Minute, ""},
		"tokens, no end":     {[]step{{0, "HTTP/1.1 200 OK\r\n\r\n" + tokens}}, tokenwire.OK, timeout, ""},
		"half the tokens":    {[]step{{0, "HTTP/1.1 200 OK\r\n\r\n" + tokens[:9]}}, tokenwire.Ambiguous, timeout, "no response in time"},
		"nothing":            {nil, tokenwire.Ambiguous, timeout, "no response in time"},
		"half the headers":   {[]step{{0, "HTTP/1.1 400 B"}}, tokenwire.Ambiguous, timeout, "no response in time"},
		"refusal, slow":      {[]step{{time.Minute, refusal}, {10*time.Second - 1, `{"error":"invalid_grant"}`}}, tokenwire.Rejected, 70*time.Second - 1, ""},
		"refusal, too slow":  {[]step{{time.Minute, refusal + `{"error":"invalid_grant"`}}, tokenwire.Unclear, 70 * time.Second, "the response did not end in time"},
		"refusal, no end":    {[]step{{0, "HTTP/1.1 400 Bad Request\r\n\r\n" + `{"error":"invalid_grant"}`}}, tokenwire.Unclear, 10 * time.Second, "the response did not end in time"},
		"refusal, very late": {[]step{{timeout - 1, refusal}}, tokenwire.Unclear, timeout, "no response in time"},
		"429":                {[]step{{0, "HTTP/1.1 429 Too Many Requests\r\n\r\n<html>"}}, tokenwire.AppWide, 10 * time.Second, "the response did not end in time"},
		"503":                {[]step{{time.Minute, "HTTP/1.1 503 Service Unavailable\r\n\r\n<html>"}}, tokenwire.Ambiguous, 61 * time.Second, ""},
		"503, a little slow": {[]step{{0, "HTTP/1.1 503 Service Unavailable\r\n\r\n"}, {time.Second - 1, "<html><eof>"}}, tokenwire.Ambiguous, time.Second - 1, ""},
		"302":                {[]step{{0, "HTTP/1.1 302 Found\r\n\r\n<html>"}}, tokenwire.Unclear, time.Second, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := piped(func(conn net.Conn) {
					for _, s := range tc.steps {
						time.Sleep(s.after)
						text, last := strings.CutSuffix(s.text, "<eof>")
						if _, err := io.WriteString(conn, text); err != nil || last {
							return
						}
					}
					_, _ = io.Copy(io.Discard, conn) // until the client has left
				})
				start := time.Now()
				out := e.Refresh(t.Context(), "rt", "")
				if took := time.Since(start); out.Class != tc.want || took != tc.took {
					t.Errorf("%v: %v after %v, want %v after %v", out, out.Err, took, tc.want, tc.took)
				}
				if (out.Err == nil) != (tc.says == "") || out.Err != nil && out.Err.Error() != tc.says {
					t.Errorf("error %v, want %q", out.Err, tc.says)
				}
				time.Sleep(time.Minute)
				if n := e.Abandoned(); n != 0 {
					t.Errorf("%d requests are still running", n)
				}
			})
		})
	}
}

// A POST that is held up before the form is read leaves the token unspent.
func TestPatienceBeforeSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		defer close(never) // net/http lets a dialler finish
		e := endpoint(&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			<-never
			return nil, errors.New("too late")
		}})
		e.Timeout = timeout
		start := time.Now()
		out := e.Refresh(t.Context(), "rt", "")
		if took := time.Since(start); out.Class != tokenwire.NotSent || !errors.Is(out.Err, context.DeadlineExceeded) || took != timeout {
			t.Errorf("%v: %v after %v, want not sent after %v", out, out.Err, took, timeout)
		}
	})
}

// A caller can leave, before or while the form is on its way.
func TestCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var forms int
		e := piped(func(conn net.Conn) {
			forms++
			_, _ = io.Copy(io.Discard, conn)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		start := time.Now()
		out := e.Refresh(ctx, "rt", "")
		if took := time.Since(start); out.Class != tokenwire.Ambiguous || took != 7*time.Second {
			t.Errorf("%v: %v after %v, want ambiguous after 7 s", out, out.Err, took)
		}
		out = e.Refresh(ctx, "rt", "")
		synctest.Wait()
		if out.Class != tokenwire.NotSent || !errors.Is(out.Err, context.DeadlineExceeded) || forms != 1 {
			t.Errorf("a caller who had left: %v: %v, %d forms", out, out.Err, forms)
		}
	})
	// The same with a transport that ignores its context.
	asked := false
	e := endpoint(roundTrip(func(*http.Request) (*http.Response, error) {
		asked = true
		return httpmock.NewStringResponse(200, tokens), nil
	}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out := e.Refresh(ctx, "rt", ""); out.Class != tokenwire.NotSent || asked {
		t.Errorf("%v, want not sent", out)
	}
}

// A transport that does not notice the end of its time is abandoned, and counted.
func TestDeafTransport(t *testing.T) {
	for name, tc := range map[string]struct {
		reads bool
		want  tokenwire.Class
	}{
		"that has read the form": {true, tokenwire.Ambiguous},
		"that has not":           {false, tokenwire.NotSent},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release, late := make(chan struct{}), make(chan int, 1)
				e := endpoint(roundTrip(func(req *http.Request) (*http.Response, error) {
					if tc.reads {
						_, _ = io.ReadAll(req.Body)
					}
					<-release
					b, _ := io.ReadAll(req.Body)
					late <- len(b)
					return httpmock.NewStringResponse(200, tokens), nil
				}))
				e.Timeout = timeout
				start := time.Now()
				out := e.Refresh(t.Context(), "rt", "")
				if took := time.Since(start); out.Class != tc.want || took != timeout+5*time.Second {
					t.Errorf("%v after %v, want %v after %v", out, took, tc.want, timeout+5*time.Second)
				}
				if n := e.Abandoned(); n != 1 {
					t.Errorf("%d requests count as running, want 1", n)
				}
				close(release)
				synctest.Wait()
				if n := e.Abandoned(); n != 0 {
					t.Errorf("%d requests count as running after the last has ended", n)
				}
				if n := <-late; n != 0 {
					t.Errorf("%d bytes of the form could be read after the verdict", n)
				}
			})
		})
	}
}

// What it tried before proves nothing while it still runs.
func TestDeafTransportWithoutConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		e := endpoint(roundTrip(func(req *http.Request) (*http.Response, error) {
			_, err := logs{&http.Transport{DialContext: refused}}.RoundTrip(req)
			<-release
			return nil, err
		}))
		e.Timeout = timeout
		if out := e.Refresh(t.Context(), "rt", ""); out.Class != tokenwire.Ambiguous {
			t.Errorf("%v, want ambiguous", out)
		}
		close(release)
	})
}

// A body that drips on is not read to its end when nobody waits for it.
func TestDrippingBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint(roundTrip(func(*http.Request) (*http.Response, error) {
			drip := reader(func(p []byte) (int, error) {
				time.Sleep(700 * time.Millisecond)
				return copy(p, "<"), nil
			})
			return &http.Response{StatusCode: 503, Body: io.NopCloser(drip)}, nil
		}))
		e.Timeout = timeout
		start := time.Now()
		if out := e.Refresh(t.Context(), "rt", ""); out.Class != tokenwire.Ambiguous || time.Since(start) != time.Second {
			t.Errorf("%v after %v, want ambiguous after a second", out, time.Since(start))
		}
		time.Sleep(10 * time.Second)
		if n := e.Abandoned(); n != 0 {
			t.Errorf("%d bodies are still read", n)
		}
	})
}

// A response in the last moment is a response.
func TestDeafTransportRespondsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endpoint(roundTrip(func(req *http.Request) (*http.Response, error) {
			_, _ = io.ReadAll(req.Body)
			time.Sleep(timeout + 4*time.Second)
			return httpmock.NewStringResponse(200, tokens), nil
		}))
		e.Timeout = timeout
		if out := e.Refresh(t.Context(), "rt", ""); out.Class != tokenwire.OK || e.Abandoned() != 0 {
			t.Errorf("%v, %d running: the only copy of the successor is lost", out, e.Abandoned())
		}
	})
}

// deafBody is a body that ends when it pleases.
type deafBody struct {
	io.Reader
	release chan struct{}
}

func (b deafBody) Read(p []byte) (int, error) {
	if n, err := b.Reader.Read(p); err == nil {
		return n, nil
	}
	<-b.release
	return 0, io.EOF
}

func (deafBody) Close() error { return nil }

// H6: A body that does not end is not waited for longer than it is worth.
func TestDeafBody(t *testing.T) {
	for status, tc := range map[int]struct {
		want tokenwire.Class
		took time.Duration
	}{
		200: {tokenwire.OK, timeout + 5*time.Second},
		400: {tokenwire.Unclear, 10 * time.Second},
		503: {tokenwire.Ambiguous, time.Second},
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				e := endpoint(roundTrip(func(req *http.Request) (*http.Response, error) {
					_, _ = io.ReadAll(req.Body)
					return &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {"3"}}, Body: deafBody{strings.NewReader(tokens), release}}, nil
				}))
				e.Timeout = timeout
				start := time.Now()
				out := e.Refresh(t.Context(), "rt", "")
				if took := time.Since(start); out.Class != tc.want || took != tc.took || out.RetryAfter != 3*time.Second {
					t.Errorf("%v after %v, retry after %v, want %v after %v", out, took, out.RetryAfter, tc.want, tc.took)
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if n := e.Abandoned(); n != 1 {
					t.Errorf("%d requests count as running, want 1", n)
				}
				close(release)
				synctest.Wait()
				if n := e.Abandoned(); n != 0 {
					t.Errorf("%d requests count as running after the last has ended", n)
				}
			})
		})
	}
}

// A transport that fails badly does not fail the process.
func TestTransportThatPanics(t *testing.T) {
	const panicked, ended = "the application's HTTP transport panicked", "the application's HTTP transport ended its goroutine"
	read := func(req *http.Request) { _, _ = io.ReadAll(req.Body) }
	responds := func(status int, end func()) func(*http.Request) (*http.Response, error) {
		return func(req *http.Request) (*http.Response, error) {
			read(req)
			body := io.MultiReader(strings.NewReader(tokens[:9]), reader(func([]byte) (int, error) { end(); return 0, io.EOF }))
			return &http.Response{StatusCode: status, Body: io.NopCloser(body)}, nil
		}
	}
	dies := func() { panic("secret") }
	for name, tc := range map[string]struct {
		send   func(*http.Request) (*http.Response, error)
		status int
		want   tokenwire.Class
		says   string
	}{
		"panics":                {func(*http.Request) (*http.Response, error) { panic("secret") }, 0, tokenwire.NotSent, panicked},
		"panics after reading":  {func(req *http.Request) (*http.Response, error) { read(req); panic("secret") }, 0, tokenwire.Ambiguous, panicked},
		"panics with an error":  {func(req *http.Request) (*http.Response, error) { read(req); panic(errors.New("secret")) }, 0, tokenwire.Ambiguous, panicked},
		"Goexit":                {func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil }, 0, tokenwire.NotSent, ended},
		"Goexit after reading":  {func(req *http.Request) (*http.Response, error) { read(req); runtime.Goexit(); return nil, nil }, 0, tokenwire.Ambiguous, ended},
		"nothing":               {func(*http.Request) (*http.Response, error) { return nil, nil }, 0, tokenwire.NotSent, "the request failed"},
		"nothing after reading": {func(req *http.Request) (*http.Response, error) { read(req); return nil, nil }, 0, tokenwire.Ambiguous, "the request failed"},
		"an error that panics":  {func(req *http.Request) (*http.Response, error) { read(req); return nil, badError{} }, 0, tokenwire.Ambiguous, panicked},
		"no body": {func(req *http.Request) (*http.Response, error) {
			read(req)
			return &http.Response{StatusCode: 403}, nil
		}, 403, tokenwire.Unclear, ""},
		"body panics":                {responds(200, dies), 200, tokenwire.Ambiguous, panicked},
		"body Goexit":                {responds(200, runtime.Goexit), 200, tokenwire.Ambiguous, ended},
		"body of a refusal panics":   {responds(400, dies), 400, tokenwire.Unclear, panicked},
		"body of a 503 panics":       {responds(503, dies), 503, tokenwire.Ambiguous, ""},
		"body panics when closed":    {closing(read, dies), 200, tokenwire.OK, ""},
		"body Goexit when closed":    {closing(read, runtime.Goexit), 200, tokenwire.OK, ""},
		"panics without connections": {afterNoConnection, 0, tokenwire.NotSent, panicked},
	} {
		t.Run(name, func(t *testing.T) {
			e := endpoint(roundTrip(tc.send))
			e.URL = "http://127.0.0.1:0/"
			out := e.Refresh(t.Context(), "rt", "")
			if out.Class != tc.want || out.Status != tc.status {
				t.Errorf("%v: %v, want %v and status %d", out, out.Err, tc.want, tc.status)
			}
			if tc.says != "" && (out.Err == nil || out.Err.Error() != tc.says) {
				t.Errorf("error %v, want %q", out.Err, tc.says)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", out.Err, out.Err, errors.Unwrap(out.Err)), "secret") {
				t.Errorf("the panic value is printed: %v", out.Err)
			}
			if n := e.Abandoned(); n != 0 {
				t.Errorf("%d requests count as running", n)
			}
		})
	}
}

// afterNoConnection uses a response that it did not get.
func afterNoConnection(req *http.Request) (*http.Response, error) {
	resp, err := logs{&http.Transport{DialContext: refused}}.RoundTrip(req)
	fmt.Fprint(io.Discard, resp.StatusCode)
	return resp, err
}

// closing responds with a body that does something when it is closed.
func closing(read func(*http.Request), end func()) func(*http.Request) (*http.Response, error) {
	return func(req *http.Request) (*http.Response, error) {
		read(req)
		return &http.Response{StatusCode: 200, Body: struct {
			io.Reader
			io.Closer
		}{strings.NewReader(tokens), closer(end)}}, nil
	}
}

type reader func([]byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }

type closer func()

func (c closer) Close() error { c(); return nil }

type badError struct{}

func (badError) Error() string { panic("secret") }
