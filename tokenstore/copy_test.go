// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// fill saves n records and returns their ids.
func fill(t *testing.T, s tokenstore.Store, n int) {
	t.Helper()
	for i := range n {
		r := tokenstore.Record{
			AppUserID: fmt.Sprintf("user-%04d", i), State: tokenstore.StateLinked, Generation: uint64(i + 1),
			ExpiresAt: time.Date(2026, 1, 1, 0, 0, i, 1000, time.UTC), Sealed: fmt.Append(nil, "sealed ", i),
		}
		if _, err := s.Save(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func copyAll(t *testing.T, from *tokenstore.Memory, to tokenstore.Store) (last tokenstore.CopyProgress, err error) {
	t.Helper()
	for p, err := range tokenstore.Copy(t.Context(), from, to) {
		if err != nil {
			return p, err
		}
		last = p
	}
	return last, nil
}

// A copy is complete, and a second one copies only what has changed.
func TestCopy(t *testing.T) {
	from, to := tokenstore.NewMemory(), tokenstore.NewMemory()
	const n = 450
	fill(t, from, n)
	p, err := copyAll(t, from, to)
	if err != nil || p.Records != n || p.Copied != n || p.Total != n {
		t.Fatalf("Copy = %+v, %v", p, err)
	}
	changed, err := from.Load(t.Context(), "user-0007")
	if err != nil {
		t.Fatal(err)
	}
	changed.Generation++
	changed.Sealed = []byte("the next pair")
	if _, err := from.Save(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	if p, err = copyAll(t, from, to); err != nil || p.Copied != 1 {
		t.Errorf("the second Copy = %+v, %v, want one record copied", p, err)
	}
	got, err := to.Load(t.Context(), "user-0007")
	if err != nil || string(got.Sealed) != "the next pair" || got.Generation != changed.Generation {
		t.Errorf("Load = %+v, %v", got, err)
	}
}

// A target that is in use is not written over.
func TestCopyRefusesATargetInUse(t *testing.T) {
	from, to := tokenstore.NewMemory(), tokenstore.NewMemory()
	fill(t, from, 3)
	if _, err := copyAll(t, from, to); err != nil {
		t.Fatal(err)
	}
	ahead, err := to.Load(t.Context(), "user-0001")
	if err != nil {
		t.Fatal(err)
	}
	ahead.Generation++
	if ahead, err = to.Save(t.Context(), ahead); err != nil {
		t.Fatal(err)
	}
	if _, err := copyAll(t, from, to); !errors.Is(err, tokenstore.ErrTarget) {
		t.Errorf("Copy: %v, want ErrTarget", err)
	}
	if now, err := to.Load(t.Context(), "user-0001"); err != nil || now.Version != ahead.Version {
		t.Errorf("the record in use was written over: %v", err)
	}
}

// A link that was unlinked and purged since it was copied does not come back.
func TestCopyFindsWhatIsGone(t *testing.T) {
	from, to := tokenstore.NewMemory(), tokenstore.NewMemory()
	fill(t, from, 3)
	if _, err := copyAll(t, from, to); err != nil {
		t.Fatal(err)
	}
	r, err := from.Load(t.Context(), "user-0001")
	if err != nil {
		t.Fatal(err)
	}
	if err := from.Delete(t.Context(), r.AppUserID, r.Version); err != nil {
		t.Fatal(err)
	}
	if _, err := copyAll(t, from, to); !errors.Is(err, tokenstore.ErrTarget) {
		t.Errorf("Copy: %v, want ErrTarget", err)
	}
}

// A record that differs in any field is copied.
func TestCopySeesEveryField(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 1000, time.UTC)
	changes := map[string]func(*tokenstore.Record){
		"Environment": func(r *tokenstore.Record) { r.Environment = "x" }, "ClientID": func(r *tokenstore.Record) { r.ClientID = "x" },
		"State": func(r *tokenstore.Record) { r.State = "x" }, "Cause": func(r *tokenstore.Record) { r.Cause = "x" },
		"PublicID": func(r *tokenstore.Record) { r.PublicID = "x" }, "Generation": func(r *tokenstore.Record) { r.Generation++ },
		"ExpiresAt": func(r *tokenstore.Record) { r.ExpiresAt = at }, "EndsAt": func(r *tokenstore.Record) { r.EndsAt = at },
		"DueAt": func(r *tokenstore.Record) { r.DueAt = at }, "LinkedAt": func(r *tokenstore.Record) { r.LinkedAt = at },
		"TendAt":      func(r *tokenstore.Record) { r.TendAt = at },
		"RefreshedAt": func(r *tokenstore.Record) { r.RefreshedAt = at }, "Lease": func(r *tokenstore.Record) { r.Lease.Beat++ },
		"Claim": func(r *tokenstore.Record) { r.Claim = "x" }, "Pair": func(r *tokenstore.Record) { r.Pair = "x" },
		"Candidate": func(r *tokenstore.Record) { r.Candidate = "x" }, "Tried": func(r *tokenstore.Record) { r.Tried++ }, "KeyID": func(r *tokenstore.Record) { r.KeyID = "x" },
		"Details": func(r *tokenstore.Record) { r.Details = []byte("x") }, "Sealed": func(r *tokenstore.Record) { r.Sealed = []byte("x") },
	}
	for field := range reflect.TypeFor[tokenstore.Record]().Fields() {
		change, ok := changes[field.Name]
		if !ok {
			if field.Name != "AppUserID" && field.Name != "Version" {
				t.Errorf("the test has no change for %s", field.Name)
			}
			continue
		}
		from, to := tokenstore.NewMemory(), tokenstore.NewMemory()
		r, err := from.Save(t.Context(), tokenstore.Record{AppUserID: "a"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := copyAll(t, from, to); err != nil {
			t.Fatal(err)
		}
		change(&r)
		if _, err := from.Save(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if p, err := copyAll(t, from, to); err != nil || p.Copied != 1 {
			t.Errorf("a change of %s was not copied: %+v, %v", field.Name, p, err)
		}
	}
}

// forgetful acknowledges what it does not keep, and fails on request.
type forgetful struct {
	*tokenstore.Memory
	forget bool
	left   atomic.Int64
}

var errDown = errors.New("down")

func (f *forgetful) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	if f.left.Add(-1) < 0 {
		return tokenstore.Record{}, errDown
	}
	if f.forget {
		r.Sealed = r.Sealed[:1]
	}
	return f.Memory.Save(ctx, r)
}

// What was copied is read back.
func TestCopyVerifies(t *testing.T) {
	from := tokenstore.NewMemory()
	fill(t, from, 1)
	to := &forgetful{Memory: tokenstore.NewMemory(), forget: true}
	to.left.Store(10)
	if _, err := copyAll(t, from, to); err == nil {
		t.Error("Copy believed a store that cuts what it is given")
	}
}

// An interrupted copy is started again, and copies the rest.
func TestCopyResumes(t *testing.T) {
	from := tokenstore.NewMemory()
	fill(t, from, 10)
	to := &forgetful{Memory: tokenstore.NewMemory()}
	to.left.Store(4)
	if p, err := copyAll(t, from, to); !errors.Is(err, errDown) || p.Copied != 4 {
		t.Fatalf("Copy = %+v, %v", p, err)
	}
	to.left.Store(1000)
	if p, err := copyAll(t, from, to); err != nil || p.Copied != 6 || p.Records != 10 {
		t.Errorf("the second Copy = %+v, %v", p, err)
	}
}

// Day one was SQLite; the second replica needs a server. Here both are in
// memory.
func ExampleCopy() {
	ctx := context.Background()
	from, to := tokenstore.NewMemory(), tokenstore.NewMemory()
	if _, err := from.Save(ctx, tokenstore.Record{AppUserID: "app-user-1", State: tokenstore.StateLinked}); err != nil {
		fmt.Println(err)
		return
	}
	for p, err := range tokenstore.Copy(ctx, from, to) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%d of %d, %d copied\n", p.Records, p.Total, p.Copied)
	}
	n, err := to.Count(ctx)
	fmt.Println(n, err)
	// Output:
	// 1 of 1, 1 copied
	// 1 of 1, 1 copied
	// 1 <nil>
}
