// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbsystem"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// The blocks of organisations.md, which run here.

// tenant is an organisation that the backend serves.
type tenant struct {
	name        string // part of each key in the table: it never changes
	environment pkb.Environment
	clientID    string
	keys        string // its own
}

// open returns the client of a tenant, in its part of the table.
func (t tenant) open(table tokenstore.Store, log *slog.Logger, told func(ctx context.Context, tenant string, n observe.Notice) error) (*pkb.Client, error) {
	part, err := tokenstore.WithPrefix(table, t.name+"/")
	if err != nil {
		return nil, err
	}
	keyring, err := keys.Parse(t.keys)
	if err != nil {
		return nil, err
	}
	return pkb.New(pkb.Config{
		Environment: t.environment,
		ClientID:    t.clientID,
		RedirectURL: "https://app.example/" + t.name + "/pkb/callback", // as registered with PKB
		Store:       part,
		Keys:        keyring,
		Logger:      log.With("tenant", t.name),
		Notify: func(ctx context.Context, n observe.Notice) error {
			return told(ctx, t.name, n) // a notice has the user's id within the tenant only
		},
	})
}

// serveTenants mounts the routes of each tenant, and looks after its links until ctx
// ends. signedIn returns who is signed in with that tenant, or "".
func serveTenants(ctx context.Context, mux *http.ServeMux, clients map[string]*pkb.Client, signedIn func(r *http.Request, tenant string) string) {
	for name, client := range clients {
		web := client.Web(pkb.WebConfig{
			User: func(r *http.Request) string { return signedIn(r, name) },
			Done: "/" + name + "/account",
		})
		mux.Handle("GET /"+name+"/pkb/link", web.Link())
		mux.Handle("/"+name+"/pkb/callback", web.Callback())
		go client.Tend(ctx)
	}
}

// tendAll does what is due for each tenant. One whose store or keys fail holds up no
// other.
func tendAll(ctx context.Context, clients map[string]*pkb.Client) (err error) {
	for name, client := range clients {
		if _, failed := client.TendOnce(ctx); failed != nil {
			err = errors.Join(err, fmt.Errorf("tenant %s: %w", name, failed))
		}
	}
	return err
}

// closeAll closes the clients, and returns when all of them have saved what they had
// under way, or ctx ends.
func closeAll(ctx context.Context, clients map[string]*pkb.Client) error {
	failed := make(chan error, len(clients))
	for _, client := range clients {
		go func() { failed <- client.Close(ctx) }()
	}
	var err error
	for range clients {
		err = errors.Join(err, <-failed)
	}
	return err
}

// systemOf returns the system client of a tenant.
func systemOf(environment pkb.Environment, tokenURL, systemClientID string, systemSecret pkb.Secret, publicID string) (*pkbsystem.Client, error) {
	system, err := pkbsystem.New(pkbsystem.Config{
		Environment:  environment,
		TokenURL:     tokenURL, // of the system clients; the sandbox's if empty
		ClientID:     systemClientID,
		ClientSecret: systemSecret,
		Organisation: publicID, // the tenant's own, and never one from a request
	})
	return system, err
}

// street is a backend that serves two organisations, with a table and a PKB.
type street struct {
	t       *testing.T
	server  *pkbtest.Server
	table   *tokenstore.Memory
	clients map[string]*pkb.Client
	mux     *http.ServeMux
	log     *syncBuffer
	told    chan string
}

type syncBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *syncBuffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Reset()
}

// signedInAs is the cookie of the host's own session: a tenant and a user.
const signedInAs = "session"

func newStreet(t *testing.T, apart bool) *street {
	t.Helper()
	s := &street{t: t, table: tokenstore.NewMemory(), clients: map[string]*pkb.Client{}, mux: http.NewServeMux(), log: &syncBuffer{}, told: make(chan string, 8)}
	var err error
	s.server, err = pkbtest.Start(pkbtest.Config{ClientID: "app", RedirectURIs: []string{
		"https://app.example/north/pkb/callback", "https://app.example/south/pkb/callback",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.server.Close)
	key := ""
	for _, name := range []string{"north", "south"} {
		if key == "" || apart {
			if key, err = keys.Generate("2026-01"); err != nil {
				t.Fatal(err)
			}
		}
		s.clients[name], err = tenant{name: name, environment: pkb.BaseURL(s.server.URL()), clientID: "app", keys: key}.open(
			s.table, slog.New(slog.NewTextHandler(s.log, nil)), s.hear)
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := closeAll(context.WithoutCancel(t.Context()), s.clients); err != nil {
			t.Error(err)
		}
	})
	return s
}

// serve serves the routes, until the test ends.
func (s *street) serve() {
	serveTenants(s.t.Context(), s.mux, s.clients, func(r *http.Request, tenant string) string {
		c, err := r.Cookie(signedInAs)
		if err != nil {
			return ""
		}
		in, user, _ := strings.Cut(c.Value, "|")
		if in != tenant && in != "both" {
			return ""
		}
		return user
	})
}

func (s *street) hear(_ context.Context, tenant string, n observe.Notice) error {
	s.told <- tenant + " " + string(n.Kind) + " " + n.AppUserID
	return nil
}

func (s *street) visit(address, session string, cookies ...*http.Cookie) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, address, nil)
	for _, c := range append([]*http.Cookie{{Name: signedInAs, Value: session}}, cookies...) {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, r)
	return w
}

// starts sends a user to PKB, where a patient approves.
func (s *street) starts(tenant, session string, p *pkbtest.Patient) (callback string, cookies []*http.Cookie) {
	s.t.Helper()
	started := s.visit("https://app.example/"+tenant+"/pkb/link", session)
	back, err := s.server.Approve(s.t.Context(), started.Header().Get("Location"), p)
	if err != nil {
		s.t.Fatal(err)
	}
	return back.String(), started.Result().Cookies()
}

// Users of the same id at two organisations are two users, each with a link, notices
// and lines in the log of their own. What one of them does is not seen by the other.
func TestTenantsShareATable(t *testing.T) {
	s := newStreet(t, true)
	s.serve()
	ada := s.server.AddPatient(pkbtest.Patient{FirstName: "Ada"})
	for _, name := range []string{"north", "south"} { // the same person, at both
		callback, cookies := s.starts(name, name+"|app-user-1", ada)
		if to := s.visit(callback, name+"|app-user-1", cookies...).Header().Get("Location"); to != "/"+name+"/account" {
			t.Fatalf("%s: the callback leads to %q", name, to)
		}
	}
	got := []string{<-s.told, <-s.told}
	slices.Sort(got)
	if want := []string{"north linked app-user-1", "south linked app-user-1"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	if n, err := s.table.Count(t.Context()); n != 2 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
	if err := s.clients["north"].Unlink(t.Context(), "app-user-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.clients["north"].Token(t.Context(), "app-user-1"); !errors.Is(err, pkb.ErrNotLinked) {
		t.Errorf("unlinked at north: %v", err)
	}
	if self, err := s.clients["south"].ForUser("app-user-1").Self(t.Context()); err != nil || self.Reveal().FirstName != "Ada" {
		t.Errorf("unlinked at north, and at south: %v", err)
	}
	if n := strings.Count(s.log.String(), "tenant=north"); n == 0 {
		t.Errorf("no line names its tenant:\n%s", s.log)
	}
}

// A link that was begun at one organisation is completed at no other, though the user
// has the same id there, and also if they share their keys.
func TestTenantsCookiesAreKeptApart(t *testing.T) {
	for _, apart := range []bool{true, false} {
		s := newStreet(t, apart)
		s.serve()
		ada := s.server.AddPatient(pkbtest.Patient{})
		callback, cookies := s.starts("north", "both|app-user-1", ada)
		elsewhere := strings.Replace(callback, "/north/", "/south/", 1)
		s.visit(elsewhere, "both|app-user-1", cookies...)
		_, err := s.clients["south"].Link(t.Context(), "app-user-1")
		if !errors.Is(err, pkb.ErrNotLinked) {
			t.Errorf("keys apart: %t; at the tenant to which the callback went there is a link (%v)", apart, err)
		}
		address, pending, err := s.clients["north"].Authorize(t.Context(), "app-user-1")
		if err != nil {
			t.Fatal(err)
		}
		back, err := s.server.Approve(t.Context(), address, ada)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.clients["south"].Complete(t.Context(), "app-user-1", pending, back.Query()); !errors.Is(err, pkb.ErrState) {
			t.Errorf("keys apart: %t; the other tenant completes it: %v, want ErrState", apart, err)
		}
		if _, err := s.clients["north"].Complete(t.Context(), "app-user-1", pending, back.Query()); err != nil {
			t.Errorf("keys apart: %t; its own tenant: %v", apart, err)
		}
	}
}

// The keys of one organisation open nothing of another's.
func TestTenantsKeysOpenNoOther(t *testing.T) {
	s := newStreet(t, true)
	s.serve()
	callback, cookies := s.starts("north", "north|app-user-1", s.server.AddPatient(pkbtest.Patient{}))
	s.visit(callback, "north|app-user-1", cookies...)
	key, err := keys.Generate("2026-01")
	if err != nil {
		t.Fatal(err)
	}
	thief, err := tenant{name: "north", environment: pkb.BaseURL(s.server.URL()), clientID: "app", keys: key}.open(s.table, slog.New(slog.DiscardHandler), s.hear)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := thief.Token(t.Context(), "app-user-1"); !errors.Is(err, pkb.ErrKeys) {
		t.Errorf("with another's keys: %v", err)
	}
}

// The job that tends all looks after one organisation, though another one's client
// fails, and names that.
func TestTroubleOfOneTenant(t *testing.T) {
	s := newStreet(t, true)
	back := func(name string) {
		address, pending, err := s.clients[name].Authorize(t.Context(), "app-user-1")
		if err != nil {
			t.Fatal(err)
		}
		callback, err := s.server.Approve(t.Context(), address, s.server.AddPatient(pkbtest.Patient{}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.clients[name].Complete(t.Context(), "app-user-1", pending, callback.Query()); err != nil {
			t.Fatal(err)
		}
	}
	back("north")
	back("south")
	if err := s.clients["north"].Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := tendAll(t.Context(), s.clients)
	if !errors.Is(err, pkb.ErrClosed) || !strings.Contains(err.Error(), "tenant north: ") || strings.Contains(err.Error(), "south") {
		t.Errorf("%v", err)
	}
	if got := <-s.told; got != "south linked app-user-1" || len(s.told) > 0 {
		t.Errorf("told %q and %d more", got, len(s.told))
	}
}

// The call of organisations.md acts for the organisation that it is given.
func TestTenantsSystemClient(t *testing.T) {
	server, err := pkbtest.Start(pkbtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	ada := server.AddPatient(pkbtest.Patient{})
	north, south := server.AddOrganisation(pkbtest.Organisation{}), server.AddOrganisation(pkbtest.Organisation{})
	client, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: server.ClientID(), RedirectURL: "https://app.example/pkb/callback",
		Store: tokenstore.NewMemory(), Now: server.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	demoLink(t.Context(), server, ada, client)
	self, err := client.ForUser("app-user-1").Self(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	system, err := systemOf(pkb.BaseURL(server.URL()), server.URL()+"/api/oauth/token", "test-system-client", pkb.NewSecret("test-system-secret"), north.PublicID)
	if err != nil {
		t.Fatal(err)
	}
	if err := system.AddPatient(t.Context(), pkbsystem.Addition{Self: self, WithoutContacts: true}); err != nil {
		t.Fatal(err)
	}
	if n, m := len(server.Members(north)), len(server.Members(south)); n != 1 || m != 0 {
		t.Errorf("%d and %d members, want 1 and 0", n, m)
	}
}
