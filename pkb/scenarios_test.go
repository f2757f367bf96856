// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"errors"
	"net/http"
	"net/http/cookiejar"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// S07: users share one http.Client, its connections and, by mistake, a cookie
// jar; across refreshes, rejected tokens and clients, nobody's request carries
// another's token, and the host's http.Client stays as it was.
func TestSharedTransportMixesNoUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const header = "X-For-User" // so that the transport knows whose request it is
		var mu sync.Mutex
		owner := map[string]string{} // bearer -> user
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		shared := &http.Client{Jar: jar}
		r := newRig(t)
		shared.Transport = roundTrip(func(q *http.Request) (*http.Response, error) {
			if u := q.Header.Get(header); u != "" {
				bearer := q.Header.Get("Authorization")
				mu.Lock()
				if was := owner[bearer]; bearer == "" || was != "" && was != u {
					t.Errorf("the request of user %s carries the token of user %q", u, was)
				}
				owner[bearer] = u
				mu.Unlock()
			}
			if q.Header.Get("Cookie") != "" {
				t.Error("a cookie was sent")
			}
			resp, err := r.pkb.Transport().RoundTrip(q)
			if err == nil {
				resp.Header.Set("Set-Cookie", "session=of-somebody; Path=/")
			}
			return resp, err
		})
		r.config.HTTPClient = shared
		r.Client = r.replica(t)
		other := r.replica(t) // of the same program, on the same connections

		names := map[string]string{}
		for _, u := range []string{"a", "b", "c", "d", "e"} {
			p := r.pkb.AddPatient(pkbtest.Patient{FirstName: "Patient of " + u})
			r.link(t, u, p)
			names[u] = p.FirstName
		}
		for round := range 4 {
			if round == 2 { // some tokens are rejected before their time
				r.pkb.Next(pkbtest.Self, pkbtest.Respond(401, "", ""), pkbtest.Respond(401, "", ""))
			}
			var wg sync.WaitGroup
			for u, name := range names {
				for _, c := range []*pkb.Client{r.Client, other} {
					for range 10 {
						wg.Go(func() {
							q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.pkb.URL()+"/json/users/self", nil)
							if err != nil {
								t.Error(err)
								return
							}
							q.Header.Set(header, u)
							resp, err := c.HTTPClient(u).Do(q)
							if err != nil {
								t.Errorf("user %s: %v", u, err)
								return
							}
							_ = resp.Body.Close()
							if self, err := c.ForUser(u).Self(t.Context()); err != nil || self.Reveal().FirstName != name {
								t.Errorf("user %s got another patient, or %v", u, err)
							}
						})
					}
				}
			}
			wg.Wait()
			r.pkb.Advance(11 * time.Minute)
		}
		if r.pkb.ReusedRefreshTokens() != 0 {
			t.Errorf("%d refresh tokens came twice", r.pkb.ReusedRefreshTokens())
		}
		if shared.Jar != jar || shared.CheckRedirect != nil || shared.Timeout != 0 {
			t.Error("the host's http.Client was changed")
		}
	})
}

// S27: the first call after a refresh fails, however: the pair was saved before
// it, serves all processes, and is not refreshed again.
func TestFailureRightAfterARefresh(t *testing.T) {
	for name, fault := range map[string]pkbtest.Fault{
		"403":  pkbtest.Respond(403, "text/html", "<html>rate limit</html>"),
		"429":  pkbtest.Respond(429, "", ""),
		"500":  pkbtest.Respond(500, "text/html", "<html>"),
		"503":  pkbtest.Respond(503, "", ""),
		"page": pkbtest.Respond(200, "text/html", "<html>"),
		"cut":  pkbtest.Drop(),
	} {
		for endpoint, call := range map[pkbtest.Endpoint]func(*testing.T, *pkb.Client) error{
			pkbtest.Self:    func(t *testing.T, c *pkb.Client) error { return second(c.ForUser(user).Self(t.Context())) },
			pkbtest.Purview: func(t *testing.T, c *pkb.Client) error { return second(c.ForUser(user).Purview(t.Context())) },
		} {
			t.Run(name+" at "+string(endpoint), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, askOnce)
					r.link(t, user, r.patient)
					old := token(t.Context(), t, r.Client, user)
					r.pkb.Advance(11 * time.Minute)
					r.pkb.Next(endpoint, fault)
					var api *pkb.APIError
					if err := call(t, r.Client); !errors.As(err, &api) {
						t.Fatalf("the call: %v, want an APIError", err)
					}
					record, err := r.store.Load(t.Context(), user)
					if err != nil || record.Generation != 2 || record.State != tokenstore.StateLinked {
						t.Errorf("saved: generation %d, %s, %v", record.Generation, record.State, err)
					}
					other := r.replica(t)
					if got := token(t.Context(), t, other, user); got == old || got != token(t.Context(), t, r.Client, user) {
						t.Error("the replicas do not share the new token")
					}
					if err := call(t, other); err != nil {
						t.Errorf("the next call: %v", err)
					}
					if r.pkb.Refreshes() != 1 || r.pkb.ReusedRefreshTokens() != 0 {
						t.Errorf("%d refreshes, %d reused tokens", r.pkb.Refreshes(), r.pkb.ReusedRefreshTokens())
					}
				})
			})
		}
	}
}

// S49: the host's database was restored from a backup: each link is told lost
// with its cause after one POST, and a new approval repairs it.
func TestRestoredDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		patients := map[string]*pkbtest.Patient{}
		for _, u := range []string{"a", "b", "c", "d", "e"} {
			patients[u] = r.pkb.AddPatient(pkbtest.Patient{})
			r.link(t, u, patients[u])
		}
		backup, err := r.store.List(t.Context(), "", 10)
		if err != nil {
			t.Fatal(err)
		}
		r.pkb.Advance(11 * time.Minute)
		for u := range patients {
			token(t.Context(), t, r.Client, u)
		}
		for _, old := range backup {
			now, err := r.store.Load(t.Context(), old.AppUserID)
			if err != nil {
				t.Fatal(err)
			}
			old.Version = now.Version
			if _, err := r.store.Save(t.Context(), old); err != nil {
				t.Fatal(err)
			}
		}
		restarted := r.replica(t)
		for range 10 {
			for u := range patients {
				var relink *pkb.RelinkError
				if _, err := restarted.Token(t.Context(), u); !errors.As(err, &relink) || relink.Cause != observe.CauseSessionInvalid {
					t.Errorf("user %s: %v, want relink required: %s", u, err, observe.CauseSessionInvalid)
				}
			}
		}
		if n := r.pkb.Refreshes(); n != 2*len(patients) { // one each before, and one each since
			t.Errorf("%d refreshes", n)
		}
		for u, p := range patients {
			r.link(t, u, p)
			if _, err := restarted.ForUser(u).Self(t.Context()); err != nil {
				t.Errorf("user %s, approved again: %v", u, err)
			}
		}
	})
}
