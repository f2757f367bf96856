// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package canary_test

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/canary"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// walk writes all that can be reached from a value: through fields that are not
// exported, pointers, interfaces, lists and maps, as printers do that call no methods.
func walk(out *bytes.Buffer, v reflect.Value, seen map[any]bool) {
	switch v.Kind() {
	case reflect.String:
		out.WriteString(v.String() + "\n")
	case reflect.Pointer:
		if at := [2]any{v.Pointer(), v.Type()}; !v.IsNil() && !seen[at] {
			seen[at] = true
			walk(out, v.Elem(), seen)
		}
	case reflect.Interface:
		walk(out, v.Elem(), seen)
	case reflect.Struct:
		for i := range v.NumField() {
			walk(out, v.Field(i), seen)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint32 { // the words of an expanded key, in either order of bytes
			for _, order := range []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian} {
				for i := range v.Len() {
					out.WriteString(hex.EncodeToString(order.AppendUint32(nil, uint32(v.Index(i).Uint())))) //nolint:gosec // its kind is Uint32
				}
				out.WriteString("\n")
			}
			return
		}
		for i := range v.Len() {
			walk(out, v.Index(i), seen)
		}
		out.WriteString("\n")
	case reflect.Map:
		for _, key := range v.MapKeys() {
			walk(out, key, seen)
			walk(out, v.MapIndex(key), seen)
		}
	case reflect.Uint8:
		out.WriteByte(byte(v.Uint()))
	}
}

// testify prints what it compares without calling methods, and other printers follow
// pointers into fields that are not exported. A Client has its secret and its
// keys behind functions, and the tokens in memory behind atomic pointers, where they find
// nothing; so has a Patient.
func TestWalkersFindNoSecrets(t *testing.T) {
	key := bytes.Repeat([]byte("9Kz!"), 8)
	ring := &keys.Keyring{}
	if err := ring.AddKey("k", key); err != nil {
		t.Fatal(err)
	}
	server := pkbtest.New(pkbtest.Config{ClientID: "c", ClientSecret: "birdseed-7f3a-birdseed-9c1e", RedirectURIs: []string{redirect}})
	fake := server.Transport()
	client := newClient(t, pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: "c", ClientSecret: pkb.NewSecret("birdseed-7f3a-birdseed-9c1e"), RedirectURL: redirect, Keys: ring,
		Store: tokenstore.NewMemory(), HTTPClient: &http.Client{Transport: roundTripper(fake.RoundTrip)}, Now: server.Now,
	})
	patient := server.AddPatient(pkbtest.Patient{FirstName: "Canarina"})
	approve(t, server, patient, client)
	token, err := client.Token(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	server.Advance(time.Hour)
	refreshed, err := client.Token(t.Context(), user)
	if err != nil || refreshed.Value.Reveal() == token.Value.Reveal() {
		t.Fatalf("no new token: %v", err)
	}
	self, err := client.ForUser(user).Self(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	number, _ := self.NHSNumber()
	system, statuses := asSystem(t, server, number)
	if statuses[0].Reveal().DateOfBirth == "" {
		t.Fatal("there is no date of birth to search for")
	}
	var found canary.Search
	for name, text := range map[string]string{"date of birth": string(statuses[0].Reveal().DateOfBirth), "system secret": "test-system-secret", "client secret": "birdseed-7f3a-birdseed-9c1e", "token": token.Value.Reveal(), "new token": refreshed.Value.Reveal(), "first name": "Canarina", "key": string(key)} {
		found.Plant(name, text)
	}
	for name, v := range map[string]any{"Client": client, "Patient": client.ForUser(user), "Self": self, "Keyring": ring, "AccessToken": refreshed, "pkbsystem.Client": system, "PatientStatus": statuses} {
		var out bytes.Buffer
		walk(&out, reflect.ValueOf(v), make(map[any]bool))
		if leaked := found.Find(out.String()); len(leaked) > 0 {
			t.Errorf("%s: a walk finds the %s", name, strings.Join(leaked, ", "))
		}
	}

	// What is not behind a function is found.
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{"client secret": []any{&struct{ s string }{"birdseed-7f3a-birdseed-9c1e"}}, "key": &struct{ b []byte }{key}, "expanded key": map[string]any{"k": block}} {
		var out bytes.Buffer
		walk(&out, reflect.ValueOf(v), make(map[any]bool))
		if len(found.Find(out.String())) == 0 {
			t.Errorf("%s: the walk finds nothing any more", name)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
