// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/pkb"
)

// endpoint is one of PKB's addresses.
type endpoint struct{ name, url string }

func endpoints(env pkb.Environment) []endpoint {
	all := []endpoint{
		{"authorize", env.AuthorizeURL}, {"token", env.TokenURL},
		{"users/self", env.SelfURL}, {"purview", env.PurviewURL},
	}
	if env.SelfURL == "" {
		all[2].url = strings.TrimRight(env.RESTURL, "/") + "/users/self"
	}
	if env.PurviewURL == "" {
		all[3].url = strings.TrimRight(env.FHIRURL, "/") + "/Consent/$purview"
	}
	return all
}

// lookAtPKB sends each address a GET without credentials, which changes nothing.
func (d *doctor) lookAtPKB(ctx context.Context, env pkb.Environment) {
	client := &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSHandshakeTimeout: 10 * time.Second,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	told := false
	for _, e := range endpoints(env) {
		before := now()
		a, err := get(ctx, client, e.url)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			found, fix := explain(err)
			d.add("pkb", statusFail, fix, "%s: %s", e.name, found)
			continue
		}
		s, fix := judgeAnswer(e.name, a.status)
		d.add("pkb", s, fix, "%s responds (HTTP status %d)", e.name, a.status)
		if told {
			continue
		}
		told = true
		d.judgeTLS(e.url, a.tls)
		if date, err := http.ParseTime(a.date); err == nil {
			d.judgeClock("PKB's", date.Add(500*time.Millisecond), before, now()) // its precision is a second
		}
	}
}

// answer is what is checked of a response.
type answer struct {
	status int
	date   string
	tls    *tls.ConnectionState
}

func get(ctx context.Context, client *http.Client, address string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("User-Agent", "pkbctl")
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	return answer{resp.StatusCode, resp.Header.Get("Date"), resp.TLS}, nil
}

// judgeAnswer judges the response to a GET without credentials. PKB does not document
// it: any response that is not a failure will do.
func judgeAnswer(name string, code int) (status, string) {
	switch {
	case code >= 500:
		return statusWarn, "PKB or a proxy in front of it fails; links are kept; try later"
	case code == http.StatusNotFound:
		return statusWarn, "check the address with PKB: nothing seems to be there"
	case code >= 300 && code < 400 && name != "authorize":
		return statusWarn, "use the address that it leads to: the library follows no redirect with a token"
	}
	return statusOK, ""
}

// judgeTLS checks the connection of the response.
func (d *doctor) judgeTLS(address string, state *tls.ConnectionState) {
	if state == nil {
		u, err := url.Parse(address)
		if err == nil && loopback(u.Hostname()) {
			d.ok("pkb", "plain http, on loopback")
		}
		return // pkb.New refuses it elsewhere
	}
	version := tls.VersionName(state.Version)
	ends := state.PeerCertificates[0].NotAfter
	const fix = "the certificate is PKB's, or that of a proxy in front of it: ask whoever runs it to renew it"
	if left := ends.Sub(now()); left < d.expiry {
		d.add("pkb", statusWarn, fix, "%s, and the certificate expires %s, at %s", version, distance(ends, now()), stamp(ends))
		return
	}
	d.ok("pkb", "%s, with a certificate until %s", version, stamp(ends))
}

// explain returns why there was no response.
func explain(err error) (found, fix string) {
	var (
		dns     *net.DNSError
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
		other   x509.HostnameError
		alert   tls.AlertError
		timeout net.Error
		wrapped *url.Error
	)
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("the name %s is not found", clean(dns.Name)), "check the address of -env, and the name server"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate has expired, or the system clock is wrong", "check the system clock; otherwise ask PKB to renew the certificate"
	case errors.As(err, &unknown):
		return "the certificate is signed by an authority that this system does not trust", "install the certificates of the usual authorities (ca-certificates), or that of a proxy that inspects TLS"
	case errors.As(err, &other), errors.As(err, &invalid):
		return "the certificate is not for this address", "check the address of -env"
	case errors.As(err, &alert), strings.Contains(err.Error(), "protocol version"):
		return "the server offers no TLS 1.2 or later", "check for a proxy in between"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no response in time", "check the firewall and the proxy settings (HTTPS_PROXY)"
	}
	return "there is no connection: " + clean(err.Error()), "check the address of -env, the firewall, and the proxy settings (HTTPS_PROXY)"
}

// judgeRedirect checks a redirect URI that pkb.New accepts.
func judgeRedirect(uri string, production bool) (s status, fix, found string) {
	u, err := url.Parse(uri)
	if err != nil {
		return statusFail, "write it as registered with PKB", "it is not a URL"
	}
	local := loopback(u.Hostname())
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return statusOK, "", fmt.Sprintf("the scheme %s of a mobile app: register exactly %s with PKB", clean(u.Scheme), clean(uri))
	case local && production:
		return statusFail, "register the https address of your application with PKB, and give that", "it leads to the patient's own computer, and this is production"
	case local:
		return statusOK, "", "it leads to loopback: for trying out only"
	case net.ParseIP(u.Hostname()) != nil:
		return statusWarn, "give your application a name", "it leads to a bare IP address"
	case u.Path == "" || u.Path == "/":
		return statusWarn, "give it a path of its own, such as /pkb/callback, and register that", "it has no path: the callback would reach your front page"
	case strings.HasSuffix(u.Hostname(), "patientsknowbest.com"):
		return statusFail, "give the callback route of your own application", "it leads to PKB"
	}
	return statusOK, "", fmt.Sprintf("%s: it must be registered with PKB exactly like this", clean(uri))
}
