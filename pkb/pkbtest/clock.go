// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import "time"

// Now returns the server's time: time.Now plus what Advance added. Inside a
// testing/synctest bubble it follows the bubble's clock.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

// now is Now for those who hold the lock.
func (s *Server) now() time.Time { return time.Now().Add(s.offset) }

// Advance moves the server's time forward by d: codes, tokens and sessions grow
// older. It wakes nobody; timers, such as Delay's, follow the real clock.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += d
}
