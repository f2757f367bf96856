// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package apicall

import (
	"compress/gzip"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// dial returns our own client, which trusts server beside.
func dial(t *testing.T, server *httptest.Server, patience time.Duration) *http.Client {
	t.Helper()
	hc := Client(nil, patience)
	transport, ok := hc.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("our own transport is a %T", hc.Transport)
	}
	if trusted, ok := server.Client().Transport.(*http.Transport); ok && trusted.TLSClientConfig != nil {
		transport.TLSClientConfig.RootCAs = trusted.TLSClientConfig.RootCAs
	}
	t.Cleanup(transport.CloseIdleConnections)
	return hc
}

func TestOurTransportSpeaksHTTP2AndGzip(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("Accept-Encoding %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, "hello")
		_ = z.Close()
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	resp, err := dial(t, server, time.Minute).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "hello" || resp.ProtoMajor != 2 || resp.TLS.Version < tls.VersionTLS12 {
		t.Errorf("%q by %s, %v", body, resp.Proto, err)
	}
}

func TestOurTransportRefusesOldTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains about us
	server.StartTLS()
	defer server.Close()
	resp, err := dial(t, server, time.Minute).Get(server.URL)
	if err == nil {
		_ = resp.Body.Close()
		t.Fatal("a token would travel over TLS 1.1")
	}
	if !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("refused for another reason: %v", err)
	}
}

// A server that accepts and says nothing is given up on, at each step.
func TestOurTransportWaitsForNothingForever(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // nobody accepts: the kernel does
	hc := Client(nil, 50*time.Millisecond)
	resp, err := hc.Get("http://" + listener.Addr().String())
	if err == nil {
		_ = resp.Body.Close()
		t.Fatal("an answer from nobody")
	}
	if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() { //nolint:errorlint // the client's own error is asked
		t.Errorf("Get: %v, want a time-out", err)
	}
	transport, ok := hc.Transport.(*http.Transport)
	if !ok || transport.TLSHandshakeTimeout <= 0 || transport.IdleConnTimeout <= 0 || transport.HTTP2.PingTimeout <= 0 || transport.HTTP2.SendPingTimeout <= 0 || transport.MaxResponseHeaderBytes <= 0 {
		t.Errorf("a step without a bound: %+v", transport)
	}
}

// A transport of the host's is used as it is; redirects and cookies are not the
// host's to choose.
func TestHostsTransportIsKept(t *testing.T) {
	theirs := &http.Transport{}
	hc := Client(&http.Client{Transport: theirs, Timeout: time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}, time.Minute)
	if hc.Transport != theirs || hc.Timeout != time.Second || theirs.ResponseHeaderTimeout != 0 || theirs.TLSClientConfig != nil {
		t.Errorf("%+v", hc)
	}
	if hc.CheckRedirect(nil, nil) != http.ErrUseLastResponse { //nolint:errorlint // net/http compares so
		t.Error("a redirect would be followed, with a token")
	}
}
