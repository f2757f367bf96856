// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package canary_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/internal/canary"
)

// A search that misses a form lets it out unseen.
func TestSearchFindsEveryForm(t *testing.T) {
	const secret, nhs = "pa\"ss <wörd> 7f3a", "9991000011"
	var s canary.Search
	if s.Plant("short", "F") {
		t.Error("one letter was planted: it is everywhere")
	}
	if !s.Plant("secret", secret) || !s.Plant("NHS number", nhs) {
		t.Fatal("not planted")
	}
	marshalled, err := json.Marshal(map[string]any{"x": secret})
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("m", "v", secret)
	for name, text := range map[string]string{
		"plain": "x" + secret + "y", "%x": fmt.Sprintf("%x", secret), "%X": fmt.Sprintf("%X", secret), "% x": fmt.Sprintf("% x", secret), "%q": fmt.Sprintf("%q", secret),
		"%v of bytes": fmt.Sprintf("%v", []byte(secret)), "%#v of bytes": fmt.Sprintf("%#v", []byte("x"+secret+"y")), "JSON": string(marshalled), "log": logged.String(),
		"query": url.QueryEscape(secret), "path": url.PathEscape(secret), "NHS number": "number " + nhs + ".", "spaced": "999 100 0011",
	} {
		if len(s.Find(text)) == 0 {
			t.Errorf("%s: not found in %s", name, text)
		}
	}
	for i := range 7 {
		for name, encoding := range map[string]*base64.Encoding{"std": base64.StdEncoding, "raw": base64.RawStdEncoding, "url": base64.URLEncoding} {
			text := encoding.EncodeToString([]byte(strings.Repeat("?", i) + secret + strings.Repeat("~", i)))
			if len(s.Find(text)) == 0 {
				t.Errorf("%s at %d: not found in %s", name, i, text)
			}
		}
	}
	for _, text := range []string{"", "nothing", "1" + nhs, nhs + "2", secret[:8]} {
		if found := s.Find(text); len(found) > 0 {
			t.Errorf("found %v in %q", found, text)
		}
	}
	s.Plant("token", "abcdefghijklmnopqrstuvwxyz")
	if found := s.Find("abcdefghijklm..."); len(found) != 1 || found[0] != "token, first half" {
		t.Errorf("half a token: found %v", found)
	}
}

// What prints itself carelessly is caught by Print, wherever it hides.
func TestPrintCatchesCarelessTypes(t *testing.T) {
	var s canary.Search
	s.Plant("secret", "canary-7f3a")
	for name, v := range map[string]any{
		"all": struct{ X string }{"canary-7f3a"}, "only %#v": onlyGoString{"canary-7f3a"}, "only %d": onlyD{"canary-7f3a"}, "only JSON": onlyJSON{"canary-7f3a"},
		"only in a chain": fmt.Errorf("harmless: %w", onlyBehind{}), "only slog": onlySlog{"canary-7f3a"},
	} {
		text := canary.PrintAll(v)
		if err, ok := v.(error); ok {
			text += canary.PrintChain(err)
		} else {
			text += canary.Print(v)
		}
		if len(s.Find(text)) == 0 {
			t.Errorf("%s: not caught in\n%s", name, text)
		}
	}
	if len(s.Find(canary.PrintHidden(onlyHidden{"canary-7f3a"}))) == 0 {
		t.Error("a text in a field that is not exported is not caught")
	}
	if found := s.Find(canary.Print(onlyHidden{"canary-7f3a"})); len(found) > 0 {
		t.Errorf("Print goes around methods: %v", found)
	}
}

type hides struct{ text string }

func (hides) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte("hidden")) }
func (hides) LogValue() slog.Value         { return slog.StringValue("hidden") }
func (hides) MarshalJSON() ([]byte, error) { return []byte(`"hidden"`), nil }

type (
	onlyGoString hides
	onlyD        hides
	onlyJSON     struct{ X string }
	onlySlog     struct{ X string }
	onlyHidden   = hides
	onlyBehind   struct{}
)

func (o onlyGoString) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') {
		_, _ = f.Write([]byte(o.text))
	}
}

func (o onlyD) Format(f fmt.State, verb rune) {
	if verb == 'd' {
		_, _ = f.Write([]byte(o.text))
	}
}

func (onlyJSON) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("hidden")) }
func (onlyJSON) LogValue() slog.Value       { return slog.StringValue("hidden") }

func (onlySlog) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte("hidden")) }
func (onlySlog) MarshalJSON() ([]byte, error) { return []byte(`"hidden"`), nil }
func (o onlySlog) LogValue() slog.Value       { return slog.StringValue(o.X) }

func (onlyBehind) Error() string { return "canary-7f3a" }
