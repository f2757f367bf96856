// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// rig is everything at work.
type rig struct {
	*cluster.Cluster
	size
	out      io.Writer
	db       *table
	replicas []*cluster.Process
	users    []string // that are real
	patients []*pkbtest.Patient
	// truth are the kinds of what has happened to each user, in order.
	truth map[string][]observe.EventKind
}

// tend does everything, and prints what it does.
func tend(ctx context.Context, out io.Writer, s size) (f figures, err error) {
	c, err := cluster.New(ctx)
	if err != nil {
		return f, err
	}
	r := &rig{Cluster: c, size: s, out: out, truth: map[string][]observe.EventKind{}}
	defer func() { err = errors.Join(err, r.end(), c.Close()) }()
	if r.db, err = openTable(c.Setup().DSN); err != nil {
		return f, err
	}
	if err := r.populate(ctx); err != nil {
		return f, err
	}
	for range s.replicas {
		if err := r.start(ctx, -1); err != nil {
			return f, err
		}
	}
	if err := r.deliver(ctx); err != nil {
		return f, err
	}
	if err := r.compare(ctx, &f); err != nil {
		return f, err
	}
	if err := r.judge(ctx, &f); err != nil {
		return f, err
	}
	f.DoublePosts = c.PKB.ReusedRefreshTokens()
	return f, nil
}

// judge compares what the host was told with what has happened.
func (r *rig) judge(ctx context.Context, f *figures) error {
	told, err := r.Inbox.Told(ctx)
	if err != nil {
		return err
	}
	f.Again, f.OutOfOrder = told.Again, told.OutOfOrder
	for _, kinds := range told.Kinds {
		f.Notices += len(kinds)
		if slices.Contains(kinds, observe.EventEndsSoon) {
			f.Warned++
		}
	}
	lost, err := told.Lost(r.truth)
	f.LostNotices = len(lost)
	for _, what := range lost {
		fmt.Fprintf(r.out, "the host was not told: %s\n", what)
	}
	return err
}

// end ends the processes.
func (r *rig) end() error {
	for _, p := range r.replicas {
		p.Kill()
		_ = p.Wait() // killed
	}
	if r.db == nil {
		return nil
	}
	return r.db.Close()
}

// start starts a process: in the place of the i-th, or one more.
func (r *rig) start(ctx context.Context, i int) error {
	p, err := cluster.Start(ctx, "replica", message{})
	if err != nil {
		return err
	}
	if i < 0 {
		r.replicas = append(r.replicas, p)
		return nil
	}
	r.replicas[i] = p
	return nil
}

// populate makes the links that will be due, a tenth of them days before the others,
// and the rows that will not.
func (r *rig) populate(ctx context.Context) error {
	began := time.Now()
	client, err := r.Setup().Open(func(cfg *pkb.Config) {
		configure(cfg)
		cfg.Now, cfg.Notify = r.PKB.Now, func(context.Context, observe.Notice) error { return errFull }
	})
	if err != nil {
		return err
	}
	for i := range r.size.due {
		r.users = append(r.users, fmt.Sprintf("user-%d", i))
		r.patients = append(r.patients, r.PKB.AddPatient(pkbtest.Patient{}))
	}
	early := r.size.due / 10
	err = r.link(ctx, client.Client, 0, early)
	r.PKB.Advance(earlier + time.Hour)
	for _, user := range r.users[:early] {
		r.truth[user] = append(r.truth[user], observe.EventEndsSoon)
	}
	if err == nil {
		err = r.link(ctx, client.Client, early, r.size.due)
	}
	if err := errors.Join(err, client.Close()); err != nil {
		return err
	}
	fmt.Fprintf(r.out, "%d links made in %v, half of them by Import\n", len(r.users), time.Since(began).Round(time.Millisecond))
	return r.db.fill(ctx, r.users[0], r.links-r.size.due, r.PKB.Now().Add(100*24*time.Hour))
}

// link links the users from one to another, every second one by Import.
func (r *rig) link(ctx context.Context, client *pkb.Client, from, to int) error {
	var group sync.WaitGroup
	errs := make([]error, to)
	free := make(chan struct{}, 4)
	for i := from; i < to; i++ {
		free <- struct{}{}
		group.Go(func() {
			defer func() { <-free }()
			link := cluster.Link
			if i%2 == 0 {
				link = cluster.Import
			}
			errs[i] = link(ctx, r.PKB, r.patients[i], client, r.users[i])
		})
		r.truth[r.users[i]] = append(r.truth[r.users[i]], observe.EventLinked)
	}
	group.Wait()
	return errors.Join(errs...)
}

// tending lets all processes tend, and returns when they have begun.
func (r *rig) tending(change func(i int, o *order)) error {
	for i, p := range r.replicas {
		o := order{Setup: r.Setup(), Tend: true, Host: hostPlan{Seed: r.seed + uint64(i), Fails: 0.25, Hang: r.window / 10}} //nolint:gosec // a small number
		change(i, &o)
		if err := p.Send(message{Order: &o}); err != nil {
			return err
		}
	}
	return nil
}

// stopped stops all processes and returns the sum of what they report.
func (r *rig) stopped() (sum report, err error) {
	for _, p := range r.replicas {
		if err := p.Send(message{Stop: true}); err != nil {
			return sum, err
		}
	}
	return r.reports()
}

// reports waits for the processes, and adds up what they report.
func (r *rig) reports() (sum report, err error) {
	for _, p := range r.replicas {
		var of report
		if err := p.Receive(&of); err != nil {
			return sum, err
		}
		if of.Errors > 0 {
			err = errors.Join(err, fmt.Errorf("%d tokens were not served: %s", of.Errors, of.Example))
		}
		sum.Statements += of.Statements
		sum.CPU += of.CPU
		sum.Batches += of.Batches
		sum.BatchStatements += of.BatchStatements
		sum.Rows += of.Rows
		sum.Due = slices.Compact(slices.Sorted(slices.Values(append(sum.Due, of.Due...))))
	}
	return sum, err
}

// advance moves the clock of the PKB and of the processes that tend.
func (r *rig) advance(d time.Duration) error {
	r.PKB.Advance(d)
	clock := r.Setup().Clock
	for _, p := range r.replicas {
		if err := p.Send(message{Clock: &clock}); err != nil {
			return err
		}
	}
	return nil
}

// deliver delivers what is owed, while the last process dies with what the host has
// taken from it, and another one takes its place.
func (r *rig) deliver(ctx context.Context) error {
	began, victim := time.Now(), len(r.replicas)-1
	err := r.tending(func(i int, o *order) {
		if i == victim {
			o.Host.DieWith = int64(r.size.due / 10)
		}
	})
	if err != nil {
		return err
	}
	if err := r.replicas[victim].Wait(); !cluster.Killed(err) {
		return fmt.Errorf("the process that was to die ended by itself: %w", err)
	}
	if err := r.start(ctx, victim); err != nil {
		return err
	}
	o := order{Setup: r.Setup(), Tend: true}
	if err := r.replicas[victim].Send(message{Order: &o}); err != nil {
		return err
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	did, err := r.stopped()
	if err != nil {
		return err
	}
	fmt.Fprintf(r.out, "notices delivered in %v, %d statements\n", time.Since(began).Round(time.Millisecond), did.Statements)
	return nil
}

// settle moves the clock until nothing is due soon: what the host has refused comes
// again after minutes, and what a process held that has died, after 75 seconds. What
// is due and not done within a moment is waited for by the clock as well.
func (r *rig) settle(ctx context.Context) error {
	const soon, mostSteps = 3 * time.Hour, 500
	had := -1
	for range mostSteps {
		next, err := r.db.next(ctx, r.users)
		if err != nil {
			return err
		}
		told, err := r.Inbox.Told(ctx)
		if err != nil {
			return err
		}
		switch left := next.Sub(r.PKB.Now()); {
		case left > soon:
			return nil
		case left > 0:
			err = r.advance(left + time.Second)
		case told.All == had:
			err = r.advance(20 * time.Second)
		}
		if err != nil {
			return err
		}
		had = told.All
		time.Sleep(250 * time.Millisecond) // they work meanwhile
	}
	return errors.New("something is always due")
}

// compare lets callers refresh all links, then Tend, then callers once more.
func (r *rig) compare(ctx context.Context, f *figures) error {
	if _, err := r.bare(r.users, time.Millisecond); err != nil { // the first time everything is cold
		return err
	}
	before, err := r.bare(r.users, r.pace)
	if err != nil {
		return err
	}
	f.Ended = max(1, len(r.users)/50)
	for i := range f.Ended {
		r.PKB.EndSessions(r.patients[len(r.users)-1-i])
		user := r.users[len(r.users)-1-i]
		r.truth[user] = append(r.truth[user], observe.EventRelinkRequired)
	}
	r.PKB.Advance(keepWarm + time.Hour)
	began := r.PKB.Now()
	if f.Due, err = r.db.due(ctx, began); err != nil {
		return err
	}
	did, err := r.tend(ctx, began)
	if err != nil {
		return err
	}
	if f.Refreshed, err = r.db.refreshed(ctx, began); err != nil {
		return err
	}
	if f.Ended, err = r.db.ended(ctx); err != nil {
		return err
	}
	after, err := r.bare(r.users[:len(r.users)-f.Ended], r.pace)
	if err != nil {
		return err
	}
	f.QueriesPerBatch = float64(did.BatchStatements) / float64(did.Batches)
	f.cost(did, before, after, r.out)
	if f.Indexed, err = r.db.indexed(ctx, r.out, did.Due, r.PKB.Now()); err != nil {
		return err
	}
	return nil
}

// bare lets the processes ask for the token of each user, which has expired.
func (r *rig) bare(users []string, pause time.Duration) (did measured, err error) {
	r.PKB.Advance(11 * time.Minute)
	before := r.PKB.Refreshes()
	for i, p := range r.replicas {
		o := order{Setup: r.Setup(), KeepWarm: keepWarm, Pause: pause}
		for n := i; n < len(users); n += len(r.replicas) {
			o.Users = append(o.Users, users[n])
		}
		if err := p.Send(message{Order: &o}); err != nil {
			return did, err
		}
	}
	did.report, err = r.reports()
	did.refreshes = r.PKB.Refreshes() - before
	return did, err
}

// tend lets the processes tend what is due, for as long as was asked for, and then
// until what the host has refused of it is delivered.
func (r *rig) tend(ctx context.Context, began time.Time) (did measured, err error) {
	before := r.PKB.Refreshes()
	if err := r.tending(func(_ int, o *order) { o.KeepWarm = keepWarm }); err != nil {
		return did, err
	}
	if err := r.await(ctx, began); err != nil {
		return did, err
	}
	if did.report, err = r.stopped(); err != nil {
		return did, err
	}
	did.refreshes = r.PKB.Refreshes() - before
	last, err := r.db.last(ctx)
	if err != nil {
		return did, err
	}
	took := last.Sub(began)
	fmt.Fprintf(r.out, "asked %d times what is due, with %d statements for %d rows\n", did.Batches, did.BatchStatements, did.Rows)
	fmt.Fprintf(r.out, "%d links were refreshed in %v, %.1f a second and process, of at most 10: so many processes keep %.1f million links warm that nobody uses for a day\n",
		did.refreshes, took.Round(time.Millisecond), float64(did.refreshes)/took.Seconds()/float64(len(r.replicas)), 10*float64(len(r.replicas))*keepWarm.Seconds()/1e6)
	if err := r.tending(func(_ int, o *order) { o.KeepWarm = keepWarm }); err != nil {
		return did, err
	}
	if err := r.settle(ctx); err != nil {
		return did, err
	}
	_, err = r.stopped()
	return did, err
}

// await waits until nothing is due any more, for as long as was asked for at most.
func (r *rig) await(ctx context.Context, now time.Time) error {
	for end := time.Now().Add(r.window); time.Now().Before(end); {
		left, err := r.db.idle(ctx, now.Add(-keepWarm))
		if err != nil || left == 0 {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
	return nil
}

// measured is what so many refreshes took.
type measured struct {
	report
	refreshes int
}

func (m measured) statements() float64 { return float64(m.Statements) / float64(m.refreshes) }
func (m measured) cpu() float64        { return float64(m.CPU.Microseconds()) / float64(m.refreshes) }

// cost compares a refresh by a sweep with those by callers.
func (f *figures) cost(did, before, after measured, out io.Writer) {
	statements := (before.statements() + after.statements()) / 2
	cpu := (before.cpu() + after.cpu()) / 2
	f.StatementsRatio, f.CPURatio = did.statements()/statements, did.cpu()/cpu
	f.CostRatio = max(f.StatementsRatio, f.CPURatio)
	fmt.Fprintf(out, "%-28s %10s %12s %16s\n", "a refresh by", "refreshes", "statements", "processor, µs")
	for _, of := range []struct {
		name string
		measured
	}{{"Client.Token, before", before}, {"Client.Tend", did}, {"Client.Token, after", after}} {
		fmt.Fprintf(out, "%-28s %10d %12.3f %16.0f\n", of.name, of.refreshes, of.statements(), of.cpu())
	}
}
