// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package explore

import (
	"fmt"
	"strings"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// A move is one step of a history, in as few bytes as identify it.
type move struct {
	who   uint8 // a process, from 1; 0 is the world
	verb  verb
	event core.EventKind
	arg   uint8
}

type verb uint8

const (
	lateRequest verb = iota + 1
	activeExpires
	candidateExpires
	sessionEnds
	lateSaveLands
	storeGoesBack
	somebody
	removesRow
	looks
	begins
	beginsRejected
	crashes
	sleeps
	cutOff
	serverProcesses
	isBack
	isBackAndBeats
	beats
	cannotLoad
	readsNothing
	readsOld
	loads
	conflicts
	cannotSave
	savesLater
	savesUnheard
	saves
	isHeld
	enters
	verifies
	finds
	lapses
	sends
	hears
	requestLost
	requestLate
	answerLost
	tells
	accepts
	doesNotAccept
	endsIn
	staysCandidate
)

var goals = [...]string{core.Call: "a call", core.Warm: "an early refresh", core.Look: "a check", core.Approve: "a callback", core.Put: "a write", core.Tend: "a sweep"}

var rulings = [...]string{core.Known: "learns who the patient is", core.Barred: "learns that the session must not be used", core.Unknown: "cannot check whose the session is"}

// sentences describe the moves. {who}, {event} and so on are placeholders.
var sentences = map[verb]string{
	lateRequest:      "the server processes a request whose sender gave up",
	activeExpires:    "the access token of the active pair expires",
	candidateExpires: "the candidate's access token expires",
	sessionEnds:      "the server ends the session",
	lateSaveLands:    "a save that was given up lands after all: {event}",
	storeGoesBack:    "the store loses its last {arg} acknowledged writes",
	somebody:         "another program writes {event}",
	removesRow:       "somebody deletes the row by hand",
	looks:            "{who} looks at what it has kept",
	begins:           "{who} begins {goal}",
	beginsRejected:   "{who} begins a call whose access token an API rejected",
	crashes:          "{who} crashes",
	sleeps:           "{who} is suspended",
	cutOff:           "{who} is cut off from the store",
	serverProcesses:  "the server processes {who}'s request",
	isBack:           "{who} is back",
	isBackAndBeats:   "{who} is back, and renews its lease",
	beats:            "{who} renews its lease",
	cannotLoad:       "{who} cannot load the record",
	readsNothing:     "{who} finds no record, because the store lags",
	readsOld:         "{who} loads the record from before its last write, because the store lags",
	loads:            "{who} loads the record",
	conflicts:        "{who} tries to save, and another writer was faster",
	cannotSave:       "{who} cannot save {event}",
	savesLater:       "{who}'s save of {event} does not return, and is on its way",
	savesUnheard:     "{who} saves {event}, and hears that it failed",
	saves:            "{who} saves {event}",
	isHeld:           "{who} is held back by the breaker",
	enters:           "{who} may ask the endpoint",
	verifies:         "{who} {ruling}",
	finds:            "{who} looks for other users of the patient",
	lapses:           "{who} sees that its lease stood still, and presents nothing",
	sends:            "{who} sends its request",
	hears:            "{who} receives: {outcome}",
	requestLost:      "{who}'s request is lost",
	requestLate:      "{who} times out, with its request on the way",
	answerLost:       "the response to {who} is lost",
	tells:            "{who} delivers notice {arg}",
	accepts:          "the host accepts the notice from {who}",
	doesNotAccept:    "the host does not accept the notice from {who}",
	staysCandidate:   "the candidate stays after every later look; the last look ends in result {arg}",
	endsIn:           "later calls end in result {arg}, and never in a token",
}

// String describes a move in a sentence.
func (m move) String() string {
	at := func(names []string) string {
		if int(m.arg) < len(names) {
			return names[m.arg]
		}
		return ""
	}
	who := ""
	if m.who > 0 {
		who = string(rune('A' + m.who - 1))
	}
	outcome := ""
	if m.verb == hears {
		outcome = core.Outcome(m.arg).String()
	}
	return strings.NewReplacer("{who}", who, "{event}", m.event.String(), "{arg}", fmt.Sprint(m.arg), "{goal}", at(goals[:]),
		"{ruling}", at(rulings[:]), "{outcome}", outcome).Replace(sentences[m.verb])
}

// describe returns a record in one line.
func describe(r *core.Record) string {
	if r.Version == 0 {
		return "no record"
	}
	var b strings.Builder
	b.WriteString(r.Phase.String())
	if r.Cause != "" {
		fmt.Fprintf(&b, " (%s)", r.Cause)
	}
	describePair(&b, "active", &r.Active)
	describePair(&b, "candidate", &r.Candidate)
	if r.Public != "" {
		b.WriteString(", patient " + r.Public)
	}
	if r.Claim != "" {
		b.WriteString(", claims " + r.Claim)
	}
	if r.Lease.Owner != "" {
		fmt.Fprintf(&b, ", lease %s beat %d", r.Lease.Owner, r.Lease.Beat)
	}
	for _, m := range r.Marks {
		fmt.Fprintf(&b, ", mark %s %s%s", m.Session, [...]string{"", "open", "spent", "void"}[m.State], strings.TrimSuffix(" by "+m.By, " by "))
	}
	for _, n := range r.Notices {
		fmt.Fprintf(&b, ", notice %d %v", n.N, n.Kind)
	}
	if r.Telling.Owner != "" {
		fmt.Fprintf(&b, ", %s delivers %d", r.Telling.Owner, r.Telling.Notice)
	}
	if r.Unlinks > 0 {
		fmt.Fprintf(&b, ", unlinks %d", r.Unlinks)
	}
	return b.String()
}

func describePair(b *strings.Builder, slot string, p *core.Pair) {
	if p.ID.IsZero() {
		return
	}
	fmt.Fprintf(b, ", %s %s", slot, p.ID)
	if p.Tried > 0 {
		fmt.Fprintf(b, " tried %d", p.Tried)
	}
	if p.Unclear > 0 {
		fmt.Fprintf(b, " unclear %d", p.Unclear)
	}
	if p.Unread {
		b.WriteString(" unread")
	}
	if p.Final {
		b.WriteString(" final")
	}
}

// tell returns a history in sentences: the moves that lead from the start to a
// world, found by making them again.
func (c *setup) tell(path []uint16, last []move) []string {
	w := c.start()
	story := []string{"user 1: " + describe(&w.row[0])}
	for _, number := range path {
		var n uint16
		var next world
		var m move
		c.next(&w, func(v *world, how move) {
			if n == number {
				next, m = *v, how
			}
			n++
		})
		var line strings.Builder
		line.WriteString(m.String())
		for u := range w.row {
			if now := describe(&next.row[u]); now != describe(&w.row[u]) {
				fmt.Fprintf(&line, " [user %d: %s]", u+1, now)
			}
		}
		if m.who > 0 {
			if p, was := next.proc[m.who-1], w.proc[m.who-1]; was.flying && !p.flying && m.verb != crashes {
				line.WriteString(", and is done")
			}
		}
		story = append(story, line.String())
		w = next
	}
	for _, m := range last {
		story = append(story, m.String())
	}
	return story
}
