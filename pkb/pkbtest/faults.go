// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"bytes"
	"maps"
	"net/http"
	"time"
)

// Endpoint names one of the addresses that PKB offers. "" stands for every
// other address.
type Endpoint string

// The endpoints. Authorize is the log-in page, the consent page and its buttons,
// so a browser makes three requests to it, and Approve two: it goes from the
// first page to the last button.
const (
	Authorize Endpoint = "authorize" // apiAuthorize.action
	Token     Endpoint = "token"     // apiToken.action
	Purview   Endpoint = "purview"   // fhir/Consent/$purview
	Self      Endpoint = "self"      // json/users/self
)

// endpoints are those with a name; the control API knows them by it.
var endpoints = []Endpoint{Authorize, Token, Purview, Self, Facade, SystemToken, Messaging}

// Fault changes the response to one request. It gets the handler that would do
// the real work; it may call it before, after, or not at all. Write your own
// where those of this package do not fit; they also combine:
//
//	func(next http.Handler) http.Handler {
//		return pkbtest.Delay(time.Second)(pkbtest.DropAfter()(next))
//	}
//
// A Fault runs once, without locks, on the request's goroutine. The request's
// body has been read and can be read again by next.
type Fault func(next http.Handler) http.Handler

// Next queues faults for the endpoint. Each is used for one request, in the
// order of arrival; requests after the last get the usual response. A nil Fault
// is Pass.
func (s *Server) Next(e Endpoint, f ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[e] = append(s.faults[e], f...)
}

// ClearFaults removes the faults that are queued and not used, at every
// endpoint, and returns how many there were. A test that expects every fault to
// be used wants 0.
func (s *Server) ClearFaults() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, queue := range s.faults {
		n += len(queue)
	}
	clear(s.faults)
	return n
}

// Respond sends this response instead of doing the work: no code is spent, no
// token rotates. contentType "" sends no Content-Type.
func Respond(status int, contentType, body string) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			send(w, status, contentType, []byte(body))
		})
	}
}

// RespondAfter does the work, so tokens rotate, and sends this response instead.
func RespondAfter(status int, contentType, body string) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(newAnswer(), r)
			send(w, status, contentType, []byte(body))
		})
	}
}

// Refuse responds at Purview or users/self with one of PKB's response codes, such
// as "USER_TYPE_NOT_PERM", in an OperationOutcome, and does no work. The status
// is the one this package infers for the code: 401 for codes about tokens and
// sessions, 403 for the others.
func Refuse(responseCode string) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { sendCode(w, r, responseCode) })
	}
}

// Drop cuts the connection before anything is done. Over a port, Go's own
// transport may repeat a GET on a kept connection, and so use up the next
// fault; Transport never does.
func Drop() Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	}
}

// DropAfter does the work, so tokens rotate, and cuts the connection: the response
// is lost.
func DropAfter() Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(newAnswer(), r)
			panic(http.ErrAbortHandler)
		})
	}
}

// Delay waits for d, by the real clock or a testing/synctest bubble's, before
// the work is done and the response sent. If the client disconnects meanwhile, the
// work is still done, at once: a server does not notice in time.
func Delay(d time.Duration) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-r.Context().Done():
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Pass lets one request through: it holds a place in the queue.
func Pass() Fault {
	return func(next http.Handler) http.Handler { return next }
}

// Rewrite does the work and changes the response before it is sent: f may change
// the headers in place and returns the body. Content-Length is set to fit
// afterwards, unless f sets it: one that is too large makes a truncated
// response.
func Rewrite(f func(h http.Header, body []byte) []byte) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := newAnswer()
			next.ServeHTTP(a, r)
			h := a.sentHeader()
			h.Del("Content-Length")
			body := f(h, bytes.Clone(a.body.Bytes()))
			maps.Copy(w.Header(), h)
			if length := h.Get("Content-Length"); length != "" {
				w.WriteHeader(a.status)
				_, _ = w.Write(body)
				return
			}
			send(w, a.status, h.Get("Content-Type"), body)
		})
	}
}

// answer records the response of a handler.
type answer struct {
	header http.Header
	sent   http.Header // header as it was when the response began
	status int
	body   bytes.Buffer
	// flushed: some of it would have been sent already.
	flushed bool
}

func newAnswer() *answer { return &answer{header: http.Header{}} }

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status != 0 || status < 200 {
		return
	}
	a.status, a.sent = status, a.header.Clone()
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

func (a *answer) Flush() {
	a.WriteHeader(http.StatusOK)
	a.flushed = true
}

// sentHeader ends a response that nobody wrote to, as package http does.
func (a *answer) sentHeader() http.Header {
	a.WriteHeader(http.StatusOK)
	return a.sent
}
