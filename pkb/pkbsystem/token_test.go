// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/pkbsystem"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

// The request for a token is the one of PKB's page, and the calls carry the token and
// the organisation.
func TestWhatIsSent(t *testing.T) {
	r := newRig(t)
	if err := r.find(t); err != nil {
		t.Fatal(err)
	}
	if err := r.AddPatient(t.Context(), r.addition()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Status(t.Context(), "NHS Number", r.number(t)); err != nil {
		t.Fatal(err)
	}
	bearer := r.sent[1].Authorization
	if !strings.HasPrefix(bearer, "Bearer ") || len(bearer) < 40 {
		t.Errorf("the call has the authorization %q", bearer)
	}
	want := []request{
		{"POST", "oauth2.pkb.example", "/tenant/api/oauth/token", basic("test-system-client", secret), "", "grant_type=client_credentials"},
		{"GET", "pkbtest.example", "/tenant/fhir/Patient", bearer, r.organisation.PublicID, ""},
		{"POST", "pkbtest.example", "/tenant/phr-fhir/Patient/$process-message", bearer, r.organisation.PublicID, r.sent[2].Body},
		{"POST", "pkbtest.example", "/tenant/fhir/Patient/$status-query", bearer, r.organisation.PublicID, r.sent[3].Body},
	}
	if diff := cmp.Diff(want, r.sent); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

// RFC 6749 percent-encodes the credentials, and PKB's page does not.
func TestCredentialsAreEncodedOnRequest(t *testing.T) {
	r := newRig(t, withConfig(func(c *pkbsystem.Config) { c.EncodeCredentials = true }))
	if err := r.find(t); err == nil {
		t.Error("pkbtest reads them as they are, and was satisfied")
	}
	if want := basic("test-system-client", url.QueryEscape(secret)); r.sent[0].Authorization != want {
		t.Errorf("sent %q, want %q", r.sent[0].Authorization, want)
	}
}

// The secret goes to the token endpoint and nowhere else: not where a redirect points,
// not to the FHIR addresses, and not with a request of the host's.
func TestTheSecretStaysAtItsOrigin(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		r := newRig(t)
		r.instead = func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "oauth2.pkb.example" {
				return respond(status, "text/html", "moved", "Location", "https://elsewhere.example/token"), nil
			}
			return nil, nil
		}
		err := r.find(t)
		if got := apiOf(t, err); got.Status != status || got.Operation != "system token" {
			t.Errorf("%+v, want the redirect as the error", got)
		}
		for _, q := range r.sent {
			if q.Host != "oauth2.pkb.example" {
				t.Errorf("status %d was followed: %+v", status, q)
			}
		}
	}

	r := newRig(t, withConfig(func(c *pkbsystem.Config) {
		c.StatusURL, c.AddPatientURL = "https://status.example/s", "https://messaging.example/m"
	}))
	_ = r.find(t)
	_ = r.AddPatient(t.Context(), r.addition())
	_, _ = r.Status(t.Context(), "NHS Number", r.number(t))
	for _, q := range r.sent {
		if has := strings.HasPrefix(q.Authorization, "Basic "); has != (q.Host == "oauth2.pkb.example") || strings.Contains(q.Body, secret) || strings.Contains(q.Body, url.QueryEscape(secret)) {
			t.Errorf("to %s%s went %q with %q", q.Host, q.Path, q.Authorization, q.Body)
		}
	}
}

// With a real transport, over TCP: neither secret nor token follows a redirect.
func TestNoRedirectIsFollowedOverTCP(t *testing.T) {
	var reached atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer elsewhere.Close()
	server := must[*pkbtest.Server](t)(pkbtest.Start(pkbtest.Config{}))
	defer server.Close()
	o := server.AddOrganisation(pkbtest.Organisation{})
	system := must[*pkbsystem.Client](t)(pkbsystem.New(pkbsystem.Config{
		Environment: pkb.BaseURL(server.URL()), TokenURL: server.URL() + "/api/oauth/token", Organisation: o.PublicID,
		ClientID: "test-system-client", ClientSecret: pkb.NewSecret("test-system-secret"), Retries: -1,
	}))
	moved := func(http.Handler) http.Handler {
		return http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect)
	}
	number := numberOf(t, "9990000018")
	for _, e := range []pkbtest.Endpoint{pkbtest.SystemToken, pkbtest.Facade} {
		server.Next(e, moved)
		if _, err := system.FindByNHSNumber(t.Context(), number); apiOf(t, err).Status != http.StatusTemporaryRedirect {
			t.Errorf("%s: %v", e, err)
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d requests went where a redirect points", n)
	}
	if _, err := system.FindByNHSNumber(t.Context(), number); !errors.Is(err, pkbsystem.ErrNoPatient) {
		t.Errorf("and without a redirect: %v", err)
	}
}

// What the token endpoint may respond.
func TestTokenResponses(t *testing.T) {
	json := func(status int, body string) pkbtest.Fault { return pkbtest.Respond(status, "application/json", body) }
	for name, tc := range map[string]struct {
		fault  pkbtest.Fault
		scope  string
		status int // 0 for a token that is used
		code   string
		advice string
		text   string
	}{
		"as PKB's page has it":     {json(200, `{"access_token":"a.b.c","token_type":"bearer","expires_in":3599,"scope":"x","jti":"j","client_name":"n"}`), "", 0, "", "", ""},
		"Bearer, a text":           {json(200, `{"access_token":"a.b.c","token_type":"BEARER","expires_in":"600"}`), "", 0, "", "", ""},
		"nothing but a token":      {json(200, `{"access_token":"a.b.c"}`), "", 0, "", "", ""},
		"as text":                  {pkbtest.Respond(200, "text/plain", `{"access_token":"a.b.c"}`), "", 0, "", "", ""},
		"without a media type":     {pkbtest.Respond(200, "", `{"access_token":"a.b.c"}`), "", 0, "", "", ""},
		"the scope":                {json(200, `{"access_token":"a.b.c","scope":"other system"}`), "system", 0, "", "", ""},
		"no scope":                 {json(200, `{"access_token":"a.b.c"}`), "system", 0, "", "", ""},
		"another organisation's":   {json(200, `{"access_token":"a.b.c","scope":"organisation-2"}`), "system", 200, "invalid_scope", "system_client_refused", "another scope than Config.Scope"},
		"HTML":                     {pkbtest.Respond(200, "text/html", "<html>birdseed"), "", 200, "", "unexpected_response", "holds no token"},
		"empty":                    {json(200, ""), "", 200, "", "unexpected_response", "holds no token"},
		"{}":                       {json(200, "{}"), "", 200, "", "unexpected_response", "holds no token"},
		"a number":                 {json(200, `{"access_token":7}`), "", 200, "", "unexpected_response", "holds no token"},
		"another type":             {json(200, `{"access_token":"a.b.c","token_type":"mac"}`), "", 200, "", "unexpected_response", "not a Bearer token"},
		"a token of two lines":     {json(200, `{"access_token":"a\nb"}`), "", 200, "", "unexpected_response", "no header can have"},
		"an error with 200":        {json(200, `{"error":"invalid_client","error_description":"birdseed"}`), "", 200, "invalid_client", "system_client_refused", "the response is an error"},
		"401 as PKB prints it":     {json(401, `{"error":"unauthorized" "error_description":"Full authentication is required to access this resource"}`), "", 401, "", "system_client_refused", "401 Unauthorized"},
		"401, with the comma":      {json(401, `{"error":"unauthorized","error_description":"birdseed"}`), "", 401, "unauthorized", "system_client_refused", "unauthorized"},
		"401, HTML":                {pkbtest.Respond(401, "text/html", "<html>birdseed"), "", 401, "", "system_client_refused", "401"},
		"invalid_scope":            {json(400, `{"error":"invalid_scope"}`), "", 400, "invalid_scope", "system_client_refused", "invalid_scope"},
		"a code that nobody knows": {json(400, `{"error":"birdseed"}`), "", 400, "", "system_client_refused", "400"},
		"403 of a firewall":        {pkbtest.Respond(403, "text/html", "<html>birdseed"), "", 403, "", "system_client_refused", "403"},
		"nothing there":            {pkbtest.Respond(404, "text/html", "<html>birdseed"), "", 404, "", "no_such_address", "404"},
		"busy":                     {pkbtest.Respond(429, "", ""), "", 429, "", "too_many_requests", "429"},
		"down":                     {pkbtest.Respond(502, "text/html", "<html>birdseed"), "", 502, "", "unavailable", "502"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, withConfig(func(c *pkbsystem.Config) { c.Scope = tc.scope }))
			r.pkb.Next(pkbtest.SystemToken, tc.fault)
			r.instead = func(req *http.Request) (*http.Response, error) {
				if req.Header.Get("Authorization") == "Bearer a.b.c" {
					return respond(200, "application/fhir+json", `{"resourceType":"Bundle"}`), nil
				}
				return nil, nil
			}
			err := r.find(t)
			if tc.status == 0 {
				if !errors.Is(err, pkbsystem.ErrNoPatient) {
					t.Errorf("the token was not used: %v", err)
				}
				return
			}
			got := apiOf(t, err)
			if got.Operation != "system token" || got.Status != tc.status || got.Code != tc.code || !strings.Contains(got.Text, tc.text) || strings.Contains(got.Text, "birdseed") {
				t.Errorf("%+v, want status %d, code %q and the text %q", got, tc.status, tc.code, tc.text)
			}
			if got := advice.For(err).Code; got != tc.advice {
				t.Errorf("advice has the code %s, want %s", got, tc.advice)
			}
			for _, q := range r.sent {
				if strings.HasPrefix(q.Authorization, "Bearer") {
					t.Errorf("PKB was called nevertheless: %+v", q)
				}
			}
		})
	}
}

// One token serves all calls until shortly before it expires.
func TestATokenIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withConfig(func(c *pkbsystem.Config) { c.Now = nil; c.MaxCalls = 100 }))
		r.pkb.Next(pkbtest.SystemToken, pkbtest.Delay(time.Second))
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if err := r.find(t); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := r.pkb.Count(pkbtest.SystemToken); n != 1 {
			t.Errorf("50 calls at once fetched %d tokens", n)
		}
		for _, step := range []struct {
			passes time.Duration
			tokens int
		}{{9 * time.Minute, 1}, {20 * time.Second, 1}, {15 * time.Second, 2}} {
			time.Sleep(step.passes)
			if err := r.find(t); err != nil {
				t.Fatal(err)
			}
			if n := r.pkb.Count(pkbtest.SystemToken); n != step.tokens {
				t.Errorf("after %v more there were %d tokens, want %d", step.passes, n, step.tokens)
			}
		}
	})
}

// Who leaves while the token is fetched takes nothing from the others.
func TestOneCallersContextIsNotAnothers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withConfig(func(c *pkbsystem.Config) { c.Now = nil }))
		r.pkb.Next(pkbtest.SystemToken, pkbtest.Delay(time.Minute))
		ctx, leave := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { _, err := r.FindByNHSNumber(ctx, r.number(t)); first <- err }()
		synctest.Wait()
		second := make(chan error, 1)
		go func() { second <- r.find(t) }()
		synctest.Wait()
		begin := time.Now()
		leave()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
		if err := <-second; err != nil || time.Since(begin) > time.Second {
			t.Errorf("who stayed got %v after %v", err, time.Since(begin))
		}
		time.Sleep(time.Minute) // of the bubble: the server is done
	})
}

// A token that PKB has forgotten is replaced, once, for writes too: a 401 is a refusal
// to look at the request.
func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	refused := func() (faults []pkbtest.Fault) {
		return []pkbtest.Fault{pkbtest.Refuse("ACC_TOKEN_EXPIRED")}
	}
	r := newRig(t)
	r.pkb.Next(pkbtest.Facade, refused()...)
	if err := r.find(t); err != nil {
		t.Error(err)
	}
	r.pkb.Next(pkbtest.Facade, pkbtest.Respond(403, "application/fhir+json", `{"resourceType":"OperationOutcome","issue":[{"code":"BAD_AUTHENTICATION"}]}`))
	if err := r.find(t); err != nil {
		t.Error(err)
	}
	r.pkb.Next(pkbtest.Messaging, refused()...)
	if err := r.AddPatient(t.Context(), r.addition()); err != nil {
		t.Error(err)
	}
	if tokens, posts := r.pkb.Count(pkbtest.SystemToken), r.pkb.Count(pkbtest.Messaging); tokens != 4 || posts != 2 {
		t.Errorf("%d tokens and %d messages, want 4 and 2", tokens, posts)
	}
	r.pkb.Next(pkbtest.Messaging, append(refused(), refused()...)...)
	err := r.AddPatient(t.Context(), r.addition())
	if got := apiOf(t, err); got.Status != 401 || got.Operation != "system process-message" || errors.Is(err, pkbsystem.ErrUncertain) || errors.Is(err, pkb.ErrTokenRefused) {
		t.Errorf("%+v", got)
	}
	if posts := r.pkb.Count(pkbtest.Messaging); posts != 4 {
		t.Errorf("%d messages, want 2 more", posts)
	}
}

// A request for a token is retried as a read is, because it changes nothing.
func TestRequestsForATokenAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withConfig(func(c *pkbsystem.Config) { c.Now, c.Retries = nil, 0 }))
		r.pkb.Next(pkbtest.SystemToken, pkbtest.Respond(503, "", ""), pkbtest.Drop())
		if err := r.find(t); err != nil {
			t.Error(err)
		}
		r2 := newRig(t, withConfig(func(c *pkbsystem.Config) { c.Now, c.Retries = nil, 0 }))
		r2.pkb.Next(pkbtest.SystemToken, pkbtest.Respond(503, "", ""), pkbtest.Respond(503, "", ""), pkbtest.Respond(503, "", ""))
		if err := r2.find(t); apiOf(t, err).Status != 503 {
			t.Error(err)
		}
		if n := r2.pkb.Count(pkbtest.SystemToken); n != 3 {
			t.Errorf("%d requests for a token, want 3, and not 3 for each of 3 tries", n)
		}
	})
}

// HTTPClient sends requests of the host's with the token, to PKB and nowhere else.
func TestHTTPClient(t *testing.T) {
	r := newRig(t)
	hc := r.HTTPClient()
	send := func(address string, header ...string) (int, error) {
		req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil))
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := hc.Do(req)
		if err != nil {
			return 0, err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, resp.Body.Close()
	}
	search := r.pkb.URL() + "/fhir/Patient?identifier=https://fhir.nhs.uk/Id/nhs-number%7C" + r.patient.NHSNumber
	if status, err := send(search); status != 200 || err != nil {
		t.Errorf("%d, %v", status, err)
	}
	if status, err := send(search, "X-Org-Public-Id", otherID); status != 200 || err != nil {
		t.Errorf("the header is the Config's, whatever the host sets: %d, %v", status, err)
	}
	before := len(r.sent)
	for name, args := range map[string][]string{
		"another host":       {"https://elsewhere.example/fhir/Patient"},
		"another scheme":     {strings.Replace(search, "https:", "http:", 1)},
		"another port":       {"https://pkbtest.example:8443/fhir"},
		"a patient's token":  {search, "Authorization", "Bearer of-a-patient"},
		"an empty authority": {search, "Authorization", ""},
		"the token endpoint": {tokenURL},
	} {
		if status, err := send(args[0], args[1:]...); err == nil {
			t.Errorf("%s: was sent, and got %d", name, status)
		}
	}
	if len(r.sent) != before {
		t.Errorf("sent nevertheless: %+v", r.sent[before:])
	}
}

// Requests wait for their turn within their contexts, and a turn ends with the body.
func TestCallsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withConfig(func(c *pkbsystem.Config) { c.MaxCalls, c.Now = 1, nil }))
		resp, err := r.HTTPClient().Get(r.pkb.URL() + "/fhir/Patient?identifier=x") //nolint:noctx // it is closed below
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = r.FindByNHSNumber(ctx, r.number(t))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Config.MaxCalls") {
			t.Errorf("no turn: %v", err)
		}
		_ = resp.Body.Close()
		if err := r.find(t); err != nil {
			t.Errorf("and when it is free: %v", err)
		}
	})
}
