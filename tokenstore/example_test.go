// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// What a Store promises, in short: a write succeeds only on the version that it
// was made from.
func ExampleMemory() {
	ctx := context.Background()
	store := tokenstore.NewMemory()
	defer func() { _ = store.Close() }()

	first, err := store.Save(ctx, tokenstore.Record{AppUserID: "app-user-1", State: tokenstore.StateLinked})
	if err != nil {
		fmt.Println(err)
		return
	}
	mine := first.Clone()
	mine.PublicID = "1d4a8b2d-f885-499f-ba51-50600312f316"
	if _, err := store.Save(ctx, mine); err != nil {
		fmt.Println(err)
		return
	}
	_, err = store.Save(ctx, first) // another writer, with what was read before
	fmt.Println(errors.Is(err, tokenstore.ErrConflict))

	now, err := store.Load(ctx, "app-user-1")
	fmt.Println(now.PublicID, err)
	page, err := store.List(ctx, "", 10)
	fmt.Println(len(page), err, store.Volatile())

	fmt.Println(errors.Is(store.Delete(ctx, "app-user-1", first.Version), tokenstore.ErrConflict))
	fmt.Println(store.Delete(ctx, "app-user-1", now.Version))
	// Output:
	// true
	// 1d4a8b2d-f885-499f-ba51-50600312f316 <nil>
	// 1 <nil> true
	// true
	// <nil>
}

// A Store of your own begins its Save with Prepare.
func ExampleRecord_Prepare() {
	local := time.Date(2026, 7, 1, 13, 0, 0, 999, time.FixedZone("BST", 3600))
	r, err := tokenstore.Record{AppUserID: "app-user-1", ExpiresAt: local}.Prepare()
	fmt.Println(r.ExpiresAt, err)

	_, err = tokenstore.Record{AppUserID: "\xff"}.Prepare()
	fmt.Println(errors.Is(err, tokenstore.ErrInvalid))
	// Output:
	// 2026-07-01 12:00:00 +0000 UTC <nil>
	// true
}

// Two tenants share one table, and see only their own links.
func ExampleWithPrefix() {
	ctx := context.Background()
	table := tokenstore.NewMemory()
	for _, tenant := range []string{"tenant-a/", "tenant-b/"} {
		store, err := tokenstore.WithPrefix(table, tenant)
		if err != nil {
			fmt.Println(err)
			return
		}
		if _, err := store.Save(ctx, tokenstore.Record{AppUserID: "app-user-1"}); err != nil {
			fmt.Println(err)
			return
		}
		page, err := store.(tokenstore.Lister).List(ctx, "", 10)
		fmt.Println(len(page), page[0].AppUserID, err)
	}
	n, err := table.Count(ctx)
	fmt.Println(n, err)

	_, err = tokenstore.WithPrefix(table, "tenant-a")
	fmt.Println(err)
	// Output:
	// 1 app-user-1 <nil>
	// 1 app-user-1 <nil>
	// 2 <nil>
	// tokenstore: the prefix "tenant-a" is ambiguous: it must end with a slash, and have no other
}

// Which links a sweep has to look at, without reading the others.
func ExampleScheduler() {
	ctx := context.Background()
	store := tokenstore.NewMemory()
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for id, at := range map[string]time.Time{"app-user-1": noon, "app-user-2": noon.Add(time.Hour), "app-user-3": {}} {
		if _, err := store.Save(ctx, tokenstore.Record{AppUserID: id, TendAt: at}); err != nil {
			fmt.Println(err)
			return
		}
	}
	due, err := store.Due(ctx, noon, 100)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, record := range due {
		fmt.Println(record.AppUserID)
	}
	// Output:
	// app-user-1
}

// Which users are linked with a patient's record, or about to be.
func ExampleFinder() {
	ctx := context.Background()
	store := tokenstore.NewMemory()
	for _, record := range []tokenstore.Record{
		{AppUserID: "app-user-1", PublicID: "1d4a8b2d-f885-499f-ba51-50600312f316"},
		{AppUserID: "app-user-2", Claim: "1d4a8b2d-f885-499f-ba51-50600312f316"},
	} {
		if _, err := store.Save(ctx, record); err != nil {
			fmt.Println(err)
			return
		}
	}
	found, err := store.FindPublicID(ctx, "1d4a8b2d-f885-499f-ba51-50600312f316", 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, record := range found {
		fmt.Println(record.AppUserID)
	}
	// Output:
	// app-user-1
	// app-user-2
}
