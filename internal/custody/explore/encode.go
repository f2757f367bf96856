// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package explore

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// key is the hash of a world's encoding: at 128 bits, no two worlds in a history of
// billions share one.
type key [2]uint64

// encoder writes a world in as few bytes as distinguish it from others. What is only
// ever compared is renamed: nonces by the order in which they are met, versions by
// which record of the store they belong to.
type encoder struct {
	buf      []byte
	names    [len(nonces)]uint8
	named    uint8
	versions []uint64
	seeds    [2]maphash.Seed
}

func newEncoder() *encoder {
	return &encoder{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

func (e *encoder) key(c *setup, w *world) key {
	e.world(c, w)
	return key{maphash.Bytes(e.seeds[0], e.buf), maphash.Bytes(e.seeds[1], e.buf)}
}

func (e *encoder) world(c *setup, w *world) {
	e.buf, e.names, e.named = e.buf[:0], [len(nonces)]uint8{}, 0
	e.versions = append(e.versions[:0], w.row[0].Version)
	for i := range w.past {
		e.versions = append(e.versions, w.past[i].Version)
	}
	e.bytes(uint8(len(w.past))) //nolint:gosec // small by construction
	for u := range w.row {
		e.record(&w.row[u])
	}
	for i := range w.past {
		e.record(&w.past[i])
	}
	for _, s := range w.ses[1:] {
		e.bytes(s.valid, flags(s.dead, s.coded))
	}
	e.bytes(flags(w.activeOver, w.candidateOver, w.back, w.g.fault, w.g.wentBack, w.lateSave != nil, w.oldKey), uint8(w.g.refused), uint8(w.g.void),
		uint8(w.g.ended), uint8(w.g.ok), uint8(w.g.replaced))
	e.id(w.late)
	e.id(w.g.unread)
	e.number(w.g.told)
	e.number(uint64(w.g.warned))
	if w.lateSave != nil {
		e.bytes(uint8(w.lateSaveUser)) //nolint:gosec // 0 or 1
		e.record(w.lateSave)
		e.event(&w.lateSaveEvent)
	}
	b := &w.b
	e.bytes(b.crash, b.lost, b.unknown, b.sleep, b.cut, b.unlink, b.reseal, b.unclear, b.unread, b.appWide, b.down, b.kill, b.reread, b.lose,
		b.held, b.beat, b.back, b.lag, b.lateSave, b.noRead, b.misfit, b.discard, b.abandon, b.fickle, b.removed, b.deaf)
	for i, p := range w.proc {
		u := c.programs[i].user
		e.versions[0] = w.row[u].Version
		e.proc(c, p)
	}
}

func (e *encoder) proc(c *setup, p *proc) {
	e.bytes(flags(p.flying, p.asleep, p.cut, p.posted, p.minePosted, p.tired, p.replaced, p.looked), flags(p.broken, p.looking), uint8(p.air), p.left, p.stood)
	e.record(&p.kept)
	e.id(p.newest)
	e.sight(&p.sight)
	e.owner(p.mine)
	if !p.flying {
		return
	}
	e.flight(c, &p.f)
	e.effect(&p.e)
	if p.air == processed {
		e.bytes(uint8(p.ans.outcome))
		e.pair(&p.ans.next)
		e.text(string(p.ans.cause))
	}
	e.id(p.bought)
	e.bytes(flags(p.beat != nil))
	if p.beat != nil {
		e.record(p.beat)
	}
}

func flags(of ...bool) (b uint8) {
	for i, on := range of {
		if on {
			b |= 1 << i
		}
	}
	return b
}

func (e *encoder) bytes(b ...uint8) { e.buf = append(e.buf, b...) }

func (e *encoder) number(n uint64) { e.buf = binary.AppendUvarint(e.buf, n) }

func (e *encoder) text(s string) {
	e.buf = append(e.buf, uint8(len(s))) //nolint:gosec // short names
	e.buf = append(e.buf, s...)
}

func (e *encoder) name(s string) { e.bytes(number(s)) }

// owner writes a nonce as its index among those met so far.
func (e *encoder) owner(s string) {
	if s == "" {
		e.bytes(0)
		return
	}
	n := 0
	for _, digit := range s[1:] {
		n = n*10 + int(digit-'0')
	}
	if e.names[n] == 0 {
		e.named++
		e.names[n] = e.named
	}
	e.bytes(e.names[n])
}

// version writes which record of the store a version belongs to: 1 for the current
// one, 255 for one that the store no longer has.
func (e *encoder) version(v uint64) {
	if v == 0 {
		e.bytes(0)
		return
	}
	for i, known := range e.versions {
		if v == known {
			e.bytes(uint8(i + 1))
			return
		}
	}
	e.bytes(255)
}

func (e *encoder) id(id core.PairID) {
	e.name(id.Session)
	e.bytes(uint8(id.Seq)) //nolint:gosec // small by construction
}

func (e *encoder) pair(p *core.Pair) {
	e.id(p.ID)
	e.bytes(uint8(p.Tried), uint8(p.Unclear), flags(p.Unread, p.Final)) //nolint:gosec // small by construction
}

func (e *encoder) terms(t core.Terms) { e.bytes(flags(t.Switch, t.Share)) }

func (e *encoder) lease(l *core.Lease) {
	e.owner(l.Owner)
	if *l != (core.Lease{}) {
		e.id(l.Pair)
		e.number(l.Beat)
		e.number(uint64(l.TTL / tick)) //nolint:gosec // not negative
	}
}

// record leaves out Generation, which no decision reads.
func (e *encoder) record(r *core.Record) {
	e.version(r.Version)
	e.bytes(uint8(r.Phase))
	e.text(string(r.Cause))
	e.pair(&r.Active)
	e.pair(&r.Candidate)
	e.terms(r.Terms)
	e.name(r.Public)
	e.name(r.Claim)
	e.lease(&r.Lease)
	e.bytes(uint8(len(r.Marks)), uint8(r.Unlinks)) //nolint:gosec // small by construction
	for _, m := range r.Marks {
		e.name(m.Session)
		e.owner(m.By)
		e.bytes(uint8(m.State))
	}
	e.bytes(uint8(len(r.Notices)), uint8(r.Noticed)) //nolint:gosec // small by construction
	for i := range r.Notices {
		e.notice(&r.Notices[i])
	}
	e.telling(r.Telling)
	e.name(r.Warned.Session)
	e.bytes(uint8(r.Warned.Level))
}

func (e *encoder) notice(n *core.Notice) {
	e.bytes(uint8(n.N), uint8(n.Kind), uint8(n.Warning), uint8(n.Tries), uint8(n.Also)) //nolint:gosec // small by construction
	e.text(string(n.Cause))
	e.name(n.Session)
}

func (e *encoder) telling(t core.Telling) {
	e.owner(t.Owner)
	e.bytes(uint8(t.Notice)) //nolint:gosec // small by construction
}

func (e *encoder) event(v *core.Event) {
	e.bytes(uint8(v.Kind))
	if v.Kind == 0 {
		return
	}
	e.owner(v.Owner)
	e.id(v.Pair)
	e.pair(&v.Next)
	e.name(v.Session)
	e.name(v.Patient)
	e.terms(v.Terms)
	e.text(string(v.Cause))
	e.bytes(flags(v.Shared, v.Witnessed, v.Few, v.Old, v.Known != nil))
	e.number(v.Unlinks)
	e.number(uint64(v.TTL / tick)) //nolint:gosec // not negative
	e.owner(v.Instead)
	e.notice(&v.Notice)
	e.bytes(uint8(v.Warning))
	if v.Known != nil {
		e.record(v.Known)
	}
}

func (e *encoder) count(s *core.Stopwatch[core.Count]) {
	e.id(s.Of.Pair)
	e.bytes(uint8(s.Of.N), uint8(s.For/tick)) //nolint:gosec // small by construction
}

func (e *encoder) sight(s *core.Sight) {
	e.lease(&s.Lease.Of)
	e.bytes(uint8(s.Lease.For / tick)) //nolint:gosec // small by construction
	e.count(&s.Tried)
	e.count(&s.Unclear)
	e.count(&s.Refused)
	e.telling(s.Telling.Of)
	e.name(s.Claim.Of)
	e.bytes(uint8(s.Telling.For/tick), uint8(s.Claim.For/tick)) //nolint:gosec // small by construction
}

// flight leaves out Out, which nothing reads, and caps how long somebody has watched
// at the longest time that matters.
func (e *encoder) flight(c *setup, f *core.Flight) {
	watched := min(f.Watched, max(c.policy.WatchFor, c.policy.VisitFor))
	e.bytes(uint8(f.Goal), flags(f.Rejected, f.Over, f.Absent, f.Failing, f.Told, f.Unheard, f.Left), uint8(f.At), uint8(f.Back), f.Sends, f.Lapses, f.Replays,
		uint8(f.After), uint8(watched/tick), uint8(f.Unlinks)) //nolint:gosec // small by construction
	e.name(f.Session)
	e.terms(f.Terms)
	e.record(&f.Kept)
	e.id(f.Newest)
	e.sight(&f.Sight)
	e.record(&f.Rec)
	e.owner(f.Owner)
	e.id(f.Pair)
	e.event(&f.Ev)
	e.name(f.Asked)
	e.name(f.Whose)
	e.id(f.Bought)
	e.owner(f.Teller)
}

// effect leaves out Long, Result, Tell, Look and After, which are judged when the
// effect is returned, and never again.
func (e *encoder) effect(v *core.Effect) {
	e.bytes(uint8(v.Kind))
	e.record(&v.Rec)
	e.id(v.Pair)
	e.name(v.Patient)
	e.notice(&v.Notice)
}
