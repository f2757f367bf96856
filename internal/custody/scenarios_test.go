// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// vault is the key that keeper gives every replica.
func vault(t testing.TB) *seal.Ring {
	t.Helper()
	ring := &seal.Ring{}
	if err := ring.Add("k1", make([]byte, seal.KeySize)); err != nil {
		t.Fatal(err)
	}
	return ring
}

func place(r tokenstore.Record) seal.Place {
	return seal.Place{Environment: r.Environment, ClientID: r.ClientID, AppUserID: r.AppUserID, Pair: r.Pair, Candidate: r.Candidate}
}

// sealed has the parts of a sealed record that the tests look at.
type sealed struct {
	Active   *response `json:"active,omitempty"`
	PublicID string    `json:"public_id,omitempty"`
}

type response struct {
	Body     body      `json:"body"`
	At       time.Time `json:"at"`
	LinkedAt time.Time `json:"linked_at"`
}

// body is a response as it is kept: as the object that it is, or in base64, as these
// tests write it.
type body []byte

func (b *body) UnmarshalJSON(data []byte) error {
	if data[0] == '{' {
		*b = bytes.Clone(data)
		return nil
	}
	return json.Unmarshal(data, (*[]byte)(b))
}

// opened returns the sealed part of a record.
func opened(t testing.TB, r tokenstore.Record) (s sealed) {
	t.Helper()
	plain, err := vault(t).Open(place(r), r.Sealed)
	if err != nil {
		t.Fatalf("the record does not open: %v", err)
	}
	if err := json.Unmarshal(plain, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// kept returns the response that a record keeps, as received, and parsed.
func kept(t testing.TB, r tokenstore.Record) ([]byte, tokenwire.Grant) {
	t.Helper()
	s := opened(t, r)
	if s.Active == nil {
		t.Fatal("the record keeps no pair")
	}
	g, err := tokenwire.Parse(s.Active.Body)
	if err != nil {
		t.Fatalf("the record keeps no pair: %v", err)
	}
	return s.Active.Body, g
}

// wantPair checks the tokens that the user's record keeps.
func wantPair(t testing.TB, s tokenstore.Store, access, refresh string) {
	t.Helper()
	if _, g := kept(t, record(t, s)); g.AccessToken != access || g.RefreshToken != refresh {
		t.Errorf("the record keeps %q and %q, want %q and %q", g.AccessToken, g.RefreshToken, access, refresh)
	}
}

// putPlainly writes a successor as a program would that knows of no lease and no
// intent: over whatever is there.
func putPlainly(t testing.TB, s tokenstore.Store, out tokenwire.Outcome) {
	t.Helper()
	r := record(t, s)
	held := opened(t, r)
	session, seq, _ := strings.Cut(r.Pair, "/")
	n, err := strconv.Atoi(seq)
	if err != nil {
		t.Fatal(err)
	}
	r.Pair = fmt.Sprintf("%s/%d", session, n+1)
	r.Generation++
	r.State, r.Cause, r.Lease, r.Tried = tokenstore.StateLinked, "", tokenstore.Lease{}, 0
	r.RefreshedAt, r.ExpiresAt = time.Now(), time.Now().Add(out.Grant.ExpiresIn)
	held.Active.Body, held.Active.At = out.Body, time.Now()
	plain, err := json.Marshal(held)
	if err != nil {
		t.Fatal(err)
	}
	if r.Sealed, r.KeyID, err = vault(t).Seal(place(r), plain); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Save(t.Context(), r); err != nil {
		t.Errorf("the plain save: %v", err)
	}
}

// sessions is a strict token endpoint with a session for each of its users.
type sessions struct {
	mu     sync.Mutex
	serial int
	owner  map[string]string // refresh token -> user
	spent  map[string]bool
	dead   map[string]bool // users
	posts  []time.Time
	reuses int
}

func newSessions() *sessions {
	return &sessions{owner: map[string]string{}, spent: map[string]bool{}, dead: map[string]bool{}}
}

// grant issues a pair for user; the lock is held.
func (s *sessions) grant(user string) tokenwire.Outcome {
	s.serial++
	refresh := fmt.Sprintf("refresh-%d", s.serial)
	s.owner[refresh] = user
	return granted(fmt.Appendf(nil, `{"access_token":"access-%d-of-%s","refresh_token":%q,"expires_in":%d}`, s.serial, user, refresh, int(life.Seconds())))
}

// Refresh is custody.Config.Refresh.
func (s *sessions) Refresh(_ context.Context, refreshToken string) tokenwire.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	user := s.owner[refreshToken]
	s.posts = append(s.posts, time.Now())
	if s.spent[refreshToken] {
		s.reuses++
		s.dead[user] = true
	}
	if s.dead[user] {
		return rejected("API_SESSION_INVALID")
	}
	s.spent[refreshToken] = true
	return s.grant(user)
}

// of returns whose refresh token this is.
func (s *sessions) of(refreshToken string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owner[refreshToken]
}

// keeper returns a replica on store whose token endpoint is s.
func (s *sessions) keeper(t *testing.T, store tokenstore.Store) *custody.Keeper {
	t.Helper()
	return keeper(t, store, newIssuer(), func(c *custody.Config) { c.Refresh = s.Refresh })
}

// links makes n links and returns their users.
func (s *sessions) links(t *testing.T, k *custody.Keeper, n int) []string {
	t.Helper()
	var users []string
	for j := range n {
		u := fmt.Sprintf("user-%d", j)
		users = append(users, u)
		if _, err := k.Approve(t.Context(), custody.Approval{User: u, Session: "mark", Terms: custody.Terms{Share: true}, Exchange: func(context.Context) tokenwire.Outcome {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.grant(u)
		}}); err != nil {
			t.Fatal(err)
		}
	}
	return users
}

// S06: two clients of one store never share a link, nor a result for the same user:
// the scope is fixed, so the client id distinguishes them.
func TestTwoClientsShareNoResult(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		other, others := newIssuer(), tokenstore.NewMemory()
		other.serial = 100
		named := func(c *custody.Config) { c.ClientID = "other" }
		k, ko := keeper(t, s, i), keeper(t, others, other, named)
		link(t, k, i)
		link(t, ko, other)
		stranger := keeper(t, s, other, named) // by mistake on the store of the first
		time.Sleep(life)
		i.slow(3 * time.Second)
		other.slow(2 * time.Second)

		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { wantToken(t, k, "access-2") })
			wg.Go(func() { wantToken(t, ko, "access-102") })
			wg.Go(func() {
				if got, err := stranger.Token(t.Context(), user); !errors.Is(err, custody.ErrForeign) {
					t.Errorf("Token = %q, %v, want a refusal", got.Value, err)
				}
			})
		}
		wg.Wait()
		wantPosts(t, i, 1)
		wantPosts(t, other, 1)
	})
}

// S08: the map of users is swept while refreshes run, and each user still has
// one POST.
func TestSweepDuringARefresh(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		slow := &hooked{Memory: s, before: func(_ context.Context, _, u string) error {
			if u != user {
				time.Sleep(2 * time.Second) // so that all of them exist at the same time
			}
			return nil
		}}
		k := keeper(t, slow, i)
		wantToken(t, k, link(t, k, i))
		time.Sleep(life)
		i.slow(5 * time.Second)

		var wg sync.WaitGroup
		wg.Go(func() { wantToken(t, k, "access-2") })
		time.Sleep(time.Second)
		for j := range 5000 {
			wg.Go(func() { _, _ = k.Token(t.Context(), fmt.Sprintf("stranger-%d", j)) })
		}
		time.Sleep(time.Second)
		if n := k.Known(); n < 4096 {
			t.Fatalf("%d users are known: the map was not swept", n)
		}
		for range 100 {
			wg.Go(func() { wantToken(t, k, "access-2") })
		}
		wg.Wait()
		wantPosts(t, i, 1)
	})
}

// S09: a refresh carries no caller's context, and a refresh that ran out of time
// leaves nothing to the next.
func TestContextsDoNotLeakIntoFlights(t *testing.T) {
	type key struct{}
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i, func(c *custody.Config) {
			post := c.Refresh
			c.Refresh = func(ctx context.Context, token string) tokenwire.Outcome {
				out := post(ctx, token)
				if ctx.Value(key{}) != nil || ctx.Err() != nil {
					t.Errorf("the refresh has a caller's context: value %v, %v", ctx.Value(key{}), ctx.Err())
				}
				return out
			}
		})
		link(t, k, i)
		time.Sleep(life)
		i.slow(3 * time.Second)

		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "of the first caller"))
		first := make(chan error, 1)
		go func() {
			_, err := k.Token(ctx, user)
			first <- err
		}()
		time.Sleep(time.Second)
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the first caller: %v", err)
		}
		wantToken(t, k, "access-2") // joins the flight that the first caller left
		if _, err := k.Token(ctx, "nobody"); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who leaves before it asks: %v", err)
		}
		wantPosts(t, i, 1)

		// A flight's own time runs out: another process holds the lease and renews
		// it for longer than a flight watches.
		time.Sleep(life)
		r, began := record(t, s), time.Now()
		renew := func() {
			r.Lease = tokenstore.Lease{Owner: "another", Beat: r.Lease.Beat + 1, TTL: 15 * time.Second, TakenAt: began}
			var err error
			if r, err = s.Save(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		renew() // before anybody else can take the lease
		late := make(chan error, 1)
		go func() {
			_, err := k.Token(t.Context(), user)
			late <- err
		}()
		for range 31 {
			time.Sleep(10 * time.Second)
			renew()
		}
		var wait *custody.WaitError
		if err := <-late; !errors.As(err, &wait) || wait.Reason != custody.WaitElsewhere {
			t.Errorf("the flight that ran out of time: %v", err)
		}
		r.Lease = tokenstore.Lease{}
		if _, err := s.Save(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		wantToken(t, k, "access-3")
		wantPosts(t, i, 2)
	})
}

// S12: a holder that was stopped in its POST for longer than its lease, and resumes
// while another is posting, takes neither the lease nor the intent from it. It may
// save one thing only: a successor, which is real, whoever has the lease.
func TestHolderThatResumesChangesNothing(t *testing.T) {
	t.Parallel()
	for name, out := range map[string]tokenwire.Outcome{
		"not sent":   {Class: tokenwire.NotSent},
		"throttled":  {Class: tokenwire.AppWide, Status: 429},
		"refused":    {Class: tokenwire.Unclear, Status: 400},
		"cut off":    {Class: tokenwire.Ambiguous},
		"rejected":   rejected("invalid_grant"),
		"unreadable": {Class: tokenwire.Unread, Status: 200, Body: []byte(`{"data":{}}`)},
		"succeeded":  {},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				store := &flaky{Memory: s} // a process that is stopped renews nothing
				first, second := keeper(t, store, i), keeper(t, s, i)
				link(t, second, i)
				time.Sleep(life)
				i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
					if n > 1 {
						time.Sleep(90 * time.Second)
						return answer()
					}
					store.failSaves.Store(1 << 30)
					time.Sleep(140 * time.Second)
					store.failSaves.Store(0)
					if out.Class == 0 {
						return answer()
					}
					return out
				}
				var wg sync.WaitGroup
				wg.Go(func() { _, _ = first.Token(t.Context(), user) })
				time.Sleep(time.Second)
				wg.Go(func() { _, _ = second.Token(t.Context(), user) })
				time.Sleep(138 * time.Second)
				before := record(t, s)
				time.Sleep(2 * time.Second)
				after := record(t, s)
				if before.Lease.Owner == "" || before.Tried != 2 || before.Lease.Owner != after.Lease.Owner {
					t.Errorf("lease %+v became %+v, tried %d", before.Lease, after.Lease, before.Tried)
				}
				if out.Class == 0 {
					// Its response is the only pair there is: that is saved.
					wantPair(t, s, "access-2", "refresh-2")
				} else if after.Tried != 2 || after.State != tokenstore.StateUncertain {
					t.Errorf("tried %d, %s", after.Tried, after.State)
				}
				wg.Wait()
				want := record(t, s)
				if want.State != tokenstore.StateLinked || want.Generation != 2 || want.Lease.Owner != "" {
					t.Errorf("%s, generation %d, lease %+v", want.State, want.Generation, want.Lease)
				}
				wantToken(t, first, "access-2")
				wantToken(t, second, "access-2")
			})
		})
	}
}

// S13: a store that is down is reported as that, once per call and without a POST;
// the token in memory serves on, and the link is unchanged afterwards. It is
// presented again when the life of a lease has passed: another node may have
// replaced the store, without the latest writes.
func TestStoreThatIsDown(t *testing.T) {
	errDown := errors.New("the database is down")
	for name, fail := range map[string]func(ctx context.Context) error{
		"refused": func(context.Context) error { return errDown },
		"hanging": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				var down atomic.Bool
				var asked atomic.Int64
				store := &hooked{Memory: s, before: func(ctx context.Context, _, _ string) error {
					if !down.Load() {
						return nil
					}
					asked.Add(1)
					return fail(ctx)
				}}
				k := keeper(t, store, i)
				wantToken(t, k, link(t, k, i))
				down.Store(true)
				time.Sleep(life * 86 / 100)
				for range 20 { // early refreshes fail, and nobody minds
					wantToken(t, k, "access-1")
					time.Sleep(time.Second)
				}
				time.Sleep(life)
				asked.Store(0)
				for range 10 {
					_, err := k.Token(t.Context(), user)
					wantStoreError(t, err, "load")
					if is := map[string]error{"refused": errDown, "hanging": context.DeadlineExceeded}[name]; !errors.Is(err, is) {
						t.Fatalf("Token: %v, want %v", err, is)
					}
				}
				if n := asked.Load(); n != 10 {
					t.Errorf("the store was asked %d times for 10 calls", n)
				}
				wantPosts(t, i, 0)
				down.Store(false)
				wantWait(t, k, custody.WaitWary)
				wantPosts(t, i, 0)
				time.Sleep(15 * time.Second)
				wantToken(t, k, "access-2")
				wantPosts(t, i, 1)
			})
		})
	}
}

// S14: many create one user's record at the same moment: all of them succeed, and a
// caller who looks meanwhile gets ErrNoLink.
func TestCreationOfARecordRaces(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		store := &hooked{Memory: s, after: func(op, _ string) {
			if op == "load" {
				time.Sleep(time.Second) // everybody has seen nothing before anybody writes
			}
		}}
		var wg sync.WaitGroup
		for j := range 8 {
			k := keeper(t, store, i)
			wg.Go(func() { spend(t, k, fmt.Sprintf("tab-%d", j)) })
			wg.Go(func() {
				if _, err := k.Token(t.Context(), user); !errors.Is(err, custody.ErrNoLink) {
					t.Errorf("Token: %v, want no link", err)
				}
			})
		}
		wg.Wait()
		k := keeper(t, s, i)
		for j := range 8 {
			wantUsed(t, k, i, fmt.Sprintf("tab-%d", j))
		}
		wantToken(t, k, link(t, k, i))
	})
}

// S15: a lease that its owner cannot give back, and that was taken hours ahead by
// the owner's clock, holds nobody up for longer than its life and a minute; and
// whatever its TTL, ten minutes.
func TestOrphanedLeaseEnds(t *testing.T) {
	for _, tc := range []struct{ ttl, want time.Duration }{
		{15 * time.Second, 75 * time.Second},
		{0, 75 * time.Second},
		{45 * time.Second, 105 * time.Second},
		{24 * time.Hour, 11 * time.Minute},
	} {
		t.Run(tc.ttl.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				k := keeper(t, s, i)
				link(t, k, i)
				time.Sleep(life)
				r := record(t, s)
				r.Lease = tokenstore.Lease{Owner: "dead", Beat: 7, TTL: tc.ttl, TakenAt: time.Now().Add(6 * time.Hour)}
				if _, err := s.Save(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				_, err := k.Token(t.Context(), user)
				for err != nil { // a call watches for five minutes
					var wait *custody.WaitError
					if !errors.As(err, &wait) || wait.Reason != custody.WaitElsewhere {
						t.Fatal(err)
					}
					_, err = k.Token(t.Context(), user)
				}
				if took := time.Since(began); took < tc.want || took > tc.want+time.Second {
					t.Errorf("the lease was respected for %v, want %v", took, tc.want)
				}
				wantPosts(t, i, 1)
			})
		})
	}
}

// S15: a lease that was taken more than a day ago is taken over by a process that
// does not live long enough to watch it for its whole life and a minute. It watches
// for half a life all the same: its clock may be a day ahead, and a living holder
// renews the lease within that.
func TestOldLeaseIsTakenSoon(t *testing.T) {
	for name, tc := range map[string]struct {
		beats    bool
		min, max time.Duration
	}{
		"its holder is dead":   {false, 7500 * time.Millisecond, 9 * time.Second},
		"its holder renews it": {true, 30*time.Second + 7500*time.Millisecond, 40 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				k := keeper(t, s, i)
				link(t, k, i)
				time.Sleep(26 * time.Hour)
				r := record(t, s)
				r.Lease = tokenstore.Lease{Owner: "another", TTL: 15 * time.Second, TakenAt: time.Now().Add(-25*time.Hour - time.Second)}
				beat := func() {
					var err error
					r.Lease.Beat++
					if r, err = s.Save(t.Context(), r); err != nil {
						t.Error(err)
					}
				}
				beat()
				began := time.Now()
				got := make(chan error, 1)
				go func() {
					_, err := k.Token(t.Context(), user)
					got <- err
				}()
				for range 8 {
					if tc.beats {
						time.Sleep(3750 * time.Millisecond)
						beat()
					}
				}
				must(t, <-got)
				if took := time.Since(began); took < tc.min || took > tc.max {
					t.Errorf("it took %v, want it between %v and %v", took, tc.min, tc.max)
				}
				wantPosts(t, i, 1)
			})
		})
	}
}

// S16: a store with one connection is never held across a POST, and many users who
// refresh at the same time get through it.
func TestStoreWithOneConnection(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		server := newSessions()
		connection := make(chan struct{}, 1)
		replica := func() *custody.Keeper {
			var asking sync.Map // user -> something, while this replica waits for the store or uses it
			store := &hooked{Memory: s, before: func(ctx context.Context, _, u string) error {
				asking.Store(u, true)
				select {
				case connection <- struct{}{}:
				case <-ctx.Done():
					return ctx.Err()
				}
				time.Sleep(10 * time.Millisecond)
				return nil
			}, after: func(_, u string) {
				<-connection
				asking.Delete(u)
			}}
			return keeper(t, store, i, func(c *custody.Config) {
				c.Refresh = func(ctx context.Context, token string) tokenwire.Outcome {
					u := server.of(token)
					if _, busy := asking.Load(u); busy {
						t.Errorf("%s: the store is in use while the token endpoint is asked", u)
					}
					// The endpoint takes the connection itself before it responds: a
					// keeper that held it across the POST would wait for ever.
					connection <- struct{}{}
					time.Sleep(20 * time.Millisecond)
					<-connection
					return server.Refresh(ctx, token)
				}
			})
		}
		first, second := replica(), replica()
		users := server.links(t, first, 100)
		time.Sleep(life)
		var wg sync.WaitGroup
		for _, k := range []*custody.Keeper{first, second} {
			for _, u := range users {
				wg.Go(func() {
					if got, err := k.Token(t.Context(), u); err != nil || !strings.HasSuffix(got.Value, "-of-"+u) {
						t.Errorf("%s: %q, %v", u, got.Value, err)
					}
				})
			}
		}
		wg.Wait()
		if len(server.posts) != 100 || server.reuses != 0 {
			t.Errorf("%d POSTs and %d reused tokens, want 100 and 0", len(server.posts), server.reuses)
		}
	})
}

// S17: a store that returns an outdated row sends no old token, since the lease
// cannot be written on it; and it is not asked in a tight loop.
func TestLaggingStore(t *testing.T) {
	for name, act := range map[string]func(*testing.T, *custody.Keeper) error{
		"Token":   func(t *testing.T, k *custody.Keeper) error { wantToken(t, k, "access-2"); return nil },
		"Approve": func(t *testing.T, k *custody.Keeper) error { spend(t, k, "another tab"); return nil },
		"Unlink":  func(t *testing.T, k *custody.Keeper) error { return k.Unlink(t.Context(), user) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				peer := keeper(t, s, i)
				link(t, peer, i)
				time.Sleep(life)
				lag := &lagging{hooked: hooked{Memory: s}, old: record(t, s), until: time.Now().Add(2 * time.Second)}
				wantToken(t, peer, "access-2")
				if err := act(t, keeper(t, lag, i)); err != nil {
					t.Error(err)
				}
				wantPosts(t, i, 1)
				if n := lag.loads.Load(); n > 400 {
					t.Errorf("the store was asked %d times in two seconds", n)
				}
			})
		})
	}
}

// lagging is a store that breaks its promise: until some time, it returns an old
// record.
type lagging struct {
	hooked
	old   tokenstore.Record
	until time.Time
	loads atomic.Int64
}

func (l *lagging) Load(ctx context.Context, u string) (tokenstore.Record, error) {
	l.loads.Add(1)
	time.Sleep(time.Millisecond)
	if time.Now().Before(l.until) {
		return l.old.Clone(), nil
	}
	return l.hooked.Load(ctx, u)
}

// S20: a peer that knows of no lease works on the same record: what it rotates is
// adopted, and what this process rotates is not lost to what the peer saves.
func TestPeerWithoutLease(t *testing.T) {
	t.Run("it rotated before we looked", func(t *testing.T) {
		bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
			k := keeper(t, s, i)
			wantToken(t, k, link(t, k, i))
			time.Sleep(life)
			putPlainly(t, s, i.Refresh(t.Context(), "refresh-1"))
			wantToken(t, k, "access-2")
			wantPosts(t, i, 1)
		})
	})
	t.Run("it rotates between our look and our lease", func(t *testing.T) {
		bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
			link(t, keeper(t, s, i), i)
			time.Sleep(life)
			var once sync.Once
			k := keeper(t, &hooked{Memory: s, before: func(_ context.Context, op, _ string) error {
				if op == "save" {
					once.Do(func() { putPlainly(t, s, i.Refresh(t.Context(), "refresh-1")) })
				}
				return nil
			}}, i)
			wantToken(t, k, "access-2")
			wantPosts(t, i, 1)
		})
	})
	t.Run("it rotates while we post", func(t *testing.T) {
		bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
			k := keeper(t, s, i)
			link(t, k, i)
			time.Sleep(life)
			i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
				if n == 1 { // ours comes second
					putPlainly(t, s, answer())
					return rejected("invalid_grant")
				}
				return answer()
			}
			wantToken(t, k, "access-2")
			if r := record(t, s); r.State != tokenstore.StateLinked || r.Generation != 2 {
				t.Errorf("%s, generation %d", r.State, r.Generation)
			}
			wantPosts(t, i, 1)
		})
	})
	t.Run("it writes the row without lease and intent while we post", func(t *testing.T) {
		bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
			k := keeper(t, s, i)
			link(t, k, i)
			time.Sleep(life)
			i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
				out := answer()
				r := record(t, s)
				r.Lease, r.Tried = tokenstore.Lease{}, 0
				if _, err := s.Save(t.Context(), r); err != nil {
					t.Error(err)
				}
				return out
			}
			wantToken(t, k, "access-2")
			wantPair(t, s, "access-2", "refresh-2")
			wantPosts(t, i, 1)
		})
	})
	t.Run("it saves a copy from before", func(t *testing.T) {
		bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
			k := keeper(t, s, i)
			link(t, k, i)
			time.Sleep(life)
			old := record(t, s)
			wantToken(t, k, "access-2")
			if _, err := s.Save(t.Context(), old); !errors.Is(err, tokenstore.ErrConflict) {
				t.Errorf("Save: %v, want a conflict", err)
			}
			wantPair(t, s, "access-2", "refresh-2")
		})
	})
}

// S23: where the server forgives a repetition, one that would be too late is not
// sent while there is a token to lose. Only the flight that has presented the token
// knows: it has measured.
func TestForgivenessHasAnEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		after time.Duration
		posts int
	}{
		"inside the window":  {5 * time.Second, 2},
		"outside the window": {11 * time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				forgives := func(c *custody.Config) { c.Forgive = 10 * time.Second }
				first, second := keeper(t, s, i, forgives), keeper(t, s, i, forgives)
				link(t, first, i)
				was := token(t, first)
				i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
					if n == 1 {
						time.Sleep(tc.after)
						return tokenwire.Outcome{Class: tokenwire.Ambiguous, Status: 504}
					}
					return answer()
				}
				time.Sleep(life / 2)
				// A server rejects the token: reason enough to present the other
				// one.
				got, err := first.Replace(t.Context(), user, was)
				if tc.posts == 2 {
					if err != nil || got.Value != "access-2" {
						t.Errorf("Replace = %q, %v", got.Value, err)
					}
				} else {
					var wait *custody.WaitError
					if !errors.As(err, &wait) || wait.Reason != custody.WaitUncertain {
						t.Errorf("Replace: %v", err)
					}
					if _, err := second.Replace(t.Context(), user, was); !errors.As(err, &wait) || wait.Reason != custody.WaitUncertain {
						t.Errorf("Replace: %v", err)
					}
				}
				for range 20 {
					if _, err := second.Token(t.Context(), user); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				wantPosts(t, i, tc.posts)
			})
		})
	}
}

// S24: however many callers and replicas see a refresh whose response was lost, a
// server that forgives gets one repetition, which is not repeated.
func TestOneRepetitionForAll(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]int{"the repetition gets a response": 1, "its response is lost too": 2} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				var replicas []*custody.Keeper
				for range 4 {
					replicas = append(replicas, keeper(t, s, i, func(c *custody.Config) { c.Forgive = 40 * time.Second }))
				}
				link(t, replicas[0], i)
				for _, k := range replicas {
					wantToken(t, k, "access-1")
				}
				was := token(t, replicas[0])
				var underWay atomic.Int64
				i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
					if underWay.Add(1) > 1 {
						t.Error("two refreshes at once")
					}
					defer underWay.Add(-1)
					time.Sleep(500 * time.Millisecond)
					if n <= lost {
						return tokenwire.Outcome{Class: tokenwire.Ambiguous, Status: 504}
					}
					return answer()
				}
				time.Sleep(life / 2)
				began := time.Now()
				for range 200 { // a server rejects the token that everybody has
					var wg sync.WaitGroup
					for _, k := range replicas {
						for range 3 {
							wg.Go(func() {
								got, err := k.Replace(t.Context(), user, was)
								var wait *custody.WaitError
								unsure := errors.As(err, &wait) && wait.Reason == custody.WaitUncertain
								early := lost == 2 || time.Since(began) < 3*time.Second
								if served := lost == 1 && got.Value == "access-2"; !served && (!unsure || !early) {
									t.Errorf("Replace = %q, %v", got.Value, err)
								}
							})
						}
					}
					wg.Wait()
					time.Sleep(100 * time.Millisecond)
				}
				wantPosts(t, i, 2)
				wantToken(t, replicas[3], map[int]string{1: "access-2", 2: "access-1"}[lost])
			})
		})
	}
}

// S28: closing waits no longer than its context; what is under way continues while
// the process does.
func TestCloseEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		link(t, k, i)
		time.Sleep(life)
		i.slow(5 * time.Second)
		got := make(chan error, 1)
		go func() {
			_, err := k.Token(t.Context(), user)
			got <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := k.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("Close after %v: %v", time.Since(began), err)
		}
		if err := <-got; err != nil {
			t.Errorf("Token: %v", err)
		}
		wantPair(t, s, "access-2", "refresh-2")
		wantPosts(t, i, 1)
	})
}

// S33: what else a token response holds survives the store, to the byte, and a new
// process reads the same pair from it.
func TestAnswerIsKeptAsItCame(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		link(t, k, i)
		time.Sleep(life)
		body := `{ "patient":"7300000", "access_token":"access-2","token_type":"Bearer", "scope":"PATIENT openid",
			"id_token":"e30.e30.", "refresh_token_expires_in": 1209600, "expires_in":"600", "refresh_token":"refresh-2", "😀":[null,1e3] }`
		i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome {
			g, err := tokenwire.Parse([]byte(body))
			if err != nil {
				t.Error(err)
			}
			return tokenwire.Outcome{Class: tokenwire.OK, Status: 200, Body: []byte(body), Grant: g}
		}
		wantToken(t, k, "access-2")
		got, _ := kept(t, record(t, s))
		if diff := cmp.Diff(body, string(got)); diff != "" {
			t.Errorf("the response that is kept (-want +got):\n%s", diff)
		}
		wantToken(t, keeper(t, s, i), "access-2")

		// A write for another reason keeps it too.
		spend(t, k, "another tab")
		got, _ = kept(t, record(t, s))
		if diff := cmp.Diff(body, string(got)); diff != "" {
			t.Errorf("after another write (-want +got):\n%s", diff)
		}
	})
}

// S36: a refusal that is about another process's success clears nothing.
func TestRefusalBeforeTheWinnerSaved(t *testing.T) {
	t.Run("the winner has the lease", func(t *testing.T) {
		bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
			store := &flaky{Memory: s}
			winner := keeper(t, store, i)
			link(t, winner, i)
			time.Sleep(life)
			i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
				store.failSaves.Store(1 << 30) // it has the pair, and cannot save it
				return answer()
			}
			var wg sync.WaitGroup
			_, err := winner.Token(t.Context(), user)
			wantStoreError(t, err, "save")
			for range 3 {
				k := keeper(t, s, i)
				wg.Go(func() { wantToken(t, k, "access-2") })
			}
			time.Sleep(55 * time.Second) // longer than its lease
			store.failSaves.Store(0)
			wg.Wait()
			time.Sleep(time.Second)
			wantToken(t, winner, "access-2")
			wantPosts(t, i, 1)
		})
	})
	t.Run("the winner has none", func(t *testing.T) {
		bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
			k := keeper(t, s, i)
			link(t, k, i)
			time.Sleep(life)
			won := i.Refresh(t.Context(), "refresh-1")
			i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome {
				return rejected("invalid_grant")
			}
			wantLost(t, k, grantRejected)
			wantPair(t, s, "access-1", "refresh-1")
			putPlainly(t, s, won)
			wantToken(t, k, "access-2") // the verdict was not saved over the record
			if r := record(t, s); r.PublicID != patient {
				t.Errorf("the patient of the link is %q", r.PublicID)
			}
		})
	})
}

// S39: whatever goes wrong with a refresh, the record still holds its pair and its
// patient.
func TestNoErrorWipes(t *testing.T) {
	t.Parallel()
	appWide := func(status int, code string) tokenwire.Outcome {
		return tokenwire.Outcome{Class: tokenwire.AppWide, Status: status, Code: code}
	}
	unclear := func(status int) tokenwire.Outcome {
		return tokenwire.Outcome{Class: tokenwire.Unclear, Status: status}
	}
	type trouble struct {
		out tokenwire.Outcome
		// spoil makes the store fail, before the refresh or in its POST.
		spoil, spoilInPost func(*flaky)
	}
	forGood := func(f *flaky) { f.failSaves.Store(1 << 30) }
	for name, tc := range map[string]trouble{
		"not sent":                      {out: tokenwire.Outcome{Class: tokenwire.NotSent, Err: errors.New("refused")}},
		"no response in time":           {out: tokenwire.Outcome{Class: tokenwire.Ambiguous, Err: context.DeadlineExceeded}},
		"500":                           {out: tokenwire.Outcome{Class: tokenwire.Ambiguous, Status: 500}},
		"503":                           {out: tokenwire.Outcome{Class: tokenwire.Ambiguous, Status: 503, RetryAfter: time.Second}},
		"200 with a page":               {out: tokenwire.Outcome{Class: tokenwire.Ambiguous, Status: 200, Body: []byte("<html>")}},
		"200 cut off":                   {out: tokenwire.Outcome{Class: tokenwire.Ambiguous, Status: 200, Body: []byte(`{"access_tok`)}},
		"401 invalid_client":            {out: appWide(401, "invalid_client")},
		"400 with a page":               {out: unclear(400)},
		"302":                           {out: unclear(302)},
		"404":                           {out: unclear(404)},
		"200 that nobody can read":      {out: tokenwire.Outcome{Class: tokenwire.Unread, Status: 200, Body: []byte(`{"data":{"access_token":"access-2"}}`)}},
		"429":                           {out: appWide(429, "")},
		"invalid_grant":                 {out: rejected("invalid_grant")},
		"session expired":               {out: rejected("API_SESSION_EXPIRED")},
		"session invalid":               {out: rejected("API_SESSION_INVALID")},
		"frozen":                        {out: rejected("ACCESS_FROZEN_OUTWARD")},
		"read-only store":               {spoil: forGood},
		"no save for an hour":           {spoilInPost: forGood},
		"a rejection is never saved":    {out: rejected("invalid_grant"), spoilInPost: forGood},
		"an uncertainty is never saved": {out: tokenwire.Outcome{Class: tokenwire.Ambiguous}, spoilInPost: forGood},
		"a save that lies":              {out: rejected("invalid_grant"), spoilInPost: func(f *flaky) { f.lieOnSave.Store(true) }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				store := &flaky{Memory: s}
				k := keeper(t, store, i)
				link(t, k, i)
				time.Sleep(life)
				i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
					if tc.spoilInPost != nil {
						tc.spoilInPost(store)
					}
					if tc.out.Class == 0 {
						return answer()
					}
					return tc.out
				}
				if tc.spoil != nil {
					tc.spoil(store)
				}
				for range 3 {
					if got, err := k.Token(t.Context(), user); err == nil {
						t.Fatalf("Token = %q", got.Value)
					}
					wantPair(t, s, "access-1", "refresh-1")
					if r := record(t, s); r.PublicID != patient || r.Generation != 1 {
						t.Errorf("patient %q, generation %d", r.PublicID, r.Generation)
					}
					time.Sleep(20 * time.Minute)
				}
				store.failSaves.Store(0)
				if err := k.Close(t.Context()); err != nil { // a received response is saved after all
					t.Error(err)
				}
			})
		})
	}
}

// S40: a lost link costs no POST however often it is asked for, and a new
// authorization serves at the very next call, in every process.
func TestDeadLinkIsCheapAndRevivesAtOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		replicas := []*custody.Keeper{keeper(t, s, i), keeper(t, s, i), keeper(t, s, i)}
		link(t, replicas[0], i)
		was := token(t, replicas[0])
		time.Sleep(life)
		i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome {
			return rejected("API_SESSION_EXPIRED")
		}
		for range 60 {
			var wg sync.WaitGroup
			for _, k := range replicas {
				for range 20 {
					wg.Go(func() {
						wantLost(t, k, sessionExpired)
						_, err := k.Replace(t.Context(), user, was)
						if _, lost := errors.AsType[*custody.LostError](err); !lost {
							t.Errorf("Replace: %v", err)
						}
					})
				}
			}
			wg.Wait()
			time.Sleep(time.Minute)
		}
		wantPosts(t, i, 1)

		next := link(t, replicas[1], i)
		began := time.Now()
		for _, k := range replicas {
			wantToken(t, k, next)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("the new authorization had to wait for %v", waited)
		}
		wantPosts(t, i, 1)
	})
}

// S41: no refresh is sent for a token that has most of its life before it, by
// however many callers, replicas and restarts.
func TestNoRefreshOfAYoungToken(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var mu sync.Mutex
		granted := time.Now()
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			mu.Lock()
			defer mu.Unlock()
			if age := time.Since(granted); age < life*75/100 {
				t.Errorf("a refresh of a token that is %v old", age)
				return rejected("invalid_grant")
			}
			granted = time.Now()
			return answer()
		}
		replicas := []*custody.Keeper{keeper(t, s, i), keeper(t, s, i)}
		link(t, replicas[0], i)
		for range 360 {
			for _, k := range append(replicas, keeper(t, s, i)) { // one has just started
				if _, err := k.Token(t.Context(), user); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(5 * time.Second)
		}
		if posts, reuses := i.count(); posts < 3 || posts > 4 || reuses != 0 {
			t.Errorf("%d POSTs and %d reused tokens in three lives of a token", posts, reuses)
		}
	})
}

// S41: a server that accepts no refresh at all before the token expires, and calls
// it a bad request, causes a pause at the end and ends no link: the error is
// unrecognized, so it concerns this link only, and it waits longer after each.
func TestServerThatRefusesEarlyRefreshes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		wantToken(t, k, link(t, k, i))
		granted := time.Now()
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			if time.Since(granted) < life {
				return tokenwire.Outcome{Class: tokenwire.Unclear, Status: 400, Code: "invalid_request"}
			}
			return answer()
		}
		for time.Since(granted) < life-30*time.Second {
			wantToken(t, k, "access-1")
			time.Sleep(time.Second)
		}
		for time.Since(granted) < life {
			wantWait(t, k, custody.WaitUnclear)
			time.Sleep(time.Second)
		}
		var err error
		for time.Since(granted) < life+15*time.Minute { // the longest back-off
			if _, err = k.Token(t.Context(), user); err == nil {
				break
			}
			time.Sleep(time.Second)
		}
		if err != nil {
			t.Errorf("a quarter of an hour later: %v", err)
		}
		if posts, reuses := i.count(); posts > 20 || reuses != 0 {
			t.Errorf("%d POSTs and %d reused tokens", posts, reuses)
		}
	})
}

// S47: a link that nobody uses sends nothing, because only a patient's use is a
// reason to; the first call after a week finds out how it stands, for all.
func TestIdleLink(t *testing.T) {
	for name, tc := range map[string]struct{ over bool }{"the session goes on": {}, "the session has ended": {over: true}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				k := keeper(t, s, i)
				wantToken(t, k, link(t, k, i))
				time.Sleep(7 * 24 * time.Hour)
				wantPosts(t, i, 0)
				i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
					if tc.over {
						return rejected("API_SESSION_EXPIRED")
					}
					return answer()
				}
				var wg sync.WaitGroup
				for range 50 {
					wg.Go(func() {
						if tc.over {
							wantLost(t, k, sessionExpired)
						} else {
							wantToken(t, k, "access-2")
						}
					})
				}
				wg.Wait()
				wantPosts(t, i, 1)
			})
		})
	}
}

// S48: links that were all made in the same moment are refreshed over a tenth of a
// token's life, and drift apart from there.
func TestRefreshesOfManyLinksSpread(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, _ *issuer, s *tokenstore.Memory) {
		server := newSessions()
		k := server.keeper(t, s)
		users := server.links(t, k, 300)
		began := time.Now()
		for time.Since(began) < life*87/100 {
			for _, u := range users {
				if _, err := k.Token(t.Context(), u); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
		}
		if len(server.posts) != 300 || server.reuses != 0 {
			t.Fatalf("%d POSTs and %d reused tokens, want 300 and 0", len(server.posts), server.reuses)
		}
		first, last := slices.MinFunc(server.posts, time.Time.Compare).Sub(began), slices.MaxFunc(server.posts, time.Time.Compare).Sub(began)
		if first < life*75/100 || last > life*85/100+time.Second || last-first < life*8/100 {
			t.Errorf("refreshed between %v and %v, want it spread from %v to %v", first, last, life*75/100, life*85/100)
		}
		perSecond := map[int]int{}
		for _, at := range server.posts {
			perSecond[int(at.Sub(began).Seconds())]++
		}
		for second, n := range perSecond {
			if n > 30 { // five on average
				t.Errorf("%d refreshes in second %d", n, second)
			}
		}
	})
}

// restore replaces the current records by those of a backup.
func restore(t testing.TB, s tokenstore.Store, backup []tokenstore.Record) {
	t.Helper()
	for _, old := range backup {
		now, err := s.Load(t.Context(), old.AppUserID)
		if err != nil {
			t.Fatal(err)
		}
		old.Version = now.Version
		if _, err := s.Save(t.Context(), old); err != nil {
			t.Fatal(err)
		}
	}
}

// census asks for the tokens of all users, and counts the links that have ended and
// those that wait because the store may be a restored backup.
func census(t testing.TB, k *custody.Keeper, users []string) (lost, waiting int) {
	t.Helper()
	for _, u := range users {
		_, err := k.Token(t.Context(), u)
		var gone *custody.LostError
		var wait *custody.WaitError
		switch {
		case errors.As(err, &gone) && gone.Cause == sessionInvalid:
			lost++
		case errors.As(err, &wait) && wait.Reason == custody.WaitSuspect && wait.RetryAfter <= time.Minute:
			waiting++
		default:
			t.Errorf("%s: %v", u, err)
		}
	}
	return lost, waiting
}

// S49: the store was restored from a backup, and every refresh token in it is spent:
// that is detected and reported, nothing is presented twice, and for half an hour
// most are not presented at all.
func TestStoreRestoredFromABackup(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, _ *issuer, s *tokenstore.Memory) {
		server := newSessions()
		k := server.keeper(t, s)
		users := server.links(t, k, 40)
		backup, err := s.List(t.Context(), "", 100)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(life)
		for _, u := range users {
			if _, err := k.Token(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
		restore(t, s, backup)
		server.posts = nil

		// The process that has seen the successors sends nothing. Its tokens expire.
		time.Sleep(life)
		for _, u := range users {
			_, err := k.Token(t.Context(), u)
			var wait *custody.WaitError
			if !errors.As(err, &wait) || wait.Reason != custody.WaitRolledBack {
				t.Errorf("%s: %v, want to wait: %s", u, err, custody.WaitRolledBack)
			}
		}
		if n := k.Stats().Events[custody.StoreRolledBack]; len(server.posts) != 0 || n != 1 {
			t.Errorf("%d POSTs, reported %d times, want none and once", len(server.posts), n)
		}

		// A process that has just started finds out from refusals, and soon presents
		// no more than one token a minute.
		restarted := server.keeper(t, s)
		for minute := range 30 {
			if lost, waiting := census(t, restarted, users); lost != 5+minute || waiting != 35-minute {
				t.Errorf("minute %d: %d lost, %d waiting", minute, lost, waiting)
			}
			time.Sleep(time.Minute)
		}
		if n := restarted.Stats().Events[custody.MassRejection]; n != 1 {
			t.Errorf("reported %d times, want once", n)
		}
		if lost, _ := census(t, restarted, users); lost != 40 {
			t.Errorf("%d lost after half an hour, want all 40, each with its cause", lost)
		}
		if len(server.posts) != 40 {
			t.Errorf("%d POSTs for 40 links", len(server.posts))
		}
	})
}
