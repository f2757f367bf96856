// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/tokenstore"
)

// told is the ledger of what the host must be told of each link, and of what it was
// told.
type told struct {
	world *world
	mu    sync.Mutex
	of    map[string]*account
	tally tally
	// over: the processes end, and nobody is left who could deliver.
	over bool
}

// account is a user's.
type account struct {
	owed []*debt // every notice that a row has owed, in order
	due  []fact  // what has happened, as the server or a caller knows
	// epoch and state are those of the row.
	epoch  int
	state  tokenstore.State
	newest uint64 // number of a notice that the host has taken
}

// fact is something that happens to a session and that the host must hear of.
type fact struct {
	epoch int
	kind  core.NoticeKind
}

func (f fact) String() string { return fmt.Sprintf("authorization %d: %v", f.epoch, f.kind) }

// debt is a notice that was in a row.
type debt struct {
	fact
	id    string
	n     uint64 // its number in the row
	cause custody.Cause
	last  bool // no other warning follows
	taken bool
	// replaced: another has taken its place, by the rules for that. fell: the store
	// has lost it, and nobody has written it again; back: though a row shows the fact
	// again.
	replaced, fell, back bool
	// late: its process wrote it when it was ended.
	late bool
	// was is the id under which its writer had had it, and should know it.
	was string
	// known is who has seen it acknowledged, and when.
	known map[*process]time.Time
}

const (
	// mostNotices is how many a row owes; then the oldest make room.
	mostNotices = 8
	// remembered is for how long a process remembers at least what it has saved; what was
	// saved less than flight ago, another flight of its may not know that began before.
	remembered = 4 * time.Minute
	flight     = time.Second
)

func (t *told) account(user string) *account {
	if t.of == nil {
		t.of = map[string]*account{}
	}
	a := t.of[user]
	if a == nil {
		a = &account{}
		t.of[user] = a
	}
	return a
}

func (a *account) debt(id string) *debt {
	for _, d := range a.owed {
		if d.id == id {
			return d
		}
	}
	return nil
}

// owed are the notices of a row; most rows have none, and are not read for it.
func owed(r tokenstore.Record) []custody.Notice {
	if !bytes.Contains(r.Details, []byte(`"notices"`)) {
		return nil
	}
	return custody.Owed(r)
}

// has reports whether a notice is among others.
func has(all []custody.Notice, id string) bool {
	return slices.ContainsFunc(all, func(n custody.Notice) bool { return n.ID == id })
}

// wrote notes that a process writes a row, of the authorization epoch.
func (t *told) wrote(p *process, before, after tokenstore.Record, epoch int) {
	was, is := owed(before), owed(after)
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.account(after.AppUserID)
	a.is(after.State, epoch)
	for _, n := range is {
		if d := a.debt(n.ID); d != nil {
			d.fell, d.back, d.replaced = false, false, false
			continue
		}
		d := &debt{fact: fact{epoch, n.Kind}, id: n.ID, n: numberOf(n), cause: n.Cause, last: n.Last, late: t.over, known: map[*process]time.Time{}}
		d.was = a.known(p, d)
		a.owed = append(a.owed, d)
	}
	for _, n := range was {
		if d := a.debt(n.ID); !has(is, n.ID) && !d.taken {
			d.replaced = len(is) == mostNotices || n.Kind == core.EndsSoon && slices.ContainsFunc(is, func(o custody.Notice) bool { return o.Kind == n.Kind }) || a.tookAs(d)
		}
	}
}

// tookAs reports whether the host has taken the same under another id: the store had lost
// it, a process wrote it again, and another cleared it that had delivered the first.
func (a *account) tookAs(d *debt) bool {
	return slices.ContainsFunc(a.owed, func(o *debt) bool {
		return o.taken && o.fact == d.fact && o.n == d.n && o.cause == d.cause && o.last == d.last
	})
}

// is notes what the row shows now.
func (a *account) is(state tokenstore.State, epoch int) {
	a.epoch, a.state = epoch, state
	for _, d := range a.owed {
		d.back = d.back || d.fell && a.shows(d.fact)
	}
}

// shows reports whether the row shows a fact.
func (a *account) shows(f fact) bool {
	linked := a.state == tokenstore.StateLinked || a.state == tokenstore.StateUncertain
	return f.epoch == a.epoch && (f.kind == core.Made && linked || f.kind == core.Ended && a.state == tokenstore.StateRelinkRequired)
}

// known returns the id by which the writer of a notice has had it, and should still
// know it, or "".
func (a *account) known(p *process, d *debt) string {
	for _, o := range a.owed {
		at, saved := o.known[p]
		if known := time.Since(at); o.fact == d.fact && o.n == d.n && saved && known > flight && known < remembered && !p.world.wrongClocks {
			return o.id
		}
	}
	return ""
}

// numberOf is a notice's in its row, which its id ends with.
func numberOf(n custody.Notice) uint64 {
	_, number, _ := strings.Cut(n.ID, "-")
	i, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		panic(err) // ids are made so
	}
	return i
}

// saved notes that a process knows that its row is saved.
func (t *told) saved(p *process, r tokenstore.Record) {
	is := owed(r)
	if len(is) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range is {
		t.account(r.AppUserID).debt(n.ID).known[p] = time.Now()
	}
}

// lost notes that the store has lost writes of a row.
func (t *told) lost(before, now tokenstore.Record, of pairID) {
	was, is := owed(before), owed(now)
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.account(now.AppUserID)
	a.newest = 0 // numbers are given again
	for _, d := range a.owed {
		d.fell = d.fell || !d.taken && has(was, d.id) && !has(is, d.id)
	}
	for _, n := range is {
		a.debt(n.ID).replaced = false
	}
	a.epoch, a.state = of.epoch, now.State
}

// ends notes that the processes are about to end.
func (t *told) ends() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
}

// take is the host's table of notices. stood says that the process stood still with
// this one: others may have taken its place meanwhile, and gone on.
func (t *told) take(n custody.Notice, stood bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.account(n.User)
	d := a.debt(n.ID)
	switch {
	case d == nil:
		t.lose(n.User, fact{a.epoch, n.Kind}, "no row has owed "+n.ID)
		return
	case d.taken:
		t.tally.toldAgain++
		return
	case d.n < a.newest && !stood:
		t.tally.disordered++
		t.note(n.User, d.fact, "was told after a later one")
	}
	t.tally.told++
	d.taken, a.newest = true, max(d.n, a.newest)
}

// must notes that the host must hear of a fact.
func (t *told) must(user string, f fact) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.account(user).must(f)
}

func (a *account) must(f fact) {
	if !slices.Contains(a.due, f) {
		a.due = append(a.due, f)
	}
}

// mustAsShown notes that the host must hear of the end that the row shows.
func (t *told) mustAsShown(user string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.account(user)
	if f := (fact{a.epoch, core.Ended}); a.shows(f) {
		a.must(f)
	}
}

// aged notes that a session has lived for as long as one does: the host must have been
// warned, if its row was there and clocks were right.
func (t *told) aged(user string, epoch int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.account(user)
	if a.shows(fact{epoch, core.Made}) && !t.world.wrongClocks {
		a.must(fact{epoch, core.EndsSoon})
	}
}

// ended is what the host knows of a user's authorization: that it has ended, and why.
func (t *told) ended(user string, epoch int) (cause custody.Cause, yes bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range t.account(user).owed {
		switch {
		case !d.taken || d.epoch != epoch:
		case d.kind == core.Ended:
			cause, yes = d.cause, true
		case d.kind == core.Made:
			yes = false
		}
	}
	return cause, yes
}

// isOwing reports whether a row owes the host a notice.
func (t *told) isOwing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range t.of {
		for _, d := range a.owed {
			if !d.taken && !d.replaced && !d.fell {
				return true
			}
		}
	}
	return false
}

// settle judges, at the end, what the host was not told.
func (t *told) settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for user, a := range t.of {
		for _, d := range a.owed {
			switch {
			case d.was != "":
				t.lose(user, d.fact, d.id+" was called "+d.was+" by the process that wrote it")
			case d.taken, d.replaced, d.late:
			case !d.fell:
				t.lose(user, d.fact, "the row owed "+d.id)
			case a.heard(d.fact):
			case d.back:
				t.lose(user, d.fact, "the row shows it again, without "+d.id)
			default:
				t.tally.noticesFell++
			}
		}
		for _, f := range a.due {
			if !a.heard(f) && !slices.ContainsFunc(a.owed, func(d *debt) bool { return d.fact == f }) {
				t.lose(user, f, "no row has owed it")
			}
		}
	}
}

// heard reports whether the host was told of a fact.
func (a *account) heard(f fact) bool {
	return slices.ContainsFunc(a.owed, func(d *debt) bool { return d.fact == f && (d.taken || d.replaced) })
}

func (t *told) lose(user string, f fact, why string) {
	t.tally.untold++
	t.note(user, f, why)
}

func (t *told) note(user string, f fact, why string) {
	w := t.world
	t.tally.where = append(t.tally.where, fmt.Sprintf("notices: %s in world %d, %v, noted after %v: %s", user, w.number, f, time.Since(w.began), why))
}
