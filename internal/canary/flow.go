// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package canary

import "github.com/betawerk/pkb-go/pkb/keys"
import "github.com/betawerk/pkb-go/pkb/identity"
import "github.com/betawerk/pkb-go/pkb/observe"
import "github.com/betawerk/pkb-go/pkb/record"
import "github.com/betawerk/pkb-go/pkb/advice"

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// Flow is a host that links patients, calls PKB for them and loses links, with
// every fault that pkbtest, a store, a key and a browser can have, all of which
// speak of the patient.
type Flow struct {
	// Store keeps the links; nil means one in memory.
	Store tokenstore.Store
	// Configure, if set, changes each client's Config before New: here telemetry
	// is added, whose spans and metrics then go into Printed.Add.
	Configure func(*pkb.Config)
}

// Printed is what got out during a Flow, by where: "log", "events", "errors",
// "values", "pages", "excerpts", and what a test adds.
type Printed struct {
	// Secrets are tokens, codes, states, keys, client secret, and everything
	// about the patient from users/self. Names are the app_user_ids and the
	// public ids, which hosts may print and the library does not.
	Secrets, Names *Search

	mu    sync.Mutex
	lines map[string]map[string]bool
	bytes map[string]int
}

// Add adds what got out somewhere. Of lines that are the same one is kept.
func (p *Printed) Add(where, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lines == nil {
		p.lines, p.bytes = make(map[string]map[string]bool), make(map[string]int)
	}
	if p.lines[where] == nil {
		p.lines[where] = make(map[string]bool)
	}
	p.bytes[where] += len(text)
	for line := range strings.Lines(text) {
		p.lines[where][line] = true
	}
}

// Bytes returns how much got out, by where.
func (p *Printed) Bytes() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.bytes)
}

// Leaks names each planted value that got out, and where: what stands before it
// helps to find out how.
func (p *Printed) Leaks() (leaks []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, where := range slices.Sorted(maps.Keys(p.lines)) {
		text := strings.Join(slices.Collect(maps.Keys(p.lines[where])), "")
		found := p.Secrets.find(text)
		if !strings.HasPrefix(where, "hidden") {
			// In fields that are not exported fmt calls no methods: what is secret is
			// hidden there too, and a name is not.
			maps.Copy(found, p.Names.find(text))
		}
		for _, name := range slices.Sorted(maps.Keys(found)) {
			leaks = append(leaks, fmt.Sprintf("%s: %s, after %q", where, name, found[name]))
		}
	}
	return leaks
}

const (
	clientID     = "canary-client"
	clientSecret = "birdseed-7f3a-birdseed-9c1e"
	redirectURL  = "https://app.example/pkb/callback"
)

// host is what a Flow works with.
type host struct {
	*Printed
	flow     Flow
	server   *pkbtest.Server
	store    tokenstore.Store
	faulty   *faultyStore
	config   pkb.Config
	client   *pkb.Client
	patients []*pkbtest.Patient
	linked   int
	// seen are errors that were printed.
	seen map[string]bool
	// canaries is a text with everything that somebody could say of the patient.
	canaries string
}

// Run goes through the flow. An error means that the flow itself did not go as
// it was meant to, and that nothing is shown by what it printed.
func (f Flow) Run(ctx context.Context) (*Printed, error) {
	h := &host{flow: f, Printed: &Printed{Secrets: &Search{}, Names: &Search{}}, store: f.Store, seen: make(map[string]bool)}
	if h.store == nil {
		h.store = tokenstore.NewMemory()
	}
	if err := h.open(); err != nil {
		return nil, err
	}
	var failed []error
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"values", h.values}, {"exchange", h.exchanges}, {"calls", h.calls}, {"refreshes", h.refreshes}, {"callbacks", h.callbacks},
		{"pages", h.pages}, {"identify", h.identifies}, {"waiting", h.waiting}, {"stores", h.stores}, {"keys", h.keys}, {"others", h.others}, {"systems", h.systems}, {"inputs", h.inputs},
	} {
		if err := step.do(ctx); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", step.name, err))
		}
	}
	if err := h.client.Close(ctx); err != nil {
		failed = append(failed, err)
	}
	// The fake's own log shows addresses; that of a Patient is its public id.
	requests := slices.DeleteFunc(h.server.Requests(), func(q pkbtest.Request) bool { return strings.Contains(q.Path, "/fhir/Patient/") })
	h.Add("values", PrintFmt(h.server)+PrintFmt(requests))
	return h.Printed, errors.Join(failed...)
}

// open starts the server, plants what is known already, and makes the client.
func (h *host) open() error {
	h.server = pkbtest.New(pkbtest.Config{ClientID: clientID, ClientSecret: clientSecret, SystemClientSecret: systemSecret, RedirectURIs: []string{redirectURL}})
	h.Secrets.Plant("client secret", clientSecret)
	for i := range 3 {
		p := h.server.AddPatient(pkbtest.Patient{
			UserID: fmt.Sprintf("7310001234567%02d", i), FirstName: fmt.Sprintf("Canarina%02d", i), LastName: fmt.Sprintf("Finkö\"wski%02d", i),
			DateOfBirth: fmt.Sprintf("19%02d-03-17", 41+i), Email: fmt.Sprintf("canarina%02d@birds.example", i),
			Self: map[string]any{
				"address1": fmt.Sprintf("%d1 Aviary Close", i+1), "postalCode": fmt.Sprintf("ZZ%d 9QX", i+1), "phone": fmt.Sprintf("+4470090001%02d", i),
				"orgLevelIds": []any{map[string]any{"value": fmt.Sprintf("MRN-5550%02d", i)}},
			},
		})
		h.patients = append(h.patients, p)
		for name, value := range map[string]string{
			"user id": p.UserID, "NHS number": p.NHSNumber, "first name": p.FirstName, "last name": p.LastName, "date of birth": p.DateOfBirth, "e-mail": p.Email,
			"address": p.Self["address1"].(string), "post code": p.Self["postalCode"].(string), "phone": p.Self["phone"].(string), "local id": fmt.Sprintf("MRN-5550%02d", i),
		} {
			if !h.Secrets.Plant(name, value) {
				return fmt.Errorf("the %s is too short to search for", name)
			}
		}
		h.Names.Plant("public id", p.PublicID)
	}
	first := h.patients[0]
	h.canaries = fmt.Sprintf("%s %s, born %s, NHS number %s, %s, of %s, token %s", first.FirstName, first.LastName, first.DateOfBirth,
		first.NHSNumber, first.Email, first.Self["address1"], clientSecret)
	for i := range 1000 {
		h.Names.Plant("app_user_id", userID(i))
	}

	key, err := keys.Generate("key-1")
	if err != nil {
		return err
	}
	ring, err := keys.Parse(key)
	if err != nil {
		return err
	}
	h.Secrets.Plant("key", strings.TrimPrefix(key, "key-1:"))
	h.faulty = &faultyStore{Store: h.store, says: func() string { return h.canaries }}
	h.config = pkb.Config{
		Environment: pkb.BaseURL(h.server.URL()), ClientID: clientID, ClientSecret: pkb.NewSecret(clientSecret), RedirectURL: redirectURL, PKCE: true,
		Store: h.faulty, Keys: ring, HTTPClient: &http.Client{Transport: tap{h}}, Now: h.server.Now, InsecureDebugResponses: true,
		SessionLife: 20 * time.Hour, Retries: -1,
		Logger: slog.New(&both{printed: h.Printed, where: "log"}),
		OnEvent: func(e observe.Event) {
			h.Add("events", Print(e))
			if e.Err != nil && !h.knows(e.Err) {
				h.Add("events", PrintAll(e)+PrintChain(e.Err))
			}
		},
	}
	if h.flow.Configure != nil {
		h.flow.Configure(&h.config)
	}
	h.client, err = pkb.New(h.config)
	return err
}

func userID(i int) string { return fmt.Sprintf("canarina.%03d@app.example", i) }

// failed prints an error, what is in it, and its excerpt.
func (h *host) failed(err error) {
	if err == nil || h.knows(err) {
		return
	}
	h.Add("errors", PrintError(err)+PrintAll(advice.For(err)))
	h.Add("hidden errors", PrintHidden(err))
}

// knows reports whether an error like this was printed before.
func (h *host) knows(err error) bool {
	var b strings.Builder
	for behind := err; behind != nil; behind = errors.Unwrap(behind) {
		fmt.Fprintf(&b, "%T %s", behind, PrintFmt(behind))
	}
	if e, ok := errors.AsType[*pkb.APIError](err); ok {
		h.Add("excerpts", e.Excerpt())
		fmt.Fprint(&b, !e.Outcome.IsZero())
	}
	if e, ok := errors.AsType[*pkb.TryLaterError](err); ok {
		h.Add("excerpts", e.Excerpt())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.seen[b.String()]
	h.seen[b.String()] = true
	return known
}

// value prints a value and everything in it.
func (h *host) value(v any) {
	h.Add("values", PrintAll(v))
	h.Add("hidden values", PrintHidden(v))
}

// approve lets a patient approve for a new user, and plants what comes of it.
func (h *host) approve(ctx context.Context, c *pkb.Client, user string, p *pkbtest.Patient, opts ...pkb.AuthorizeOption) (pkb.Pending, url.Values, error) {
	address, pending, err := c.Authorize(ctx, user, opts...)
	if err != nil {
		return pkb.Pending{}, nil, err
	}
	h.Secrets.Plant("state", pending.State().Reveal())
	h.Secrets.Plant("pending", pending.Encode())
	back, err := h.server.Approve(ctx, address, p)
	if err != nil {
		return pkb.Pending{}, nil, err
	}
	h.Secrets.Plant("code", back.Query().Get("code"))
	return pending, back.Query(), nil
}

// link links a new user to the first patient, whose last user it unlinks.
func (h *host) link(ctx context.Context) (user string, err error) {
	if err := h.client.Unlink(ctx, userID(h.linked)); err != nil && !errors.Is(err, pkb.ErrNotLinked) {
		return "", err
	}
	h.linked++
	user = userID(h.linked)
	pending, query, err := h.approve(ctx, h.client, user, h.patients[0])
	if err != nil {
		return "", err
	}
	_, err = h.client.Complete(ctx, user, pending, query)
	return user, err
}

// values prints what a host gets when all goes well.
func (h *host) values(ctx context.Context) error {
	user, err := h.link(ctx)
	if err != nil {
		return err
	}
	patient := h.client.ForUser(user)
	self, err := patient.Self(ctx)
	if err != nil {
		return err
	}
	nhs, ok := self.NHSNumber()
	if !ok || nhs.Reveal() != h.patients[0].NHSNumber {
		return errors.New("not the patient's NHS number")
	}
	id, err := patient.PublicID(ctx)
	if err != nil {
		return err
	}
	if _, err := patient.Purview(ctx); err != nil {
		return err
	}
	answer, err := patient.Get(ctx, "/json/users/self", nil)
	if err != nil {
		return err
	}
	number, err := identity.ParseNHSNumber(nhs.Reveal())
	if err != nil {
		return err
	}
	d := self.Reveal()
	known := identity.NewKnown(identity.Person{NHSNumber: number, DateOfBirth: d.DateOfBirth, FirstName: d.FirstName, LastName: d.LastName})
	token, err := h.client.Token(ctx, user)
	if err != nil {
		return err
	}
	link, err := h.client.Link(ctx, user)
	if err != nil {
		return err
	}
	past, err := h.client.Timeline(ctx, user)
	if err != nil {
		return err
	}
	_, pending, err := h.client.Authorize(ctx, user)
	if err != nil {
		return err
	}
	h.Secrets.Plant("state", pending.State().Reveal())
	headers, err := h.get(ctx, user)
	if err != nil {
		return err
	}
	for _, v := range []any{
		h.client, patient, self, nhs, answer, number, known, self.Compare(known),
		token, link, past, pending, pending.State(), h.client.Stats(), h.config, h.config.Keys, h.config.Environment, h.client.HTTPClient(user),
		h.client.HTTPClient(user).Transport, h.client.TokenSource(user), h.client.Web(pkb.WebConfig{User: func(*http.Request) string { return user }}),
		pkb.Candidate{AppUserID: user, PublicID: id, Linked: id, Self: self},
		observe.Event{Kind: observe.EventLinked, AppUserID: user, Err: errors.New("an error")}, &pkb.SharedRecordError{AppUserIDs: []string{user}},
		headers,
	} {
		h.value(v)
	}
	for l, err := range h.client.Links(ctx) {
		if err != nil {
			return err
		}
		h.value(l)
	}
	if err := h.record(ctx, patient); err != nil {
		return err
	}
	row, err := h.store.Load(ctx, user)
	if err != nil {
		return err
	}
	h.Add("values", PrintFmt(row)+PrintFmt(&row)+PrintFmt([]any{row})+PrintFmt(row.Sealed)+PrintFmt(h.store))
	h.Add("hidden values", PrintHidden(row)+PrintHidden(h.store)+PrintHidden(h.config))
	logged := &both{printed: h.Printed, where: "values"}
	slog.New(logged).Info("m", "record", row, "sealed", row.Sealed)
	return nil
}

// record prints what a host gets of a patient's FHIR resources.
func (h *host) record(ctx context.Context, patient *pkb.Patient) error {
	finding := fmt.Sprintf(`{"resourceType":"Observation","id":"finding","status":"unknown","category":[{"coding":[{"system":%q,"code":"LABORATORY"}]}],`+
		`"code":{"text":%q},"subject":{"reference":"Patient/%s","display":%[2]q},"valueString":%[2]q,"comment":%[2]q}`,
		fhir.ObservationCategorySystem, h.canaries, h.patients[0].PublicID)
	if err := h.server.AddResource(h.patients[0], []byte(finding)); err != nil {
		return err
	}
	found := 0
	for observation, err := range patient.Record().Observations(ctx, record.Laboratory) {
		if err != nil {
			return err
		}
		found++
		h.value(observation)
	}
	for resource, err := range patient.Record().Search(ctx, "Observation", url.Values{"category": {fhir.ObservationCategorySystem + "|LABORATORY"}}) {
		if err != nil {
			return err
		}
		found++
		h.value(resource)
	}
	if found != 2 {
		return fmt.Errorf("%d resources were read, want one twice", found)
	}
	demographics, err := patient.Record().Demographics(ctx)
	if err != nil {
		return err
	}
	h.value(demographics)
	return nil
}

// get calls users/self through the client for one user, and returns the header
// of the response's request.
func (h *host) get(ctx context.Context, user string) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.server.URL()+"/json/users/self", nil)
	if err != nil {
		return nil, err
	}
	resp, err := h.client.HTTPClient(user).Do(req)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.Request.Header, errors.Join(err, resp.Body.Close())
}

// faults are responses that name the patient, in every shape, and missing ones.
func (h *host) faults() (faults []pkbtest.Fault) {
	quoted, _ := json.Marshal(h.canaries) // a string always marshals
	said := string(quoted)
	bodies := map[string]string{
		"text/html":             "<html><title>" + h.canaries + "</title><body>" + h.canaries + "</body></html>",
		"application/json":      `{"error":"invalid_grant","error_description":` + said + `,"error_uri":` + said + `,"access_token":` + said + `}`,
		"application/fhir+json": `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"login","diagnostics":` + said + `,"details":{"text":` + said + `,"coding":[{"code":"NO_CONSENT","display":` + said + `}]}}]}`,
		"text/plain":            h.canaries,
		"application/x-broken":  `{"error":` + said + `, "` + h.canaries,
		"application/x-odd":     `{"error":` + said + `,"resourceType":` + said + `,` + said + `:{"a":[` + said + `]}}`,
		"application/x-session": `API_SESSION_EXPIRED ` + h.canaries,
		"application/x-app":     `{"error":"invalid_client","error_description":` + said + `}`,
	}
	for _, status := range []int{200, 302, 400, 401, 403, 404, 405, 418, 429, 500, 503} {
		for _, kind := range slices.Sorted(maps.Keys(bodies)) {
			faults = append(faults, pkbtest.Respond(status, kind, bodies[kind]))
		}
	}
	header := func(status int, name, value string) pkbtest.Fault {
		return func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set(name, value)
				w.WriteHeader(status)
			})
		}
	}
	plain := url.QueryEscape(h.canaries)
	return append(faults,
		header(302, "Location", "https://elsewhere.example/"+plain+"?q="+plain), header(307, "Location", "http://%zz/"+plain), header(302, "Location", "%zz"+plain),
		header(401, "WWW-Authenticate", "Bearer error="+plain), header(503, "Retry-After", plain), header(200, "Content-Type", plain), header(500, "Set-Cookie", "a="+plain),
		header(403, "X-Request-Id", plain),
		pkbtest.Drop(), pkbtest.DropAfter(), pkbtest.RespondAfter(500, "text/html", bodies["text/html"]), pkbtest.RespondAfter(200, "text/html", bodies["text/html"]),
		pkbtest.Rewrite(func(_ http.Header, body []byte) []byte { return append(body, bodies["text/plain"]...) }),
		pkbtest.Rewrite(func(h http.Header, body []byte) []byte { h.Set("Content-Length", "9999"); return body }),
		pkbtest.Rewrite(func(h http.Header, body []byte) []byte { h.Set("Content-Encoding", "gzip"); return body }),
		pkbtest.Rewrite(func(_ http.Header, body []byte) []byte { return bytes.ReplaceAll(body, []byte(`"Bearer"`), quoted) }),
		pkbtest.Refuse("ACCESS_FROZEN_OUTWARD"), pkbtest.Refuse("USER_TYPE_NOT_PERM"), pkbtest.Refuse("BAD_AUTHENTICATION"), pkbtest.Refuse("API_SESSION_INVALID"),
	)
}

// exchanges meets each fault when a code is exchanged, and when Purview is asked
// whose it is.
func (h *host) exchanges(ctx context.Context) error {
	met := 0
	for _, endpoint := range []pkbtest.Endpoint{pkbtest.Token, pkbtest.Purview} {
		for _, fault := range h.faults() {
			h.server.Advance(2 * time.Minute) // past what keeps requests away
			h.server.Next(endpoint, fault)
			_, err := h.link(ctx)
			h.failed(err)
			if err != nil {
				met++
			}
			h.server.ClearFaults()
		}
	}
	if met < 50 {
		return fmt.Errorf("only %d faults were met", met)
	}
	return nil
}

// calls meets each fault in a call for a patient.
func (h *host) calls(ctx context.Context) error {
	met := 0
	for _, fault := range h.faults() {
		user, err := h.link(ctx)
		if err != nil {
			return err
		}
		patient := h.client.ForUser(user)
		h.server.Next(pkbtest.Self, fault, fault)
		_, err = patient.Self(ctx)
		h.failed(err)
		if err != nil {
			met++
		}
		h.server.ClearFaults()
		h.server.Next(pkbtest.Purview, fault, fault)
		_, err = patient.Purview(ctx)
		h.failed(err)
		h.server.ClearFaults()
		h.server.Next(pkbtest.Facade, fault, fault)
		for _, err := range patient.Record().Observations(ctx, record.Laboratory) {
			h.failed(err)
		}
		h.server.ClearFaults()
		h.server.Next(pkbtest.Self, fault, fault)
		_, err = patient.Get(ctx, "/json/users/self", url.Values{"of": {h.canaries}})
		h.failed(err)
		_, err = patient.Get(ctx, "/json/"+h.canaries, nil)
		h.failed(err)
		h.server.ClearFaults()
		h.server.Next(pkbtest.Self, fault, fault)
		headers, err := h.get(ctx, user)
		if err == nil {
			h.Add("values", PrintFmt(headers))
		} else if found, ok := errors.AsType[*url.Error](err); !ok || found.Err == nil || strings.Contains(found.Err.Error(), "pkb: ") {
			h.failed(err) // what net/http itself says of a server's header is the host's to print
		}
		h.server.ClearFaults()
	}
	if met < 80 {
		return fmt.Errorf("only %d faults were met", met)
	}
	return nil
}

// refreshes meets each fault in a refresh.
func (h *host) refreshes(ctx context.Context) error {
	met := 0
	for _, fault := range h.faults() {
		user, err := h.link(ctx)
		if err != nil {
			return err
		}
		h.server.Advance(11 * time.Minute)
		h.server.Next(pkbtest.Token, fault, fault)
		_, err = h.client.Token(ctx, user)
		h.failed(err)
		if err != nil {
			met++
		}
		_, err = h.client.TokenSource(user).Token()
		h.failed(err)
		h.server.ClearFaults()
		if link, err := h.client.Link(ctx, user); err == nil {
			h.value(link)
		}
		h.server.Advance(2 * time.Minute)
	}
	if met < 80 {
		return fmt.Errorf("only %d faults were met", met)
	}
	return nil
}

// badQueries are callbacks that PKB does not send.
func (h *host) badQueries(good url.Values) (bad []url.Values) {
	changed := func(change func(url.Values)) {
		q := url.Values{}
		for name, values := range good {
			q[name] = slices.Clone(values)
		}
		change(q)
		bad = append(bad, q)
	}
	changed(func(q url.Values) { q.Set("state", h.canaries) })
	changed(func(q url.Values) { q.Add("state", h.canaries) })
	changed(func(q url.Values) { q.Add("code", h.canaries) })
	changed(func(q url.Values) { q.Set("code", strings.Repeat(h.canaries, 100)) })
	changed(func(q url.Values) { q.Set("error", h.canaries) })
	changed(func(q url.Values) { q.Del("code"); q.Set("error", h.canaries); q.Set("error_description", h.canaries) })
	changed(func(q url.Values) {
		q.Del("code")
		q.Set("error", "access_denied")
		q.Set("error_description", h.canaries)
	})
	changed(func(q url.Values) { q.Del("code") })
	changed(func(q url.Values) { q.Set("code", h.canaries) })
	return bad
}

// callbacks meets callbacks that do not fit.
func (h *host) callbacks(ctx context.Context) error {
	for i := range h.badQueries(nil) {
		h.server.Advance(2 * time.Minute)
		user := userID(900 + i)
		pending, query, err := h.approve(ctx, h.client, user, h.patients[1])
		if err != nil {
			return err
		}
		_, err = h.client.Complete(ctx, user, pending, h.badQueries(query)[i])
		if err == nil {
			return errors.New("a bad callback made a link")
		}
		h.failed(err)
		_, err = h.client.Complete(ctx, userID(999), pending, query)
		h.failed(err)
	}
	return nil
}

// pages takes a browser through the two routes, and prints what it is shown.
func (h *host) pages(ctx context.Context) error {
	user := userID(920)
	web := h.client.Web(pkb.WebConfig{User: func(*http.Request) string { return user }, Done: "/account"})
	var shown pkb.Failure
	own := h.client.Web(pkb.WebConfig{
		User: func(*http.Request) string { return user }, Done: "/account",
		Failed: func(_ http.ResponseWriter, _ *http.Request, f pkb.Failure) { shown = f },
	})
	for i := range len(h.badQueries(nil)) + 1 {
		for _, routes := range []*pkb.Web{web, own} {
			begun := httptest.NewRecorder()
			routes.Link().ServeHTTP(begun, httptest.NewRequestWithContext(ctx, http.MethodGet, "https://app.example/pkb/link", nil))
			address := begun.Header().Get("Location") // to PKB, with the state: that is what it is for
			if address == "" {
				return fmt.Errorf("the link route returned %d", begun.Code)
			}
			started, err := url.Parse(address)
			if err != nil {
				return err
			}
			h.Secrets.Plant("state", started.Query().Get("state"))
			begun.Header().Del("Location")
			h.Add("pages", fmt.Sprintln(begun.Code, begun.Header(), strings.ReplaceAll(begun.Body.String(), strings.ReplaceAll(address, "&", "&amp;"), "")))
			back, err := h.server.Approve(ctx, address, h.patients[1])
			if err != nil {
				return err
			}
			h.Secrets.Plant("code", back.Query().Get("code"))
			query := back.Query()
			if i > 0 {
				query = h.badQueries(query)[i-1]
			}
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://app.example/pkb/callback?"+query.Encode(), nil)
			for _, cookie := range begun.Result().Cookies() {
				r.AddCookie(cookie)
			}
			w := httptest.NewRecorder()
			routes.Callback().ServeHTTP(w, r)
			h.Add("pages", fmt.Sprintln(w.Code, w.Header(), w.Body))
			if shown.Err != nil {
				h.failed(shown.Err)
				h.value(shown)
			}
			if err := h.client.Unlink(ctx, user); err != nil && !errors.Is(err, pkb.ErrNotLinked) {
				return err
			}
			h.server.Advance(time.Minute)
		}
	}
	return nil
}

// identifies lets a host's hook speak of the patient.
func (h *host) identifies(ctx context.Context) error {
	for i, said := range []error{errors.New(h.canaries), fmt.Errorf("%s: %w", h.canaries, pkb.ErrIdentityRefused), errPanics} {
		config := h.config
		config.Identify = func(_ context.Context, c pkb.Candidate) error {
			h.value(c)
			if said == errPanics { //nolint:errorlint // it is this very one
				regexp.MustCompile("(" + h.canaries) // panics, and says what with
			}
			return said
		}
		client, err := pkb.New(config)
		if err != nil {
			return err
		}
		user := userID(930 + i)
		pending, query, err := h.approve(ctx, client, user, h.patients[1])
		if err != nil {
			return err
		}
		_, err = client.Complete(ctx, user, pending, query)
		h.failed(err)
		_, err = client.Token(ctx, user)
		if err == nil {
			return errors.New("a patient whom the hook did not accept is linked")
		}
		h.failed(err)
		if err := client.Close(ctx); err != nil {
			return err
		}
	}
	return nil
}

// errPanics stands for a hook that panics.
var errPanics = errors.New("it panics")

// waiting meets authorizations that cannot be checked yet, and responses that
// cannot be read.
func (h *host) waiting(ctx context.Context) error {
	user, err := h.link(ctx)
	if err != nil {
		return err
	}
	for _, fault := range h.faults() {
		pending, query, err := h.approve(ctx, h.client, user, h.patients[1], pkb.AllowSwitch(), pkb.AllowShared())
		if err != nil {
			return err
		}
		h.server.Advance(2 * time.Minute / 3)
		h.server.Next(pkbtest.Purview, fault)
		link, err := h.client.Complete(ctx, user, pending, query)
		h.failed(err)
		h.value(link)
		h.server.ClearFaults()
	}
	if user, err = h.link(ctx); err != nil {
		return err
	}
	quoted, _ := json.Marshal(h.canaries) // a string always marshals
	h.server.Advance(11 * time.Minute)
	h.server.Next(pkbtest.Token, pkbtest.Respond(200, "application/json", `{"tokens":`+string(quoted)+`}`))
	for range 2 {
		_, err = h.client.Token(ctx, user)
		if err == nil {
			return errors.New("a token was read from a response that cannot be read")
		}
		h.failed(err)
	}
	h.value(h.client.Health(ctx))
	if err := h.client.Discard(ctx, user); err != nil {
		return err
	}
	h.failed(h.client.Discard(ctx, user))
	return nil
}

// stores lets the store's errors speak of rows.
func (h *host) stores(ctx context.Context) error {
	user, err := h.link(ctx)
	if err != nil {
		return err
	}
	pending, query, err := h.approve(ctx, h.client, userID(940), h.patients[1])
	if err != nil {
		return err
	}
	h.server.Advance(11 * time.Minute)
	for _, op := range []string{"load", "save", "list", "count", "find", "delete"} {
		h.faulty.fail(op)
		for _, call := range []func() error{
			func() error { _, err := h.client.Token(ctx, user); return err },
			func() error { _, err := h.client.Link(ctx, user); return err },
			func() error { _, err := h.client.Timeline(ctx, user); return err },
			func() error { _, err := h.client.ForUser(user).Self(ctx); return err },
			func() error { _, err := h.get(ctx, user); return err },
			func() error { return h.client.Unlink(ctx, userID(941)) },
			func() error { _, _, err := h.client.Authorize(ctx, user); return err },
			func() error { _, err := h.client.Complete(ctx, userID(940), pending, query); return err },
			func() error { _, err := h.client.Purge(ctx); return err },
			func() error { return h.client.RetireKey(ctx, "key-0") },
			func() error {
				for _, err := range h.client.Reseal(ctx) {
					if err != nil {
						return err
					}
				}
				return nil
			},
		} {
			h.failed(call())
		}
		h.faulty.fail("")
	}
	// New tokens that the store does not take.
	user, err = h.link(ctx)
	if err != nil {
		return err
	}
	h.server.Advance(11 * time.Minute)
	h.faulty.failSavesAfter(1)
	_, err = h.client.Token(ctx, user)
	if err == nil {
		return errors.New("tokens that were not saved are used")
	}
	h.failed(err)
	h.faulty.fail("")
	return nil
}

// keys lets what holds the key speak.
func (h *host) keys(ctx context.Context) error {
	user, err := h.link(ctx)
	if err != nil {
		return err
	}
	for _, id := range []string{"key-1", "key-2"} {
		config := h.config
		config.Keys = &keys.Keyring{}
		if err := config.Keys.AddAEAD(id, speakingKey{func() string { return h.canaries }}); err != nil {
			return err
		}
		client, err := pkb.New(config)
		if err != nil {
			return err
		}
		_, err = client.Token(ctx, user)
		if err == nil {
			return errors.New("tokens were opened without their key")
		}
		h.failed(err)
		_, err = client.Link(ctx, user)
		h.failed(err)
		h.value(config.Keys)
		if err := client.Close(ctx); err != nil {
			return err
		}
	}
	return nil
}

// others lets two users meet one patient, and one user two.
func (h *host) others(ctx context.Context) error {
	user, err := h.link(ctx)
	if err != nil {
		return err
	}
	for _, tc := range []struct {
		user    string
		patient *pkbtest.Patient
		want    error
	}{{userID(950), h.patients[0], pkb.ErrSharedRecord}, {user, h.patients[2], pkb.ErrWrongPatient}} {
		pending, query, err := h.approve(ctx, h.client, tc.user, tc.patient)
		if err != nil {
			return err
		}
		_, err = h.client.Complete(ctx, tc.user, pending, query)
		if !errors.Is(err, tc.want) {
			return fmt.Errorf("%w, and not %w", err, tc.want)
		}
		h.failed(err)
	}
	h.server.InvalidateSessions(nil)
	_, err = h.client.ForUser(user).Self(ctx)
	h.failed(err)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = h.client.Token(cancelled, user)
	h.failed(err)
	return nil
}

// inputs hands what is planted to everything that reads a text.
func (h *host) inputs(context.Context) error {
	first := h.patients[0]
	parsers := []func(string) error{
		func(s string) error { _, err := pkb.ParsePending("p1." + s); return err },
		func(s string) error { _, err := identity.ParsePublicID(s); return err },
		func(s string) error { _, err := identity.ParseNHSNumber("x" + s); return err },
		func(s string) error { _, err := identity.ParseDate(s); return err },
		func(s string) error { _, err := keys.Parse("key-9:" + s); return err },
		func(s string) error { _, err := keys.Parse(s); return err },
		func(s string) error { return (&keys.Keyring{}).AddKey("key-9", []byte(s)) },
		func(s string) error {
			_, err := pkb.New(pkb.Config{
				Environment: pkb.Environment{Name: "n", TokenURL: "https://u:" + url.QueryEscape(s) + "@pkb.example", AuthorizeURL: s, RESTURL: "http://pkb.example/?" + url.QueryEscape(s), FHIRURL: "https://pkb.example/#" + url.QueryEscape(s)},
				ClientID:    "a " + s, ClientSecret: pkb.NewSecret(s), RedirectURL: "http://elsewhere.example/" + url.QueryEscape(s),
			})
			return err
		},
	}
	for _, text := range []string{h.canaries, clientSecret, first.NHSNumber, first.UserID, first.Email, first.FirstName} {
		for _, parse := range parsers {
			err := parse(text)
			if err == nil {
				return errors.New("something took a text that it must refuse")
			}
			h.failed(err)
		}
		for _, v := range []any{pkb.NewSecret(text), identity.NewKnown(identity.Person{FirstName: text}), pkb.AccessToken{Value: pkb.NewSecret(text)}} {
			h.value(v)
		}
	}
	return nil
}

// tap is the way to the server, and plants what passes by.
type tap struct{ h *host }

// Format implements fmt.Formatter: it is the host's, and not what is looked at.
func (tap) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "canary.tap") }

// RoundTrip implements http.RoundTripper.
func (t tap) RoundTrip(req *http.Request) (*http.Response, error) {
	t.h.Secrets.Plant("bearer", strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
	if strings.HasSuffix(req.URL.Path, "/apiToken.action") {
		form, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		sent, err := url.ParseQuery(string(form))
		if err != nil {
			return nil, err
		}
		for _, name := range []string{"code", "refresh_token", "code_verifier", "client_secret"} {
			t.h.Secrets.Plant(name, sent.Get(name))
		}
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(form))
	}
	resp, err := t.h.server.Transport().RoundTrip(req)
	if err != nil || !strings.HasSuffix(req.URL.Path, "/apiToken.action") {
		return resp, err
	}
	answer, readErr := io.ReadAll(resp.Body)
	var pair struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if json.Unmarshal(answer, &pair) == nil {
		t.h.Secrets.Plant("access token", pair.Access)
		t.h.Secrets.Plant("refresh token", pair.Refresh)
	}
	resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(answer), failing{readErr}))
	return resp, nil
}

// failing ends as a body ended.
type failing struct{ err error }

// Read implements io.Reader.
func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

// both logs as text and as JSON, with what is behind each error.
type both struct {
	printed *Printed
	where   string
	attrs   []slog.Attr
}

// Enabled implements slog.Handler.
func (*both) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (b *both) Handle(ctx context.Context, r slog.Record) error {
	var out bytes.Buffer
	options := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, options), slog.NewJSONHandler(&out, options)} {
		if err := h.WithAttrs(b.attrs).WithGroup("g").Handle(ctx, r); err != nil {
			return err
		}
	}
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			out.WriteString(PrintChain(err))
		}
		return true
	})
	b.printed.Add(b.where, out.String())
	return nil
}

// WithAttrs implements slog.Handler.
func (b *both) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &both{b.printed, b.where, append(slices.Clone(b.attrs), attrs...)}
}

// WithGroup implements slog.Handler; the library opens none.
func (b *both) WithGroup(string) slog.Handler { return b }

// faultyStore is a store whose errors say what they should not.
type faultyStore struct {
	tokenstore.Store
	says func() string

	mu     sync.Mutex
	op     string
	passes int // saves that pass before op "saves" begins
}

func (s *faultyStore) fail(op string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.op = op
}

func (s *faultyStore) failSavesAfter(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.op, s.passes = "saves", n
}

func (s *faultyStore) meet(op, user string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.op == "saves" && op == "save" {
		if s.passes--; s.passes >= 0 {
			return nil
		}
	} else if s.op != op {
		return nil
	}
	return rowError{fmt.Sprintf("duplicate key (app_user_id)=(%s), row (%s)", user, s.says())}
}

// rowError is a driver's error, as careless as some are.
type rowError struct{ Detail string }

func (e rowError) Error() string { return e.Detail }

func (s *faultyStore) Load(ctx context.Context, user string) (tokenstore.Record, error) {
	if err := s.meet("load", user); err != nil {
		return tokenstore.Record{}, err
	}
	return s.Store.Load(ctx, user)
}

func (s *faultyStore) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	if err := s.meet("save", r.AppUserID); err != nil {
		return tokenstore.Record{}, err
	}
	return s.Store.Save(ctx, r)
}

func (s *faultyStore) Delete(ctx context.Context, user string, version uint64) error {
	if err := s.meet("delete", user); err != nil {
		return err
	}
	return s.Store.Delete(ctx, user, version)
}

// List implements tokenstore.Lister.
func (s *faultyStore) List(ctx context.Context, after string, limit int) ([]tokenstore.Record, error) {
	if err := s.meet("list", after); err != nil {
		return nil, err
	}
	return s.Store.(tokenstore.Lister).List(ctx, after, limit)
}

// Count implements tokenstore.Counter.
func (s *faultyStore) Count(ctx context.Context) (int, error) {
	if err := s.meet("count", ""); err != nil {
		return 0, err
	}
	return s.Store.(tokenstore.Counter).Count(ctx)
}

// FindPublicID implements tokenstore.Finder.
func (s *faultyStore) FindPublicID(ctx context.Context, id string, limit int) ([]tokenstore.Record, error) {
	if err := s.meet("find", id); err != nil {
		return nil, err
	}
	return s.Store.(tokenstore.Finder).FindPublicID(ctx, id, limit)
}

// String implements fmt.Stringer: it is the host's, and not what is looked at.
func (s *faultyStore) String() string { return "canary.faultyStore" }

// Format implements fmt.Formatter.
func (s *faultyStore) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// speakingKey is a key management service that says too much.
type speakingKey struct{ says func() string }

// Encrypt implements keys.AEAD.
func (k speakingKey) Encrypt(_, _ []byte) ([]byte, error) { return nil, rowError{k.says()} }

// Decrypt implements keys.AEAD.
func (k speakingKey) Decrypt(_, _ []byte) ([]byte, error) { return nil, rowError{k.says()} }
