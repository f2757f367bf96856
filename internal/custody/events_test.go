// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// The events of a link are delivered in the order in which they happen, one at a
// time, and match what its record remembers. No flight waits for the host, and Close
// delivers what is left.
func TestEventsInOrder(t *testing.T) {
	for name, slow := range map[string]time.Duration{"a quick host": 0, "a slow one": 40 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				var mu sync.Mutex
				var heard []custody.Kind
				var under atomic.Int64
				k := keeper(t, s, i, func(c *custody.Config) {
					c.OnEvent = func(e custody.Event) {
						if under.Add(1) != 1 {
							t.Error("two events at once")
						}
						time.Sleep(slow)
						mu.Lock()
						heard = append(heard, e.Kind)
						mu.Unlock()
						under.Add(-1)
					}
				})
				within(t, "the link", 0, func() { link(t, k, i) })
				time.Sleep(life)
				within(t, "the refresh", 0, func() { wantToken(t, k, "access-2") })
				trouble(i, &tokenwire.Outcome{Class: tokenwire.Unread, Status: 200, Body: []byte(`{}`)})
				time.Sleep(life)
				wantWait(t, k, custody.WaitUnread)
				trouble(i, nil)
				must(t, k.Discard(t.Context(), user))
				wantWait(t, k, custody.WaitUncertain)
				time.Sleep(15 * time.Second)
				wantToken(t, k, "access-3")
				lose(t, k, sessionExpired)
				spend(t, k, "for nothing")
				must(t, approve(t, k, i, "again"))
				must(t, k.Unlink(t.Context(), user))
				must(t, k.Close(t.Context()))
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if diff := cmp.Diff([]custody.Kind{
					custody.Approved, custody.Exchanged, custody.Linked, custody.Refreshed, custody.Unreadable, custody.Discarded,
					custody.Recovered, custody.Refreshed, custody.RelinkRequired, custody.Approved, custody.NotExchanged,
					custody.Approved, custody.Exchanged, custody.Linked, custody.Unlinked,
				}, heard); diff != "" {
					t.Errorf("received (-want +got):\n%s", diff)
				}
				past, err := k.Past(t.Context(), user)
				must(t, err)
				var kept []custody.Kind
				for _, h := range past {
					kept = append(kept, h.Kind)
				}
				if diff := cmp.Diff(heard, kept); diff != "" {
					t.Errorf("the record remembers (-received +kept):\n%s", diff)
				}
			})
		})
	}
}
