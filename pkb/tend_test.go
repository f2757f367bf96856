// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// told is a client whose notices are kept in notices.
func told(t *testing.T, server *pkbtest.Server, notices *[]observe.Notice, change ...func(*pkb.Config)) *pkb.Client {
	t.Helper()
	c := pkb.Config{Notify: func(_ context.Context, n observe.Notice) error {
		*notices = append(*notices, n)
		return nil
	}}
	for _, f := range change {
		f(&c)
	}
	client, err := demoClient(server, c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func tendOnce(t *testing.T, client *pkb.Client) {
	t.Helper()
	if _, err := client.TendOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A host hears of a link, of its end twice before it comes, and of the end, though
// nobody calls.
func TestNoticesOfALinksLife(t *testing.T) {
	const month = 30 * 24 * time.Hour
	server := pkbtest.New(pkbtest.Config{SessionLife: month})
	ada := server.AddPatient(pkbtest.Patient{})
	var notices []observe.Notice
	client := told(t, server, &notices, func(c *pkb.Config) { c.SessionLife = month })
	demoLink(t.Context(), server, ada, client)
	for range 33 {
		tendOnce(t, client)
		server.Advance(24 * time.Hour)
	}
	var got []string
	for _, n := range notices {
		got = append(got, fmt.Sprint(n.Kind, " ", n.Cause, n.Last))
	}
	want := "linked false; ends_soon false; ends_soon true; relink_required session_expiredfalse"
	if strings.Join(got, "; ") != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if text := fmt.Sprintf("%v %+v %s", notices[0], notices, notices[0].String()); strings.Contains(text, "app-user-1") {
		t.Errorf("a notice prints the user: %s", text)
	}
	if b, err := json.Marshal(notices[0]); err != nil || !strings.Contains(string(b), `"app_user_id":"app-user-1"`) {
		t.Errorf("%s, %v", b, err)
	}
}

// Health tells whether somebody looks after links, and what is not delivered.
func TestHealthOfTending(t *testing.T) {
	server := pkbtest.New(pkbtest.Config{})
	ada := server.AddPatient(pkbtest.Patient{})
	client, err := demoClient(server, pkb.Config{Notify: func(context.Context, observe.Notice) error { return errors.New("full") }})
	if err != nil {
		t.Fatal(err)
	}
	demoLink(t.Context(), server, ada, client)
	tendOnce(t, client)
	if h := client.Health(t.Context()); h.Undelivered != 1 || h.Tending {
		t.Errorf("%+v", h)
	}
}

// counter is a Telemetry that hears of tending.
type counter struct {
	listener
	sweeps   []observe.Sweep
	notified []string
}

func (c *counter) Swept(s observe.Sweep) { c.sweeps = append(c.sweeps, s) }

func (c *counter) Notified(kind observe.EventKind, accepted bool) {
	c.notified = append(c.notified, fmt.Sprint(kind, " ", accepted))
}

// Telemetry hears how many links were looked at, which notices were accepted, and what
// kept a sweep from its work.
func TestTelemetryOfTending(t *testing.T) { synctest.Test(t, testTelemetryOfTending) }

func testTelemetryOfTending(t *testing.T) {
	server := pkbtest.New(pkbtest.Config{})
	ada := server.AddPatient(pkbtest.Patient{})
	heard := &counter{}
	asked := 0
	store := &undue{Memory: tokenstore.NewMemory()}
	client, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: server.ClientID(), RedirectURL: "https://app.example/pkb/callback",
		Store: store, HTTPClient: &http.Client{Transport: server.Transport()}, Now: server.Now, Telemetry: heard,
		Notify: func(context.Context, observe.Notice) error {
			if asked++; asked == 1 {
				return errors.New("full")
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	demoLink(t.Context(), server, ada, client)
	tendOnce(t, client)
	server.Advance(time.Hour)
	tendOnce(t, client)
	store.err = errors.New("down")
	if _, err := client.TendOnce(t.Context()); !errors.Is(err, pkb.ErrStore) {
		t.Errorf("TendOnce: %v", err)
	}
	synctest.Wait()
	if want := []string{"linked false", "linked true"}; !slices.Equal(heard.notified, want) {
		t.Errorf("notified %q, want %q", heard.notified, want)
	}
	want := []observe.Sweep{
		{Outcome: observe.OutcomeOK, Links: 1, Undelivered: 1}, {Outcome: observe.OutcomeOK, Links: 1}, {Outcome: observe.OutcomeStore},
	}
	if diff := cmp.Diff(want, heard.sweeps); diff != "" {
		t.Errorf("sweeps (-want +got):\n%s", diff)
	}
}

// undue is a store that cannot return what is due.
type undue struct {
	*tokenstore.Memory
	err error
}

func (u *undue) Due(ctx context.Context, before time.Time, limit int) ([]tokenstore.Record, error) {
	if u.err != nil {
		return nil, u.err
	}
	return u.Memory.Due(ctx, before, limit)
}

// A store that can neither find nor list what is due is named, when the client is made
// and when it is to be tended.
func TestStoreThatCannotBeTended(t *testing.T) {
	var log strings.Builder
	server := pkbtest.New(pkbtest.Config{})
	client, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: "c", RedirectURL: "https://app.example/cb",
		Store: bareVolatile{tokenstore.NewMemory()}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	var config *pkb.ConfigError
	if err := client.Tend(t.Context()); !errors.As(err, &config) || config.Field != "Store" {
		t.Errorf("Tend: %v", err)
	}
	if _, err := client.TendOnce(t.Context()); !errors.As(err, &config) {
		t.Errorf("TendOnce: %v", err)
	}
	if n := strings.Count(log.String(), "tokenstore.Scheduler"); n != 1 {
		t.Errorf("told %d times:\n%s", n, &log)
	}
}

type bareVolatile struct{ tokenstore.Store }

func (bareVolatile) Volatile() bool { return true }

// Warnings have an order.
func TestWarningsAreChecked(t *testing.T) {
	server := pkbtest.New(pkbtest.Config{})
	for _, of := range []struct {
		first, last, warm time.Duration
		field             string
	}{
		{0, 0, 0, ""}, {time.Hour, 0, 0, ""}, {0, 30 * 24 * time.Hour, 0, ""}, {time.Hour, time.Hour, time.Hour, ""},
		{time.Hour, 2 * time.Hour, 0, "FirstWarning"}, {-1, 0, 0, "FirstWarning"}, {0, 0, time.Minute, "KeepWarm"},
	} {
		_, err := demoClient(server, pkb.Config{FirstWarning: of.first, LastWarning: of.last, KeepWarm: of.warm})
		var config *pkb.ConfigError
		switch errors.As(err, &config); {
		case of.field == "" && err != nil, of.field != "" && (config == nil || config.Field != of.field):
			t.Errorf("%+v: %v", of, err)
		}
	}
}
