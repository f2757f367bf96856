// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jarcoal/httpmock"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/pkb/record"
	"github.com/betawerk/pkb-go/tokenstore"
)

// The blocks of hosting.md and of llms.txt, which run here.

// profile is what the frontend gets.
type profile struct {
	PublicID    identity.PublicID `json:"public_id"`
	FirstName   string            `json:"first_name"`
	LastName    string            `json:"last_name"`
	DateOfBirth identity.Date     `json:"date_of_birth,omitempty"`
	NHSNumber   string            `json:"nhs_number,omitempty"`
}

func readProfile(ctx context.Context, patient *pkb.Patient) (profile, error) {
	id, err := patient.PublicID(ctx)
	if err != nil {
		return profile{}, err
	}
	self, err := patient.Self(ctx)
	if err != nil {
		return profile{}, err
	}
	d := self.Reveal()
	number, _ := self.NHSNumber() // absent if PKB has none, or two that differ
	return profile{id, d.FirstName, d.LastName, d.DateOfBirth, number.Reveal()}, nil
}

// serveProfile serves a single-page app.
func serveProfile(client *pkb.Client, signedIn func(*http.Request) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := readProfile(r.Context(), client.ForUser(signedIn(r)))
		if err != nil {
			serveError(w, err)
			return
		}
		serveJSON(w, http.StatusOK, p)
	}
}

// problem is what a single-page app gets for an error.
type problem struct {
	Code string `json:"code"`           // for texts of its own: "not_linked", "try_later", ...
	Text string `json:"text"`           // safe to show to the patient
	Link string `json:"link,omitempty"` // where to send the browser
}

func serveError(w http.ResponseWriter, err error) {
	a := advice.For(err)
	p := problem{Code: a.Code, Text: a.Patient}
	if errors.Is(err, pkb.ErrNotLinked) || errors.Is(err, pkb.ErrRelinkRequired) {
		p.Link = "/pkb/link" // the browser goes there: a fetch cannot
	}
	serveJSON(w, a.Status, p)
}

// serveJSON encodes before it writes: a value that is refused is not half a response.
func serveJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// A single-page app gets the fields that it needs, and for an error a code, a text
// and where to go.
func Example_json() {
	ctx := context.Background()
	server, ada, client := demo()
	page := serveProfile(client, func(*http.Request) string { return "app-user-1" })
	get := func() {
		w := httptest.NewRecorder()
		page(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/profile", nil))
		fmt.Println(w.Code, w.Body)
	}
	get()
	demoLink(ctx, server, ada, client)
	get()
	server.EndSessions(ada)
	get()
	// Output:
	// 409 {"code":"not_linked","text":"Your record at Patients Know Best is not linked. You can link it now.","link":"/pkb/link"}
	// 200 {"public_id":"1d4a8b2d-f885-499f-ba51-50600312f316","first_name":"Ada","last_name":"Example","date_of_birth":"1980-02-29","nhs_number":"9990000018"}
	// 409 {"code":"session_expired","text":"Your link to Patients Know Best has ended. Please link your record again.","link":"/pkb/link"}
}

// An encoder that meets a wrapper gets an error, and never the text [redacted].
func Example_jsonRefused() {
	self := identity.NewSelf(identity.Demographics{FirstName: "Ada"})
	_, err := json.Marshal(self)
	fmt.Println(err)

	type view struct {
		NHSNumber identity.NHSNumber `json:"nhs_number,omitzero"`
	}
	body, err := json.Marshal(view{}) // absent, so left out
	fmt.Println(string(body), err)
	number, _ := identity.ParseNHSNumber("999 000 0018")
	_, err = json.Marshal(view{number})
	fmt.Println(err != nil)

	body, err = json.Marshal(self.Reveal()) // everything that PKB reported, with PKB's names
	fmt.Println(string(body), err)
	// Output:
	// json: error calling MarshalJSON for type identity.Self: a value that is secret or about a patient is not encoded or decoded: encode what Reveal or Raw returns
	// {} <nil>
	// true
	// {"firstName":"Ada","patient":true} <nil>
}

// A frontend that reads FHIR gets the resources.
func Example_jsonFHIR() {
	ctx := context.Background()
	server, ada, client := demo()
	demoLink(ctx, server, ada, client)
	if err := server.AddResource(ada, []byte(`{"resourceType":"Observation","id":"obs-1","category":[{"coding":[{"system":"http://fhir.patientsknowbest.com/codesystem/observation-category","code":"LABORATORY"}]}],"valueQuantity":{"value":140.50}}`)); err != nil {
		fmt.Println(err)
		return
	}
	patient := client.ForUser("app-user-1")

	list := []json.RawMessage{} // [] and not null when there are none
	for obs, err := range patient.Record().Observations(ctx, record.Laboratory) {
		if err != nil {
			fmt.Println(err)
			return
		}
		list = append(list, obs.Raw()) // as PKB sent it; Reveal encodes to the same JSON
	}
	body, err := json.Marshal(list)
	fmt.Println(string(body), err)
	// Output: [{"resourceType":"Observation","id":"obs-1","category":[{"coding":[{"system":"http://fhir.patientsknowbest.com/codesystem/observation-category","code":"LABORATORY"}]}],"valueQuantity":{"value":140.50}}] <nil>
}

// go-cmp uses Equal. A difference between two wrappers prints as [redacted], so
// compare what Reveal returns.
func Example_compare() {
	got := identity.NewSelf(identity.Demographics{FirstName: "Ada", DateOfBirth: "1980-02-29"})

	want := identity.NewSelf(identity.Demographics{FirstName: "Ada", DateOfBirth: "1980-02-29"})
	fmt.Println(cmp.Equal(got, want), got.Equal(want))

	other := identity.Demographics{FirstName: "Ada", DateOfBirth: "1981-02-28", Patient: true}
	diff := cmp.Diff(other, got.Reveal()) // names the field: in a test, with made-up patients
	fmt.Println(strings.Contains(diff, "DateOfBirth"), strings.Contains(diff, "1981-02-28"))

	a, err := fhir.NewResource(fhir.Observation{Status: "unknown", Code: fhir.CodeableConcept{Text: "Pulse"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := fhir.Decode[fhir.Observation]([]byte(`{"status": "unknown", "code": {"text": "Pulse"}, "resourceType": "Observation"}`))
	fmt.Println(cmp.Equal(a, b), err)
	// Output:
	// true true
	// true true
	// true <nil>
}

// newMockedClient returns a client whose requests go to a mock.
func newMockedClient(t *testing.T) (*httpmock.MockTransport, *pkb.Client) {
	t.Helper()
	const sandbox = "https://sandbox.patientsknowbest.com"
	mock := httpmock.NewMockTransport()
	mock.RegisterNoResponder(httpmock.NewNotFoundResponder(t.Error)) // names a request that you forgot
	mock.RegisterResponder("POST", sandbox+"/apiToken.action", httpmock.NewStringResponder(200,
		`{"access_token": "a", "token_type": "Bearer", "expires_in": 600, "refresh_token": "r", "scope": "PATIENT"}`))
	mock.RegisterResponder("POST", sandbox+"/fhir/Consent/$purview", httpmock.NewStringResponder(200,
		`{"resourceType": "Parameters", "parameter": [{"name": "purview",
			"valueReference": {"reference": "Patient/1d4a8b2d-f885-499f-ba51-50600312f316"}}]}`))

	client, err := pkb.New(pkb.Config{
		Environment: pkb.Sandbox(),
		ClientID:    "my-app",
		RedirectURL: "https://app.example/pkb/callback",
		Store:       tokenstore.NewMemory(),
		HTTPClient:  &http.Client{Transport: mock}, // before New, which copies the http.Client
		Retries:     -1,                            // one call, one request
	})
	if err != nil {
		t.Fatal(err)
	}
	return mock, client
}

func TestLinkWithMock(t *testing.T) {
	mock, client := newMockedClient(t)
	ctx := t.Context()
	_, pending, err := client.Authorize(ctx, "app-user-1")
	if err != nil {
		t.Fatal(err)
	}
	callback := url.Values{"code": {"any"}, "state": {pending.State().Reveal()}}
	if _, err := client.Complete(ctx, "app-user-1", pending, callback); err != nil {
		t.Fatal(err)
	}

	mock.RegisterResponder("GET", "https://sandbox.patientsknowbest.com/json/users/self", httpmock.NewErrorResponder(errCable))
	_, err = client.ForUser("app-user-1").Self(ctx)
	if !errors.Is(err, errCable) { // found, and not printed: the text of a transport can name a patient
		t.Errorf("got %v, want the mock's error in it", err)
	}
	if strings.Contains(err.Error(), errCable.Error()) {
		t.Errorf("hosting.md says that the text of a transport is not printed: %v", err)
	}
}

var errCable = errors.New("the cable was pulled")

// Without a no-responder, the mock's own error says that one is missing.
func TestForgottenResponder(t *testing.T) {
	client := sandboxClient(t, newWireOf(httpmock.NewMockTransport()), func(c *pkb.Config) { c.Retries = -1 })
	_, pending, err := client.Authorize(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Complete(t.Context(), user, pending, url.Values{"code": {"any"}, "state": {pending.State().Reveal()}})
	if !errors.Is(err, httpmock.NoResponderFound) {
		t.Errorf("got %v; hosting.md says that errors.Is finds httpmock.NoResponderFound", err)
	}
}

func newWireOf(mock *httpmock.MockTransport) *wire { return &wire{MockTransport: mock} }

// network stands for the internet.
type network struct{ asked int }

func (n *network) RoundTrip(*http.Request) (*http.Response, error) {
	n.asked++
	return nil, errors.New("this test must not reach the network")
}

// A mock that is put into the http.Client after New is not asked.
func TestMockIsActivatedBeforeNew(t *testing.T) {
	for _, test := range []struct {
		name          string
		before, after func(*http.Client)
		asked         bool
	}{
		{"before New", func(hc *http.Client) { httpmock.ActivateNonDefault(hc) }, func(*http.Client) {}, false},
		{"after New", func(*http.Client) {}, func(hc *http.Client) { httpmock.ActivateNonDefault(hc) }, true},
	} {
		n := &network{}
		hc := &http.Client{Transport: n}
		test.before(hc)
		client := sandboxClient(t, nil, func(c *pkb.Config) { c.HTTPClient, c.Retries = hc, -1 })
		test.after(hc)
		_, pending, err := client.Authorize(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Complete(t.Context(), user, pending, url.Values{"code": {"c"}, "state": {pending.State().Reveal()}}); err == nil {
			t.Error("a code was exchanged with nobody")
		}
		if asked := n.asked > 0; asked != test.asked {
			t.Errorf("ActivateNonDefault %s: the network is asked: %t; hosting.md says %t", test.name, asked, test.asked)
		}
		httpmock.DeactivateAndReset()
	}
}

// newTestClient returns a PKB for tests with one patient, and a client for it.
func newTestClient(t *testing.T) (*pkbtest.Server, *pkbtest.Patient, *pkb.Client) {
	t.Helper()
	server := pkbtest.New(pkbtest.Config{})
	client, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(server.URL()),
		ClientID:    server.ClientID(),
		RedirectURL: "https://app.example/pkb/callback",
		Store:       tokenstore.NewMemory(),
		HTTPClient:  &http.Client{Transport: server.Transport()}, // in memory: no port is opened
		Now:         server.Now,                                  // so that server.Advance moves both
		Retries:     -1,                                          // one fault, one failure
	})
	if err != nil {
		t.Fatal(err)
	}
	return server, server.AddPatient(pkbtest.Patient{FirstName: "Ada"}), client
}

// linkUser does what the two routes do, with a patient who approves.
func linkUser(t *testing.T, server *pkbtest.Server, patient *pkbtest.Patient, client *pkb.Client, appUserID string) {
	t.Helper()
	address, pending, err := client.Authorize(t.Context(), appUserID)
	if err != nil {
		t.Fatal(err)
	}
	callback, err := server.Approve(t.Context(), address, patient)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Complete(t.Context(), appUserID, pending, callback.Query()); err != nil {
		t.Fatal(err)
	}
}

func TestProfileWhenPKBIsDown(t *testing.T) {
	server, ada, client := newTestClient(t)
	linkUser(t, server, ada, client, "app-user-1")
	server.Advance(time.Hour)                                // the access token has expired
	server.Next(pkbtest.Token, pkbtest.Respond(429, "", "")) // and PKB refreshes nothing now
	_, err := readProfile(t.Context(), client.ForUser("app-user-1"))
	if !errors.Is(err, pkb.ErrTryLater) {
		t.Errorf("got %v, want ErrTryLater: the link is kept", err)
	}
}

// newClient is how llms.txt makes the one client of a process.
func newClient(store tokenstore.Store) (*pkb.Client, error) {
	keyring, err := keys.Parse(os.Getenv("PKB_KEYS")) // made once with keys.Generate
	if err != nil {
		return nil, err
	}
	return pkb.New(pkb.Config{
		Environment: pkb.Sandbox(),
		ClientID:    os.Getenv("PKB_CLIENT_ID"),
		RedirectURL: "https://app.example/pkb/callback", // as registered with PKB
		Store:       store,
		Keys:        keyring,
	})
}

// routes are the routes of llms.txt.
func routes(mux *http.ServeMux, client *pkb.Client, signedIn func(*http.Request) string) {
	web := client.Web(pkb.WebConfig{User: signedIn, Done: "/account"})
	mux.Handle("GET /pkb/link", web.Link())
	mux.Handle("/pkb/callback", web.Callback()) // the path of Config.RedirectURL
}

// switchRoutes are the routes of a host that lets a user link another account.
func switchRoutes(mux *http.ServeMux, client *pkb.Client, signedIn func(*http.Request) string) {
	web := client.Web(pkb.WebConfig{
		User: signedIn,
		Done: "/account",
		Failed: func(w http.ResponseWriter, r *http.Request, f pkb.Failure) {
			page := problemPage{Title: f.Title, Text: f.Text} // true of the user's link
			if f.Code == "wrong_patient" {
				page.Form = "/pkb/switch" // <form method="post">: "Link the other record instead"
			}
			page.show(w, f.Status)
		},
	})
	mux.Handle("GET /pkb/link", web.Link())
	mux.Handle("POST /pkb/switch", web.Link(pkb.AllowSwitch()))
	mux.Handle("/pkb/callback", web.Callback())
}

// problemPage is the host's own page.
type problemPage struct{ Title, Text, Form string }

func (p problemPage) show(w http.ResponseWriter, status int) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "%s|%s|%s", p.Title, p.Text, p.Form)
}

// The routes of hosting.md let a user link another account, behind a form.
func TestHostWithASwitch(t *testing.T) {
	server, ada, client := newTestClient(t)
	bo := server.AddPatient(pkbtest.Patient{FirstName: "Bo"})
	mux := http.NewServeMux()
	switchRoutes(mux, client, func(*http.Request) string { return "app-user-1" })
	visit := func(method, address string, cookies ...*http.Cookie) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, address, nil)
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	approves := func(method, route string, p *pkbtest.Patient) *httptest.ResponseRecorder {
		started := visit(method, route)
		callback, err := server.Approve(t.Context(), started.Header().Get("Location"), p)
		if err != nil {
			t.Fatal(err)
		}
		return visit(http.MethodGet, callback.String(), started.Result().Cookies()...)
	}
	if got := approves(http.MethodGet, "/pkb/link", ada).Header().Get("Location"); got != "/account" {
		t.Errorf("linked, and led to %q", got)
	}
	if got := approves(http.MethodGet, "/pkb/link", bo).Body.String(); !strings.HasPrefix(got, "Your record is still linked|Nothing has changed.") || !strings.HasSuffix(got, "|/pkb/switch") {
		t.Errorf("another account: %s", got)
	}
	if got := approves(http.MethodPost, "/pkb/switch", bo).Header().Get("Location"); got != "/account" {
		t.Errorf("switched, and led to %q", got)
	}
}

// shutdown ends a process in the order that loses no link.
func shutdown(server *http.Server, client *pkb.Client, db io.Closer) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return errors.Join(
		server.Shutdown(ctx), // first: no new calls
		client.Close(ctx),    // then: refreshes under way save their tokens
		db.Close(),           // last: they needed it
	)
}

// journal is a database that writes down when it is closed.
type journal struct{ closed func() }

func (j journal) Close() error { j.closed(); return nil }

// The pieces of llms.txt make a host that works.
func TestHostOfLLMs(t *testing.T) {
	key, err := keys.Generate("2026-01")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PKB_KEYS", key)
	t.Setenv("PKB_CLIENT_ID", "my-app")
	client, err := newClient(tokenstore.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	routes(mux, client, func(*http.Request) string { return "app-user-1" })
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://app.example/pkb/link", nil))
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || !strings.HasPrefix(to, pkb.Sandbox().AuthorizeURL+"?") {
		t.Errorf("the link route leads to %q (%d)", to, w.Code)
	}
	closed := false
	if err := shutdown(&http.Server{ReadHeaderTimeout: time.Second}, client, journal{func() {
		closed = true
		if _, err := client.Token(t.Context(), "app-user-1"); !errors.Is(err, pkb.ErrClosed) {
			t.Errorf("the database is closed while the client may need it: %v", err)
		}
	}}); err != nil || !closed {
		t.Errorf("closed: %t, %v", closed, err)
	}
}

// tended returns a client that looks after its links, until ctx ends.
func tended(ctx context.Context, config pkb.Config, inbox func(context.Context, observe.Notice) error) (*pkb.Client, error) {
	config.Notify = inbox                // writes into a table or a queue
	config.KeepWarm = 7 * 24 * time.Hour // to learn within a week that a link has ended
	client, err := pkb.New(config)
	if err != nil {
		return nil, err
	}
	go client.Tend(ctx) // ends with ctx, or when the client is closed
	return client, nil
}

// The block of hosting.md looks after links.
func TestTended(t *testing.T) {
	server := pkbtest.New(pkbtest.Config{})
	ada := server.AddPatient(pkbtest.Patient{})
	told := make(chan observe.Notice, 1)
	client, err := tended(t.Context(), pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: server.ClientID(), RedirectURL: "https://app.example/pkb/callback", Store: tokenstore.NewMemory(),
		HTTPClient: &http.Client{Transport: server.Transport()}, Now: server.Now,
	}, func(_ context.Context, n observe.Notice) error {
		told <- n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	demoLink(t.Context(), server, ada, client)
	if n := <-told; n.Kind != observe.EventLinked {
		t.Errorf("%v", n)
	}
}
