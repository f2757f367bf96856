// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jarcoal/httpmock"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// linked is what an app does by hand to link a patient; it returns the access
// token and the refresh token.
func linked(server *pkbtest.Server, app *http.Client, patient *pkbtest.Patient) (access, refresh string, err error) {
	const callback = "https://app.example/pkb/callback"
	authorizeURL := server.URL() + "/apiAuthorize.action?" + url.Values{
		"response_type": {"code"}, "client_id": {server.ClientID()}, "redirect_uri": {callback}, "scope": {"PATIENT"}, "state": {"a1"},
	}.Encode()
	back, err := server.Approve(context.Background(), authorizeURL, patient)
	if err != nil {
		return "", "", err
	}
	resp, err := app.PostForm(server.URL()+"/apiToken.action", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {server.ClientID()}, "redirect_uri": {callback}, "code": {back.Query().Get("code")},
	})
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	var answer struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	err = json.NewDecoder(resp.Body).Decode(&answer)
	return answer.Access, answer.Refresh, err
}

// self calls users/self and returns the status.
func self(server *pkbtest.Server, app *http.Client, access string) (int, error) {
	req, err := http.NewRequest(http.MethodGet, server.URL()+"/json/users/self", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+access)
	resp, err := app.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// The patient approves: what the app gets back.
func ExampleServer_Approve() {
	server := pkbtest.New(pkbtest.Config{})
	patient := server.AddPatient(pkbtest.Patient{FirstName: "Ada", LastName: "Example"})

	authorizeURL := server.URL() + "/apiAuthorize.action?" + url.Values{
		"response_type": {"code"},
		"client_id":     {server.ClientID()},
		"redirect_uri":  {"https://app.example/pkb/callback"},
		"scope":         {"PATIENT"},
		"state":         {"a1"},
	}.Encode()
	callback, err := server.Approve(context.Background(), authorizeURL, patient)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(callback.Host, callback.Path, callback.Query().Get("state"), callback.Query().Has("code"))
	// Output: app.example /pkb/callback a1 true
}

// An authorize request with a mistake ends on PKB's own error page.
func ExampleServer_Approve_mistake() {
	server := pkbtest.New(pkbtest.Config{RedirectURIs: []string{"https://app.example/pkb/callback"}})
	patient := server.AddPatient(pkbtest.Patient{})

	_, err := server.Approve(context.Background(), server.URL()+"/apiAuthorize.action?response_type=code&client_id=typo", patient)
	fmt.Println(err)
	// Output: pkbtest: the authorize address returned an error page (status 400): The client_id "typo" is not known; this server knows "test-client".
}

// A server in memory: link a patient and call users/self.
func ExampleNew() {
	server := pkbtest.New(pkbtest.Config{})
	app := &http.Client{Transport: server.Transport()}

	access, _, err := linked(server, app, server.AddPatient(pkbtest.Patient{}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(self(server, app, access))
	for _, request := range server.Requests() {
		fmt.Println(request)
	}
	// Output:
	// 200 <nil>
	// GET /apiAuthorize.action: 200
	// POST /apiAuthorize.action: 302
	// POST /apiToken.action authorization_code: 200
	// GET /json/users/self: 200
}

// A server on a port, for programs that bring their own transport.
func ExampleStart() {
	server, err := pkbtest.Start(pkbtest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	resp, err := http.Get(server.URL() + "/json/users/self")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 401 Unauthorized
}

// The response to a refresh is lost; presenting the same token again ends the
// session.
func ExampleServer_Next() {
	server := pkbtest.New(pkbtest.Config{})
	app := &http.Client{Transport: server.Transport()}
	patient := server.AddPatient(pkbtest.Patient{})
	_, refresh, err := linked(server, app, patient)
	if err != nil {
		fmt.Println(err)
		return
	}

	server.Next(pkbtest.Token, pkbtest.DropAfter())
	for range 2 {
		resp, err := app.PostForm(server.URL()+"/apiToken.action", url.Values{
			"grant_type": {"refresh_token"}, "client_id": {server.ClientID()}, "refresh_token": {refresh},
		})
		if err != nil {
			fmt.Println("no response")
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		fmt.Println(string(body))
	}
	fmt.Println("reused:", server.ReusedRefreshTokens(), "live sessions:", server.LiveSessions(patient))
	// Output:
	// no response
	// {"error":"invalid_grant","error_description":"API_SESSION_INVALID"}
	// reused: 1 live sessions: 0
}

// An access token grows old without anybody waiting.
func ExampleServer_Advance() {
	server := pkbtest.New(pkbtest.Config{TokenLife: 30 * time.Minute})
	app := &http.Client{Transport: server.Transport()}
	access, _, err := linked(server, app, server.AddPatient(pkbtest.Patient{}))
	if err != nil {
		fmt.Println(err)
		return
	}
	server.Advance(29 * time.Minute)
	fmt.Println(self(server, app, access))
	server.Advance(time.Minute)
	fmt.Println(self(server, app, access))
	// Output:
	// 200 <nil>
	// 401 <nil>
}

// Patients who are a scenario each: log in as one, and the rest happens by
// itself.
func ExampleServer_AddScenarios() {
	server := pkbtest.New(pkbtest.Config{})
	for _, p := range server.AddScenarios() {
		fmt.Println(p.Scenario+":", p.FirstName, p.LastName, p.About)
	}
	// Output:
	// approves: Ava Approves approves, and everything works
	// denies: Dennis Denies refuses, whichever button is pressed
	// session ends soon: Sonia Soonover has a session of one and a half access tokens, so a refresh soon brings the last token
	// no NHS number: Noah Numberless has a record without national ids
	// CHI number only: Catriona Chionly has a Scottish number and no NHS number
	// two NHS numbers: Toby Twonumbers has a record with two different NHS numbers
	// frozen: Freya Frozen approves, but access is frozen: calls get ACCESS_FROZEN_OUTWARD
	// wrong person: Wilf Wrongone is somebody else: approve as this one for a user who is linked to another
	// professional: Petra Professional approves by mistake: the record is no patient's
	// slow: Sloane Slowly approves, and every response to the app takes 3 seconds
	// flaky: Flora Flaky approves, and every second request of the app fails
}

// A scenario in a test: the patient refuses, and the app has to cope.
func ExampleServer_FindPatient() {
	server := pkbtest.New(pkbtest.Config{RedirectURIs: []string{"https://app.example/cb"}})
	server.AddScenarios()
	patient, err := server.FindPatient("denies")
	if err != nil {
		fmt.Println(err)
		return
	}
	callback, err := server.Approve(context.Background(), server.URL()+"/apiAuthorize.action?response_type=code&client_id=test-client&state=a1", patient)
	fmt.Println(callback, err)
	_, err = server.FindPatient("nobody@example.org")
	fmt.Println(err != nil)
	// Output:
	// https://app.example/cb?error=access_denied&state=a1 <nil>
	// true
}

// Orders over HTTP, as a test in another language gives them.
func ExampleConfig_controlAPI() {
	server, err := pkbtest.Start(pkbtest.Config{ControlAPI: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	server.AddScenarios()

	for path, order := range map[string]string{
		"/sandbox/faults": `{"endpoint": "self", "status": 503, "header": {"Retry-After": "30"}}`,
		"/sandbox/freeze": `{"patient": "no-one"}`,
	} {
		resp, err := http.Post(server.URL()+path, "application/json", strings.NewReader(order))
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = resp.Body.Close()
		fmt.Println(path, resp.Status)
	}
	resp, err := http.Get(server.URL() + "/json/users/self")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status, "Retry-After:", resp.Header.Get("Retry-After"))
	// Unordered output:
	// /sandbox/faults 200 OK
	// /sandbox/freeze 400 Bad Request
	// 503 Service Unavailable Retry-After: 30
}

// A test that ends with faults that nobody met did not test what it claims.
func ExampleServer_ClearFaults() {
	server := pkbtest.New(pkbtest.Config{})
	server.Next(pkbtest.Token, pkbtest.Drop(), pkbtest.DropAfter())
	fmt.Println("unused:", server.ClearFaults())
	// Output: unused: 2
}

// A test sees what its mock said, which the library itself does not print.
func ExampleCause() {
	mock := httpmock.NewMockTransport() // and no responder for the call below
	client, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL("https://pkb.example"), ClientID: "my-app", RedirectURL: "https://app.example/pkb/callback",
		Store: tokenstore.NewMemory(), HTTPClient: &http.Client{Transport: mock}, Retries: -1,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	address, pending, err := client.Authorize(ctx, "app-user-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	u, err := url.Parse(address)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.Complete(ctx, "app-user-1", pending, url.Values{"code": {"a-code"}, "state": {u.Query().Get("state")}})
	fmt.Println(err)
	fmt.Println(pkbtest.Cause(err))
	// Output:
	// pkb: code exchange: no response from PKB: the request failed
	// no responder found
}
