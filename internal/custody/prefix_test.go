// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"errors"
	"testing"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/tokenstore"
)

// Two tenants of one table have the same key and a user of the same id. A row of the
// one is not the other's, even if somebody copies it.
func TestTenantsAreSealedApart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, table *tokenstore.Memory) {
		tenant := func(prefix string) (tokenstore.Store, *custody.Keeper) {
			s, err := tokenstore.WithPrefix(table, prefix)
			must(t, err)
			return s, keeper(t, s, i)
		}
		a, ka := tenant("tenant-a/")
		b, kb := tenant("tenant-b/")
		access := link(t, ka, i)
		wantToken(t, ka, access)
		wantNoLink(t, kb)

		stolen := record(t, a)
		stolen.Version = 0
		_, err := b.Save(t.Context(), stolen)
		must(t, err)
		var sealed *custody.SealError
		if _, err := kb.Token(t.Context(), user); !errors.As(err, &sealed) {
			t.Errorf("a row of another tenant: %v", err)
		}
		wantToken(t, ka, access)
		wantPosts(t, i, 0)
	})
}
