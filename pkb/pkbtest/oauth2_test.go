// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// golang.org/x/oauth2, used alone, links, refreshes and calls users/self over a
// port: the server speaks the protocol, not only with those who were written
// for it.
func TestOAuth2LinksAlone(t *testing.T) {
	for name, tc := range map[string]struct {
		secret string
		style  oauth2.AuthStyle
		pkce   bool
	}{
		"public client":        {"", oauth2.AuthStyleInParams, false},
		"with PKCE":            {"", oauth2.AuthStyleInParams, true},
		"secret in the form":   {"s3cret/+ ", oauth2.AuthStyleInParams, false},
		"secret in the header": {"s3cret/+ ", oauth2.AuthStyleInHeader, true},
	} {
		t.Run(name, func(t *testing.T) {
			server, err := pkbtest.Start(pkbtest.Config{ClientSecret: tc.secret, RequirePKCE: tc.pkce, BasePath: "/pkb"})
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			patient := server.AddPatient(pkbtest.Patient{})
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: transport})
			cfg := oauth2.Config{
				ClientID: server.ClientID(), ClientSecret: tc.secret, RedirectURL: "http://localhost:8080/callback", Scopes: []string{"PATIENT"},
				Endpoint: oauth2.Endpoint{AuthURL: server.URL() + "/apiAuthorize.action", TokenURL: server.URL() + "/apiToken.action", AuthStyle: tc.style},
			}
			var authorize, exchange []oauth2.AuthCodeOption
			if tc.pkce {
				verifier := oauth2.GenerateVerifier()
				authorize = append(authorize, oauth2.S256ChallengeOption(verifier))
				exchange = append(exchange, oauth2.VerifierOption(verifier))
			}
			back, err := server.Approve(ctx, cfg.AuthCodeURL("a state", authorize...), patient)
			if err != nil {
				t.Fatal(err)
			}
			if state := back.Query().Get("state"); state != "a state" {
				t.Errorf("state %q", state)
			}
			token, err := cfg.Exchange(ctx, back.Query().Get("code"), exchange...)
			if err != nil {
				t.Fatal(err)
			}
			first := *token
			token.Expiry = time.Now().Add(-time.Second) // so that it refreshes
			source := cfg.TokenSource(ctx, token)
			resp, err := oauth2.NewClient(ctx, source).Get(server.URL() + "/json/users/self")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), patient.NHSNumber) {
				t.Errorf("users/self: %d %s, %v", resp.StatusCode, body, err)
			}
			if second, err := source.Token(); err != nil || second.AccessToken == first.AccessToken || second.RefreshToken == first.RefreshToken {
				t.Errorf("no new pair: %v", err)
			}
			if e, r, n := server.Exchanges(), server.Refreshes(), server.ReusedRefreshTokens(); e != 1 || r != 1 || n != 0 {
				t.Errorf("%d exchanges, %d refreshes, %d reused", e, r, n)
			}
		})
	}
}
