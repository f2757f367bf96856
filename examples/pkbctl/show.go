// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

var showCommand = &command{
	name: "show", args: "USER",
	summary: "show one link: its state, who refreshes it, and what happened to it",
	about: `show prints everything that is known about one link, and its timeline, oldest first.
USER is the app_user_id, or the link=... of a log line. It needs -db only, and
writes nothing. What it prints holds no token; the public id is the patient's.

"next" is what happens by itself: when the refresh token is presented, or why it is
not. "tended next" is when Client.Tend looks at the link, though nobody calls, and
"notices" is what your program was not told yet. "lease" is the random name of a
refresh that may be presenting the token now; "tried" is how often it was presented
with an outcome that is not known. It ends with what you can do, as commands to copy,
and with what to tell the patient.
In a pipe it prints one JSON document, with "next", with "notices" as the command notices
prints them, with "timeline": [{"kind", "at", "until", "count", "cause"}], and with "do": [{"why",
"command"}] and "patient". The exit code is 1 for a link that has ended. With -keys it
also opens the record, and checks that the sealed part agrees with its columns.`,
	examples: []string{
		"pkbctl show app-user-1 -db webapp.db",
		"pkbctl show cc5a80a8177e",
		"pkbctl show app-user-1 | jq .timeline",
	},
	define: func(*flag.FlagSet) func(context.Context, *call) error { return show },
}

// shown is what show prints.
type shown struct {
	linkRow
	PublicID  string         `json:"public_id,omitempty"`
	Claim     string         `json:"claim,omitempty"`
	Pair      string         `json:"pair,omitempty"`
	Candidate string         `json:"candidate,omitempty"`
	Tried     int            `json:"tried,omitempty"`
	Refusals  int            `json:"refusals,omitempty"`
	Unread    bool           `json:"unread,omitempty"`
	Damage    string         `json:"damage,omitempty"`
	Lease     *shownLease    `json:"lease,omitempty"`
	TendAt    time.Time      `json:"tend_at,omitzero"`
	Notices   []noticeRow    `json:"notices,omitempty"`
	Next      string         `json:"next"`
	Timeline  []shownHappens `json:"timeline"`
	advised
}

type shownLease struct {
	Owner   string    `json:"owner"`
	Beat    uint64    `json:"beat"`
	TakenAt time.Time `json:"taken_at"`
}

type shownHappens struct {
	Kind  observe.EventKind `json:"kind"`
	At    time.Time         `json:"at"`
	Until time.Time         `json:"until,omitzero"`
	Count int               `json:"count"`
	Cause observe.Cause     `json:"cause,omitempty"`
}

func show(ctx context.Context, c *call) error {
	db, err := c.open()
	if err != nil {
		return err
	}
	defer db.close()
	r, err := db.find(ctx, c.user())
	if err != nil {
		return err
	}
	link := pkb.LinkOf(r)
	s := shown{
		linkRow: newLinkRow(r), PublicID: r.PublicID, Claim: r.Claim, Pair: r.Pair, Candidate: r.Candidate,
		Tried: link.Tried, Refusals: link.Refusals, Unread: link.Unread, Timeline: []shownHappens{}, TendAt: r.TendAt, Notices: noticeRows(r),
	}
	if r.Lease.Owner != "" {
		s.Lease = &shownLease{Owner: r.Lease.Owner, Beat: r.Lease.Beat, TakenAt: r.Lease.TakenAt}
	}
	client, err := c.onlooker(db, r)
	if err != nil {
		return err
	}
	if s.Damage, err = c.damage(ctx, db, r); err != nil {
		return err
	}
	s.Next = next(r, s.Damage != "", now())
	s.advised = c.advise(r, s.Damage != "", now())
	past, err := client.Timeline(ctx, r.AppUserID)
	if err != nil {
		return err
	}
	for _, e := range past {
		s.Timeline = append(s.Timeline, shownHappens{Kind: e.Kind, At: e.At, Until: e.Until, Count: e.Count, Cause: e.Cause})
	}
	if !c.terminal {
		err = c.document(s)
	} else {
		c.printLink(s)
	}
	if err == nil && r.State == tokenstore.StateRelinkRequired {
		return errSaid
	}
	return err
}

// damage returns what is wrong with a record that does not open; "" also without keys.
func (c *call) damage(ctx context.Context, db *database, r tokenstore.Record) (string, error) {
	keys, err := c.keys()
	if errors.Is(err, errNoKeys) || !isLink(r) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	cfg := c.config(issuer{r.Environment, r.ClientID})
	cfg.Store, cfg.Keys = readOnly{db}, keys
	client, err := pkb.New(cfg)
	if err != nil {
		return "", err
	}
	if _, err := client.Link(ctx, r.AppUserID); errors.Is(err, pkb.ErrKeys) {
		return clean(err.Error()), nil
	}
	return "", nil
}

// onlooker returns a client of the environment in which r was made, which cannot
// write.
func (c *call) onlooker(db *database, r tokenstore.Record) (*pkb.Client, error) {
	cfg := c.config(issuer{r.Environment, r.ClientID})
	cfg.Store = readOnly{db}
	return pkb.New(cfg)
}

func (c *call) printLink(s shown) {
	at := now()
	field := func(name, value string, as style) {
		if value != "" {
			fmt.Fprintf(c.out, "%s  %s\n", c.paint(fmt.Sprintf("%-13s", name), dim), c.paint(value, as))
		}
	}
	prose := func(name, value string, as style) { field(name, wrap(value, c.width(), 15), as) }
	moment := func(name string, t time.Time) {
		if !t.IsZero() {
			field(name, stamp(t)+"  "+distance(t, at), plain)
		}
	}
	field("app user", clean(s.AppUserID), bold)
	field("link in logs", s.Link, plain)
	field("state", clean(string(s.State)), stateStyles[s.State])
	field("cause", clean(s.Cause), red)
	prose("meaning", meaning(s.State), plain)
	field("public id", clean(s.PublicID), plain)
	field("issued for", clean(s.Environment)+", client id "+clean(s.ClientID), plain)
	field("generation", fmt.Sprint(s.Generation), plain)
	field("sealed with", clean(s.KeyID), plain)
	moment("linked", s.LinkedAt)
	moment("refreshed", s.RefreshedAt)
	moment("token ends", s.ExpiresAt)
	moment("due", s.DueAt)
	moment("session ends", s.EndsAt)
	field("pair", clean(s.Pair), plain)
	if s.Candidate != "" {
		prose("waiting", clean(s.Candidate)+", an authorization that is not checked yet", yellow)
	}
	field("about to be", clean(s.Claim), yellow)
	if s.Tried > 0 {
		field("tried", times(s.Tried)+", with an outcome that is not known", yellow)
	}
	if s.Refusals > 0 {
		prose("refused", times(s.Refusals)+" with an unknown code, while others were served", yellow)
	}
	if s.Unread {
		field("unread", "a response that may hold the next tokens", yellow)
	}
	if l := s.Lease; l != nil {
		prose("lease", fmt.Sprintf("%s, taken %s, beat %d", clean(l.Owner), distance(l.TakenAt, at), l.Beat), yellow)
	}
	moment("tended next", s.TendAt)
	prose("notices", waitingNotices(s.Notices, at), yellow)
	prose("damage", s.Damage, red)
	prose("next", s.Next, bold)
	fmt.Fprintln(c.out)
	c.printTimeline(s.Timeline)
	c.printAdvice(s.advised)
}

func (c *call) printTimeline(past []shownHappens) {
	if len(past) == 0 {
		fmt.Fprintln(c.out, "No events are recorded.")
		return
	}
	t := c.newTable(column{head: "WHEN (UTC)"}, column{head: "WHAT"}, column{head: "", drop: 2}, column{head: "UNTIL", drop: 1}, column{head: "CAUSE"})
	for _, h := range past {
		often, until := "", ""
		if h.Count > 1 {
			often, until = times(h.Count), stamp(h.Until)
		}
		t.add(text(stamp(h.At)), cell{clean(string(h.Kind)), kindStyles[h.Kind]}, text(often), text(until), text(clean(string(h.Cause))))
	}
	t.flush()
}

// waitingNotices describes what Config.Notify was not told yet; "" for nothing.
func waitingNotices(owed []noticeRow, at time.Time) string {
	if len(owed) == 0 {
		return ""
	}
	var parts []string
	for _, n := range owed {
		what := string(n.Kind)
		if n.Cause != "" {
			what += " (" + string(n.Cause) + ")"
		}
		parts = append(parts, clean(what)+", "+distance(n.At, at))
	}
	all := strings.Join(parts, "; ")
	if first := owed[0]; first.Tries > 0 {
		return all + "; Config.Notify has refused the first " + times(first.Tries)
	}
	return all + "; they wait for Client.Tend in a process with Config.Notify"
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

var kindStyles = map[observe.EventKind]style{
	observe.EventLinked: green, observe.EventRecovered: green, observe.EventUncertain: yellow, observe.EventSaveRetried: yellow, observe.EventEndsSoon: yellow,
	observe.EventRelinkRequired: red, observe.EventWrongPatient: red, observe.EventSharedRecord: red, observe.EventRefused: red,
}

// next returns what the library does with a record at the next call.
func next(r tokenstore.Record, damaged bool, at time.Time) string {
	link := pkb.LinkOf(r)
	good := r.ExpiresAt.Sub(at) > margin
	switch {
	case damaged:
		return "nothing is sent and nothing is written; restore the record, or unlink the user (pkbctl unlink) and let the patient approve again"
	case r.State == tokenstore.StateUnlinked:
		return "nothing; the record is removed two days after the unlink (Client.Tend, Client.Purge)"
	case inDoubt(r) && !isLink(r):
		return "its tokens wait to be checked, and the response to a refresh of them is not saved yet; Client.Tend, or the next call, asks once more when nothing is left to lose"
	case r.State == tokenstore.StatePending && r.Candidate != "":
		return "the next call, or Client.Tend, checks the authorization that waits, and links it"
	case r.State == tokenstore.StatePending:
		return "the authorization is completed, or the patient starts again"
	case r.State == tokenstore.StateRelinkRequired && r.Candidate != "":
		return "the next call, or Client.Tend, checks the authorization that waits, and links it"
	case r.Cause == string(observe.CauseRefusedUnclear):
		return "the patient approves again; every six hours the refresh token is presented once more, and a success restores the link"
	case r.Cause == string(observe.CauseResponseUnreadable):
		return "the patient approves again; a later version that reads the response restores the link, and pkbctl discard removes it"
	case r.State == tokenstore.StateRelinkRequired:
		return "the patient approves again (pkbctl relink-url)"
	case link.Unread:
		return "the refresh token is not presented again; the access token is valid until " + stamp(r.ExpiresAt) + ", and then the link ends (pkbctl discard removes the response)"
	case r.Lease.Owner != "":
		return "the holder of the lease saves the response; if its beat does not change for 75 seconds, another process may take over"
	case link.Tried > 0 && good:
		return "the access token is valid until " + stamp(r.ExpiresAt) + "; after that the next call presents the refresh token once more"
	case link.Tried > 0:
		return "the next call presents the refresh token once more: nothing is left to lose"
	case r.Candidate != "":
		return "the next call, or Client.Tend, checks the authorization that waits; the link goes on meanwhile"
	case !good:
		return "the next call refreshes"
	}
	return "a call after about " + stamp(r.DueAt) + " refreshes in the background"
}

// meaning describes a state, and what to do.
func meaning(s tokenstore.State) string {
	switch s {
	case tokenstore.StateLinked:
		return "it works, and refreshes by itself"
	case tokenstore.StateUncertain:
		return "the response to a refresh was lost; it works until the access token expires, and is refreshed once more then"
	case tokenstore.StateRelinkRequired:
		return "it has ended; send the patient to your link route (pkbctl relink-url)"
	case tokenstore.StatePending:
		return "an authorization is under way, waits to be checked, or was never finished"
	case tokenstore.StateUnlinked:
		return "it was unlinked; what is left is removed after two days (Client.Tend, Client.Purge)"
	}
	return ""
}
