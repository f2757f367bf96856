// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// format is the version of the format in which records are written. A process that
// meets a higher one leaves the record alone.
const format = 1

// answer is a token response as the server sent it, and when it was requested. Its
// tokens are at least as old as the request: a process that sleeps between the two
// must not take them for new.
type answer struct {
	Body    response  `json:"body"`
	AskedAt time.Time `json:"at"`
	// LinkedAt is when the first pair of the session was requested.
	LinkedAt time.Time `json:"linked_at"`

	grant *tokenwire.Grant // Body, parsed; nil if not parsed yet
	rest  *unknown
}

// secrets is the content of a record's sealed blob: everything secret, and a copy of
// what decides whose link it is. Editing the clear columns can take a link away, and
// cannot make one.
type secrets struct {
	Active    *answer    `json:"active,omitempty"`
	Candidate *answer    `json:"candidate,omitempty"`
	Unread    []byte     `json:"unread,omitempty"`           // may hold the active pair's successor
	Waiting   []byte     `json:"candidate_unread,omitempty"` // may hold the candidate's
	Switch    bool       `json:"switch,omitempty"`
	Share     bool       `json:"share,omitempty"`
	PublicID  string     `json:"public_id,omitempty"`
	Cause     core.Cause `json:"cause,omitempty"` // of a link that has ended

	rest *unknown
}

// details is what a record remembers in clear in addition to its columns.
type details struct {
	Format  int    `json:"v"`
	Marks   marks  `json:"marks,omitempty"`
	Unlinks uint64 `json:"unlinks,omitempty"`
	// Lease is the pair that the lease was taken for, unless that is the active one:
	// the write that takes a lease leaves the details as they are.
	Lease   string `json:"lease_for,omitempty"`
	Tried   int    `json:"candidate_tried,omitempty"`
	Unclear int    `json:"unclear,omitempty"`
	Waiting int    `json:"candidate_unclear,omitempty"`
	Unread  bool   `json:"unread,omitempty"`
	Held    bool   `json:"candidate_unread,omitempty"`
	// Warned is the session whose end was announced, and Level, how near it was.
	Warned string       `json:"warned,omitempty"`
	Level  core.Warning `json:"warned_level,omitempty"`
	// Noticed is the highest number of a notice, and Teller, who is delivering the
	// one called Telling.
	Notices []notice `json:"notices,omitempty"`
	Noticed uint64   `json:"noticed,omitempty"`
	Teller  string   `json:"teller,omitempty"`
	Telling uint64   `json:"telling,omitempty"`
	// TellAt is when the first notice is next delivered.
	TellAt time.Time `json:"tell_at,omitzero"`
	// Past is the last member, since a refresh changes its end only: a database that
	// logs what has changed of a row logs little.
	Past timeline `json:"past,omitempty"`

	rest *unknown
}

// vault holds the responses of pairs. A core.Record names pairs only.
type vault struct {
	answers map[core.PairID]*answer
	unread  map[core.PairID][]byte
}

func newVault() vault {
	return vault{answers: map[core.PairID]*answer{}, unread: map[core.PairID][]byte{}}
}

func (v vault) add(o vault) {
	maps.Copy(v.answers, o.answers)
	maps.Copy(v.unread, o.unread)
}

// row is a record, opened.
type row struct {
	core.Record
	stored  tokenstore.Record
	vault   vault
	secrets secrets
	details details
}

// maxAnswer is the largest response kept whole; the sealed blob has room for four.
const maxAnswer = 10 << 10

// newAnswer wraps a response for keeping. If it is too large to keep whole, only the
// tokens are kept.
func newAnswer(out tokenwire.Outcome, asked time.Time) *answer {
	body := out.Body
	if len(body) > maxAnswer {
		body, _ = json.Marshal(map[string]any{
			"access_token": out.Grant.AccessToken, "refresh_token": out.Grant.RefreshToken,
			"scope": out.Grant.Scope, "expires_in": out.Grant.ExpiresIn.Seconds(),
		})
	}
	g := out.Grant
	return &answer{Body: body, AskedAt: asked.UTC(), LinkedAt: asked.UTC(), grant: &g}
}

type pair struct {
	grant     tokenwire.Grant
	askedAt   time.Time
	expiresAt time.Time
}

// read parses a response that was parsed before; without one the pair is empty.
func (k *Keeper) read(a *answer) pair {
	if a == nil {
		return pair{}
	}
	g := a.grant
	if g == nil {
		parsed, err := tokenwire.Parse(a.Body)
		if err != nil {
			return pair{}
		}
		g = &parsed
	}
	life := g.ExpiresIn
	if life == 0 {
		life = k.AssumedLife
	}
	return pair{grant: *g, askedAt: a.AskedAt, expiresAt: a.AskedAt.Add(life)}
}

// open opens a record. It refuses one of another environment or client id, one that
// a later version wrote, and one whose sealed and clear parts differ.
func (k *Keeper) open(ctx context.Context, r tokenstore.Record) (row, error) {
	o := row{stored: r, vault: newVault()}
	if r.Environment != k.Environment || r.ClientID != k.ClientID {
		return row{}, ErrForeign
	}
	if err := decode(r.Details, &o.details); err != nil || o.details.Format < 1 && r.Pair+r.Candidate != "" {
		return row{}, &SealError{Cause: ErrDamaged}
	}
	if o.details.Format > format {
		return row{}, ErrNewer
	}
	active, ok1 := core.ParsePairID(r.Pair)
	candidate, ok2 := core.ParsePairID(r.Candidate)
	if !ok1 || !ok2 {
		return row{}, &SealError{Cause: ErrDamaged}
	}
	d := &o.details
	o.Record = core.Record{
		Version: r.Version, Phase: phases[r.State], Cause: core.Cause(r.Cause),
		Active:    core.Pair{ID: active, Tried: r.Tried, Unclear: d.Unclear, Unread: d.Unread},
		Candidate: core.Pair{ID: candidate, Tried: d.Tried, Unclear: d.Waiting, Unread: d.Held},
		Public:    r.PublicID, Claim: r.Claim,
		Lease:   core.Lease{Owner: r.Lease.Owner, Beat: r.Lease.Beat, TTL: r.Lease.TTL},
		Unlinks: d.Unlinks, Generation: r.Generation,
	}
	if o.Lease.Pair, _ = core.ParsePairID(d.Lease); d.Lease == "" && r.Lease.Owner != "" {
		o.Lease.Pair = active
	}
	o.Warned, o.Telling, o.Noticed = core.Warned{Session: d.Warned, Level: d.Level}, core.Telling{Owner: d.Teller, Notice: d.Telling}, d.Noticed
	for _, n := range d.Notices {
		o.Notices = append(o.Notices, n.owed())
	}
	for _, m := range d.Marks {
		o.Marks = append(o.Marks, core.Mark{Session: m.Session, By: m.By, State: m.State})
	}
	if err := k.unseal(ctx, &o); err != nil {
		return row{}, err
	}
	return o, nil
}

// phases are those of a stored record. A link is shown as uncertain while the
// outcome of a presentation is unknown.
var phases = map[tokenstore.State]core.Phase{
	tokenstore.StatePending: core.Pending, tokenstore.StateLinked: core.Linked, tokenstore.StateUncertain: core.Linked,
	tokenstore.StateRelinkRequired: core.Relink, tokenstore.StateUnlinked: core.Unlinked,
}

// unseal opens the secrets of a record, and compares: the clear columns may only
// take away.
func (k *Keeper) unseal(ctx context.Context, o *row) error {
	r := &o.stored
	if o.Phase == core.Unlinked {
		o.Active, o.Candidate, o.Public, o.Claim = core.Pair{}, core.Pair{}, "", ""
		return nil
	}
	switch {
	case len(r.Sealed) == 0 && o.empty():
		return nil
	case len(r.Sealed) == 0:
		return &SealError{Cause: ErrDamaged} // a blob is missing
	}
	plain, err := k.Ring.OpenGuarded(k.place(*r), r.Sealed, k.hostKey(ctx))
	if err != nil {
		return &SealError{Cause: err}
	}
	if err := decode(plain, &o.secrets); err != nil {
		return &SealError{Cause: seal.ErrNotAuthentic}
	}
	s := &o.secrets
	if !o.agrees() {
		return &SealError{Cause: ErrDamaged}
	}
	if s.Cause != "" {
		o.Phase, o.Cause = core.Relink, s.Cause
	}
	o.Terms = core.Terms{Switch: s.Switch, Share: s.Share}
	k.fill(o, &o.Active, s.Active, s.Unread)
	k.fill(o, &o.Candidate, s.Candidate, s.Waiting)
	return nil
}

// empty reports whether the columns name nothing that would be sealed.
func (o *row) empty() bool {
	return o.Active.ID.IsZero() && o.Candidate.ID.IsZero() && o.Phase != core.Linked && o.Phase != core.Relink && o.Public == ""
}

// agrees reports whether the columns match what is sealed.
func (o *row) agrees() bool {
	s, pending := &o.secrets, o.Phase == core.Pending || o.Phase == core.None
	return s.PublicID == o.Public && (s.Active == nil) == o.Active.ID.IsZero() && (s.Candidate == nil) == o.Candidate.ID.IsZero() &&
		o.Active.ID.IsZero() == pending
}

func (k *Keeper) fill(o *row, p *core.Pair, a *answer, unread []byte) {
	if p.ID.IsZero() {
		return
	}
	if g, err := tokenwire.Parse(a.Body); err == nil {
		a.grant = &g // before others see it
	}
	o.vault.answers[p.ID] = a
	p.Final = k.read(a).grant.RefreshToken == ""
	if p.Unread = len(unread) > 0; p.Unread {
		o.vault.unread[p.ID] = unread
	}
}

func (k *Keeper) place(r tokenstore.Record) seal.Place {
	return seal.Place{Environment: r.Environment, ClientID: r.ClientID, AppUserID: k.prefix + r.AppUserID, Pair: r.Pair, Candidate: r.Candidate}
}

// close makes the row that an event makes of base, with the responses of v. It seals
// only if what is sealed has changed, or anew is set.
func (k *Keeper) close(ctx context.Context, user string, base row, next core.Record, v vault, by core.EventKind, anew bool) (*row, error) {
	o := &row{Record: next, stored: base.stored, vault: newVault(), details: base.details}
	r := &o.stored
	r.AppUserID, r.Version, r.Environment, r.ClientID = user, next.Version, k.Environment, k.ClientID
	r.State, r.Cause, r.PublicID, r.Claim = stateOf(next), "", next.Public, next.Claim
	if next.Phase == core.Relink {
		r.Cause = string(next.Cause)
	}
	r.Pair, r.Candidate, r.Tried, r.Generation = next.Active.ID.String(), next.Candidate.ID.String(), next.Active.Tried, next.Generation
	if lease := next.Lease; lease.Owner != r.Lease.Owner {
		r.Lease = tokenstore.Lease{}
		if lease.Owner != "" {
			r.Lease.TakenAt = k.now().UTC().Truncate(time.Microsecond)
		}
	}
	r.Lease.Owner, r.Lease.Beat, r.Lease.TTL = next.Lease.Owner, next.Lease.Beat, next.Lease.TTL
	o.secrets = secrets{
		Switch: next.Terms.Switch, Share: next.Terms.Share, PublicID: next.Public, Cause: core.Cause(r.Cause), rest: base.secrets.rest,
	}
	o.secrets.Active, o.secrets.Unread = o.take(next.Active, v)
	o.secrets.Candidate, o.secrets.Waiting = o.take(next.Candidate, v)
	if !next.Active.ID.IsZero() && o.secrets.Active == nil || !next.Candidate.ID.IsZero() && o.secrets.Candidate == nil {
		return nil, errors.New("a record names a pair that is not held")
	}
	k.project(o)
	if err := k.seal(ctx, o, base, anew); err != nil {
		return nil, err
	}
	k.schedule(o, &base, by)
	return o, o.remember(k.now())
}

func (o *row) take(p core.Pair, v vault) (*answer, []byte) {
	if p.ID.IsZero() {
		return nil, nil
	}
	a := v.answers[p.ID]
	o.vault.answers[p.ID] = a
	if !p.Unread {
		return a, nil
	}
	o.vault.unread[p.ID] = v.unread[p.ID]
	return a, v.unread[p.ID]
}

func stateOf(r core.Record) tokenstore.State {
	switch {
	case r.Phase == core.Linked && r.Active.Tried > 0:
		return tokenstore.StateUncertain
	case r.Phase == core.Linked:
		return tokenstore.StateLinked
	case r.Phase == core.Relink:
		return tokenstore.StateRelinkRequired
	case r.Phase == core.Unlinked:
		return tokenstore.StateUnlinked
	}
	return tokenstore.StatePending
}

// project writes what operators and indexes read. No decision reads it.
func (k *Keeper) project(o *row) {
	r := &o.stored
	r.ExpiresAt, r.EndsAt, r.DueAt, r.LinkedAt, r.RefreshedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	if a := o.secrets.Active; a != nil {
		p := k.read(a)
		r.ExpiresAt, r.RefreshedAt, r.LinkedAt = p.expiresAt, p.askedAt, a.LinkedAt
		r.DueAt = p.expiresAt.Add(-p.expiresAt.Sub(p.askedAt) / 5)
		switch {
		case o.Active.Final: // PKB leaves the refresh token out of a session's last response
			r.EndsAt, r.DueAt = p.expiresAt, p.expiresAt
		case k.SessionLife > 0 && o.Phase == core.Linked:
			r.EndsAt = a.LinkedAt.Add(k.SessionLife)
		}
	}
	switch o.Phase {
	case core.Relink:
		r.DueAt = time.Time{}
	case core.Pending, core.Unlinked:
		r.DueAt = k.now().Add(keepRemains)
	}
	for _, t := range []*time.Time{&r.ExpiresAt, &r.EndsAt, &r.DueAt, &r.LinkedAt, &r.RefreshedAt} {
		if !t.IsZero() {
			*t = t.UTC().Truncate(time.Microsecond)
		}
	}
}

// seal seals the secrets, unless the current blob holds the same: taking and
// releasing a lease needs no key.
func (k *Keeper) seal(ctx context.Context, o *row, base row, anew bool) error {
	r := &o.stored
	if o.secrets.Active == nil && o.secrets.Candidate == nil {
		r.Sealed, r.KeyID = nil, ""
		return nil
	}
	same := base.stored.Pair == r.Pair && base.stored.Candidate == r.Candidate && base.secrets.PublicID == o.secrets.PublicID &&
		base.secrets.Cause == o.secrets.Cause && base.Terms == o.Terms &&
		bytes.Equal(base.secrets.Unread, o.secrets.Unread) && bytes.Equal(base.secrets.Waiting, o.secrets.Waiting)
	if same && !anew && len(base.stored.Sealed) > 0 {
		return nil
	}
	plain, err := encode(&o.secrets)
	if err == nil {
		r.Sealed, r.KeyID, err = k.Ring.SealGuarded(k.place(*r), plain, k.hostKey(ctx))
	}
	if err != nil {
		return &SealError{Cause: err}
	}
	return nil
}

func (o *row) remember(now time.Time) error {
	d := &o.details
	d.Warned, d.Level = o.Warned.Session, o.Warned.Level
	d.Noticed, d.Teller, d.Telling, d.Notices = o.Noticed, o.Telling.Owner, o.Telling.Notice, o.notices(now)
	d.Format, d.Unlinks, d.Unclear, d.Lease = format, o.Unlinks, o.Active.Unclear, ""
	if o.Lease.Pair != o.Active.ID {
		d.Lease = o.Lease.Pair.String()
	}
	d.Tried, d.Waiting, d.Unread, d.Held = o.Candidate.Tried, o.Candidate.Unclear, o.Active.Unread, o.Candidate.Unread
	d.Marks = o.marks()
	b, err := encode(d)
	o.stored.Details = b
	return err
}

// marks are the record's, with what another version has written of those that were
// there before.
func (o *row) marks() (all marks) {
	for _, m := range o.Marks {
		kept := mark{Session: m.Session, By: m.By, State: m.State}
		if i := slices.IndexFunc(o.details.Marks, func(was mark) bool { return was.Session == m.Session }); i >= 0 {
			kept.rest = o.details.Marks[i].rest
		}
		all = append(all, kept)
	}
	return all
}

// hostKey guards a key of the host's: it is host code.
func (k *Keeper) hostKey(ctx context.Context) seal.Guard {
	return func(call func() ([]byte, error)) ([]byte, error) {
		return guard(k, ctx, k.StoreTimeout, "the key", func(context.Context) ([]byte, error) { return call() })
	}
}

// peek reads a record for a caller, or returns ErrNoLink.
func (k *Keeper) peek(ctx context.Context, user string) (tokenstore.Record, error) {
	if err := k.overrun(); err != nil {
		return tokenstore.Record{}, err
	}
	return k.storeLoad(ctx, user)
}

func (k *Keeper) load(ctx context.Context, user string) (row, error) {
	r, err := k.storeLoad(ctx, user)
	if err != nil {
		return row{}, err
	}
	return k.open(ctx, r)
}

func (k *Keeper) view(ctx context.Context, user string) (row, error) {
	if err := k.overrun(); err != nil {
		return row{}, err
	}
	return k.load(ctx, user)
}

func (k *Keeper) storeLoad(ctx context.Context, user string) (tokenstore.Record, error) {
	r, err := guard(k, ctx, k.StoreTimeout, "the store", func(ctx context.Context) (tokenstore.Record, error) { return k.Store.Load(ctx, user) })
	k.observe(ctx, err)
	if err == nil && r.AppUserID != user {
		err = fmt.Errorf("the store returned the record of another user")
	}
	return r, storeError("load", err)
}

func (k *Keeper) storeSave(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	saved, err := guard(k, ctx, k.StoreTimeout, "the store", func(ctx context.Context) (tokenstore.Record, error) { return k.Store.Save(ctx, r) })
	k.observe(ctx, err)
	return saved, storeError("save", err)
}
