// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// printed returns v in every way that a program prints things.
func printed(t *testing.T, v any) string {
	t.Helper()
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&b, verb+"\n", v)
		// Inside a struct of the host's, in a field that fmt may not call
		// methods on.
		fmt.Fprintf(&b, verb+"\n", struct{ v any }{v})
	}
	if j, err := json.Marshal(v); err == nil {
		b.Write(j)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
	return b.String() + log.String()
}

func TestSecretsDoNotPrint(t *testing.T) {
	const canary = "canary-7f3a"
	secret := pkb.NewSecret(canary)
	known := identity.NewKnown(identity.Person{FirstName: canary, LastName: canary})
	text := "k:" + "Y2FuYXJ5LTdmM2FjYW5hcnktN2YzYWNhbmFyeS0xMjM="
	ring, err := keys.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"Secret": secret, "*Secret": &secret,
		"struct":  struct{ S pkb.Secret }{secret},
		"hidden":  struct{ s pkb.Secret }{secret},
		"hidden2": struct{ k identity.Known }{known},
		"slice":   []pkb.Secret{secret}, "map": map[string]pkb.Secret{"x": secret},
		"token":   pkb.AccessToken{Value: secret},
		"Config":  pkb.Config{ClientSecret: secret, Keys: ring},
		"*Config": &pkb.Config{ClientSecret: secret, Keys: ring},
		"Keyring": ring,
		"Known":   known,
	} {
		if s := printed(t, v); strings.Contains(s, canary) || strings.Contains(s, "Y2FuYXJ5") ||
			strings.Contains(s, fmt.Sprintf("%x", canary)) || strings.Contains(s, fmt.Sprintf("%X", canary)) {
			t.Errorf("%s prints its secret:\n%s", name, s)
		}
	}
	if secret.Reveal() != canary {
		t.Error("Reveal does not reveal")
	}
	if !secret.Equal(pkb.NewSecret(canary)) || secret.Equal(pkb.Secret{}) || !(pkb.Secret{}).IsZero() || secret.IsZero() {
		t.Error("Secret: Equal or IsZero")
	}
}

func TestNHSNumberDoesNotPrint(t *testing.T) {
	number, err := identity.ParseNHSNumber("999 156 6171")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{number, &number, struct{ n identity.NHSNumber }{number}, []identity.NHSNumber{number}, identity.NewKnown(identity.Person{NHSNumber: number})} {
		s := printed(t, v)
		for _, part := range []string{"999156", "999 156", "39393931", "57 57 57"} {
			if strings.Contains(s, part) {
				t.Errorf("%T prints its number:\n%s", v, s)
			}
		}
	}
}

// S54: a link's whole life, with everything that can go wrong, and not a secret in
// any log line, error, or printed value.
func TestNothingSecretIsPrinted(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t, func(_ *pkbtest.Config, c *pkb.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.PKCE = true
	})
	var out strings.Builder
	var secrets []string
	note := func(err error) {
		for ; err != nil; err = errors.Unwrap(err) {
			fmt.Fprintf(&out, "%v\n%+v\n", err, err)
		}
	}
	grab := func() {
		stored, err := r.store.Load(t.Context(), user)
		if err != nil {
			return
		}
		fmt.Fprintf(&out, "%v %+v %s\n", stored, stored, stored.Sealed)
		// Without keys the blob is readable: take the tokens from it.
		var kept struct {
			Active struct{ Body map[string]any } `json:"active"`
		}
		if json.Unmarshal(stored.Sealed[1:], &kept) == nil && len(kept.Active.Body) > 0 {
			pair := kept.Active.Body
			secrets = append(secrets, pair["access_token"].(string), pair["refresh_token"].(string))
		}
	}

	pending, query := r.approve(t, user, r.patient)
	secrets = append(secrets, query.Get("code"), query.Get("state"), pending.Encode()[3:])
	out.WriteString(printed(t, pending))
	out.WriteString(printed(t, &pending))
	link, err := r.Complete(t.Context(), user, pending, query)
	note(err)
	out.WriteString(printed(t, link))
	grab()
	_, err = r.Complete(t.Context(), user, pending, query)
	note(err)
	self, err := r.ForUser(user).Self(t.Context())
	note(err)
	secrets = append(secrets, self.Reveal().FirstName, self.Reveal().LastName, r.patient.NHSNumber)
	out.WriteString(printed(t, self))
	out.WriteString(printed(t, &self))
	out.WriteString(printed(t, r.Client))
	out.WriteString(printed(t, r.ForUser(user)))
	out.WriteString(printed(t, r.TokenSource(user)))
	fmt.Fprintf(&out, "%v %+v %#v %s", r.HTTPClient(user), r.HTTPClient(user), r.HTTPClient(user).Transport, r.HTTPClient(user).Transport)
	got, err := r.Token(t.Context(), user)
	note(err)
	out.WriteString(printed(t, got))

	for _, fault := range []pkbtest.Fault{
		pkbtest.Respond(401, "application/json", `{"error":"invalid_client"}`), pkbtest.Respond(429, "", ""),
		pkbtest.Drop(), pkbtest.Respond(503, "text/html", "<html>"), pkbtest.Pass(),
	} {
		r.pkb.Advance(11 * time.Minute)
		r.pkb.Next(pkbtest.Token, fault)
		_, err := r.Token(t.Context(), user)
		note(err)
		grab()
	}
	r.pkb.InvalidateSessions(r.patient)
	r.pkb.Advance(11 * time.Minute)
	_, err = r.Token(t.Context(), user)
	note(err)

	if len(secrets) < 10 || log.Len() == 0 {
		t.Fatalf("only %d secrets and %d bytes of log to look at", len(secrets), log.Len())
	}
	for _, s := range secrets {
		if strings.Contains(out.String(), s) || strings.Contains(log.String(), s) {
			t.Errorf("a secret is printed: %.4s...", s)
		}
	}
	if strings.Contains(log.String(), user) {
		t.Error("the log names the user")
	}
}

func TestPendingAsText(t *testing.T) {
	r := newRig(t)
	pending, query := r.approve(t, user, r.patient)
	kept, err := pkb.ParsePending(pending.Encode())
	if err != nil || !kept.ExpiresAt().Equal(pending.ExpiresAt()) || !kept.State().Equal(pending.State()) {
		t.Fatalf("ParsePending: %v", err)
	}
	if _, err := r.Complete(t.Context(), user, kept, query); err != nil {
		t.Errorf("Complete with a pending value that was kept as text: %v", err)
	}
	for _, text := range []string{"", "p1.", "p1.e30", "p2." + pending.Encode()[3:], pending.Encode()[:20], "p1.!!!", strings.Repeat("x", 20<<10)} {
		if _, err := pkb.ParsePending(text); !errors.Is(err, pkb.ErrState) {
			t.Errorf("ParsePending(%.12q): %v, want ErrState", text, err)
		}
	}
	if (pkb.Pending{}).Encode() != "" || !(pkb.Pending{}).State().IsZero() || !(pkb.Pending{}).ExpiresAt().IsZero() {
		t.Error("the zero Pending is not empty")
	}
}

func FuzzParsePending(f *testing.F) {
	f.Add("p1.eyJzdGF0ZSI6IngifQ")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := pkb.ParsePending(text)
		if (err == nil) == p.State().IsZero() {
			t.Errorf("error %v, state %t", err, p.State().IsZero())
		}
	})
}
