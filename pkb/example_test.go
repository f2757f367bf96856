// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/pkb/record"
	"github.com/betawerk/pkb-go/tokenstore"
)

// demo returns a test server with one patient, and a client for it.
func demo() (*pkbtest.Server, *pkbtest.Patient, *pkb.Client) {
	server := pkbtest.New(pkbtest.Config{ClientID: "my-app", RedirectURIs: []string{"https://app.example/pkb/callback"}})
	patient := server.AddPatient(pkbtest.Patient{
		PublicID: "1d4a8b2d-f885-499f-ba51-50600312f316", FirstName: "Ada", LastName: "Example",
		DateOfBirth: "1980-02-29", NHSNumber: "9990000018",
	})
	client, err := demoClient(server, pkb.Config{})
	if err != nil {
		panic(err)
	}
	return server, patient, client
}

// demoClient returns a client of server, with the other fields of config.
func demoClient(server *pkbtest.Server, config pkb.Config) (*pkb.Client, error) {
	config.Environment = pkb.BaseURL(server.URL())
	config.ClientID = server.ClientID()
	config.RedirectURL = "https://app.example/pkb/callback"
	if config.Store == nil {
		config.Store = tokenstore.NewMemory()
	}
	config.HTTPClient = &http.Client{Transport: server.Transport()}
	config.Now = server.Now
	return pkb.New(config)
}

// demoLink links app-user-1 to the patient of demo.
func demoLink(ctx context.Context, server *pkbtest.Server, patient *pkbtest.Patient, client *pkb.Client) {
	address, pending, err := client.Authorize(ctx, "app-user-1")
	if err != nil {
		panic(err)
	}
	back, err := server.Approve(ctx, address, patient)
	if err != nil {
		panic(err)
	}
	if _, err := client.Complete(ctx, "app-user-1", pending, back.Query()); err != nil {
		panic(err)
	}
}

// An authorization, from the address that the patient opens to the public id.
func ExampleClient_Complete() {
	ctx := context.Background()
	server, patient, client := demo()

	// In the handler behind your link: send the patient to address, keep
	// pending in the user's session.
	address, pending, err := client.Authorize(ctx, "app-user-1")
	if err != nil {
		fmt.Println(err)
		return
	}

	callback, err := server.Approve(ctx, address, patient) // the patient, at PKB
	if err != nil {
		fmt.Println(err)
		return
	}

	// In the handler of your redirect URI.
	link, err := client.Complete(ctx, "app-user-1", pending, callback.Query())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(link.State, link.PublicID)
	// Output: linked 1d4a8b2d-f885-499f-ba51-50600312f316
}

// A redirect URI for a mobile app, and a Pending that is kept as text.
func ExampleClient_Authorize() {
	client, err := pkb.New(pkb.Config{
		Environment: pkb.Sandbox(),
		ClientID:    "my-app",
		RedirectURL: "https://app.example/pkb/callback",
		Store:       tokenstore.NewMemory(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	address, pending, err := client.Authorize(context.Background(), "app-user-1",
		pkb.RedirectTo("com.example.app:/pkb/callback"))
	if err != nil {
		fmt.Println(err)
		return
	}
	u, _ := url.Parse(address)
	fmt.Println(u.Host+u.Path, u.Query().Get("scope"), u.Query().Get("redirect_uri"))
	fmt.Println(u.Query().Get("state") == pending.State().Reveal())

	kept := pending.Encode() // into the user's session
	again, err := pkb.ParsePending(kept)
	fmt.Println(again.ExpiresAt().Equal(pending.ExpiresAt()), err, pending)
	// Output:
	// sandbox.patientsknowbest.com/apiAuthorize.action PATIENT com.example.app:/pkb/callback
	// true
	// true <nil> [redacted]
}

// New reports every mistake at once.
func ExampleNew() {
	_, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL("http://sandbox.patientsknowbest.com"),
		RedirectURL: "https://app.example/pkb/callback",
		Store:       tokenstore.NewMemory(),
	})
	var mistake *pkb.ConfigError
	fmt.Println(errors.As(err, &mistake), mistake.Field)
	// Output: true Environment.AuthorizeURL
}

// A single address of an environment can be replaced.
func ExampleProduction() {
	env := pkb.Production()
	env.PurviewMethod = http.MethodGet
	fmt.Println(env.Name, env.TokenURL, env.PurviewMethod)
	// Output: production https://my.patientsknowbest.com/apiToken.action GET
}

// The calls for a linked patient.
func ExampleClient_ForUser() {
	ctx := context.Background()
	server, ada, client := demo()
	demoLink(ctx, server, ada, client)

	patient := client.ForUser("app-user-1")
	id, err := patient.PublicID(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	self, err := patient.Self(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	number, ok := self.NHSNumber()
	fmt.Println(id)
	fmt.Println(number.Reveal(), ok, self.Reveal().FirstName, self.Reveal().DateOfBirth)
	fmt.Println(number, self) // as a log would show them
	// Output:
	// 1d4a8b2d-f885-499f-ba51-50600312f316
	// 9990000018 true Ada 1980-02-29
	// [redacted] [redacted]
}

// Purview asks PKB whose record a link opens.
func ExamplePatient_Purview() {
	ctx := context.Background()
	server, patient, client := demo()
	demoLink(ctx, server, patient, client)
	fmt.Println(client.ForUser("app-user-1").Purview(ctx))
	// Output: 1d4a8b2d-f885-499f-ba51-50600312f316 <nil>
}

// A host distinguishes errors that need the patient from those that pass.
func ExampleRelinkError() {
	ctx := context.Background()
	server, patient, client := demo()
	demoLink(ctx, server, patient, client)
	server.EndSessions(patient)

	_, err := client.ForUser("app-user-1").Self(ctx)
	var relink *pkb.RelinkError
	switch {
	case errors.Is(err, pkb.ErrNotLinked):
		fmt.Println("show the link button")
	case errors.As(err, &relink):
		fmt.Println("show the link button, and say why:", relink.Cause)
	case err != nil:
		fmt.Println("PKB is not responding; the link is kept")
	}
	// Output: show the link button, and say why: session_expired
}

// A token is refreshed when it is needed, and saved before it is used.
func ExampleClient_Token() {
	ctx := context.Background()
	server, patient, client := demo()
	demoLink(ctx, server, patient, client)

	first, err := client.Token(ctx, "app-user-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	server.Advance(time.Hour)
	second, err := client.Token(ctx, "app-user-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(first.Value, second.Value, first.Value.Equal(second.Value))
	fmt.Println(server.Refreshes())
	// Output:
	// [redacted] [redacted] false
	// 1
}

// For a library that takes an oauth2.TokenSource.
func ExampleClient_TokenSource() {
	server, patient, client := demo()
	demoLink(context.Background(), server, patient, client)
	token, err := client.TokenSource("app-user-1").Token()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.Type(), token.Valid(), token.RefreshToken == "")
	// Output: Bearer true true
}

// Any other PKB call, with the same handling of the token.
func ExampleClient_HTTPClient() {
	server, patient, client := demo()
	demoLink(context.Background(), server, patient, client)
	resp, err := client.HTTPClient("app-user-1").Get(server.URL() + "/json/users/self")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	// Output: 200
}

// Links lists the links of a store, for a status page.
func ExampleClient_Links() {
	ctx := context.Background()
	server, patient, client := demo()
	demoLink(ctx, server, patient, client)
	for link, err := range client.Links(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(link.AppUserID, link.State)
	}
	// Output: app-user-1 linked
}

// Ending a link deletes its tokens.
func ExampleClient_Unlink() {
	ctx := context.Background()
	server, patient, client := demo()
	demoLink(ctx, server, patient, client)
	fmt.Println(client.Unlink(ctx, "app-user-1"))
	_, err := client.Link(ctx, "app-user-1")
	fmt.Println(errors.Is(err, pkb.ErrNotLinked))
	// Output:
	// <nil>
	// true
}

// Close the client before the process ends.
func ExampleClient_Close() {
	_, _, client := demo()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(client.Close(ctx))
	// Output: <nil>
}

// The two routes of a host with cookies.
func ExampleClient_Web() {
	_, _, client := demo()
	signedIn := func(*http.Request) string { return "app-user-1" } // your session
	web := client.Web(pkb.WebConfig{User: signedIn, Done: "/account"})
	mux := http.NewServeMux()
	mux.Handle("GET /pkb/link", web.Link())
	mux.Handle("GET /pkb/callback", web.Callback())
	fmt.Println(web)
	// Output: pkb.Web{Done: "/account"}
}

// A Secret prints [redacted].
func ExampleNewSecret() {
	secret := pkb.NewSecret("s3cret")
	fmt.Println(secret, secret.IsZero(), secret.Equal(pkb.NewSecret("s3cret")), len(secret.Reveal()))
	// Output: [redacted] false true 6
}

// The key changes while the links are in use.
func ExampleClient_Reseal() {
	ctx := context.Background()
	server, ada, _ := demo()
	keys := &keys.Keyring{}
	if err := keys.AddKey("2026-01", bytes.Repeat([]byte{6}, 32)); err != nil {
		fmt.Println(err)
		return
	}
	client, err := demoClient(server, pkb.Config{Keys: keys})
	if err != nil {
		fmt.Println(err)
		return
	}
	demoLink(ctx, server, ada, client)

	// First every replica gets the new key, then every replica seals with it.
	next := bytes.Repeat([]byte{7}, 32) // made with crypto/rand, or by your key management
	if err := errors.Join(keys.AddKey("2027-01", next), keys.Promote("2027-01")); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(errors.As(client.RetireKey(ctx, "2026-01"), new(*pkb.ConfigError)))
	for p, err := range client.Reseal(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%d of %d records, %d resealed, %v left\n", p.Records, p.Total, p.Resealed, p.Left())
		_ = p.Rate() // records a second
	}
	fmt.Println(client.RetireKey(ctx, "2026-01"), keys.KeyIDs())
	// Output:
	// true
	// 1 of 1 records, 1 resealed, 0s left
	// <nil> [2027-01]
}

// Purge removes an unlinked record after two days.
func ExampleClient_Purge() {
	ctx := context.Background()
	server, ada, client := demo()
	demoLink(ctx, server, ada, client)
	if err := client.Unlink(ctx, "app-user-1"); err != nil {
		fmt.Println(err)
		return
	}
	server.Advance(49 * time.Hour)
	removed, err := client.Purge(ctx)
	fmt.Println(removed, err)
	// Output: 1 <nil>
}

// An operator's tool shows a row of the store without keys and without PKB.
func ExampleLinkOf() {
	link := pkb.LinkOf(tokenstore.Record{
		AppUserID: "app-user-1", State: tokenstore.StateUncertain, PublicID: "b39921df-9e78-4924-b8ce-6d5e696752dc",
		Pair: "5f3a/7", Tried: 1,
	})
	fmt.Println(link.State, link.Verified, link.Tried, link.Unread)
	// Output: uncertain true 1 false
}

// The patient's FHIR record.
func ExamplePatient_Record() {
	ctx := context.Background()
	server, ada, client := demo()
	demoLink(ctx, server, ada, client)
	if err := server.AddResource(ada, []byte(`{"resourceType": "Observation", "id": "obs-1", "status": "unknown",
		"category": [{"coding": [{"system": "http://fhir.patientsknowbest.com/codesystem/observation-category", "code": "LABORATORY"}]}],
		"code": {"text": "Haemoglobin"}, "valueQuantity": {"value": 140.50, "unit": "g/L"}}`)); err != nil {
		fmt.Println(err)
		return
	}
	for obs, err := range client.ForUser("app-user-1").Record().Observations(ctx, record.Laboratory) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(obs, obs.Reveal().Code.Text)
	}
	// Output: [redacted] Haemoglobin
}
