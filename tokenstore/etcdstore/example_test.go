// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package etcdstore_test

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/etcdstore"
)

// endpoints are those of the examples' etcd.
func endpoints() []string {
	m, err := startMember()
	if err != nil {
		return nil
	}
	return []string{m.address}
}

// Make the client as you always do, with your TLS and user, and pass it on.
func Example() {
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = client.Close() }()
	store, err := etcdstore.New(client, etcdstore.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := store.Check(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(store) // pkb.New(pkb.Config{Store: store, ...})
	// Output: etcdstore.Store
}

// What a client of package pkb does with the store.
func ExampleStore() {
	ctx := context.Background()
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = client.Close() }()
	store, err := etcdstore.New(client, etcdstore.Config{Prefix: "my-app/links/"})
	if err != nil {
		fmt.Println(err)
		return
	}
	first, err := store.Save(ctx, tokenstore.Record{
		AppUserID: "app-user-1", State: tokenstore.StateLinked,
		PublicID: "1d4a8b2d-f885-499f-ba51-50600312f316", TendAt: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	second, err := store.Save(ctx, first)
	fmt.Println(err)
	_, err = store.Save(ctx, first) // on a version that is no more
	fmt.Println(err)

	n, err := store.Count(ctx)
	fmt.Println(n, err)
	page, err := store.List(ctx, "", 100)
	fmt.Println(len(page), err)
	found, err := store.FindPublicID(ctx, "1d4a8b2d-f885-499f-ba51-50600312f316", 2)
	fmt.Println(len(found), err)
	due, err := store.Due(ctx, time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), 100)
	fmt.Println(len(due), err)

	fmt.Println(store.Delete(ctx, "app-user-1", second.Version))
	_, err = store.Load(ctx, "app-user-1")
	fmt.Println(err)
	// Output:
	// <nil>
	// tokenstore: the record was changed by someone else
	// 1 <nil>
	// 1 <nil>
	// 1 <nil>
	// 1 <nil>
	// <nil>
	// tokenstore: no record for this user
}

// Several tenants share one etcd, and each reads its own links only.
func ExampleStore_DueWithin() {
	ctx := context.Background()
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = client.Close() }()
	store, err := etcdstore.New(client, etcdstore.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for _, id := range []string{"tenant-a/1", "tenant-a/2", "tenant-b/1"} {
		if _, err := store.Save(ctx, tokenstore.Record{AppUserID: id, TendAt: at}); err != nil {
			fmt.Println(err)
			return
		}
	}
	// tokenstore.WithPrefix(store, "tenant-a/") calls these.
	due, err := store.DueWithin(ctx, "tenant-a/", at, 100)
	fmt.Println(len(due), err)
	n, err := store.CountWithin(ctx, "tenant-b/")
	fmt.Println(n, err)
	// Output:
	// 2 <nil>
	// 1 <nil>
}
