// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/tokenstore"
)

// notice is one that a record owes the host. It holds nothing secret and nothing
// about the patient.
type notice struct {
	N       uint64          `json:"n"`
	Kind    core.NoticeKind `json:"kind"`
	Cause   core.Cause      `json:"cause,omitempty"`
	Session string          `json:"session,omitempty"`
	Warning core.Warning    `json:"level,omitempty"`
	Tries   int             `json:"tries,omitempty"`
	Also    int             `json:"also,omitempty"`
	// At is when it happened, and EndsAt, when the session ends, if that is known.
	At     time.Time `json:"at"`
	EndsAt time.Time `json:"ends_at,omitzero"`

	rest *unknown
}

func (n notice) owed() core.Notice {
	return core.Notice{N: n.N, Kind: n.Kind, Cause: n.Cause, Session: n.Session, Warning: n.Warning, Tries: n.Tries, Also: n.Also}
}

// recalled adds to a row's notices those of the row that this trip last knew to be
// acknowledged. A notice that is restored keeps its time: by both, and by nothing
// else, the host recognizes what it has had before.
func (t *trip) recalled(of []notice) []notice {
	if t.program.Kept.Version == 0 {
		return of
	}
	return append(slices.Clip(of), t.kept...)
}

// notices are the record's, with the times of those that were there before.
func (o *row) notices(now time.Time) (all []notice) {
	for _, n := range o.Notices {
		kept := notice{At: now.UTC().Truncate(time.Millisecond)}
		if i := slices.IndexFunc(o.details.Notices, func(was notice) bool { return was.N == n.N }); i >= 0 {
			kept = o.details.Notices[i]
		} else if n.Kind == core.EndsSoon {
			kept.EndsAt = o.stored.EndsAt
		}
		kept.N, kept.Kind, kept.Cause, kept.Session, kept.Warning, kept.Tries, kept.Also = n.N, n.Kind, n.Cause, n.Session, n.Warning, n.Tries, n.Also
		all = append(all, kept)
	}
	return all
}

// The kinds of notices.
const (
	NoticeMade     = core.Made
	NoticeEnded    = core.Ended
	NoticeEndsSoon = core.EndsSoon
	NoticeDropped  = core.Dropped
)

// mostNotices bounds the notices that a record owes.
const mostNotices = 8

// Notice is what a host must not miss. It is kept in the record until the host has
// accepted it, and may be delivered more than once.
type Notice struct {
	// ID names the notice among those of its user.
	ID   string
	User string
	Kind core.NoticeKind
	// Cause is set for NoticeEnded and NoticeDropped.
	Cause Cause
	At    time.Time
	// EndsAt is set for NoticeEndsSoon, and Last, if no other warning follows.
	EndsAt time.Time
	Last   bool
	// Earlier is how many earlier ends of the link this one stands for.
	Earlier int
	// Tries is how often the host has not accepted it.
	Tries int
}

// of returns the notice as the host gets it.
func (n notice) of(user string) Notice {
	return Notice{
		ID: strconv.FormatInt(n.At.UnixMilli(), 36) + "-" + strconv.FormatUint(n.N, 10), User: user, Kind: n.Kind, Cause: n.Cause, At: n.At,
		EndsAt: n.EndsAt, Last: n.Warning == core.Late, Earlier: n.Also, Tries: n.Tries,
	}
}

// Owed returns the notices that a record owes the host, the oldest first. It opens
// nothing.
func Owed(r tokenstore.Record) (all []Notice) {
	for _, n := range remembered(r).Notices {
		all = append(all, n.of(r.AppUserID))
	}
	return all
}

// notifyWithin bounds one delivery. With what it takes to claim and to clear it ends
// before others may take the claim over.
const notifyWithin = 30 * time.Second

// notify delivers the notice that this trip has claimed, unless so much time has
// passed since that others may be about to.
func (t *trip) notify(n core.Notice, closing bool) core.Input {
	k := t.k
	in := core.Input{Kind: core.Notified}
	late := most(t.began, k.now()) > leaseTTL/2
	i := slices.IndexFunc(t.row.details.Notices, func(o notice) bool { return o.N == n.N })
	if i < 0 || k.Notify == nil || closing || late {
		in.Facts = t.facts()
		return in
	}
	told := t.row.details.Notices[i].of(t.e.user)
	_, err := guard(k, t.tending.ctx, notifyWithin, "Config.Notify", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, k.Notify(ctx, told)
	})
	in.Heard = err == nil
	k.tender.heard(t.e.user, in.Heard, k.now())
	if k.OnNotice != nil {
		k.events.add(k, "", func() { k.OnNotice(told, in.Heard) })
	}
	if err != nil {
		k.Logger.Warn("pkb: Config.Notify did not accept a notice; it is delivered again later", "link", conceal.LinkName(t.e.user), "error", err)
	}
	in.Facts = t.facts()
	return in
}
