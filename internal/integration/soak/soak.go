// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// soak is one run.
type soak struct {
	settings
	out      io.Writer
	database *services.Server
	server   *server
	patients []*pkbtest.Patient
	setup    cluster.Setup
	// own is the client that links, and looks at the links in the end.
	own     *cluster.Replica
	workers []*worker

	mu sync.Mutex
	// ended are the users whose link is known to have ended, and who have not
	// approved again yet.
	ended              map[string]bool
	lost, lostByServer int
	problems           []string
	linking            sync.WaitGroup
}

// worker is a replica, as seen from here.
type worker struct {
	*cluster.Process
	samples chan sample
	gone    chan struct{} // closed when it says nothing more
	err     error
}

// records is how many patients there are; each is linked by many users, as
// nobody would do outside of a test.
const records = 20

// run runs for s.length, or until enough is closed.
func run(ctx context.Context, out io.Writer, s settings, enough <-chan struct{}) (f figures, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k := &soak{settings: s, out: out, ended: map[string]bool{}}
	defer func() {
		if closing := k.close(); err == nil {
			err = closing
		}
	}()
	fmt.Fprintf(out, "seed %d\n", s.seed)
	if err := k.prepare(ctx); err != nil {
		return f, err
	}
	if err := k.linkAll(ctx); err != nil {
		return f, err
	}
	fmt.Fprintf(out, "%d links, %d replicas, tokens of %v, %v to go\n\n", s.links, replicas, s.tokenLife, s.length)
	if err := k.start(ctx); err != nil {
		return f, err
	}
	k.server.misbehave(s.tokenLife + s.length)
	readings, took, err := k.watch(ctx, enough)
	k.server.behave()
	if err != nil {
		return f, err
	}
	f = figures{Minutes: math.Round(took.Minutes()*100) / 100, growth: grown(readings, k.length)}
	if f.Refreshes, err = k.stop(ctx); err != nil {
		return f, err
	}
	k.linking.Wait()
	if err := k.audit(ctx); err != nil {
		return f, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	f.Lost, f.LostByServer = k.lost, k.lostByServer
	k.server.mu.Lock()
	defer k.server.mu.Unlock()
	fmt.Fprintf(out, "\nwhat refreshes met: %s\n", counted(k.server.met))
	if k.server.doublePosts > 0 {
		k.problems = append(k.problems, fmt.Sprintf("%d refresh tokens were presented twice, although their response had been sent", k.server.doublePosts))
	}
	if len(k.problems) > 0 {
		return f, errors.New(strings.Join(k.problems, "\n"))
	}
	return f, nil
}

func counted(m map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, m[name]))
	}
	return strings.Join(parts, ", ")
}

// prepare starts the database and PKB.
func (k *soak) prepare(ctx context.Context) (err error) {
	if k.database, err = services.StartPostgres(ctx); err != nil {
		if errors.Is(err, services.ErrNotInstalled) {
			err = fmt.Errorf("%w; get it with: apt-get install postgresql", err)
		}
		return err
	}
	if k.server, err = startServer(ctx, pkbtest.Config{TokenLife: k.tokenLife, SessionLife: 365 * 24 * time.Hour, KeepRequests: 1}, k.seed); err != nil {
		return err
	}
	for range records {
		k.patients = append(k.patients, k.server.pkb.AddPatient(pkbtest.Patient{}))
	}
	keys, err := keys.Generate("soak")
	if err != nil {
		return err
	}
	k.setup = cluster.Setup{DSN: k.database.DSN(), Keys: keys, PKB: k.server.url, ClientID: k.server.pkb.ClientID()}
	k.own, err = k.setup.Open(func(cfg *pkb.Config) { cfg.Now, cfg.HardMargin = nil, hardMargin })
	if err != nil {
		return err
	}
	return k.own.Store.Migrate(ctx)
}

func (k *soak) close() error {
	var errs []error
	for _, w := range k.workers {
		w.Kill()
		<-w.gone
		_ = w.Wait() // it was killed, or has ended
	}
	if k.own != nil {
		errs = append(errs, k.own.Close())
	}
	if k.server != nil {
		errs = append(errs, k.server.close())
	}
	if k.database != nil {
		errs = append(errs, k.database.Close())
	}
	return errors.Join(errs...)
}

// link links a user, or lets the patient approve again.
func (k *soak) link(ctx context.Context, i int) error {
	user := appUserID(i)
	address, pending, err := k.own.Client.Authorize(ctx, user, pkb.AllowShared())
	if err != nil {
		return err
	}
	back, err := k.server.pkb.Approve(ctx, address, k.patients[i%len(k.patients)])
	if err != nil {
		return err
	}
	k.server.expect(back.Query().Get("code"), user)
	_, err = k.own.Client.Complete(ctx, user, pending, back.Query())
	return err
}

// linkAll links everybody, spread over most of a token's life, so that refreshes
// are too.
func (k *soak) linkAll(ctx context.Context) error {
	began, over := time.Now(), k.tokenLife*3/4
	return k.each(4, func(i int) error {
		select {
		case <-time.After(time.Until(began.Add(over * time.Duration(i) / time.Duration(k.links)))):
		case <-ctx.Done():
			return ctx.Err()
		}
		return k.link(ctx, i)
	})
}

// each calls f for each link, so many at once, until one fails.
func (k *soak) each(atOnce int, f func(i int) error) error {
	var group sync.WaitGroup
	errs := make(chan error, atOnce)
	for w := range atOnce {
		group.Go(func() {
			for i := w; i < k.links; i += atOnce {
				if err := f(i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(errs)
	return <-errs
}

// start starts the replicas.
func (k *soak) start(ctx context.Context) error {
	for i := range replicas {
		o := order{Setup: k.setup, Links: k.links, Rate: k.rate, Seed: k.seed + uint64(i)}
		p, err := cluster.Start(ctx, "replica", o)
		if err != nil {
			return err
		}
		w := &worker{Process: p, samples: make(chan sample, 1), gone: make(chan struct{})}
		k.workers = append(k.workers, w)
		go k.listen(ctx, w)
	}
	return nil
}

// listen takes what a replica says, so that it never waits.
func (k *soak) listen(ctx context.Context, w *worker) {
	defer close(w.gone)
	for {
		var m message
		if w.err = w.Receive(&m); w.err != nil {
			return
		}
		switch {
		case m.Lost != nil:
			k.hasEnded(ctx, *m.Lost)
		case m.Sample != nil:
			w.samples <- *m.Sample
		default:
			k.mu.Lock()
			if len(k.problems) < 10 {
				k.problems = append(k.problems, "a caller got: "+m.Problem)
			}
			k.mu.Unlock()
		}
	}
}

// hasEnded judges the end of a link, and lets the patient approve again.
func (k *soak) hasEnded(ctx context.Context, l loss) {
	if !k.judge(l) {
		return
	}
	var i int
	if _, err := fmt.Sscanf(l.User, "app-user-%d", &i); err != nil {
		return
	}
	k.linking.Go(func() {
		for k.link(ctx, i) != nil { // the database may be away
			select {
			case <-time.After(500 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
		k.mu.Lock()
		delete(k.ended, l.User)
		k.mu.Unlock()
	})
}

// judge counts the end of a link, once.
func (k *soak) judge(l loss) (first bool) {
	excused := k.server.excused(l.User, l.Cause)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended[l.User] {
		return false
	}
	k.ended[l.User] = true
	if excused {
		k.lostByServer++
	} else {
		k.lost++
		fmt.Fprintf(k.out, "LOST: %s (%s), and PKB had withheld nothing\n", l.User, l.Cause)
	}
	return true
}

// watch reads what the replicas hold, and restarts the database in the middle.
func (k *soak) watch(ctx context.Context, enough <-chan struct{}) (readings []reading, took time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	admin, err := sql.Open(services.PostgresDriver, k.setup.DSN)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = admin.Close() }()
	admin.SetMaxOpenConns(1)

	select { // each replica sees each token come and go before anything is compared
	case <-time.After(k.tokenLife):
	case <-enough:
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	began := time.Now()
	now, partBegan := firstHalf, began
	enters := func(next part, what string) {
		now, partBegan = next, time.Now()
		fmt.Fprintf(k.out, "%9s %s\n", time.Since(began).Round(time.Second), what)
	}
	half, tick := time.NewTimer(k.length/2), time.NewTicker(max(k.length/120, 500*time.Millisecond))
	defer half.Stop()
	defer tick.Stop()
	restarted := make(chan error, 1)
	fmt.Fprintf(k.out, "%9s %10s %15s %6s %11s %9s %9s %11s\n", "time", "refreshes", "lost by server", "lost", "goroutines", "heap MB", "sockets", "PostgreSQL")
	for line := 1; ; {
		select {
		case <-enough:
			return readings, time.Since(began), nil
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-half.C:
			if now == secondHalf {
				return readings, time.Since(began), nil
			}
			enters(restarting, "stopping PostgreSQL")
			go func() { restarted <- k.restart(ctx) }()
		case err := <-restarted:
			if err != nil {
				return nil, 0, fmt.Errorf("restarting PostgreSQL: %w", err)
			}
			enters(secondHalf, "PostgreSQL is back")
			half.Reset(k.length / 2)
		case <-tick.C:
			r, err := k.read(ctx, admin)
			if err != nil {
				return nil, 0, err
			}
			r.at, r.part, r.since = time.Since(began), now, time.Since(partBegan)
			readings = append(readings, r)
			if r.at >= time.Duration(line)*k.length/10 {
				line++
				k.print(r)
			}
		}
	}
}

// restart stops the database, leaves it away for a moment, and starts it.
func (k *soak) restart(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := k.database.Stop(limited); err != nil {
		return err
	}
	select {
	case <-time.After(min(3*time.Second, k.length/20)):
	case <-ctx.Done():
	}
	return k.database.Start(ctx)
}

// read asks all replicas, and PostgreSQL.
func (k *soak) read(ctx context.Context, admin *sql.DB) (r reading, err error) {
	for _, w := range k.workers {
		if err := w.Send(sampleNow); err != nil {
			return r, err
		}
	}
	for _, w := range k.workers {
		s, err := w.sample(ctx)
		if err != nil {
			return r, err
		}
		r.replicas = append(r.replicas, s)
	}
	limited, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	const clients = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
	if admin.QueryRowContext(limited, clients).Scan(&r.clients) != nil {
		r.clients = -1
	}
	return r, nil
}

// sample waits for what a replica says when it was asked.
func (w *worker) sample(ctx context.Context) (sample, error) {
	limited, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	select {
	case s := <-w.samples:
		return s, nil
	case <-w.gone:
		select {
		case s := <-w.samples: // its last words
			return s, nil
		default:
		}
		return sample{}, fmt.Errorf("a replica ended: %w", w.err)
	case <-limited.Done():
		return sample{}, errors.New("a replica does not respond")
	}
}

func (k *soak) print(r reading) {
	var refreshes, goroutines, sockets int
	var heap float64
	for _, s := range r.replicas {
		refreshes += s.Refreshes
		goroutines, sockets = max(goroutines, s.Goroutines), max(sockets, s.Sockets)
		heap = max(heap, float64(s.Heap)/(1<<20))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	fmt.Fprintf(k.out, "%9s %10d %15d %6d %11d %9.2f %9d %11d\n",
		r.at.Round(time.Second), refreshes, k.lostByServer, k.lost, goroutines, heap, sockets, r.clients)
}

// stop ends the replicas, in order, and returns how many refreshes they made.
func (k *soak) stop(ctx context.Context) (refreshes int, err error) {
	answers := map[string]int{}
	for _, w := range k.workers {
		if err := w.Send(stopNow); err != nil {
			return 0, err
		}
	}
	for _, w := range k.workers {
		last, err := w.sample(ctx)
		if err != nil {
			return 0, err
		}
		refreshes += last.Refreshes
		for kind, n := range last.Answers {
			answers[kind] += n
		}
		<-w.gone
	}
	fmt.Fprintf(k.out, "\nwhat callers got: %s\n", counted(answers))
	return refreshes, nil
}

// audit asks for every link's token once more, without faults. A link whose
// last refresh is uncertain is found out when its old token has expired.
func (k *soak) audit(ctx context.Context) error {
	fmt.Fprintf(k.out, "looking at each of the %d links\n", k.links)
	limited, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	return k.each(16, func(i int) error {
		user := appUserID(i)
		for {
			_, err := k.own.Client.Token(limited, user)
			var relink *pkb.RelinkError
			switch {
			case err == nil:
				return nil
			case errors.As(err, &relink):
				k.judge(loss{user, relink.Cause})
				return nil
			case ctx.Err() != nil:
				return ctx.Err()
			case limited.Err() != nil || !errors.Is(err, pkb.ErrTryLater) && !errors.Is(err, pkb.ErrStore):
				k.mu.Lock()
				k.lost++
				fmt.Fprintf(k.out, "LOST: %s does not work at the end: %v\n", user, err)
				k.mu.Unlock()
				return nil //nolint:nilerr // it is counted
			}
			select {
			case <-time.After(500 * time.Millisecond):
			case <-limited.Done():
			}
		}
	})
}
