// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) tokenstore.Store { return tokenstore.NewMemory() })
}

// A part of a store is a store, whatever else is in the table.
func TestWithPrefix(t *testing.T) {
	Run(t, func(t *testing.T) tokenstore.Store {
		all := tokenstore.NewMemory()
		for _, id := range []string{"a", "tenant-a", "tenant-b/x", "tenant-a0"} {
			r := full(id)
			r.TendAt = time.Unix(1, 0)
			if _, err := all.Save(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		s, err := tokenstore.WithPrefix(all, "tenant-a/")
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// A check of what a store need not have is skipped, with the consequence.
func TestWhatIsMissingIsSkipped(t *testing.T) {
	results, err := Check(t.Context(), func() (tokenstore.Store, error) {
		return struct{ tokenstore.Store }{tokenstore.NewMemory()}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var skipped []string
	for _, r := range results {
		if r.Skipped != "" {
			skipped = append(skipped, r.Name)
		}
		if len(r.Problems) > 0 || r.Skipped != "" && !strings.Contains(r.Skipped, "without it, ") {
			t.Errorf("%+v", r)
		}
	}
	if want := []string{"list", "find", "count", "due"}; !slices.Equal(skipped, want) {
		t.Errorf("skipped %q, want %q", skipped, want)
	}
}

func BenchmarkMemory(b *testing.B) {
	Benchmark(b, func(*testing.B) tokenstore.Store { return tokenstore.NewMemory() })
}

// broken is a Memory with one fault.
type broken struct {
	*tokenstore.Memory
	load   func(context.Context, string) (tokenstore.Record, error)
	save   func(context.Context, tokenstore.Record) (tokenstore.Record, error)
	delete func(context.Context, string, uint64) error
	list   func(context.Context, string, int) ([]tokenstore.Record, error)
	find   func(context.Context, string, int) ([]tokenstore.Record, error)
	due    func(context.Context, time.Time, int) ([]tokenstore.Record, error)
}

func (s *broken) Due(ctx context.Context, before time.Time, limit int) ([]tokenstore.Record, error) {
	if s.due != nil {
		return s.due(ctx, before, limit)
	}
	return s.Memory.Due(ctx, before, limit)
}

func (s *broken) Load(ctx context.Context, id string) (tokenstore.Record, error) {
	if s.load != nil {
		return s.load(ctx, id)
	}
	return s.Memory.Load(ctx, id)
}

func (s *broken) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	if s.save != nil {
		return s.save(ctx, r)
	}
	return s.Memory.Save(ctx, r)
}

func (s *broken) Delete(ctx context.Context, id string, version uint64) error {
	if s.delete != nil {
		return s.delete(ctx, id, version)
	}
	return s.Memory.Delete(ctx, id, version)
}

func (s *broken) List(ctx context.Context, after string, limit int) ([]tokenstore.Record, error) {
	if s.list != nil {
		return s.list(ctx, after, limit)
	}
	return s.Memory.List(ctx, after, limit)
}

func (s *broken) FindPublicID(ctx context.Context, publicID string, limit int) ([]tokenstore.Record, error) {
	if s.find != nil {
		return s.find(ctx, publicID, limit)
	}
	return s.Memory.FindPublicID(ctx, publicID, limit)
}

// only returns a find that leaves out the records that are not kept.
func only(s *broken, keep func(tokenstore.Record, string) bool) func(context.Context, string, int) ([]tokenstore.Record, error) {
	return func(ctx context.Context, publicID string, limit int) ([]tokenstore.Record, error) {
		found, err := s.Memory.FindPublicID(ctx, publicID, math.MaxInt)
		found = slices.DeleteFunc(found, func(r tokenstore.Record) bool { return !keep(r, publicID) })
		return found[:min(limit, len(found))], err
	}
}

// The suite can fail: each way of being broken is caught by the check that is there
// for it.
func TestBrokenStoresAreCaught(t *testing.T) {
	for name, tc := range map[string]struct {
		by   string
		make func(*broken)
	}{
		"last write wins": {"stale write", func(s *broken) {
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				now, _ := s.Memory.Load(ctx, r.AppUserID)
				r.Version = now.Version
				return s.Memory.Save(ctx, r)
			}
		}},
		"check, then write": {"no lost update", func(s *broken) {
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				now, _ := s.Memory.Load(ctx, r.AppUserID)
				if now.Version != r.Version {
					return tokenstore.Record{}, tokenstore.ErrConflict
				}
				time.Sleep(100 * time.Microsecond)
				for {
					now, _ = s.Memory.Load(ctx, r.AppUserID)
					r.Version = now.Version
					if saved, err := s.Memory.Save(ctx, r); err == nil {
						return saved, nil
					}
				}
			}
		}},
		"lagging replica": {"read your writes", func(s *broken) {
			var mu sync.Mutex
			before := map[string]tokenstore.Record{}
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				old, err := s.Memory.Load(ctx, r.AppUserID)
				saved, saveErr := s.Memory.Save(ctx, r)
				if err == nil && saveErr == nil {
					mu.Lock()
					before[r.AppUserID] = old
					mu.Unlock()
				}
				return saved, saveErr
			}
			s.load = func(ctx context.Context, id string) (tokenstore.Record, error) {
				mu.Lock()
				defer mu.Unlock()
				if old, ok := before[id]; ok {
					delete(before, id)
					return old, nil
				}
				return s.Memory.Load(ctx, id)
			}
		}},
		"delete ignores the version": {"delete", func(s *broken) {
			s.delete = func(ctx context.Context, id string, _ uint64) error {
				now, err := s.Memory.Load(ctx, id)
				if err != nil {
					return err
				}
				return s.Memory.Delete(ctx, id, now.Version)
			}
		}},
		"versions begin anew": {"versions are never used twice", func(s *broken) {
			var mu sync.Mutex
			offset := map[string]uint64{} // what callers see is less by this
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				mu.Lock()
				defer mu.Unlock()
				created := r.Version == 0
				if !created {
					r.Version += offset[r.AppUserID]
				}
				saved, err := s.Memory.Save(ctx, r)
				if err != nil {
					return saved, err
				}
				if created {
					offset[r.AppUserID] = saved.Version - 1
				}
				offset[r.AppUserID] = min(offset[r.AppUserID], saved.Version-1)
				saved.Version -= offset[r.AppUserID]
				return saved, nil
			}
			s.load = func(ctx context.Context, id string) (tokenstore.Record, error) {
				mu.Lock()
				defer mu.Unlock()
				r, err := s.Memory.Load(ctx, id)
				if err == nil {
					r.Version -= offset[id]
				}
				return r, err
			}
			s.delete = func(ctx context.Context, id string, version uint64) error {
				mu.Lock()
				defer mu.Unlock()
				return s.Memory.Delete(ctx, id, version+offset[id])
			}
		}},
		"folds case": {"ids", func(s *broken) {
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				r.AppUserID = strings.ToLower(r.AppUserID)
				return s.Memory.Save(ctx, r)
			}
			s.load = func(ctx context.Context, id string) (tokenstore.Record, error) {
				return s.Memory.Load(ctx, strings.ToLower(id))
			}
		}},
		"cuts ids": {"ids", func(s *broken) {
			cut := func(id string) string { return id[:min(len(id), 255)] }
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				r.AppUserID = cut(r.AppUserID)
				return s.Memory.Save(ctx, r)
			}
			s.load = func(ctx context.Context, id string) (tokenstore.Record, error) { return s.Memory.Load(ctx, cut(id)) }
		}},
		"whole seconds": {"times", func(s *broken) {
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				r.ExpiresAt = r.ExpiresAt.Truncate(time.Second)
				return s.Memory.Save(ctx, r)
			}
		}},
		"local time": {"times", func(s *broken) {
			s.load = func(ctx context.Context, id string) (tokenstore.Record, error) {
				r, err := s.Memory.Load(ctx, id)
				r.ExpiresAt = r.ExpiresAt.In(time.FixedZone("local", 3600))
				return r, err
			}
		}},
		"forgets a field": {"round trip", func(s *broken) {
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				r.Lease.Beat = 0
				return s.Memory.Save(ctx, r)
			}
		}},
		"cuts blobs": {"large values", func(s *broken) {
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				r.Sealed = r.Sealed[:min(len(r.Sealed), 1<<15)]
				return s.Memory.Save(ctx, r)
			}
		}},
		"takes anything": {"limits", func(s *broken) {
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				r.Sealed = r.Sealed[:min(len(r.Sealed), tokenstore.MaxSealed)]
				return s.Memory.Save(ctx, r)
			}
		}},
		"shares memory": {"independence", func(s *broken) {
			kept := map[string]tokenstore.Record{}
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				saved, err := s.Memory.Save(ctx, r)
				r.Version = saved.Version
				kept[r.AppUserID] = r
				return r, err
			}
			s.load = func(_ context.Context, id string) (tokenstore.Record, error) {
				r, ok := kept[id]
				if !ok {
					return r, tokenstore.ErrNotFound
				}
				return r, nil
			}
		}},
		"writes for those who gave up": {"cancellation", func(s *broken) {
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				return s.Memory.Save(context.WithoutCancel(ctx), r)
			}
		}},
		"creates for those who gave up, now and then": {"cancellation", func(s *broken) {
			calls := 0
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				if calls++; calls%50 == 0 {
					_, _ = s.Memory.Save(context.WithoutCancel(ctx), r)
				}
				return s.Memory.Save(ctx, r)
			}
		}},
		"half a write": {"cancellation in the middle", func(s *broken) {
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				if _, ok := ctx.Deadline(); ok {
					r.PublicID = "half"
				}
				return s.Memory.Save(context.WithoutCancel(ctx), r)
			}
		}},
		"a write under the old version": {"cancellation in the middle", func(s *broken) {
			var late tokenstore.Record
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				if _, ok := ctx.Deadline(); ok {
					late = r
					return tokenstore.Record{}, context.DeadlineExceeded
				}
				return s.Memory.Save(ctx, r)
			}
			s.load = func(ctx context.Context, id string) (tokenstore.Record, error) {
				if late.AppUserID == id {
					return late, nil
				}
				return s.Memory.Load(ctx, id)
			}
		}},
		"any error for a conflict": {"stale write", func(s *broken) {
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				saved, err := s.Memory.Save(ctx, r)
				if err != nil {
					err = context.DeadlineExceeded
				}
				return saved, err
			}
		}},
		"empty record for a missing one": {"missing record", func(s *broken) {
			s.load = func(ctx context.Context, id string) (tokenstore.Record, error) {
				r, _ := s.Memory.Load(ctx, id)
				return r, nil
			}
		}},
		"names the user": {"errors keep quiet", func(s *broken) {
			s.load = func(ctx context.Context, id string) (tokenstore.Record, error) {
				r, err := s.Memory.Load(ctx, id)
				if err != nil {
					err = &named{id, err}
				}
				return r, err
			}
		}},
		"finds no claims": {"find", func(s *broken) {
			s.find = only(s, func(r tokenstore.Record, publicID string) bool { return r.PublicID == publicID })
		}},
		"finds linked records only": {"find", func(s *broken) {
			s.find = only(s, func(r tokenstore.Record, _ string) bool { return r.State == tokenstore.StateLinked })
		}},
		"finds a record twice": {"find", func(s *broken) {
			s.find = func(ctx context.Context, publicID string, limit int) (found []tokenstore.Record, err error) {
				all, err := s.Memory.FindPublicID(ctx, publicID, limit)
				for _, r := range all {
					if found = append(found, r); r.PublicID == r.Claim {
						found = append(found, r)
					}
				}
				return found[:min(limit, len(found))], err
			}
		}},
		"a lease of whole milliseconds": {"round trip", func(s *broken) {
			s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
				r.Lease.TTL = r.Lease.TTL.Truncate(time.Millisecond)
				return s.Memory.Save(ctx, r)
			}
		}},
		"due in the order of ids": {"due", func(s *broken) {
			s.due = func(ctx context.Context, before time.Time, limit int) ([]tokenstore.Record, error) {
				all, err := s.Memory.Due(ctx, before, math.MaxInt)
				slices.SortFunc(all, func(a, b tokenstore.Record) int { return strings.Compare(a.AppUserID, b.AppUserID) })
				return all[:min(limit, len(all))], err
			}
		}},
		"due without an end": {"due", func(s *broken) {
			s.due = func(ctx context.Context, before time.Time, _ int) ([]tokenstore.Record, error) {
				return s.Memory.Due(ctx, before, math.MaxInt)
			}
		}},
		"due too late": {"due", func(s *broken) {
			s.due = func(ctx context.Context, before time.Time, limit int) ([]tokenstore.Record, error) {
				return s.Memory.Due(ctx, before.Add(-time.Microsecond), limit)
			}
		}},
		"list skips": {"list", func(s *broken) {
			s.list = func(ctx context.Context, after string, limit int) ([]tokenstore.Record, error) {
				page, err := s.Memory.List(ctx, after, limit+1)
				return page[min(1, len(page)):], err
			}
		}},
		"list repeats the last of a page": {"list", func(s *broken) {
			s.list = func(ctx context.Context, after string, limit int) ([]tokenstore.Record, error) {
				return s.Memory.List(ctx, after[:len(after)-1], limit)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			i := slices.IndexFunc(checks, func(c check) bool { return c.name == tc.by })
			if i < 0 {
				t.Fatalf("there is no check %q", tc.by)
			}
			s := &broken{Memory: tokenstore.NewMemory()}
			tc.make(s)
			if problems, _ := checks[i].run(t.Context(), s); len(problems) == 0 {
				t.Errorf("not caught by %q", tc.by)
			}
		})
	}
}

// A database may execute what it was sent after its client has given up: that is no
// reason to fail, as long as it compares the version then.
func TestLateWritesAreAllowed(t *testing.T) {
	s := &broken{Memory: tokenstore.NewMemory()}
	var late []tokenstore.Record
	s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
		for _, l := range late {
			_, _ = s.Memory.Save(context.WithoutCancel(ctx), l)
		}
		late = nil
		if _, ok := ctx.Deadline(); ok {
			late = append(late, r)
			return tokenstore.Record{}, context.DeadlineExceeded
		}
		return s.Memory.Save(ctx, r)
	}
	i := slices.IndexFunc(checks, func(c check) bool { return c.name == "cancellation in the middle" })
	problems, _ := checks[i].run(t.Context(), s)
	for _, problem := range problems {
		t.Error(problem)
	}
	if r, err := s.Memory.List(t.Context(), "", 1); err != nil || len(r) != 1 || r[0].Cause == "0" {
		t.Errorf("no late write was done: %v, %v", r, err)
	}
}

type named struct {
	id  string
	err error
}

func (e *named) Error() string { return e.id + ": " + e.err.Error() }
func (e *named) Unwrap() error { return e.err }

// Check reports what Run fails on, and returns the error of open.
func TestCheck(t *testing.T) {
	cutting := func() (tokenstore.Store, error) {
		s := &broken{Memory: tokenstore.NewMemory()}
		s.save = func(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
			r.Cause = ""
			return s.Memory.Save(ctx, r)
		}
		return s, nil
	}
	results, err := Check(t.Context(), cutting)
	if err != nil || len(results) != len(checks) {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for _, r := range results {
		if r.Why == "" || r.Name == "round trip" && len(r.Problems) == 0 || r.Name == "times" && len(r.Problems) > 0 {
			t.Errorf("%+v", r)
		}
	}
	down := errors.New("down")
	if _, err := Check(t.Context(), func() (tokenstore.Store, error) { return nil, down }); !errors.Is(err, down) {
		t.Errorf("Check: %v, want the error of open", err)
	}
}
