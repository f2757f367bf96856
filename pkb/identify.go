// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"net/http"

	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/pkb/identity"
)

// Candidate is a patient who has approved, for Config.Identify to judge. It prints
// [redacted] and is not encoded. Do not log its fields either.
type Candidate struct {
	printing
	// AppUserID is the host's user to be linked.
	AppUserID string
	// PublicID is the patient's public id, from Purview.
	PublicID identity.PublicID
	// Linked is the patient the user is linked with: the same, or another after
	// AllowSwitch; "" if the user is not linked.
	Linked identity.PublicID
	// Self is the patient's response of users/self.
	Self identity.Self
}

type printing = conceal.Printing

// Equal reports whether both are the same.
func (c Candidate) Equal(o Candidate) bool {
	return c.AppUserID == o.AppUserID && c.PublicID == o.PublicID && c.Linked == o.Linked && c.Self.Equal(o.Self)
}

// IsZero reports whether the Candidate is absent.
func (c Candidate) IsZero() bool { return c.Equal(Candidate{}) }

// verify returns whose an authorization is, and asks the host whether it is the
// right person.
func (c *Client) verify(ctx context.Context, approved custody.Candidate) (string, error) {
	hc := c.withToken(approved.AccessToken)
	id, err := c.purview(ctx, hc)
	if err == nil && c.cfg.Identify != nil {
		err = c.identify(ctx, hc, approved, id)
	}
	if errors.Is(err, identity.ErrNotAPatient) || errors.Is(err, ErrIdentityRefused) {
		return "", &custody.RefusedError{Err: err}
	}
	return string(id), err
}

func (c *Client) identify(ctx context.Context, hc *http.Client, approved custody.Candidate, id identity.PublicID) error {
	self, err := c.self(ctx, hc)
	if err != nil {
		return err
	}
	err = c.cfg.Identify(ctx, Candidate{
		AppUserID: approved.User, PublicID: id, Linked: identity.PublicID(approved.PublicID), Self: self,
	})
	if err != nil {
		return &identifyError{refused: errors.Is(err, ErrIdentityRefused), cause: hush(err, "an error of Config.Identify")}
	}
	return nil
}

// identifyError is an error of Config.Identify. Its text is not printed: it may be
// about the patient.
type identifyError struct {
	refused bool
	cause   error // unspoken
}

func (e *identifyError) Error() string {
	if e.refused {
		return ErrIdentityRefused.Error()
	}
	return "pkb: Config.Identify returned an error"
}

func (e *identifyError) Unwrap() error { return e.cause }
