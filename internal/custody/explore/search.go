// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package explore

import (
	"context"
	"slices"
	"time"
)

// search walks the worlds of one setup, breadth first, so that the first history
// that leads to a violation is a shortest one. It can be stopped and continued.
type search struct {
	c     *setup
	enc   *encoder
	seen  map[key]struct{}
	trail []origin
	level []found // not expanded yet, from at on
	at    int
	next  []found
	ends  int
	bad   map[Rule]Violation
	done  bool
	// states counts the worlds that were seen, and took, in how much time.
	states int
	took   time.Duration
}

// origin is where a world came from: which move of which world.
type origin struct {
	parent int32
	number uint16
}

type found struct {
	w  *world
	id int32
}

func newSearch(c *setup) *search {
	s := &search{c: c, enc: newEncoder(), seen: map[key]struct{}{}, bad: map[Rule]Violation{}}
	w := c.start()
	s.seen[s.enc.key(c, &w)] = struct{}{}
	s.trail = []origin{{parent: -1}}
	s.level = []found{{&w, 0}}
	return s
}

// run continues until everything is explored, the context ends, there are limit
// worlds (0 means no limit) or, with first, a violation.
func (s *search) run(ctx context.Context, limit int, first bool) {
	for !s.done {
		for s.at < len(s.level) {
			if s.at%256 == 0 && ctx.Err() != nil || limit > 0 && s.states >= limit || first && len(s.bad) > 0 {
				return
			}
			s.expand(s.level[s.at])
			s.level[s.at] = found{}
			s.at++
		}
		s.level, s.next, s.at = s.next, s.level[:0], 0
		s.done = len(s.level) == 0
	}
}

// drop frees the memory of a search that will not be continued.
func (s *search) drop() { s.seen, s.trail, s.level, s.next = nil, nil, nil, nil }

func (s *search) expand(of found) {
	number := uint16(0)
	elsewhere := false
	own := s.enc.key(s.c, of.w)
	s.c.next(of.w, func(n *world, _ move) {
		number++
		k := s.enc.key(s.c, n)
		elsewhere = elsewhere || k != own
		if _, ok := s.seen[k]; ok {
			return
		}
		s.seen[k] = struct{}{}
		s.states++
		s.trail = append(s.trail, origin{of.id, number - 1})
		id := int32(len(s.trail) - 1) //nolint:gosec // memory ends before
		s.c.check(n)
		s.c.checkAtRest(n)
		if n.g.bad != 0 {
			s.violated(n.g.bad, id, nil)
			return
		}
		s.next = append(s.next, found{n, id})
	})
	if elsewhere {
		return
	}
	s.ends++
	if bad, how := s.c.rest(of.w); bad != 0 {
		s.violated(bad, of.id, how)
	}
}

func (s *search) violated(r Rule, id int32, last []move) {
	if _, ok := s.bad[r]; ok {
		return
	}
	var path []uint16
	for ; id > 0; id = s.trail[id].parent {
		path = append(path, s.trail[id].number)
	}
	slices.Reverse(path)
	s.bad[r] = Violation{Rule: r, Setup: s.c.name, Story: s.c.tell(path, last)}
}
