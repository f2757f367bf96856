// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command bench measures reading a valid token, compared with what people use or write
// instead, in the same run, and ends with one line of JSON:
//
//	go run ./internal/integration/bench
//
// read_ns and read_allocs are those of Client.Token on one core. The read_vs
// ratios are throughputs on all cores: against one oauth2.ReuseTokenSource for
// one user, and against a map of them behind a mutex for 100,000 users.
// refresh_over_post is how long a caller waits for a refresh, as a multiple of
// the same POST without us, to a PKB on loopback that responds after 10 ms; the
// medians. bytes_per_user is what a user costs whose token is in memory, with a
// million of them and without the token itself.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

const (
	manyUsers  = 100_000
	hotUsers   = 1_000_000
	refreshes  = 150
	postTakes  = 10 * time.Millisecond
	accessLife = time.Hour
)

// figures are the line of JSON.
type figures struct {
	ReadNS             float64 `json:"read_ns"`
	ReadAllocs         int64   `json:"read_allocs"`
	ReadVsXOAuth2      float64 `json:"read_vs_xoauth2_parallel"`
	ReadVsMutexMap100k float64 `json:"read_vs_mutexmap_100k"`
	RefreshOverPost    float64 `json:"refresh_over_post"`
	BytesPerUser       float64 `json:"bytes_per_user"`
	Cores              int     `json:"cores"`
}

func main() {
	f, err := measure()
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		log.Fatal(err)
	}
}

func measure() (figures, error) {
	ctx := context.Background()
	one, ids, err := hot(ctx, 1)
	if err != nil {
		return figures{}, err
	}
	f := figures{Cores: runtime.GOMAXPROCS(0)}

	single := best(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := one.Token(ctx, ids[0]); err != nil {
				b.Fatal(err)
			}
		}
	})
	f.ReadNS, f.ReadAllocs = nanoseconds(single), single.AllocsPerOp()

	ours := best(parallel(1, func(int) error { _, err := one.Token(ctx, ids[0]); return err }))
	reuse := oauth2.ReuseTokenSource(valid(), nil)
	theirs := best(parallel(1, func(int) error { _, err := reuse.Token(); return err }))
	f.ReadVsXOAuth2 = nanoseconds(theirs) / nanoseconds(ours)
	fmt.Printf("one user, %d cores: ours %.1f ns, oauth2.ReuseTokenSource %.1f ns\n", f.Cores, nanoseconds(ours), nanoseconds(theirs))

	many, ids, err := hot(ctx, manyUsers)
	if err != nil {
		return figures{}, err
	}
	ours = best(parallel(manyUsers, func(i int) error { _, err := many.Token(ctx, ids[i]); return err }))
	m := mutexMap{sources: map[string]oauth2.TokenSource{}}
	for _, id := range ids {
		m.sources[id] = oauth2.ReuseTokenSource(valid(), nil)
	}
	theirs = best(parallel(manyUsers, func(i int) error { _, err := m.token(ids[i]); return err }))
	f.ReadVsMutexMap100k = nanoseconds(theirs) / nanoseconds(ours)
	fmt.Printf("%d users, %d cores: ours %.1f ns, mutex map %.1f ns\n", manyUsers, f.Cores, nanoseconds(ours), nanoseconds(theirs))

	if f.RefreshOverPost, err = refreshOverPost(ctx); err != nil {
		return figures{}, err
	}
	f.BytesPerUser, err = bytesPerUser(ctx)
	return f, err
}

// best returns the fastest of three runs: the others were disturbed.
func best(f func(*testing.B)) testing.BenchmarkResult {
	fastest := testing.Benchmark(f)
	for range 2 {
		if r := testing.Benchmark(f); nanoseconds(r) < nanoseconds(fastest) {
			fastest = r
		}
	}
	return fastest
}

func nanoseconds(r testing.BenchmarkResult) float64 { return float64(r.T.Nanoseconds()) / float64(r.N) }

// parallel reads on all cores, each going through the users from a place of its
// own.
func parallel(users int, read func(user int) error) func(*testing.B) {
	return func(b *testing.B) {
		var mu sync.Mutex
		next := 0
		b.RunParallel(func(pb *testing.PB) {
			mu.Lock()
			i := next % users
			next += users/7 + 1
			mu.Unlock()
			for pb.Next() {
				if err := read(i); err != nil {
					b.Error(err)
					return
				}
				if i++; i == users {
					i = 0
				}
			}
		})
	}
}

func valid() *oauth2.Token {
	return &oauth2.Token{AccessToken: "made-up", TokenType: "Bearer", Expiry: time.Now().Add(time.Hour)}
}

// mutexMap is what people write by hand.
type mutexMap struct {
	mu      sync.Mutex
	sources map[string]oauth2.TokenSource
}

func (m *mutexMap) token(id string) (*oauth2.Token, error) {
	m.mu.Lock()
	source, ok := m.sources[id]
	m.mu.Unlock()
	if !ok {
		return nil, errors.New("no such user")
	}
	return source.Token()
}

// template is a store in which everybody has the same link: what is in memory
// is the client's.
type template struct {
	*tokenstore.Memory
	record tokenstore.Record
}

// Load implements tokenstore.Store.
func (t *template) Load(_ context.Context, appUserID string) (tokenstore.Record, error) {
	r := t.record.Clone()
	r.AppUserID = appUserID
	return r, nil
}

// stored returns a client of a store in which everybody is linked, and the
// length of their access token.
func stored(ctx context.Context) (*pkb.Client, int, error) {
	server := pkbtest.New(pkbtest.Config{TokenLife: accessLife})
	store := &template{Memory: tokenstore.NewMemory()}
	cfg := pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: server.ClientID(), RedirectURL: cluster.RedirectURL,
		Store: store.Memory, HTTPClient: &http.Client{Transport: server.Transport()},
	}
	first, err := pkb.New(cfg)
	if err != nil {
		return nil, 0, err
	}
	if err := cluster.Link(ctx, server, server.AddPatient(pkbtest.Patient{}), first, "app-user-1"); err != nil {
		return nil, 0, err
	}
	token, err := first.Token(ctx, "app-user-1")
	if err != nil {
		return nil, 0, err
	}
	if store.record, err = store.Memory.Load(ctx, "app-user-1"); err != nil {
		return nil, 0, err
	}
	cfg.Store = store
	client, err := pkb.New(cfg)
	return client, len(token.Value.Reveal()), err
}

// hot returns a client with n users whose tokens are in memory.
func hot(ctx context.Context, n int) (*pkb.Client, []string, error) {
	client, _, err := stored(ctx)
	if err != nil {
		return nil, nil, err
	}
	ids := make([]string, n)
	for i := range ids {
		ids[i] = id(i)
	}
	return client, ids, load(ctx, client, n)
}

func id(i int) string { return fmt.Sprintf("app-user-%08d", i) }

// load asks for the tokens of n users, under ids that nobody else keeps.
func load(ctx context.Context, client *pkb.Client, n int) error {
	errs := make([]error, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += len(errs) {
				_, errs[w] = client.Token(ctx, id(i))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// bytesPerUser measures the heap with a million users whose tokens are in
// memory.
func bytesPerUser(ctx context.Context) (float64, error) {
	client, tokenLength, err := stored(ctx)
	if err != nil {
		return 0, err
	}
	before := heap()
	if err := load(ctx, client, hotUsers); err != nil {
		return 0, err
	}
	grown := heap() - before
	runtime.KeepAlive(client)
	perUser := grown/hotUsers - float64(tokenLength)
	fmt.Printf("%d users: %.0f MB, of which the tokens are %.0f MB\n", hotUsers, grown/1e6, float64(tokenLength*hotUsers)/1e6)
	return perUser, nil
}

// heap is what is in use after a collection.
func heap() float64 {
	runtime.GC()
	runtime.GC() // what the first one only finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// refreshOverPost measures refreshes and bare POSTs, alternately.
func refreshOverPost(ctx context.Context) (float64, error) {
	server, err := pkbtest.Start(pkbtest.Config{SessionLife: 365 * 24 * time.Hour})
	if err != nil {
		return 0, err
	}
	defer server.Close()
	client, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: server.ClientID(), RedirectURL: cluster.RedirectURL,
		Store: tokenstore.NewMemory(), Now: server.Now,
	})
	if err != nil {
		return 0, err
	}
	if err := cluster.Link(ctx, server, server.AddPatient(pkbtest.Patient{}), client, "app-user-1"); err != nil {
		return 0, err
	}
	bare, err := newBare(ctx, server)
	if err != nil {
		return 0, err
	}
	var ours, theirs []time.Duration
	for range refreshes {
		server.Advance(11 * time.Minute) // the token has expired
		server.Next(pkbtest.Token, pkbtest.Delay(postTakes), pkbtest.Delay(postTakes))
		start := time.Now()
		if _, err := client.Token(ctx, "app-user-1"); err != nil {
			return 0, err
		}
		ours = append(ours, time.Since(start))
		start = time.Now()
		if err := bare.refresh(ctx); err != nil {
			return 0, err
		}
		theirs = append(theirs, time.Since(start))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	o, b := ours[len(ours)/2], theirs[len(theirs)/2]
	fmt.Printf("a refresh: ours %v, the bare POST %v\n", o.Round(time.Microsecond), b.Round(time.Microsecond))
	return float64(o) / float64(b), nil
}

// bare is a session that is refreshed with net/http alone.
type bare struct {
	server *pkbtest.Server
	token  string
}

func newBare(ctx context.Context, server *pkbtest.Server) (*bare, error) {
	ask := url.Values{"response_type": {"code"}, "client_id": {server.ClientID()}, "redirect_uri": {cluster.RedirectURL}, "scope": {"PATIENT"}, "state": {"made-up"}}
	back, err := server.Approve(ctx, server.URL()+"/apiAuthorize.action?"+ask.Encode(), server.AddPatient(pkbtest.Patient{}))
	if err != nil {
		return nil, err
	}
	b := &bare{server: server}
	return b, b.post(ctx, url.Values{"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {cluster.RedirectURL}})
}

func (b *bare) refresh(ctx context.Context) error {
	return b.post(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {b.token}, "scope": {"PATIENT"}})
}

func (b *bare) post(ctx context.Context, form url.Values) error {
	form.Set("client_id", b.server.ClientID())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.server.URL()+"/apiToken.action", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if b.token = answer.RefreshToken; resp.StatusCode != http.StatusOK || b.token == "" {
		return fmt.Errorf("the bare POST got status %d", resp.StatusCode)
	}
	return nil
}
