// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package transports

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// world is PKB on a network, and a host with two users.
type world struct {
	t        *testing.T
	net      *network
	trust    *trust
	http2    bool
	pkb      *pkbtest.Server
	patients map[string]*pkbtest.Patient // by user

	mu sync.Mutex
	// secrets are the tokens and codes that have been on the wire, with what they are.
	secrets map[string]string
	// wrong is what arrived at PKB and should not have.
	wrong map[string]bool
	// elsewhere is what arrived at the server that has no business with tokens.
	elsewhere string
	events    map[observe.EventKind]int
}

// users are those of the host.
var users = []string{"user-1", "user-2"}

func newWorld(t *testing.T, r *row, http2 bool) *world {
	t.Cleanup(func() { time.Sleep(time.Minute) }) // crypto/tls takes up to 5 s to close
	issued, err := issued()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, net: &network{}, trust: issued, http2: http2, pkb: pkbtest.New(pkbtest.Config{}),
		patients: map[string]*pkbtest.Patient{}, secrets: map[string]string{}, wrong: map[string]bool{}, events: map[observe.EventKind]int{},
	}
	for _, user := range users {
		w.patients[user] = w.pkb.AddPatient(pkbtest.Patient{})
	}
	config := &tls.Config{Certificates: []tls.Certificate{issued.server}, ClientCAs: issued.roots, MinVersion: tls.VersionTLS12}
	if r.clientCertificate {
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	w.net.serve(t, "pkb.test:443", http.HandlerFunc(w.serve), config.Clone())
	w.net.serve(t, "gateway.test:443", http.HandlerFunc(w.serve), config.Clone())
	w.net.serve(t, "proxy.test:3128", w.net.proxy(), nil)
	w.net.serve(t, "elsewhere.test:443", http.HandlerFunc(w.serveElsewhere), config.Clone())
	return w
}

// serve is PKB, with an eye on what passes.
func (w *world) serve(out http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	isToken := strings.HasSuffix(r.URL.Path, "/apiToken.action")
	w.mu.Lock()
	if r.Header.Get("Cookie") != "" {
		w.wrong["a cookie was sent to PKB"] = true
	}
	if isToken {
		if r.Header.Get("Authorization") != "" {
			w.wrong["a token of the host was sent to PKB's token endpoint"] = true
		}
		if r.ProtoMajor == 1 && !r.Close {
			w.wrong["a connection was kept after a request to the token endpoint"] = true
		}
		form, _ := url.ParseQuery(string(body))
		w.note("authorization code", form.Get("code"))
		w.note("refresh token", form.Get("refresh_token"))
	}
	w.mu.Unlock()
	http.SetCookie(out, &http.Cookie{Name: "session", Value: "of the patient before", Path: "/"})
	if !isToken {
		w.pkb.ServeHTTP(out, r)
		return
	}
	tee := &tee{ResponseWriter: out}
	defer func() {
		var tokens struct {
			AccessToken  string `json:"access_token"`
			RefreshToken string `json:"refresh_token"`
		}
		_ = json.Unmarshal(tee.body.Bytes(), &tokens)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.note("access token", tokens.AccessToken)
		w.note("refresh token", tokens.RefreshToken)
	}()
	w.pkb.ServeHTTP(tee, r)
}

// note keeps a secret; w.mu is held.
func (w *world) note(what, secret string) {
	if secret != "" {
		w.secrets[secret] = what
	}
}

// tee keeps a copy of a response.
type tee struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (t *tee) Write(p []byte) (int, error) {
	t.body.Write(p)
	return t.ResponseWriter.Write(p)
}

func (t *tee) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func (w *world) serveElsewhere(out http.ResponseWriter, r *http.Request) {
	all, _ := httputil.DumpRequest(r, true)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.elsewhere += r.Method + " " + string(all)
	_, _ = io.WriteString(out, "{}")
}

// exposed returns which secrets are in a text.
func (w *world) exposed(text string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := map[string]bool{}
	for secret, what := range w.secrets {
		if strings.Contains(text, secret) || strings.Contains(text, url.QueryEscape(secret)) {
			found[what] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// client is a host's client of PKB.
func (w *world) client(hc *http.Client) (*pkb.Client, error) {
	c, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL("https://pkb.test"), ClientID: w.pkb.ClientID(), RedirectURL: "https://app.example/pkb/callback",
		Store: tokenstore.NewMemory(), HTTPClient: hc, Now: w.pkb.Now,
		OnEvent: func(e observe.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events[e.Kind]++
		},
	})
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), 10*time.Minute)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			w.t.Error(err)
		}
	})
	return c, nil
}

// link lets a user's patient approve, and completes it. faults are of the exchange.
func (w *world) link(c *pkb.Client, user string, faults ...pkbtest.Fault) error {
	address, pending, err := c.Authorize(w.t.Context(), user)
	if err != nil {
		return err
	}
	back, err := w.pkb.Approve(w.t.Context(), address, w.patients[user])
	if err != nil {
		w.t.Fatal(err)
	}
	w.pkb.Next(pkbtest.Token, faults...)
	_, err = c.Complete(w.t.Context(), user, pending, back.Query())
	return err
}
