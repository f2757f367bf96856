// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxBody bounds what is read of a request; real ones have some hundred bytes.
const maxBody = 1 << 20

// Server is a PKB for tests. Make one with New or Start. All methods may be
// called from any goroutine.
type Server struct {
	cfg   Config
	close func()
	url   string

	mu       sync.Mutex
	offset   time.Duration
	patients []*Patient
	places   map[string]int // in patients, by public id
	added    int
	nhs      int
	frozen   map[string]bool
	sessions []*session
	codes    map[string]*code
	access   map[string]*accessToken
	refresh  map[string]*refreshToken
	faults   map[Endpoint][]Fault
	log      []*Request
	counts   map[Endpoint]int
	grants   map[string]int
	reused   int
	record   record
	flaky    map[troubled]int

	organisations map[string]*Organisation
	members       map[string]map[string][]string // teams, by organisation and patient
	system        map[string]time.Time           // when a system client's token expires
	unregistered  map[string]bool
}

var _ http.Handler = (*Server)(nil)

// New returns a server that does not listen: use it as an http.Handler, or
// through Transport. Nothing needs to be closed.
func New(cfg Config) *Server {
	cfg = cfg.withDefaults()
	return &Server{
		cfg:     cfg,
		close:   func() {},
		url:     "https://pkbtest.example" + cfg.BasePath,
		places:  map[string]int{},
		frozen:  map[string]bool{},
		codes:   map[string]*code{},
		access:  map[string]*accessToken{},
		refresh: map[string]*refreshToken{},
		faults:  map[Endpoint][]Fault{},
		counts:  map[Endpoint]int{},
		grants:  map[string]int{},
		flaky:   map[troubled]int{},

		organisations: map[string]*Organisation{},
		members:       map[string]map[string][]string{},
		system:        map[string]time.Time{},
		unregistered:  map[string]bool{},
	}
}

// Start returns a server that listens at Config.Addr, with http. Close it. It
// returns the error of listening.
func Start(cfg Config) (*Server, error) {
	s := New(cfg)
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", s.cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("pkbtest: %w", err)
	}
	s.url = "http://" + reachable(listener.Addr()) + s.cfg.BasePath
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = server.Serve(listener) // it ends with ErrServerClosed
	}()
	s.close = sync.OnceFunc(func() {
		_ = server.Close()
		<-stopped
	})
	return s, nil
}

// reachable returns an address by which this computer reaches one it listens at.
func reachable(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
	}
	return addr.String()
}

// URL returns the base address without a trailing slash, with BasePath:
// "http://127.0.0.1:PORT" of a server made by Start, unless Config.Addr names
// another address, or "https://pkbtest.example", which only Transport reaches.
func (s *Server) URL() string { return s.url }

// ClientID returns the client id the server knows.
func (s *Server) ClientID() string { return s.cfg.ClientID }

// Close stops listening and cuts the connections that are open. It may be
// called more than once, and does nothing to a server made by New. Transport
// keeps working.
func (s *Server) Close() { s.close() }

// String returns the server's address; it prints no token.
func (s *Server) String() string { return "pkbtest.Server at " + s.url }

// Format prints String under every verb, so that none prints a token.
func (s *Server) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// ServeHTTP serves one request. A Drop fault panics with
// http.ErrAbortHandler, as package http wants it; keep that in mind when you
// call ServeHTTP yourself.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if path, ok := strings.CutPrefix(r.URL.Path, s.cfg.BasePath+controlPath); ok && s.cfg.ControlAPI {
		s.control(w, r, path)
		return
	}
	var body []byte
	var err error
	if r.Body != nil {
		// Read first: package http notices a client that leaves only then.
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		r = r.WithContext(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	endpoint, handler := s.route(r)
	entry, faults := s.arrived(endpoint, r, body)
	sw := &statusWriter{ResponseWriter: w, note: func(status int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		entry.Status = status
	}}
	sw.Header().Set("Date", s.Now().UTC().Format(http.TimeFormat))
	if err != nil {
		status := http.StatusBadRequest
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		send(sw, status, "text/plain; charset=utf-8", []byte("the request body could not be read\n"))
		return
	}
	for _, fault := range faults {
		if fault != nil {
			handler = fault(handler)
		}
	}
	handler.ServeHTTP(sw, r)
}

// route finds the endpoint by path alone, so that a request with the wrong
// method is counted where it was meant to go.
func (s *Server) route(r *http.Request) (Endpoint, http.Handler) {
	path, ok := strings.CutPrefix(r.URL.Path, s.cfg.BasePath)
	if !ok {
		return "", http.HandlerFunc(notFound)
	}
	switch path {
	case "/apiAuthorize.action":
		return Authorize, http.HandlerFunc(s.authorize)
	case "/apiToken.action":
		return Token, http.HandlerFunc(s.token)
	case "/fhir/Consent/$purview":
		return Purview, http.HandlerFunc(s.purview)
	case "/json/users/self":
		return Self, http.HandlerFunc(s.self)
	case "/api/oauth/token":
		return SystemToken, http.HandlerFunc(s.systemToken)
	case "/phr-fhir/Patient/$process-message":
		return Messaging, http.HandlerFunc(s.processMessage)
	}
	if path == "/fhir" || strings.HasPrefix(path, "/fhir/") {
		return s.routeFacade(path)
	}
	return "", http.HandlerFunc(notFound)
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	sendPage(w, http.StatusNotFound, errorPage, "There is nothing at this address.")
}

// send sends a whole response at once. contentType "" sends none.
func send(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	if contentType == "" {
		h["Content-Type"] = nil // a nil value keeps package http from guessing
	} else {
		h.Set("Content-Type", contentType)
	}
	if status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that left is no error of ours
}

// allow sends 405 by means of refuse unless the request's method is among
// methods.
func allow(w http.ResponseWriter, r *http.Request, refuse func(), methods ...string) bool {
	if slices.Contains(methods, r.Method) {
		return true
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	refuse()
	return false
}

// statusWriter records the status in the request log before it is sent.
type statusWriter struct {
	http.ResponseWriter
	note func(int)
	sent bool
}

func (w *statusWriter) WriteHeader(status int) {
	if !w.sent && status >= 200 {
		w.sent = true
		w.note(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if !w.sent {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

func (w *statusWriter) Flush() {
	if !w.sent {
		w.WriteHeader(http.StatusOK)
	}
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Unwrap serves http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
