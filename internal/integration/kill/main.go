// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command kill ends processes with SIGKILL at each step of a refresh, over a
// PostgreSQL database, and lets other processes take over:
//
//	go run ./internal/integration/kill
//
// It ends with one line of JSON, and with status 1 if anything is unexplained.
// After each kill the link is either usable, which is tried with a call for the
// patient, or its record names the cause: outcome_unknown, and that only where
// PKB had spent the refresh token and its response was lost with the process.
// double_posts counts refresh tokens that were presented twice otherwise.
//
// Who takes over must have watched the lease of the dead stand still for 75
// seconds, and does so here: all the heirs at once.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// The steps at which a process dies.
const (
	beforeIntent = "before the intent is written"
	afterIntent  = "after the intent, before the POST"
	duringPost   = "while PKB works on the POST"
	afterAnswer  = "when the response arrives"
	beforeSave   = "before the response is saved"
	duringSave   = "while the response is being saved"
	afterSave    = "after the response is saved"
	anyMoment    = "at any moment"
)

var steps = []string{beforeIntent, afterIntent, duringPost, afterAnswer, beforeSave, duringSave, afterSave, anyMoment}

// order is what a process is to do.
type order struct {
	Setup cluster.Setup
	// Users are one, who is called for until the process dies, or those that an
	// heir takes over.
	Users []string
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

// figures are the line of JSON.
type figures struct {
	Kills       int `json:"kills"`
	Usable      int `json:"usable"`
	Named       int `json:"named"`
	Unexplained int `json:"unexplained"`
	DoublePosts int `json:"double_posts"`
}

func main() {
	log.SetFlags(0)
	if cluster.Role() != "" {
		log.Fatal(play())
	}
	rounds := flag.Int("rounds", 5, "kills at each step, with the old access token over and with it still good")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the moments that are random")
	flag.Parse()
	f, err := run(context.Background(), *rounds, *seed)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(f)
	}
	if err != nil {
		log.Fatal(err)
	}
	if f.Unexplained+f.DoublePosts > 0 {
		os.Exit(1)
	}
}

// play is what a process of ours does, until it is killed: it returns when
// something went wrong.
func play() error {
	if cluster.Role() == "victim" {
		return victim()
	}
	return heir()
}

// link is one that a process was killed with.
type link struct {
	user    string
	patient *pkbtest.Patient
	step    string
	early   bool // the old access token was still good
	// now is what was found before the token was over, if it was early; end, what
	// was in the end.
	now, end report
}

// heirs is how many processes take over.
const heirs = 4

func run(ctx context.Context, rounds int, seed uint64) (f figures, err error) {
	fmt.Printf("seed %d\n", seed)
	c, err := cluster.New(ctx)
	if err != nil {
		return f, err
	}
	defer func() {
		if closing := c.Close(); err == nil {
			err = closing
		}
	}()
	random := rand.New(rand.NewPCG(seed, seed))
	reused := c.PKB.ReusedRefreshTokens()
	var links []*link
	for _, step := range steps {
		killed, err := killAt(ctx, c, random, step, rounds)
		if err != nil {
			return f, fmt.Errorf("killed %s: %w", step, err)
		}
		links = append(links, killed...)
	}
	c.PKB.Advance(4 * time.Minute) // all tokens are over
	fmt.Printf("killed %d processes; their links are taken over\n\n", len(links))
	if err := inherit(ctx, c, heirs, links, func(l *link) *report { return &l.end }); err != nil {
		return f, err
	}
	fmt.Printf("%-36s %-20s %6s %7s %6s %12s\n", "killed", "access token", "kills", "usable", "named", "unexplained")
	for _, step := range steps {
		for _, early := range []bool{false, true} {
			var at figures
			for _, l := range links {
				if l.step == step && l.early == early {
					at.judge(l, c.PKB.LiveSessions(l.patient))
				}
			}
			token := "over"
			if early {
				token = "still good"
			}
			fmt.Printf("%-36s %-20s %6d %7d %6d %12d\n", step, token, at.Kills, at.Usable, at.Named, at.Unexplained)
			f.Kills += at.Kills
			f.Usable += at.Usable
			f.Named += at.Named
			f.Unexplained += at.Unexplained
		}
	}
	f.DoublePosts = c.PKB.ReusedRefreshTokens() - reused - f.Named
	return f, nil
}

// judge says what became of a link. PKB ends a session whose token comes twice.
func (f *figures) judge(l *link, sessions int) {
	f.Kills++
	switch {
	case l.early && !l.now.Usable:
		f.Unexplained++
		fmt.Printf("  %s: while the token was still good: %+v\n", l.user, l.now)
	case l.end.Usable:
		f.Usable++
	case l.end.Cause == string(observe.CauseOutcomeUnknown) && sessions == 0:
		f.Named++
	default:
		f.Unexplained++
		fmt.Printf("  %s: %+v, and PKB has %d sessions\n", l.user, l.end, sessions)
	}
}

// killAt kills processes at one step, each with a link of its own: so many with
// the old access token over, and as many with it still good.
func killAt(ctx context.Context, c *cluster.Cluster, random *rand.Rand, step string, rounds int) (links []*link, err error) {
	var over, good []*link
	for n := range 2 * rounds {
		l := &link{user: fmt.Sprintf("%s-%d", step, n), patient: c.PKB.AddPatient(pkbtest.Patient{}), step: step, early: n >= rounds}
		if n == rounds {
			c.PKB.Advance(2 * time.Minute)
		}
		if err := cluster.Link(ctx, c.PKB, l.patient, c.Client, l.user); err != nil {
			return nil, err
		}
		if l.early {
			good = append(good, l)
		} else {
			over = append(over, l)
		}
	}
	c.PKB.Advance(9 * time.Minute) // of 10: due since 8.5, good until 9.5
	for _, l := range good {
		if err := kill(ctx, c, random, l); err != nil {
			return nil, err
		}
	}
	// The old token serves on, whatever became of the refresh.
	if err := inherit(ctx, c, 1, good, func(l *link) *report { return &l.now }); err != nil {
		return nil, err
	}
	for _, l := range over {
		if err := kill(ctx, c, random, l); err != nil {
			return nil, err
		}
	}
	return append(over, good...), nil
}

// kill kills one process.
func kill(ctx context.Context, c *cluster.Cluster, random *rand.Rand, l *link) error {
	o := order{Setup: c.Setup(), Users: []string{l.user}, DieAt: l.step}
	if l.step == duringSave {
		o.After = time.Duration(random.IntN(600)) * time.Microsecond
	}
	arrived, dead := make(chan struct{}), make(chan struct{})
	switch l.step {
	case duringPost:
		c.PKB.Next(pkbtest.Token, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(arrived)
				<-dead
				next.ServeHTTP(w, r)
			})
		})
	case anyMoment:
		c.PKB.Next(pkbtest.Token, pkbtest.Delay(20*time.Millisecond))
		defer c.PKB.ClearFaults() // it may not have come so far
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
		time.Sleep(time.Duration(random.IntN(60_000)) * time.Microsecond)
		v.Kill()
	}
	err = v.Wait()
	close(dead)
	if !killed(err) {
		return fmt.Errorf("the process ended by itself: %w", err)
	}
	return nil
}

// killed reports whether a process ended with SIGKILL.
func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// inherit lets other processes call PKB for the users of links, and puts what they
// find where into says.
func inherit(ctx context.Context, c *cluster.Cluster, processes int, links []*link, into func(*link) *report) error {
	all := make([]*cluster.Process, processes)
	shares := make([][]*link, processes)
	for i, l := range links {
		shares[i%processes] = append(shares[i%processes], l)
	}
	for i, share := range shares {
		o := order{Setup: c.Setup()}
		for _, l := range share {
			o.Users = append(o.Users, l.user)
		}
		p, err := cluster.Start(ctx, "heir", o)
		if err != nil {
			return err
		}
		defer func() { p.Kill(); _ = p.Wait() }()
		all[i] = p
	}
	for i, share := range shares {
		var found []report
		if err := all[i].Receive(&found); err != nil {
			return err
		}
		for n, l := range share {
			*into(l) = found[n]
		}
	}
	return nil
}

func heir() error {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return err
	}
	replica, err := o.Setup.Open(func(*pkb.Config) {})
	if err != nil {
		return err
	}
	found := make([]report, len(o.Users))
	var calls sync.WaitGroup
	for i, user := range o.Users {
		calls.Go(func() { found[i] = call(replica.Client, user) })
	}
	calls.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		return err
	}
	select {} // killed when the response is read
}

// mostPatience is how long the patient of a dead process hears "try again later" at
// most: the lease is watched for 75 seconds, and the rest is for a busy machine.
const mostPatience = 3 * time.Minute

// call calls PKB for a user, again and again as long as that is what it is told.
func call(client *pkb.Client, user string) (r report) {
	for began := time.Now(); ; {
		_, err := client.ForUser(user).Self(context.Background())
		var relink *pkb.RelinkError
		switch {
		case err == nil:
			return report{Usable: true}
		case errors.As(err, &relink):
			return report{Cause: string(relink.Cause)}
		case time.Since(began) > mostPatience:
			return report{Error: err.Error()}
		}
		time.Sleep(time.Second) // as a patient would
	}
}

func victim() error {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return err
	}
	refreshed := make(chan struct{}, 1)
	replica, err := o.Setup.Open(func(cfg *pkb.Config) {
		cfg.Store = &dyingStore{Store: cfg.Store, order: o}
		cfg.HTTPClient = &http.Client{Transport: dyingTransport{o}}
		cfg.OnEvent = func(e observe.Event) {
			if e.Kind == observe.EventRefreshed {
				refreshed <- struct{}{}
			}
		}
	})
	if err != nil {
		return err
	}
	if o.DieAt == anyMoment {
		if err := json.NewEncoder(os.Stdout).Encode("here"); err != nil {
			return err
		}
	}
	for range 2 { // the first reads the record, the second sees that a refresh is due
		if _, err := replica.Client.Token(context.Background(), o.Users[0]); err != nil {
			return err
		}
	}
	select {
	case <-refreshed: // an early refresh is in the background
	case <-time.After(time.Minute):
		return errors.New("nothing was refreshed")
	}
	if o.DieAt == anyMoment {
		die()
	}
	return errors.New("outlived the refresh")
}

// die ends the process as an operating system does it.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// dyingStore dies around a save: the first one writes the intent, the second
// one the answer.
type dyingStore struct {
	tokenstore.Store
	order order
	saves atomic.Int32
}

// Save implements tokenstore.Store.
func (s *dyingStore) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	n := s.saves.Add(1)
	step := s.order.DieAt
	if n == 1 && step == beforeIntent || n == 2 && step == beforeSave {
		die()
	}
	if n == 2 && step == duringSave {
		go func() {
			time.Sleep(s.order.After)
			die()
		}()
	}
	saved, err := s.Store.Save(ctx, r)
	if n == 1 && step == afterIntent || n == 2 && (step == afterSave || step == duringSave) {
		die()
	}
	return saved, err
}

// dyingTransport dies when a response arrives.
type dyingTransport struct{ order order }

// RoundTrip implements http.RoundTripper.
func (t dyingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if t.order.DieAt == afterAnswer && strings.HasSuffix(req.URL.Path, "/apiToken.action") {
		die()
	}
	return resp, err
}
