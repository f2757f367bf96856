// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// fate is what becomes of some of the made-up links.
type fate struct {
	name string
	// share is how many of 10,000 links have it.
	share int
	// early links were made first, so that their sessions end soon.
	early bool
	// loses: the response to the last refresh is lost.
	loses bool
	// begins makes a link that is in trouble at once; nil makes one that works.
	begins func(ctx context.Context, p *past, user string) error
	// happens ends it, or troubles it.
	happens func(ctx context.Context, p *past, user string) error
}

// fates are a mixture as a host may have it after a bad week. The patients are those of
// package pkbtest, with NHS numbers of the 999 range, which belong to nobody.
var fates = []fate{
	{name: "linked", share: 8500},
	{name: "a session that ends soon", share: 350, early: true},
	{name: "uncertain", share: 80, loses: true},
	{name: "unchecked", share: 20, begins: waiting},
	{name: "session expired", share: 600, happens: ends((*pkbtest.Server).EndSessions)},
	{name: "session invalid", share: 150, happens: ends((*pkbtest.Server).InvalidateSessions)},
	{name: "grant rejected", share: 60, happens: meets(pkbtest.Respond(http.StatusBadRequest, "application/json", `{"error":"invalid_grant"}`))},
	{name: "frozen", share: 60, happens: meets(pkbtest.Respond(http.StatusForbidden, "application/json",
		`{"error":"invalid_grant","error_description":"ACCESS_FROZEN_OUTWARD"}`))},
	{name: "outcome unknown", share: 60, happens: meets(pkbtest.DropAfter())},
	{name: "final token expired", share: 40, happens: lastToken},
	{name: "wrong patient", share: 20, begins: unseen(pkbtest.Patient{Purview: []string{"Practitioner/1"}})},
	{name: "shared", share: 30, begins: shares},
	{name: "refused unclear", share: 20, happens: unclear},
	{name: "response unreadable", share: 10, happens: unreadable},
}

// fateOf returns the fate of the nth made-up link: first one of each, then by share.
func fateOf(n int) *fate {
	if n < len(fates) {
		return &fates[n]
	}
	at := n * 7919 % 10_000 // which is every number once
	for i := range fates {
		if at -= fates[i].share; at < 0 {
			return &fates[i]
		}
	}
	return &fates[0]
}

func (f *fate) links(ctx context.Context, p *past, user string) error {
	if f.begins != nil {
		return f.begins(ctx, p, user)
	}
	return p.link(ctx, p.client, user, p.pkb.AddPatient(pkbtest.Patient{}))
}

// waiting is an authorization that could not be checked yet.
func waiting(ctx context.Context, p *past, user string) error {
	p.pkb.Next(pkbtest.Purview, pkbtest.Drop())
	return p.link(ctx, p.careful, user, p.pkb.AddPatient(pkbtest.Patient{}))
}

// unseen is a link that is found out, a moment later, to be this patient's.
func unseen(patient pkbtest.Patient) func(context.Context, *past, string) error {
	return func(ctx context.Context, p *past, user string) error {
		return p.foundOut(ctx, user, p.pkb.AddPatient(patient))
	}
}

func (p *past) foundOut(ctx context.Context, user string, patient *pkbtest.Patient) error {
	p.pkb.Next(pkbtest.Purview, pkbtest.Drop())
	if err := p.link(ctx, p.client, user, patient); err != nil {
		return err
	}
	p.pkb.Advance(time.Minute)
	_, err := p.client.ForUser(user).PublicID(ctx)
	return p.ended(ctx, user, err)
}

// shares is a link with a record that another user is linked with.
func shares(ctx context.Context, p *past, user string) error {
	patient := p.pkb.AddPatient(pkbtest.Patient{})
	if err := p.link(ctx, p.client, "the other of "+user, patient); err != nil {
		return err
	}
	return p.foundOut(ctx, user, patient)
}

// ends is a session that PKB ends.
func ends(end func(*pkbtest.Server, *pkbtest.Patient)) func(context.Context, *past, string) error {
	return func(ctx context.Context, p *past, user string) error {
		link, err := p.client.Link(ctx, user)
		if err != nil {
			return err
		}
		patient, err := p.pkb.FindPatient(string(link.PublicID))
		if err != nil {
			return err
		}
		end(p.pkb, patient)
		return p.ended(ctx, user, p.refresh(ctx, user))
	}
}

// meets is a refresh that ends the link.
func meets(fault pkbtest.Fault) func(context.Context, *past, string) error {
	return func(ctx context.Context, p *past, user string) error {
		return p.ended(ctx, user, p.refresh(ctx, user, fault))
	}
}

// lastToken is a session's last access token, which expires.
func lastToken(ctx context.Context, p *past, user string) error {
	if err := p.refresh(ctx, user, without("refresh_token")); err != nil {
		return err
	}
	return p.ended(ctx, user, p.refresh(ctx, user))
}

// unclear is a link that is refused in unknown words, while others are served.
func unclear(ctx context.Context, p *past, user string) error {
	other := "served beside " + user
	if err := p.link(ctx, p.client, other, p.pkb.AddPatient(pkbtest.Patient{})); err != nil {
		return err
	}
	for range 11 {
		p.pkb.Advance(pastToken)
		err := p.refresh(ctx, user, pkbtest.Respond(http.StatusBadRequest, "", ""))
		if !errors.Is(err, pkb.ErrTryLater) {
			return p.ended(ctx, user, err)
		}
		if _, err := p.client.Token(ctx, other); err != nil {
			return err
		}
	}
	return errors.New("it was refused for eleven hours and has not ended")
}

// unreadable is a response that cannot be read, and a token that expires.
func unreadable(ctx context.Context, p *past, user string) error {
	if err := p.refresh(ctx, user, without("access_token")); !errors.Is(err, pkb.ErrTryLater) {
		return fmt.Errorf("a response that cannot be read: %w", err)
	}
	_, err := p.client.Token(ctx, user)
	return p.ended(ctx, user, err)
}

// madeUpUser is the app_user_id of the nth made-up link: most are as a host makes
// them, and some as hosts should not.
func madeUpUser(n int) string {
	switch {
	case n%100 == 42:
		return fmt.Sprintf("Zoë/Ärzte?n=%d#1%%2F;..👩‍⚕️", n)
	case n%10 == 7:
		return fmt.Sprintf("someone.%06d@example.org", n)
	}
	return fmt.Sprintf("user-%06d", n)
}
