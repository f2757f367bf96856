// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// rig is a PKB and replicas of the app on one database.
type rig struct {
	pkb      *pkbtest.Server
	patient  *pkbtest.Patient
	replicas []*host
	settings settings
	log      *safeBuffer
}

type safeBuffer struct {
	mu      sync.Mutex
	written bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.written.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.written.String()
}

// newRig starts two replicas. db is a file in a directory of the test's if it
// is "".
func newRig(t *testing.T, db string) *rig {
	t.Helper()
	server, err := pkbtest.Start(pkbtest.Config{ClientID: testClientID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	dir := t.TempDir()
	if db == "" {
		db = filepath.Join(dir, "test.db")
	}
	r := &rig{
		pkb: server, patient: server.AddPatient(pkbtest.Patient{FirstName: "Ada", LastName: "Canary", DateOfBirth: "1961-04-12"}), log: &safeBuffer{},
		settings: settings{addr: "127.0.0.1:0", db: db, keys: filepath.Join(dir, "keys"), pkb: server.URL()},
	}
	for range 2 {
		r.replicas = append(r.replicas, begin(t, r.settings, r.log))
	}
	t.Cleanup(func() {
		for _, personal := range []string{"Canary", r.patient.NHSNumber, r.patient.DateOfBirth, r.patient.Email} {
			if strings.Contains(r.log.String(), personal) {
				t.Errorf("the log holds %q, which is a patient's", personal)
			}
		}
	})
	return r
}

// begin starts a replica.
func begin(t *testing.T, s settings, log io.Writer) *host {
	t.Helper()
	h, err := start(t.Context(), s, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return h
}

// person is a browser without scripts.
type person struct {
	t    *testing.T
	http *http.Client
}

func newPerson(t *testing.T) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &person{t: t, http: &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.Path, "/apiAuthorize.action") {
			return http.ErrUseLastResponse // the test acts as the patient there
		}
		return nil
	}}}
}

// answer is a response with its page.
type answer struct {
	status int
	header http.Header
	body   string
	at     *url.URL
	// first is when the first byte came.
	first time.Duration
}

func (a answer) title() string {
	m := regexp.MustCompile(`<title>(.*?)</title>`).FindStringSubmatch(a.body)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

func (p *person) send(method, address string, form url.Values, header map[string]string) answer {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	begun, first := time.Now(), time.Duration(0)
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotFirstResponseByte: func() { first = time.Since(begun) },
	}))
	resp, err := p.http.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body), resp.Request.URL, first}
}

func (p *person) get(address string) answer {
	p.t.Helper()
	return p.send(http.MethodGet, address, nil, nil)
}

func (p *person) post(address string, form url.Values) answer {
	p.t.Helper()
	return p.send(http.MethodPost, address, form, nil)
}

func (p *person) signIn(h *host, id string) answer {
	p.t.Helper()
	return p.post(h.url+"signin", url.Values{"user": {id}})
}

// goToPKB follows the link route and returns PKB's address.
func (p *person) goToPKB(address string) string {
	p.t.Helper()
	a := p.get(address)
	to := a.header.Get("Location")
	if a.status != http.StatusSeeOther || !strings.Contains(to, "/apiAuthorize.action?") {
		p.t.Fatalf("%s: status %d, to %q; want a redirect to PKB", address, a.status, to)
	}
	return to
}

// link lets the patient of the rig approve.
func (p *person) link(r *rig, from, back *host) answer {
	p.t.Helper()
	callback, err := r.pkb.Approve(p.t.Context(), p.goToPKB(from.url+"pkb/link"), r.patient)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.get(back.url + "pkb/callback?" + callback.RawQuery)
}

func mustShow(t *testing.T, a answer, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Errorf("%s (%d) does not show %q:\n%s", a.at.Path, a.status, text, a.body)
		}
	}
}

func mustNotShow(t *testing.T, a answer, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(a.body, text) {
			t.Errorf("%s (%d) shows %q", a.at.Path, a.status, text)
		}
	}
}
