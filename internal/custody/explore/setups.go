// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package explore

import (
	"github.com/betawerk/pkb-go/internal/custody/core"
)

// setup is one exploration: who does what, and what may go wrong.
type setup struct {
	name     string
	b        budget
	programs [processes]program
	policy   core.Policy
	begin    func(*world)
	// evidence accompanies refusals with an unrecognized error; unknown means that
	// dead sessions are refused so.
	evidence core.Evidence
	unknown  bool
	refuse   bits   // sessions that Identify refuses
	final    uint64 // the number of the first pair without a refresh token
	skew     bool   // clocks are wrong by hours, either way
	pace     bool   // looks may also follow each other at once
	stale    bool   // a lease may be so old that nobody can be waiting under it
	depth    int    // how many writes the store may lose; 0 means two
	keeps    bool   // processes remember what they saved, from flight to flight
	// forgiving means that the server accepts a refresh token once more.
	forgiving bool
	// What a sweep may find: idle, that nobody has used the link for long; ends,
	// that its session is about to end; undecided, that the candidate has waited for
	// too long; old, that a record without pairs has.
	idle, ends, undecided, old bool

	rows    []int                  // how often each row of the table was met
	results func(int, core.Effect) // called when a flight ends
}

// program is what a process runs.
type program struct {
	goal     core.Goal
	user     int
	session  string
	terms    core.Terms
	unlinks  uint64
	event    core.Event
	when     func(*world) bool // whether a flight may begin now; nil means at any time
	flights  uint8
	rejected bool // calls may follow an access token that an API rejected
	mute     bool // its process has no Notify
}

func (c *setup) start() world {
	w := world{b: c.b}
	for i := range w.proc {
		w.proc[i] = &proc{left: c.programs[i].flights}
	}
	for i := range w.ses {
		w.ses[i].patient = "p1"
	}
	if c.begin != nil {
		c.begin(&w)
	}
	for i := range w.row {
		if w.row[i].Phase != core.None {
			w.versions++
			w.row[i].Version = w.versions
		}
	}
	return w
}

const (
	ttl      = tick
	patience = 2 * tick
)

// policy is what most setups have: steps of one second, and leases that are left
// alone for three of them.
var policy = core.Policy{
	Finds: true, TTL: ttl, Patience: patience, ReplayAfter: tick, UnclearAfter: tick, LongestWait: 2 * tick, RetryUnclear: 3 * tick,
	UnclearLimit: 2,
}

// linked begins with a link of session s1, whose patient is p1.
func linked(public string) func(*world) {
	return func(w *world) {
		w.row[0] = core.Record{
			Phase: core.Linked, Active: core.Pair{ID: core.PairID{Session: "s1", Seq: 1}}, Public: public,
			Marks: []core.Mark{{Session: "s1", State: core.Spent}},
		}
		w.ses[1].valid, w.ses[1].coded = 1, true
		if public != "" {
			w.g.ok = bit("s1")
		}
	}
}

// whose sets whose a session is.
func whose(begin func(*world), session int, patient string) func(*world) {
	return func(w *world) {
		if begin != nil {
			begin(w)
		}
		w.ses[session].patient = patient
	}
}

func call(n uint8) program { return program{goal: core.Call, flights: n} }

func look(n uint8) program { return program{goal: core.Look, flights: n} }

func approve(session string, t core.Terms) program {
	return program{goal: core.Approve, session: session, flights: 1, terms: t}
}

func of(user int, p program) program {
	p.user = user
	return p
}

// rejecting are calls that may follow an access token that an API rejected.
func rejecting(p program) program {
	p.rejected = true
	return p
}

var plain core.Terms

func put(e core.Event) program { return program{goal: core.Put, event: e, flights: 1} }

// candidate begins with an authorization of session s1 that is not checked yet.
func candidate(w *world) {
	w.row[0] = core.Record{
		Phase: core.Pending, Candidate: core.Pair{ID: core.PairID{Session: "s1", Seq: 1}},
		Marks: []core.Mark{{Session: "s1", State: core.Spent}},
	}
	w.ses[1].valid, w.ses[1].coded = 1, true
}

// other links the other user by session s3.
func other(begin func(*world), patient string) func(*world) {
	return func(w *world) {
		begin(w)
		w.row[1] = core.Record{
			Phase: core.Linked, Active: core.Pair{ID: core.PairID{Session: "s3", Seq: 1}}, Public: patient,
			Marks: []core.Mark{{Session: "s3", State: core.Spent}},
		}
		w.ses[3] = session{patient: patient, valid: 1, coded: true}
		w.g.ok |= bit("s3")
	}
}

// setups returns every exploration, the small ones first.
func setups() []*setup {
	all := append(append(basics(), additions()...), tending()...)
	for _, c := range all {
		if c.policy == (core.Policy{}) {
			c.policy = policy
		}
		if c.evidence == (core.Evidence{}) {
			c.evidence = core.Evidence{Sick: 1}
		}
		c.rows = make([]int, len(core.Table))
	}
	return all
}

func visiting() core.Policy {
	p := policy
	p.WatchFor, p.VisitFor = 2*tick, 2*tick
	return p
}

func retrying() core.Policy {
	p := policy
	p.RetryUnclear = tick
	return p
}

func verifyFirst() core.Policy {
	p := policy
	p.VerifyFirst = true
	return p
}

// basics are the setups of the model.
func basics() []*setup {
	witnessed := core.Evidence{Witnessed: true, Sick: 1}
	return []*setup{
		{name: "two callers, no faults", begin: linked("p1"), programs: [3]program{call(2), call(2)}, b: budget{reseal: 1}},
		{name: "two callers, wrong clocks", begin: linked("p1"), skew: true, programs: [3]program{call(2), call(2)}, b: budget{reseal: 1, unknown: 1, appWide: 1}},
		{name: "saves of unknown outcome", begin: linked("p1"), programs: [3]program{call(2), call(2)}, b: budget{unknown: 2, unlink: 1, reseal: 1}},
		{name: "crash, lost, late", begin: linked("p1"), programs: [3]program{call(2), call(2)}, b: budget{crash: 1, lost: 1, unknown: 1}},
		{name: "crash, lost, 401, wrong clocks", begin: linked("p1"), skew: true, programs: [3]program{rejecting(call(2)), call(2)}, b: budget{crash: 1, lost: 1}},
		{name: "suspend", begin: linked("p1"), programs: [3]program{call(2), call(2)}, b: budget{sleep: 1, reseal: 1, unknown: 1}},
		{name: "suspend, wrong clocks", begin: linked("p1"), skew: true, programs: [3]program{call(1), call(2)}, b: budget{sleep: 1}},
		{name: "partition", begin: linked("p1"), programs: [3]program{call(2), call(2)}, b: budget{cut: 1, unlink: 1}},
		{name: "partition, wrong clocks", begin: linked("p1"), skew: true, programs: [3]program{call(1), call(2)}, b: budget{cut: 1, kill: 1}},
		{name: "unread response", begin: linked("p1"), programs: [3]program{rejecting(call(2)), call(2)}, b: budget{unread: 1, reread: 1, unknown: 1}},
		{name: "unrecognized errors, others succeed", begin: linked("p1"), unknown: true, evidence: witnessed, programs: [3]program{call(3), call(2)}, b: budget{kill: 1, unknown: 1}},
		{name: "unrecognized errors, nobody succeeds", begin: linked("p1"), unknown: true, programs: [3]program{call(3), call(2)}, b: budget{unclear: 2}},
		{name: "session ends, API learns", begin: linked("p1"), programs: [3]program{call(2), call(1)}, b: budget{kill: 1, lose: 1, unknown: 1}},
		{name: "first authorization", programs: [3]program{approve("s1", plain), call(2)}, b: budget{unknown: 1, unlink: 1, down: 1, crash: 1}},
		{name: "first authorization, Identify", policy: verifyFirst(), refuse: bit("s1"), programs: [3]program{approve("s1", plain), call(2), call(1)}, b: budget{unknown: 1, down: 1}},
		{name: "one callback twice", programs: [3]program{approve("s1", plain), approve("s1", plain), call(1)}, b: budget{unknown: 1, down: 1, appWide: 1}},
		{name: "two first authorizations", begin: whose(nil, 2, "p2"), programs: [3]program{approve("s1", plain), approve("s2", plain), call(1)}, b: budget{down: 1}},
		{name: "relink, same patient", begin: linked("p1"), programs: [3]program{call(2), approve("s2", plain)}, b: budget{down: 1, lost: 1}},
		{name: "relink, other patient", begin: whose(linked("p1"), 2, "p2"), programs: [3]program{call(2), approve("s2", plain)}, b: budget{down: 1, unknown: 1}},
		{name: "relink, id unknown, refused", begin: linked(""), refuse: bit("s2"), programs: [3]program{call(2), approve("s2", plain)}, b: budget{down: 1, unknown: 1}},
		{name: "relink, id unknown, other patient", begin: whose(linked(""), 2, "p2"), programs: [3]program{call(2), approve("s2", plain)}, b: budget{down: 1, unknown: 1}},
		{name: "check refuses while refreshing", begin: linked(""), refuse: bit("s1"), programs: [3]program{call(2), look(2)}, b: budget{down: 1, unknown: 1}},
		{name: "switch", begin: whose(linked("p1"), 2, "p2"), programs: [3]program{call(2), approve("s2", core.Terms{Switch: true})}, b: budget{down: 1, reseal: 1}},
		{name: "switch, crash, unlink", begin: whose(linked("p1"), 2, "p2"), programs: [3]program{call(1), approve("s2", core.Terms{Switch: true})}, b: budget{down: 1, crash: 1, unlink: 1, unknown: 1}},
		{name: "two users, one patient", programs: [3]program{approve("s1", plain), of(1, approve("s2", plain))}, b: budget{unknown: 1, down: 1}},
		{name: "two users, one patient, switch", begin: func(w *world) { linked("p1")(w); w.ses[2].patient, w.ses[3].patient = "p2", "p2" }, programs: [3]program{approve("s2", core.Terms{Switch: true}), of(1, approve("s3", plain)), call(1)}},
		{name: "unlink and a second tab", programs: [3]program{approve("s1", plain), approve("s2", plain)}, b: budget{unlink: 1, unknown: 1, crash: 1}},
		{name: "three callers", begin: linked("p1"), programs: [3]program{call(1), call(1), call(1)}, b: budget{lost: 1, crash: 1}},
		{name: "relink and everything, in part", begin: linked("p1"), skew: true, programs: [3]program{call(1), approve("s2", plain), call(1)}, b: budget{crash: 1, lost: 1, unknown: 1, sleep: 1, cut: 1, unlink: 1, reseal: 1, down: 1}},
	}
}

// additions are the setups of stores that go back, lag, or fail after saving, and of
// what else the model lacked.
func additions() []*setup {
	witnessed := core.Evidence{Witnessed: true, Sick: 1}
	unlinks, switches := put(core.Event{Kind: core.Unlink}), approve("s2", core.Terms{Switch: true})
	s11 := core.PairID{Session: "s1", Seq: 1}
	learns := put(core.Event{Kind: core.Lose, Pair: s11, Cause: sessionEnded})
	learns.when = func(w *world) bool { return w.ses[1].dead }
	return []*setup{
		{name: "kept rows", begin: linked("p1"), keeps: true, programs: [3]program{call(2), call(2)}, b: budget{reseal: 1, unknown: 1, appWide: 1}},
		{name: "kept rows, unclear, unread", begin: linked("p1"), keeps: true, evidence: witnessed, programs: [3]program{call(2), call(2)}, b: budget{unknown: 1, unclear: 1, unread: 1, discard: 1}},
		{name: "kept rows, switch, unlink", begin: whose(linked("p1"), 2, "p2"), keeps: true, programs: [3]program{call(1), switches, unlinks}, b: budget{unknown: 1}},
		{name: "the store goes back", begin: linked("p1"), keeps: true, programs: [3]program{call(2), call(2)}, b: budget{back: 1}},
		{name: "the store goes back, unheard saves", begin: linked("p1"), keeps: true, programs: [3]program{call(2), call(1)}, b: budget{back: 1, unknown: 1}},
		{name: "the store goes back, three callers", begin: linked("p1"), keeps: true, programs: [3]program{call(1), call(1), call(1)}, b: budget{back: 1}},
		{name: "the store goes back, crash", begin: linked("p1"), keeps: true, programs: [3]program{call(2), call(2)}, b: budget{back: 1, crash: 1}},
		{name: "the store goes back, lost", begin: linked("p1"), keeps: true, programs: [3]program{call(2), call(2)}, b: budget{back: 1, lost: 1}},
		{name: "the store goes back, beats", begin: linked("p1"), keeps: true, programs: [3]program{call(1), call(1)}, b: budget{back: 1, beat: 2}},
		{name: "the store goes back, unlink", begin: linked("p1"), keeps: true, programs: [3]program{call(1), unlinks, call(1)}, b: budget{back: 1}},
		{name: "the store goes back, switch", begin: whose(linked("p1"), 2, "p2"), keeps: true, programs: [3]program{call(1), switches, call(1)}, b: budget{back: 1}},
		{name: "the store goes back far, switch", begin: whose(linked("p1"), 2, "p2"), keeps: true, depth: 6, programs: [3]program{call(1), switches}, b: budget{back: 1}},
		{name: "the store goes back, switch, unlink", begin: whose(linked("p1"), 2, "p2"), keeps: true, programs: [3]program{call(1), switches, unlinks}, b: budget{back: 1}},
		{name: "the store goes back, relink refused", begin: whose(linked("p1"), 2, "p2"), keeps: true, programs: [3]program{call(1), approve("s2", plain), look(1)}, b: budget{back: 1, down: 1}},
		{name: "the store goes back, id unknown", begin: linked(""), refuse: bit("s1"), keeps: true, programs: [3]program{call(1), look(1), call(1)}, b: budget{back: 1}},
		{name: "the store goes back, first authorization", keeps: true, programs: [3]program{approve("s1", plain), call(2)}, b: budget{back: 1}},
		{name: "the store lags", begin: linked("p1"), keeps: true, programs: [3]program{call(2), call(1)}, b: budget{lag: 2, unknown: 1}},
		{name: "the store lags, authorization", keeps: true, programs: [3]program{approve("s1", plain), call(1)}, b: budget{lag: 2, unknown: 1, unlink: 1}},
		{name: "the store lags, unlink", begin: linked("p1"), keeps: true, programs: [3]program{call(1), unlinks}, b: budget{lag: 2, unknown: 1}},
		{name: "row deleted by hand", begin: linked("p1"), keeps: true, programs: [3]program{call(2), approve("s2", plain)}, b: budget{removed: 1, lag: 1}},
		{name: "late saves", begin: linked("p1"), programs: [3]program{call(2), call(1)}, b: budget{lateSave: 1, appWide: 1}},
		{name: "late saves, wrong clocks", begin: linked("p1"), skew: true, programs: [3]program{call(2), call(1)}, b: budget{lateSave: 1}},
		{name: "late saves, authorization", programs: [3]program{approve("s1", plain), approve("s1", plain), call(1)}, b: budget{lateSave: 1, down: 1}},
		{name: "beats", begin: linked("p1"), programs: [3]program{call(2), call(1)}, b: budget{beat: 2, unknown: 1, reseal: 1}},
		{name: "loads fail, breaker open", begin: linked("p1"), programs: [3]program{call(2), call(2)}, b: budget{noRead: 2, held: 2}},
		{name: "leases of yesterday", begin: linked("p1"), stale: true, programs: [3]program{call(2), call(2)}, b: budget{crash: 1, unknown: 1}},
		{name: "early refresh", begin: linked("p1"), programs: [3]program{{goal: core.Warm, flights: 2}, call(2)}, b: budget{lost: 1, crash: 1, appWide: 1}},
		{name: "checks and calls", begin: whose(linked("p1"), 2, "p2"), programs: [3]program{call(1), switches, look(2)}, b: budget{down: 2}},
		{name: "checks refresh the candidate", begin: candidate, programs: [3]program{look(2), call(2)}, b: budget{down: 2, lost: 1}},
		{name: "candidate replaced while it is refreshed", begin: candidate, evidence: witnessed, programs: [3]program{call(1), approve("s2", plain)}, b: budget{appWide: 1, unclear: 1, unread: 1, lost: 1}},
		{name: "candidate abandoned", begin: candidate, programs: [3]program{call(2), look(1)}, b: budget{abandon: 1, down: 1, unknown: 1}},
		{name: "visits, impatient", policy: visiting(), programs: [3]program{approve("s1", plain), approve("s1", plain), call(1)}, b: budget{crash: 1, unknown: 1}},
		{name: "codes forfeited", programs: [3]program{approve("s1", plain), approve("s1", plain), approve("s2", plain)}, b: budget{lost: 1, misfit: 1, unknown: 1}},
		{name: "calls, impatient", policy: visiting(), begin: linked("p1"), programs: [3]program{call(2), call(2)}, b: budget{crash: 1}},
		{name: "final tokens", begin: linked("p1"), final: 2, programs: [3]program{rejecting(call(2)), call(2)}, b: budget{unknown: 1}},
		{name: "final tokens, authorization", final: 1, programs: [3]program{approve("s1", plain), call(2), look(1)}, b: budget{down: 2, unknown: 1}},
		{name: "a forgiving server", begin: linked("p1"), forgiving: true, programs: [3]program{call(2), call(2)}, b: budget{lost: 1, crash: 1}},
		{name: "a response that is given up", begin: linked("p1"), programs: [3]program{call(2), put(core.Event{Kind: core.Discard, Pair: s11}), call(1)}, b: budget{unread: 1, unknown: 1}},
		{name: "unrecognized errors, and then recognized ones", begin: linked("p1"), evidence: witnessed, programs: [3]program{call(3), call(2)}, b: budget{unclear: 2, kill: 1}},
		{name: "unrecognized errors, half of all links", begin: linked("p1"), unknown: true, evidence: core.Evidence{Witnessed: true, Sick: 5, Well: 5}, programs: [3]program{call(3), call(1)}, b: budget{kill: 1}},
		{name: "unrecognized errors, partition", begin: linked("p1"), evidence: witnessed, skew: true, programs: [3]program{call(1), call(1)}, b: budget{unclear: 1, cut: 1}},
		{name: "refused, and retried much later", policy: retrying(), begin: linked("p1"), evidence: witnessed, programs: [3]program{call(4), call(3)}, b: budget{unclear: 2}},
		{name: "unlinks", begin: linked("p1"), programs: [3]program{call(1), unlinks, unlinks}, b: budget{unknown: 2}},
		{name: "unlink before anything", programs: [3]program{unlinks, approve("s1", plain), call(1)}, b: budget{unknown: 1}},
		{name: "rows that are forgotten", begin: linked("p1"), programs: [3]program{call(2), unlinks, {goal: core.Put, event: core.Event{Kind: core.Forget, Old: true}, flights: 2}}, b: budget{unknown: 2}},
		{name: "resealing", begin: linked("p1"), programs: [3]program{call(1), put(core.Event{Kind: core.Reseal}), call(1)}, b: budget{unknown: 1, unlink: 1}},
		{name: "an API call learns, and is late", begin: linked("p1"), programs: [3]program{call(2), learns}, b: budget{unknown: 1, kill: 1}},
		{name: "two users, id unknown", begin: other(linked(""), "p1"), programs: [3]program{look(2), call(2)}, b: budget{unknown: 1, down: 1}},
		{name: "two users, both about to be", begin: candidate, programs: [3]program{look(2), of(1, approve("s2", plain)), of(1, look(2))}, b: budget{unknown: 1}},
		{name: "two users who share", begin: other(linked("p1"), "p2"), programs: [3]program{approve("s2", core.Terms{Switch: true, Share: true}), call(1), look(1)}, b: budget{unknown: 1, down: 1}},
		{name: "a session with two names", begin: linked(""), programs: [3]program{look(2), look(1), call(1)}, b: budget{fickle: 1, unknown: 1}},
		{name: "replaced a moment ago", begin: linked("p1"), programs: [3]program{rejecting(call(3)), call(1)}, b: budget{lost: 1, appWide: 1}},
	}
}
