// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"encoding/json"
	"time"

	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// secrets is what a record's sealed blob holds.
type secrets struct {
	// Main is the pair in use.
	Main *answer `json:"main,omitempty"`
	// Spare is the pair of a new approval, until it is certain that the same
	// patient gave it.
	Spare *answer `json:"spare,omitempty"`
	// Unread is a 2xx answer to a refresh of Main that could not be read: it
	// may hold Main's successor.
	Unread []byte `json:"unread,omitempty"`
	// Unverified: Main came with a new approval, and it is not known yet
	// whether it may be used. Here, and not in clear, because whoever can clear
	// it can link the wrong patient.
	Unverified bool `json:"unverified,omitempty"`
	// Claim: the record's public id was written for others to see, and it is not
	// known yet whether somebody else has it too.
	Claim bool `json:"claim,omitempty"`
}

// Terms are what an approval may do beside renewing a link.
type Terms struct {
	// Switch: it may be another patient's than the link belongs to.
	Switch bool `json:"switch,omitempty"`
	// Share: another user may be linked to the same patient.
	Share bool `json:"share,omitempty"`
}

// answer is a token answer as the server sent it, and when it was asked for. Its
// tokens are at least as old as their arrival, and not older than that: a
// process that sleeps between the two must not take them for new.
type answer struct {
	Body    []byte    `json:"body"`
	AskedAt time.Time `json:"at"`
	// Terms are those of the approval it came with; none after a refresh.
	Terms Terms `json:"terms,omitzero"`
}

// pair is an answer, read.
type pair struct {
	grant     tokenwire.Grant
	askedAt   time.Time
	expiresAt time.Time
}

// details is what the library remembers in clear in a record.
type details struct {
	// Used are the approvals that were completed lately: a callback that comes
	// twice finds itself here.
	Used []used `json:"used,omitempty"`
	// EndsTold: the end of the session was reported.
	EndsTold bool `json:"ends_told,omitempty"`
	// Unverified says for operators what secrets say for us.
	Unverified bool `json:"unverified,omitempty"`
	// Past is what happened to the link, oldest first.
	Past []Happened `json:"past,omitempty"`
}

type used struct {
	Mark  string    `json:"mark"`
	Until time.Time `json:"until"`
}

// row is a record, opened.
type row struct {
	tokenstore.Record
	secrets secrets
	details details
}

// maxAnswer is the largest answer kept as it came; the sealed blob has room
// for three.
const maxAnswer = 12 << 10

// newAnswer wraps a body for keeping. An answer too large to keep whole is
// kept by what matters in it.
func newAnswer(body []byte, g tokenwire.Grant, asked time.Time) *answer {
	if len(body) > maxAnswer {
		body, _ = json.Marshal(map[string]any{
			"access_token": g.AccessToken, "refresh_token": g.RefreshToken,
			"scope": g.Scope, "expires_in": g.ExpiresIn.Seconds(),
		})
	}
	return &answer{Body: body, AskedAt: asked}
}

// read parses an answer that was read before; a nil answer is an empty pair.
func (k *Keeper) read(a *answer) pair {
	if a == nil {
		return pair{}
	}
	g, err := tokenwire.Parse(a.Body)
	if err != nil {
		return pair{}
	}
	life := g.ExpiresIn
	if life == 0 {
		life = k.AssumedLife
	}
	return pair{grant: g, askedAt: a.AskedAt, expiresAt: a.AskedAt.Add(life)}
}

// load reads and opens a record. Without one it returns ErrNoLink; a record of
// another environment or client id is refused.
func (k *Keeper) load(ctx context.Context, user string) (row, error) {
	r, err := k.Store.Load(ctx, user)
	if err != nil {
		return row{}, storeError("load", err)
	}
	return k.open(r)
}

func (k *Keeper) open(r tokenstore.Record) (row, error) {
	opened := row{Record: r}
	if r.Environment != k.Environment || r.ClientID != k.ClientID {
		return row{}, ErrForeign
	}
	if len(r.Details) > 0 {
		// Details only remind; a record whose reminders are unreadable still
		// has good tokens.
		_ = json.Unmarshal(r.Details, &opened.details)
	}
	if len(r.Sealed) == 0 {
		return opened, nil
	}
	plain, err := k.Ring.Open(k.place(r), r.Sealed)
	if err != nil {
		return row{}, &SealError{Cause: err}
	}
	if err := json.Unmarshal(plain, &opened.secrets); err != nil {
		return row{}, &SealError{Cause: seal.ErrNotAuthentic}
	}
	return opened, nil
}

func (k *Keeper) place(r tokenstore.Record) seal.Place {
	return seal.Place{Environment: r.Environment, ClientID: r.ClientID, AppUserID: r.AppUserID, Generation: r.Generation}
}

// save closes and writes a row, if nobody wrote since it was read.
func (k *Keeper) save(ctx context.Context, r row) (row, error) {
	r.Environment, r.ClientID = k.Environment, k.ClientID
	if r.EndsAt.IsZero() && k.SessionLife > 0 && r.State == tokenstore.StateLinked {
		r.EndsAt = r.LinkedAt.Add(k.SessionLife)
	}
	r.KeyID, r.Sealed = "", nil
	if r.secrets.Main != nil || r.secrets.Spare != nil || len(r.secrets.Unread) > 0 {
		plain, err := json.Marshal(r.secrets)
		if err != nil {
			return row{}, err
		}
		if r.Sealed, r.KeyID, err = k.Ring.Seal(k.place(r.Record), plain); err != nil {
			return row{}, &SealError{Cause: err}
		}
	}
	r.Details = nil
	r.details.Unverified = r.secrets.Unverified
	if len(r.details.Used) > 0 || len(r.details.Past) > 0 || r.details.EndsTold || r.details.Unverified {
		b, err := json.Marshal(r.details)
		if err != nil {
			return row{}, err
		}
		r.Details = b
	}
	for _, t := range []*time.Time{
		&r.ExpiresAt, &r.EndsAt, &r.DueAt, &r.LinkedAt, &r.RefreshedAt,
		&r.Lease.RenewedAt, &r.Lease.ExpiresAt, &r.Intent.SentAt,
	} {
		if !t.IsZero() {
			*t = t.UTC().Truncate(time.Microsecond)
		}
	}
	saved, err := k.Store.Save(ctx, r.Record)
	if err != nil {
		return row{}, storeError("save", err)
	}
	r.Record = saved
	return r, nil
}

// setMain makes a the pair in use: a new generation, linked, nothing pending.
func (k *Keeper) setMain(r *row, a *answer) {
	p := k.read(a)
	r.secrets.Main, r.secrets.Unread = a, nil
	r.Generation++
	r.State, r.Cause = tokenstore.StateLinked, ""
	r.Intent = tokenstore.Intent{}
	r.release()
	r.RefreshedAt, r.ExpiresAt = a.AskedAt, p.expiresAt
	r.DueAt = p.expiresAt.Add(-p.expiresAt.Sub(p.askedAt) / 5)
	r.EndsAt = time.Time{}
	if p.grant.RefreshToken == "" {
		// PKB leaves the refresh token out of a session's last answer.
		r.EndsAt, r.DueAt = p.expiresAt, p.expiresAt
	}
}

// release gives the lease up; the fence stays, so that the next owner has
// another.
func (r *row) release() { r.Lease = tokenstore.Lease{Fence: r.Lease.Fence} }
