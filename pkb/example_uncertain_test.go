// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// A switch was approved while PKB could not report whose record it is: the existing
// link stays, and waits for a check.
func ExampleClient_Complete_unchecked() {
	ctx := context.Background()
	server := pkbtest.New(pkbtest.Config{})
	client, err := demoClient(server, pkb.Config{Retries: -1})
	if err != nil {
		fmt.Println(err)
		return
	}
	mother := server.AddPatient(pkbtest.Patient{PublicID: "1d4a8b2d-f885-499f-ba51-50600312f316"})
	daughter := server.AddPatient(pkbtest.Patient{PublicID: "2d4a8b2d-f885-499f-ba51-50600312f316"})
	demoLink(ctx, server, mother, client)

	address, pending, err := client.Authorize(ctx, "app-user-1", pkb.AllowSwitch())
	if err != nil {
		fmt.Println(err)
		return
	}
	back, err := server.Approve(ctx, address, daughter)
	if err != nil {
		fmt.Println(err)
		return
	}
	server.Next(pkbtest.Purview, pkbtest.Respond(503, "", ""))
	link, err := client.Complete(ctx, "app-user-1", pending, back.Query())
	if errors.Is(err, pkb.ErrUnchecked) {
		fmt.Println("still the link of", link.PublicID, "and more to check:", link.Unchecked)
		fmt.Println(advice.For(err).Patient)
	}
	// Output:
	// still the link of 1d4a8b2d-f885-499f-ba51-50600312f316 and more to check: true
	// What you approved is saved and is still being checked. Until then, your link is as it was.
}

// PKB has documented the response for a session that has ended.
func ExampleConfig_tokenErrors() {
	ctx := context.Background()
	server := pkbtest.New(pkbtest.Config{})
	client, err := demoClient(server, pkb.Config{
		TokenErrors: []observe.TokenError{{Status: 401, Body: "Bad refresh token", Means: observe.MeansSessionOver}},
		// RefreshWithoutScope: true, if PKB refuses the scope parameter
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	demoLink(ctx, server, server.AddPatient(pkbtest.Patient{}), client)
	server.Advance(11 * time.Minute)
	server.Next(pkbtest.Token, pkbtest.Respond(401, "text/plain", "Bad refresh token\n"))
	_, err = client.Token(ctx, "app-user-1")
	fmt.Println(err)
	// Output: pkb: the link to PKB has ended (session_invalid)
}

// An operator has checked that an unreadable response holds no tokens.
func ExampleClient_Discard() {
	ctx := context.Background()
	server, ada, client := demo()
	demoLink(ctx, server, ada, client)
	server.Advance(11 * time.Minute)
	server.Next(pkbtest.Token, pkbtest.Respond(200, "application/json", `{"notice":{"text":"Service window tonight"}}`))
	_, err := client.Token(ctx, "app-user-1")
	fmt.Println(advice.For(err).Turn, errors.Is(err, pkb.ErrTryLater))

	fmt.Println(client.Discard(ctx, "app-user-1"))
	link, err := client.Link(ctx, "app-user-1")
	fmt.Println(link.State, err)
	// Output:
	// host true
	// <nil>
	// uncertain <nil>
}
