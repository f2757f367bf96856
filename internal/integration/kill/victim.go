// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

func victim() error {
	o, inbox, err := begin()
	if err != nil {
		return err
	}
	refreshed := make(chan struct{}, 1)
	replica, err := o.Setup.Open(func(cfg *pkb.Config) {
		cfg.Store = &dyingStore{Store: cfg.Store, order: o}
		cfg.HTTPClient = &http.Client{Transport: dyingTransport{o}}
		cfg.Notify = dyingHost{inbox, o}.take
		cfg.OnEvent = func(e observe.Event) {
			if e.Kind == observe.EventRefreshed {
				refreshed <- struct{}{}
			}
		}
	})
	if err != nil {
		return err
	}
	ctx := context.Background()
	switch {
	case slices.Contains(noticeSteps, o.DieAt):
		_, err = replica.Client.TendOnce(ctx)
	case slices.Contains(importSteps, o.DieAt):
		_, err = replica.Client.Import(ctx, o.Users[0], o.Tokens)
	default:
		err = o.refresh(ctx, replica.Client, refreshed)
	}
	return errors.Join(errors.New("outlived it"), err)
}

// refresh lets the link be refreshed, which the process does not outlive.
func (o order) refresh(ctx context.Context, client *pkb.Client, refreshed <-chan struct{}) error {
	if o.DieAt == anyMoment {
		if err := json.NewEncoder(os.Stdout).Encode("here"); err != nil {
			return err
		}
	}
	for range 2 { // the first reads the record, the second sees that a refresh is due
		if _, err := client.Token(ctx, o.Users[0]); err != nil {
			return err
		}
	}
	select {
	case <-refreshed: // an early refresh is in the background
	case <-time.After(time.Minute):
		return errors.New("nothing was refreshed")
	}
	if o.DieAt == anyMoment {
		cluster.Die()
	}
	return nil
}

// dyingStore dies around a save.
type dyingStore struct {
	tokenstore.Store
	order order
	saves atomic.Int32
}

// Save implements tokenstore.Store.
func (s *dyingStore) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	at, here := saves[s.order.DieAt]
	here = s.saves.Add(1) == at.number && here
	switch {
	case here && at.moment == before:
		cluster.Die()
	case here && at.moment == during:
		go func() {
			time.Sleep(s.order.After)
			cluster.Die()
		}()
	}
	saved, err := s.Store.Save(ctx, r)
	if here {
		cluster.Die()
	}
	return saved, err
}

// FindPublicID implements tokenstore.Finder.
func (s *dyingStore) FindPublicID(ctx context.Context, publicID string, limit int) ([]tokenstore.Record, error) {
	return s.Store.(tokenstore.Finder).FindPublicID(ctx, publicID, limit)
}

// Due implements tokenstore.Scheduler: nobody is due but the user with whom the
// process dies.
func (s *dyingStore) Due(ctx context.Context, before time.Time, _ int) ([]tokenstore.Record, error) {
	all, err := s.Store.(tokenstore.Scheduler).Due(ctx, before, math.MaxInt32)
	return slices.DeleteFunc(all, func(r tokenstore.Record) bool { return r.AppUserID != s.order.Users[0] }), err
}

// dyingTransport dies when a response arrives.
type dyingTransport struct{ order order }

// RoundTrip implements http.RoundTripper.
func (t dyingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if t.order.DieAt == afterAnswer && strings.HasSuffix(req.URL.Path, "/apiToken.action") {
		cluster.Die()
	}
	return resp, err
}

// dyingHost dies around taking a notice.
type dyingHost struct {
	inbox *cluster.Inbox
	order order
}

func (h dyingHost) take(ctx context.Context, n observe.Notice) error {
	if h.order.DieAt == beforeTaken {
		cluster.Die()
	}
	err := h.inbox.Take(ctx, n)
	if h.order.DieAt == afterTaken {
		cluster.Die()
	}
	return err
}
