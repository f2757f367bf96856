// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

func TestOperator(t *testing.T) {
	r := newRig(t, "")
	one, two := r.replicas[0], r.replicas[1]
	amira, olu := newPerson(t), newPerson(t)
	amira.signIn(one, "amira")
	amira.link(r, one, one)
	for _, path := range []string{"operator", "operator/links/~amira"} {
		if a := amira.get(one.url + path); a.status != http.StatusForbidden {
			t.Errorf("a patient at /%s: status %d, want 403", path, a.status)
		}
	}
	mustShow(t, olu.signIn(two, "olu"), "1 link, none needs anybody", "amira", "link="+observe.LinkName("amira"))
	page := olu.get(two.url + "operator/links/~amira")
	mustShow(t, page, "Link of amira", "Linked", "exchanged", "Approved", r.patient.PublicID)
	// An operator sees the link, and not the patient.
	mustNotShow(t, page, "Canary", r.patient.NHSNumber, "1961")
	for path, want := range map[string]int{
		"account": http.StatusForbidden, "unlink": http.StatusForbidden, "switch": http.StatusForbidden, "pkb/link": http.StatusUnauthorized,
		"operator/links/~nobody": http.StatusNotFound, "operator/links/amira": http.StatusNotFound, "operator/links/~": http.StatusNotFound,
		"operator/links/~" + url.PathEscape("a/../b?\xff"): http.StatusNotFound,
	} {
		if a := olu.get(one.url + path); a.status != want {
			t.Errorf("an operator at /%s: status %d, want %d", path, a.status, want)
		}
	}

	r.pkb.EndSessions(r.patient)
	amira.get(one.url + "account")
	mustShow(t, olu.get(one.url+"operator"), "1 of them needs somebody", `>Session expired <span class="count">1<`)
	ended := olu.get(two.url + "operator/links/~amira")
	mustShow(t, ended, "Ended", "API_SESSION_EXPIRED", `value="`+two.url+`pkb/link"`, "What to tell the patient")
	mustNotShow(t, ended, "Config.")

	amira.post(one.url+"unlink", nil)
	mustShow(t, olu.get(two.url+"operator"), "0 links")
	mustShow(t, olu.get(two.url+"operator/links/~amira"), "Not linked", "Unlinked")
}

// An operator's refresh is the patient's next call, and no more.
func TestOperatorRefreshes(t *testing.T) {
	r := newRig(t, "")
	one, two := r.replicas[0], r.replicas[1]
	amira, olu := newPerson(t), newPerson(t)
	amira.signIn(one, "amira")
	amira.link(r, one, one)
	olu.signIn(two, "olu")
	refresh := func() answer { return olu.post(two.url+"operator/links/~amira/refresh", nil) }
	mustShow(t, refresh(), "Nothing was sent")
	if n := r.pkb.ReusedRefreshTokens(); n != 0 {
		t.Errorf("%d refresh tokens presented twice", n)
	}
	if a := amira.post(one.url+"operator/links/~amira/refresh", nil); a.status != http.StatusForbidden {
		t.Errorf("a patient: status %d, want 403", a.status)
	}
	amira.post(one.url+"unlink", nil)
	mustShow(t, refresh(), "only the patient can repair it")
}

// storeOf opens the rig's store beside the app.
func storeOf(t *testing.T, r *rig) *sqlstore.Store {
	t.Helper()
	db, dialect, err := openDatabase(r.settings.db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	store, err := sqlstore.New(db, sqlstore.Config{Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

var hrefs = regexp.MustCompile(`<th role="rowheader" scope="row"><a href="([^"]*)">([^<]*)</a>`)

// A host's ids are any UTF-8. Each leads from the list to its own page.
func TestEveryUserHasAPage(t *testing.T) {
	ids := []string{
		"a?b", "a/b", "a#b", "a%b", "a%2Fb", "a;b", "a b", "a+b", "a&b=c", "👩‍⚕️", "..", ".", "../..", "~", "~amira", "'\"<b>", "Zoë", "\u202eabc", "a\\b", "a:b", "//x", "?", "#", strings.Repeat("ü", 512),
	}
	slices.Sort(ids)
	r := newRig(t, "")
	one := r.replicas[0]
	store := storeOf(t, r)
	for _, id := range ids {
		if _, err := store.Save(t.Context(), tokenstore.Record{AppUserID: id, Environment: "tests", ClientID: testClientID, State: tokenstore.StateLinked}); err != nil {
			t.Fatal(err)
		}
	}
	olu := newPerson(t)
	var shown []string
	for _, m := range hrefs.FindAllStringSubmatch(olu.signIn(one, "olu").body, -1) {
		user := html.UnescapeString(m[2])
		shown = append(shown, user)
		address, err := url.Parse(one.url)
		if err != nil {
			t.Fatal(err)
		}
		if address, err = address.Parse(html.UnescapeString(m[1])); err != nil {
			t.Errorf("%q: %v", user, err)
			continue
		}
		a := olu.get(address.String())
		if want := "Link of " + user + " - Example Health"; a.status != http.StatusOK || a.title() != want {
			t.Errorf("%s: status %d, title %q, want %q", m[1], a.status, a.title(), want)
		}
		mustShow(t, a, "link="+observe.LinkName(user))
		if found := olu.get(one.url + "operator?q=" + url.QueryEscape(user)); !strings.Contains(found.body, `data-key="`+observe.LinkName(user)+`"`) {
			t.Errorf("the search for %q does not find it", user)
		}
	}
	if diff := cmp.Diff(ids, shown); diff != "" {
		t.Errorf("the list (-want +got):\n%s", diff)
	}
}

// madeUpRig has so many made-up links, on one replica.
func madeUpRig(t *testing.T, db string, links int) (*rig, *person) {
	t.Helper()
	r := newRig(t, db)
	s := r.settings
	s.links = links
	h := begin(t, s, r.log)
	r.replicas = append(r.replicas, h)
	olu := newPerson(t)
	olu.signIn(r.replicas[0], "olu")
	return r, olu
}

// shownUsers are the users on a page.
func shownUsers(a answer) (users []string) {
	for _, m := range hrefs.FindAllStringSubmatch(a.body, -1) {
		users = append(users, html.UnescapeString(m[2]))
	}
	return users
}

var counts = regexp.MustCompile(`<a class="chip" href="([^"]*)"[^>]*>[^<]* <span class="count">([\d,]+)</span>`)

// Each filter leaves what its chip counts, page by page, and each link once.
func TestFilters(t *testing.T) {
	const links = 230
	r, olu := madeUpRig(t, "", links)
	one := r.replicas[0]
	chips := counts.FindAllStringSubmatch(olu.get(one.url+"operator").body, -1)
	if len(chips) < 7+len(allCauses(t)) {
		t.Errorf("%d chips, want one for each state and each cause", len(chips))
	}
	for _, m := range chips {
		var users []string
		next := html.UnescapeString(m[1])
		for next != "" {
			a := olu.get(strings.TrimSuffix(one.url, "/") + next)
			if len(a.body) > 200<<10 {
				t.Errorf("%s: %d bytes", next, len(a.body))
			}
			page := shownUsers(a)
			if len(page) > pageSize {
				t.Errorf("%s: %d links on one page", next, len(page))
			}
			users = append(users, page...)
			next = ""
			if to := regexp.MustCompile(`rel="next" href="([^"]*)"`).FindStringSubmatch(a.body); to != nil {
				next = html.UnescapeString(to[1])
			}
		}
		if n := number(len(users)); n != m[2] {
			t.Errorf("%s: %s links, and the chip says %s", m[1], n, m[2])
		}
		slices.Sort(users)
		if once := slices.Compact(slices.Clone(users)); len(once) != len(users) {
			t.Errorf("%s: a link is shown twice", m[1])
		}
	}
	// What needs somebody comes first.
	first := olu.get(one.url + "operator")
	for _, m := range regexp.MustCompile(`class="tag (\w+)"`).FindAllStringSubmatch(first.body, -1)[:20] {
		if m[1] == "green" {
			t.Error("a link that works is among the first, and others need somebody")
		}
	}
	for _, nonsense := range []string{"?page=-1", "?page=999999", "?page=x", "?show=nonsense", "?show=ended-nonsense", "?q=%00", "?q=%ff", "?page=9223372036854775807"} {
		if a := olu.get(one.url + "operator" + nonsense); a.status != http.StatusOK {
			t.Errorf("%s: status %d", nonsense, a.status)
		}
	}
}

func TestSearch(t *testing.T) {
	r, olu := madeUpRig(t, "", 230)
	one := r.replicas[0]
	record, err := storeOf(t, r).Load(t.Context(), madeUpUser(100))
	if err != nil {
		t.Fatal(err)
	}
	search := func(q string) []string {
		return shownUsers(olu.get(one.url + "operator?q=" + url.QueryEscape(q)))
	}
	for q, want := range map[string][]string{
		record.AppUserID: {record.AppUserID}, "  " + record.AppUserID + " ": {record.AppUserID},
		record.PublicID: {record.AppUserID}, strings.ToUpper(record.PublicID): {record.AppUserID},
		observe.LinkName(record.AppUserID): {record.AppUserID}, "link=" + observe.LinkName(record.AppUserID): {record.AppUserID},
		observe.LinkName(record.AppUserID)[:8]: {record.AppUserID},
		"SOMEONE.000017":                       {madeUpUser(17)}, "zoë": {madeUpUser(42), madeUpUser(142)},
		"nobody at all": nil, "%": {madeUpUser(42), madeUpUser(142)}, "'": nil, "link=000000000000": nil,
	} {
		got := search(q)
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("search for %q (-want +got):\n%s", q, diff)
		}
	}
	mustShow(t, olu.get(one.url+"operator?q=user"), "1 to 50 of", "Page 1 of", "page=2&amp;q=user")
}

// The links of others in the same table are not ours to show.
func TestOnlyOurLinks(t *testing.T) {
	r := newRig(t, "")
	one := r.replicas[0]
	store := storeOf(t, r)
	for _, record := range []tokenstore.Record{
		{AppUserID: "of-another-client", Environment: "tests", ClientID: "another"},
		{AppUserID: "of-another-environment", Environment: "production", ClientID: testClientID},
		{AppUserID: "never-finished", Environment: "tests", ClientID: testClientID, State: tokenstore.StatePending},
		{AppUserID: "was-unlinked", Environment: "tests", ClientID: testClientID, State: tokenstore.StateUnlinked},
	} {
		if record.State == "" {
			record.State = tokenstore.StateLinked
		}
		record.PublicID = "1d4a8b2d-f885-499f-ba51-50600312f316"
		if _, err := store.Save(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	}
	olu := newPerson(t)
	mustShow(t, olu.signIn(one, "olu"), "0 links")
	for _, q := range []string{"another", "finished", "unlinked", "1d4a8b2d-f885-499f-ba51-50600312f316"} {
		if a := olu.get(one.url + "operator?q=" + q); len(shownUsers(a)) > 0 {
			t.Errorf("%s: %q are shown", q, shownUsers(a))
		}
	}
}

// The operator's pages are as quick with 100,000 links: a page asks for a page.
func TestManyLinks(t *testing.T) {
	links := 100_000
	if testing.Short() || raced {
		links = 2_000
	}
	begun := time.Now()
	r, olu := madeUpRig(t, scratchPostgres(t), links)
	t.Logf("%d links made up in %v", links, time.Since(begun).Round(time.Millisecond))
	one := r.replicas[0]
	user := madeUpUser(links - 1)
	for _, path := range []string{
		"operator", "operator?show=linked", "operator?show=linked&page=1700", "operator?show=ended&page=3", "operator?show=ended-session_expired", "operator?show=soon",
		"operator?q=" + url.QueryEscape(user), "operator?q=" + observe.LinkName(user), "operator?q=user-", strings.TrimPrefix(linkPath(user), "/"),
	} {
		var quickest, first time.Duration
		var size int
		for range 3 {
			begun := time.Now()
			a := olu.get(one.url + path)
			took := time.Since(begun)
			if quickest == 0 || took < quickest {
				quickest = took
			}
			first, size = a.first, len(a.body)
			if a.status != http.StatusOK || size > 200<<10 {
				t.Errorf("/%s: status %d, %d bytes", path, a.status, size)
			}
		}
		t.Logf("%-55s first byte %6.1f ms, quickest of 3 %6.1f ms, %5.1f KiB", path, float64(first.Microseconds())/1000, float64(quickest.Microseconds())/1000, float64(size)/1024)
		if quickest > 3*time.Second { // what a busy machine makes of a few hundred milliseconds
			t.Errorf("/%s takes %v", path, quickest)
		}
	}
	version := olu.get(one.url + "operator").header.Get("ETag")
	if a := olu.send(http.MethodGet, one.url+"operator", nil, map[string]string{"If-None-Match": version}); a.status != http.StatusNotModified || len(a.body) > 0 {
		t.Errorf("a look at a page that has not changed: status %d, %d bytes", a.status, len(a.body))
	}
}
