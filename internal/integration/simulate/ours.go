// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
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
	tending sync.WaitGroup
}

func startOurs(p *process) keeper { return startWith(p, p.notify) }

// startWith starts ours for a host with such a Config.Notify.
func startWith(p *process, notify func(context.Context, custody.Notice) error) keeper {
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
		Verify: p.verify,
		Now:    p.clock.now, Logger: slog.New(slog.DiscardHandler),
		HardMargin: 30 * time.Second, AssumedLife: tokenLife, PostTimeout: longLimit,
		Foreseen: []custody.Cause{"session_expired"}, SessionLife: sessionLife, Warnings: [2]time.Duration{firstWarning, lastWarning}, Notify: notify, KeepWarm: keepWarm,
	})
	o := &ours{Keeper: k, process: p}
	o.tending.Go(func() { _ = k.Tend(p.ctx) })
	return o
}

// verify asks PKB's API whose an authorization is.
func (p *process) verify(_ context.Context, c custody.Candidate) (string, error) {
	if p.world.server.replaced(c.User, c.AccessToken) {
		return "", errors.New("401 API_SESSION_INVALID")
	}
	return "patient-of-" + c.User, nil
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
	pair := r.world.pairOf(rec)
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
			r.world.told.wrote(r.process, is, next, pair.epoch)
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
	switch {
	case err == nil:
		r.world.told.saved(r.process, saved)
	case !errors.Is(err, tokenstore.ErrConflict):
		r.world.server.refusesToKeep(s, r.process, pair)
	}
	return saved, ended(err)
}

// Due implements tokenstore.Scheduler.
func (r records) Due(ctx context.Context, before time.Time, limit int) ([]tokenstore.Record, error) {
	found, err := reach(ctx, r.process, r.world.sweeps, false, func() (found []tokenstore.Record, err error) {
		for rec := range r.world.records.all() {
			if !rec.TendAt.IsZero() && !rec.TendAt.After(before) {
				found = append(found, rec.Clone())
			}
		}
		slices.SortFunc(found, func(a, b tokenstore.Record) int {
			return cmp.Or(a.TendAt.Compare(b.TendAt), strings.Compare(a.AppUserID, b.AppUserID))
		})
		return found[:min(limit, len(found))], nil
	})
	return found, ended(err)
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

// approval is how approvals are named, after what they are of, so that the world can
// read a record. An import is named by the library, after its refresh token.
const approval = "approval-%d"

// isImported reports whether an authorization of a user was obtained by other code.
func (s *session) isImported(epoch int) bool { return (int(s.index)+epoch)%importsAt == 0 }

// nameOf is what the library calls an authorization of a user.
func (s *session) nameOf(epoch int) string {
	if !s.isImported(epoch) {
		return fmt.Sprintf(approval, epoch)
	}
	sum := sha256.Sum256([]byte(refreshToken(s.user, epoch, 1)))
	return hex.EncodeToString(sum[:16])
}

// pairOf reads which pair is in use in a record.
func (w *world) pairOf(r tokenstore.Record) (pair pairID) {
	for _, name := range []string{r.Pair, r.Candidate} {
		if id, _ := core.ParsePairID(name); !id.IsZero() && pair == (pairID{}) {
			if epoch, ok := w.imported.Load(id.Session); ok {
				pair.epoch, _ = epoch.(int)
			} else {
				_, _ = fmt.Sscanf(id.Session, approval, &pair.epoch) // zero is none
			}
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
	name := s.nameOf(s.epoch)
	if s.isImported(s.epoch) {
		o.process.world.imported.Store(name, s.epoch)
		_, err := o.Import(ctx, s.user, custody.Imported{
			AccessToken: g.AccessToken, RefreshToken: g.RefreshToken, Scope: g.Scope, ExpiresAt: o.process.clock.now().Add(tokenLife),
		})
		return err
	}
	_, err = o.Approve(ctx, custody.Approval{
		User: s.user, Session: name,
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
		id := core.PairID{Session: s.nameOf(pair.epoch), Seq: uint64(pair.gen)}
		t, err = o.Replace(ctx, s.user, custody.Token{Value: rejected, Pair: id})
	}
	if errors.Is(err, custody.ErrNoLink) {
		return "", errNone
	}
	lost, ok := errors.AsType[*custody.LostError](err)
	if !ok {
		return t.Value, err
	}
	return "", o.process.world.named(s, lost.Cause)
}

// named is the error for a link that has ended with a cause.
func (w *world) named(s *session, cause custody.Cause) error {
	switch cause {
	case custody.OutcomeUnknown, "session_invalid":
		return errLost
	case "session_expired":
		if w.hasExpired(s) {
			return errLost
		}
	case custody.RefusedUnclear:
		if w.mumbled(s) {
			return errLost
		}
	}
	return fmt.Errorf("%w %w", errLost, errUnnamed)
}

func (w *world) hasExpired(s *session) bool {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	return s.expired
}

// mumbled reports whether a session's token was refused in unknown words.
func (w *world) mumbled(s *session) bool {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	return s.refused
}

func (o *ours) rest() { o.tending.Wait() }

func (o *ours) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*maxSleep) // it may stand still
	defer cancel()
	_ = o.Close(ctx) // a dead one has nothing to finish
}
