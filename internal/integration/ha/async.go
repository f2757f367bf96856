// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// forgotten is what became of links whose newest writes a failover has lost.
type forgotten struct {
	// Stuck counts links of which somebody is told neither a token nor why there is
	// none and what to do, and those that doing so does not help.
	Stuck int `json:"stuck"`
	// PresentedSpent counts refresh tokens that were presented though a process had
	// their successor.
	PresentedSpent int `json:"presented_spent"`
	// Unexplained counts links that ended though a process had what was lost, and
	// unlinks that were undone though a process knew of them.
	Unexplained int `json:"links_lost_unexplained"`
	// UsableAfter is when, after the promotion, everybody was served again whose newest
	// tokens some process had: through every replica.
	UsableAfter float64 `json:"usable_after_s"`
	// Written counts links whose newest tokens only a process had, and that work; and
	// Told, those that nobody had, whose patients were told so and approved again.
	// PresentedUnknown counts refresh tokens that were presented though they were spent,
	// whose successors no process had: nobody can know that they are.
	Written          int `json:"written_forward"`
	Told             int `json:"told"`
	PresentedUnknown int `json:"presented_unknown"`
}

func (f forgotten) ok() bool { return f.Stuck+f.PresentedSpent+f.Unexplained == 0 }

// fate is what a person does while the standby is cut off.
type fate int

const (
	idles fate = iota
	calls
	reads // calls, in the end through a replica that lives on
	links
	relinks
	unlinks
	fates
)

// subject is a person, what the person did, and through which replicas.
type subject struct {
	*person
	fate  fate
	lives bool // the replicas that did it live on
}

// failover is what happens to an app on an asynchronous standby.
type failover struct {
	*world
	pair     *services.Pair
	dsn      string
	subjects []subject
	cutAt    time.Time

	mu       sync.Mutex
	promoted time.Time
	verdicts map[*person][]verdict
}

// onAsynchronousStandby cuts the standby off for some seconds of acknowledged writes,
// kills the primary and half of the replicas, promotes the standby, and starts as many
// replicas anew.
func onAsynchronousStandby(ctx context.Context, out io.Writer, s size) (f forgotten, err error) {
	pair, err := services.StartPair(ctx)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, pair.Close()) }()
	w, err := newWorld(out, s.patients)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	o := &failover{world: w, pair: pair, verdicts: map[*person][]verdict{}}
	if o.dsn, err = pair.DSN(); err != nil {
		return f, err
	}
	for i, p := range w.people {
		o.subjects = append(o.subjects, subject{p, fate(i/2) % fates, i%2 == 0})
	}
	if err := o.lose(ctx, max(s.phase, 2*tokenLife)); err != nil {
		return f, err
	}
	if err := o.promote(ctx); err != nil {
		return f, err
	}
	for _, s := range o.subjects {
		o.count(ctx, s, &f)
	}
	for _, a := range w.tokens.twice() {
		if a.known {
			f.PresentedSpent++
		} else {
			f.PresentedUnknown++
		}
	}
	w.judge.says(w, "PostgreSQL, asynchronous")
	return f, nil
}

// lose lets people do what the standby does not get, and kills what knows of it: the
// primary, and two of four replicas.
func (o *failover) lose(ctx context.Context, phase time.Duration) error {
	for range 4 {
		if err := o.joinDatabase(ctx, services.PostgresDriver, o.dsn, sqlstore.Postgres); err != nil {
			return err
		}
	}
	each(o.subjects, func(s subject) {
		if s.fate != links {
			s.approve(ctx, o.any)
		}
	})
	if err := o.pair.Follows(ctx); err != nil {
		return err
	}
	o.pair.Between.Cut()
	o.cutAt = time.Now()
	live, doomed := o.all()[:2], o.all()[2:]
	each(o.subjects, func(s subject) {
		switch {
		case s.fate == reads:
			s.act(ctx, doomed, phase)
			_ = s.call(ctx, live[0]) // the judge has heard it
		case s.lives:
			s.act(ctx, live, phase)
		default:
			s.act(ctx, doomed, phase)
		}
	})
	o.pair.Primary.Kill()
	for _, r := range doomed {
		if err := o.kill(r); err != nil {
			return err
		}
	}
	return nil
}

// act does what the person does while the standby is cut off.
func (s subject) act(ctx context.Context, through []*replica, phase time.Duration) {
	n := 0
	next := func() *replica { n++; return through[n%len(through)] }
	switch s.fate {
	case links, relinks:
		s.approve(ctx, next)
	case unlinks:
		s.unlink(ctx, next)
	}
	for began := time.Now(); (s.fate == calls || s.fate == reads) && time.Since(began) < phase; pass(ctx, 200*time.Millisecond) {
		_ = s.call(ctx, next()) // the judge has heard it
	}
}

// promote promotes the standby when everybody has called in vain for a while. In that
// while two replicas begin anew, one of them at its end.
func (o *failover) promote(ctx context.Context) error {
	var under sync.WaitGroup
	defer under.Wait()
	ask := func(r *replica) {
		for _, s := range o.subjects {
			under.Go(func() {
				v := o.hears(ctx, s, r)
				o.mu.Lock()
				defer o.mu.Unlock()
				o.verdicts[s.person] = append(o.verdicts[s.person], v)
			})
		}
	}
	first, err := o.openDatabase(services.PostgresDriver, o.dsn, sqlstore.Postgres)
	if err != nil {
		return err
	}
	for _, r := range o.all() {
		ask(r)
	}
	pass(ctx, away)
	second, err := o.openDatabase(services.PostgresDriver, o.dsn, sqlstore.Postgres)
	if err != nil {
		return err
	}
	for _, r := range []*replica{first, second} {
		if err := o.people[0].ask(ctx, r); err == nil {
			return errors.New("a replica that has seen no store has a token")
		}
	}
	ask(second)
	err = o.pair.Promote(ctx)
	o.mu.Lock()
	o.promoted = time.Now()
	o.mu.Unlock()
	return err
}

// away is for how long there is no primary: whoever promotes a standby has to find out
// first that it is time.
const away = 3 * time.Second

// verdict is what a person was told through one replica, in the end.
type verdict struct {
	from *replica
	err  error
	// good is since when every call has succeeded.
	good time.Time
}

// These are how long the same is told before it counts as the end: a token, for longer
// than one lives, and that the store has older tokens, for longer than a process is
// careful after an outage.
const (
	steady    = 3 * tokenLife
	steadyBad = 20 * time.Second
)

// hears calls for a person through a replica until the end.
func (o *failover) hears(ctx context.Context, s subject, r *replica) (v verdict) {
	v.from = r
	began, last, since := time.Now(), "", time.Now()
	for ; ; pass(ctx, 300*time.Millisecond) {
		v.err = s.ask(ctx, r)
		now, code := time.Now(), advice.For(v.err).Code
		if code != last {
			last, since = code, now
		}
		o.mu.Lock()
		promoted := o.promoted
		o.mu.Unlock()
		same := now.Sub(since)
		if since.Before(promoted) {
			same = now.Sub(promoted)
		}
		switch v.good = since; {
		case promoted.IsZero():
			if now.Sub(began) > longest {
				return v
			}
		case final(v.err), v.err == nil && same >= steady, setBack(v.err) && same >= steadyBad, now.Sub(promoted) > longest, ctx.Err() != nil:
			return v
		}
	}
}

// setBack reports whether a caller is told that the store has older tokens than the
// process has seen, and what to do.
func setBack(err error) bool { return advice.For(err).Code == "store_set_back" }

// count judges what became of a person's link.
func (o *failover) count(ctx context.Context, s subject, f *forgotten) {
	last := o.tokens.holder(s.user)
	lost := !last.at.Before(o.cutAt)
	known := last.to.alive()
	works, over, told := o.summary(ctx, s)
	if s.fate == unlinks {
		if s.lives && !over {
			f.Unexplained++
			o.tell(s, "is linked again, and a process knew of the unlink")
		}
		return
	}
	kept := s.fate != links && (known || !lost) // of a first authorization the row is gone
	switch {
	case works && lost && known:
		f.Written++
		f.UsableAfter = max(f.UsableAfter, o.usable(s))
	case works:
	case kept && over:
		f.Unexplained++
		o.tell(s, "ended, and a process had its tokens")
	case kept, !told:
		f.Stuck++
		o.tell(s, "neither works nor is over")
	default:
		o.again(ctx, s, f)
	}
}

// usable is how many seconds after the promotion a person was served through every
// replica.
func (o *failover) usable(s subject) (seconds float64) {
	for _, v := range o.verdicts[s.person] {
		seconds = max(seconds, math.Round(v.good.Sub(o.promoted).Seconds()*10)/10)
	}
	return seconds
}

// summary is what a person was told through all replicas: works, through each; over,
// that the link has ended, through one at least; told, through each a token, or why
// there is none and what to do. Once it is over through one, it has to be through all.
func (o *failover) summary(ctx context.Context, s subject) (works, over, told bool) {
	works, told = true, true
	for _, v := range o.verdicts[s.person] {
		works = works && v.err == nil
		over = over || final(v.err)
	}
	for i, v := range o.verdicts[s.person] {
		if over && !final(v.err) {
			v.err = s.ask(ctx, v.from) // when it was asked, it may not have been over
			o.verdicts[s.person][i].err = v.err
		}
		told = told && (v.err == nil && !over || final(v.err) || setBack(v.err) && !over)
	}
	return works, over, told
}

// again lets a patient approve again who was told so: then the link has to work.
func (o *failover) again(ctx context.Context, s subject, f *forgotten) {
	f.Told++
	helps := s.approve(ctx, o.any)
	for _, r := range o.all() {
		helps = helps && s.settles(ctx, r, longest) == nil
	}
	if !helps {
		f.Stuck++
		o.tell(s, "does not work, though the patient approved again")
	}
}

// tell prints what a person was told.
func (o *failover) tell(s subject, what string) {
	fmt.Fprintf(o.out, "  %s (%d, %t): %s\n", s.user, s.fate, s.lives, what)
	for _, v := range o.verdicts[s.person] {
		fmt.Fprintf(o.out, "    %v\n", v.err)
	}
}
