// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// ours is the library's own core, configured as package pkb does.
type ours struct {
	*custody.Keeper
	process *process
}

func startOurs(p *process) keeper {
	ring := &seal.Ring{}
	if err := ring.Add("simulated", make([]byte, seal.KeySize)); err != nil {
		panic(err) // the key is as long as it says
	}
	endpoint := &tokenwire.Endpoint{
		URL: "https://pkb.example/apiToken.action", ClientID: "client", HTTP: &http.Client{Transport: p}, Timeout: postLimit,
		SessionCodes: []string{"API_SESSION_EXPIRED", "API_SESSION_INVALID"},
	}
	k := custody.New(custody.Config{
		Store: mortal{p}, Ring: ring, Environment: "simulated", ClientID: "client", Scope: "PATIENT",
		Refresh: func(ctx context.Context, refreshToken string) tokenwire.Outcome {
			user, _, _ := split(refreshToken)
			return endpoint.Refresh(context.WithValue(ctx, whose{}, p.world.session(user)), refreshToken, "PATIENT")
		},
		Verify: func(_ context.Context, c custody.Candidate) (string, error) { return "patient-of-" + c.User, nil },
		Now:    p.now, Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(e custody.Event) {
			if e.Kind == custody.SaveFailed {
				p.world.gaveUp(p.world.session(e.User), p)
			}
		},
		HardMargin: 30 * time.Second, AssumedLife: tokenLife,
		PostTimeout: postLimit, LeaseTTL: 2*postLimit + 5*time.Second, MaxSkew: time.Minute,
		FlightTimeout: 6*postLimit + 30*time.Second, SaveTimeout: time.Minute,
	})
	return &ours{k, p}
}

// gaveUp notes that an answer will never be saved.
func (w *world) gaveUp(s *session, p *process) {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	if s.last != nil && s.last.from == p {
		s.last.unsaved = true
	}
}

// mortal ends what runs in a dead process, as its death does.
type mortal struct{ *process }

// Load implements tokenstore.Store.
func (m mortal) Load(ctx context.Context, user string) (tokenstore.Record, error) {
	r, err := m.process.Load(ctx, user)
	return r, dieOf(ctx, err)
}

// Save implements tokenstore.Store.
func (m mortal) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	saved, err := m.process.Save(ctx, r)
	return saved, dieOf(ctx, err)
}

func dieOf(ctx context.Context, err error) error {
	if errors.Is(err, errDead) && ctx.Value(approving{}) == nil {
		runtime.Goexit()
	}
	return err
}

// approving marks what runs in the patient's life, which outlives processes.
type approving struct{}

func (o *ours) link(ctx context.Context, s *session, asked time.Time, answer []byte) error {
	ctx = context.WithValue(ctx, approving{}, true)
	mark := fmt.Sprintf("approval-%d", s.epoch)
	if err := o.Reserve(ctx, s.user, mark, o.process.now().Add(10*time.Minute)); err != nil {
		return err
	}
	g, err := tokenwire.Parse(answer)
	if err != nil {
		return err
	}
	if err := o.Settle(ctx, s.user, asked, tokenwire.Outcome{Class: tokenwire.OK, Status: http.StatusOK, Body: answer, Grant: g}, custody.Terms{}); err != nil {
		return err
	}
	return o.Admit(ctx, s.user, g.AccessToken)
}

func (o *ours) token(ctx context.Context, s *session) (string, error) {
	t, err := o.Token(ctx, s.user)
	if lost, ok := errors.AsType[*custody.LostError](err); ok {
		switch lost.Cause {
		case custody.OutcomeUnknown, custody.SessionInvalid:
			return "", errLost
		}
		return "", fmt.Errorf("%w %w", errLost, errUnnamed)
	}
	return t.Value, err
}

func (o *ours) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	_ = o.Close(ctx) // a dead one has nothing to finish
}
