// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb"
)

func TestRedirect(t *testing.T) {
	for _, test := range []struct {
		uri        string
		production bool
		want       status
		says       string
	}{
		{"https://app.example/pkb/callback", true, statusOK, "registered"},
		{"http://localhost:8080/pkb/callback", false, statusOK, "trying out"},
		{"http://127.0.0.1:8080/pkb/callback", true, statusFail, "production"},
		{"https://localhost/pkb/callback", true, statusFail, "production"},
		{"app.betawerk.health:/callback", true, statusOK, "mobile"},
		{"https://app.example", false, statusWarn, "no path"},
		{"https://app.example/", false, statusWarn, "no path"},
		{"https://192.0.2.7/pkb/callback", false, statusWarn, "bare IP"},
		{"https://sandbox.patientsknowbest.com/pkb/callback", false, statusFail, "leads to PKB"},
	} {
		got, fix, found := judgeRedirect(test.uri, test.production)
		if got != test.want || !strings.Contains(found, test.says) {
			t.Errorf("%s: %s, %q; want %s, %q", test.uri, got, found, test.want, test.says)
		}
		if got != statusOK && fix == "" {
			t.Errorf("%s: it does not say how to fix it", test.uri)
		}
	}
}

func newDoctor() *doctor {
	var out, stderr bytes.Buffer
	return &doctor{expiry: 14 * 24 * time.Hour, call: &call{console: console{out: &out, err: &stderr, getenv: func(string) string { return "" }}}}
}

func TestCertificate(t *testing.T) {
	for _, test := range []struct {
		name    string
		address string
		left    time.Duration // 0 for no TLS
		want    []status
	}{
		{"good", "https://pkb.example/", 60 * 24 * time.Hour, []status{statusOK}},
		{"ends soon", "https://pkb.example/", 13 * 24 * time.Hour, []status{statusWarn}},
		{"plain http on this machine", "http://127.0.0.1:8080/", 0, []status{statusOK}},
	} {
		d := newDoctor()
		var state *tls.ConnectionState
		if test.left != 0 {
			state = &tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{{NotAfter: now().Add(test.left)}}}
		}
		d.judgeTLS(test.address, state)
		if len(d.checks) != len(test.want) || d.checks[0].Status != test.want[0] {
			t.Errorf("%s: %+v, want %v", test.name, d.checks, test.want)
		}
	}
}

// Whatever keeps the answer away has a name and a remedy, and prints nothing
// else.
func TestUnreachable(t *testing.T) {
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	defer untrusted.Close()
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.StartTLS()
	defer old.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, test := range []struct{ name, address, says string }{
		{"nobody listens", "http://127.0.0.1:1", "no connection"},
		{"a certificate of an unknown authority", untrusted.URL, "does not trust"},
		{"TLS of yesterday", old.URL, "no TLS 1.2"},
		{"silence", "http://" + silent.Addr().String(), "no response in time"},
	} {
		client := &http.Client{Timeout: 500 * time.Millisecond, Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}}
		a, err := get(t.Context(), client, test.address+"/apiToken.action")
		if err == nil {
			t.Fatalf("%s: status %d", test.name, a.status)
		}
		found, fix := explain(err)
		if !strings.Contains(found, test.says) || fix == "" {
			t.Errorf("%s: %q, fix: %q; want %q (%v)", test.name, found, fix, test.says, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	for code, want := range map[int]status{200: statusOK, 302: statusWarn, 400: statusOK, 401: statusOK, 404: statusWarn, 405: statusOK, 503: statusWarn} {
		if got, _ := judgeAnswer("token", code); got != want {
			t.Errorf("status %d at the token address: %s, want %s", code, got, want)
		}
	}
	if got, _ := judgeAnswer("authorize", 302); got != statusOK {
		t.Error("a browser may be sent to a sign-in page")
	}
}

func TestClocks(t *testing.T) {
	before := now()
	for skew, want := range map[time.Duration]status{
		0: statusOK, 4 * time.Second: statusOK, -4 * time.Second: statusOK,
		30 * time.Second: statusWarn, -30 * time.Second: statusWarn,
		2 * time.Minute: statusFail, -2 * time.Minute: statusFail,
	} {
		d := newDoctor()
		d.judgeClock("PKB's", before.Add(skew), before, before)
		if got := d.checks[0].Status; got != want {
			t.Errorf("%v off: %s, want %s", skew, got, want)
		}
	}
}

// Every mistake of pkb.New's is told, not the first one only.
func TestConfigErrors(t *testing.T) {
	_, err := pkb.New(pkb.Config{})
	var fields []string
	for _, e := range configErrors(err) {
		fields = append(fields, e.Field)
		if fixOfField(e.Field) == "" {
			t.Errorf("%s: no remedy", e.Field)
		}
	}
	if got := strings.Join(fields, " "); !strings.Contains(got, "Environment ClientID RedirectURL") {
		t.Errorf("of an empty Config it tells of %s", got)
	}
}
