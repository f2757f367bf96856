// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/oauth2"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// A process of your backend looks after the links that nobody uses just now. Notices
// come once, whichever of your replicas is first.
func ExampleClient_Tend() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	server := pkbtest.New(pkbtest.Config{})
	ada := server.AddPatient(pkbtest.Patient{})
	told := make(chan observe.Notice)
	client, err := demoClient(server, pkb.Config{
		Notify: func(ctx context.Context, n observe.Notice) error {
			select {
			case told <- n: // or an INSERT into a table of yours
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() { _ = client.Tend(ctx) }()

	demoLink(ctx, server, ada, client)
	n := <-told
	fmt.Println(n.Kind, n.AppUserID)
	// Output:
	// linked app-user-1
}

// A job that runs every hour does the same, without a process that stays.
func ExampleClient_TendOnce() {
	ctx := context.Background()
	server := pkbtest.New(pkbtest.Config{})
	ada := server.AddPatient(pkbtest.Patient{})
	client, err := demoClient(server, pkb.Config{
		Notify: func(_ context.Context, n observe.Notice) error {
			fmt.Println(n.Kind, n.AppUserID)
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	demoLink(ctx, server, ada, client)
	links, err := client.TendOnce(ctx)
	fmt.Println(links, err)
	links, err = client.TendOnce(ctx)
	fmt.Println(links, err)
	// Output:
	// linked app-user-1
	// 1 <nil>
	// 0 <nil>
}

// Tokens that other code obtained become a link. Stop that code first.
func ExampleClient_Import() {
	ctx := context.Background()
	server, patient, client := demo()

	// What the other code did.
	other := oauth2.Config{
		ClientID: server.ClientID(), RedirectURL: "https://app.example/pkb/callback", Scopes: []string{"PATIENT"},
		Endpoint: oauth2.Endpoint{
			AuthURL: server.URL() + "/apiAuthorize.action", TokenURL: server.URL() + "/apiToken.action", AuthStyle: oauth2.AuthStyleInParams,
		},
	}
	back, err := server.Approve(ctx, other.AuthCodeURL("a state"), patient)
	if err != nil {
		fmt.Println(err)
		return
	}
	direct := context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: server.Transport()})
	token, err := other.Exchange(direct, back.Query().Get("code"))
	if err != nil {
		fmt.Println(err)
		return
	}

	link, err := client.Import(ctx, "app-user-1", token)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(link.State, link.Verified)
	// Output:
	// linked true
}

// An operator's page shows which notices your program has not accepted yet, from a row of
// the table.
func ExampleNoticesOf() {
	ctx := context.Background()
	server := pkbtest.New(pkbtest.Config{})
	ada := server.AddPatient(pkbtest.Patient{})
	store := tokenstore.NewMemory()
	client, err := demoClient(server, pkb.Config{
		Store:  store,
		Notify: func(context.Context, observe.Notice) error { return errors.New("the outbox is full") },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	demoLink(ctx, server, ada, client)
	if _, err := client.TendOnce(ctx); err != nil {
		fmt.Println(err)
		return
	}
	record, err := store.Load(ctx, "app-user-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range pkb.NoticesOf(record) {
		fmt.Println(n.AppUserID, n.Kind, "refused", n.Tries)
	}
	// Output:
	// app-user-1 linked refused 1
}
