// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"math/rand/v2"
	"net/http"
	"time"
)

// unknownWords are refusals that nobody has documented. One names a code of PKB's
// where codes are not to be believed.
var unknownWords = []struct {
	status int
	body   string
}{
	{http.StatusBadRequest, ""},
	{http.StatusUnauthorized, ""},
	{http.StatusBadRequest, `{"error":"unauthorized"}`},
	{http.StatusUnauthorized, `{"error":"invalid_token"}`},
	{http.StatusBadRequest, `{"error":"invalid_request"}`},
	{http.StatusForbidden, "<!doctype html><title>Forbidden</title>"},
	{http.StatusNotFound, "<!doctype html><p>See API_SESSION_EXPIRED in our help"},
	{http.StatusFound, ""},
}

// trouble is a gateway before the token endpoint that refuses some links for a
// while, in unknown words. Their tokens stay as they are.
type trouble struct {
	from, to time.Time
	// share of the links that it meets, by their index; below one, it is this link
	// alone.
	share uint64
	link  uint64
	words int
}

// One link alone is refused for less than a client can tell from a session that
// has ended; more, for hours.
const (
	maxAlone   = 10 * time.Minute
	maxTrouble = 3 * time.Hour
	troubles   = 4 // in a world, in the first of its hours
	within     = 6 * time.Hour
)

func newTroubles(dice *rand.Rand) (all []trouble) {
	began := time.Now()
	for i := range dice.IntN(troubles + 1) {
		t := trouble{from: began.Add(random(dice, within)), words: dice.IntN(len(unknownWords)), link: uint64(dice.IntN(usersPerWorld))}
		length := random(dice, maxAlone)
		if i%2 == 0 {
			t.share, length = 1+uint64(dice.IntN(4)), random(dice, maxTrouble) // all, each second, third, fourth
		}
		t.to = t.from.Add(length)
		all = append(all, t)
	}
	return all
}

func (t *trouble) meets(s *session) bool {
	now := time.Now()
	switch {
	case now.Before(t.from) || now.After(t.to):
		return false
	case t.share == 0:
		return s.index == t.link
	}
	return (s.index+t.link)%t.share == 0
}

// refuses reports whether a gateway refuses a link now, and how.
func (w *world) refuses(s *session, dice *rand.Rand) (status int, body []byte, yes bool) {
	for i := range w.troubles {
		if t := &w.troubles[i]; t.meets(s) && !w.isCalm(s) {
			words := unknownWords[(t.words+dice.IntN(2))%len(unknownWords)]
			w.server.mu.Lock()
			defer w.server.mu.Unlock()
			w.tally.refused++
			s.refused = true
			return words.status, []byte(words.body), true
		}
	}
	return 0, nil, false
}

// untroubled is how long ago a gateway last refused many links.
func (w *world) untroubled() time.Duration {
	d := time.Duration(math.MaxInt64)
	for _, t := range w.troubles {
		if now := time.Now(); t.share > 0 && now.After(t.from) {
			d = min(d, max(now.Sub(t.to), 0))
		}
	}
	return d
}
