// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

func onTerminal(width int, env map[string]string) (*call, *bytes.Buffer) {
	var out bytes.Buffer
	c := &call{console: console{
		out: &out, err: &out, terminal: true, watched: true, getenv: func(name string) string { return env[name] },
		size: func() (int, int) { return width, 24 },
	}}
	c.meter = &meter{c: c}
	return c, &out
}

func TestColours(t *testing.T) {
	for _, test := range []struct {
		env      map[string]string
		terminal bool
		coloured bool
	}{
		{nil, true, true},
		{nil, false, false},
		{map[string]string{"NO_COLOR": "1"}, true, false},
		{map[string]string{"TERM": "dumb"}, true, false},
	} {
		c, _ := onTerminal(80, test.env)
		c.terminal = test.terminal
		if got := c.paint("x", red) != "x"; got != test.coloured {
			t.Errorf("%+v: coloured %t", test, got)
		}
	}
}

func TestDistance(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		5 * time.Second: "in 5s", -90 * time.Second: "90s ago", 9*time.Minute + 59*time.Second: "in 9m", -3 * time.Hour: "3h ago", 72 * time.Hour: "in 3d",
	} {
		if got := distance(at.Add(d), at); got != want {
			t.Errorf("%v off is %q, want %q", d, got, want)
		}
	}
	if got := distance(time.Time{}, at); got != "-" {
		t.Errorf("no time is %q", got)
	}
}

// The dry run knows of every state in which a refresh may find a link.
func TestForesee(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	base := tokenstore.Record{AppUserID: "app-user-1", State: tokenstore.StateLinked, Generation: 3, ExpiresAt: at.Add(8 * time.Minute), DueAt: at.Add(6 * time.Minute)}
	held := tokenstore.Lease{Owner: "flight", TTL: 15 * time.Second, TakenAt: at.Add(-5 * time.Second)}
	for _, test := range []struct {
		name   string
		change func(*tokenstore.Record)
		want   action
	}{
		{"nothing is due", func(*tokenstore.Record) {}, actionNone},
		{"due, and the token is valid", func(r *tokenstore.Record) { r.DueAt = at.Add(-time.Second) }, actionRefresh},
		{"expired", func(r *tokenstore.Record) { r.ExpiresAt = at.Add(-time.Second) }, actionRefresh},
		{"too little left", func(r *tokenstore.Record) { r.ExpiresAt = at.Add(20 * time.Second) }, actionRefresh},
		{"somebody is at it", func(r *tokenstore.Record) { r.Lease = held; r.ExpiresAt = at }, actionWait},
		{"a lease that has ended", func(r *tokenstore.Record) { r.Lease = held; r.Lease.TakenAt = at.Add(-time.Hour); r.ExpiresAt = at }, actionRefresh},
		{"uncertain, and the token is valid", func(r *tokenstore.Record) { r.Tried = 1; r.State = tokenstore.StateUncertain }, actionNone},
		{"uncertain, and the token has expired", func(r *tokenstore.Record) { r.Tried = 1; r.State = tokenstore.StateUncertain; r.ExpiresAt = at }, actionRefresh},
		{"a response that cannot be read", func(r *tokenstore.Record) { r.Tried, r.Details = 1, []byte(`{"unread":true}`); r.ExpiresAt = at }, actionNone},
		{"ended", func(r *tokenstore.Record) { r.State, r.Cause = tokenstore.StateRelinkRequired, "session_expired" }, actionRelink},
	} {
		r := base
		test.change(&r)
		if got := foresee(r, at); got.Action != test.want || got.Why == "" {
			t.Errorf("%s: %s (%s), want %s", test.name, got.Action, got.Why, test.want)
		}
	}
}

// What people write for a database is found, and a file stays a file.
func TestLocate(t *testing.T) {
	for _, test := range []struct{ address, driver, dsn string }{
		{"postgres://app@127.0.0.1/app", "pgx", "postgres://app@127.0.0.1/app"},
		{"postgresql://app@127.0.0.1/app?sslmode=disable", "pgx", "postgresql://app@127.0.0.1/app?sslmode=disable"},
		{"mysql://root@127.0.0.1/app", "mysql", "root@tcp(127.0.0.1:3306)/app"},
		{"mariadb://app:p%40ss@db.example:3307/app?tls=true", "mysql", "app:p@ss@tcp(db.example:3307)/app?tls=true"},
		{"app:pass@tcp(127.0.0.1:3306)/app", "mysql", "app:pass@tcp(127.0.0.1:3306)/app"},
		{"app@unix(/run/mysqld/mysqld.sock)/app", "mysql", "app@unix(/run/mysqld/mysqld.sock)/app"},
	} {
		driver, dsn, _, err := locate(test.address, false)
		if err != nil || driver != test.driver || dsn != test.dsn {
			t.Errorf("%s: %s, %s, %v; want %s, %s", test.address, driver, dsn, err, test.driver, test.dsn)
		}
	}
	driver, dsn, _, err := locate(t.TempDir()+"/a b#c.db", true)
	if err != nil || driver != "sqlite" || !strings.Contains(dsn, "/a%20b%23c.db?_pragma=") {
		t.Errorf("a file with odd characters in its name: %s, %s, %v", driver, dsn, err)
	}
}
