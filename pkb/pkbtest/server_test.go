// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest_test

import (
	"net"
	"net/http"
	"net/url"
	"testing"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// URL is an address that a client can use, also of a server that listens
// everywhere.
func TestStartListensWhereItIsTold(t *testing.T) {
	for addr, host := range map[string]string{
		"": "127.0.0.1", "127.0.0.1:0": "127.0.0.1", ":0": "127.0.0.1", "0.0.0.0:0": "127.0.0.1",
	} {
		s, err := pkbtest.Start(pkbtest.Config{Addr: addr, BasePath: "tenant"})
		if err != nil {
			t.Fatalf("%q: %v", addr, err)
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get(s.URL() + "/json/users/self")
		if err != nil {
			t.Errorf("%q: nothing is listening at URL: %v", addr, err)
		} else {
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%q: status %d", addr, resp.StatusCode)
			}
		}
		u, err := url.Parse(s.URL())
		if err != nil || u.Hostname() != host || u.Port() == "0" || u.Path != "/tenant" {
			t.Errorf("%q: URL %s, %v", addr, s.URL(), err)
		}
		s.Close()
		if _, err := net.Dial("tcp", u.Host); err == nil {
			t.Errorf("%q: still listens after Close", addr)
		}
	}
	taken, err := pkbtest.Start(pkbtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	u, err := url.Parse(taken.URL())
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{u.Host, "nonsense", "127.0.0.1:99999"} {
		if s, err := pkbtest.Start(pkbtest.Config{Addr: addr}); err == nil {
			t.Errorf("started at %q", addr)
			s.Close()
		}
	}
}
