// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

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
	// link keeps the first pair of an approval, which was asked for at asked.
	link(ctx context.Context, s *session, asked time.Time, answer []byte) error
	// token returns an access token; errLost, or an error that wraps it, when
	// the design itself says that the patient must approve again.
	token(ctx context.Context, s *session) (string, error)
	close()
}

// errLost: the link has ended. errUnnamed: with a cause for which the server
// gave no reason.
var (
	errLost    = errors.New("the link has ended")
	errUnnamed = errors.New("without a cause that fits")
)

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
	tally  tally
	server *server
	store  *tokenstore.Memory
	rows   rows
	late   sync.WaitGroup

	mu       sync.Mutex
	replicas [replicas]*replica
	buried   []*replica
}

func newWorld(d design, seed, number uint64, each int64) *world {
	w := &world{design: d, seed: seed, number: number, each: each, store: tokenstore.NewMemory()}
	w.server = &server{sessions: map[string]*session{}, tally: &w.tally}
	for i := range usersPerWorld {
		user := fmt.Sprintf("user%d", i)
		w.server.sessions[user] = &session{user: user, index: uint64(i)}
	}
	return w
}

func (w *world) session(user string) *session { return w.server.sessions[user] }

func (w *world) isCalm(s *session) bool {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	return s.calm
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
		dice := rand.New(rand.NewPCG(w.seed, w.number<<32|uint64(len(w.buried))<<8|uint64(n)))
		p := &process{world: w, skew: random(dice, 2*maxSkew) - maxSkew}
		r = &replica{p, w.design.start(p)}
		w.replicas[n] = r
	}
	return r
}

// run lets all users live until each has refreshed often enough.
func (w *world) run() {
	var users sync.WaitGroup
	for _, s := range w.server.sessions {
		users.Go(func() { w.live(s) })
	}
	users.Wait()
	w.late.Wait()
	for _, r := range append(w.buried, w.replicas[:]...) {
		if r != nil {
			r.keeper.close()
		}
	}
}

// live is one user's life: again and again something on some replicas wants the
// user's token.
func (w *world) live(s *session) {
	w.link(s)
	for w.goesOn(s) {
		dice := w.chance(s)
		time.Sleep(time.Duration((0.05 + 0.5*dice.Float64()) * float64(tokenLife)))
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
					token, err := r.keeper.token(ctx, s)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case r.dead.Load() || r.sleptSince(time.Now().Add(-time.Minute)):
						// nobody is there to use it, or it was good when it was looked up
					case err == nil && !w.server.good(s.user, token):
						w.server.mu.Lock()
						w.tally.badTokens++
						w.server.mu.Unlock()
					default:
						said = append(said, err)
					}
				})
			}
		}
		callers.Wait()
		w.bury(s, errors.Join(said...))
	}
}

// goesOn reports whether a user's life does: it does not end while it is open
// what becomes of the last answer.
func (w *world) goesOn(s *session) bool {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	return s.commits < w.each || s.dead || s.last != nil && s.last.saved.IsZero()
}

// bury counts a link that has ended, and links the user again.
func (w *world) bury(s *session, said error) {
	lost := errors.Is(said, errLost)
	w.server.mu.Lock()
	dead, killer := s.dead, s.killer
	if lost || dead && !w.design.ours {
		if dead {
			w.tally.lost[killer]++
		}
		if !dead || errors.Is(said, errUnnamed) {
			w.tally.unnamed++ // said to have ended, and it had not, or not so
		}
	}
	w.server.mu.Unlock()
	if lost || dead && !w.design.ours {
		w.link(s)
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
	for i := 0; ; i++ {
		if i > 1000 {
			panic("no replica can link") // must not happen, and must not hang
		}
		r := w.replica(i % replicas)
		asked := r.now()
		if err := r.keeper.link(context.Background(), s, asked, w.server.approve(s.user)); err == nil {
			return
		}
		time.Sleep(time.Second)
	}
}
