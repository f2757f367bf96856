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

// sending is a form on its way: the body of a request that can be read once,
// and what net/http reports of the connections for it.
type sending struct {
	mu   sync.Mutex
	form *strings.Reader
	// read: somebody read the form, in order to send it or to look at it.
	read bool
	// closed: nobody reads the form any more.
	closed bool
	// unsent is the verdict; it is kept true.
	unsent bool

	dump    bool // the connection that was got last leads nowhere
	wanted  int  // connections asked for
	got     int  // connections that could be used
	headers int  // requests whose headers were written
	after   int  // of these, those written after the form was read
}

var errFormClosed = errors.New("tokenwire: the form has been closed")

// Read implements io.Reader.
func (s *sending) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, errFormClosed
	}
	s.read = true
	return s.form.Read(p)
}

// Close implements io.Closer: transports close a body that they have sent, and
// may do so before they have stopped reading.
func (s *sending) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// traced returns ctx for a request that has s as its body.
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
				// A transport that has reported a failure and goes on by itself.
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

// isDump reports whether conn is what httputil.DumpRequestOut lets net/http
// write to, under the trace of the request: people look at requests with it.
func isDump(conn net.Conn) bool { return fmt.Sprintf("%T", conn) == "*httputil.dumpConn" }

// neverLeft reports whether the form demonstrably never left, or never reached
// anybody who would look at it. Then it stays where it is. ended says that the
// transport is done with the request; refused, that its error says so.
func (s *sending) neverLeft(ended, refused bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.read:
	case ended && s.wanted > 0 && s.got == 0:
		// Read by somebody who looks at requests, and no connection came about:
		// no address, nobody listening, no handshake, a proxy that refuses.
	case refused && s.headers > 0:
		// What was sent before, if anything, is a matter for repeated.
	default:
		return false
	}
	s.unsent, s.closed = true, true
	return true
}

// repeated reports whether the form may have been sent twice. It can be read
// once, so the headers of a second request with it are written after it was
// read. Requests that a transport made before, such as for a token of its own,
// are none of them.
func (s *sending) repeated() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.headers > 1 && s.after > 0
}

// saysRefused has the errors of net/http, and of golang.org/x/net/http2, for a
// server that did not look at a request: GOAWAY with an earlier last stream
// (RFC 9113 section 6.8) and REFUSED_STREAM (section 8.7). Their types cannot
// be told apart from outside.
var saysRefused = regexp.MustCompile(`\A(?:` +
	`http2: Transport: cannot retry err \[(?:` + goAway + `|` + refusedStream + `)\] after Request\.Body was written; define Request\.GetBody to avoid this error` +
	`|` + goAway + `|` + refusedStream +
	`|http2: Transport received GOAWAY from server ErrCode:[\w ]+` +
	`)\z`)

const (
	goAway        = `http2: Transport received Server's graceful shutdown GOAWAY`
	refusedStream = `stream error: stream ID \d+; REFUSED_STREAM; received from peer`
)

// refusedUnread reports whether err says that the server did not look at the
// request.
func refusedUnread(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if saysRefused.MatchString(err.Error()) {
			return true
		}
	}
	return false
}
