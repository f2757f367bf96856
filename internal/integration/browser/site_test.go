// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// site is the app as people meet it: one address, and behind it replicas that
// respond in turn, each a process.
type site struct {
	url string
	pkb *pkbtest.Server
	// ada and bo are patients of PKB's.
	ada, bo *pkbtest.Patient
	// asked counts requests for the callback, by replica.
	asked [2]atomic.Int32
	// ahead counts what a browser fetched ahead of the patient; callback is the last one
	// that was visited.
	ahead    atomic.Int32
	callback atomic.Value
	// pages are pages of the same site that the app does not have, by path.
	pages sync.Map
	// pinned sends everything to one replica, if not negative.
	pinned atomic.Int32
}

// built is where the app's program is, if it was needed.
var built string

// build makes the app's program, once for all tests.
var build = sync.OnceValues(func() (program string, err error) {
	if built, err = os.MkdirTemp("", "pkb-webapp-"); err != nil {
		return "", err
	}
	program = filepath.Join(built, "webapp")
	cmd := exec.Command("go", "build", "-o", program, ".")
	cmd.Dir = "../../../examples/webapp"
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building examples/webapp: %w\n%s", err, out)
	}
	return program, nil
})

// newSite starts a PKB and two replicas of the app with one database.
func newSite(t *testing.T, db string, flags ...string) *site {
	t.Helper()
	start(t) // no browser, no site
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{}
	s.pinned.Store(-1)
	if s.pkb, err = pkbtest.Start(pkbtest.Config{ClientID: "sandbox", ClientName: "Example Health"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.pkb.Close)
	s.ada = s.pkb.AddPatient(pkbtest.Patient{FirstName: "Ada", LastName: "Example"})
	s.bo = s.pkb.AddPatient(pkbtest.Patient{FirstName: "Bo", LastName: "Sample"})

	var replicas [2]*httputil.ReverseProxy
	var turn atomic.Int32
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := turn.Add(1) % 2
		if p := s.pinned.Load(); p >= 0 {
			i = p
		}
		if page, ok := s.pages.Load(r.URL.Path); ok {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, page.(string))
			return
		}
		fetchedAhead := strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch")
		if strings.HasPrefix(r.URL.Path, "/pkb/") && fetchedAhead {
			s.ahead.Add(1)
		}
		if r.URL.Path == "/pkb/callback" && !fetchedAhead {
			s.asked[i].Add(1)
			s.callback.Store(r.URL.RequestURI())
		}
		replicas[i].ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	s.url = front.URL
	dir := t.TempDir()
	if db == "" {
		db = filepath.Join(dir, "webapp.db")
	}
	for i := range replicas {
		line := launch(t, program, []*pkbtest.Patient{s.ada, s.bo}, append([]string{
			"-addr", "127.0.0.1:0", "-pkb", s.pkb.URL(), "-db", db, "-keys", filepath.Join(dir, "keys"), "-redirect", s.url + "/pkb/callback",
		}, flags...)...)
		m := listens.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("a replica does not say where it listens: %q", line)
		}
		address := m[1]
		replicas[i] = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: address})
			r.Out.Host = r.In.Host // the app compares it with where forms come from
		}}
	}
	return s
}

var listens = regexp.MustCompile(`listens on (\S+)\)`)

// launch starts the app and returns the line that it prints. It must end well
// when the test does, and must have logged nothing about the patients.
func launch(t *testing.T, program string, patients []*pkbtest.Patient, args ...string) (line string) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var read sync.WaitGroup
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		read.Wait() // Wait closes what is read
		if err := cmd.Wait(); err != nil {
			t.Errorf("a replica ended with %v", err)
		}
		if t.Failed() {
			t.Logf("log of a replica:\n%s", log.String())
		}
		for _, p := range patients {
			for _, personal := range []string{p.LastName, p.NHSNumber, p.DateOfBirth, p.Email} {
				if strings.Contains(log.String(), personal) {
					t.Errorf("the log of a replica holds %q, which is a patient's:\n%s", personal, log.String())
				}
			}
		}
	})
	lines := bufio.NewReader(out)
	line, err = lines.ReadString('\n')
	read.Go(func() { _, _ = io.Copy(io.Discard, lines) })
	if err != nil {
		t.Fatalf("the app ended after %q: %v", line, err)
	}
	return line
}
