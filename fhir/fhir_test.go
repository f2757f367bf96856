// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/betawerk/pkb-go/fhir"
)

func TestResourceType(t *testing.T) {
	for body, want := range map[string]string{
		`{"resourceType":"Patient"}`:                 "Patient",
		` {"id":"1","resourceType":"Parameters"} `:   "Parameters",
		"\xef\xbb\xbf" + `{"resourceType":"Bundle"}`: "Bundle",
		`{}`:                    "",
		`{"resourceType":7}`:    "",
		`{"resourceType":null}`: "",
		`{"resourceType":"Patient","resourceType":"Parameters"}`:      "",
		`{"resourcetype":"Patient"}`:                                  "",
		`{"resourceType":"<script>"}`:                                 "",
		`{"resourceType":"` + strings.Repeat("A", 65) + `"}`:          "",
		`{"contained":[{"resourceType":"Patient"}]}`:                  "",
		`{"error":"invalid_token","resourceType":"OperationOutcome"}`: "OperationOutcome",
	} {
		if got, err := fhir.ResourceType([]byte(body)); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", body, got, err, want)
		}
	}
	for _, body := range []string{"", "null", "[]", `"x"`, "<html>", `{"resourceType":"Patient"`, `{"resourceType":"Patient"} {}`, `{"a":}`, `{`} {
		if _, err := fhir.ResourceType([]byte(body)); !errors.Is(err, fhir.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", body, err)
		}
	}
}

// What the samply decoder takes for empty Parameters is refused.
func TestDecodeParameters(t *testing.T) {
	r, err := fhir.Decode[fhir.Parameters]([]byte(`{"resourceType":"Parameters","parameter":[{"name":"n","valueString":"v"}],"odd":1}`))
	if p := r.Reveal(); err != nil || len(p.Parameter) != 1 || *p.Parameter[0].ValueString != "v" {
		t.Errorf("DecodeParameters: %v", err)
	}
	for _, body := range []string{`{"error":"invalid_token"}`, `{"resourceType":"OperationOutcome"}`, `{"resourceType":"Patient"}`} {
		if _, err := fhir.Decode[fhir.Parameters]([]byte(body)); !errors.Is(err, fhir.ErrResourceType) {
			t.Errorf("%s: %v, want ErrResourceType", body, err)
		}
	}
	for _, body := range []string{"null", `{"resourceType":"Parameters","parameter":7`} {
		if _, err := fhir.Decode[fhir.Parameters]([]byte(body)); !errors.Is(err, fhir.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", body, err)
		}
	}
}

func TestParseReference(t *testing.T) {
	const id = "1d4a8b2d-f885-499f-ba51-50600312f316"
	for s, want := range map[string]fhir.Reference{
		"Patient/" + id:                                      {Type: "Patient", ID: id},
		"Patient/" + id + "/_history/3":                      {Type: "Patient", ID: id, Version: "3"},
		"https://pkb.example/fhir/Patient/" + id:             {Base: "https://pkb.example/fhir", Type: "Patient", ID: id},
		"https://pkb.example/Patient/" + id:                  {Base: "https://pkb.example", Type: "Patient", ID: id},
		"http://127.0.0.1:80/fhir/Practitioner/1/_history/2": {Base: "http://127.0.0.1:80/fhir", Type: "Practitioner", ID: "1", Version: "2"},
		"Organization/a.b-C":                                 {Type: "Organization", ID: "a.b-C"},
	} {
		if got, err := fhir.ParseReference(s); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "Patient", "Patient/", "/Patient/1", "fhir/Patient/1", "#1", "urn:uuid:" + id, "Patient/1/2", "Patient/1/_history/", "Patient/1/_history",
		"https://u:p@pkb.example/Patient/1", "https://pkb.example/Patient/1?x=1", "https://pkb.example/Patient/1#x", "https://pkb.example/Patient", "https:///Patient/1",
		"ftp://pkb.example/Patient/1", "Pat1ent/1", "Patient/a b", "Patient/%31", "Patient/" + strings.Repeat("x", 65),
	} {
		if got, err := fhir.ParseReference(s); !errors.Is(err, fhir.ErrReference) {
			t.Errorf("%q: %+v, %v, want ErrReference", s, got, err)
		}
	}
}

func TestPurview(t *testing.T) {
	parameters := func(inner string) string { return `{"resourceType":"Parameters","parameter":[` + inner + `]}` }
	one := func(reference string) string {
		return `{"name":"purview","valueReference":{"reference":"` + reference + `"}}`
	}
	for body, want := range map[string]fhir.Reference{
		parameters(one("Patient/1")):                            {Type: "Patient", ID: "1"},
		parameters(one(" Organization/2 ")):                     {Type: "Organization", ID: "2"},
		parameters(`{"name":"other"},` + one("Practitioner/3")): {Type: "Practitioner", ID: "3"},
		// A code that the models do not know, in a parameter that does not matter.
		parameters(`{"name":"other","valueContactPoint":{"system":"pigeon"}},` + one("Patient/4")): {Type: "Patient", ID: "4"},
		`{"resourceType":"Parameters","parameter":` + one("Patient/5") + `}`:                       {Type: "Patient", ID: "5"},
	} {
		if got, err := fhir.Purview([]byte(body)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
	for body, count := range map[string]int{
		`{"resourceType":"Parameters"}`:                            0,
		parameters(""):                                             0,
		parameters(`{"name":"Purview"}`):                           0,
		parameters(`{"name":"purview"}`):                           1,
		parameters(`{"name":"purview","valueReference":{}}`):       1,
		parameters(`{"name":"purview","valueString":"Patient/1"}`): 1,
		parameters(one("")):                                        1,
		parameters(one("Patient/1") + "," + one("Patient/1")):      2,
		parameters(one("Patient/1") + `,{"name":"purview"}`):       2,
		`{"resourceType":"Parameters","parameter":[` + one("Patient/1") + `],"parameter":[` + one("Patient/2") + `]}`: 2,
	} {
		_, err := fhir.Purview([]byte(body))
		var e *fhir.PurviewError
		if !errors.Is(err, fhir.ErrPurview) || !errors.As(err, &e) || e.Count != count {
			t.Errorf("%s: %v, want PurviewError with count %d", body, err, count)
		}
	}
}

func TestOperationOutcome(t *testing.T) {
	type issue struct {
		Severity, Code    string
		Codings           []fhir.Coding
		Text, Diagnostics string
	}
	outcome := func(issue string) string { return `{"resourceType":"OperationOutcome","issue":` + issue + `}` }
	const system = `"system":"http://fhir.patientsknowbest.com/codesystem/response-code"`
	for name, tc := range map[string]struct {
		body string
		want []issue
		code fhir.ResponseCode
	}{
		"details.coding": {
			outcome(`[{"severity":"error","code":"login","details":{"coding":[{` + system + `,"code":"API_SESSION_EXPIRED","display":"x"}],"text":"t"},"diagnostics":"d"}]`),
			[]issue{{Severity: "error", Code: "login", Codings: []fhir.Coding{{System: fhir.ResponseCodeSystem, Code: "API_SESSION_EXPIRED", Display: "x"}}, Text: "t", Diagnostics: "d"}},
			fhir.SessionExpired,
		},
		"system with a space": {
			outcome(`[{"details":{"coding":[{"system":"http://fhir.patientsknowbest.com/codesystem/response-code ","code":" NO_CONSENT "}]}}]`),
			[]issue{{Codings: []fhir.Coding{{System: fhir.ResponseCodeSystem + " ", Code: " NO_CONSENT "}}}},
			fhir.NoConsent,
		},
		"issue.code":       {outcome(`[{"severity":"error","code":"ACC_TOKEN_EXPIRED"}]`), []issue{{Severity: "error", Code: "ACC_TOKEN_EXPIRED"}}, fhir.AccessTokenExpired},
		"in diagnostics":   {outcome(`[{"diagnostics":"failed: BAD_AUTHENTICATION."}]`), []issue{{Diagnostics: "failed: BAD_AUTHENTICATION."}}, fhir.BadAuthentication},
		"in text":          {outcome(`[{"details":{"text":"USER_TYPE_NOT_PERM"}}]`), []issue{{Text: "USER_TYPE_NOT_PERM"}}, fhir.UserTypeNotPermitted},
		"in a longer word": {outcome(`[{"diagnostics":"MY_BAD_AUTHENTICATION"}]`), []issue{{Diagnostics: "MY_BAD_AUTHENTICATION"}}, ""},
		"another system":   {outcome(`[{"details":{"coding":[{"system":"urn:x","code":"NO_CONSENT"}]}}]`), []issue{{Codings: []fhir.Coding{{System: "urn:x", Code: "NO_CONSENT"}}}}, ""},
		"system before none": {
			outcome(`[{"details":{"coding":[{"code":"NO_CONSENT"}]}},{"details":{"coding":[{"code":"x"},{` + system + `,"code":"API_SESSION_INVALID"}]}}]`),
			[]issue{{Codings: []fhir.Coding{{Code: "NO_CONSENT"}}}, {Codings: []fhir.Coding{{Code: "x"}, {System: fhir.ResponseCodeSystem, Code: "API_SESSION_INVALID"}}}},
			fhir.SessionInvalid,
		},
		"odd shapes": {
			outcome(`[7,null,{"severity":null,"code":["x"],"diagnostics":5,"details":[]},{"code":"y","details":{"text":{},"coding":[null,"z",{"code":1}]}}]`),
			[]issue{{}, {}, {Code: "x", Diagnostics: "5"}, {Code: "y", Codings: []fhir.Coding{{}, {}, {Code: "1"}}}},
			"",
		},
		"unknown code":      {outcome(`[{"severity":"worse","code":"NEW_CODE"}]`), []issue{{Severity: "worse", Code: "NEW_CODE"}}, ""},
		"nothing":           {outcome(`[]`), nil, ""},
		"one, not many":     {outcome(`{"code":"NO_CONSENT","details":{"coding":{"code":"NO_DECRYPT_KEY"}}}`), []issue{{Code: "NO_CONSENT", Codings: []fhir.Coding{{Code: "NO_DECRYPT_KEY"}}}}, fhir.NoDecryptKey},
		"odd members":       {outcome(`[null,7,{"severity":null,"code":5,"details":[],"diagnostics":{"x":1}}]`), []issue{{}, {}, {Code: "5"}}, ""},
		"issue is a string": {outcome(`"x"`), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := fhir.DecodeOperationOutcome([]byte(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			var got []issue
			for _, i := range o.Issue {
				got = append(got, issue{i.Severity, i.Code, i.Details.Coding, i.Details.Text, i.Diagnostics})
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("issues (-want +got):\n%s", diff)
			}
			if got := o.ResponseCode(); got != tc.code {
				t.Errorf("response code %q, want %q", got, tc.code)
			}
			r, err := fhir.Decode[fhir.OperationOutcome]([]byte(tc.body))
			if err != nil || string(r.Raw()) != tc.body {
				t.Errorf("Decode: %v, or Raw is not what was received", err)
			}
			if diff := cmp.Diff(&o, r.Reveal()); diff != "" {
				t.Errorf("Decode and DecodeOperationOutcome differ:\n%s", diff)
			}
		})
	}
	for body, want := range map[string]error{`{"resourceType":"Patient"}`: fhir.ErrResourceType, `{}`: fhir.ErrResourceType, "null": fhir.ErrMalformed, "": fhir.ErrMalformed} {
		if _, err := fhir.DecodeOperationOutcome([]byte(body)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", body, err, want)
		}
	}
}

// Every response code of PKB's pages is found wherever it stands.
func TestResponseCodes(t *testing.T) {
	for _, code := range []fhir.ResponseCode{
		"ACC_TOKEN_EXPIRED", "API_SESSION_EXPIRED", "API_SESSION_INVALID", "BAD_AUTHENTICATION", "ACCESS_FROZEN_OUTWARD", "USER_TYPE_NOT_PERM",
		"ACCESS_FROZEN_INWARD", "NO_ASSOCIATION", "NO_CONSENT", "NO_DECRYPT_KEY", "SHARING_DISABLED",
	} {
		for _, issue := range []string{
			`{"details":{"coding":[{"system":"` + fhir.ResponseCodeSystem + `","code":"%s"}]}}`, `{"details":{"coding":[{"code":"%s"}]}}`,
			`{"code":"%s"}`, `{"diagnostics":"(%s)"}`, `{"details":{"text":"it says %s here"}}`,
		} {
			body := `{"resourceType":"OperationOutcome","issue":[` + strings.ReplaceAll(issue, "%s", string(code)) + `]}`
			o, err := fhir.DecodeOperationOutcome([]byte(body))
			if err != nil || o.ResponseCode() != code {
				t.Errorf("%s: %q, %v", body, o.ResponseCode(), err)
			}
		}
	}
}

// No error repeats what was read.
func TestErrorsAreWithoutContent(t *testing.T) {
	for _, body := range []string{
		"canary", `"canary"`, `{"resourceType":"canary 1"}`, `{"resourceType":"Parameters","parameter":[{"name":"purview","valueReference":{"reference":"canary"}}]}`,
		`{"resourceType":"Parameters","parameter":"canary"}`, `{"resourceType":"Parameters"} canary`, `{"canary":canary}`,
	} {
		_, err1 := fhir.Purview([]byte(body))
		_, err2 := fhir.DecodeOperationOutcome([]byte(body))
		_, err3 := fhir.Decode[fhir.Parameters]([]byte(body))
		_, err4 := fhir.ParseReference(body)
		if text := fmt.Sprintf("%v %+v %v %v %v", err1, err1, err2, err3, err4); strings.Contains(text, "canary") {
			t.Errorf("%s: %s", body, text)
		}
	}
}

func FuzzResourceType(f *testing.F) {
	for _, seed := range []string{`{"resourceType":"Patient"}`, `{"resourceType":"A","resourceType":"B"}`, "\xef\xbb\xbf{}", `{"a":1,}`, "<html>", "null", ""} {
		f.Add([]byte(seed))
	}
	for _, seed := range []string{
		`{"a":[0,-0,1.5e+3,-1E-2]}`, `{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":+1}`, `{"a":1e}`, `{"a":-}`, `{"\u00e9\/\"":"\ud800"}`, `{"a":"\x"}`, `{"a":"` + "\x01" + `"}`,
		`{"a":"` + "\n" + `"}`, `{"a":"\u12g4"}`, `{"a":tru}`, `{"a":nul}`, `{"a":truefalse}`, `{"a":{}{}}`, `{"a":"b}`, `{"a":"\`, `{"a":[1,]}`, `{"a":[1 2]}`, `{"a" "b"}`, `{,}`, `{"a":1}}`, `{"a":[}`, `{"a":"\u12"}`,
		`{"a":` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999) + `}`, `{"a":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `}`,
	} {
		f.Add([]byte(seed))
	}
	addFixtures(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		kind, err := fhir.ResourceType(body)
		var object map[string]json.RawMessage
		plain := bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
		isObject := json.Unmarshal(plain, &object) == nil && object != nil
		if (err == nil) != isObject {
			t.Fatalf("error %v, and an object: %t", err, isObject)
		}
		if kind != "" && string(object["resourceType"]) == "" {
			t.Errorf("type %q of an object without one", kind)
		}
	})
}

func FuzzPurview(f *testing.F) {
	f.Add([]byte(`{"resourceType":"Parameters","parameter":[{"name":"purview","valueReference":{"reference":"Patient/1"}}]}`))
	f.Add([]byte(`{"resourceType":"Parameters","parameter":{}}`))
	f.Add([]byte(`{"resourceType":"Parameters","parameter":[null,7,{"name":"purview","valueReference":[]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		ref, err := fhir.Purview(body)
		if (err == nil) != (ref.Type != "" && ref.ID != "") {
			t.Errorf("%+v, %v", ref, err)
		}
	})
}

func FuzzParseReference(f *testing.F) {
	f.Add("https://pkb.example/fhir/Patient/1/_history/2")
	f.Add("Patient/1")
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := fhir.ParseReference(s)
		if err != nil {
			return
		}
		again := ref.Type + "/" + ref.ID
		if ref.Base != "" {
			again = ref.Base + "/" + again
		}
		if ref.Version != "" {
			again += "/_history/" + ref.Version
		}
		if got, err := fhir.ParseReference(again); err != nil || got != ref {
			t.Errorf("%q: %+v, then %+v, %v", s, ref, got, err)
		}
	})
}

func FuzzDecodeOperationOutcome(f *testing.F) {
	f.Add([]byte(`{"resourceType":"OperationOutcome","issue":[{"details":{"coding":[{"code":"NO_CONSENT"}]}}]}`))
	f.Add([]byte(`{"resourceType":"OperationOutcome","issue":{"details":{"coding":{}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := fhir.DecodeOperationOutcome(body)
		if err != nil && o.Issue != nil {
			t.Errorf("%v, with issues", err)
		}
		if code := o.ResponseCode(); code != "" && !bytes.Contains(body, []byte(code)) && !bytes.Contains(body, []byte(`\`)) {
			t.Errorf("%q is not in the resource", code)
		}
	})
}
