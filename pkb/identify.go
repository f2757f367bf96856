// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/betawerk/pkb-go/internal/custody"
)

// Candidate is a patient who has approved, for Config.Identify to judge. It
// prints as [redacted].
type Candidate struct {
	// AppUserID is the host's user who is to be linked.
	AppUserID string
	// PublicID is the patient's, from Purview.
	PublicID PublicID
	// Linked is whom the user is linked with already: the same patient, or,
	// after AllowSwitch, perhaps another; "" for a user who is not linked.
	Linked PublicID
	// Self is what PKB says about the patient.
	Self *Self
}

// Format implements fmt.Formatter.
func (Candidate) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "pkb.Candidate"+redacted) }

// verify finds out whose an approval is, and asks the host whether it is the
// right person.
func (c *Client) verify(ctx context.Context, approved custody.Candidate) (string, error) {
	hc := c.withToken(approved.AccessToken)
	id, err := c.purview(ctx, hc)
	if err == nil && c.cfg.Identify != nil {
		err = c.identify(ctx, hc, approved, id)
	}
	if errors.Is(err, ErrNotAPatient) || errors.Is(err, ErrIdentityRefused) {
		return "", &custody.RefusedError{Err: err}
	}
	return string(id), err
}

func (c *Client) identify(ctx context.Context, hc *http.Client, approved custody.Candidate, id PublicID) error {
	self, err := c.self(ctx, hc)
	if err != nil {
		return err
	}
	err = c.cfg.Identify(ctx, Candidate{
		AppUserID: approved.User, PublicID: id, Linked: PublicID(approved.PublicID), Self: self,
	})
	if err != nil {
		return &identifyError{refused: errors.Is(err, ErrIdentityRefused), cause: hush(err, "an error of Config.Identify's")}
	}
	return nil
}

// identifyError is an error of the host's own hook. What it says is not
// printed: it may well be about the patient.
type identifyError struct {
	refused bool
	cause   error // unspoken
}

func (e *identifyError) Error() string {
	if e.refused {
		return ErrIdentityRefused.Error()
	}
	return "pkb: Config.Identify could not tell whether this is the right patient; host's turn: see to what it asks"
}

// Unwrap returns the hook's error, unspoken.
func (e *identifyError) Unwrap() error { return e.cause }
