// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenwire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"regexp"
	"strings"
	"sync"
)

// sending is a form on its way: the body of a request that can be read once, and
// what net/http reports of the connections for it.
type sending struct {
	mu   sync.Mutex
	form *strings.Reader
	// read: the form was read, to be sent or to be logged.
	read bool
	// closed: the form can no longer be read.
	closed bool
	// unsent is the verdict that the form never left; Read and GotConn keep it true.
	unsent bool

	dump    bool // the latest connection leads nowhere
	wanted  int  // connections asked for
	got     int  // connections that could be used
	headers int  // requests whose headers were written
	after   int  // of these, those written after the form was read
}

var errFormClosed = errors.New("tokenwire: the form has been closed")

func (s *sending) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, errFormClosed
	}
	s.read = true
	return s.form.Read(p)
}

// Close implements io.Closer. Transports close a body that they have sent, possibly
// before they stop reading.
func (s *sending) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *sending) traced(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.wanted++
		},
		GotConn: func(info httptrace.GotConnInfo) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.dump = isDump(info.Conn); s.dump {
				s.wanted--
				return
			}
			s.got++
			if s.unsent {
				// A transport that has reported a failure and continues by itself.
				_ = info.Conn.Close()
			}
		},
		WroteHeaders: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.dump {
				return
			}
			s.headers++
			if s.read {
				s.after++
			}
		},
	})
}

// isDump reports whether conn is the connection of httputil.DumpRequestOut, which
// writes the request under its own trace.
func isDump(conn net.Conn) bool { return fmt.Sprintf("%T", conn) == "*httputil.dumpConn" }

// neverLeft reports whether the form demonstrably never left, or never reached a
// server that looked at it. If so, the form can no longer be read. ended means that
// the transport is done with the request; refused, that its error reports a refusal.
func (s *sending) neverLeft(ended, refused bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.read:
	case ended && s.wanted > 0 && s.got == 0:
		// The form was read for a log, and no connection was made: no address, no
		// listener, no handshake, a proxy that refuses.
	case refused && s.headers > 0:
		// Whether it was sent before is for repeated to decide.
	default:
		return false
	}
	s.unsent, s.closed = true, true
	return true
}

// repeated reports whether the form may have been sent twice. It can be read once,
// so the headers of a second request with it are written after it was read. Requests
// that a transport made before, such as for a token of its own, do not match.
func (s *sending) repeated() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.headers > 1 && s.after > 0
}

// saysRefused matches the errors of net/http, and of golang.org/x/net/http2, for a
// server that did not look at a request: GOAWAY with an earlier last stream (RFC
// 9113 section 6.8) and REFUSED_STREAM (section 8.7). Their types are not exported.
var saysRefused = regexp.MustCompile(`\A(?:` +
	`http2: Transport: cannot retry err \[(?:` + goAway + `|` + refusedStream + `)\] after Request\.Body was written; define Request\.GetBody to avoid this error` +
	`|` + goAway + `|` + refusedStream +
	`|http2: Transport received GOAWAY from server ErrCode:[\w ]+` +
	`)\z`)

const (
	goAway        = `http2: Transport received Server's graceful shutdown GOAWAY`
	refusedStream = `stream error: stream ID \d+; REFUSED_STREAM; received from peer`
)

// refusedUnread reports whether err means that the server did not look at the
// request.
func refusedUnread(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if saysRefused.MatchString(err.Error()) {
			return true
		}
	}
	return false
}
