// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenwire

import (
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"time"
)

// ofItsOwn returns the transport for POSTs of a client whose transport is rt. A
// *http.Transport is copied, so that a POST has a connection of its own: the server
// can close a kept one just as the form is written, and net/http prints what arrives
// on an idle one, token and all. Any other transport is used as it is.
func ofItsOwn(rt http.RoundTripper) http.RoundTripper {
	host, ok := rt.(*http.Transport)
	if rt != nil && !ok {
		return rt
	}
	if host == nil {
		host = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    10 * time.Second,
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
			MaxResponseHeaderBytes: 256 << 10,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		}
	}
	t := host.Clone()
	t.DisableKeepAlives = true
	t.ResponseHeaderTimeout = 0 // Endpoint.Timeout is the only bound
	// For a connection that is made after the caller has left.
	t.IdleConnTimeout = 10 * time.Second
	if t.TLSNextProto["h2"] != nil {
		// golang.org/x/net/http2, whose connections are the host's.
		t.TLSNextProto = nil
		t.ForceAttemptHTTP2 = true
	}
	if t.TLSNextProto == nil && t.TLSClientConfig != nil && slices.Contains(t.TLSClientConfig.NextProtos, "h2") {
		// Clone copies the protocols that net/http offers to the server, but not
		// that it can speak them.
		t.ForceAttemptHTTP2 = true
	}
	return fresh{t}
}

// fresh sends each request with a copy of a transport. Requests at the same time
// would otherwise share HTTP/2 connections, and fail where one of them ends.
type fresh struct{ template *http.Transport }

func (f fresh) RoundTrip(req *http.Request) (*http.Response, error) {
	return f.template.Clone().RoundTrip(req)
}
