// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// A past makes links with a real history, with a PKB for tests whose clock it sets weeks
// back and lets run until now.
type past struct {
	pkb *pkbtest.Server
	// client takes what PKB says about the patient; careful asks Config.Identify too,
	// so its authorizations wait until that is possible.
	client, careful *pkb.Client
	store           *tokenstore.Memory
	end             time.Time
}

const (
	pastLength = 28 * 24 * time.Hour
	pastStep   = 12 * time.Hour
	// pastSession is how long PKB's sessions last.
	pastSession = 30 * 24 * time.Hour
	// pastToken is longer than the life of a token.
	pastToken = 20 * time.Minute
)

// newPast returns a past at server, or at a PKB of its own if that is nil.
func newPast(server *pkbtest.Server, name string, s *settings, ring *keys.Keyring) (*past, error) {
	if server == nil {
		server = pkbtest.New(pkbtest.Config{ClientID: s.clientID, RedirectURIs: []string{s.redirect}, SessionLife: pastSession})
	}
	p := &past{pkb: server, store: tokenstore.NewMemory(), end: time.Now()}
	env := pkb.BaseURL(server.URL())
	env.Name = name
	cfg := pkb.Config{
		Environment: env, ClientID: s.clientID, RedirectURL: s.redirect, Store: p.store, Keys: ring, Now: p.pkb.Now, Retries: -1,
		SessionLife: pastSession, HTTPClient: &http.Client{Transport: server.Transport()},
	}
	var errs [2]error
	p.client, errs[0] = pkb.New(cfg)
	cfg.Identify = func(context.Context, pkb.Candidate) error { return nil }
	p.careful, errs[1] = pkb.New(cfg)
	return p, errors.Join(errs[:]...)
}

// life is what happens to one made-up link.
type life struct {
	user string
	fate *fate
	// linked and met are when it was made, and when it meets its fate.
	linked, met time.Duration
	over        bool
}

// live plays the lives until now, and returns their records.
func (p *past) live(ctx context.Context, lives []*life) ([]tokenstore.Record, error) {
	for at := time.Duration(0); at < pastLength; at += pastStep {
		p.reach(pastLength - at)
		for i, l := range lives {
			err := error(nil)
			switch {
			case l.linked == at:
				err, l.over = l.fate.links(ctx, p, l.user), l.fate.begins != nil
			case l.linked < at && l.met == at && l.fate.happens != nil:
				err, l.over = l.fate.happens(ctx, p, l.user), true
			case l.linked < at && !l.over && (i+int(at/pastStep))%4 == 0:
				_, err = p.client.Token(ctx, l.user)
			}
			if err != nil {
				return nil, fmt.Errorf("making %s up: %w", l.fate.name, err)
			}
		}
	}
	if err := p.finish(ctx, lives); err != nil {
		return nil, err
	}
	var records []tokenstore.Record
	for _, l := range lives {
		r, err := p.store.Load(ctx, l.user)
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// finish refreshes what works one last time.
func (p *past) finish(ctx context.Context, lives []*life) error {
	p.reach(pastToken / 4)
	for _, l := range lives {
		if l.over {
			continue
		}
		if l.fate.loses {
			p.pkb.Next(pkbtest.Token, pkbtest.Drop(), pkbtest.Drop(), pkbtest.Drop())
		}
		if _, err := p.client.Token(ctx, l.user); err != nil && !(l.fate.loses && errors.Is(err, pkb.ErrTryLater)) {
			return fmt.Errorf("making %s up: %w", l.fate.name, err)
		}
		p.pkb.ClearFaults()
	}
	p.reach(0)
	return errors.Join(p.client.Close(ctx), p.careful.Close(ctx))
}

// reach lets the clock go on until so long before now.
func (p *past) reach(before time.Duration) {
	p.pkb.Advance(p.end.Add(-before).Sub(p.pkb.Now()))
}

func (p *past) link(ctx context.Context, c *pkb.Client, user string, patient *pkbtest.Patient) error {
	address, pending, err := c.Authorize(ctx, user)
	if err != nil {
		return err
	}
	callback, err := p.pkb.Approve(ctx, address, patient)
	if err != nil {
		return err
	}
	_, err = c.Complete(ctx, user, pending, callback.Query())
	return err
}

// ended checks that a call has found out that the link has ended, as it should.
func (p *past) ended(ctx context.Context, user string, err error) error {
	if link, looked := p.client.Link(ctx, user); looked != nil || link.State != tokenstore.StateRelinkRequired {
		return fmt.Errorf("the link has not ended: %w", errors.Join(looked, err))
	}
	return nil
}

// refresh lets the token expire, and asks for the next.
func (p *past) refresh(ctx context.Context, user string, faults ...pkbtest.Fault) error {
	p.pkb.Advance(pastToken + time.Minute)
	p.pkb.Next(pkbtest.Token, faults...)
	_, err := p.client.Token(ctx, user)
	return err
}

// without is a response without some members.
func without(members ...string) pkbtest.Fault {
	return pkbtest.Rewrite(func(_ http.Header, body []byte) []byte {
		var all map[string]any
		if json.Unmarshal(body, &all) != nil {
			return body
		}
		for _, m := range members {
			delete(all, m)
		}
		body, _ = json.Marshal(all)
		return body
	})
}
