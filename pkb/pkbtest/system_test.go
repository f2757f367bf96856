// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

const (
	systemToken    = "https://oauth2.pkb.example/api/oauth/token"
	statusQuery    = "/fhir/Patient/$status-query"
	processMessage = "/phr-fhir/Patient/$process-message"
	nhsSystem      = "https://fhir.nhs.uk/Id/nhs-number"
)

// partner is a partner's backend by hand.
type partner struct {
	*pkbtest.Server
	token        string
	organisation *pkbtest.Organisation
	patient      *pkbtest.Patient
}

func newPartner(t *testing.T, o pkbtest.Organisation) *partner {
	t.Helper()
	p := &partner{Server: pkbtest.New(pkbtest.Config{})}
	p.patient = p.AddPatient(pkbtest.Patient{})
	p.organisation = p.AddOrganisation(o)
	status, body := p.fetch(t, "test-system-client", "test-system-secret", "grant_type=client_credentials")
	var got struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
		Refresh     string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 || got.TokenType != "bearer" || got.ExpiresIn != 600 || got.AccessToken == "" || got.Refresh != "" {
		t.Fatalf("%d: %s", status, body)
	}
	p.token = got.AccessToken
	return p
}

func (p *partner) do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	resp, err := (&http.Client{Transport: p.Transport()}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (p *partner) fetch(t *testing.T, id, secret, form string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, systemToken, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		req.SetBasicAuth(id, secret)
	}
	return p.do(t, req)
}

// call calls with the token and the organisation, and other headers in their place.
func (p *partner) call(t *testing.T, method, path, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	req.Header.Set("X-Org-Public-Id", p.organisation.PublicID)
	req.Header.Set("Content-Type", "application/fhir+json")
	for i := 0; i < len(header); i += 2 {
		if req.Header.Del(header[i]); header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	return p.do(t, req)
}

func searchOf(number string) string {
	return "/fhir/Patient?identifier=" + nhsSystem + "%7C" + number
}

func TestSystemTokens(t *testing.T) {
	p := newPartner(t, pkbtest.Organisation{})
	const ok = "grant_type=client_credentials"
	for name, tc := range map[string]struct {
		id, secret, form string
		want             int
	}{
		"right":            {"test-system-client", "test-system-secret", ok, 200},
		"its scope":        {"test-system-client", "test-system-secret", ok + "&scope=system", 200},
		"no credentials":   {"", "", ok, 401},
		"another secret":   {"test-system-client", "x", ok, 401},
		"another client":   {"x", "test-system-secret", ok, 401},
		"a code":           {"test-system-client", "test-system-secret", "grant_type=authorization_code&code=x", 400},
		"another scope":    {"test-system-client", "test-system-secret", ok + "&scope=PATIENT", 400},
		"the grant, twice": {"test-system-client", "test-system-secret", ok + "&" + ok, 400},
	} {
		if status, body := p.fetch(t, tc.id, tc.secret, tc.form); status != tc.want {
			t.Errorf("%s: %d: %s", name, status, body)
		}
	}
	_, body := p.fetch(t, "", "", ok)
	if want := `{"error":"unauthorized" "error_description":"Full authentication is required to access this resource"}`; body != want {
		t.Errorf("401 has %s", body)
	}
}

// Who may call, and for whom: each organisation grants for itself, and a patient's token
// and a system client's do not mix.
func TestWhoMayCallForAnOrganisation(t *testing.T) {
	p := newPartner(t, pkbtest.Organisation{})
	silent := p.AddOrganisation(pkbtest.Organisation{GrantsNothing: true})
	if silent.PublicID == p.organisation.PublicID {
		t.Fatal("two organisations have one id")
	}
	patientsToken := tokenOf(t, p)
	search := searchOf(p.patient.NHSNumber)
	for name, tc := range map[string]struct {
		path   string
		header []string
		want   int
	}{
		"granted":                              {search, nil, 200},
		"granted nothing":                      {search, []string{"X-Org-Public-Id", silent.PublicID}, 403},
		"no such organisation":                 {search, []string{"X-Org-Public-Id", "0c71b08b-38f8-4973-aaff-e4103151cd42"}, 403},
		"no organisation":                      {search, []string{"X-Org-Public-Id", ""}, 400},
		"no token":                             {search, []string{"Authorization", ""}, 401},
		"another token":                        {search, []string{"Authorization", "Bearer x"}, 401},
		"another scheme":                       {search, []string{"Authorization", "Basic " + p.token}, 401},
		"a patient's token":                    {search, []string{"Authorization", "Bearer " + patientsToken, "X-Org-Public-Id", ""}, 200},
		"a patient's, with an organisation":    {search, []string{"Authorization", "Bearer " + patientsToken}, 403},
		"the patient's record":                 {"/fhir/Consent?patient=Patient/" + p.patient.PublicID, nil, 403},
		"users/self":                           {"/json/users/self", nil, 403},
		"users/self, no organisation":          {"/json/users/self", []string{"X-Org-Public-Id", ""}, 403},
		"purview":                              {"/fhir/Consent/$purview", nil, 403},
		"users/self, of a patient with an org": {"/json/users/self", []string{"Authorization", "Bearer " + patientsToken}, 403},
	} {
		if status, body := p.call(t, http.MethodGet, tc.path, "", tc.header...); status != tc.want {
			t.Errorf("%s: %d, want %d: %s", name, status, tc.want, body)
		}
	}
	if status, _ := p.call(t, http.MethodPost, statusQuery, `{"resourceType":"Parameters"}`, "Authorization", "Bearer "+patientsToken, "X-Org-Public-Id", ""); status != 403 {
		t.Errorf("$status-query with a patient's token: %d", status)
	}
	if status, _ := p.call(t, http.MethodPost, processMessage, `{}`, "Authorization", "Bearer "+patientsToken, "X-Org-Public-Id", ""); status != 403 {
		t.Errorf("$process-message with a patient's token: %d", status)
	}
	p.Advance(11 * time.Minute)
	if status, body := p.call(t, http.MethodGet, search, ""); status != 401 || !strings.Contains(body, "ACC_TOKEN_EXPIRED") {
		t.Errorf("an expired token: %d: %s", status, body)
	}
}

// tokenOf returns a token that the patient approved.
func tokenOf(t *testing.T, p *partner) string {
	t.Helper()
	back, err := p.Approve(t.Context(), p.URL()+"/apiAuthorize.action?response_type=code&scope=PATIENT&client_id=test-client&redirect_uri=https%3A%2F%2Fapp.example%2Fcallback", p.patient)
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"grant_type": {"authorization_code"}, "client_id": {"test-client"}, "code": {back.Query().Get("code")}, "redirect_uri": {"https://app.example/callback"}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL()+"/apiToken.action", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, body := p.do(t, req)
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
		t.Fatalf("%d: %s", status, body)
	}
	return got.Token
}

func TestWhatAnOrganisationSees(t *testing.T) {
	p := newPartner(t, pkbtest.Organisation{})
	hidden := p.AddPatient(pkbtest.Patient{})
	p.organisation.NoAccess = []string{hidden.PublicID}
	p.AddOrganisation(*p.organisation)
	for number, want := range map[string]int{p.patient.NHSNumber: 1, hidden.NHSNumber: 0, "9990000018": 0} {
		status, body := p.call(t, http.MethodGet, searchOf(number), "")
		if status != 200 || !strings.Contains(body, fmt.Sprintf(`"total":%d`, want)) {
			t.Errorf("%d: %s", status, body)
		}
	}
	for _, query := range []string{"", "?identifier=x%7C1", "?identifier=" + nhsSystem + "%7C1&name=x", "?patient=x"} {
		if status, _ := p.call(t, http.MethodGet, "/fhir/Patient"+query, ""); status != 400 {
			t.Errorf("%s: %d", query, status)
		}
	}
	of := func(system, value string) string {
		return fmt.Sprintf(`{"name":"patientIdentifier","valueIdentifier":{"system":%q,"value":%q}}`, system, value)
	}
	ask := func(parameters ...string) (int, string) {
		return p.call(t, http.MethodPost, statusQuery, `{"resourceType":"Parameters","parameter":[`+strings.Join(parameters, ",")+`]}`)
	}
	status, body := ask(of(nhsSystem, p.patient.NHSNumber), of(nhsSystem, hidden.NHSNumber), of(nhsSystem, "9990000018"))
	if status != 200 || strings.Count(body, "patientStatus") != 3 || strings.Count(body, "No access") != 1 || strings.Count(body, "Not found") != 1 ||
		!strings.Contains(body, p.patient.DateOfBirth) || strings.Contains(body, hidden.DateOfBirth) {
		t.Errorf("%d: %s", status, body)
	}
	if status, _ := ask(of(nhsSystem, p.patient.NHSNumber), of("http://fhir.nl/fhir/NamingSystem/bsn", "1")); status != 400 {
		t.Errorf("one identifier that is not supported: %d", status)
	}
	if status, _ := ask(); status != 400 {
		t.Errorf("no identifier: %d", status)
	}
}

func TestProcessMessage(t *testing.T) {
	p := newPartner(t, pkbtest.Organisation{TeamAliases: []string{"a", "b"}})
	message := func(change func(map[string]any)) string {
		m := map[string]any{
			"resourceType": "Patient", "birthDate": "1941-03-17", "gender": "other",
			"identifier": []any{map[string]any{"system": nhsSystem, "value": p.patient.NHSNumber}},
			"name":       []any{map[string]any{"family": "New", "given": []any{"Name"}}},
			"telecom":    []any{map[string]any{"system": "email", "value": "new@example.org"}},
			"address":    []any{map[string]any{"line": []any{"1", "2"}, "city": "C"}},
		}
		change(m)
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	team := func(aliases ...string) func(map[string]any) {
		return func(m map[string]any) {
			var all []any
			for _, a := range aliases {
				all = append(all, map[string]any{"url": "http://fhir.patientsknowbest.com/structuredefinition/team-alias", "valueString": a})
			}
			m["extension"] = all
		}
	}
	without := func(name string) func(map[string]any) { return func(m map[string]any) { delete(m, name) } }
	for name, change := range map[string]func(map[string]any){
		"no identifier": without("identifier"), "no name": without("name"), "no date": without("birthDate"), "no gender": without("gender"),
		"a public id": func(m map[string]any) { m["id"] = p.patient.PublicID },
		"middle name": func(m map[string]any) { m["name"] = []any{map[string]any{"family": "F", "given": []any{"A", "B"}}} },
		"no default":  team("b"), "unknown team": team("a", "c"),
	} {
		if status, body := p.call(t, http.MethodPost, processMessage, message(change)); status != 422 {
			t.Errorf("%s: %d: %s", name, status, body)
		}
	}
	if status, _ := p.call(t, http.MethodPost, processMessage, `{"resourceType":"Bundle"}`); status != 400 {
		t.Errorf("a Bundle: %d", status)
	}
	if n := len(p.Members(p.organisation)); n != 0 {
		t.Fatalf("%d members came of refusals", n)
	}

	// A known patient is updated, an unknown one created, and each is there once.
	for range 2 {
		if status, body := p.call(t, http.MethodPost, processMessage, message(team("b", "a"))); status != 200 {
			t.Fatalf("%d: %s", status, body)
		}
		if status, body := p.call(t, http.MethodPost, processMessage, message(func(m map[string]any) {
			m["identifier"] = []any{map[string]any{"system": nhsSystem, "value": "9990000018"}}
			m["telecom"] = []any{map[string]any{"system": "email", "value": "second@example.org"}}
		})); status != 200 {
			t.Fatalf("%d: %s", status, body)
		}
	}
	updated, err := p.FindPatient("new@example.org")
	if err != nil || updated.PublicID != p.patient.PublicID || updated.FirstName != "Name" || updated.Gender != "I" || updated.DateOfBirth != "1941-03-17" || updated.Self["address2"] != "2" {
		t.Errorf("%+v, %v", updated, err)
	}
	created, err := p.FindPatient("second@example.org")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{p.patient.PublicID: {"b", "a"}, created.PublicID: {"a"}}
	if diff := cmp.Diff(want, p.Members(p.organisation)); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	status, body := p.call(t, http.MethodPost, statusQuery, `{"resourceType":"Parameters","parameter":[{"name":"patientIdentifier","valueIdentifier":{"system":"`+nhsSystem+`","value":"9990000018"}}]}`)
	if status != 200 || !strings.Contains(body, `"name":"registered","valueBoolean":false`) {
		t.Errorf("one who was created and has not registered: %d: %s", status, body)
	}
	for _, q := range p.Requests() {
		if strings.Contains(fmt.Sprintf("%+v %v", q.Header, q.Body), p.token) || q.Endpoint == pkbtest.Messaging && q.Body != nil {
			t.Errorf("%v shows what it must not", q)
		}
	}
}
