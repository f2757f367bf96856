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
	"slices"
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

	// conn is the latest connection, and shape that of the request whose headers are
	// being written on it.
	conn  net.Conn
	shape shape
	// shapes are those of the forms whose headers were written.
	shapes map[string]bool
	// cut is how many second sends of the form were cut off.
	cut int
	// stop ends the context of the request.
	stop func()
}

// shape is what the headers of a request have about its body. A transport that sends
// the form again sends it in the same shape.
type shape struct {
	text string
	// form: the body is a form, if not this one.
	form, http2 bool
}

func (s *shape) add(name string, values []string) {
	switch name = strings.ToLower(name); name {
	case ":method":
		s.http2 = true
	case "content-type":
		s.form = slices.Equal(values, []string{mediaType})
	case "content-length", "transfer-encoding":
		s.text += name + ": " + strings.Join(values, ",") + "\n"
	}
}

// mediaType is that of the form.
const mediaType = "application/x-www-form-urlencoded"

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
			s.conn, s.shape = info.Conn, shape{}
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
		WroteHeaderField: func(name string, values []string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.shape.add(name, values)
		},
		WroteHeaders: func() {
			if again := s.wroteHeaders(); again != nil {
				again()
			}
		},
	})
}

// wroteHeaders notes that the headers of a request were written, before its body is.
// If the body is the form for a second time, it returns what cuts it off.
func (s *sending) wroteHeaders() (cutOff func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dump {
		return nil
	}
	s.headers++
	if s.read {
		s.after++
	}
	of := s.shape
	s.shape = shape{}
	if !of.form {
		return nil
	}
	if s.read && s.shapes[of.text] {
		if of.http2 {
			// The connection has requests of others, so only this one is canceled. That
			// it was is not certain: it is not counted.
			return s.stop
		}
		s.cut++
		conn := s.conn
		return func() { _ = conn.Close() }
	}
	if s.shapes == nil {
		s.shapes = map[string]bool{}
	}
	s.shapes[of.text] = true
	return nil
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

// repeated reports whether the transport sent the form twice, or tried to. It can be
// read once, so the headers of a second request with it are written after it was read.
// Requests that a transport made before, such as for a token of its own, do not match.
// arrived: more than one of the requests may have had the form in it.
func (s *sending) repeated() (tried, arrived bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tried = s.headers > 1 && s.after > 0
	return tried, tried && s.headers-s.cut > 1
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
