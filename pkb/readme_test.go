// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/tokenstore"
)

// backend is the program of the README, compiled so that it stays true.
func backend(ctx context.Context, signedIn func(*http.Request) string) {
	client, err := pkb.New(pkb.Config{
		Environment: pkb.Sandbox(),
		ClientID:    os.Getenv("PKB_CLIENT_ID"),
		RedirectURL: "http://localhost:8080/pkb/callback",
		Store:       tokenstore.NewMemory(), // in production: your database, and Keys to seal it
	})
	if err != nil {
		log.Fatal(err) // names every field that is wrong and what belongs there
	}
	go client.Tend(ctx) // looks after links that nobody uses just now; any number of replicas may
	web := client.Web(pkb.WebConfig{User: signedIn, Done: "/record"})
	http.Handle("GET /pkb/link", web.Link())     // sends the signed-in patient to PKB to approve
	http.Handle("/pkb/callback", web.Callback()) // checks who came back, saves the link, goes to Done
	http.HandleFunc("GET /record", func(w http.ResponseWriter, r *http.Request) {
		id, err := client.ForUser(signedIn(r)).PublicID(r.Context())
		switch {
		case errors.Is(err, pkb.ErrNotLinked), errors.Is(err, pkb.ErrRelinkRequired):
			http.Redirect(w, r, "/pkb/link", http.StatusSeeOther) // only the patient can repair this
		case err != nil:
			http.Error(w, "PKB is not available now; the link is kept", http.StatusBadGateway)
		default:
			fmt.Fprintln(w, "Linked to PKB record", id)
		}
	})
	log.Fatal(http.ListenAndServe("localhost:8080", nil))
}

var _ = backend

// records is the interface that the README shows to hosts.
type records interface {
	Self(context.Context) (identity.Self, error)
}

var _ records = (*pkb.Patient)(nil)
