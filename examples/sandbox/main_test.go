// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/tokenstore"
)

// transcript is what the program prints, to be read while it runs.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	// printed is closed when the introduction is complete.
	printed chan struct{}
	once    sync.Once
}

func (o *transcript) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	if strings.Contains(o.text.String(), "Ctrl-C") {
		o.once.Do(func() { close(o.printed) })
	}
	return len(p), nil
}

func (o *transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs the program until the test ends or stop is called, which returns
// what run did.
func start(t *testing.T, args ...string) (out *transcript, address string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out = &transcript{printed: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), out) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = stop() })
	select {
	case <-out.printed:
	case err := <-ended:
		t.Fatalf("it ended: %v\n%s", err, out)
	}
	m := regexp.MustCompile(`running at (http://127\.0\.0\.1:[1-9]\d*)\n`).FindStringSubmatch(out.String())
	if m == nil {
		t.Fatalf("no address:\n%s", out)
	}
	return out, m[1], stop
}

func TestSandboxSaysWhoIsThere(t *testing.T) {
	out, address, stop := start(t, "-slow", "1500ms")
	for _, want := range []string{
		"approves", "denies", "session ends soon", "no NHS number", "CHI number only", "two NHS numbers", "frozen",
		"wrong person", "professional", "slow", "flaky", "takes 1.5s", "ClientID .* sandbox\n", "localhost/pkb/callback", "control API is off",
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("the introduction lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(out.String(), "Beware") {
		t.Errorf("it warns of other machines, which cannot reach it:\n%s", out)
	}
	if status, _ := get(t, address+"/sandbox/patients"); status != http.StatusNotFound {
		t.Errorf("the control API is there unasked: %d", status)
	}
	if err := stop(); err != nil || !strings.HasSuffix(out.String(), "Stopped.\n") {
		t.Errorf("it did not end well: %v\n%s", err, out)
	}
	if _, err := http.Get(address); err == nil {
		t.Error("the port is still served")
	}
}

// Whoever opens it to others is told so.
func TestSandboxWarnsOfOthers(t *testing.T) {
	if out, _, _ := start(t, "-addr", "0.0.0.0:0"); !strings.Contains(out.String(), "Beware: other machines may reach this server at 0.0.0.0:0") {
		t.Errorf("no warning:\n%s", out)
	}
}

func get(t *testing.T, address string) (int, string) {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// A backend with this library links against the program, and each patient is
// what the name says.
func TestSandboxLinks(t *testing.T) {
	out, address, _ := start(t, "-control", "-client-id", "mine", "-client-name", "Mine & Co", "-slow", "0s",
		"-redirect", "http://localhost:8080/cb", "-redirect", "https://app.example/cb")
	if !strings.Contains(out.String(), address+"/sandbox/patients") || strings.Contains(out.String(), "localhost/pkb/callback") {
		t.Errorf("the introduction does not fit the flags:\n%s", out)
	}
	client, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(address), ClientID: "mine", RedirectURL: "http://localhost:8080/cb", Store: tokenstore.NewMemory(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := client.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	for who, want := range map[string]error{
		"approves": nil, "slow": nil, "denies": pkb.ErrAccessDenied, "session ends soon": nil, "flaky": nil,
	} {
		if err := link(t, client, who); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", who, err, want)
		}
	}
	for who, want := range map[string]bool{"approves": true, "slow": true} {
		self, err := client.ForUser(who).Self(t.Context())
		if err != nil {
			t.Errorf("%s: %v", who, err)
			continue
		}
		if _, ok := self.NHSNumber(); ok != want {
			t.Errorf("%s: has an NHS number: %t", who, ok)
		}
	}

	resp, err := http.Post(address+"/sandbox/sessions/revoke", "application/json", strings.NewReader(`{"patient": "approves"}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if _, err := client.ForUser("approves").Self(t.Context()); !errors.Is(err, pkb.ErrRelinkRequired) {
		t.Errorf("revoked: %v", err)
	}
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// link takes a user through the program's pages, in a browser of sorts.
func link(t *testing.T, client *pkb.Client, who string) error {
	t.Helper()
	authorizeURL, pending, err := client.Authorize(t.Context(), who)
	if err != nil {
		return err
	}
	if status, page := get(t, authorizeURL); status != http.StatusOK || !strings.Contains(page, "<title>Log in") || !strings.Contains(page, "Mine &amp; Co") {
		t.Fatalf("no log-in page: %d\n%s", status, page)
	}
	status, page := get(t, authorizeURL+"&who="+url.QueryEscape(who))
	if status != http.StatusOK {
		t.Fatalf("no consent page: %d\n%s", status, page)
	}
	form := url.Values{"decision": {"approve"}}
	for _, m := range hidden.FindAllStringSubmatch(page, -1) {
		form.Set(m[1], m[2])
	}
	browser := &http.Client{
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := browser.PostForm(strings.SplitN(authorizeURL, "?", 2)[0], form)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		return fmt.Errorf("status %d instead of a redirect: %w", resp.StatusCode, err)
	}
	_, err = client.Complete(t.Context(), who, pending, back.Query())
	return err
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{
		{"-nonsense"}, {"more"}, {"-client-id", ""}, {"-token-life", "0s"}, {"-token-life", "1h", "-session-life", "59m"},
		{"-slow", "-1s"}, {"-redirect", "localhost"}, {"-redirect", "http://localhost/#x"}, {"-addr", "nonsense"}, {"-token-life", "10"},
	} {
		var out strings.Builder
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // what is accepted must not run
		if err := run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), &out); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
	var out strings.Builder
	if err := run(t.Context(), []string{"-h"}, &out); err != nil || !strings.Contains(out.String(), "-control") || !strings.Contains(out.String(), "-addr host:port") {
		t.Errorf("help: %v\n%s", err, &out)
	}
}
