// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/tokenstore"
)

// fields returns the fields that an error of New names.
func fields(err error) []string {
	var got []string
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	for _, e := range joined.Unwrap() {
		if c, ok := errors.AsType[*pkb.ConfigError](e); ok {
			got = append(got, c.Field)
		}
	}
	return got
}

func TestNewNamesEveryMistakeAtOnce(t *testing.T) {
	_, err := pkb.New(pkb.Config{})
	if diff := cmp.Diff([]string{"Environment", "ClientID", "RedirectURL", "Store"}, fields(err)); diff != "" {
		t.Errorf("an empty Config (-want +got):\n%s", diff)
	}
	_, err = pkb.New(pkb.Config{
		Environment: pkb.Environment{
			AuthorizeURL: "http://pkb.example/a", TokenURL: "sandbox.patientsknowbest.com", RESTURL: "https://u:p@pkb.example",
			FHIRURL: "https://pkb.example/fhir?x=1", PurviewURL: "ftp://pkb.example", PurviewMethod: "PUT",
		},
		ClientID: "my client", SecretInHeader: true, RedirectURL: "http://app.example/cb",
		Store: durable{}, TokenTimeout: -1, HardMargin: time.Hour, Retries: 11, MaxCallsPerPatient: -1,
	})
	want := []string{
		"Environment.Name", "Environment.AuthorizeURL", "Environment.TokenURL", "Environment.RESTURL",
		"Environment.FHIRURL", "Environment.PurviewURL", "Environment.PurviewMethod",
		"ClientID", "SecretInHeader", "RedirectURL", "Keys", "TokenTimeout", "HardMargin",
		"Retries", "MaxCallsPerPatient",
	}
	if diff := cmp.Diff(want, fields(err)); diff != "" {
		t.Errorf("everything wrong (-want +got):\n%s", diff)
	}
}

// What TokenErrors cannot mean is found at once, and not when PKB says it.
func TestTokenErrorsAccepted(t *testing.T) {
	for name, tc := range map[string]struct {
		e  pkb.TokenError
		ok bool
	}{
		"code":               {pkb.TokenError{Code: "SESSION_GONE", Means: pkb.MeansSessionOver}, true},
		"body":               {pkb.TokenError{Body: "Bad refresh token", Means: pkb.MeansFrozen}, true},
		"all":                {pkb.TokenError{Status: 499, Code: "X", Body: `{"error":"X"}`, Means: pkb.MeansUnclear}, true},
		"a code of RFC 6749": {pkb.TokenError{Code: "invalid_grant", Means: pkb.MeansUnclear}, true},
		"nothing":            {pkb.TokenError{}, false},
		"status only":        {pkb.TokenError{Status: 401, Means: pkb.MeansSessionOver}, false},
		"blank body":         {pkb.TokenError{Status: 401, Body: " \n", Means: pkb.MeansSessionOver}, false},
		"no meaning":         {pkb.TokenError{Code: "X"}, false},
		"another meaning":    {pkb.TokenError{Code: "X", Means: "ok"}, false},
		"success":            {pkb.TokenError{Status: 200, Code: "X", Means: pkb.MeansSessionOver}, false},
		"redirect":           {pkb.TokenError{Status: 302, Code: "X", Means: pkb.MeansSessionOver}, false},
		"server error":       {pkb.TokenError{Status: 500, Code: "X", Means: pkb.MeansSessionOver}, false},
		"408":                {pkb.TokenError{Status: 408, Code: "X", Means: pkb.MeansSessionOver}, false},
		"425":                {pkb.TokenError{Status: 425, Code: "X", Means: pkb.MeansSessionOver}, false},
		"code with a break":  {pkb.TokenError{Code: "X\nY", Means: pkb.MeansSessionOver}, false},
		"endless code":       {pkb.TokenError{Code: strings.Repeat("X", 65), Means: pkb.MeansSessionOver}, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pkb.New(pkb.Config{
				Environment: pkb.Sandbox(), ClientID: "c", RedirectURL: "https://app.example/cb", Store: tokenstore.NewMemory(),
				TokenErrors: []pkb.TokenError{{Code: "FIRST", Means: pkb.MeansBusy}, tc.e},
			})
			if (err == nil) != tc.ok {
				t.Fatalf("New: %v", err)
			}
			if diff := cmp.Diff([]string{"TokenErrors[1]"}, fields(err)); err != nil && diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}

// durable is a store that does not say that it forgets.
type durable struct{ tokenstore.Store }

func TestAddressesAccepted(t *testing.T) {
	for base, ok := range map[string]bool{
		"https://sandbox.patientsknowbest.com":  true,
		"https://sandbox.patientsknowbest.com/": true,
		"https://proxy.example/pkb":             true,
		"http://127.0.0.1:8080":                 true,
		"http://localhost:8080":                 true,
		"http://[::1]:8080":                     true,
		"http://10.0.0.1":                       false,
		"http://localhost.example":              false,
		"http://sandbox.patientsknowbest.com":   false,
		"":                                      false,
		"sandbox.patientsknowbest.com":          false,
		"https://":                              false,
		"https://user:secret@pkb.example":       false,
		"https://pkb.example/#x":                false,
	} {
		_, err := pkb.New(pkb.Config{
			Environment: pkb.BaseURL(base), ClientID: "c", RedirectURL: "https://app.example/cb", Store: tokenstore.NewMemory(),
		})
		if (err == nil) != ok {
			t.Errorf("base %q: %v", base, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("base %q: the error repeats a password: %v", base, err)
		}
	}
}

func TestRedirectURLsAccepted(t *testing.T) {
	for redirect, ok := range map[string]bool{
		"https://app.example/cb":             true,
		"https://app.example/cb?tenant=1":    true,
		"http://localhost:8080/cb":           true,
		"http://127.0.0.1/cb":                true,
		"com.example.app:/pkb":               true,
		"com.example.app://pkb/cb":           true,
		"http://app.example/cb":              false,
		"https:///cb":                        false,
		"/cb":                                false,
		"":                                   false,
		"https://app.example/cb#x":           false,
		"https://app.example/cb#":            false,
		"https://app.example/cb?state=1":     false,
		"https://user:secret@app.example/cb": false,
		"javascript:alert(1)":                false,
	} {
		_, err := pkb.New(pkb.Config{
			Environment: pkb.Sandbox(), ClientID: "c", RedirectURL: redirect, Store: tokenstore.NewMemory(),
		})
		if (err == nil) != ok {
			t.Errorf("redirect URL %q: %v", redirect, err)
		}
	}
}

func TestDurableStoreWantsKeys(t *testing.T) {
	config := pkb.Config{Environment: pkb.Sandbox(), ClientID: "c", RedirectURL: "https://app.example/cb", Store: durable{}}
	if _, err := pkb.New(config); err == nil || !strings.Contains(err.Error(), "pkb.GenerateKey") {
		t.Errorf("without keys: %v", err)
	}
	text, err := pkb.GenerateKey("2026-01")
	if err != nil {
		t.Fatal(err)
	}
	if config.Keys, err = pkb.ParseKeyring(text); err != nil {
		t.Fatal(err)
	}
	if _, err := pkb.New(config); err != nil {
		t.Errorf("with keys: %v", err)
	}
}

func TestParseKeyringRefuses(t *testing.T) {
	good, err := pkb.GenerateKey("a")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", ",", "a", ":" + good, "a:c2VjcmV0", "a:!secret!", good + "," + good, good + ","} {
		k, err := pkb.ParseKeyring(text)
		if err == nil || k != nil {
			t.Errorf("%q was accepted", text)
		} else if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), strings.TrimPrefix(good, "a:")) {
			t.Errorf("the error repeats a key: %v", err)
		}
	}
	for _, id := range []string{"", "a:b", "a,b", "a b", strings.Repeat("x", 65)} {
		if _, err := pkb.GenerateKey(id); err == nil {
			t.Errorf("key id %q was accepted", id)
		}
	}
}

// Links sealed with one key open with a ring that has it, and are kept, and
// nothing sent, when it is missing.
func TestSealedLinks(t *testing.T) {
	old, err := pkb.GenerateKey("old")
	if err != nil {
		t.Fatal(err)
	}
	latest, err := pkb.GenerateKey("new")
	if err != nil {
		t.Fatal(err)
	}
	ring := func(text string) *pkb.Keyring {
		k, err := pkb.ParseKeyring(text)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	r := newRig(t)
	r.config.Keys = ring(old)
	r.Client = r.replica(t)
	r.link(t, user, r.patient)
	stored, err := r.store.Load(t.Context(), user)
	if err != nil || stored.KeyID != "old" {
		t.Fatalf("key id %q, %v", stored.KeyID, err)
	}
	if strings.Contains(string(stored.Sealed), token(t.Context(), t, r.Client, user)) {
		t.Error("the store can read the token")
	}

	r.config.Keys = ring(latest)
	if _, err := r.replica(t).Token(t.Context(), user); !errors.Is(err, pkb.ErrKeys) {
		t.Errorf("without the old key: %v, want ErrKeys", err)
	}
	r.config.Keys = ring(latest + "," + old)
	both := r.replica(t)
	r.pkb.Advance(11 * time.Minute)
	if _, err := both.Token(t.Context(), user); err != nil {
		t.Fatalf("with both: %v", err)
	}
	if stored, err = r.store.Load(t.Context(), user); err != nil || stored.KeyID != "new" {
		t.Errorf("after the refresh: key id %q, %v", stored.KeyID, err)
	}
}
