// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"golang.org/x/oauth2"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// order is what a process is to do.
type order struct {
	Setup cluster.Setup
	// Users are one, who is called for until the process dies, or those that an
	// heir takes over.
	Users []string
	// Tokens are those to import.
	Tokens *oauth2.Token
	// Tend means that the heir tends all links as well.
	Tend bool
	// DieAt is a step; "" for one that lives.
	DieAt string
	// After is how long into the step.
	After time.Duration
}

// report is what a process found.
type report struct {
	// Usable: PKB accepted a call for the patient.
	Usable bool
	// Cause is why the patient must approve again.
	Cause string
	// Error is anything else.
	Error string
}

// link is one that a process was killed with.
type link struct {
	user    string
	patient *pkbtest.Patient
	step    string
	early   bool // the old access token was still good
	tokens  *oauth2.Token
	// now is what was found before the token was over, if it was early; end, what
	// was in the end.
	now, end report
}

// heirs is how many processes take over.
const heirs = 4

// rig is where processes are killed.
type rig struct {
	*cluster.Cluster
	client *pkb.Client // keeps notices, and delivers none
	random *rand.Rand
	links  []*link
}

func run(ctx context.Context, rounds, speed int, seed uint64) (f figures, err error) {
	fmt.Printf("seed %d\n", seed)
	c, err := cluster.New(ctx)
	if err != nil {
		return f, err
	}
	r := &rig{Cluster: c, random: rand.New(rand.NewPCG(seed, seed))}
	defer func() { err = errors.Join(err, c.Close()) }()
	replica, err := c.Setup().Open(func(cfg *pkb.Config) {
		cfg.Now, cfg.Notify = c.PKB.Now, func(context.Context, observe.Notice) error { return errors.New("told by others") }
	})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, replica.Close()) }()
	r.client = replica.Client
	if err := r.killAll(ctx, rounds); err != nil {
		return f, err
	}
	c.PKB.Advance(4 * time.Minute) // all tokens are over
	fmt.Printf("killed %d processes; their links are taken over\n\n", len(r.links))
	setup := c.Setup()
	setup.Speed = speed
	stop, err := inherit(ctx, setup, heirs, true, r.links, func(l *link) *report { return &l.end })
	defer stop()
	if err != nil {
		return f, err
	}
	for _, l := range r.links {
		f.judge(l, c.PKB.LiveSessions(l.patient))
	}
	f.DoublePosts = c.PKB.ReusedRefreshTokens() - f.Named
	r.table()
	return f, r.judgeNotices(ctx, &f)
}

// killAll kills processes at all steps.
func (r *rig) killAll(ctx context.Context, rounds int) error {
	for _, step := range refreshSteps {
		if err := r.killRefreshing(ctx, step, rounds); err != nil {
			return fmt.Errorf("killed %s: %w", step, err)
		}
	}
	for _, step := range slices.Concat(noticeSteps, importSteps) {
		for n := range rounds {
			l, err := r.newLink(ctx, step, n)
			if err == nil {
				err = r.kill(ctx, l)
			}
			if err != nil {
				return fmt.Errorf("killed %s: %w", step, err)
			}
		}
	}
	return nil
}

// newLink links a user with whom a process will be killed, every second one by
// Import, or obtains the tokens that the process is to import.
func (r *rig) newLink(ctx context.Context, step string, n int) (l *link, err error) {
	l = &link{user: fmt.Sprintf("%s-%d", step, n), patient: r.PKB.AddPatient(pkbtest.Patient{}), step: step}
	switch {
	case slices.Contains(importSteps, step):
		l.tokens, err = cluster.Obtain(ctx, r.PKB, l.patient, r.client, l.user)
	case n%2 == 1:
		err = cluster.Import(ctx, r.PKB, l.patient, r.client, l.user)
	default:
		err = cluster.Link(ctx, r.PKB, l.patient, r.client, l.user)
	}
	r.links = append(r.links, l)
	return l, err
}

// killRefreshing kills processes at one step of a refresh, each with a link of its
// own: so many with the old access token over, and as many with it still good.
func (r *rig) killRefreshing(ctx context.Context, step string, rounds int) error {
	var over, good []*link
	for n := range 2 * rounds {
		if n == rounds {
			r.PKB.Advance(2 * time.Minute)
		}
		l, err := r.newLink(ctx, step, n)
		if err != nil {
			return err
		}
		if l.early = n >= rounds; l.early {
			good = append(good, l)
		} else {
			over = append(over, l)
		}
	}
	r.PKB.Advance(9 * time.Minute) // of 10: due since 8.5, good until 9.5
	for _, l := range good {
		if err := r.kill(ctx, l); err != nil {
			return err
		}
	}
	// The old token serves on, whatever became of the refresh.
	stop, err := inherit(ctx, r.Setup(), 1, false, good, func(l *link) *report { return &l.now })
	stop()
	if err != nil {
		return err
	}
	for _, l := range over {
		if err := r.kill(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// kill kills one process.
func (r *rig) kill(ctx context.Context, l *link) error {
	o := order{Setup: r.Setup(), Users: []string{l.user}, DieAt: l.step, Tokens: l.tokens}
	if saves[l.step].moment == during {
		o.After = time.Duration(r.random.IntN(600)) * time.Microsecond
	}
	arrived, dead := make(chan struct{}), make(chan struct{})
	switch l.step {
	case duringPost:
		r.PKB.Next(pkbtest.Token, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				close(arrived)
				<-dead
				next.ServeHTTP(w, req)
			})
		})
	case anyMoment:
		r.PKB.Next(pkbtest.Token, pkbtest.Delay(20*time.Millisecond))
		defer r.PKB.ClearFaults() // it may not have come so far
	}
	v, err := cluster.Start(ctx, "victim", o)
	if err != nil {
		return err
	}
	defer v.Kill()
	switch l.step {
	case duringPost:
		<-arrived
		v.Kill()
	case anyMoment:
		if err := v.Receive(new(string)); err != nil {
			return err
		}
		time.Sleep(time.Duration(r.random.IntN(60_000)) * time.Microsecond)
		v.Kill()
	}
	err = v.Wait()
	close(dead)
	if !cluster.Killed(err) {
		return fmt.Errorf("the process ended by itself: %w", err)
	}
	return nil
}

// judge counts what became of a link. PKB ends a session whose token comes twice.
func (f *figures) judge(l *link, sessions int) {
	switch {
	case slices.Contains(noticeSteps, l.step):
		f.NoticeKills++
	case slices.Contains(importSteps, l.step):
		f.ImportKills++
	default:
		f.Kills++
	}
	refreshing := slices.Contains(refreshSteps, l.step)
	switch {
	case l.early && !l.now.Usable:
		f.Unexplained++
		fmt.Printf("  %s: while the token was still good: %+v\n", l.user, l.now)
	case l.end.Usable && refreshing:
		f.Usable++
	case l.end.Usable:
	case refreshing && l.named() && sessions == 0:
		f.Named++
	default:
		f.Unexplained++
		fmt.Printf("  %s: %+v, and PKB has %d sessions\n", l.user, l.end, sessions)
	}
}

func (l *link) named() bool { return l.end.Cause == string(observe.CauseOutcomeUnknown) }

// table prints what became of the links.
func (r *rig) table() {
	fmt.Printf("%-36s %-20s %6s %7s %6s\n", "killed", "access token", "kills", "usable", "named")
	for _, step := range slices.Concat(refreshSteps, noticeSteps, importSteps) {
		for _, early := range []bool{false, true} {
			kills, usable, named := 0, 0, 0
			for _, l := range r.links {
				switch {
				case l.step != step || l.early != early:
					continue
				case l.end.Usable:
					usable++
				case l.named():
					named++
				}
				kills++
			}
			token := "-"
			switch {
			case early:
				token = "still good"
			case slices.Contains(refreshSteps, step):
				token = "over"
			}
			if kills > 0 {
				fmt.Printf("%-36s %-20s %6d %7d %6d\n", step, token, kills, usable, named)
			}
		}
	}
}

// mostDelivering is how long it takes at most until the heirs have told the host
// everything: a claim is watched for 75 seconds, and what the host has not accepted
// comes again after a minute, or two.
const mostDelivering = 5 * time.Minute

// judgeNotices waits until the host was told what has happened, and compares.
func (r *rig) judgeNotices(ctx context.Context, f *figures) error {
	truth := map[string][]observe.EventKind{}
	again := 0 // at least: the host had these, and their records did not know
	for _, l := range r.links {
		if l.step == afterTaken || l.step == beforeCleared {
			again++
		}
		truth[l.user] = []observe.EventKind{observe.EventLinked}
		if l.named() {
			truth[l.user] = append(truth[l.user], observe.EventRelinkRequired)
		}
	}
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		told, err := r.Inbox.Told(ctx)
		if err != nil {
			return err
		}
		lost, err := told.Lost(truth)
		if err != nil {
			return err
		}
		f.Notices, f.Again, f.OutOfOrder, f.LostNotices = told.All-told.Again, told.Again, told.OutOfOrder, len(lost)
		late := time.Since(began) > mostDelivering
		if len(lost) == 0 && f.Again >= again || late {
			for _, what := range lost {
				fmt.Printf("  the host was not told: %s\n", what)
			}
			return nil
		}
	}
}
