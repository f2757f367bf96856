// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core

import "time"

// Stopwatch measures for how long one process has seen something stand still. It
// adds up durations of one system clock.
type Stopwatch[K comparable] struct {
	Of  K
	For time.Duration
}

// look adds the time since the last look, up to most, if of is unchanged.
func (s *Stopwatch[K]) look(of K, since, most time.Duration) {
	if s.Of != of {
		*s = Stopwatch[K]{Of: of}
		return
	}
	s.For = min(s.For+since, most)
}

// Count is a number of events that concern a pair.
type Count struct {
	Pair PairID
	N    int
}

func (s *Stopwatch[K]) seenFor(of K) time.Duration {
	if s.Of != of {
		return 0
	}
	return s.For
}

// Sight is what a process has seen of one user's record, across its flights. It
// replaces every instant that another clock could have written.
type Sight struct {
	Lease   Stopwatch[Lease]   // since when the lease has no beat
	Tried   Stopwatch[Count]   // since when this many outcomes are unknown
	Unclear Stopwatch[Count]   // since when this many refusals are unclear
	Refused Stopwatch[Count]   // since this process's own last such refusal, and how many in a row
	Telling Stopwatch[Telling] // since when a notice is claimed
	Claim   Stopwatch[string]  // since when a patient is claimed
}

// Quiet reports whether nothing was seen that a later flight would need.
func (s *Sight) Quiet() bool {
	return s.Lease.Of.Owner == "" && s.Telling.Of.Owner == "" && s.Claim.Of == "" && s.Tried.Of.N == 0 && s.Unclear.Of.N == 0 && s.Refused.Of.N == 0
}

func (s *Sight) look(p Policy, r *Record, since time.Duration) {
	pair := r.Active
	if pair.ID.IsZero() || r.Candidate.Tried > 0 && pair.Tried == 0 {
		pair = r.Candidate
	}
	if r.Phase == Relink && r.Cause != RefusedUnclear && pair.ID == r.Active.ID {
		pair = Pair{} // it is not presented again
	}
	s.Lease.look(r.Lease, since, p.patience(r.Lease))
	s.Tried.look(Count{pair.ID, pair.Tried}, since, p.replayWait(pair.Tried))
	s.Unclear.look(Count{pair.ID, pair.Unclear}, since, max(p.unclearWait(pair.Unclear), p.RetryUnclear))
	s.Telling.look(r.Telling, since, p.patience(Lease{}))
	s.Claim.look(r.Claim, since, p.patience(Lease{}))
	s.Refused.For = min(s.Refused.For+since, max(p.unclearWait(s.Refused.Of.N), p.RetryUnclear))
}

// refused records a refusal with an unrecognized error that this process received.
func (s *Sight) refused(pair PairID) {
	n := 1
	if s.Refused.Of.Pair == pair {
		n = min(s.Refused.Of.N+1, 16)
	}
	s.Refused = Stopwatch[Count]{Of: Count{pair, n}}
}

// unclearLeft is how long a pair is left alone after a refusal with an unrecognized error,
// by this process or others.
func (s *Sight) unclearLeft(p Policy, pair Pair) time.Duration {
	left := p.unclearWait(pair.Unclear) - s.Unclear.seenFor(Count{pair.ID, pair.Unclear})
	if s.Refused.Of.Pair == pair.ID {
		left = max(left, p.unclearWait(s.Refused.Of.N)-s.Refused.For)
	}
	return left
}

// unclearDue reports whether a pair that was given up after unrecognized errors may be
// presented once more.
func (s *Sight) unclearDue(p Policy, pair Pair) bool {
	return s.Unclear.seenFor(Count{pair.ID, pair.Unclear}) >= p.RetryUnclear &&
		(s.Refused.Of.Pair != pair.ID || s.Refused.For >= p.RetryUnclear)
}

// patience is how long a lease must have stood still before it may be taken: the
// holder's TTL, within bounds, and Policy.Patience.
func (p Policy) patience(l Lease) time.Duration {
	return min(max(l.TTL, p.TTL), max(longestTTL, p.TTL)) + p.Patience
}

// longestTTL bounds the TTL in a record.
const longestTTL = 10 * time.Minute

// replayWait is how long this process must have seen an outcome unknown before the
// token is presented again. The first repetition does not wait: it has waited for
// the access token to expire.
func (p Policy) replayWait(tried int) time.Duration {
	if tried < 2 {
		return 0
	}
	return min(p.ReplayAfter<<min(tried-2, 16), p.LongestWait)
}

// unclearWait is the same after refusals with an unrecognized error.
func (p Policy) unclearWait(unclear int) time.Duration {
	if unclear < 1 {
		return 0
	}
	return min(p.UnclearAfter<<min(unclear-1, 16), p.LongestWait)
}
