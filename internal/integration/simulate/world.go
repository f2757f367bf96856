// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/tokenstore"
)

// design is a way to keep tokens alive.
type design struct {
	name string
	ours bool
	// start starts it in a process.
	start func(p *process) keeper
}

// keeper is a design at work in one process.
type keeper interface {
	// link keeps the first pair of an authorization.
	link(ctx context.Context, s *session, answer []byte) error
	// token returns an access token; errLost, or an error that wraps it, when
	// the design itself says that the patient must approve again. rejected is one
	// that the API did not take, or "".
	token(ctx context.Context, s *session, rejected string) (string, error)
	// rest waits until it does nothing by itself any more; its process ends.
	rest()
	close()
}

// errLost: the link has ended. errUnnamed: with a cause for which the server
// gave no reason. errNone: there is no link at all.
var (
	errLost    = errors.New("the link has ended")
	errUnnamed = errors.New("without a cause that fits")
	errNone    = errors.New("there is no link")
)

// patienceOfPatients is how long somebody hears that it will work later, with
// nothing wrong between them and PKB, before they approve again.
const patienceOfPatients = 5 * time.Hour

// maxMissed is how often in a row they may hear that there is no link, though there
// is.
const maxMissed = 2

// replica is a process and what runs in it.
type replica struct {
	*process
	keeper keeper
}

// world is a server, a database, replicas, and users.
type world struct {
	design design
	seed   uint64
	number uint64
	each   int64 // refreshes of one user
	// wrongClocks: clocks are off by minutes and hours, and jump, and machines are
	// suspended. In two of three worlds clocks are as they should be.
	wrongClocks bool
	began       time.Time
	troubles    []trouble
	tally       tally
	young       int // users who have not refreshed often enough
	server      *server
	told        *told
	sweeps      *session                    // nobody's: of queries for what is due, in which nothing goes wrong by itself
	imported    sync.Map                    // which authorizations the imported ones are, by what they are called
	quiet       bool                        // the users' lives are over, and nothing goes wrong any more
	records     database[tokenstore.Record] // of ours
	rows        database[row]               // of the others
	locks       locks
	late        sync.WaitGroup

	mu       sync.Mutex
	replicas [replicas]*replica
	buried   []*replica
	down     time.Time // so long nobody can reach the database
	version  uint64
}

// newWorld is called in its bubble, where time is simulated.
func newWorld(d design, seed, number uint64, each int64) *world {
	w := &world{design: d, seed: seed, number: number, each: each, young: usersPerWorld, wrongClocks: number%3 == 0, began: time.Now()}
	w.server = &server{sessions: map[string]*session{}, tally: &w.tally}
	w.told, w.sweeps = &told{world: w}, &session{index: usersPerWorld, looked: map[*process]look{}, calm: true}
	if d.ours {
		w.young -= idleUsers
		w.server.told = w.told
	}
	for i := range usersPerWorld {
		user := userName(i)
		w.server.sessions[user] = &session{user: user, index: uint64(i)}
	}
	w.troubles = newTroubles(w.random(0))
	return w
}

func userName(i int) string { return fmt.Sprintf("user%d", i) }

// random returns dice of the world's own.
func (w *world) random(of uint64) *rand.Rand { return rand.New(rand.NewPCG(w.seed, w.number<<32|of)) }

func (w *world) session(user string) *session { return w.server.sessions[user] }

func (w *world) isCalm(s *session) bool {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	return s.calm || w.quiet
}

// replica returns the n-th replica: a new one if it has died.
func (w *world) replica(n int) *replica {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.replicas[n]
	if r == nil || r.dead.Load() {
		if r != nil {
			w.buried = append(w.buried, r)
		}
		dice := w.random(1 + uint64(len(w.buried))<<8 | uint64(n))
		off := random(dice, 2*maxSkew) - maxSkew
		if w.wrongClocks && dice.IntN(3) > 0 {
			off = random(dice, 2*maxWrong) - maxWrong
			if dice.IntN(2) == 0 {
				off /= time.Duration(maxWrong / (5 * time.Minute)) // minutes are as many as hours
			}
		}
		p := &process{world: w, clock: newClock(off)}
		p.ctx, p.end = context.WithCancel(context.Background())
		r = &replica{p, w.design.start(p)}
		w.replicas[n] = r
	}
	return r
}

// isDown reports whether the database is away, with its primary.
func (w *world) isDown() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Before(w.down)
}

// failover loses the primary, and with it the last write or two of each row that
// was written in the last moment. The standby takes its place after a while.
func (w *world) failover(dice *rand.Rand) {
	w.mu.Lock()
	if time.Since(w.down) < failoverRest && !w.down.IsZero() {
		w.mu.Unlock()
		return
	}
	now := time.Now()
	w.down = now.Add(minFailover + random(dice, maxFailover))
	w.mu.Unlock()
	for i := range usersPerWorld {
		s, n := w.session(userName(i)), 1+dice.IntN(2)
		if w.isCalm(s) {
			continue
		}
		had, has, lost := w.rows.lose(s.user, n, now.Add(-lostMoment), func(row, row, pairID) {})
		if w.design.ours {
			had, has, lost = w.records.lose(s.user, n, now.Add(-lostMoment), w.told.lost)
		}
		if lost {
			w.server.loses(s, had, has)
		}
	}
}

// lags returns what the next read of a row sees that is being written.
func (w *world) lags(s *session) sight {
	if w.isCalm(s) {
		return newest
	}
	dice := w.chance(s)
	if dice.Float64() >= lagAt {
		return newest
	}
	return [...]sight{older, absent}[dice.IntN(2)]
}

// run lets all users live until each has refreshed often enough.
func (w *world) run() {
	var users sync.WaitGroup
	for _, s := range w.server.sessions {
		if w.design.ours && s.isIdle() {
			users.Go(func() { w.idle(s) })
		} else {
			users.Go(func() { w.live(s) })
		}
	}
	users.Wait()
	if w.design.ours {
		w.deliver()
	}
	all := slices.DeleteFunc(append(w.buried, w.replicas[:]...), func(r *replica) bool { return r == nil })
	for _, r := range all {
		r.end()
		r.keeper.rest()
	}
	w.late.Wait()
	for _, r := range all {
		r.keeper.close()
	}
	w.late.Wait()         // requests that were under way until then
	time.Sleep(time.Hour) // what nobody waits for any more comes back
	w.told.settle()
	w.tally.add(w.told.tally)
}

// live is one user's life: again and again something on some replicas wants the
// user's token.
func (w *world) live(s *session) {
	w.link(s)
	for w.goesOn(s) {
		dice := w.chance(s)
		time.Sleep(time.Duration((0.1 + 0.7*dice.Float64()) * float64(tokenLife)))
		first, n := dice.IntN(replicas), 1+dice.IntN(replicas)
		var callers sync.WaitGroup
		var mu sync.Mutex
		var said []error
		for i := range n {
			r := w.replica((first + i) % replicas)
			for range 1 + dice.IntN(2) {
				patience := time.Minute
				if dice.IntN(8) == 0 {
					patience = random(dice, 300*time.Millisecond) // leaves in the middle
				}
				callers.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					err := w.call(ctx, r, s)
					if _, halted := r.clock.haltedSince(time.Now().Add(-time.Minute)); halted || r.dead.Load() {
						return // nobody is there to use it, or it was good when it was looked up
					}
					mu.Lock()
					defer mu.Unlock()
					said = append(said, err)
				})
			}
		}
		callers.Wait()
		w.bury(s, said)
	}
}

// call is one caller, who uses the token at PKB's API, and asks once more for one
// that this takes.
func (w *world) call(ctx context.Context, r *replica, s *session) error {
	token, err := r.keeper.token(ctx, s, "")
	if err == nil && w.design.ours {
		_, pair := split(token)
		w.told.must(s.user, fact{pair.epoch, core.Made})
	}
	if err != nil || w.server.good(s.user, token) {
		return err
	}
	if _, halted := r.clock.haltedSince(time.Now().Add(-time.Minute)); !halted {
		w.server.mu.Lock()
		w.tally.badTokens++
		if w.wrongClocks {
			w.tally.wrongTime++
		}
		w.server.mu.Unlock()
	}
	token, err = r.keeper.token(ctx, s, token)
	if err == nil && !w.server.good(s.user, token) {
		err = errors.New("the API takes no token")
	}
	return err
}

// patience is that of the patients. What a process has watched for long enough,
// it has watched by its own clock.
func (w *world) patience() time.Duration {
	if w.wrongClocks {
		return 2 * patienceOfPatients
	}
	return patienceOfPatients
}

// goesOn reports whether a user's life does. It lasts until all users have
// refreshed often enough, so that nobody is left alone whose refusals others have
// to vouch for; and it does not end while it is open what becomes of the last
// answer.
func (w *world) goesOn(s *session) bool {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	if s.commits >= w.each && !s.grown {
		s.grown = true
		w.young--
	}
	return w.young > 0 || s.dead || s.last != nil && s.last.saved.IsZero() || s.fell != nil && s.fell.pair
}

// bury counts a link that has ended, and links the user again.
func (w *world) bury(s *session, said []error) {
	all := errors.Join(said...)
	lost, none := errors.Is(all, errLost), errors.Is(all, errNone)
	w.server.mu.Lock()
	for _, err := range said {
		if err == nil {
			s.worked, s.missed = time.Now(), 0
		}
	}
	// Once, it can be a row that lags, before a process that knows nothing of it.
	if none {
		s.missed++
	}
	none = s.missed > maxMissed
	limbo := min(time.Since(s.worked), w.untroubled()) > w.patience()
	over := lost || none || limbo || s.dead && !w.design.ours
	t, unnamed := w.server.tally, false
	switch {
	case !over:
	case s.dead:
		t.lost[s.killer]++
	case s.fell != nil:
		t.lost[byStore]++
	case lost && s.refused:
		t.lost[byWording]++
	default:
		unnamed = true
	}
	unnamed = unnamed || over && s.dead && (errors.Is(all, errUnnamed) || none)
	if unnamed {
		t.unnamed++
	}
	if over && w.design.ours {
		w.note(s, lost, unnamed, said)
		w.mustHear(s, lost)
	}
	if limbo && w.young > 0 && (s.dead || s.fell == nil) {
		t.limbo++
	}
	w.server.mu.Unlock()
	if over {
		w.link(s)
	}
}

// mustHear notes that the host must hear of the end of a link: what a caller was told,
// and of a user whom nobody calls, what Tend must have found out by now. Nobody finds
// out soon what is said in unknown words, or by a wrong clock. The server's lock is
// held.
func (w *world) mustHear(s *session, lost bool) {
	switch {
	case lost:
		w.told.mustAsShown(s.user)
	case s.isIdle() && s.dead && s.fell == nil && !s.refused && !w.wrongClocks:
		w.told.must(s.user, fact{s.epoch, core.Ended})
	}
}

// note records where a link was lost that can be kept, or nobody knows why, to be looked
// at with -world; the server's lock is held.
func (w *world) note(s *session, ended, unnamed bool, said []error) {
	why := ""
	if unnamed {
		why = fmt.Sprintf("unnamed, dead: %v, nobody served for %v, callers were told %v", s.dead, time.Since(s.worked), said)
	}
	for _, c := range columns[:3] {
		if s.dead && s.killer == c.why {
			why = c.name
		}
	}
	if !s.dead && s.fell == nil && ended && s.refused {
		why = "wording"
	}
	if why != "" {
		w.tally.where = append(w.tally.where, fmt.Sprintf("%s: %s in world %d, after %v; first: %v; again: %v", why, s.user, w.number, time.Since(w.began), s.last, s.again))
	}
}

// link lets the patient approve, which is never disturbed.
func (w *world) link(s *session) {
	calm := func(is bool) {
		w.server.mu.Lock()
		defer w.server.mu.Unlock()
		s.calm = is
	}
	calm(true)
	defer calm(false)
	mumbles := w.chance(s).IntN(2) == 0
	for i := 0; ; i++ {
		if i > 1000 {
			panic("no replica can link") // must not happen, and must not hang
		}
		r := w.replica(i % replicas)
		if err := r.keeper.link(context.Background(), s, w.server.approve(s.user, mumbles)); err == nil {
			return
		}
		time.Sleep(time.Second)
	}
}
