// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/storetest"
)

// found are the checks of a doctor, as "status text".
func (d *doctor) found() (all []string) {
	for _, c := range d.checks {
		all = append(all, string(c.Status)+" "+c.Found)
	}
	return all
}

// What was skipped is not among the promises that are kept.
func TestSkippedChecksAreNotPassed(t *testing.T) {
	d := newDoctor()
	d.judgeStore([]storetest.Result{{Name: "a"}, {Name: "finder", Skipped: "the store is no tokenstore.Finder; without it, somebody is lost"}, {Name: "b"}})
	want := []string{"skip finder was not tried: the store is no tokenstore.Finder; without it, somebody is lost", "ok the database keeps all 2 promises of a store"}
	if diff := cmp.Diff(want, d.found()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	d = newDoctor()
	d.judgeStore([]storetest.Result{{Name: "a"}, {Name: "b", Why: "links are lost", Problems: []string{"a write is not there"}}})
	if diff := cmp.Diff([]string{"fail b: a write is not there"}, d.found()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Links that nobody looks after, and notices that nobody accepts, are noticed, with what
// to do about which.
func TestCare(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	due := func(late time.Duration) tokenstore.Record {
		return tokenstore.Record{AppUserID: "u", State: tokenstore.StateLinked, TendAt: at.Add(-late)}
	}
	owing := func(since time.Duration, tries int) tokenstore.Record {
		r := due(since)
		r.Details = fmt.Appendf(nil, `{"v":1,"notices":[{"n":1,"kind":1,"at":%q,"tries":%d},{"n":2,"kind":2,"at":%[1]q}]}`, at.Add(-since).Format(time.RFC3339), tries)
		return r
	}
	for name, test := range map[string]struct {
		records []tokenstore.Record
		want    string
		fix     string
	}{
		"nothing":                        {nil, "ok nothing is overdue", ""},
		"in time":                        {[]tokenstore.Record{due(-time.Hour), due(2 * time.Hour), {AppUserID: "u"}}, "ok nothing is overdue", ""},
		"overdue":                        {[]tokenstore.Record{due(4 * time.Hour), due(50 * time.Hour), due(0)}, "warn nobody looks after the links: 2 are overdue, since 2d ago", "pkbctl tend -once"},
		"notices on their way":           {[]tokenstore.Record{owing(time.Hour, 1)}, "ok nothing is overdue; notices of 1 link wait", ""},
		"refused":                        {[]tokenstore.Record{owing(5*time.Hour, 9), owing(4*time.Hour, 7), owing(0, 0)}, "warn notices of 3 links are not delivered, the oldest from 5h ago; Config.Notify has refused one up to 9 times", "Config.Notify writes to"},
		"delivered by nobody":            {[]tokenstore.Record{owing(72*time.Hour, 0)}, "warn notices of 1 link are not delivered, the oldest from 3d ago, and Config.Notify was never called", "has Config.Notify"},
		"a notice is not an overdue one": {[]tokenstore.Record{owing(time.Hour, 0), due(4 * time.Hour)}, "warn nobody looks after the links: 1 is overdue, since 4h ago", "Client.Tend"},
	} {
		c := care{at: at}
		for _, r := range test.records {
			c.look(r)
		}
		d := newDoctor()
		d.judgeCare(c)
		if diff := cmp.Diff([]string{test.want}, d.found()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		} else if !strings.Contains(d.checks[0].Fix, test.fix) || (d.checks[0].Fix == "") != (test.fix == "") {
			t.Errorf("%s: the fix is %q, want %q in it", name, d.checks[0].Fix, test.fix)
		}
	}
}
