// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenwire_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/tokenwire"
)

const tokens = `{"access_token":"at","refresh_token":"rt-2","expires_in":600}`

// logs is the transport that hosts write to see what is sent.
type logs struct{ base http.RoundTripper }

func (l logs) RoundTrip(req *http.Request) (*http.Response, error) {
	form, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Body = io.NopCloser(bytes.NewReader(form))
	return l.base.RoundTrip(req)
}

// dumps is another.
type dumps struct{ base http.RoundTripper }

func (d dumps) RoundTrip(req *http.Request) (*http.Response, error) {
	if _, err := httputil.DumpRequestOut(req, true); err != nil {
		return nil, err
	}
	return d.base.RoundTrip(req)
}

// repeats is the transport that means well.
type repeats struct {
	base http.RoundTripper
	// unknown sends the form without its length the second time, so that nothing tells
	// that it is the same.
	unknown bool
}

func (r repeats) RoundTrip(req *http.Request) (*http.Response, error) {
	form, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		again := req.Clone(req.Context())
		again.Body = io.NopCloser(bytes.NewReader(form))
		if r.unknown && try == 2 {
			again.ContentLength = -1
		}
		resp, err := r.base.RoundTrip(again)
		if try == 2 || err == nil && resp.StatusCode < 500 {
			return resp, err
		}
		if err == nil {
			_ = resp.Body.Close()
		}
	}
}

// ways are transports that a form goes through on its way to base.
var ways = map[string]func(base http.RoundTripper) http.RoundTripper{
	"plain":   func(base http.RoundTripper) http.RoundTripper { return base },
	"logs":    func(base http.RoundTripper) http.RoundTripper { return logs{base} },
	"dumps":   func(base http.RoundTripper) http.RoundTripper { return dumps{base} },
	"repeats": func(base http.RoundTripper) http.RoundTripper { return repeats{base: base} },
}

// server is a TCP server that answers requests as it is told.
type server struct {
	address   string
	forms     atomic.Int32 // forms that arrived whole
	connected atomic.Int32
	closed    chan struct{} // receives one value for each connection that has ended
}

// serve starts a server. serve gives it what it does on a connection, with a
// function that waits for the next form on it.
func serve(t *testing.T, talk func(conn net.Conn, next func() (*http.Request, bool))) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: l.Addr().String(), closed: make(chan struct{}, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); _ = l.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { _ = conn.Close() })
			s.connected.Add(1)
			all.Go(func() {
				defer func() { _ = conn.Close(); s.closed <- struct{}{} }()
				r := bufio.NewReader(conn)
				talk(conn, func() (*http.Request, bool) {
					req, err := http.ReadRequest(r)
					if err != nil {
						return nil, false
					}
					if _, err := io.ReadAll(req.Body); err != nil {
						return nil, false
					}
					s.forms.Add(1)
					return req, true
				})
			})
		}
	})
	return s
}

func (s *server) url() string { return "http://" + s.address + "/apiToken.action" }

func refused(context.Context, string, string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused: token=secret")}
}

// S22: where no connection comes about, nothing was sent, also when somebody on
// the way has read the form.
func TestNoConnection(t *testing.T) {
	refusing := func(status string) string {
		return "http://" + serve(t, func(conn net.Conn, next func() (*http.Request, bool)) {
			if _, ok := next(); ok && status != "" {
				_, _ = io.WriteString(conn, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\n\r\n")
			}
		}).address
	}
	through := func(proxy string) *http.Transport {
		u, err := url.Parse(proxy)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Transport{Proxy: http.ProxyURL(u)}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	_ = free.Close()
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	noSOCKS := serve(t, func(conn net.Conn, _ func() (*http.Request, bool)) { _, _ = conn.Read(make([]byte, 3)) })
	silent := serve(t, func(conn net.Conn, _ func() (*http.Request, bool)) { _, _ = io.Copy(io.Discard, conn) })

	for name, tc := range map[string]struct {
		base *http.Transport
		url  string
		says string
	}{
		"nobody listens":     {&http.Transport{}, "http://" + nobody, "the connection was refused"},
		"a dialler refuses":  {&http.Transport{DialContext: refused}, "http://pkb.invalid", "no connection could be made"},
		"no such name":       {&http.Transport{DialContext: (&net.Dialer{Resolver: noNames}).DialContext}, "http://pkb.invalid", "the host name could not be resolved"},
		"untrusted":          {&http.Transport{}, untrusted.URL, "the TLS handshake failed"},
		"no TLS":             {&http.Transport{}, "https" + strings.TrimPrefix(plain.URL, "http"), "the TLS handshake failed"},
		"silent instead":     {&http.Transport{TLSHandshakeTimeout: time.Millisecond}, "https://" + silent.address, "no response in time"},
		"the proxy is away":  {through("http://" + nobody), "https://pkb.invalid", "the connection was refused"},
		"the proxy says 407": {through(refusing("407 Proxy Authentication Required")), "https://pkb.invalid", "the request failed"},
		"the proxy says 403": {through(refusing("403 Forbidden")), "https://pkb.invalid", "the request failed"},
		"the proxy says 502": {through(refusing("502 Bad Gateway")), "https://pkb.invalid", "the request failed"},
		"the proxy hangs up": {through(refusing("")), "https://pkb.invalid", "the connection was cut"},
		"SOCKS hangs up":     {through("socks5://" + noSOCKS.address), "https://pkb.invalid", "the connection was cut"},
	} {
		for way, wrap := range ways {
			t.Run(name+", "+way, func(t *testing.T) {
				e := endpoint(wrap(tc.base))
				e.URL = tc.url
				out := e.Refresh(t.Context(), "rt", "")
				if out.Class != tokenwire.NotSent || out.Repeated {
					t.Errorf("%v, repeated %t, want not sent: the patient would have to approve again", out, out.Repeated)
				}
				if out.Err == nil || out.Err.Error() != tc.says {
					t.Errorf("error %v, want %q", out.Err, tc.says)
				}
			})
		}
	}
}

// noNames knows no host.
var noNames = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("no name server here")
}}

// What went before a failed connection decides: the form may have been sent by
// then.
func TestSentAndThenNoConnection(t *testing.T) {
	cuts := serve(t, func(_ net.Conn, next func() (*http.Request, bool)) { next() })
	var dials atomic.Int32
	base := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1) > 1 {
			return refused(ctx, network, address)
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	e := endpoint(repeats{base: base})
	e.URL = cuts.url()
	out := e.Refresh(t.Context(), "rt", "")
	if out.Class != tokenwire.Ambiguous || dials.Load() != 2 || cuts.forms.Load() != 1 {
		t.Errorf("%v after %d dials and %d forms, want ambiguous after 2 and 1", out, dials.Load(), cuts.forms.Load())
	}
}

// Of a transport that traces nothing, nothing can be proven once it has read
// the form, whatever it says.
func TestNothingTraced(t *testing.T) {
	_, refusal := refused(t.Context(), "", "")
	for _, says := range []error{
		refusal,
		errors.New("http2: Transport received Server's graceful shutdown GOAWAY"),
	} {
		untraced := roundTrip(func(req *http.Request) (*http.Response, error) {
			_, _ = io.ReadAll(req.Body)
			return nil, says
		})
		for way, rt := range map[string]http.RoundTripper{"plain": untraced, "logs": logs{untraced}, "dumps": dumps{untraced}} {
			if out := endpoint(rt).Refresh(t.Context(), "rt", ""); out.Class != tokenwire.Ambiguous {
				t.Errorf("%s, %v: %v, want ambiguous", way, says, out)
			}
		}
	}
}

// A transport that has reported a failure and goes on by itself does not get
// the form onto the wire any more.
func TestNotSentIsFinal(t *testing.T) {
	srv := serve(t, func(_ net.Conn, next func() (*http.Request, bool)) { next() })
	var (
		dials    atomic.Int32
		dialling = make(chan struct{})
		proceed  = make(chan struct{})
		second   = make(chan error, 1)
	)
	base := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1) > 1 {
			return refused(ctx, network, address)
		}
		close(dialling)
		<-proceed
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	e := endpoint(roundTrip(func(req *http.Request) (*http.Response, error) {
		form, _ := io.ReadAll(req.Body)
		send := func(ctx context.Context) error {
			again := req.Clone(ctx)
			again.Body = io.NopCloser(bytes.NewReader(form))
			resp, err := base.RoundTrip(again)
			if err == nil {
				_ = resp.Body.Close()
			}
			return err
		}
		go func() { second <- send(context.WithoutCancel(req.Context())) }()
		<-dialling
		return nil, send(req.Context())
	}))
	e.URL = srv.url()
	if out := e.Refresh(t.Context(), "rt", ""); out.Class != tokenwire.NotSent {
		t.Fatalf("%v, want not sent", out)
	}
	close(proceed)
	if err := <-second; err == nil {
		t.Error("a request that was reported as not sent got a response")
	}
	<-srv.closed
	if n := srv.forms.Load(); n != 0 {
		t.Errorf("%d forms arrived after they were reported as not sent", n)
	}
}

// H4: a server that closes kept connections, just as the next request comes.
func TestConnectionsAreNotKept(t *testing.T) {
	var reused, asked atomic.Int32
	srv := serve(t, func(conn net.Conn, next func() (*http.Request, bool)) {
		req, ok := next()
		if !ok {
			return
		}
		if req.Close {
			asked.Add(1)
		}
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(tokens), tokens)
		if _, ok := next(); ok {
			reused.Add(1)
		}
	})
	host := &http.Transport{}
	e := endpoint(host)
	e.URL = srv.url()
	for range 3 {
		if out := e.Refresh(t.Context(), "rt", ""); out.Class != tokenwire.OK {
			t.Errorf("%v: %v, want tokens", out, out.Err)
		}
		<-srv.closed
	}
	if reused.Load() != 0 || srv.connected.Load() != 3 || asked.Load() != 3 {
		t.Errorf("%d connections, %d to be closed, %d used again; want 3, 3 and 0", srv.connected.Load(), asked.Load(), reused.Load())
	}
	if host.DisableKeepAlives {
		t.Error("the transport of the host was changed: its other requests lose their connections")
	}
}

// H3: a length that is too short leaves the end of the response on the
// connection, and net/http prints what it finds on idle ones.
func TestRestOfResponseIsNotPrinted(t *testing.T) {
	var printed bytes.Buffer
	defer log.SetOutput(log.Writer())
	log.SetOutput(&printed)
	srv := serve(t, func(conn net.Conn, next func() (*http.Request, bool)) {
		if _, ok := next(); ok {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"+tokens)
			next() // until the client has closed
		}
	})
	e := endpoint(&http.Transport{})
	e.URL = srv.url()
	if out := e.Refresh(t.Context(), "rt", ""); out.Class != tokenwire.Ambiguous {
		t.Errorf("%v, want ambiguous", out)
	}
	<-srv.closed
	if printed.Len() > 0 {
		t.Errorf("printed: %s", &printed)
	}
}

// Responses as broken servers and proxies frame them.
func TestFraming(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\n"
	length := func(n int, body string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", n, body) }
	n, packed := len(tokens), gzipped(tokens)
	refusal := `{"error":"invalid_grant"}`
	for name, tc := range map[string]struct {
		response string
		want     tokenwire.Class
	}{
		"as it should be":            {head + length(n, tokens), tokenwire.OK},
		"length too large":           {head + length(n+50, tokens), tokenwire.OK},
		"length too small":           {head + length(n-5, tokens), tokenwire.Unread},
		"cut in the middle":          {head + length(n, tokens[:n/2]), tokenwire.Ambiguous},
		"cut in the headers":         {head + "Content-Le", tokenwire.Ambiguous},
		"nothing":                    {"", tokenwire.Ambiguous},
		"not HTTP":                   {"SSH-2.0-x\r\n", tokenwire.Ambiguous},
		"gzip":                       {head + "Content-Encoding: gzip\r\n" + length(len(packed), packed), tokenwire.OK},
		"gzip, length of the plain":  {head + "Content-Encoding: gzip\r\n" + length(len(packed)+200, packed), tokenwire.OK},
		"gzip without its end":       {head + "Content-Encoding: gzip\r\n" + length(len(packed)-8, packed[:len(packed)-8]), tokenwire.OK},
		"gzip announced, plain sent": {head + "Content-Encoding: gzip\r\n" + length(n, tokens), tokenwire.Ambiguous},
		"x-gzip":                     {head + "Content-Encoding: x-gzip\r\n" + length(len(packed), packed), tokenwire.OK},
		"chunked without an end":     {head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", n, tokens), tokenwire.OK},
		"chunked and cut":            {head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", n/2, tokens[:n/2]), tokenwire.Ambiguous},
		"no length":                  {head + "\r\n" + tokens, tokenwire.OK},
		"no length, cut":             {head + "\r\n" + tokens[:n/2], tokenwire.Unread},
		"after 100 and 103":          {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + head + length(n, tokens), tokenwire.OK},
		"two lengths":                {head + fmt.Sprintf("Content-Length: %d\r\n", n) + length(n+1, tokens), tokenwire.Ambiguous},
		"a bad header":               {head + "no colon here\r\n" + length(n, tokens), tokenwire.Ambiguous},
		"204":                        {"HTTP/1.1 204 No Content\r\n\r\n", tokenwire.Ambiguous},
		"refusal":                    {"HTTP/1.1 400 Bad Request\r\n" + length(len(refusal), refusal), tokenwire.Rejected},
		"refusal, cut":               {"HTTP/1.1 400 Bad Request\r\n" + length(len(refusal)+1, refusal), tokenwire.Unclear},
		"a known body":               {"HTTP/1.1 401 Unauthorized\r\n" + length(17, "Bad refresh token"), tokenwire.Rejected},
		"a known body, cut":          {"HTTP/1.1 401 Unauthorized\r\n" + length(18, "Bad refresh token"), tokenwire.Unclear},
		"503, cut":                   {"HTTP/1.1 503 Service Unavailable\r\n" + length(100, "x"), tokenwire.Ambiguous},
		"429, cut":                   {"HTTP/1.1 429 Too Many Requests\r\n" + length(100, "x"), tokenwire.AppWide},
	} {
		t.Run(name, func(t *testing.T) {
			srv := serve(t, func(conn net.Conn, next func() (*http.Request, bool)) {
				if _, ok := next(); ok {
					_, _ = io.WriteString(conn, tc.response)
				}
			})
			e := endpoint(&http.Transport{})
			e.URL = srv.url()
			out := e.Refresh(t.Context(), "rt", "")
			if out.Class != tc.want {
				t.Errorf("%v: %v, want %v", out, out.Err, tc.want)
			}
			if n := srv.forms.Load(); n != 1 {
				t.Errorf("%d forms were sent", n)
			}
		})
	}
}

// H2: a transport that repeats by itself, and cannot be stopped, presents the token
// twice, and what the server says then is about the second time.
func TestRepeatingTransport(t *testing.T) {
	for name, tc := range map[string]struct {
		responses []string
		want      tokenwire.Class
	}{
		"tokens after all": {[]string{"503 Service Unavailable|", "200 OK|" + tokens}, tokenwire.OK},
		"unread":           {[]string{"503 Service Unavailable|", "200 OK|" + `{"token":"secret"}`}, tokenwire.Unread},
		"used":             {[]string{"503 Service Unavailable|", `400 Bad Request|{"error":"invalid_grant"}`}, tokenwire.Ambiguous},
		"unclear":          {[]string{"503 Service Unavailable|", "403 Forbidden|"}, tokenwire.Ambiguous},
		"busy":             {[]string{"503 Service Unavailable|", "429 Too Many Requests|"}, tokenwire.Ambiguous},
		"cut both times":   {[]string{"", ""}, tokenwire.Ambiguous},
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			srv := serve(t, func(conn net.Conn, next func() (*http.Request, bool)) {
				if _, ok := next(); !ok {
					return
				}
				if status, body, ok := strings.Cut(tc.responses[n.Add(1)-1], "|"); ok {
					fmt.Fprintf(conn, "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
				}
			})
			e := endpoint(repeats{base: &http.Transport{}, unknown: true})
			e.URL = srv.url()
			out := e.Refresh(t.Context(), "rt", "")
			if out.Class != tc.want || !out.Repeated || out.Cause != "" {
				t.Errorf("%v, repeated %t, cause %q; want %v, repeated", out, out.Repeated, out.Cause, tc.want)
			}
			if (out.Err == nil) != (tc.want == tokenwire.OK) {
				t.Errorf("error %v", out.Err)
			}
			if n := srv.forms.Load(); n != 2 {
				t.Fatalf("%d forms were sent: the test does not show what it is for", n)
			}
		})
	}
}

// H2: the form that a transport sends for a second time is cut off before it is on the
// wire, whatever the transport makes of the first response.
func TestSecondSendIsCutOff(t *testing.T) {
	for name, first := range map[string]string{
		"no response":     "",
		"busy":            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
		"a mistake":       "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
		"half a response": "HTTP/1.1 200 OK\r\nContent-Le",
	} {
		t.Run(name, func(t *testing.T) {
			srv := serve(t, func(conn net.Conn, next func() (*http.Request, bool)) {
				if _, ok := next(); ok {
					_, _ = io.WriteString(conn, first)
				}
			})
			e := endpoint(repeats{base: &http.Transport{}})
			e.URL = srv.url()
			out := e.Refresh(t.Context(), "rt", "")
			if out.Class != tokenwire.Ambiguous || !out.Repeated || out.Err == nil || !strings.Contains(out.Err.Error(), "tried to send the request more than once") {
				t.Errorf("%v, repeated %t: %v; want ambiguous, and the transport named", out, out.Repeated, out.Err)
			}
			<-srv.closed
			<-srv.closed
			if n := srv.forms.Load(); n != 1 {
				t.Errorf("%d forms were sent: the token was presented twice", n)
			}
		})
	}
}

// The same over HTTP/2, where the connection has requests of others.
func TestSecondSendIsCutOffOverHTTP2(t *testing.T) {
	var n atomic.Int32
	srv, trust := http2Server(t, func(w io.Writer, stream uint32) bool {
		n.Add(1)
		reset(w, stream, internalError)
		return true
	})
	base := &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true}
	defer base.CloseIdleConnections()
	e := endpoint(repeats{base: base})
	e.URL = "https://" + srv.address
	if out := e.Refresh(t.Context(), "rt", ""); out.Class != tokenwire.Ambiguous || !out.Repeated || n.Load() != 1 {
		t.Errorf("%v, repeated %t, after %d forms; want ambiguous after one", out, out.Repeated, n.Load())
	}
}

// A transport that asks twice at once to be faster gets the one response, and it counts.
func TestHedgeIsCutOff(t *testing.T) {
	for name, tc := range map[string]struct {
		response string
		want     tokenwire.Class
	}{
		"tokens":  {"200 OK|" + tokens, tokenwire.OK},
		"refused": {`400 Bad Request|{"error":"invalid_grant"}`, tokenwire.Rejected},
	} {
		t.Run(name, func(t *testing.T) {
			asked, proceed := make(chan struct{}), make(chan struct{})
			srv := serve(t, func(conn net.Conn, next func() (*http.Request, bool)) {
				if _, ok := next(); ok {
					close(asked)
					<-proceed
					status, body, _ := strings.Cut(tc.response, "|")
					fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
				}
			})
			base := &http.Transport{}
			e := endpoint(roundTrip(func(req *http.Request) (*http.Response, error) {
				form, _ := io.ReadAll(req.Body)
				send := func() (*http.Response, error) {
					again := req.Clone(req.Context())
					again.Body = io.NopCloser(bytes.NewReader(form))
					return base.RoundTrip(again)
				}
				go func() {
					defer close(proceed)
					<-asked
					if resp, err := send(); err == nil {
						_ = resp.Body.Close()
						t.Error("the second request got a response")
					}
				}()
				return send()
			}))
			e.URL = srv.url()
			if out := e.Refresh(t.Context(), "rt", ""); out.Class != tc.want || !out.Repeated || srv.forms.Load() != 1 {
				t.Errorf("%v, repeated %t, after %d forms: %v; want %v after one", out, out.Repeated, srv.forms.Load(), out.Err, tc.want)
			}
		})
	}
}

// What else a transport sends with the context of the request goes through.
func TestOtherRequestsAreNotCutOff(t *testing.T) {
	var audits atomic.Int32
	srv := serve(t, func(conn net.Conn, next func() (*http.Request, bool)) {
		req, ok := next()
		if !ok {
			return
		}
		if req.URL.Path == "/audit" {
			audits.Add(1)
		}
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(tokens), tokens)
	})
	base := &http.Transport{}
	e := endpoint(roundTrip(func(req *http.Request) (*http.Response, error) {
		audit := func() error {
			post, err := http.NewRequestWithContext(req.Context(), http.MethodPost, "http://"+srv.address+"/audit", strings.NewReader(`{}`))
			if err != nil {
				return err
			}
			post.Header.Set("Content-Type", "application/json")
			resp, err := base.RoundTrip(post)
			if err == nil {
				_ = resp.Body.Close()
			}
			return err
		}
		if err := audit(); err != nil {
			return nil, err
		}
		resp, err := base.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		return resp, audit()
	}))
	e.URL = srv.url()
	if out := e.Refresh(t.Context(), "rt", ""); out.Class != tokenwire.OK || audits.Load() != 2 {
		t.Errorf("%v after %d audits: %v; want tokens and two", out, audits.Load(), out.Err)
	}
}

// H3 behind a transport that is not ours: no connection is kept on which the rest of a
// response arrives and is printed.
func TestRestOfResponseIsNotPrintedByOthers(t *testing.T) {
	var printed bytes.Buffer
	defer log.SetOutput(log.Writer())
	log.SetOutput(&printed)
	srv := serve(t, func(conn net.Conn, next func() (*http.Request, bool)) {
		if _, ok := next(); ok {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"+tokens)
			next()
		}
	})
	host := &http.Transport{}
	defer host.CloseIdleConnections()
	e := endpoint(logs{host})
	e.URL = srv.url()
	_ = e.Refresh(t.Context(), "rt", "")
	<-srv.closed
	if printed.Len() > 0 {
		t.Errorf("printed: %s", &printed)
	}
}

// A transport that asks elsewhere before it sends does not repeat.
func TestRequestsOnTheWayAreNoRepetition(t *testing.T) {
	srv := serve(t, func(conn net.Conn, next func() (*http.Request, bool)) {
		if _, ok := next(); ok {
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 25\r\n\r\n{\"error\":\"invalid_grant\"}")
		}
	})
	base := &http.Transport{DisableKeepAlives: true}
	e := endpoint(roundTrip(func(req *http.Request) (*http.Response, error) {
		before, err := http.NewRequestWithContext(req.Context(), http.MethodGet, srv.url(), nil)
		if err != nil {
			return nil, err
		}
		resp, err := base.RoundTrip(before)
		if err != nil {
			return nil, err
		}
		_ = resp.Body.Close()
		return base.RoundTrip(req)
	}))
	e.URL = srv.url()
	if out := e.Refresh(t.Context(), "rt", ""); out.Class != tokenwire.Rejected || out.Repeated || srv.forms.Load() != 2 {
		t.Errorf("%v, repeated %t, of %d requests; want rejected", out, out.Repeated, srv.forms.Load())
	}
}

// http2Server is as much of an HTTP/2 server as it takes to refuse a request.
// respond gets what to write to and the number of the stream, when a request is
// complete; false closes the connection.
func http2Server(t *testing.T, respond func(w io.Writer, stream uint32) bool) (*server, *tls.Config) {
	t.Helper()
	config, roots := certificate(t)
	config.NextProtos = []string{"h2"}
	var requests atomic.Int32
	srv := serve(t, func(conn net.Conn, _ func() (*http.Request, bool)) {
		secure := tls.Server(conn, config)
		defer func() { _ = secure.Close() }()
		if _, err := io.ReadFull(secure, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
			return
		}
		frame(secure, frameSettings, 0, 0, nil)
		for {
			var head [9]byte
			if _, err := io.ReadFull(secure, head[:]); err != nil {
				return
			}
			payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
			if _, err := io.ReadFull(secure, payload); err != nil {
				return
			}
			kind, flags, stream := head[3], head[4], binary.BigEndian.Uint32(head[5:])
			switch {
			case kind == frameSettings && flags&flagAck == 0:
				frame(secure, frameSettings, flagAck, 0, nil)
			case kind == frameData && flags&flagEndStream != 0:
				requests.Add(1)
				if !respond(secure, stream) {
					return
				}
			}
		}
	})
	t.Cleanup(func() {
		if requests.Load() == 0 {
			t.Error("no request came in: the test does not show what it is for")
		}
	})
	return srv, &tls.Config{RootCAs: roots}
}

const (
	frameData, frameHeaders, frameReset, frameSettings, frameGoAway = 0, 1, 3, 4, 7
	flagAck, flagEndStream, flagEndHeaders                          = 1, 1, 4
	noError, protocolError, internalError, refusedStream, calm      = 0, 1, 2, 7, 11
	canceled                                                        = 8
)

func frame(w io.Writer, kind, flags byte, stream uint32, payload []byte) {
	n := len(payload)
	b := binary.BigEndian.AppendUint32([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, stream)
	_, _ = w.Write(append(b, payload...))
}

func reset(w io.Writer, stream, code uint32) {
	frame(w, frameReset, 0, stream, binary.BigEndian.AppendUint32(nil, code))
}

func goAway(w io.Writer, last, code uint32) {
	frame(w, frameGoAway, 0, 0, append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), code), "secret"...))
}

// certificate returns what a server at 127.0.0.1 needs, and who trusts it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS()
	defer srv.Close()
	return &tls.Config{Certificates: srv.TLS.Certificates}, srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
}

// H4: a server that says that it did not look at a request did not spend the
// token. One that says anything else may have.
func TestHTTP2Refusals(t *testing.T) {
	for name, tc := range map[string]struct {
		respond func(w io.Writer, stream uint32) bool
		want    tokenwire.Class
	}{
		"tokens": {func(w io.Writer, stream uint32) bool {
			frame(w, frameHeaders, flagEndHeaders, stream, []byte{0x88}) // :status 200
			frame(w, frameData, flagEndStream, stream, []byte(tokens))
			return true
		}, tokenwire.OK},
		"GOAWAY":                  {func(w io.Writer, _ uint32) bool { goAway(w, 0, noError); return true }, tokenwire.NotSent},
		"GOAWAY, calm down":       {func(w io.Writer, _ uint32) bool { goAway(w, 0, calm); return true }, tokenwire.NotSent},
		"GOAWAY, a code unknown":  {func(w io.Writer, _ uint32) bool { goAway(w, 0, 99); return true }, tokenwire.NotSent},
		"REFUSED_STREAM":          {func(w io.Writer, stream uint32) bool { reset(w, stream, refusedStream); return true }, tokenwire.NotSent},
		"GOAWAY after it, closed": {func(w io.Writer, stream uint32) bool { goAway(w, stream, noError); return false }, tokenwire.Ambiguous},
		"GOAWAY, any, closed":     {func(w io.Writer, _ uint32) bool { goAway(w, 1<<31-1, noError); return false }, tokenwire.Ambiguous},
		"PROTOCOL_ERROR":          {func(w io.Writer, stream uint32) bool { reset(w, stream, protocolError); return true }, tokenwire.Ambiguous},
		"INTERNAL_ERROR":          {func(w io.Writer, stream uint32) bool { reset(w, stream, internalError); return true }, tokenwire.Ambiguous},
		"CANCEL":                  {func(w io.Writer, stream uint32) bool { reset(w, stream, canceled); return true }, tokenwire.Ambiguous},
		"hangs up":                {func(io.Writer, uint32) bool { return false }, tokenwire.Ambiguous},
		"refused in the middle": {func(w io.Writer, stream uint32) bool {
			frame(w, frameHeaders, flagEndHeaders, stream, []byte{0x88})
			frame(w, frameData, 0, stream, []byte(tokens[:9]))
			reset(w, stream, refusedStream)
			return true
		}, tokenwire.Ambiguous},
	} {
		for _, way := range []string{"plain", "logs", "dumps"} {
			t.Run(name+", "+way, func(t *testing.T) {
				srv, trust := http2Server(t, tc.respond)
				base := &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true, DisableKeepAlives: true}
				defer base.CloseIdleConnections()
				e := endpoint(ways[way](base))
				e.URL = "https://" + srv.address
				out := e.Refresh(t.Context(), "rt", "")
				if out.Class != tc.want || out.Repeated {
					t.Errorf("%v, repeated %t: %v, want %v", out, out.Repeated, out.Err, tc.want)
				}
				if strings.Contains(fmt.Sprint(out.Err), "secret") {
					t.Errorf("it prints what the server said: %v", out.Err)
				}
			})
		}
	}
}

// A refusal says nothing about what was sent before it.
func TestRefusedAtTheSecondTime(t *testing.T) {
	var n atomic.Int32
	srv, trust := http2Server(t, func(w io.Writer, stream uint32) bool {
		if n.Add(1) == 1 {
			reset(w, stream, internalError)
		} else {
			reset(w, stream, refusedStream)
		}
		return true
	})
	base := &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true, DisableKeepAlives: true}
	e := endpoint(repeats{base: base, unknown: true})
	e.URL = "https://" + srv.address
	if out := e.Refresh(t.Context(), "rt", ""); out.Class != tokenwire.Ambiguous || !out.Repeated || n.Load() != 2 {
		t.Errorf("%v, repeated %t, after %d requests; want ambiguous", out, out.Repeated, n.Load())
	}
}

// A copy of a transport speaks HTTP/2 where the transport does, and not where
// the host has turned it off.
func TestCopyKeepsHTTP2(t *testing.T) {
	var seen sync.Map
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.FormValue("refresh_token"), r.Proto)
		_, _ = io.WriteString(w, tokens)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	trusting := func(t *http.Transport) *http.Transport {
		t.CloseIdleConnections() // makes it what it is at its first request
		if t.TLSClientConfig == nil {
			t.TLSClientConfig = &tls.Config{}
		}
		t.TLSClientConfig.RootCAs = roots
		return t
	}
	foreign := func(string, *tls.Conn) http.RoundTripper {
		return roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("not to be used") })
	}
	type upgrades = map[string]func(string, *tls.Conn) http.RoundTripper
	for name, tc := range map[string]struct {
		transport *http.Transport
		want      string
	}{
		"by default":        {trusting(&http.Transport{}), "HTTP/2.0"},
		"asked for":         {trusting(&http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{}}), "HTTP/2.0"},
		"with a TLS config": {trusting(&http.Transport{TLSClientConfig: &tls.Config{}}), "HTTP/1.1"},
		"turned off":        {trusting(&http.Transport{TLSNextProto: upgrades{}}), "HTTP/1.1"},
		"of another module": {trusting(&http.Transport{TLSNextProto: upgrades{"h2": foreign}}), "HTTP/2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			e := endpoint(tc.transport)
			e.URL = srv.URL
			if out := e.Refresh(t.Context(), name, ""); out.Class != tokenwire.OK {
				t.Fatalf("%v: %v", out, out.Err)
			}
			if got, _ := seen.Load(name); got != tc.want {
				t.Errorf("sent with %v, want %s", got, tc.want)
			}
		})
	}

	// Connections that come about at the same time are not shared: net/http
	// would close all but one, and fail the requests for the others.
	const atOnce = 30
	var dialled sync.WaitGroup
	dialled.Add(atOnce)
	e := endpoint(trusting(&http.Transport{ForceAttemptHTTP2: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled.Done()
		dialled.Wait()
		return new(net.Dialer).DialContext(ctx, network, address)
	}}))
	e.URL = srv.URL
	var all sync.WaitGroup
	for i := range atOnce {
		all.Go(func() {
			if out := e.Refresh(t.Context(), fmt.Sprint(i), ""); out.Class != tokenwire.OK || out.Repeated {
				t.Errorf("%v, repeated %t: %v: %v", out, out.Repeated, out.Err, errors.Unwrap(out.Err))
			}
		})
	}
	all.Wait()
}

// A host without a client of its own gets one that works.
func TestNoClient(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tokens) }))
	defer srv.Close()
	var typedNil *http.Transport
	for name, hc := range map[string]*http.Client{"nil": nil, "zero": {}, "no transport": {Transport: typedNil}} {
		e := endpoint(nil)
		e.HTTP, e.URL = hc, srv.URL
		if out := e.Refresh(t.Context(), "rt", ""); out.Class != tokenwire.OK {
			t.Errorf("%s: %v: %v", name, out, out.Err)
		}
	}
}
