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
// PKB had spent the refresh token and its answer died with the process.
// double_posts counts refresh tokens that were presented twice otherwise.
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
	"sync/atomic"
	"syscall"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// The steps at which a process dies.
const (
	beforeIntent = "before the intent is written"
	afterIntent  = "after the intent, before the POST"
	duringPost   = "while PKB works on the POST"
	afterAnswer  = "when the answer arrives"
	beforeSave   = "before the answer is saved"
	duringSave   = "while the answer is being saved"
	afterSave    = "after the answer is saved"
	anyMoment    = "at any moment"
)

var steps = []string{beforeIntent, afterIntent, duringPost, afterAnswer, beforeSave, duringSave, afterSave, anyMoment}

// order is what a process is to do.
type order struct {
	Setup cluster.Setup
	User  string
	// DieAt is a step; "" for one that lives.
	DieAt string
	// After is how long into the step.
	After time.Duration
}

// report is what a process found.
type report struct {
	// Usable: PKB answered a call for the patient.
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
	fmt.Printf("%-36s %-20s %6s %7s %6s %12s\n", "killed", "access token", "kills", "usable", "named", "unexplained")
	for i, step := range steps {
		for _, early := range []bool{false, true} {
			var at figures
			for n := range rounds {
				user := fmt.Sprintf("user-%d-%t-%d", i, early, n)
				if err := at.round(ctx, c, random, user, step, early); err != nil {
					return f, fmt.Errorf("killed %s: %w", step, err)
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
			f.DoublePosts += at.DoublePosts
		}
	}
	return f, nil
}

// round kills one process and judges what it left behind.
func (f *figures) round(ctx context.Context, c *cluster.Cluster, random *rand.Rand, user, step string, early bool) error {
	if err := c.Link(ctx, user); err != nil {
		return err
	}
	reused := c.PKB.ReusedRefreshTokens()
	age := 11 * time.Minute // of 10
	if early {
		age = 9 * time.Minute // due since 8.5, good until 9.5
	}
	c.PKB.Advance(age)
	o := order{Setup: c.Setup(), User: user, DieAt: step}
	if step == duringSave {
		o.After = time.Duration(random.IntN(600)) * time.Microsecond
	}
	arrived, dead := make(chan struct{}), make(chan struct{})
	switch step {
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
	}
	v, err := cluster.Start(ctx, "victim", o)
	if err != nil {
		return err
	}
	defer v.Kill()
	switch step {
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
	f.Kills++

	if early {
		// The old token serves on, whatever became of the refresh.
		now, err := inherit(ctx, c, user)
		if err != nil {
			return err
		}
		if !now.Usable {
			f.Unexplained++
			fmt.Printf("  %s: while the token was still good: %+v\n", user, now)
			return nil
		}
	}
	c.PKB.Advance(4 * time.Minute) // the lease is over, and the token
	end, err := inherit(ctx, c, user)
	if err != nil {
		return err
	}
	again := c.PKB.ReusedRefreshTokens() - reused
	switch {
	case end.Usable:
		f.Usable++
		f.DoublePosts += again
	case end.Cause == string(pkb.CauseOutcomeUnknown) && again == 1:
		f.Named++
	default:
		f.Unexplained++
		f.DoublePosts += again
		fmt.Printf("  %s: %+v, and PKB saw %d spent tokens\n", user, end, again)
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

// inherit lets another process call PKB for user.
func inherit(ctx context.Context, c *cluster.Cluster, user string) (report, error) {
	p, err := cluster.Start(ctx, "heir", order{Setup: c.Setup(), User: user})
	if err != nil {
		return report{}, err
	}
	defer func() { p.Kill(); _ = p.Wait() }() // it may wait for the lease of the dead
	var r report
	return r, p.Receive(&r)
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
	var r report
	_, err = replica.Client.ForUser(o.User).Self(context.Background())
	var relink *pkb.RelinkError
	switch {
	case err == nil:
		r.Usable = true
	case errors.As(err, &relink):
		r.Cause = string(relink.Cause)
	default:
		r.Error = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return err
	}
	select {} // killed when the answer is read
}

func victim() error {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return err
	}
	replica, err := o.Setup.Open(func(cfg *pkb.Config) {
		cfg.Store = &dyingStore{Store: cfg.Store, order: o}
		cfg.HTTPClient = &http.Client{Transport: dyingTransport{o}}
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
		if _, err := replica.Client.Token(context.Background(), o.User); err != nil {
			return err
		}
	}
	if err := replica.Client.Close(context.Background()); err != nil { // an early refresh is in the background
		return err
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

// dyingTransport dies when an answer arrives.
type dyingTransport struct{ order order }

// RoundTrip implements http.RoundTripper.
func (t dyingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if t.order.DieAt == afterAnswer && strings.HasSuffix(req.URL.Path, "/apiToken.action") {
		die()
	}
	return resp, err
}
