// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/pkb"
)

// inherit lets other processes call PKB for the users of links, and puts what they
// find where into says. stop ends them; with tend they tend all links until then.
func inherit(ctx context.Context, setup cluster.Setup, processes int, tend bool, links []*link, into func(*link) *report) (stop func(), err error) {
	all := make([]*cluster.Process, 0, processes)
	stop = func() {
		for _, p := range all {
			p.Kill()
			_ = p.Wait() // it was killed
		}
	}
	shares := make([][]*link, processes)
	for i, l := range links {
		shares[i%processes] = append(shares[i%processes], l)
	}
	for _, share := range shares {
		o := order{Setup: setup, Tend: tend}
		for _, l := range share {
			o.Users = append(o.Users, l.user)
		}
		p, err := cluster.Start(ctx, "heir", o)
		if err != nil {
			return stop, err
		}
		all = append(all, p)
	}
	for i, share := range shares {
		var found []report
		if err := all[i].Receive(&found); err != nil {
			return stop, err
		}
		for n, l := range share {
			*into(l) = found[n]
		}
	}
	return stop, nil
}

func heir() error {
	o, inbox, err := begin()
	if err != nil {
		return err
	}
	replica, err := o.Setup.Open(func(cfg *pkb.Config) { cfg.Notify = inbox.Take })
	if err != nil {
		return err
	}
	if o.Tend {
		go tendOn(replica.Client, 30*time.Second/time.Duration(max(o.Setup.Speed, 1)))
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
	select {} // killed when nothing more is wanted of it
}

// tendOn tends, and begins anew after a while to see what is due: the clock may go
// fast, and the timers of Tend do not.
func tendOn(client *pkb.Client, every time.Duration) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), every)
		_ = client.Tend(ctx) // nil, as the client is not closed
		cancel()
	}
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
