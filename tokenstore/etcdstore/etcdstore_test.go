// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"text/template"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/etcdstore"
	"github.com/betawerk/pkb-go/tokenstore/storetest"
)

// open returns a store on a member of its own.
func open(t testing.TB, c etcdstore.Config) (*etcdstore.Store, *member, *clientv3.Client) {
	t.Helper()
	m, err := startMember()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.stop)
	client, err := m.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() }) // it may be closed already
	s, err := etcdstore.New(client, c)
	if err != nil {
		t.Fatal(err)
	}
	return s, m, client
}

func save(t *testing.T, s *etcdstore.Store, r tokenstore.Record) tokenstore.Record {
	t.Helper()
	saved, err := s.Save(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

// The contract; on real servers: internal/integration/etcd.
func TestContract(t *testing.T) {
	s, _, _ := open(t, etcdstore.Config{})
	storetest.Run(t, func(*testing.T) tokenstore.Store { return s })
}

// One tenant's part, in a part of an etcd. Nothing outside it is asked for, which the
// user's role would not allow.
func TestContractWithPrefixInANamespace(t *testing.T) {
	_, m, client := open(t, etcdstore.Config{})
	all, err := etcdstore.New(namespace.NewKV(client, "team/"), etcdstore.Config{Prefix: "app/"})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"tenant-a", "tenant-b/x", "tenant-a0"} {
		save(t, all, tokenstore.Record{AppUserID: id, TendAt: time.Unix(1, 0)})
	}
	part, err := tokenstore.WithPrefix(all, "tenant-a/")
	if err != nil {
		t.Fatal(err)
	}
	storetest.Run(t, func(*testing.T) tokenstore.Store { return part })
	if err := all.Check(t.Context()); err != nil {
		t.Error(err)
	}
	for _, key := range append(m.named, m.names()...) {
		if key != "" && !strings.HasPrefix(key, "team/app/") {
			t.Fatalf("the key %q is outside the namespace", key)
		}
	}
}

func BenchmarkStore(b *testing.B) {
	s, _, _ := open(b, etcdstore.Config{})
	storetest.Benchmark(b, func(*testing.B) tokenstore.Store { return s })
}

// A write that etcd may have done is sent once, and its outcome is called unknown:
// never a conflict, and never a success.
func TestUnknownOutcomeIsReportedAsSuch(t *testing.T) {
	for name, fail := range map[string]error{
		"leader changed": rpctypes.ErrGRPCLeaderChanged, "request timed out": rpctypes.ErrGRPCTimeout,
		"no leader": rpctypes.ErrGRPCNoLeader, "stopped": rpctypes.ErrGRPCStopped, "leader lost": rpctypes.ErrGRPCTimeoutDueToLeaderFail,
		"the server's context": status.Error(codes.Unknown, "context deadline exceeded"), "the server's end": status.Error(codes.Unknown, "context canceled"),
		"connection lost": status.Error(codes.Unavailable, "transport is closing"),
	} {
		for when, done := range map[string]bool{"before": false, "after": true} {
			t.Run(name+" "+when, func(t *testing.T) {
				s, m, _ := open(t, etcdstore.Config{})
				r := save(t, s, tokenstore.Record{AppUserID: "a"})
				fault := func(what string) error {
					if what == "txn" {
						return fail
					}
					return nil
				}
				if done {
					m.faults(nil, fault)
				} else {
					m.faults(fault, nil)
				}
				r.Cause = "written"
				_, err := s.Save(t.Context(), r)
				if !errors.Is(err, etcdstore.ErrUnavailable) || !errors.Is(err, tokenstore.ErrUnavailable) || errors.Is(err, tokenstore.ErrConflict) {
					t.Errorf("Save: %v, want ErrUnavailable", err)
				}
				if n := count(m.asked(), "txn"); n != 1 {
					t.Errorf("the write was sent %d times", n)
				}
				m.faults(nil, nil)
				_, err = s.Save(t.Context(), r) // as a caller finds out
				if done != errors.Is(err, tokenstore.ErrConflict) || !done && err != nil {
					t.Errorf("Save again: %v, and it was done: %v", err, done)
				}
				m.faults(nil, fault)
				now, err := s.Load(t.Context(), "a")
				if err != nil || now.Cause != "written" {
					t.Errorf("Load: %v, %v", now, err)
				}
				if err := s.Delete(t.Context(), "a", now.Version); !errors.Is(err, etcdstore.ErrUnavailable) {
					t.Errorf("Delete: %v, want ErrUnavailable", err)
				}
			})
		}
	}
}

// The client sends a write again when a member, or a proxy, responds with a status of
// its own context. The second one finds what the first one wrote.
func TestWriteThatTheClientSendsTwiceKnowsItsOwn(t *testing.T) {
	for what, fail := range map[string]error{
		"cancelled": status.Error(codes.Canceled, "context canceled"), "too late": status.Error(codes.DeadlineExceeded, "context deadline exceeded"),
	} {
		t.Run(what, func(t *testing.T) {
			s, m, _ := open(t, etcdstore.Config{})
			first := save(t, s, tokenstore.Record{AppUserID: "a"})
			left := 1
			m.faults(nil, func(request string) error {
				if request == "txn" && left > 0 {
					left--
					return fail
				}
				return nil
			})
			first.Cause = "written"
			second, err := s.Save(t.Context(), first)
			if n := count(m.asked(), "txn"); n != 2 {
				t.Fatalf("the client sent it %d times: this test has lost its reason", n)
			}
			now, loadErr := s.Load(t.Context(), "a")
			if diff := cmp.Diff(now, second); err != nil || loadErr != nil || diff != "" || now.Cause != "written" {
				t.Errorf("Save: %v; Load: %v (-loaded +saved):\n%s", err, loadErr, diff)
			}
			// Somebody else's is a conflict.
			left = 1
			if _, err := s.Save(t.Context(), first); !errors.Is(err, tokenstore.ErrConflict) {
				t.Errorf("Save on an old version: %v, want ErrConflict", err)
			}
		})
	}
}

// A member that notices a deadline before the client does responds so, and the client
// sends a write again: so none is sent along. One that has lost the others is told to
// report that instead of waiting for them.
func TestNoDeadlineIsSent(t *testing.T) {
	s, m, _ := open(t, etcdstore.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := s.Save(ctx, tokenstore.Record{AppUserID: "a"})
	if err == nil {
		err = s.Delete(ctx, "a", r.Version)
	}
	if err == nil {
		err = s.Check(ctx)
	}
	if err != nil || m.deadline || m.patient {
		t.Errorf("%v; with a deadline: %v; waiting for a leader: %v", err, m.deadline, m.patient)
	}
}

func count(all []string, what string) (n int) {
	for _, s := range all {
		if s == what {
			n++
		}
	}
	return n
}

// Every failure has an error of its own, and none of etcd's text.
func TestFailuresHaveNames(t *testing.T) {
	for name, test := range map[string]struct {
		fail  error
		want  error
		text  string
		waits bool
	}{
		"full":         {rpctypes.ErrGRPCNoSpace, etcdstore.ErrFull, "etcdstore: save: etcd has no space left within its quota; compact, defragment and disarm the alarm (ResourceExhausted)", false},
		"busy":         {rpctypes.ErrGRPCRequestTooManyRequests, etcdstore.ErrBusy, "etcdstore: save: etcd has too many requests (ResourceExhausted)", true},
		"large":        {rpctypes.ErrGRPCRequestTooLarge, etcdstore.ErrSettings, "--max-request-bytes", false},
		"ops":          {rpctypes.ErrGRPCTooManyOps, etcdstore.ErrSettings, "--max-txn-ops", false},
		"role":         {rpctypes.ErrGRPCPermissionDenied, etcdstore.ErrRefused, "(PermissionDenied)", false},
		"password":     {rpctypes.ErrGRPCAuthFailed, etcdstore.ErrRefused, "(InvalidArgument)", false},
		"no user":      {rpctypes.ErrGRPCUserEmpty, etcdstore.ErrRefused, "(InvalidArgument)", false},
		"time":         {status.Error(codes.DeadlineExceeded, "secret-canary"), etcdstore.ErrUnavailable, "etcdstore: save: etcd is not available: no response within 300ms", true},
		"something":    {status.Error(codes.Internal, "secret-canary"), nil, "etcdstore: save: etcd failed (Internal)", false},
		"an odd etcd":  {status.Error(codes.Code(99), "secret-canary"), nil, "(Code(99))", false},
		"corrupt disk": {rpctypes.ErrGRPCCorrupt, nil, "(DataLoss)", false},
	} {
		t.Run(name, func(t *testing.T) {
			c := etcdstore.Config{}
			if test.waits { // it is asked until time ends
				c.Timeout = 300 * time.Millisecond
			}
			s, m, _ := open(t, c)
			m.faults(func(string) error { return test.fail }, nil)
			_, err := s.Save(t.Context(), tokenstore.Record{AppUserID: "a", Sealed: []byte("secret-canary")})
			checked := s.Check(t.Context())
			for range 20 { // time may end while etcd is asked once more
				if test.want != nil && !errors.Is(err, test.want) {
					_, err = s.Save(t.Context(), tokenstore.Record{AppUserID: "a", Sealed: []byte("secret-canary")})
				}
				if test.want != nil && !errors.Is(checked, test.want) {
					checked = s.Check(t.Context())
				}
			}
			var of *etcdstore.Error
			if !errors.As(err, &of) || of.Op != "save" || test.want != nil && !errors.Is(err, test.want) {
				t.Fatalf("Save: %v, want %v", err, test.want)
			}
			if text := err.Error(); !strings.Contains(text, test.text) || strings.Contains(text, "canary") || strings.Contains(text, "etcdserver") {
				t.Errorf("it prints %s", text)
			}
			printsItsText(t, err)
			if errors.Is(err, tokenstore.ErrUnavailable) != test.waits {
				t.Errorf("waiting is enough: %v, want %v", !test.waits, test.waits)
			}
			if test.want != nil && !errors.Is(checked, test.want) {
				t.Errorf("Check: %v, want %v", checked, test.want)
			}
		})
	}
}

// printsItsText checks that no verb prints more of an error than its text.
func printsItsText(t *testing.T, err error) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if text := fmt.Sprintf(verb, err); text != err.Error() {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}

// What etcd refused unseen is sent again, and so are reads.
func TestWhatIsSafeIsSentAgain(t *testing.T) {
	s, m, _ := open(t, etcdstore.Config{})
	r := save(t, s, tokenstore.Record{AppUserID: "a", PublicID: "p"})
	for what, of := range map[string]struct {
		fail error
		call func() error
		of   string
	}{
		"a write that was refused": {rpctypes.ErrGRPCRequestTooManyRequests, func() error { _, err := s.Save(t.Context(), r); return err }, "txn"},
		"a read":                   {rpctypes.ErrGRPCTimeout, func() error { _, err := s.FindPublicID(t.Context(), "p", 1); return err }, "read txn"},
		"a load":                   {rpctypes.ErrGRPCLeaderChanged, func() error { _, err := s.Load(t.Context(), "a"); return err }, "range"},
	} {
		t.Run(what, func(t *testing.T) {
			left := 2
			m.faults(func(request string) error {
				if request == of.of && left > 0 {
					left--
					return of.fail
				}
				return nil
			}, nil)
			if err := of.call(); err != nil || left != 0 {
				t.Errorf("%v, and %d faults are left", err, left)
			}
			if n := count(m.asked(), of.of); n != 3 {
				t.Errorf("it was sent %d times, want 3", n)
			}
		})
	}
}

// A member that lags is asked first for what a write replaces, and is not believed.
func TestWriteOverARecordThatAMemberDoesNotHaveYet(t *testing.T) {
	s, m, _ := open(t, etcdstore.Config{})
	first := save(t, s, tokenstore.Record{AppUserID: "a", PublicID: "old"})
	before := m.all()
	second := first.Clone()
	second.PublicID = "middle"
	m.faults(nil, nil)
	second = save(t, s, second)
	if diff := cmp.Diff([]string{"serializable", "txn"}, m.asked()); diff != "" {
		t.Errorf("a Save on a record that the member has (-want +got):\n%s", diff)
	}

	third := second
	for what, lags := range map[string]keys{"no record": {}, "an older version": before} {
		m.faults(nil, nil)
		m.lags = lags
		third.PublicID = "new, over " + what
		third = save(t, s, third)
		if diff := cmp.Diff([]string{"serializable", "range", "txn"}, m.asked()); diff != "" {
			t.Errorf("a Save through a member that has %s (-want +got):\n%s", what, diff)
		}
		if keys := m.names(); len(keys) != 2 {
			t.Errorf("index keys are left behind: %q", keys)
		}
	}
	if _, err := s.Save(t.Context(), second); !errors.Is(err, tokenstore.ErrConflict) {
		t.Errorf("Save on an old version: %v", err)
	}
	if err := s.Delete(t.Context(), "a", second.Version); !errors.Is(err, tokenstore.ErrConflict) {
		t.Errorf("Delete on an old version: %v", err)
	}
	if err := s.Delete(t.Context(), "a", third.Version); err != nil {
		t.Error(err)
	}
}

// What was acknowledged is seen through every member, by every read.
func TestReadsThroughAMemberThatLags(t *testing.T) {
	s, m, _ := open(t, etcdstore.Config{})
	at := time.Unix(1, 0).UTC()
	r := save(t, s, tokenstore.Record{AppUserID: "a/1", PublicID: "p", TendAt: at})
	m.lag() // all that follows the first Save is not there yet
	r.Cause = "second"
	r = save(t, s, r)
	want := []tokenstore.Record{r, save(t, s, tokenstore.Record{AppUserID: "a/2", PublicID: "p", TendAt: at})}
	for what, read := range map[string]func() ([]tokenstore.Record, error){
		"List":         func() ([]tokenstore.Record, error) { return s.List(t.Context(), "", 9) },
		"FindPublicID": func() ([]tokenstore.Record, error) { return s.FindPublicID(t.Context(), "p", 9) },
		"Due":          func() ([]tokenstore.Record, error) { return s.Due(t.Context(), at, 9) },
		"DueWithin":    func() ([]tokenstore.Record, error) { return s.DueWithin(t.Context(), "a/", at, 9) },
		"Load": func() (both []tokenstore.Record, err error) {
			for _, id := range []string{"a/1", "a/2"} {
				r, loadErr := s.Load(t.Context(), id)
				both, err = append(both, r), errors.Join(err, loadErr)
			}
			return both, err
		},
	} {
		got, err := read()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	for what, count := range map[string]func() (int, error){
		"Count": func() (int, error) { return s.Count(t.Context()) }, "CountWithin": func() (int, error) { return s.CountWithin(t.Context(), "a/") },
	} {
		if n, err := count(); err != nil || n != len(want) {
			t.Errorf("%s: %d, %v, want %d", what, n, err, len(want))
		}
	}
}

// Whatever comes between the read and the write of a Save or a Delete has won, and
// stays as it is.
func TestWriteThatComesSecond(t *testing.T) {
	const key, theirs = "pkb/links/r/a", `{"format":1,"cause":"theirs"}`
	saved := func(m *member) { m.revision++; m.set(key, []byte(theirs)) }
	deleted := func(m *member) { m.revision++; delete(m.keys, key) }
	update := func(s *etcdstore.Store, r tokenstore.Record) error { _, err := s.Save(t.Context(), r); return err }
	remove := func(s *etcdstore.Store, r tokenstore.Record) error { return s.Delete(t.Context(), "a", r.Version) }
	create := func(s *etcdstore.Store, _ tokenstore.Record) error {
		_, err := s.Save(t.Context(), tokenstore.Record{AppUserID: "b", PublicID: "q"})
		return err
	}
	for what, test := range map[string]struct {
		meanwhile func(m *member)
		write     func(s *etcdstore.Store, r tokenstore.Record) error
		want      error
	}{
		"Save after a save":      {saved, update, tokenstore.ErrConflict},
		"Save after a delete":    {deleted, update, tokenstore.ErrConflict},
		"Delete after a save":    {saved, remove, tokenstore.ErrConflict},
		"Delete after a delete":  {deleted, remove, tokenstore.ErrNotFound},
		"creating after another": {func(m *member) { m.revision++; m.set("pkb/links/r/b", []byte(theirs)) }, create, tokenstore.ErrConflict},
	} {
		t.Run(what, func(t *testing.T) {
			s, m, _ := open(t, etcdstore.Config{})
			r := save(t, s, tokenstore.Record{AppUserID: "a", PublicID: "p"})
			var want keys
			m.faults(func(request string) error {
				if request == "txn" {
					test.meanwhile(m)
					want = maps.Clone(m.keys)
				}
				return nil
			}, nil)
			r.PublicID = "ours"
			if err := test.write(s, r); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if diff := cmp.Diff(want, m.all()); diff != "" {
				t.Errorf("the write that came second has changed something (-want +got):\n%s", diff)
			}
		})
	}
}

// A refresh writes one key. What is not asked for any more leaves no key behind, not
// even for a moment: a record and its index keys change together.
func TestIndexKeysFollowTheRecord(t *testing.T) {
	s, m, _ := open(t, etcdstore.Config{})
	r := save(t, s, tokenstore.Record{AppUserID: "a/b\x00", PublicID: "One", Claim: "two", TendAt: time.Unix(5, 0)})
	if diff := cmp.Diff([]string{
		"pkb/links/p/3fc4ccfe745870e2c0d99f71f30ff065/a/b\x00", "pkb/links/p/8b12507783d5becacbf2ebe5b01a6002/a/b\x00",
		"pkb/links/r/a/b\x00", "pkb/links/t/80000000004c4b40/a/b\x00",
	}, m.names()); diff != "" {
		t.Errorf("the keys, which other programs of the same release read (-want +got):\n%s", diff)
	}
	before := m.keys["pkb/links/t/80000000004c4b40/a/b\x00"].ModRevision
	r.Generation++
	r = save(t, s, r)
	if m.keys["pkb/links/t/80000000004c4b40/a/b\x00"].ModRevision != before {
		t.Error("a Save that changes no index key has written one")
	}
	m.faults(nil, nil)
	r.Claim = r.PublicID
	r.TendAt = time.Time{}
	r = save(t, s, r)
	if keys := m.names(); len(keys) != 2 {
		t.Errorf("the keys are %q", keys)
	}
	if err := s.Delete(t.Context(), r.AppUserID, r.Version); err != nil || len(m.names()) != 0 {
		t.Errorf("after Delete, %v, the keys are %q", err, m.names())
	}
	if diff := cmp.Diff([]string{"serializable", "txn", "serializable", "txn"}, m.asked()); diff != "" {
		t.Errorf("a Save and a Delete (-want +got):\n%s", diff)
	}
}

// An index key that leads to another record than it promises shows nobody's record.
func TestStaleIndexKeysShowNothing(t *testing.T) {
	s, m, _ := open(t, etcdstore.Config{})
	at := time.Unix(100, 0).UTC()
	right := save(t, s, tokenstore.Record{AppUserID: "right", PublicID: "p", TendAt: at})
	save(t, s, tokenstore.Record{AppUserID: "other", PublicID: "q", TendAt: at.Add(time.Hour)})
	save(t, s, tokenstore.Record{AppUserID: "never", PublicID: "q"})
	hash, due := "", ""
	for _, key := range m.names() {
		if id, ok := strings.CutSuffix(key, "right"); ok && strings.Contains(key, "/p/") {
			hash = id
		} else if ok && strings.Contains(key, "/t/") {
			due = id
		}
	}
	for i := range 200 { // more than one page of them
		m.put(fmt.Sprint(hash, "gone", i), "")
		m.put(fmt.Sprint(due, "gone", i), "")
	}
	for _, id := range []string{"other", "never"} {
		m.put(hash+id, "")
		m.put(due+id, "")
	}
	m.put("pkb/links/t/8", "") // no key of ours
	for limit := range 4 {
		found, err := s.FindPublicID(t.Context(), "p", limit)
		if diff := cmp.Diff([]tokenstore.Record{right}[:min(limit, 1)], found); err != nil || len(found)+min(limit, 1) > 0 && diff != "" {
			t.Errorf("FindPublicID, at most %d: %v\n%s", limit, err, diff)
		}
		found, err = s.Due(t.Context(), at.Add(time.Minute), limit)
		if diff := cmp.Diff([]tokenstore.Record{right}[:min(limit, 1)], found); err != nil || len(found)+min(limit, 1) > 0 && diff != "" {
			t.Errorf("Due, at most %d: %v\n%s", limit, err, diff)
		}
	}
}

// However long a page is, a request reads a bounded number of records, and none of them
// twice.
func TestPagesAreReadInBoundedRequests(t *testing.T) {
	s, m, _ := open(t, etcdstore.Config{})
	const n = 520
	// Nothing is between one id and the next, wherever a page ends.
	id := func(i int) string { return "u" + strings.Repeat("\x00", i) }
	for i := range n {
		save(t, s, tokenstore.Record{AppUserID: id(i), PublicID: "p", TendAt: time.Unix(int64(i/100), 0)})
	}
	for what, test := range map[string]struct {
		call               func() ([]tokenstore.Record, error)
		from, ranges, txns int
	}{
		"List":         {func() ([]tokenstore.Record, error) { return s.List(t.Context(), "", n+1) }, 0, 9, 0},
		"Due":          {func() ([]tokenstore.Record, error) { return s.Due(t.Context(), time.Unix(n, 0), n+1) }, 0, 2, 9},
		"FindPublicID": {func() ([]tokenstore.Record, error) { return s.FindPublicID(t.Context(), "p", n+1) }, 0, 2, 9},
		"DueWithin":    {func() ([]tokenstore.Record, error) { return s.DueWithin(t.Context(), id(1), time.Unix(n, 0), n+1) }, 1, 2, 9},
		"of the last":  {func() ([]tokenstore.Record, error) { return s.DueWithin(t.Context(), id(515), time.Unix(n, 0), 9) }, 515, 2, 1},
	} {
		m.faults(nil, nil)
		all, err := test.call()
		if err != nil || len(all) != n-test.from {
			t.Fatalf("%s: %d records, %v, want %d", what, len(all), err, n-test.from)
		}
		for i, r := range all {
			if r.AppUserID != id(test.from+i) {
				t.Fatalf("%s: record %d is that of %q", what, i, r.AppUserID)
			}
		}
		if a := m.asked(); count(a, "range") != test.ranges || count(a, "read txn") != test.txns || len(a) != test.ranges+test.txns {
			t.Errorf("%s asked %q, want %d ranges and %d transactions", what, a, test.ranges, test.txns)
		}
	}
	if page, err := s.List(t.Context(), "", 0); err != nil || len(page) != 0 {
		t.Errorf("List, at most 0: %d, %v", len(page), err)
	}
}

// A tenant's count and sweep have its own links only, whatever bytes its name ends with.
func TestPrefixesAreComparedByteForByte(t *testing.T) {
	s, _, _ := open(t, etcdstore.Config{})
	at := time.Unix(1, 0)
	ids := []string{"a", "a/1", "a/2", "a0", "b/1", "ä", "äx", "ö", "öx", "日", "曰", "\U0010ffff", "~"}
	for _, id := range ids {
		save(t, s, tokenstore.Record{AppUserID: id, TendAt: at})
	}
	for _, prefix := range append(ids, "", "a/", "\xc3", "\xf4\x8f\xbf", "c", "\x7f", "\xff") {
		var want, got []string
		for _, id := range ids {
			if strings.HasPrefix(id, prefix) {
				want = append(want, id)
			}
		}
		due, err := s.DueWithin(t.Context(), prefix, at, len(ids))
		for _, r := range due {
			got = append(got, r.AppUserID)
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("DueWithin(%q): %v (-want +got):\n%s", prefix, err, diff)
		}
		if n, err := s.CountWithin(t.Context(), prefix); err != nil || n != len(want) {
			t.Errorf("CountWithin(%q): %d, %v, want %d", prefix, n, err, len(want))
		}
	}
}

// What others wrote below the prefix is no record, and is left alone.
func TestForeignValueIsNamed(t *testing.T) {
	for _, value := range []string{"", "{}", "canary", `{"format":2}`, `{"format":1,"sealed":1}`} {
		s, m, _ := open(t, etcdstore.Config{})
		save(t, s, tokenstore.Record{AppUserID: "a", PublicID: "p", TendAt: time.Unix(1, 0)})
		m.put("pkb/links/r/a", value)
		_, findErr := s.FindPublicID(t.Context(), "p", 1)
		_, dueErr := s.Due(t.Context(), time.Unix(1, 0), 1)
		_, loadErr := s.Load(t.Context(), "a")
		_, listErr := s.List(t.Context(), "", 1)
		_, saveErr := s.Save(t.Context(), tokenstore.Record{AppUserID: "a", Version: 3})
		for _, err := range []error{findErr, dueErr, loadErr, listErr, saveErr, s.Delete(t.Context(), "a", 3), s.Check(t.Context())} {
			if !errors.Is(err, etcdstore.ErrDamaged) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%q: %v, want ErrDamaged", value, err)
			}
		}
	}
}

// A text that JSON would change, or that has no end, is refused.
func TestTextThatIsNotUTF8IsRefused(t *testing.T) {
	s, _, _ := open(t, etcdstore.Config{})
	for _, text := range []string{"\xff", strings.Repeat("x", 4097)} {
		for _, r := range []tokenstore.Record{
			{Environment: text}, {ClientID: text}, {State: tokenstore.State(text)}, {Cause: text},
			{PublicID: text}, {Claim: text}, {Lease: tokenstore.Lease{Owner: text}}, {KeyID: text},
		} {
			r.AppUserID = "a"
			if _, err := s.Save(t.Context(), r); !errors.Is(err, tokenstore.ErrInvalid) {
				t.Errorf("Save of %d bytes of text: %v, want ErrInvalid", len(text), err)
			}
		}
	}
}

// Save returns what Load does, and nothing that the caller still has in its hands.
func TestSaveReturnsWhatIsKept(t *testing.T) {
	s, _, _ := open(t, etcdstore.Config{})
	at := time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.FixedZone("east", 5*3600))
	r := tokenstore.Record{
		AppUserID: "a", ExpiresAt: at, EndsAt: at, DueAt: at, TendAt: at, LinkedAt: at, RefreshedAt: at,
		Lease: tokenstore.Lease{TTL: 1234567, TakenAt: at}, Details: []byte("details"), Sealed: []byte("sealed"),
	}
	for _, what := range []string{"creating", "Save"} {
		saved := save(t, s, r)
		loaded, err := s.Load(t.Context(), "a")
		if diff := cmp.Diff(loaded, saved); err != nil || diff != "" {
			t.Errorf("%s: %v (-loaded +saved):\n%s", what, err, diff)
		}
		clear(saved.Details)
		clear(saved.Sealed)
		if string(r.Details) != "details" || string(r.Sealed) != "sealed" {
			t.Errorf("%s returned the caller's own bytes", what)
		}
		r.Version = saved.Version
	}
}

// largest returns a record that is as large as one may be, with texts that JSON makes
// longest.
func largest(control string) tokenstore.Record {
	text, pair, at := strings.Repeat(control, 4096), strings.Repeat("<", tokenstore.MaxPair), time.Unix(-1e12, 0)
	return tokenstore.Record{
		AppUserID: strings.Repeat(control, tokenstore.MaxUserID+64), Environment: text, ClientID: text, State: tokenstore.State(text), Cause: text,
		PublicID: text, Claim: text[1:], Pair: pair, Candidate: pair, Tried: math.MaxInt64, Generation: math.MaxUint64,
		ExpiresAt: at, EndsAt: at, DueAt: at, TendAt: at, LinkedAt: at, RefreshedAt: at,
		Lease: tokenstore.Lease{Owner: text, Beat: math.MaxUint64, TTL: math.MinInt64, TakenAt: at}, KeyID: text,
		Sealed: make([]byte, tokenstore.MaxSealed), Details: make([]byte, tokenstore.MaxDetails),
	}
}

// An etcd that passes Check takes the largest record, and shows as many records at once
// as a page has.
func TestCheckTriesTheLargestRequests(t *testing.T) {
	for _, prefix := range []string{"/", strings.Repeat("p", 127) + "/"} {
		s, m, _ := open(t, etcdstore.Config{Prefix: prefix})
		if err := s.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		size, operations := m.largest, m.longest
		r := save(t, s, largest("\x01"))
		changed := largest("\x02") // in all index keys
		changed.AppUserID, changed.Version, changed.TendAt = r.AppUserID, r.Version, time.Unix(-1e12, 1000)
		r = save(t, s, changed)
		for i := range 70 {
			save(t, s, tokenstore.Record{AppUserID: strings.Repeat("x", tokenstore.MaxUserID) + fmt.Sprint(i), PublicID: "p"})
		}
		if all, err := s.FindPublicID(t.Context(), "p", 100); err != nil || len(all) != 70 {
			t.Fatalf("FindPublicID: %d records, %v", len(all), err)
		}
		if err := s.Delete(t.Context(), r.AppUserID, r.Version); err != nil {
			t.Fatal(err)
		}
		if m.largest > size || m.longest > operations {
			t.Errorf("below %q a transaction has %d bytes, and one %d operations; Check has tried %d and %d", prefix, m.largest, m.longest, size, operations)
		}
	}
}

// A user who may not read a part of the store is found out by Check.
func TestCheckTriesEveryKindOfKey(t *testing.T) {
	for _, kind := range []string{"r/", "p/", "t/", "check/"} {
		s, m, _ := open(t, etcdstore.Config{})
		m.refuses = "pkb/links/" + kind
		if err := s.Check(t.Context()); !errors.Is(err, etcdstore.ErrRefused) {
			t.Errorf("Check without leave for %s: %v, want ErrRefused", kind, err)
		}
	}
}

// An etcd that does not respond costs the store's time-out, or the caller's patience.
func TestTimeout(t *testing.T) {
	s, m, client := open(t, etcdstore.Config{Timeout: 20 * time.Millisecond})
	release := make(chan struct{})
	m.faults(func(string) error { <-release; return nil }, nil)
	defer close(release)
	_, err := s.Load(t.Context(), "a")
	if !errors.Is(err, etcdstore.ErrUnavailable) || err.Error() != "etcdstore: load: etcd is not available: no response within 20ms" {
		t.Errorf("Load: %v", err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		t.Error("Load: the error is that of a caller who has given up, and none has")
	}
	s, err = etcdstore.New(client, etcdstore.Config{Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Save(ctx, tokenstore.Record{AppUserID: "a"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Save: %v, want the caller's error", err)
	}
}

// hanging is a client whose etcd never responds.
type hanging struct{ clientv3.KV }

func (hanging) Get(ctx context.Context, _ string, _ ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Nobody waits for longer than Config.Timeout, which is 5 seconds unless it is set.
func TestHowLongARequestMayTake(t *testing.T) {
	for set, want := range map[time.Duration]time.Duration{0: 5 * time.Second, time.Second: time.Second, time.Minute: time.Minute} {
		t.Run(set.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := etcdstore.New(hanging{}, etcdstore.Config{Timeout: set})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				_, err = s.Load(t.Context(), "a")
				if took := time.Since(began); took != want || !errors.Is(err, etcdstore.ErrUnavailable) {
					t.Errorf("Load returned %v after %v, want ErrUnavailable after %v", err, took, want)
				}
			})
		})
	}
}

// watched is a context that knows how many wait for its end.
type watched struct {
	context.Context
	done    chan struct{}
	waiting *int
}

func (w watched) Done() <-chan struct{} { return w.done }

func (w watched) AfterFunc(func()) (stop func() bool) {
	*w.waiting++
	return func() bool { *w.waiting--; return true }
}

// A context may live as long as the process: a call leaves nothing behind in it.
func TestCallLeavesTheContextAlone(t *testing.T) {
	s, _, _ := open(t, etcdstore.Config{})
	ctx := watched{t.Context(), make(chan struct{}), new(int)}
	r, err := s.Save(ctx, tokenstore.Record{AppUserID: "a"})
	if err == nil {
		_, err = s.Load(ctx, "a")
	}
	if err == nil {
		err = s.Delete(ctx, "a", r.Version)
	}
	if err != nil || *ctx.waiting != 0 {
		t.Errorf("%v; %d still wait for the end of the context", err, *ctx.waiting)
	}
}

// A caller that has given up before the call sends nothing, so that nothing is written
// that it was told is not.
func TestCallThatHasEndedIsNotSent(t *testing.T) {
	s, m, _ := open(t, etcdstore.Config{})
	r := save(t, s, tokenstore.Record{AppUserID: "a"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for what, call := range map[string]func() error{
		"creating":     func() error { _, err := s.Save(ctx, tokenstore.Record{AppUserID: "b"}); return err },
		"Save":         func() error { _, err := s.Save(ctx, r); return err },
		"Delete":       func() error { return s.Delete(ctx, "a", r.Version) },
		"Load":         func() error { _, err := s.Load(ctx, "a"); return err },
		"List":         func() error { _, err := s.List(ctx, "", 1); return err },
		"FindPublicID": func() error { _, err := s.FindPublicID(ctx, "p", 1); return err },
		"Due":          func() error { _, err := s.Due(ctx, time.Unix(1, 0), 1); return err },
		"Count":        func() error { _, err := s.Count(ctx); return err },
		"Check":        func() error { return s.Check(ctx) },
	} {
		m.faults(nil, nil)
		for range 50 { // a context that follows another ends in a goroutine of its own
			if err := call(); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v, want context.Canceled", what, err)
			}
		}
		if asked := m.asked(); len(asked) > 0 {
			t.Errorf("%s asked etcd %d times, for a caller that had given up", what, len(asked))
		}
	}
	if diff := cmp.Diff([]string{"pkb/links/r/a"}, m.names()); diff != "" {
		t.Errorf("the keys (-want +got):\n%s", diff)
	}
}

// failing is a client that has given up.
type failing struct {
	clientv3.KV
	err error
}

func (f failing) Get(context.Context, string, ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	return nil, f.err
}

// The client gives up after a number of tries, with the last status it received. That
// is there for errors.As, and not in the text.
func TestClientThatGivesUp(t *testing.T) {
	for name, test := range map[string]struct {
		err, want error
		code      codes.Code
	}{
		"cancelled":   {status.Error(codes.Canceled, "canary"), etcdstore.ErrUnavailable, codes.Canceled},
		"too late":    {status.Error(codes.DeadlineExceeded, "canary"), etcdstore.ErrUnavailable, codes.DeadlineExceeded},
		"unavailable": {status.Error(codes.Unavailable, "canary"), etcdstore.ErrUnavailable, codes.Unavailable},
		"lost user":   {rpctypes.ErrUserNotFound, etcdstore.ErrRefused, codes.FailedPrecondition},
		"old roles":   {rpctypes.ErrAuthOldRevision, etcdstore.ErrRefused, codes.InvalidArgument},
		"old token":   {rpctypes.ErrInvalidAuthToken, etcdstore.ErrRefused, codes.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := etcdstore.New(failing{err: test.err}, etcdstore.Config{Timeout: 20 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			for range 20 { // time may end while the client is asked once more
				if _, err = s.Load(t.Context(), "a"); strings.Contains(err.Error(), test.code.String()) {
					break
				}
			}
			if !errors.Is(err, test.want) || !errors.Is(err, test.err) {
				t.Errorf("%v, want %v, and the client's error in it", err, test.want)
			}
			if text := err.Error(); text != "etcdstore: load: "+test.want.Error()+" ("+test.code.String()+")" {
				t.Errorf("it prints %s", text)
			}
		})
	}
}

// An error names the operation that failed.
func TestErrorsNameTheOperation(t *testing.T) {
	s, m, _ := open(t, etcdstore.Config{})
	r := save(t, s, tokenstore.Record{AppUserID: "a"})
	m.faults(func(string) error { return rpctypes.ErrGRPCCorrupt }, nil)
	for op, calls := range map[string][]func() error{
		"load": {func() error { _, err := s.Load(t.Context(), "a"); return err }},
		"save": {
			func() error { _, err := s.Save(t.Context(), r); return err },
			func() error { _, err := s.Save(t.Context(), tokenstore.Record{AppUserID: "b"}); return err },
		},
		"delete": {func() error { return s.Delete(t.Context(), "a", r.Version) }},
		"list":   {func() error { _, err := s.List(t.Context(), "", 1); return err }},
		"find":   {func() error { _, err := s.FindPublicID(t.Context(), "p", 1); return err }},
		"due": {
			func() error { _, err := s.Due(t.Context(), time.Unix(1, 0), 1); return err },
			func() error { _, err := s.DueWithin(t.Context(), "a", time.Unix(1, 0), 1); return err },
		},
		"count": {
			func() error { _, err := s.Count(t.Context()); return err },
			func() error { _, err := s.CountWithin(t.Context(), "a"); return err },
		},
		"check": {func() error { return s.Check(t.Context()) }},
	} {
		for _, call := range calls {
			if err, ok := errors.AsType[*etcdstore.Error](call()); !ok || err.Op != op {
				t.Errorf("%v, want an error of %s", err, op)
			}
		}
	}
}

// A client that was closed is named, and one that finds no etcd is not.
func TestClosedAndAbsent(t *testing.T) {
	s, m, client := open(t, etcdstore.Config{Timeout: 200 * time.Millisecond})
	r := save(t, s, tokenstore.Record{AppUserID: "a"})
	m.stop()
	if _, err := s.Save(t.Context(), r); !errors.Is(err, etcdstore.ErrUnavailable) {
		t.Errorf("Save without a server: %v", err)
	}
	if _, err := s.Load(t.Context(), "a"); !errors.Is(err, etcdstore.ErrUnavailable) {
		t.Errorf("Load without a server: %v", err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), "a"); !errors.Is(err, tokenstore.ErrClosed) {
		t.Errorf("Load after Close: %v", err)
	}
	if _, err := s.Save(t.Context(), r); !errors.Is(err, tokenstore.ErrClosed) {
		t.Errorf("Save after Close: %v", err)
	}
}

// A client that is closed while a call is under way has not lost its etcd: waiting for
// it is no use.
func TestClosedInTheMiddle(t *testing.T) {
	for what, call := range map[string]func(s *etcdstore.Store) error{
		"Save": func(s *etcdstore.Store) error {
			_, err := s.Save(t.Context(), tokenstore.Record{AppUserID: "a"})
			return err
		},
		"Load": func(s *etcdstore.Store) error { _, err := s.Load(t.Context(), "a"); return err },
	} {
		s, m, client := open(t, etcdstore.Config{Timeout: 200 * time.Millisecond}) // the client tries for longer
		m.faults(func(string) error { return client.Close() }, nil)
		if err := call(s); !errors.Is(err, tokenstore.ErrClosed) || errors.Is(err, tokenstore.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
}

// A store prints nothing of its etcd, by no road.
func TestStorePrintsNothing(t *testing.T) {
	s, _, _ := open(t, etcdstore.Config{Prefix: "canary/"})
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("", "store", s)
	fmt.Fprintf(&b, "%v %+v %#v %s %q %d %v", s, s, s, s, s, s, struct{ S any }{s})
	if err := template.Must(template.New("").Parse("{{.}}")).Execute(&b, s); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); strings.Contains(text, "canary") || strings.Count(text, "etcdstore.Store") != 9 {
		t.Errorf("it prints %s", text)
	}
}

// Check writes nothing.
func TestCheckWritesNothing(t *testing.T) {
	s, m, _ := open(t, etcdstore.Config{})
	if err := s.Check(t.Context()); err != nil || len(m.names()) != 0 || m.revision != 1 {
		t.Errorf("%v, and the keys are %q at revision %d", err, m.names(), m.revision)
	}
}

// A mistake is named before anything is sent.
func TestNewRefuses(t *testing.T) {
	var none *clientv3.Client
	for want, try := range map[string]func() error{
		"no client": func() error { _, err := etcdstore.New(nil, etcdstore.Config{}); return err },
		"open for":  func() error { _, err := etcdstore.New(none, etcdstore.Config{}); return err },
		"slash": func() error {
			_, err := etcdstore.New(namespace.NewKV(nil, ""), etcdstore.Config{Prefix: "a"})
			return err
		},
		"128 bytes": func() error {
			_, err := etcdstore.New(namespace.NewKV(nil, ""), etcdstore.Config{Prefix: strings.Repeat("a", 128) + "/"})
			return err
		},
		"-1s": func() error {
			_, err := etcdstore.New(namespace.NewKV(nil, ""), etcdstore.Config{Timeout: -time.Second})
			return err
		},
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
