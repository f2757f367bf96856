// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem

import (
	"errors"
	"net/http"
	"testing"

	"github.com/betawerk/pkb-go/pkb"
)

// Whoever gets hold of the transport that has the secret can send it to the token
// endpoint and nowhere else, and only over https.
func TestTheSecretIsForOneAddress(t *testing.T) {
	sent := 0
	client := &Client{
		cfg:  Config{TokenURL: "https://oauth2.pkb.example/api/oauth/token", ClientID: "c", ClientSecret: pkb.NewSecret("s")},
		http: &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { sent++; return nil, errors.New("sent") })},
	}
	for address, want := range map[string]int{
		"https://oauth2.pkb.example/api/oauth/token":      1,
		"http://oauth2.pkb.example/api/oauth/token":       0,
		"https://elsewhere.example/api/oauth/token":       0,
		"https://oauth2.pkb.example:8443/api/oauth/token": 0,
		"https://oauth2.pkb.example/another":              0,
		"https://oauth2.pkb.example/api/oauth/token?q=1":  0,
	} {
		sent = 0
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&credentials{client: client}).RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if sent != want || req.Header.Get("Authorization") != "" {
			t.Errorf("%s: sent %d times, want %d; the caller's request has %v", address, sent, want, req.Header)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
