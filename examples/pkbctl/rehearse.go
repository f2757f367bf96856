// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"log/slog"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/tokenstore"
)

// rehearse seals every link of from again, with a key that is made for it, on a store
// that throws away what it is given: this finds out which links open with the configured
// keys. It names five of the links that do not, as in logs.
func (d *doctor) rehearse(ctx context.Context, from issuer) (opened, failed int, names []string, err error) {
	if from.Environment == "" || from.ClientID == "" {
		return 0, 0, nil, nil
	}
	keys, err := d.keys()
	if err != nil {
		return 0, 0, nil, err
	}
	const id = "pkbctl-rehearsal"
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	if err := keys.AddKey(id, key); err != nil {
		return 0, 0, nil, err
	}
	if err := keys.Promote(id); err != nil {
		return 0, 0, nil, err
	}
	unopened := &linkNames{}
	cfg := d.config(from)
	cfg.Store, cfg.Keys, cfg.Logger = rehearsal{d.db}, keys, slog.New(unopened)
	client, err := pkb.New(cfg)
	if err != nil {
		return 0, 0, nil, err
	}
	for p, err := range client.Reseal(ctx) {
		opened, failed = p.Resealed, p.Failed
		d.meter.bar(newProgress(p.Records, p.Total, p.Elapsed), "opened and thrown away")
		if err != nil && failed == 0 {
			return opened, failed, nil, err
		}
	}
	d.meter.clear()
	return opened, failed, unopened.names, nil
}

// rehearsal is a store that reports success and saves nothing.
type rehearsal struct{ *database }

// Save implements tokenstore.Store.
func (rehearsal) Save(_ context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	r.Version++
	return r, nil
}

// Delete implements tokenstore.Store.
func (rehearsal) Delete(context.Context, string, uint64) error { return errReadOnly }

// linkNames collects whose links log lines of warning are about.
type linkNames struct{ names []string }

// Enabled implements slog.Handler.
func (*linkNames) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements slog.Handler.
func (l *linkNames) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "link" && len(l.names) < 5 {
			l.names = append(l.names, a.Value.String())
		}
		return true
	})
	return nil
}

// WithAttrs implements slog.Handler.
func (l *linkNames) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements slog.Handler.
func (l *linkNames) WithGroup(string) slog.Handler { return l }
