// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"io"
	"net"
	"sync"
)

// Relay is a way to a server that can be cut, as a cable is: between a primary and its
// standby, for instance.
type Relay struct {
	to       string
	listener net.Listener
	under    sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

// StartRelay starts a relay to an address, on a port of this machine. Close it.
func StartRelay(ctx context.Context, to string) (*Relay, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Relay{to: to, listener: listener, conns: map[net.Conn]bool{}}
	r.under.Go(func() {
		for {
			here, err := listener.Accept()
			if err != nil {
				return // it was closed
			}
			r.under.Go(func() { r.relay(ctx, here) })
		}
	})
	return r, nil
}

// Port is where the relay listens.
func (r *Relay) Port() string {
	_, port, _ := net.SplitHostPort(r.listener.Addr().String()) // it is one
	return port
}

// Cut ends all connections and accepts none. Mend ends Cut.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = true
	for c := range r.conns {
		_ = c.Close()
	}
}

// Mend lets connections through again.
func (r *Relay) Mend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = false
}

// Close ends the relay and all its connections.
func (r *Relay) Close() error {
	err := r.listener.Close()
	r.Cut()
	r.under.Wait()
	return err
}

// relay connects a client with the server until one of them has enough.
func (r *Relay) relay(ctx context.Context, here net.Conn) {
	defer func() { _ = here.Close() }()
	there, err := new(net.Dialer).DialContext(ctx, "tcp", r.to)
	if err != nil {
		return
	}
	defer func() { _ = there.Close() }()
	if !r.holds(here, there) {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{here, there}, {there, here}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_, _ = here.Close(), there.Close()
		})
	}
	both.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, here)
	delete(r.conns, there)
}

// holds notes connections that Cut ends, unless it has been called.
func (r *Relay) holds(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		if !r.cut {
			r.conns[c] = true
		}
	}
	return !r.cut
}
