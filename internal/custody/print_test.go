// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"fmt"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

func TestNothingOfTokensIsPrinted(t *testing.T) {
	kept := answer{Body: []byte("canary")}
	held := secrets{Main: &kept, Unread: []byte("canary")}
	for name, v := range map[string]any{
		"answer": kept, "secrets": held, "pair": pair{grant: tokenwire.Grant{AccessToken: "canary"}}, "*secrets": &held,
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
			if got := fmt.Sprintf(verb, v); got != redacted {
				t.Errorf("%s under %s: %s", name, verb, got)
			}
		}
	}
	if got := fmt.Sprintf("%+v", row{Record: tokenstore.Record{AppUserID: "user"}, secrets: held}); strings.Contains(got, "canary") || strings.Contains(got, "user") {
		t.Errorf("a row prints %s", got)
	}
}
