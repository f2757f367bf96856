// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// other is code that knows nothing of this library, and obtained tokens.
type other struct {
	config oauth2.Config
	ctx    context.Context //nolint:containedctx // package oauth2 finds its HTTP client in it
}

func (r *rig) other(t *testing.T) other {
	t.Helper()
	return other{
		config: oauth2.Config{
			ClientID: clientID, RedirectURL: redirectURL, Scopes: []string{"PATIENT"},
			Endpoint: oauth2.Endpoint{AuthURL: r.config.Environment.AuthorizeURL, TokenURL: r.config.Environment.TokenURL, AuthStyle: oauth2.AuthStyleInParams},
		},
		ctx: context.WithValue(t.Context(), oauth2.HTTPClient, r.config.HTTPClient),
	}
}

// obtain returns the tokens of a patient who approves.
func (o other) obtain(t *testing.T, r *rig, p *pkbtest.Patient) *oauth2.Token {
	t.Helper()
	back, err := r.pkb.Approve(t.Context(), o.config.AuthCodeURL("a state"), p)
	if err != nil {
		t.Fatal(err)
	}
	token, err := o.config.Exchange(o.ctx, back.Query().Get("code"))
	if err != nil {
		t.Fatal(err)
	}
	token.Expiry = r.pkb.Now().Add(time.Duration(token.ExpiresIn) * time.Second)
	return token
}

// refresh does what such code does that was not stopped.
func (o other) refresh(t *testing.T, token *oauth2.Token) {
	t.Helper()
	spent := *token
	spent.Expiry = time.Now().Add(-time.Hour)
	if _, err := o.config.TokenSource(o.ctx, &spent).Token(); err != nil {
		t.Fatal(err)
	}
}

// What PKB could not be asked about is saved, is nobody's link yet, and is told: without
// Config.Identify too. The same call again goes on, and no token is sent twice.
func TestImportWhilePKBIsDown(t *testing.T) {
	for name, of := range map[string]struct {
		path    string
		expired bool
		sent    int // refreshes
	}{
		"Purview, and the access token serves":                 {"$purview", false, 0},
		"Purview, and the access token has expired":            {"$purview", true, 1},
		"the token endpoint, and the access token has expired": {"apiToken.action", true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, askOnce)
			var down atomic.Bool
			inner := r.config.HTTPClient.Transport
			r.config.HTTPClient = &http.Client{Transport: roundTrip(func(q *http.Request) (*http.Response, error) {
				if down.Load() && strings.HasSuffix(q.URL.Path, of.path) {
					return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
				}
				return inner.RoundTrip(q)
			})}
			r.Client = r.replica(t)
			token := r.other(t).obtain(t, r, r.patient)
			if of.expired {
				r.pkb.Advance(time.Hour)
			}
			down.Store(true)
			for range 2 {
				link, err := r.Import(t.Context(), user, token)
				if !errors.Is(err, pkb.ErrUnchecked) || !strings.Contains(err.Error(), "saved and could not be checked") {
					t.Fatalf("Import: %v, want ErrUnchecked", err)
				}
				if link.State != tokenstore.StatePending || !link.Unchecked || link.Verified {
					t.Errorf("it is not a candidate: %+v", link)
				}
			}
			down.Store(false)
			link, err := r.Import(t.Context(), user, token)
			if err != nil || link.State != tokenstore.StateLinked || !link.Verified {
				t.Errorf("once PKB responds: %+v, %v", link, err)
			}
			if n := r.pkb.Refreshes(); n != of.sent {
				t.Errorf("%d refreshes were sent, want %d", n, of.sent)
			}
		})
	}
}

// A pair that is no use, or is not the user's, is refused with the reason, leaves nothing
// behind, and is not presented a second time.
func TestImportsOfNoUse(t *testing.T) {
	expired := func(r *rig, token *oauth2.Token) { token.Expiry = r.pkb.Now().Add(-time.Second) }
	for name, of := range map[string]struct {
		before func(t *testing.T, r *rig, o other, token *oauth2.Token)
		want   error
		cause  observe.Cause
		sent   int // refreshes, with those of the other code
	}{
		"refreshed elsewhere since": {func(t *testing.T, r *rig, o other, token *oauth2.Token) {
			o.refresh(t, token)
			expired(r, token)
		}, pkb.ErrRelinkRequired, observe.CauseSessionInvalid, 2},
		"its session has expired": {func(_ *testing.T, r *rig, _ other, token *oauth2.Token) {
			r.pkb.EndSessions(nil)
			expired(r, token)
		}, pkb.ErrRelinkRequired, observe.CauseSessionExpired, 1},
		"another client's": {func(_ *testing.T, r *rig, _ other, token *oauth2.Token) {
			token.AccessToken, token.RefreshToken = "of-another", "client-id"
			expired(r, token)
		}, pkb.ErrRelinkRequired, observe.CauseGrantRejected, 1},
		"a patient who is another user's": {func(t *testing.T, r *rig, _ other, _ *oauth2.Token) {
			r.link(t, "user-2", r.patient)
		}, pkb.ErrSharedRecord, "", 0},
		"a professional's": {func(_ *testing.T, r *rig, _ other, _ *oauth2.Token) {
			p := *r.patient
			p.Purview = []string{"Practitioner/" + p.PublicID}
			r.pkb.AddPatient(p)
		}, identity.ErrNotAPatient, "", 0},
		"not the person whom the host knows": {func(t *testing.T, r *rig, _ other, _ *oauth2.Token) {
			r.config.Identify = func(context.Context, pkb.Candidate) error { return pkb.ErrIdentityRefused }
			r.Client = r.replica(t)
		}, pkb.ErrIdentityRefused, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, askOnce)
			o := r.other(t)
			token := o.obtain(t, r, r.patient)
			of.before(t, r, o, token)
			_, err := r.Import(t.Context(), user, token)
			if !errors.Is(err, of.want) {
				t.Fatalf("Import: %v, want %v", err, of.want)
			}
			if lost, ok := errors.AsType[*pkb.RelinkError](err); ok && lost.Cause != of.cause {
				t.Errorf("the cause is %s, want %s", lost.Cause, of.cause)
			}
			if shared, ok := errors.AsType[*pkb.SharedRecordError](err); ok && !slices.Equal(shared.AppUserIDs, []string{"user-2"}) {
				t.Errorf("the record is shared with %q", shared.AppUserIDs)
			}
			if _, err := r.Link(t.Context(), user); !errors.Is(err, pkb.ErrNotLinked) {
				t.Errorf("something is left behind: %v", err)
			}
			if _, err := r.Import(t.Context(), user, token); !errors.Is(err, pkb.ErrState) {
				t.Errorf("the same pair again: %v, want ErrState", err)
			}
			if n := r.pkb.Refreshes(); n != of.sent {
				t.Errorf("%d refreshes were sent, want %d", n, of.sent)
			}
		})
	}
}

// A link that works stays as it is, whatever is imported over it.
func TestImportLeavesALinkAlone(t *testing.T) {
	r := newRig(t)
	token := r.other(t).obtain(t, r, r.patient)
	before := r.link(t, user, r.patient)
	link, err := r.Import(t.Context(), user, token)
	if !errors.Is(err, pkb.ErrOvertaken) || link != before {
		t.Errorf("Import: %v, and the link is %+v, want ErrOvertaken and %+v", err, link, before)
	}
	if n := r.pkb.Refreshes(); n != 0 {
		t.Errorf("%d refreshes were sent", n)
	}
	if _, err := r.ForUser(user).Self(t.Context()); err != nil {
		t.Errorf("the link does not work: %v", err)
	}
}

// What cannot be imported is refused, and changes nothing.
func TestImportRefuses(t *testing.T) {
	server := pkbtest.New(pkbtest.Config{})
	ada := server.AddPatient(pkbtest.Patient{})
	client, err := demoClient(server, pkb.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []*oauth2.Token{nil, {}, {AccessToken: "a"}, {RefreshToken: "r"}} {
		if _, err := client.Import(t.Context(), "app-user-1", token); err == nil || strings.Contains(err.Error(), "app-user-1") {
			t.Errorf("%v", err)
		}
	}
	expired := &oauth2.Token{AccessToken: "a", RefreshToken: "unknown", Expiry: server.Now().Add(-time.Hour)}
	if _, err := client.Import(t.Context(), "app-user-1", expired); !errors.Is(err, pkb.ErrRelinkRequired) {
		t.Errorf("a token that PKB does not know: %v", err)
	}
	if _, err := client.Import(t.Context(), "app-user-1", expired); !errors.Is(err, pkb.ErrState) {
		t.Errorf("the same again: %v", err)
	}
	if _, err := client.Link(t.Context(), "app-user-1"); !errors.Is(err, pkb.ErrNotLinked) {
		t.Errorf("Link: %v", err)
	}
	demoLink(t.Context(), server, ada, client)
	other := &oauth2.Token{AccessToken: "b", RefreshToken: "other", Expiry: server.Now().Add(time.Hour)}
	if _, err := client.Import(t.Context(), "app-user-1", other); !errors.Is(err, pkb.ErrOvertaken) {
		t.Errorf("a user who is linked: %v", err)
	}
	if _, err := client.Import(t.Context(), "", other); !errors.Is(err, pkb.ErrAppUserID) {
		t.Errorf("nobody: %v", err)
	}
	if err := client.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Import(t.Context(), "app-user-2", other); !errors.Is(err, pkb.ErrClosed) {
		t.Errorf("a closed client: %v", err)
	}
	if err := client.Tend(t.Context()); !errors.Is(err, pkb.ErrClosed) {
		t.Errorf("Tend: %v", err)
	}
}
