// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/etcdstore"
	"github.com/betawerk/pkb-go/tokenstore/storetest"
)

// connect returns a client of endpoints, as a user if it is not "".
func connect(t testing.TB, user string, endpoints ...string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop(), Username: user, Password: user})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() }) // its error is that of its context
	return client
}

func open(t testing.TB, kv clientv3.KV, c etcdstore.Config) *etcdstore.Store {
	t.Helper()
	s, err := etcdstore.New(kv, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// The contract, on one member, with compaction and defragmentation all the while: no
// call needs an old revision.
func TestContract(t *testing.T) {
	t.Parallel()
	e := services.TestEtcd(t, 1)
	client := connect(t, "", e.Endpoints()...)
	s := open(t, client, etcdstore.Config{})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			if err := compact(ctx, client, n%10 == 0); err != nil && ctx.Err() == nil {
				t.Error(err)
				break
			}
		}
		ended <- n
	}()
	storetest.Run(t, func(*testing.T) tokenstore.Store { return s })
	stop()
	if n := <-ended; n < 10 {
		t.Errorf("compacted %d times only", n)
	}
}

// compact makes etcd forget all old revisions.
func compact(ctx context.Context, client *clientv3.Client, defragment bool) error {
	got, err := client.Get(ctx, "none")
	if err != nil {
		return err
	}
	if _, err := client.Compact(ctx, got.Header.Revision); err != nil && !strings.Contains(err.Error(), "compacted") {
		return err // unless nothing was written since
	}
	if defragment {
		_, err = client.Defragment(ctx, client.Endpoints()[0])
	}
	return err
}

// The contract on three members, and across them while each is lost in turn: the first
// is killed and loses its connections, the second freezes and keeps them, the third is
// killed. One of them is the leader.
func TestThreeMembers(t *testing.T) {
	t.Parallel()
	e := services.TestEtcd(t, 3)
	all := open(t, connect(t, "", e.Endpoints()...), etcdstore.Config{})
	storetest.Run(t, func(*testing.T) tokenstore.Store { return all })

	stores := make([]*etcdstore.Store, len(e))
	for i, member := range e {
		stores[i] = open(t, connect(t, "", member.DSN()), etcdstore.Config{})
	}
	storetest.CheckSpread(t, len(e), func(_ *testing.T, node int) tokenstore.Store { return stores[node] },
		func(node int) (func() error, error) {
			if node == 1 {
				return e[node].Thaw, e[node].Freeze()
			}
			e[node].Kill()
			return func() error { return e[node].Start(t.Context()) }, nil
		})
}

// A client with all endpoints serves links while a member is away, whichever it is.
func TestLinksSurviveTheLossOfAnyMember(t *testing.T) {
	t.Parallel()
	e := services.TestEtcd(t, 3)
	store := open(t, connect(t, "", e.Endpoints()...), etcdstore.Config{})
	server, ring := pkbtest.New(pkbtest.Config{}), &keys.Keyring{}
	if err := ring.AddKey("k", bytes.Repeat([]byte{1}, 32)); err != nil {
		t.Fatal(err)
	}
	var replicas []*pkb.Client
	for range 2 {
		c, err := pkb.New(pkb.Config{
			Environment: pkb.BaseURL(server.URL()), ClientID: server.ClientID(), RedirectURL: cluster.RedirectURL,
			Store: store, Keys: ring, HTTPClient: &http.Client{Transport: server.Transport()}, Now: server.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		replicas = append(replicas, c)
	}
	if err := cluster.Link(t.Context(), server, server.AddPatient(pkbtest.Patient{}), replicas[0], "user"); err != nil {
		t.Fatal(err)
	}
	for i, member := range e {
		member.Kill()
		server.Advance(11 * time.Minute)
		if !eventually(t, func() error { _, err := replicas[i%2].Token(t.Context(), "user"); return err }) {
			t.Errorf("no token without member %d", i)
		}
		if err := member.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// eventually repeats f until it succeeds, as a caller does who is told to try later.
func eventually(t *testing.T, f func() error) bool {
	t.Helper()
	for range 50 {
		err := f()
		if err == nil {
			return true
		}
		if !errors.Is(err, tokenstore.ErrUnavailable) {
			t.Errorf("%v", err)
			return false
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

// Two of three are no etcd: what cannot be asked is not available, and nothing is
// served that may be old.
func TestMinorityServesNothing(t *testing.T) {
	t.Parallel()
	e := services.TestEtcd(t, 3)
	client := connect(t, "", e.Endpoints()...)
	r, err := open(t, client, etcdstore.Config{}).Save(t.Context(), tokenstore.Record{AppUserID: "a", PublicID: "p"})
	if err != nil {
		t.Fatal(err)
	}
	e[0].Kill()
	e[1].Kill()
	s, err := etcdstore.New(client, etcdstore.Config{Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	_, loadErr := s.Load(t.Context(), "a")
	_, saveErr := s.Save(t.Context(), r)
	_, findErr := s.FindPublicID(t.Context(), "p", 1)
	for _, err := range []error{loadErr, saveErr, findErr, s.Check(t.Context())} {
		if !errors.Is(err, etcdstore.ErrUnavailable) {
			t.Errorf("%v, want ErrUnavailable", err)
		}
	}
}

// What an operator has to change is named, and Check finds it before the first link.
func TestWhatIsWrongIsNamed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		flags []string
		wrong func(t *testing.T, client *clientv3.Client) *clientv3.Client
		want  error
		text  string
		// reads: what is there can be read and deleted all the same.
		reads bool
	}{
		"small requests":     {[]string{"--max-request-bytes=100000"}, nil, etcdstore.ErrSettings, "--max-request-bytes", true},
		"short transactions": {[]string{"--max-txn-ops=8"}, nil, etcdstore.ErrSettings, "--max-txn-ops", true},
		"full":               {[]string{"--quota-backend-bytes=1000000"}, fill, etcdstore.ErrFull, "ResourceExhausted", true},
		"no user":            {nil, func(t *testing.T, c *clientv3.Client) *clientv3.Client { restrict(t, c); return c }, etcdstore.ErrRefused, "InvalidArgument", false},
		"a user of other keys": {nil, func(t *testing.T, c *clientv3.Client) *clientv3.Client {
			restrict(t, c)
			return connect(t, "other", c.Endpoints()...)
		}, etcdstore.ErrRefused, "PermissionDenied", false},
		"a user who may read": {nil, func(t *testing.T, c *clientv3.Client) *clientv3.Client {
			restrict(t, c)
			return connect(t, "reader", c.Endpoints()...)
		}, etcdstore.ErrRefused, "PermissionDenied", false},
		"a user who may write": {nil, func(t *testing.T, c *clientv3.Client) *clientv3.Client {
			restrict(t, c)
			return connect(t, "writer", c.Endpoints()...)
		}, nil, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := connect(t, "", services.TestEtcd(t, 1, test.flags...).Endpoints()...)
			s, err := etcdstore.New(client, etcdstore.Config{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.Save(t.Context(), tokenstore.Record{AppUserID: "a", PublicID: "p"})
			if err != nil {
				t.Fatal(err)
			}
			if test.wrong != nil {
				if s, err = etcdstore.New(test.wrong(t, client), etcdstore.Config{}); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Check(t.Context()); test.want != nil && (!errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text)) || test.want == nil && err != nil {
				t.Errorf("Check: %v, want %v with %q", err, test.want, test.text)
			}
			if !test.reads {
				return
			}
			if _, err := s.Load(t.Context(), "a"); err != nil {
				t.Errorf("Load: %v", err)
			}
			if err := s.Delete(t.Context(), "a", r.Version); err != nil {
				t.Errorf("Delete: %v", err)
			}
		})
	}
}

// fill writes until etcd is full.
func fill(t *testing.T, client *clientv3.Client) *clientv3.Client {
	t.Helper()
	for i := range 100 {
		if _, err := client.Put(t.Context(), fmt.Sprint("other/", i), strings.Repeat("x", 100_000)); err != nil {
			return client
		}
	}
	t.Fatal("etcd did not become full")
	return nil
}

// restrict lets no client in without a user, of whom "reader" and "writer" may do so
// below the store's prefix, and "other" elsewhere.
func restrict(t *testing.T, client *clientv3.Client) {
	t.Helper()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	for user, may := range map[string]clientv3.PermissionType{
		"reader": clientv3.PermissionType(clientv3.PermRead), "writer": clientv3.PermissionType(clientv3.PermReadWrite), "other": clientv3.PermissionType(clientv3.PermReadWrite),
	} {
		prefix := "pkb/links/"
		if user == "other" {
			prefix = "other/"
		}
		must(client.RoleAdd(ctx, user))
		must(client.RoleGrantPermission(ctx, user, prefix, clientv3.GetPrefixRangeEnd(prefix), may))
		must(client.UserAdd(ctx, user, user))
		must(client.UserGrantRole(ctx, user, user))
	}
	must(client.UserAdd(ctx, "root", "root"))
	must(client.UserGrantRole(ctx, "root", "root"))
	must(client.AuthEnable(ctx))
}

// After Unlink and Purge no key is left; before compaction its history is.
func TestErasure(t *testing.T) {
	t.Parallel()
	client := connect(t, "", services.TestEtcd(t, 1).Endpoints()...)
	s := open(t, client, etcdstore.Config{})
	r, err := s.Save(t.Context(), tokenstore.Record{AppUserID: "a", PublicID: "p", Claim: "q", TendAt: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	r, err = s.Save(t.Context(), tokenstore.Record{AppUserID: "a", Version: r.Version, State: tokenstore.StateUnlinked})
	if err != nil {
		t.Fatal(err)
	}
	keys := func() (names []string) {
		t.Helper()
		got, err := client.Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range got.Kvs {
			names = append(names, string(kv.Key))
		}
		return names
	}
	if got := keys(); !slices.Equal(got, []string{"pkb/links/r/a"}) {
		t.Errorf("a tombstone has the keys %q", got)
	}
	if err := s.Delete(t.Context(), "a", r.Version); err != nil || len(keys()) != 0 {
		t.Errorf("%v, and the keys %q are left", err, keys())
	}
}

func BenchmarkStore(b *testing.B) {
	s := open(b, connect(b, "", services.TestEtcd(b, 1).Endpoints()...), etcdstore.Config{})
	storetest.Benchmark(b, func(*testing.B) tokenstore.Store { return s })
}
