// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// A host without cookies: the app on the patient's phone opens the address and gets
// the callback through its own URL scheme. Its backend keeps the Pending, and gets the
// callback's address from the app.
func ExampleRedirectTo() {
	ctx := context.Background()
	const callbackURI = "com.example.app:/pkb/callback" // registered with PKB
	server := pkbtest.New(pkbtest.Config{ClientID: "my-app", RedirectURIs: []string{"https://app.example/pkb/callback", callbackURI}})
	ada := server.AddPatient(pkbtest.Patient{PublicID: "1d4a8b2d-f885-499f-ba51-50600312f316"})
	client, err := demoClient(server, pkb.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}

	// The app asks its backend for a link; the user is the one of its session.
	var sessions sync.Map // your server-side sessions: user to pending value
	address, pending, err := client.Authorize(ctx, "app-user-1", pkb.RedirectTo(callbackURI))
	if err != nil {
		fmt.Println(err)
		return
	}
	sessions.Store("app-user-1", pending.Encode())

	back, err := server.Approve(ctx, address, ada) // the patient, in the phone's browser
	if err != nil {
		fmt.Println(err)
		return
	}

	// The app was opened with the address and posts it to its backend.
	opened, err := url.Parse(back.String())
	if err != nil {
		fmt.Println(err)
		return
	}
	kept, _ := sessions.LoadAndDelete("app-user-1")
	pending, err = pkb.ParsePending(kept.(string))
	if err != nil {
		fmt.Println(err)
		return
	}
	link, err := client.Complete(ctx, "app-user-1", pending, opened.Query())
	fmt.Println(opened.Scheme, link.PublicID, err)
	// Output: com.example.app 1d4a8b2d-f885-499f-ba51-50600312f316 <nil>
}

// A user who linked the wrong account links another.
func ExampleAllowSwitch() {
	ctx := context.Background()
	server, mother, client := demo()
	demoLink(ctx, server, mother, client)
	daughter := server.AddPatient(pkbtest.Patient{PublicID: "2d4a8b2d-f885-499f-ba51-50600312f316"})

	relink := func(opts ...pkb.AuthorizeOption) {
		address, pending, err := client.Authorize(ctx, "app-user-1", opts...)
		if err != nil {
			fmt.Println(err)
			return
		}
		back, err := server.Approve(ctx, address, daughter)
		if err != nil {
			fmt.Println(err)
			return
		}
		link, err := client.Complete(ctx, "app-user-1", pending, back.Query())
		fmt.Println(link.PublicID, errors.Is(err, pkb.ErrWrongPatient))
	}
	relink()
	relink(pkb.AllowSwitch())
	// Output:
	// true
	// 2d4a8b2d-f885-499f-ba51-50600312f316 false
}

// A parent and a child use one record through two users of the app.
func ExampleAllowShared() {
	ctx := context.Background()
	server, patient, client := demo()
	demoLink(ctx, server, patient, client)

	link := func(opts ...pkb.AuthorizeOption) error {
		address, pending, err := client.Authorize(ctx, "app-user-2", opts...)
		if err != nil {
			return err
		}
		back, err := server.Approve(ctx, address, patient)
		if err != nil {
			return err
		}
		_, err = client.Complete(ctx, "app-user-2", pending, back.Query())
		return err
	}
	err := link()
	var shared *pkb.SharedRecordError
	fmt.Println(errors.As(err, &shared), shared.AppUserIDs)
	fmt.Println(link(pkb.AllowShared()))
	// Output:
	// true [app-user-1]
	// <nil>
}

// Config.Identify refuses the record of another person.
func ExampleCandidate() {
	ctx := context.Background()
	server, ada, _ := demo()
	number, err := identity.ParseNHSNumber("999 000 0018")
	if err != nil {
		fmt.Println(err)
		return
	}
	users := map[string]identity.Known{"app-user-1": identity.NewKnown(identity.Person{NHSNumber: number, LastName: "Example"})} // your database
	client, err := demoClient(server, pkb.Config{
		Identify: func(_ context.Context, c pkb.Candidate) error {
			match := c.Self.Compare(users[c.AppUserID])
			if !match.Same() { // match itself may be logged
				return pkb.ErrIdentityRefused
			}
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	link := func(patient *pkbtest.Patient) (pkb.Link, error) {
		address, pending, err := client.Authorize(ctx, "app-user-1")
		if err != nil {
			return pkb.Link{}, err
		}
		back, err := server.Approve(ctx, address, patient)
		if err != nil {
			return pkb.Link{}, err
		}
		return client.Complete(ctx, "app-user-1", pending, back.Query())
	}
	_, err = link(server.AddPatient(pkbtest.Patient{}))
	fmt.Println(errors.Is(err, pkb.ErrIdentityRefused))
	linked, err := link(ada)
	fmt.Println(linked.Verified, err)
	// Output:
	// true
	// true <nil>
}

// Timeline has the history of a link, for operators.
func ExampleClient_Timeline() {
	ctx := context.Background()
	server, patient, client := demo()
	demoLink(ctx, server, patient, client)
	if err := client.Unlink(ctx, "app-user-1"); err != nil {
		fmt.Println(err)
		return
	}
	timeline, err := client.Timeline(ctx, "app-user-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, entry := range timeline {
		fmt.Println(entry.Kind)
	}
	// Output:
	// approved
	// exchanged
	// linked
	// unlinked
}

// A host shows its own pages for success and failure.
func ExampleFailure() {
	client, err := pkb.New(pkb.Config{
		Environment: pkb.Sandbox(), ClientID: "my-app", RedirectURL: "https://app.example/pkb/callback",
		Store: tokenstore.NewMemory(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	web := client.Web(pkb.WebConfig{
		User: func(*http.Request) string { return "app-user-1" }, // your session
		Linked: func(w http.ResponseWriter, r *http.Request, _ pkb.Link) {
			http.Redirect(w, r, "/account?linked", http.StatusSeeOther)
		},
		Failed: func(w http.ResponseWriter, r *http.Request, f pkb.Failure) {
			if f.Linked || errors.Is(f.Err, pkb.ErrAccessDenied) {
				// The record is linked in spite of it, or the patient said no.
				http.Redirect(w, r, "/account?"+url.Values{"pkb": {f.Code}}.Encode(), http.StatusSeeOther)
				return
			}
			http.Error(w, f.Title+"\n"+f.Text, f.Status) // your own page
		},
	})
	mux := http.NewServeMux()
	mux.Handle("GET /pkb/link", web.Link())
	mux.Handle("POST /pkb/switch", web.Link(pkb.AllowSwitch())) // behind a form of yours that asks
	mux.Handle("/pkb/callback", web.Callback())
	fmt.Println(web)
	// Output: pkb.Web{Done: "/"}
}

// An app in two languages shows the page in the one that the patient reads.
func ExamplePageTexts() {
	server, _, client := demo()
	welsh := pkb.PageTexts{
		Lang:      "cy",
		NotLinked: "Ni chafodd eich cofnod ei gysylltu",
		GoBack:    "Ewch yn ôl i'r ap",
		Errors:    map[string]string{"access_denied": "Ni wnaethoch ganiatáu mynediad. Gallwch newid eich meddwl unrhyw bryd."},
	}
	web := client.Web(pkb.WebConfig{
		User: func(*http.Request) string { return "app-user-1" },
		Texts: func(r *http.Request) pkb.PageTexts {
			if strings.HasPrefix(r.Header.Get("Accept-Language"), "cy") {
				return welsh
			}
			return pkb.PageTexts{} // English
		},
	})

	// The patient presses Deny at PKB.
	w := httptest.NewRecorder()
	web.Link().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/pkb/link", nil))
	callback, err := server.Deny(context.Background(), w.Header().Get("Location"))
	if err != nil {
		fmt.Println(err)
		return
	}
	back := httptest.NewRequest(http.MethodGet, callback.String(), nil)
	back.Header.Set("Accept-Language", "cy, en;q=0.5")
	back.Header.Set("Cookie", strings.Split(w.Header().Get("Set-Cookie"), ";")[0])
	w = httptest.NewRecorder()
	web.Callback().ServeHTTP(w, back)
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "<h1>") || strings.HasPrefix(line, "<p>") {
			fmt.Print(line)
		}
	}
	// Output:
	// <h1>Ni chafodd eich cofnod ei gysylltu</h1>
	// <p>Ni wnaethoch ganiatáu mynediad. Gallwch newid eich meddwl unrhyw bryd.</p>
	// <p><a href="/">Ewch yn ôl i&#39;r ap</a></p>
}

// An excerpt shows who responds in PKB's place. It holds only words of a fixed list,
// and only if the host asked for it.
func ExampleAPIError_Excerpt() {
	ctx := context.Background()
	server := pkbtest.New(pkbtest.Config{ClientID: "my-app"})
	client, err := demoClient(server, pkb.Config{InsecureDebugResponses: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	demoLink(ctx, server, server.AddPatient(pkbtest.Patient{}), client)
	server.Next(pkbtest.Self, pkbtest.Respond(403, "text/html", "<h1>Request blocked</h1> Your address is 192.0.2.7"))
	_, err = client.ForUser("app-user-1").Self(ctx)
	if refused, ok := errors.AsType[*pkb.APIError](err); ok {
		fmt.Println(refused.Excerpt())
	}
	// Output: <h1>request blocked</h1> your * is *
}
