// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package strangers

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"github.com/betawerk/pkb-go/internal/integration/npm"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// setting is what a stranger is told.
type setting struct {
	PKB      string `json:"pkb"`
	ClientID string `json:"clientId"`
	Redirect string `json:"redirect"`
	PKCE     bool   `json:"pkce"`
}

// story is what a stranger reports.
type story struct {
	// Refused is why the stranger did not accept the callback.
	Refused string `json:"refused"`

	TokenType string `json:"tokenType"`
	ExpiresIn int    `json:"expiresIn"`
	Scope     string `json:"scope"`
	// NewPair: a refresh gave another access token and another refresh token.
	NewPair bool `json:"newPair"`
	// LastName is from users/self, Patient from Purview.
	LastName string `json:"lastName"`
	Patient  string `json:"patient"`
	// Again is the response to a refresh token that was spent before; Afterwards
	// is the status of the next call with the access token that was good until
	// then.
	Again      string `json:"again"`
	Afterwards int    `json:"afterwards"`
}

// patient opens an authorize address and decides; the callback comes back.
type patient func(authorizeURL string) (callback string, err error)

// strangers link, refresh, read, and present the first refresh token again.
var strangers = []struct {
	name string
	pkce bool
	link func(*testing.T, setting, patient) story
}{
	{"x/oauth2", false, xoauth2},
	{"x/oauth2 with PKCE", true, xoauth2},
	{"oauth4webapi", false, program("oauth4webapi.mjs")},
	{"oauth4webapi with PKCE", true, program("oauth4webapi.mjs")},
	{"fhirclient", false, program("fhirclient.mjs")},
}

// serve starts a PKB on a port, with one document before it that PKB has not:
// fhirclient finds the addresses by it, and by nothing else.
func serve(t *testing.T, pkce bool) (*pkbtest.Server, setting) {
	t.Helper()
	server := pkbtest.New(pkbtest.Config{RequirePKCE: pkce})
	mux := http.NewServeMux()
	front := httptest.NewServer(mux)
	t.Cleanup(front.Close)
	mux.Handle("/", server)
	mux.HandleFunc("GET /fhir/.well-known/smart-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{
			"authorization_endpoint": front.URL + "/apiAuthorize.action",
			"token_endpoint":         front.URL + "/apiToken.action",
		})
	})
	return server, setting{PKB: front.URL, ClientID: server.ClientID(), Redirect: "http://localhost:8080/callback", PKCE: pkce}
}

// A stranger links a patient, refreshes and reads; its first refresh token,
// presented again, ends everything.
func TestStrangersLink(t *testing.T) {
	for _, stranger := range strangers {
		t.Run(stranger.name, func(t *testing.T) {
			t.Parallel()
			server, s := serve(t, stranger.pkce)
			ada := server.AddPatient(pkbtest.Patient{LastName: "Example"})
			got := stranger.link(t, s, func(authorizeURL string) (string, error) {
				back, err := server.Approve(t.Context(), authorizeURL, ada)
				if err != nil {
					return "", err
				}
				return back.String(), nil
			})
			want := story{
				TokenType: "bearer", ExpiresIn: 600, Scope: "PATIENT", NewPair: true,
				LastName: "Example", Patient: "Patient/" + ada.PublicID, Again: "invalid_grant", Afterwards: http.StatusUnauthorized,
			}
			got.TokenType = strings.ToLower(got.TokenType) // its case may vary
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the stranger reports another story (+) than a PKB gives (-):\n%s", diff)
			}
			if e, r, n := server.Exchanges(), server.Refreshes(), server.ReusedRefreshTokens(); e != 1 || r != 2 || n != 1 {
				t.Errorf("%d exchanges, %d refreshes, %d of spent tokens; want 1, 2 and 1", e, r, n)
			}
		})
	}
}

// A stranger does not accept a response that is not to its own request; and
// no code is spent on it.
func TestStrangersRefuse(t *testing.T) {
	for _, stranger := range strangers {
		for name, tc := range map[string]struct {
			decide func(context.Context, *pkbtest.Server, string) (*url.URL, error)
			says   string
		}{
			"a patient who denies": {func(ctx context.Context, server *pkbtest.Server, authorizeURL string) (*url.URL, error) {
				return server.Deny(ctx, authorizeURL)
			}, "access_denied"},
			"another state": {func(ctx context.Context, server *pkbtest.Server, authorizeURL string) (*url.URL, error) {
				back, err := server.Approve(ctx, authorizeURL, server.AddPatient(pkbtest.Patient{}))
				if err != nil {
					return nil, err
				}
				query := back.Query()
				query.Set("state", "another")
				back.RawQuery = query.Encode()
				return back, nil
			}, "state"},
		} {
			t.Run(stranger.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				server, s := serve(t, stranger.pkce)
				got := stranger.link(t, s, func(authorizeURL string) (string, error) {
					back, err := tc.decide(t.Context(), server, authorizeURL)
					if err != nil {
						return "", err
					}
					return back.String(), nil
				})
				if !strings.Contains(strings.ToLower(got.Refused), tc.says) {
					t.Errorf("the stranger says %q, want something about %s", got.Refused, tc.says)
				}
				if n := server.Exchanges(); n != 0 {
					t.Errorf("%d exchanges after a callback that was none", n)
				}
			})
		}
	}
}

// xoauth2 is golang.org/x/oauth2 as a Go programmer uses it.
func xoauth2(t *testing.T, s setting, ask patient) story {
	t.Helper()
	ctx := t.Context()
	app := oauth2.Config{
		ClientID: s.ClientID, RedirectURL: s.Redirect, Scopes: []string{"PATIENT"},
		Endpoint: oauth2.Endpoint{AuthURL: s.PKB + "/apiAuthorize.action", TokenURL: s.PKB + "/apiToken.action", AuthStyle: oauth2.AuthStyleInParams},
	}
	const state = "a state"
	var authorize, exchange []oauth2.AuthCodeOption
	if s.PKCE {
		verifier := oauth2.GenerateVerifier()
		authorize, exchange = append(authorize, oauth2.S256ChallengeOption(verifier)), append(exchange, oauth2.VerifierOption(verifier))
	}
	answer, err := ask(app.AuthCodeURL(state, authorize...))
	if err != nil {
		t.Fatal(err)
	}
	callback, err := url.Parse(answer)
	if err != nil {
		t.Fatal(err)
	}
	// This library leaves it to the app to look at the callback.
	switch query := callback.Query(); {
	case query.Get("error") != "":
		return story{Refused: query.Get("error")}
	case query.Get("state") != state:
		return story{Refused: "another state"}
	}
	first, err := app.Exchange(ctx, callback.Query().Get("code"), exchange...)
	if err != nil {
		t.Fatal(err)
	}
	refresh := func() (*oauth2.Token, error) {
		return app.TokenSource(ctx, &oauth2.Token{RefreshToken: first.RefreshToken, Expiry: time.Now().Add(-time.Second)}).Token()
	}
	second, err := refresh()
	if err != nil {
		t.Fatal(err)
	}
	call := func(path string, answer any) int {
		resp, err := oauth2.NewClient(ctx, oauth2.StaticTokenSource(second)).Get(s.PKB + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return resp.StatusCode
	}
	var self struct {
		LastName string `json:"lastName"`
	}
	call("/json/users/self", &self)
	var purview struct {
		Parameter []struct {
			ValueReference struct {
				Reference string `json:"reference"`
			} `json:"valueReference"`
		} `json:"parameter"`
	}
	call("/fhir/Consent/$purview", &purview)
	if len(purview.Parameter) != 1 {
		t.Fatalf("Purview names %d patients", len(purview.Parameter))
	}
	again := ""
	if _, err := refresh(); err != nil {
		again = err.Error()
		if e := (*oauth2.RetrieveError)(nil); errors.As(err, &e) {
			again = e.ErrorCode
		}
	}
	scope, _ := first.Extra("scope").(string)
	return story{
		TokenType: first.TokenType, ExpiresIn: int(first.ExpiresIn), Scope: scope,
		NewPair:  second.AccessToken != first.AccessToken && second.RefreshToken != first.RefreshToken,
		LastName: self.LastName, Patient: purview.Parameter[0].ValueReference.Reference,
		Again: again, Afterwards: call("/json/users/self", &struct{}{}),
	}
}

// program is a stranger in JavaScript.
func program(name string) func(*testing.T, setting, patient) story {
	return func(t *testing.T, s setting, ask patient) story {
		t.Helper()
		node := npm.Node(t)
		// Modules are searched for next to the program.
		dir := t.TempDir()
		if err := os.Symlink(npm.Install(t, "."), filepath.Join(dir, "node_modules")); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{name, "story.mjs"} {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		told, err := run(t.Context(), node, filepath.Join(dir, name), s, ask)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return told
	}
}

// run starts a program and plays its patient.
func run(ctx context.Context, node, path string, s setting, ask patient) (told story, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	about, err := json.Marshal(s)
	if err != nil {
		return story{}, err
	}
	cmd := exec.CommandContext(ctx, node, path, string(about))
	var complaints strings.Builder
	cmd.Stderr = &complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		return story{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return story{}, err
	}
	if err := cmd.Start(); err != nil {
		return story{}, err
	}
	defer func() {
		_ = in.Close()
		if ended := cmd.Wait(); ended != nil && err == nil {
			err = fmt.Errorf("%w: %s", ended, complaints.String())
		}
	}()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Authorize string `json:"authorize"`
			story
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return story{}, fmt.Errorf("it prints %q: %w", lines.Text(), err)
		}
		if line.Authorize == "" {
			return line.story, nil
		}
		callback, err := ask(line.Authorize)
		if err != nil {
			return story{}, err
		}
		if _, err := io.WriteString(in, callback+"\n"); err != nil {
			return story{}, err
		}
	}
	return story{}, errors.New("it ended without a word: " + complaints.String())
}
