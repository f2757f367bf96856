// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/custody/core"
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
	if err := ring.Add("simulated", []byte("a key of no use but to simulate ")); err != nil {
		panic(err) // the key is as long as it has to be
	}
	endpoint := &tokenwire.Endpoint{
		URL: "https://pkb.example/apiToken.action", ClientID: "client", HTTP: &http.Client{Transport: p}, Timeout: longLimit,
		Rules: []tokenwire.Rule{
			{Code: "API_SESSION_EXPIRED", Means: tokenwire.SessionOver, Cause: "session_expired"},
			{Code: "API_SESSION_INVALID", Means: tokenwire.SessionOver, Cause: "session_invalid"},
		},
	}
	k := custody.New(custody.Config{
		Store: records{p}, Ring: ring, Environment: "simulated", ClientID: "client", Scope: "PATIENT",
		Refresh: func(ctx context.Context, refreshToken string) tokenwire.Outcome {
			user, _ := split(refreshToken)
			return endpoint.Refresh(context.WithValue(ctx, whose{}, p.world.session(user)), refreshToken, "PATIENT")
		},
		Verify: func(_ context.Context, c custody.Candidate) (string, error) { return "patient-of-" + c.User, nil },
		Now:    p.clock.now, Logger: slog.New(slog.DiscardHandler),
		HardMargin: 30 * time.Second, AssumedLife: tokenLife, PostTimeout: longLimit,
	})
	return &ours{k, p}
}

// records is the store of a process.
type records struct{ *process }

// Load implements tokenstore.Store.
func (r records) Load(ctx context.Context, user string) (rec tokenstore.Record, err error) {
	s := r.world.session(user)
	rec, err = reach(ctx, r.process, s, false, func() (tokenstore.Record, error) {
		rec, saw := r.world.records.read(user)
		r.world.server.misled(s, r.process, saw != newest)
		if saw == absent {
			return rec, tokenstore.ErrNotFound
		}
		return rec, nil
	})
	return rec.Clone(), ended(err)
}

// Save implements tokenstore.Store.
func (r records) Save(ctx context.Context, rec tokenstore.Record) (saved tokenstore.Record, err error) {
	s := r.world.session(rec.AppUserID)
	pair := pairOf(rec)
	rec, err = rec.Prepare()
	if err != nil {
		return rec, err
	}
	saved, err = reach(ctx, r.process, s, true, func() (tokenstore.Record, error) {
		before, after, err := r.world.records.change(rec.AppUserID, r.world.lags(s), func(is tokenstore.Record) (tokenstore.Record, pairID, error) {
			if is.Version != rec.Version {
				return is, pairID{}, tokenstore.ErrConflict
			}
			next := rec.Clone()
			next.Version = r.world.nextVersion()
			return next, pair, nil
		})
		if err != nil {
			return tokenstore.Record{}, err
		}
		r.world.server.misled(s, r.process, false)
		r.world.server.keeps(s, r.process, pair)
		if after.Lease.Owner != "" {
			r.world.server.leased(s, r.process, before.Lease.Owner, after.Lease.Owner, leaseLasts)
		}
		return after.Clone(), nil
	})
	if err != nil && !errors.Is(err, tokenstore.ErrConflict) {
		r.world.server.refusesToKeep(s, r.process, pair)
	}
	return saved, ended(err)
}

// leaseLasts is how long another process leaves a lease of ours alone that is not
// renewed: its life and a minute.
const leaseLasts = 75 * time.Second

// Delete implements tokenstore.Store; nobody unlinks here.
func (records) Delete(context.Context, string, uint64) error { return errors.New("not simulated") }

// ended says that the store was closed, which ends what runs in a dead process as
// its death does.
func ended(err error) error {
	if errors.Is(err, errDead) {
		return fmt.Errorf("%w: %w", tokenstore.ErrClosed, err)
	}
	return err
}

// approvals are named after what they are of, so that the world can read a
// record.
const approval = "approval-%d"

// pairOf reads which pair is in use in a record.
func pairOf(r tokenstore.Record) (pair pairID) {
	for _, name := range []string{r.Pair, r.Candidate} {
		if id, _ := core.ParsePairID(name); !id.IsZero() && pair == (pairID{}) {
			_, _ = fmt.Sscanf(id.Session, approval, &pair.epoch) // zero is none
			pair.gen = int(id.Seq)
		}
	}
	return pair
}

func (w *world) nextVersion() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.version++
	return w.version
}

func (o *ours) link(ctx context.Context, s *session, answer []byte) error {
	g, err := tokenwire.Parse(answer)
	if err != nil {
		return err
	}
	_, err = o.Approve(ctx, custody.Approval{
		User: s.user, Session: fmt.Sprintf(approval, s.epoch),
		Exchange: func(context.Context) tokenwire.Outcome {
			return tokenwire.Outcome{Class: tokenwire.OK, Status: http.StatusOK, Body: answer, Grant: g}
		},
	})
	return err
}

func (o *ours) token(ctx context.Context, s *session, rejected string) (string, error) {
	var t custody.Token
	var err error
	if rejected == "" {
		t, err = o.Token(ctx, s.user)
	} else {
		_, pair := split(rejected)
		id := core.PairID{Session: fmt.Sprintf(approval, pair.epoch), Seq: uint64(pair.gen)}
		t, err = o.Replace(ctx, s.user, custody.Token{Value: rejected, Pair: id})
	}
	if errors.Is(err, custody.ErrNoLink) {
		return "", errNone
	}
	lost, ok := errors.AsType[*custody.LostError](err)
	if !ok {
		return t.Value, err
	}
	switch lost.Cause {
	case custody.OutcomeUnknown, "session_invalid":
		return "", errLost
	case custody.RefusedUnclear:
		if o.process.world.mumbled(s) {
			return "", errLost
		}
	}
	return "", fmt.Errorf("%w %w", errLost, errUnnamed)
}

// mumbled reports whether a session's token was refused in unknown words.
func (w *world) mumbled(s *session) bool {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	return s.refused
}

func (o *ours) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*maxSleep) // it may stand still
	defer cancel()
	_ = o.Close(ctx) // a dead one has nothing to finish
}
