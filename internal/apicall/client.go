// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package apicall

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// Client returns a copy of the host's client, or a default one, that follows no
// redirect and keeps no cookies: a token is sent to the address it was meant for
// and nowhere else. Unlike http.DefaultTransport, the default transport has a
// time-out for every step; patience bounds the wait for a response to begin.
func Client(host *http.Client, patience time.Duration) *http.Client {
	var hc http.Client
	if host != nil {
		hc = *host
	}
	if hc.Transport == nil {
		hc.Transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			ForceAttemptHTTP2:     true,
			MaxIdleConns:          100,
			MaxIdleConnsPerHost:   16,
			IdleConnTimeout:       90 * time.Second,
			TLSHandshakeTimeout:   10 * time.Second,
			ExpectContinueTimeout: time.Second,
			ResponseHeaderTimeout: patience,
			// A ping finds a connection that died unnoticed.
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
			MaxResponseHeaderBytes: 256 << 10,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		}
	}
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	hc.Jar = nil
	return &hc
}
