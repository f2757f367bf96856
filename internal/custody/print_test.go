// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

func TestNothingOfTokensIsPrinted(t *testing.T) {
	kept := answer{Body: []byte("canary")}
	held := secrets{Active: &kept, Unread: []byte("canary")}
	for name, v := range map[string]any{
		"answer": kept, "response": kept.Body, "secrets": held, "pair": pair{grant: tokenwire.Grant{AccessToken: "canary"}}, "*secrets": &held,
		"Token": Token{Value: "canary"}, "Candidate": Candidate{AccessToken: "canary"},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
			if got := fmt.Sprintf(verb, v); got != redacted {
				t.Errorf("%s under %s: %s", name, verb, got)
			}
		}
	}
	// So do holders in unexported fields, whose methods fmt does not call.
	id := core.PairID{Session: "session", Seq: 1}
	v := newVault()
	v.answers[id], v.unread[id] = &kept, []byte("canary")
	held.rest = &unknown{members: map[string]json.RawMessage{"later": []byte(`"canary"`)}}
	r := row{stored: tokenstore.Record{AppUserID: "canary"}, secrets: held, vault: v}
	l := live{Token: Token{Value: "canary"}}
	e := &entry{user: "canary"}
	e.live.Store(&l)
	for _, what := range []any{r, &r, v, memory{kept: func() row { return r }}, &trip{e: e, row: r, vault: v}, l, &l, &flight{token: l.Token}, e, &Approval{User: "canary", record: r.stored}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
			got := fmt.Sprintf(verb, what)
			for _, canary := range []string{"canary", fmt.Sprintf("%v", []byte("canary")), fmt.Sprintf("%x", "canary")} {
				if strings.Contains(got, canary) {
					t.Errorf("%T under %s prints what it holds", what, verb)
				}
			}
		}
	}
}
