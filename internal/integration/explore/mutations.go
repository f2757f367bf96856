// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

const (
	table    = "internal/custody/core/table.go"
	rows     = "internal/custody/core/rows.go"
	restores = "internal/custody/core/restore.go"
	sight    = "internal/custody/core/sight.go"
	flight   = "internal/custody/core/flight.go"
	decide   = "internal/custody/core/decide.go"
	approve  = "internal/custody/core/approve.go"
	notice   = "internal/custody/core/notice.go"
	tend     = "internal/custody/core/tend.go"
	breaker  = "internal/custody/core/breaker.go"
	classify = "internal/tokenwire/classify.go"

	coreTests    = "./internal/custody/core "
	breakerTests = coreTests + "^Test(Breaker|Many|Evidence)"
	readings     = "./internal/tokenwire ^Test(EveryReading|Rules)$"
)

// all are the rules that can be switched off, by what then happens.
var all = []mutation{
	// When a token is presented.
	{name: "a lease is taken at once", setup: "two callers, no faults", edits: []edit{{decide, "	return seen < p.patience(l)\n", "	return false\n"}}},
	{name: "a lease is not left alone for longer", setup: "partition, wrong clocks", edits: []edit{{sight, "max(longestTTL, p.TTL)) + p.Patience", "max(longestTTL, p.TTL))"}}},
	{name: "a lease is taken again after a conflict", setup: "crash, lost, 401, wrong clocks", edits: []edit{
		{flight, "if f.Ev.Kind == Acquire && f.At == atReload && f.Rec.Lease.Owner != f.Owner {", "if f.Ev.Kind == Acquire && f.At == atReload && f.Rec.Phase == Unlinked {"}}},
	{name: "a lease in doubt serves a pair that was replaced meanwhile", setup: "suspend", edits: []edit{
		{rows, "return leaseMine(p, r, e) && presentable(p, r, e)", "return leaseMine(p, r, e)"}}},
	{name: "a lease in doubt does not beat", test: coreTests + "^TestLeaseInDoubt$", edits: []edit{{flight, "		r.Lease.Beat++\n", ""}}},
	{name: "a lease that was given back is one", setup: "suspend", edits: []edit{{flight, "		if f.Rec.Lease.Owner == f.Owner {\n", "		if true {\n"}}},
	{name: "a late holder presents all the same", setup: "suspend, wrong clocks", edits: []edit{
		{flight, "		f.Lapses++\n		f.After = StoreTrouble\n		return f.put(p, in, Event{Kind: NotSpent, Owner: f.Owner, Pair: f.Pair})", "		return Effect{Kind: Post, Pair: f.Pair}"}}},
	{name: "a rejected access token is a reason", setup: "crash, lost, 401, wrong clocks", edits: []edit{
		{decide, "case s.Tried > 0 && !now.Forgiven && (f.Goal == Warm || !over):", "case s.Tried > 0 && !now.Forgiven && !over && !f.Rejected:"}}},
	{name: "an early refresh repeats", setup: "early refresh", edits: []edit{
		{decide, "case s.Tried > 0 && !now.Forgiven && (f.Goal == Warm || !over):", "case s.Tried > 0 && !now.Forgiven && !over && f.Goal != Warm:"}}},
	{name: "an intent is not recorded", setup: "crash, lost, late", edits: []edit{{rows, "	r.Slot(e.Pair).Tried++\n", ""}}},
	{name: "a lost response undoes the intent", setup: "crash, lost, 401, wrong clocks", edits: []edit{
		{table, `{Ambiguous, "lease mine", "lease released; tried stays", leaseMine, release, Write},`, `{Ambiguous, "lease mine", "lease released; tried stays", mineHeld, unsend, Write},`}}},
	{name: "an unread response is not kept", setup: "unread response", edits: []edit{{rows, "	r.Slot(e.Pair).Unread = true\n", ""}}},
	{name: "an unread response is replayed", setup: "unread response", edits: []edit{
		{rows, "return s != nil && !s.Unread && !s.Final", "return s != nil && !s.Final"},
		{decide, "case s.Unread && over && s.ID == f.Rec.Active.ID:", "case false:"},
		{decide, "	case s.Unread:\n", "	case false:\n"}}},
	{name: "the last pair is presented", setup: "final tokens", edits: []edit{
		{rows, "return s != nil && !s.Unread && !s.Final", "return s != nil && !s.Unread"},
		{decide, "case r.Active.Final && over:", "case false:"},
		{decide, "	case r.Active.Final:\n", "	case false:\n"}}},
	{name: "a candidate that cannot be renewed stays", setup: "candidate replaced while it is refreshed", edits: []edit{
		{decide, "(c.Final || c.Unread) && now.CandidateOver", "c.Final && now.CandidateOver"}}},

	{name: "a lease that nobody used stays", test: coreTests + "^TestUnsent", edits: []edit{{decide, "	case now.Unsent && ", "	case false && "}}},
	{name: "a lease is believed for ever", test: coreTests + "^TestLeasesAreWatched$", edits: []edit{{sight, "min(max(l.TTL, p.TTL), max(longestTTL, p.TTL))", "max(l.TTL, p.TTL)"}}},
	{name: "a replay waits for nothing", test: coreTests + "^TestWaits$", edits: []edit{{sight, "	if tried < 2 {\n", "	if tried < 20 {\n"}}},
	{name: "a refused token is presented at once", test: coreTests + "^TestWaits$", edits: []edit{{sight, "	if unclear < 1 {\n", "	if unclear < 20 {\n"}}},

	// What a presentation came to.
	{name: "a rejection counts without the lease", setup: "partition, wrong clocks", edits: []edit{
		{table, `"relink (cause), or candidate removed; lease released", mineHeld,`, `"relink (cause), or candidate removed; lease released", pairHeld,`}}},
	{name: "a refusal counts without the lease", setup: "unrecognized errors, partition", edits: []edit{
		{table, `"tried - 1; unclear + 1 if witnessed; lease released", mineHeld,`, `"tried - 1; unclear + 1 if witnessed; lease released", pairHeld,`}}},
	{name: "not sent counts without the lease", setup: "suspend, wrong clocks", edits: []edit{
		{table, `{NotSpent, "lease mine, pair held", "tried - 1; lease released", mineHeld,`, `{NotSpent, "lease mine, pair held", "tried - 1; lease released", pairHeld,`}}},
	{name: "a successor needs the lease", setup: "partition", edits: []edit{
		{table, `"the successor in its place; my lease released", pairHeld, replace,`, `"the successor in its place; my lease released", mineHeld, replace,`}}},
	{name: "a successor goes where the active pair is", setup: "relink, same patient", edits: []edit{
		{rows, "	*r.Slot(e.Pair) = e.Next\n", "	r.Active = e.Next\n"}}},
	{name: "a successor restores no link", setup: "refused, and retried much later", edits: []edit{{rows, "	r.Phase, r.Cause = Linked, \"\"\n	replace(r, e)", "	replace(r, e)"}}},
	{name: "a successor undoes a decision", setup: "check refuses while refreshing", edits: []edit{
		{rows, "r.Phase == Relink && !r.Cause.Decided()\n}\n\n// unclearLimit", "r.Phase == Relink\n}\n\n// unclearLimit"}}},
	{name: "evidence beats a decision", test: coreTests + "^TestRows$", edits: []edit{
		{"internal/custody/core/record.go", "if r.Phase != Relink || !r.Cause.Decided() {", "if r.Phase != Relink || r.Cause != \"\" {"}}},
	{name: "a rejected repetition has the server's cause", test: coreTests + "^TestRows$", edits: []edit{
		{rows, "mineHeld(p, r, e) && r.Slot(e.Pair).Tried > 1", "false"}}},
	{name: "unrecognized errors need no witness", setup: "unrecognized errors, nobody succeeds", edits: []edit{
		{rows, "	if e.Witnessed {\n", "	{\n"}, {rows, "e.Witnessed && e.Few &&", "e.Few &&"}}},
	{name: "unrecognized errors end many links", setup: "unrecognized errors, half of all links", edits: []edit{{rows, "e.Witnessed && e.Few &&", "e.Witnessed &&"}}},
	{name: "unrecognized errors end no link", setup: "unrecognized errors, others succeed", edits: []edit{{rows, "return mineHeld(p, r, e) && e.Witnessed", "return false && e.Witnessed"}}},

	// Authorizations.
	{name: "a second visit presents the code", setup: "one callback twice", edits: []edit{{rows, "return r.mark(e.Session).State == 0 }", "return r.mark(e.Session).State != Spent }"}}},
	{name: "a visit does not know its own mark", setup: "first authorization", edits: []edit{
		{table, "	{Reserve, \"mark open by the same visit\", \"\", markMine, nil, Already},\n", ""}}},
	{name: "a first pair takes the place of the active one", setup: "relink, id unknown, refused", edits: []edit{
		{rows, "	r.Candidate, r.Terms, r.Claim = e.Next, e.Terms, \"\"\n", "	r.Candidate, r.Terms, r.Claim = e.Next, e.Terms, \"\"\n	if r.Active.ID.Session != \"\" && r.Public == \"\" {\n		r.Active, r.Candidate = e.Next, Pair{}\n	}\n"}}},
	{name: "a refusal takes the active pair with it", setup: "relink, id unknown, refused", edits: []edit{
		{rows, "func dropCandidate(r *Record, _ *Event) { r.drop() }", "func dropCandidate(r *Record, _ *Event) {\n	r.drop()\n	if r.Public == \"\" {\n		r.Active = Pair{}\n	}\n}"}}},
	{name: "an unchecked session replaces a link", setup: "relink, id unknown, other patient", edits: []edit{
		{rows, "(p.VerifyFirst || !r.Active.ID.IsZero())", "p.VerifyFirst"}}},
	{name: "VerifyFirst is forgotten", setup: "first authorization, Identify", edits: []edit{
		{rows, "(p.VerifyFirst || !r.Active.ID.IsZero())", "!r.Active.ID.IsZero()"}}},
	{name: "another patient needs no leave", setup: "relink, other patient", edits: []edit{
		{rows, "(e.Shared && !r.Terms.Share || other && !r.Terms.Switch)", "(e.Shared && !r.Terms.Share || other && r.Terms.Share)"}}},
	{name: "a shared record needs no leave", setup: "two users, one patient, switch", edits: []edit{
		{rows, "(e.Shared && !r.Terms.Share || other && !r.Terms.Switch)", "other && !r.Terms.Switch"}}},
	{name: "an active session may turn out to be shared", setup: "two users, id unknown", edits: []edit{
		{rows, "isActive(p, r, e) && e.Shared }", "isActive(p, r, e) && e.Shared && r.Terms.Share }"}}},
	{name: "nobody claims a patient", setup: "two users, one patient", edits: []edit{{approve, "	e.Kind = Claim\n", ""}}},
	{name: "an admission outlives its claim", setup: "two users, both about to be", edits: []edit{
		{flight, "if f.Ev.Kind == Admit && f.Ev.Patient != \"\" && f.At == atReload {", "if f.Ev.Kind == Admit && f.Ev.Patient == \"\" && f.At == atReload {"}}},
	{name: "an unlink forgets the marks", setup: "unlink and a second tab", edits: []edit{
		{rows, "		n.Marks[i].State, n.Marks[i].By = Void, \"\"\n", "		_ = i\n"}}},
	{name: "an authorization from before an unlink begins", setup: "unlink and a second tab", edits: []edit{
		{table, "	{Reserve, \"unlinked since it began\", \"\", unlinkedSince, nil, Superseded},\n", ""},
		{rows, "func unlinkedSince(", "var _ = unlinkedSince\n\nfunc unlinkedSince("}}},
	{name: "a candidate is said to be the link", setup: "relink, other patient", edits: []edit{
		{approve, "	case r.Active.ID.Session == f.Session:\n", "	case r.Holds(f.Session):\n"}}},
	{name: "what was reserved in vain is all that is told", setup: "one callback twice", edits: []edit{
		{flight, "(e.Kind == Release || e.Kind == Forfeit) && !f.Rec.Holds(f.Session):", "(e.Kind == Release || e.Kind == Forfeit):"}}},

	// Stores that go back, lag, or fail after they have saved.
	{name: "a wary process presents", setup: "the store goes back", edits: []edit{{decide, "	case now.Wary:", "	case false:"}}},
	{name: "what is known is not restored", setup: "the store goes back", edits: []edit{
		{rows, "return e.Known != nil && r.Behind(*e.Known)", "return false"},
		{decide, "case r.Version != 0 && r.Behind(f.Kept):", "case false:"},
		{flight, "if f.Ev.Kind != Restore && r.Version != 0 && r.Behind(f.Kept) {", "if false {"}}},
	{name: "a whole row is restored", setup: "the store goes back, relink refused", edits: []edit{
		{rows, "*r = r.Merged(*e.Known)", "known := *e.Known\n	known.Version = r.Version\n	*r = known"}}},
	{name: "a session that was admitted is not restored", test: coreTests + "^TestSwitchIsRestored$", edits: []edit{{restores, "	m.readmit(&known)\n", ""}}},
	{name: "a pair that was settled is not restored", setup: "the store goes back, first authorization", edits: []edit{{restores, "	m.resettle(&known)\n", ""}}},
	{name: "a lost unlink is not restored", setup: "the store goes back, unlink", edits: []edit{{restores, "	m.dropVoid()\n", ""}}},
	{name: "the intent of others is taken for a fact", setup: "one callback twice", edits: []edit{
		{restores, "if r.Lease.Owner != \"\" && r.Lease.Owner != owner {", "if false {"}}},
	{name: "an intent that was undone is taken for a fact", setup: "two callers, wrong clocks", edits: []edit{
		{flight, "		f.Kept, _ = kept.Apply(f.Kept, e)\n", "		_ = kept\n"}}},
	{name: "a response that was given up comes back", setup: "kept rows, unclear, unread", edits: []edit{{rows, "	s.Unread = false\n	s.Tried++\n", "	s.Unread = false\n"}}},
	{name: "a pair is presented whose successor was seen", setup: "the store goes back, crash", edits: []edit{
		{decide, "	case f.behind():\n", "	case false:\n"}}},
	{name: "an intent counts that is only read back", setup: "the store goes back, unheard saves", edits: []edit{
		{flight, "e.Kind == Settle || e.Kind == Acquire ||", "e.Kind == Settle ||"}}},
	{name: "a successor counts that is only read back", test: coreTests + "^TestReadBackIsNotSaved$", edits: []edit{
		{flight, "return e.Kind == Successor || e.Kind == Settle", "return e.Kind == Settle"}}},
	{name: "a missing row is unlinked at once", setup: "the store lags", edits: []edit{
		{flight, "	if missing && (in.Facts.Lagging", "	if missing && f.Absent && (in.Facts.Lagging"}}},

	// What the host is told, and what is done though nobody calls.
	{name: "the host is not told of an end", setup: "notices and calls", edits: []edit{
		{notice, "		p.owe(r, Notice{Kind: Ended, Cause: r.Cause, Session: s})\n", ""}}},
	{name: "the host is not told of a link", setup: "too many notices", edits: []edit{{notice, "		p.owe(r, Notice{Kind: Made, Session: s})\n", ""}}},
	{name: "the host is not told of what was given up", setup: "undecided for long", edits: []edit{
		{notice, "s != \"\" && !r.Holds(s) && e.Kind != Settle && e.Kind != Unlink {", "s != \"\" && e.Kind == Refuse {"}}},
	{name: "an unlink forgets what is owed", setup: "a tombstone that owes notices", edits: []edit{
		{rows, "		Notices: r.Notices, Noticed: r.Noticed, Telling: r.Telling,\n", ""}}},
	{name: "a tombstone is forgotten with its notices", setup: "a tombstone that owes notices", edits: []edit{
		{rows, "!hasPairs(p, r, e) && len(r.Notices) == 0", "!hasPairs(p, r, e)"}}},
	{name: "a notice is gone before it is delivered", setup: "two sweeps, notices, crash", edits: []edit{
		{notice, "func claimNotice(r *Record, e *Event) { r.Telling = Telling{e.Owner, e.Notice.N} }", "func claimNotice(r *Record, e *Event) {\n	at := r.Notices[0]\n	delivered(r, e)\n	r.Telling = Telling{e.Owner, at.N}\n}"},
		{tend, "	if len(r.Notices) == 0 || r.Notices[0].N != r.Telling.Notice {\n		return f.decide(p, in)\n	}\n	f.At = atNotify\n	return Effect{Kind: Notify, Notice: r.Notices[0]}", "	f.At = atNotify\n	return Effect{Kind: Notify, Notice: Notice{N: r.Telling.Notice}}"}}},
	{name: "a delivery clears another notice of its number", setup: "the store goes back, two notices of a number", edits: []edit{
		{notice, "	n.Tries, n.Also = o.Tries, o.Also\n	return n == o\n", "	return n.N == o.N\n"}}},
	{name: "a claim on a notice is taken at once", setup: "two sweeps, one notice", edits: []edit{
		{tend, "&& f.Sight.Telling.seenFor(r.Telling) < p.patience(Lease{})", "&& p.Notices < 0"}}},
	{name: "a claim on a notice is never taken over", setup: "two sweeps, notices, crash", edits: []edit{
		{tend, "&& f.Sight.Telling.seenFor(r.Telling) < p.patience(Lease{})", "&& p.Notices > 0"}}},
	{name: "a claim on a notice is written over", setup: "two sweeps, one notice", edits: []edit{
		{notice, "free := r.Telling.Owner == \"\" || r.Telling.Owner == e.Instead || !r.owed(r.Telling.Notice)", "free := true"}}},
	{name: "an end makes room for what is newer", setup: "too many ends", edits: []edit{{notice, "return o.Kind != Ended })\n", "return true })\n"}}},
	{name: "an end stands for no other", setup: "too many ends", edits: []edit{{notice, "				notices[j+1].Also += notices[0].Also + 1\n", "				_ = j\n"}}},
	{name: "a warning is given twice", setup: "warnings", edits: []edit{
		{notice, "level > r.warned() {", "level > 0 {"}, {notice, "warnedBefore(p, r, e) && e.Warning > r.warned()", "warnedBefore(p, r, e)"}}},
	{name: "what is undone is owed", setup: "unrecognized errors, notices", edits: []edit{{flight, "		kept.Notices = 0 // nothing is owed before it is in the record\n", ""}}},
	{name: "a lost notice is not restored", test: coreTests + "^TestNoticesAreRestored$", edits: []edit{{restores, "	m.owe(&known)\n", ""}}},
	{name: "a host that refuses is asked on", test: coreTests + "^TestARefusedNoticeWaits$", edits: []edit{{tend, "case turn == thisFlights && !f.Unheard:", "case turn == thisFlights:"}}},
	{name: "an import takes the place of a link", setup: "an import where a link is in use", edits: []edit{
		{rows, "inUse := r.Phase == Linked || !r.Candidate.ID.IsZero()", "inUse := !r.Candidate.ID.IsZero()"}}},
	{name: "an import takes the place of an authorization", setup: "an import and an authorization", edits: []edit{
		{rows, "inUse := r.Phase == Linked || !r.Candidate.ID.IsZero()", "inUse := r.Phase == Linked"}}},
	{name: "an import outlives an unlink", setup: "an import and an unlink", edits: []edit{
		{rows, "return !inUse && markUnknown(p, r, e) && !unlinkedSince(p, r, e)", "return !inUse && (markUnknown(p, r, e) || r.Phase == Unlinked)"}}},
	{name: "a pair is imported again", test: coreTests + "^TestImportRows$", edits: []edit{
		{rows, "return !inUse && markUnknown(p, r, e) && !unlinkedSince(p, r, e)", "return !inUse && !unlinkedSince(p, r, e)"}}},
	{name: "a sweep refreshes what it has refreshed", test: coreTests + "^TestASweepRefreshesOnce$", edits: []edit{{tend, "f.Bought.IsZero() && ", ""}}},

	// The breaker, and what it is told.
	{name: "the breaker counts responses", test: breakerTests, edits: []edit{{breaker, "if !slices.Contains(b.Failed, link) {", "if true {"}}},
	{name: "one failure opens the breaker", test: breakerTests, edits: []edit{{breaker, "opensAt      = 3", "opensAt      = 1"}}},
	{name: "a success closes nothing", test: breakerTests, edits: []edit{{breaker, "	case OK, Unread, Misfit:\n		return Breaker{}, false\n", "	case OK, Unread, Misfit:\n		return b, false\n"}}},
	{name: "a rejection counts as a failure", test: breakerTests, edits: []edit{{breaker, "		return b.rejected(link, now, l)\n", "		return b.failed(link, now, l, probed), false\n"}}},
	{name: "many probe at a time", test: breakerTests, edits: []edit{{breaker, "	case b.Probe != \"\" && b.Probe != link", "	case false && b.Probe != link"}}},
	{name: "the breaker ignores Retry-After", test: breakerTests, edits: []edit{{breaker, "max(off+min(l.Spread, off/4), l.RetryAfter)", "off + min(l.Spread, off/4)"}}},
	{name: "a repeated rejection is suspicious", test: breakerTests, edits: []edit{{breaker, "	if !l.Untried {\n", "	if false {\n"}}},
	{name: "suspicion never ends", test: breakerTests, edits: []edit{{breaker, "if now-n.Suspect >= suspectFor {", "if now < n.Suspect {"}}},
	{name: "a refusal of the application is always believed", test: breakerTests, edits: []edit{{breaker, "if o == AppWide && e.AppWide && e.Witnessed {", "if false {"}}},

	// What a response proves.
	{name: "a code is believed without JSON", test: readings, edits: []edit{{classify, "rule.Code != \"\" && (!r.JSON || rule.Code != r.Code)", "rule.Code != \"\" && rule.Code != r.Code"}}},
	{name: "a code is believed with any status", test: readings, edits: []edit{{classify, "case r.Status < 300, r.Status >= 500, ", "case r.Status < 300, "}}},
	{name: "a redirect is a refusal that is understood", test: readings, edits: []edit{{classify, "	case r.Status < 400:\n		return Unclear, \"\"\n", ""}}},
	{name: "what was not sent may be spent", test: readings, edits: []edit{{classify, "	case !r.Sent:\n		return NotSent, \"\"\n", ""}}},
	{name: "an unreadable response is lost", test: readings, edits: []edit{{classify, "	case success && r.Hides:\n		return Unread, \"\"\n", ""}}},
	{name: "a refusal with an unrecognized error is a rejection", test: readings, edits: []edit{{classify, "		return AppWide, \"\"\n	}\n	return Unclear, \"\"\n", "		return AppWide, \"\"\n	}\n	return Rejected, \"\"\n"}}},
	{name: "too many requests are one link's", test: readings, edits: []edit{{classify, "	if r.Status == http.StatusTooManyRequests {\n		return AppWide, \"\"\n	}\n", ""}}},
}
