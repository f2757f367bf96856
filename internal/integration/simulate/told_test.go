// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/tokenstore"
)

// story is one row and the ledger about it.
type story struct {
	*told
	one, other *process
	row        tokenstore.Record
}

// item is a notice as a record keeps it.
type item struct {
	N    uint64          `json:"n"`
	Kind core.NoticeKind `json:"kind"`
	At   time.Time       `json:"at"`
}

func aMade(n uint64) item    { return item{n, core.Made, time.Unix(1, 0).UTC()} }
func anEnd(n uint64) item    { return item{n, core.Ended, time.Unix(1, 0).UTC()} }
func aWarning(n uint64) item { return item{n, core.EndsSoon, time.Unix(1, 0).UTC()} }

// later is the same notice as who does not know it writes it.
func (i item) later() item {
	i.At = i.At.Add(time.Minute)
	return i
}

func rowOf(state tokenstore.State, all []item) tokenstore.Record {
	details, err := json.Marshal(map[string]any{"v": 1, "notices": all})
	if err != nil {
		panic(err) // it is made of numbers
	}
	return tokenstore.Record{AppUserID: "user0", State: state, Details: details}
}

// saves is an acknowledged write, of the first authorization.
func (s *story) saves(p *process, state tokenstore.State, all ...item) {
	row := rowOf(state, all)
	s.wrote(p, s.row, row, 1)
	s.saved(p, row)
	s.row = row
}

func (s *story) goesBack(state tokenstore.State, all ...item) {
	row := rowOf(state, all)
	s.lost(s.row, row, pairID{1, 1})
	s.row = row
}

func (s *story) takes(i item) {
	for _, n := range custody.Owed(rowOf(tokenstore.StateLinked, []item{i})) {
		s.take(n, false)
	}
}

// What the host was not told counts, unless the store alone is to blame.
func TestTold(t *testing.T) {
	const linked, relink, pending = tokenstore.StateLinked, tokenstore.StateRelinkRequired, tokenstore.StatePending
	for name, tc := range map[string]struct {
		is   func(s *story)
		want tally
	}{
		"told": {func(s *story) {
			s.saves(s.one, linked, aMade(1))
			s.takes(aMade(1))
			s.saves(s.one, linked)
			s.must("user0", fact{1, core.Made})
		}, tally{told: 1}},
		"cleared, and not told": {func(s *story) {
			s.saves(s.one, linked, aMade(1))
			s.saves(s.one, linked)
		}, tally{untold: 1}},
		"still owed": {func(s *story) { s.saves(s.one, linked, aMade(1)) }, tally{untold: 1}},
		"told again": {func(s *story) {
			s.saves(s.one, linked, aMade(1))
			s.takes(aMade(1))
			s.takes(aMade(1))
		}, tally{told: 1, toldAgain: 1}},
		"told in another order": {func(s *story) {
			s.saves(s.one, relink, aMade(1), anEnd(2))
			s.takes(anEnd(2))
			s.takes(aMade(1))
		}, tally{told: 2, disordered: 1}},
		"what no row has owed": {func(s *story) { s.takes(aMade(1)) }, tally{untold: 1}},
		"a later warning": {func(s *story) {
			s.saves(s.one, linked, aWarning(1))
			s.saves(s.one, linked, aWarning(2))
			s.takes(aWarning(2))
		}, tally{told: 1}},
		"an end that is not owed": {func(s *story) {
			s.saves(s.one, relink)
			s.mustAsShown("user0")
		}, tally{untold: 1}},
		"a session that lived long enough, without a warning": {func(s *story) {
			s.saves(s.one, linked)
			s.aged("user0", 1)
		}, tally{untold: 1}},
		"the store lost it": {func(s *story) {
			s.saves(s.one, linked, aMade(1))
			s.goesBack(pending)
			s.must("user0", fact{1, core.Made})
		}, tally{noticesFell: 1}},
		"the store lost it, and it was written again": {func(s *story) {
			s.saves(s.one, linked, aMade(1))
			s.goesBack(pending)
			time.Sleep(time.Minute)
			s.saves(s.one, linked, aMade(1))
			s.takes(aMade(1))
		}, tally{told: 1}},
		"the store lost it, and the link was written again without it": {func(s *story) {
			s.saves(s.one, linked, aMade(1))
			s.goesBack(pending)
			s.saves(s.one, linked)
		}, tally{untold: 1}},
		"the store lost it, and its writer wrote it under another id": {func(s *story) {
			s.saves(s.one, linked, aMade(1))
			s.goesBack(pending)
			time.Sleep(time.Minute)
			s.saves(s.one, linked, aMade(1).later())
			s.takes(aMade(1).later())
		}, tally{told: 1, untold: 1}},
		"the store lost it, and another process found it out": {func(s *story) {
			s.saves(s.one, linked, aMade(1))
			s.goesBack(pending)
			time.Sleep(time.Minute)
			s.saves(s.other, linked, aMade(1).later())
			s.takes(aMade(1).later())
		}, tally{told: 1}},
		"the store lost it, and it was cleared for the one that was told": {func(s *story) {
			s.saves(s.one, linked, aMade(1))
			s.takes(aMade(1))
			s.goesBack(pending)
			s.saves(s.other, linked, aMade(1).later())
			s.saves(s.one, linked)
		}, tally{told: 1}},
		"the store lost it, and another of its number was cleared": {func(s *story) {
			s.saves(s.one, linked, aMade(1))
			s.takes(aMade(1))
			s.goesBack(pending)
			s.saves(s.other, relink, anEnd(1).later())
			s.saves(s.one, relink)
		}, tally{told: 1, untold: 1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{began: time.Now()}
			s := &story{told: &told{world: w}, one: &process{world: w}, other: &process{world: w}}
			tc.is(s)
			s.settle()
			got := s.tally
			if got.told != tc.want.told || got.toldAgain != tc.want.toldAgain || got.disordered != tc.want.disordered || got.untold != tc.want.untold || got.noticesFell != tc.want.noticesFell {
				t.Errorf("%s: %+v, want %+v", name, got, tc.want)
			}
		})
	}
}
