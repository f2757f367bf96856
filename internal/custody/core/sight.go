// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core

import "time"

// Stopwatch measures for how long something has stood still before one process's
// eyes. What it adds up are durations of one machine.
type Stopwatch[K comparable] struct {
	Of  K
	For time.Duration
}

// look adds the time since the last look, if it is still the same that is seen,
// up to most.
func (s Stopwatch[K]) look(of K, since, most time.Duration) Stopwatch[K] {
	if s.Of != of {
		return Stopwatch[K]{Of: of}
	}
	s.For = min(s.For+since, most)
	return s
}

// Count is a number of events that concern a pair.
type Count struct {
	Pair PairID
	N    int
}

// seenFor returns for how long it has been of.
func (s Stopwatch[K]) seenFor(of K) time.Duration {
	if s.Of != of {
		return 0
	}
	return s.For
}

// Sight is what a process has seen of one user's record, across its flights. It
// takes the place of every instant that another machine could have written.
type Sight struct {
	Lease   Stopwatch[Lease] // since when the lease is without a beat
	Tried   Stopwatch[Count] // since when this many outcomes are unknown
	Unclear Stopwatch[Count] // since when this many refusals are unclear
	Refused Stopwatch[Count] // since this process's own last such refusal, and how many in a row
}

// Quiet reports whether nothing was seen that a later flight would want to know.
func (s Sight) Quiet() bool {
	return s.Lease.Of.Owner == "" && s.Tried.Of.N == 0 && s.Unclear.Of.N == 0 && s.Refused.Of.N == 0
}

// look is one more look at a record, since after the last one.
func (s Sight) look(p Policy, r *Record, since time.Duration) Sight {
	pair := r.Active
	if pair.ID.IsZero() || r.Candidate.Tried > 0 && pair.Tried == 0 {
		pair = r.Candidate
	}
	s.Lease = s.Lease.look(r.Lease, since, p.patience(r.Lease))
	s.Tried = s.Tried.look(Count{pair.ID, pair.Tried}, since, p.replayWait(pair.Tried))
	s.Unclear = s.Unclear.look(Count{pair.ID, pair.Unclear}, since, max(p.unclearWait(pair.Unclear), p.RetryUnclear))
	s.Refused.For = min(s.Refused.For+since, max(p.unclearWait(s.Refused.Of.N), p.RetryUnclear))
	return s
}

// refused notes a refusal in unknown words of this process's own.
func (s Sight) refused(pair PairID) Sight {
	n := 1
	if s.Refused.Of.Pair == pair {
		n = min(s.Refused.Of.N+1, 16)
	}
	s.Refused = Stopwatch[Count]{Of: Count{pair, n}}
	return s
}

// unclearLeft is how long a pair is still left alone that was refused in unknown
// words, by this process or others.
func (s Sight) unclearLeft(p Policy, pair Pair) time.Duration {
	left := p.unclearWait(pair.Unclear) - s.Unclear.seenFor(Count{pair.ID, pair.Unclear})
	if s.Refused.Of.Pair == pair.ID {
		left = max(left, p.unclearWait(s.Refused.Of.N)-s.Refused.For)
	}
	return left
}

// unclearDue reports whether a pair that was given up for unknown words may be
// presented once more.
func (s Sight) unclearDue(p Policy, pair Pair) bool {
	return s.Unclear.seenFor(Count{pair.ID, pair.Unclear}) >= p.RetryUnclear &&
		(s.Refused.Of.Pair != pair.ID || s.Refused.For >= p.RetryUnclear)
}

// patience is how long a lease must have stood still before it may be taken. Its
// length is the holder's, within bounds.
func (p Policy) patience(l Lease) time.Duration {
	return min(max(l.TTL, p.TTL), max(longestTTL, p.TTL)) + p.Patience
}

// longestTTL bounds what a record can say of a lease.
const longestTTL = 10 * time.Minute

// replayWait is how long this process must have seen an outcome unknown before
// the token is presented again. The first repetition waits for nothing: what it
// is about has waited for the access token to expire.
func (p Policy) replayWait(tried int) time.Duration {
	if tried < 2 {
		return 0
	}
	return min(p.ReplayAfter<<min(tried-2, 16), p.LongestWait)
}

// unclearWait is the same after refusals in unknown words.
func (p Policy) unclearWait(unclear int) time.Duration {
	if unclear < 1 {
		return 0
	}
	return min(p.UnclearAfter<<min(unclear-1, 16), p.LongestWait)
}
