// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
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
		HTTPClient: &http.Client{Transport: (*http.Transport)(nil)},
		Store:      durable{}, TokenTimeout: -1, HardMargin: time.Hour, Retries: 11, MaxCallsPerPatient: -1, MaxResponseBytes: 4095,
	})
	want := []string{
		"Environment.Name", "Environment.AuthorizeURL", "Environment.TokenURL", "Environment.RESTURL",
		"Environment.FHIRURL", "Environment.PurviewURL", "Environment.PurviewMethod",
		"ClientID", "SecretInHeader", "RedirectURL", "HTTPClient", "Keys", "TokenTimeout", "HardMargin",
		"Retries", "MaxCallsPerPatient", "MaxResponseBytes",
	}
	if diff := cmp.Diff(want, fields(err)); diff != "" {
		t.Errorf("everything wrong (-want +got):\n%s", diff)
	}
}

// A transport with a token of its own would send it to PKB in place of the patient's.
func TestTransportWithATokenOfItsOwn(t *testing.T) {
	own := oauth2.NewClient(t.Context(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "host's"}))
	config := pkb.Config{Environment: pkb.Sandbox(), ClientID: "c", RedirectURL: redirectURL, Store: tokenstore.NewMemory(), HTTPClient: own}
	_, err := pkb.New(config)
	if diff := cmp.Diff([]string{"HTTPClient"}, fields(err)); diff != "" || !strings.Contains(fmt.Sprint(err), "oauth2.Transport") {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestSizesAccepted(t *testing.T) {
	for size, ok := range map[int64]bool{0: true, 4 << 10: true, 1 << 30: true, 4<<10 - 1: false, 1<<30 + 1: false, -1: false} {
		_, err := pkb.New(pkb.Config{
			Environment: pkb.Sandbox(), ClientID: "c", RedirectURL: "https://app.example/cb", Store: tokenstore.NewMemory(), MaxResponseBytes: size,
		})
		if (err == nil) != ok {
			t.Errorf("MaxResponseBytes %d: %v", size, err)
		}
	}
}

// What TokenErrors cannot mean is found at once, and not when PKB says it.
func TestTokenErrorsAccepted(t *testing.T) {
	for name, tc := range map[string]struct {
		e  observe.TokenError
		ok bool
	}{
		"code":               {observe.TokenError{Code: "SESSION_GONE", Means: observe.MeansSessionOver}, true},
		"body":               {observe.TokenError{Body: "Bad refresh token", Means: observe.MeansFrozen}, true},
		"all":                {observe.TokenError{Status: 499, Code: "X", Body: `{"error":"X"}`, Means: observe.MeansUnclear}, true},
		"a code of RFC 6749": {observe.TokenError{Code: "invalid_grant", Means: observe.MeansUnclear}, true},
		"nothing":            {observe.TokenError{}, false},
		"status only":        {observe.TokenError{Status: 401, Means: observe.MeansSessionOver}, false},
		"blank body":         {observe.TokenError{Status: 401, Body: " \n", Means: observe.MeansSessionOver}, false},
		"no meaning":         {observe.TokenError{Code: "X"}, false},
		"another meaning":    {observe.TokenError{Code: "X", Means: "ok"}, false},
		"success":            {observe.TokenError{Status: 200, Code: "X", Means: observe.MeansSessionOver}, false},
		"redirect":           {observe.TokenError{Status: 302, Code: "X", Means: observe.MeansSessionOver}, false},
		"server error":       {observe.TokenError{Status: 500, Code: "X", Means: observe.MeansSessionOver}, false},
		"408":                {observe.TokenError{Status: 408, Code: "X", Means: observe.MeansSessionOver}, false},
		"425":                {observe.TokenError{Status: 425, Code: "X", Means: observe.MeansSessionOver}, false},
		"code with a break":  {observe.TokenError{Code: "X\nY", Means: observe.MeansSessionOver}, false},
		"endless code":       {observe.TokenError{Code: strings.Repeat("X", 65), Means: observe.MeansSessionOver}, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pkb.New(pkb.Config{
				Environment: pkb.Sandbox(), ClientID: "c", RedirectURL: "https://app.example/cb", Store: tokenstore.NewMemory(),
				TokenErrors: []observe.TokenError{{Code: "FIRST", Means: observe.MeansBusy}, tc.e},
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

// A redirect URI is sent as it was given, but for the spelling of https; what PKB or a
// browser would take for another one, or for none, is refused at once.
func TestRedirectURLs(t *testing.T) {
	const long = "https://app.example/cb?tenant="
	for redirect, want := range map[string]string{
		"https://app.example/cb":               "https://app.example/cb",
		"https://app.example/cb?tenant=1":      "https://app.example/cb?tenant=1",
		"https://app.example/cb?a=%20b+c":      "https://app.example/cb?a=%20b+c",
		"https://app.example/cb?":              "https://app.example/cb?",
		"https://APP.example:443/cb/":          "https://APP.example:443/cb/",
		"https://xn--bcher-kva.example/cb":     "https://xn--bcher-kva.example/cb",
		"HTTPS://app.example/cb":               "https://app.example/cb",
		"Https://app.example/CB":               "https://app.example/CB",
		"HTTP://localhost:8080/cb":             "http://localhost:8080/cb",
		"http://localhost:8080/cb":             "http://localhost:8080/cb",
		"http://127.0.0.1/cb":                  "http://127.0.0.1/cb",
		"com.example.app:/pkb":                 "com.example.app:/pkb",
		"com.example.app://pkb/cb":             "com.example.app://pkb/cb",
		"com.Example.App://pkb/cb":             "com.Example.App://pkb/cb",
		long + strings.Repeat("x", 400-30):     long + strings.Repeat("x", 400-30),
		long + strings.Repeat("x", 400-29):     "",
		"http://app.example/cb":                "",
		"HTTP://app.example/cb":                "",
		"https:///cb":                          "",
		"https://:443/cb":                      "",
		"/cb":                                  "",
		"":                                     "",
		"https://app.example/cb#x":             "",
		"https://app.example/cb#":              "",
		"https://app.example/cb?state=1":       "",
		"https://app.example/cb?cod%65=1":      "",
		"https://app.example/cb?a=1;b=2":       "",
		"https://app.example/cb?a=%zz":         "",
		"https://user:secret@app.example/cb":   "",
		"https://bücher.example/cb":            "",
		"https://app.example/c b":              "",
		" https://app.example/cb":              "",
		"https://app.example/cb\n":             "",
		"https://app.example/cb\x00":           "",
		`https://app.example\@evil.example/cb`: "",
		`https://app.example/"cb"`:             "",
		"javascript:alert(1)":                  "",
		"JavaScript:alert(1)":                  "",
	} {
		config := pkb.Config{Environment: pkb.Sandbox(), ClientID: "c", RedirectURL: redirect, Store: tokenstore.NewMemory()}
		client, err := pkb.New(config)
		if (err == nil) != (want != "") {
			t.Errorf("%q: %v", redirect, err)
		}
		if err != nil {
			if diff := cmp.Diff([]string{"RedirectURL"}, fields(err)); diff != "" || strings.Contains(err.Error(), "secret") {
				t.Errorf("%q: %v", redirect, err)
			}
			config.RedirectURL = "https://app.example/elsewhere"
			if client, err = pkb.New(config); err != nil {
				t.Fatal(err)
			}
		}
		// RedirectTo takes what Config.RedirectURL does, and nothing else.
		for _, opts := range [][]pkb.AuthorizeOption{nil, {pkb.RedirectTo(redirect)}} {
			address, _, err := client.Authorize(t.Context(), user, opts...)
			if opts != nil && want == "" {
				if mistake, ok := errors.AsType[*pkb.ConfigError](err); !ok || mistake.Field != "RedirectURL" {
					t.Errorf("RedirectTo(%q): %v", redirect, err)
				}
				continue
			}
			u, parseErr := url.Parse(address)
			if err != nil || parseErr != nil {
				t.Errorf("%q: %v, %v", redirect, err, parseErr)
			} else if got := u.Query().Get("redirect_uri"); want != "" && got != want {
				t.Errorf("%q is sent as %q", redirect, got)
			}
		}
	}
}

// What a database cannot keep, a header cannot hold or a terminal would obey is refused
// before anything is sent.
func TestNamesThatNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*pkb.Config, string){
		"Environment.Name": func(c *pkb.Config, s string) { c.Environment.Name = s },
		"ClientID":         func(c *pkb.Config, s string) { c.ClientID = s },
		"UserAgent":        func(c *pkb.Config, s string) { c.UserAgent = s },
	} {
		for _, bad := range []string{"a\x00b", "a\xffb", strings.Repeat("n", 257), "\x1b[2J", "app\r\nX-Evil: 1", "app\n", "a\tb", "a\u202eb", "a\u0085b"} {
			c := pkb.Config{Environment: pkb.Sandbox(), ClientID: "c", RedirectURL: redirectURL, Store: tokenstore.NewMemory()}
			change(&c, bad)
			_, err := pkb.New(c)
			if diff := cmp.Diff([]string{name}, fields(err)); diff != "" {
				t.Errorf("%s %.12q (%d bytes): %v", name, bad, len(bad), err)
			} else if strings.ContainsAny(err.Error(), "\x00\x1b\r\n\t") || !utf8.ValidString(err.Error()) || len(err.Error()) > 200 {
				t.Errorf("%s: the error repeats %.12q", name, bad)
			}
		}
		for _, good := range []string{"app/1.0", strings.Repeat("n", 256)} {
			c := pkb.Config{Environment: pkb.Sandbox(), ClientID: "c", RedirectURL: redirectURL, Store: tokenstore.NewMemory()}
			change(&c, good)
			if _, err := pkb.New(c); err != nil {
				t.Errorf("%s %.12q: %v", name, good, err)
			}
		}
	}
	c := pkb.Config{Environment: pkb.Sandbox(), ClientID: "c", RedirectURL: redirectURL, Store: tokenstore.NewMemory(), UserAgent: "My app/1.0 (support@app.example)"}
	c.Environment.Name = "Bücher, Übung"
	if _, err := pkb.New(c); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"https://pkb.example/a b", "https://pkb.exämple", "https://pkb.example\r\n"} {
		c.Environment = pkb.BaseURL(bad)
		if _, err := pkb.New(c); err == nil {
			t.Errorf("the address %q is accepted", bad)
		}
	}
}

func TestDurableStoreWantsKeys(t *testing.T) {
	config := pkb.Config{Environment: pkb.Sandbox(), ClientID: "c", RedirectURL: "https://app.example/cb", Store: durable{}}
	if _, err := pkb.New(config); err == nil || !strings.Contains(err.Error(), "keys.Generate") {
		t.Errorf("without keys: %v", err)
	}
	text, err := keys.Generate("2026-01")
	if err != nil {
		t.Fatal(err)
	}
	if config.Keys, err = keys.Parse(text); err != nil {
		t.Fatal(err)
	}
	if _, err := pkb.New(config); err != nil {
		t.Errorf("with keys: %v", err)
	}
}

// A keyring that is wrong is refused, and its error has the number of the entry: what
// stands in the place of the id may be the key.
func TestParseKeyringRefuses(t *testing.T) {
	good, err := keys.Generate("a")
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(good, ":")
	const zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for name, tc := range map[string]struct{ text, says string }{
		"nothing":                {"", "entry 1"},
		"a comma":                {",", "entry 1"},
		"an id only":             {"a", "entry 1"},
		"no id":                  {":" + good, "entry 1"},
		"too short":              {"a:c2VjcmV0", "entry 1: a key has 32 bytes"},
		"not base64":             {"a:!secret!", "the key of entry 1"},
		"one entry twice":        {good + "," + good, "entry 2: another key"},
		"a comma at the end":     {good + ",", "entry 2"},
		"one key under two ids":  {good + ",b:" + key, "entry 2: the same key"},
		"zero bytes":             {"z:" + zero, "entry 1: the key is nothing but zero bytes"},
		"zero bytes, second":     {good + ",z:" + zero, "entry 2: the key is nothing but zero bytes"},
		"key and id swapped":     {key + ":a", "the key of entry 1"},
		"swapped, second":        {good + "," + key + ":b", "the key of entry 2"},
		"a key for an id":        {key + ":" + key, "entry 1"},
		"an equals sign":         {"a=" + key, "entry 1"},
		"a space":                {"a " + key, "entry 1"},
		"an id with a space":     {"a b:" + key, "entry 1: a key id"},
		"an id with an escape":   {"\x1b[31mevil\x07:" + key, "entry 1: a key id"},
		"an id that is too long": {strings.Repeat("x", 65) + ":" + key, "entry 1: a key id"},
		"an id not in ASCII":     {"schlüssel:" + key, "entry 1: a key id"},
	} {
		k, err := keys.Parse(tc.text)
		switch {
		case err == nil || k != nil:
			t.Errorf("%s: accepted", name)
		case !strings.Contains(err.Error(), tc.says):
			t.Errorf("%s: the error is %q, want %q in it", name, err, tc.says)
		case strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), key[:12]) || strings.Contains(err.Error(), "\x1b"):
			t.Errorf("%s: the error repeats what was given: %v", name, err)
		}
	}
	ring := &keys.Keyring{}
	if err := ring.AddKey("kms", make([]byte, 32)); err == nil || !strings.Contains(err.Error(), "zero bytes") {
		t.Errorf("AddKey of a buffer that nothing was read into: %v", err)
	}
	for _, id := range []string{"", "a:b", "a,b", "a b", strings.Repeat("x", 65)} {
		if _, err := keys.Generate(id); err == nil {
			t.Errorf("key id %q was accepted", id)
		}
	}
}

// Links sealed with one key open with a ring that has it, and are kept, and
// nothing sent, when it is missing.
func TestSealedLinks(t *testing.T) {
	old, err := keys.Generate("old")
	if err != nil {
		t.Fatal(err)
	}
	latest, err := keys.Generate("new")
	if err != nil {
		t.Fatal(err)
	}
	ring := func(text string) *keys.Keyring {
		k, err := keys.Parse(text)
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
