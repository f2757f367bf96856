// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// Imported is a pair of tokens that other code obtained.
type Imported struct {
	AccessToken, RefreshToken, Scope string
	// ExpiresAt is when the access token expires; zero if that is not known.
	ExpiresAt time.Time
}

// Format implements fmt.Formatter: it prints nothing of itself.
func (Imported) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Imported) GoString() string { return redacted }

// Import takes in a pair that other code obtained, for a user who has no link that
// works. It is an authorization like any other: it is kept, checked by Verify, and
// then admitted or refused. A pair whose access token has expired is refreshed first,
// once, by the rules of every refresh. Import returns the record as it was last
// written.
//
// nil means that the session was checked, and is the link's. An *UncheckedError means
// that it is kept and could not be checked yet: Import admits nothing unchecked, whatever
// Config.VerifyFirst is, since it is not known of these tokens that they still work.
// ErrInUse means that the user has a link or an authorization that waits; ErrUsed, that
// the record has had the pair before, and it is not the link; a *LostError, that the
// server did not accept it any more.
func (k *Keeper) Import(ctx context.Context, user string, in Imported) (tokenstore.Record, error) {
	if in.RefreshToken == "" {
		return tokenstore.Record{}, ErrNotImportable
	}
	was, err := k.view(ctx, user)
	if err != nil && !errors.Is(err, ErrNoLink) {
		return tokenstore.Record{}, err
	}
	sum := sha256.Sum256([]byte(in.RefreshToken))
	session := hex.EncodeToString(sum[:16])
	first := core.Pair{ID: core.PairID{Session: session, Seq: 1}}
	a, err := k.taken(in)
	if err != nil {
		return tokenstore.Record{}, err
	}
	ev := core.Event{Kind: core.Import, Session: session, Next: first, Unlinks: was.Unlinks}
	result, err := k.put(ctx, user, ev, func(t *trip) { t.vault.answers[first.ID] = a })
	if err != nil {
		return tokenstore.Record{}, err
	}
	if result == core.Overruled {
		return k.notTaken(ctx, user, session, was.Unlinks)
	}
	k.forget(user)
	return k.imported(ctx, user, session)
}

// taken wraps a pair as if the server had just issued it.
func (k *Keeper) taken(in Imported) (*answer, error) {
	now := time.Unix(0, k.clock.exact()).UTC()
	asked, life := now, k.AssumedLife
	if !in.ExpiresAt.IsZero() {
		life = in.ExpiresAt.Sub(now).Truncate(time.Second)
	}
	if life <= 0 || in.AccessToken == "" {
		asked, life = now.Add(-time.Hour), time.Second // it has expired
	}
	body, err := json.Marshal(map[string]any{
		"access_token": in.AccessToken, "refresh_token": in.RefreshToken, "token_type": "Bearer", "scope": in.Scope, "expires_in": int64(life / time.Second),
	})
	if err != nil {
		return nil, err
	}
	if in.AccessToken == "" || len(body) > maxAnswer {
		return nil, ErrNotImportable
	}
	g, err := tokenwire.Parse(body)
	if err != nil {
		return nil, ErrNotImportable
	}
	return &answer{Body: body, AskedAt: asked, LinkedAt: now, grant: &g}, nil
}

// notTaken returns why the record did not take the pair.
func (k *Keeper) notTaken(ctx context.Context, user, session string, unlinks uint64) (tokenstore.Record, error) {
	r, err := k.view(ctx, user)
	switch {
	case err != nil:
		return tokenstore.Record{}, err
	case slices.ContainsFunc(r.Marks, func(m core.Mark) bool { return m.Session == session }):
		return r.stored, ErrUsed
	case r.Unlinks > unlinks:
		return r.stored, ErrNoLink
	}
	return r.stored, ErrInUse
}

// imported checks the session, and returns what became of it.
func (k *Keeper) imported(ctx context.Context, user, session string) (tokenstore.Record, error) {
	var unchecked error
	for range 2 { // a check that was under way may have begun before
		var look *flight
		look, unchecked = k.checked(ctx, user, true)
		r, err := k.view(ctx, user)
		switch active := r.Active.ID.Session == session && r.Phase == core.Linked; {
		case err != nil:
			return tokenstore.Record{}, err
		case active && r.Public != "":
			return r.stored, nil
		case !active && r.Candidate.ID.Session != session:
			return r.stored, whyDropped(r, look)
		}
		if unchecked != nil || ctx.Err() != nil {
			break
		}
	}
	r, err := k.view(ctx, user)
	if err != nil {
		return tokenstore.Record{}, err
	}
	return r.stored, &UncheckedError{Err: unchecked}
}

// whyDropped returns why a session is not the link's, by what the record remembers, and
// the look that may have dropped it.
func whyDropped(r row, look *flight) error {
	if r.Phase == core.Relink && r.Cause.Decided() {
		return &LostError{Cause: r.Cause}
	}
	for _, h := range slices.Backward(r.details.Past) {
		switch h.Kind {
		case Refused:
			if look != nil && look.refused != nil {
				return look.refused
			}
			return &RefusedError{Err: ErrOtherPatient}
		case OtherPatient:
			return ErrOtherPatient
		case Shared:
			if look != nil {
				return &SharedError{Users: look.shared}
			}
			return &SharedError{}
		case Abandoned:
			return &LostError{Cause: h.Cause}
		case Unlinked:
			return ErrNoLink
		}
	}
	return ErrOvertaken
}
