// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
	"strings"
	"testing"
)

func TestParsePublicID(t *testing.T) {
	const id = PublicID("1d4a8b2d-f885-499f-ba51-50600312f316")
	for _, s := range []string{string(id), strings.ToUpper(string(id)), " " + string(id) + "\n"} {
		if got, err := ParsePublicID(s); err != nil || got != id {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for s, number := range map[string]bool{
		"": false, "7300000": true, "canary": false, "1d4a8b2df885499fba5150600312f316": false, "Patient/" + string(id): false,
		"urn:uuid:" + string(id): false, "{" + string(id) + "}": false, string(id)[:35]: false, string(id) + "0": false,
		"1d4a8b2d-f885-499f-ba51-50600312f31g": false, "1d4a8b2d_f885_499f_ba51_50600312f316": false,
	} {
		got, err := ParsePublicID(s)
		switch {
		case !errors.Is(err, errNotAUUID) || got != "":
			t.Errorf("%q: %q, %v, want an error", s, got, err)
		case strings.Contains(err.Error(), "user id of users/self") != number:
			t.Errorf("%q: %v", s, err)
		case s != "" && strings.Contains(err.Error(), s):
			t.Errorf("%q is in the error", s)
		}
	}
}

func FuzzParsePublicID(f *testing.F) {
	for _, seed := range []string{"1D4A8B2D-F885-499F-BA51-50600312F316", "7300000", "", "urn:uuid:x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParsePublicID(s)
		if err != nil {
			return
		}
		if again, err := ParsePublicID(string(id)); err != nil || again != id || !strings.EqualFold(strings.TrimSpace(s), string(id)) {
			t.Errorf("%q: %q, then %q, %v", s, id, again, err)
		}
	})
}
