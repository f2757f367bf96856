// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// With no flags at all: one line, an address that works, and nothing left
// behind.
func TestOneCommand(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, in := io.Pipe()
	var log safeBuffer
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, nil, in, &log)
		_ = in.Close()
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("it ended without a word: %v", <-ended)
	}
	address, ok := strings.CutPrefix(lines.Text(), "Open http://127.0.0.1:")
	if !ok {
		t.Fatalf("it says %q", lines.Text())
	}
	amira := newPerson(t)
	if a := amira.get("http://127.0.0.1:" + address); !strings.HasPrefix(a.title(), "Sign in") {
		t.Errorf("the address leads to %q", a.title())
	}
	amira.post("http://127.0.0.1:"+address+"signin", map[string][]string{"user": {"amira"}})
	to := amira.goToPKB("http://127.0.0.1:" + address + "pkb/link")
	mustShow(t, amira.get(to), "PKB for tests") // whose page offers somebody
	stop()
	if lines.Scan() {
		t.Errorf("it says more: %q", lines.Text())
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if log.String() != "" {
		t.Errorf("it logged:\n%s", log.String())
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("it left %v (%v)", left, err)
	}
}

// A PKB for tests forgets its sessions when it ends. A database that outlives it
// then has a link that the patient can repair.
func TestDatabaseOutlivesThePKBForTests(t *testing.T) {
	s := settings{addr: "127.0.0.1:0", db: filepath.Join(t.TempDir(), "test.db")}
	amira := newPerson(t)
	for _, want := range []string{"Not linked", "PKB has ended your link"} {
		h, err := start(t.Context(), s, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		mustShow(t, amira.signIn(h, "amira"), want)
		to, err := url.Parse(amira.goToPKB(h.url + "pkb/link"))
		if err != nil {
			t.Fatal(err)
		}
		form := to.Query()
		form.Set("patient", "5ce0a000-0000-4000-8000-000000000001") // who approves
		form.Set("decision", "approve")
		mustShow(t, amira.post(to.Scheme+"://"+to.Host+to.Path, form), "Linked", "Ava Approves")
		if err := h.close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"": "",
		"-env sandbox -client-id x -redirect http://localhost:8080/cb":                 "",
		"-env sandbox -client-id x -redirect https://app.example/cb -addr 127.0.0.1:1": "",
		"-env sandbox": "needs -client-id and -redirect",
		"-env moon":    "must be sandbox or production",
		"-env sandbox -client-id x -redirect http://localhost:1/cb -pkb http://[::1]:2": "choose one",
		"-redirect https://app.example/cb":                                              "give -addr",
		"-redirect http://localhost:8080":                                               "with a path",
		"-addr 0.0.0.0:8080":                                                            "without a password",
		"-addr 8080":                                                                    "must be host:port",
		"more":                                                                          "is not a flag",
		"-links 100":                                                                    "",
		"-links -1":                                                                     "-links is -1",
		"-env sandbox -client-id x -redirect http://localhost:1/cb -links 5": "-links makes links up",
	} {
		_, err := readFlags(strings.Fields(args), io.Discard)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", args, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: error %v, want one about %q", args, err, want)
		}
	}
	if s, err := readFlags([]string{"-env", "sandbox", "-client-id", "x", "-redirect", "http://localhost:8080/cb"}, io.Discard); err != nil || s.addr != "localhost:8080" {
		t.Errorf("it listens on %q (%v), want where PKB sends people back to", s.addr, err)
	}
}

func TestKeyIsMadeOnceAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	var replicas sync.WaitGroup
	for range 8 {
		replicas.Go(func() {
			if _, err := keyring(path); err != nil {
				t.Error(err)
			}
		})
	}
	replicas.Wait()
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600 (%v)", info.Mode(), err)
	}
	if _, err := keyring(path); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(path); err != nil || string(again) != string(first) {
		t.Error("the key was made anew: every link would be lost")
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("beside the key there is something left: %v (%v)", left, err)
	}

	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
	if _, err := keyring(filepath.Join(path, "under", "a-file")); err == nil || errors.Is(err, fs.ErrExist) {
		t.Errorf("no place for a key: %v", err)
	}
}

func TestDatabaseIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a name ? with # and %41.db")
	db, _, err := openDatabase(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE t (n INTEGER)"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() == 0 || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v; want 0600 and something in it", info, err)
	}
}
