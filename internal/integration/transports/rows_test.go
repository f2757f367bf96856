// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package transports

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/gregjones/httpcache"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/jarcoal/httpmock"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"golang.org/x/oauth2"
	"golang.org/x/time/rate"
	"gopkg.in/dnaeon/go-vcr.v4/pkg/recorder"
)

// row is a client of a host.
type row struct {
	transport, setting string
	// make makes the client that is passed to New.
	make func(h *host) *http.Client
	// advice is for the host, if the row has notes.
	advice string
	// clientCertificate: the servers want one.
	clientCertificate bool
}

// host is what a row is made with.
type host struct {
	w *world
	// log returns what a wrapper has written, if it writes.
	log func() string
}

// base returns the transport that a host configures.
func (h *host) base(change ...func(*http.Transport)) *http.Transport {
	t := &http.Transport{
		DialContext:       h.w.net.dial,
		TLSClientConfig:   &tls.Config{RootCAs: h.w.trust.roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: h.w.http2,
	}
	for _, f := range change {
		f(t)
	}
	h.w.t.Cleanup(t.CloseIdleConnections)
	return t
}

// with is a host that sets something of the transport of net/http.
func with(change ...func(*http.Transport)) func(*host) *http.Client {
	return func(h *host) *http.Client { return &http.Client{Transport: h.base(change...)} }
}

// around is a host that wraps the transport of net/http.
func around(wrap func(h *host, base http.RoundTripper) http.RoundTripper) func(*host) *http.Client {
	return func(h *host) *http.Client { return &http.Client{Transport: wrap(h, h.base())} }
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// hedge asks twice where once takes long. (The timers of cristalhq/hedgedhttp cannot be
// used in a bubble.)
type hedge struct{ base http.RoundTripper }

func (h hedge) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	type outcome struct {
		resp *http.Response
		err  error
	}
	outcomes := make(chan outcome, 2)
	send := func() {
		out := req.Clone(req.Context())
		if req.Body != nil {
			out.Body = io.NopCloser(bytes.NewReader(body))
		}
		resp, err := h.base.RoundTrip(out)
		outcomes <- outcome{resp, err}
	}
	go send()
	late := time.NewTimer(500 * time.Millisecond)
	defer late.Stop()
	under := 1
	for {
		select {
		case <-late.C:
			under++
			go send()
		case o := <-outcomes:
			if under--; o.err == nil || under == 0 {
				go func() { // what comes later is not wanted
					for ; under > 0; under-- {
						if o := <-outcomes; o.err == nil {
							_ = o.resp.Body.Close()
						}
					}
				}()
				return o.resp, o.err
			}
		}
	}
}

const netHTTP = "net/http.Transport"

// rows are in the order of the page.
var rows = []row{
	{transport: netHTTP, setting: "as it comes", make: with()},
	{transport: netHTTP, setting: "ResponseHeaderTimeout of 1 s", make: with(func(t *http.Transport) { t.ResponseHeaderTimeout = time.Second })},
	{transport: netHTTP, setting: "DisableKeepAlives", make: with(func(t *http.Transport) { t.DisableKeepAlives = true })},
	{transport: netHTTP, setting: "MaxConnsPerHost 1", make: with(func(t *http.Transport) { t.MaxConnsPerHost = 1 })},
	{transport: netHTTP, setting: "ForceAttemptHTTP2", make: with(func(t *http.Transport) { t.ForceAttemptHTTP2 = true })},
	{transport: netHTTP, setting: "Proxy, with CONNECT", make: with(func(t *http.Transport) {
		t.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test:3128"})
	})},
	{transport: netHTTP, setting: "TLSClientConfig with roots and a client certificate", clientCertificate: true, make: func(h *host) *http.Client {
		return &http.Client{Transport: h.base(func(t *http.Transport) { t.TLSClientConfig.Certificates = []tls.Certificate{h.w.trust.client} })}
	}},
	{transport: netHTTP, setting: "a nil *http.Transport", make: func(*host) *http.Client { return &http.Client{Transport: (*http.Transport)(nil)} }},
	{
		transport: "net/http.Client", setting: "Timeout of 1 s",
		make:   func(h *host) *http.Client { return &http.Client{Transport: h.base(), Timeout: time.Second} },
		advice: "Leave it unset: `Config.RequestTimeout` bounds the calls.",
	},
	{transport: "net/http.Client", setting: "Jar", make: func(h *host) *http.Client {
		jar, err := cookiejar.New(nil)
		if err != nil {
			h.w.t.Fatal(err)
		}
		return &http.Client{Transport: h.base(), Jar: jar}
	}},
	{transport: "net/http.Client", setting: "CheckRedirect that follows all", make: func(h *host) *http.Client {
		return &http.Client{Transport: h.base(), CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
	}},
	{transport: "otelhttp.Transport", setting: "as it comes", make: around(func(_ *host, base http.RoundTripper) http.RoundTripper { return otelhttp.NewTransport(base) })},
	{
		transport: "otelhttp.Transport", setting: "around a ResponseHeaderTimeout of 1 s",
		make: func(h *host) *http.Client {
			return &http.Client{Transport: otelhttp.NewTransport(h.base(func(t *http.Transport) { t.ResponseHeaderTimeout = time.Second }))}
		},
		advice: "Leave `ResponseHeaderTimeout` unset under a wrapper: `Config.RequestTimeout` bounds the calls.",
	},
	{
		transport: "hashicorp/go-retryablehttp", setting: "StandardClient, as it comes",
		make: around(func(_ *host, base http.RoundTripper) http.RoundTripper {
			c := retryablehttp.NewClient()
			c.HTTPClient, c.Logger = &http.Client{Transport: base}, nil
			return c.StandardClient().Transport
		}),
		advice: "Leave it out: reads are retried by the library (`Config.Retries`).",
	},
	{
		transport: "a hedge", setting: "a second request after 500 ms, and the first response counts", advice: "Leave it out.",
		make: around(func(_ *host, base http.RoundTripper) http.RoundTripper { return hedge{base} }),
	},
	{
		transport: "a retry loop", setting: "of 3 requests, with the same body", advice: "Leave it out: reads are retried by the library (`Config.Retries`).",
		make: around(func(_ *host, base http.RoundTripper) http.RoundTripper {
			return roundTrip(func(req *http.Request) (resp *http.Response, err error) {
				for range 3 {
					if resp, err = base.RoundTrip(req); err == nil && resp.StatusCode < 500 {
						return resp, nil
					}
				}
				return resp, err
			})
		}),
	},
	{
		transport: "a logger", setting: "httputil.DumpRequestOut and DumpResponse, with bodies",
		make: around(func(h *host, base http.RoundTripper) http.RoundTripper {
			log := new(bytes.Buffer)
			h.log = log.String
			return roundTrip(func(req *http.Request) (*http.Response, error) {
				sent, err := httputil.DumpRequestOut(req, true)
				if err != nil {
					return nil, err
				}
				log.Write(sent)
				resp, err := base.RoundTrip(req)
				if err != nil {
					return nil, err
				}
				received, err := httputil.DumpResponse(resp, true)
				log.Write(received)
				return resp, err
			})
		}),
		advice: "The library cannot prevent that: log no bodies and no `Authorization`, or use `Config.Telemetry`.",
	},
	{
		transport: "gopkg.in/dnaeon/go-vcr.v4", setting: "recording, WithSkipRequestLatency",
		make: func(h *host) *http.Client {
			name := filepath.Join(h.w.t.TempDir(), "cassette")
			r, err := recorder.New(name, recorder.WithMode(recorder.ModeRecordOnly), recorder.WithRealTransport(h.base()), recorder.WithSkipRequestLatency(true))
			if err != nil {
				h.w.t.Fatal(err)
			}
			h.log = func() string {
				if err := r.Stop(); err != nil {
					h.w.t.Error(err)
				}
				written, err := os.ReadFile(name + ".yaml")
				if err != nil {
					h.w.t.Error(err)
				}
				return string(written)
			}
			return r.GetDefaultClient()
		},
		advice: "Record against `pkbtest` only, whose tokens and patients are made up.",
	},
	{transport: "gregjones/httpcache", setting: "in memory", make: around(func(_ *host, base http.RoundTripper) http.RoundTripper {
		cache := httpcache.NewMemoryCacheTransport()
		cache.Transport = base
		return cache
	})},
	{transport: "golang.org/x/time/rate", setting: "1 request a second", make: around(func(_ *host, base http.RoundTripper) http.RoundTripper {
		limit := rate.NewLimiter(1, 1)
		return roundTrip(func(req *http.Request) (*http.Response, error) {
			if err := limit.Wait(req.Context()); err != nil {
				return nil, err
			}
			return base.RoundTrip(req)
		})
	})},
	{transport: "jarcoal/httpmock", setting: "NewMockTransport, with a responder that passes on", make: around(func(_ *host, base http.RoundTripper) http.RoundTripper {
		mock := httpmock.NewMockTransport()
		mock.RegisterNoResponder(base.RoundTrip)
		return mock
	})},
	{transport: "golang.org/x/oauth2.Transport", setting: "with a token of the host", make: around(func(_ *host, base http.RoundTripper) http.RoundTripper {
		return &oauth2.Transport{Base: base, Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "of-the-host"})}
	})},
	{
		transport: "golang.org/x/oauth2.Transport", setting: "with a token of the host, inside otelhttp.Transport",
		make: around(func(_ *host, base http.RoundTripper) http.RoundTripper {
			return otelhttp.NewTransport(&oauth2.Transport{Base: base, Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "of-the-host"})})
		}),
		advice: "`New` cannot see it: leave it out.",
	},
	{
		transport: "a client as a transport", setting: "http.Client.Do, which follows redirects",
		make: around(func(_ *host, base http.RoundTripper) http.RoundTripper {
			inner := &http.Client{Transport: base}
			return roundTrip(func(req *http.Request) (*http.Response, error) {
				out := req.Clone(req.Context())
				out.RequestURI = ""
				return inner.Do(out)
			})
		}),
		advice: "Set its `CheckRedirect` to return `http.ErrUseLastResponse`.",
	},
	{transport: "a gateway", setting: "requests are sent to another host", make: around(func(_ *host, base http.RoundTripper) http.RoundTripper {
		return roundTrip(func(req *http.Request) (*http.Response, error) {
			out := req.Clone(req.Context())
			out.URL.Host = "gateway.test"
			return base.RoundTrip(out)
		})
	})},
}
