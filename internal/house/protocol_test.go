// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// move is a change of a record's phase, or of the pairs it holds.
type move struct{ from, to string }

// stage is where a record stands in the drawing.
func stage(r core.Record) string {
	switch {
	case r.Phase == core.Linked && r.Active.Tried > 0:
		return "uncertain"
	case r.Phase == core.Pending && !r.Candidate.ID.IsZero():
		return "waiting"
	}
	return r.Phase.String()
}

// moves applies every event to records of every kind, with the code of the protocol
// itself, and returns which events move a record from one stage to another.
func moves() map[move]map[core.EventKind]bool {
	active, candidate := core.PairID{Session: "a", Seq: 1}, core.PairID{Session: "c", Seq: 1}
	var records []core.Record
	for _, phase := range []core.Phase{core.None, core.Pending, core.Linked, core.Relink, core.Unlinked} {
		for _, held := range []bool{false, true} { // a candidate
			for _, tried := range []int{0, 1} {
				for _, unread := range []bool{false, true} {
					for _, public := range []string{"", "p"} {
						r := core.Record{Phase: phase, Version: 1, Public: public}
						linked := phase == core.Linked || phase == core.Relink
						switch {
						case phase == core.None || phase == core.Unlinked:
							if held || tried > 0 || unread || public != "" {
								continue
							}
						case !linked && (tried > 0 || unread || public != ""), unread && tried == 0:
							continue
						}
						if linked {
							r.Active = core.Pair{ID: active, Tried: tried, Unread: unread}
						}
						if phase == core.Relink {
							if r.Cause = "session_expired"; unread {
								r.Cause = core.ResponseUnreadable
							}
						}
						if held {
							r.Candidate = core.Pair{ID: candidate}
						}
						r.Marks = []core.Mark{{Session: "open", By: "me", State: core.Open}}
						r.Lease = core.Lease{Owner: "me"}
						records = append(records, r)
						r.Lease = core.Lease{}
						records = append(records, r)
					}
				}
			}
		}
	}
	policy := core.Policy{Finds: true, UnclearLimit: 1}
	found := map[move]map[core.EventKind]bool{}
	for _, r := range records {
		for kind := core.Reserve; kind <= core.Postpone; kind++ {
			for _, session := range []string{"a", "c", "open", "new"} {
				for _, shared := range []bool{false, true} {
					e := core.Event{
						Kind: kind, Owner: "me", Session: session, Pair: core.PairID{Session: session, Seq: 1}, Next: core.Pair{ID: core.PairID{Session: session, Seq: 2}},
						Patient: "p", Shared: shared, Cause: "session_expired", Witnessed: true, Few: true, Old: true,
					}
					next, verdict := policy.Apply(r, e)
					m := move{stage(r), stage(next)}
					switch {
					case verdict == core.Remove:
						m.to = core.None.String()
					case verdict != core.Write:
						continue
					}
					if m.from == m.to {
						continue
					}
					if found[m] == nil {
						found[m] = map[core.EventKind]bool{}
					}
					found[m][kind] = true
				}
			}
		}
	}
	return found
}

// protocol is internal/custody/protocol.md.
func protocol() string {
	var b strings.Builder
	b.WriteString(`# The protocol of a link

Generated from ` + "`core.Table`" + ` by ` + "`go test ./internal/house -run TestProtocolDocument -update`" + `: change it there.

Every write of every process goes through this table. An event names what it is about (a pair of tokens, a session, the owner of a lease) and never the row it was seen in, so
a writer that lost a race reloads the record and applies the same event again. Of the rows of an event, the first whose condition holds applies; if there is none, the event is
superseded: the record has moved on, and there is nothing to do.

A write that makes or ends a link, announces the end of its session, or gives up an authorization that waited adds a notice of that to the same record, whatever its row. A
notice stays, through an unlink too, until the host has accepted it. Of too many, the oldest goes that is no end of a link, since what follows it shows what is so now; if all are
ends, the two oldest become one, which counts both. A process to which the host gave no way to be told adds notices only to a record that has had some, and leaves them to others.

## How a link moves

Found by applying every event to records of every kind. *waiting* is pending with an authorization that cannot be checked yet, and *uncertain* is linked with a presentation of the
refresh token whose outcome is unknown, which includes one that is under way.

` + "```mermaid\nstateDiagram-v2\n")
	found := moves()
	order := []string{"none", "pending", "waiting", "linked", "uncertain", "relink", "unlinked"}
	by := func(a, c move) int {
		return cmp.Or(slices.Index(order, a.from)-slices.Index(order, c.from), slices.Index(order, a.to)-slices.Index(order, c.to))
	}
	all := slices.SortedFunc(maps.Keys(found), by)
	for _, m := range all {
		var kinds []string
		for _, kind := range slices.Sorted(maps.Keys(found[m])) {
			kinds = append(kinds, kind.String())
		}
		fmt.Fprintf(&b, "    %s --> %s: %s\n", m.from, m.to, strings.Join(kinds, ", "))
	}
	b.WriteString("```\n\n## The table\n\n| event | when | record after it | verdict |\n|---|---|---|---|\n")
	last := core.EventKind(0)
	for i := range core.Table {
		rule := &core.Table[i]
		name := ""
		if rule.Event != last {
			name = "`" + rule.Event.String() + "`"
		}
		last = rule.Event
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, rule.When, cmp.Or(rule.Then, "unchanged"), rule.Verdict())
	}
	return b.String()
}

func TestProtocolDocument(t *testing.T) {
	const name = root + "/internal/custody/protocol.md"
	now := protocol()
	if *update {
		if err := os.WriteFile(name, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(kept), now); diff != "" {
		t.Errorf("internal/custody/protocol.md differs from core.Table; run\n\tgo test ./internal/house -run TestProtocolDocument -update\n(-kept +now):\n%s", diff)
	}
	if n := len(moves()); n < 12 {
		t.Errorf("only %d moves were found: the search is broken", n)
	}
}
