// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
)

// Transport returns a round tripper that reaches the server in memory, whatever
// host the request names: no socket, no port, no retry, no certificate. It
// works inside a testing/synctest bubble and leaves no goroutine behind once
// the server is done with the request.
//
// A request's cancellation ends the wait at once, while the server finishes
// what it began. A connection that is cut is an error that wraps
// io.ErrUnexpectedEOF. Bodies are read, checked against Content-Length and
// closed, and gzip responses unpacked, as http.Transport does. A response
// arrives when the server has finished it, not piece by piece.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ server *Server }

// errCut is what a client sees of a connection that was cut.
var errCut = fmt.Errorf("pkbtest: the connection was cut: %w", io.ErrUnexpectedEOF)

// outcome is how the server's side of one round trip ended.
type outcome struct {
	answer *answer
	err    error
}

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	closeBody := func() {}
	if req.Body != nil {
		closeBody = sync.OnceFunc(func() { _ = req.Body.Close() })
	}
	arriving, gunzip, err := arrive(req)
	if err != nil {
		closeBody()
		return nil, err
	}
	ctx := req.Context()
	if ctx.Err() != nil {
		closeBody()
		return nil, context.Cause(ctx)
	}
	// The server has a context of its own; it ends when the client leaves.
	serverCtx, leave := context.WithCancel(context.Background())
	arriving = arriving.WithContext(serverCtx)
	body, length := req.Body, req.ContentLength
	done := make(chan outcome, 1) // one place: the server never waits for us
	go func() {
		defer leave()
		sent, err := readBody(body, length)
		closeBody()
		if err != nil {
			done <- outcome{err: err}
			return
		}
		arriving.Body, arriving.ContentLength = io.NopCloser(bytes.NewReader(sent)), int64(len(sent))
		t.serve(arriving, done)
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, o.err
		}
		return o.answer.response(req, gunzip), nil
	case <-ctx.Done():
		leave()
		closeBody() // it may be what the server's side waits for
		return nil, context.Cause(ctx)
	}
}

// arrive returns the request as a server would see it, but for its body.
// gunzip: the client did not ask for gzip itself, so it must not
// see it.
func arrive(req *http.Request) (arriving *http.Request, gunzip bool, err error) {
	if req.URL == nil {
		return nil, false, errors.New("pkbtest: the request has no URL")
	}
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return nil, false, fmt.Errorf("pkbtest: unsupported protocol scheme %q", req.URL.Scheme)
	}
	if req.URL.Host == "" {
		return nil, false, errors.New("pkbtest: the request's URL has no host")
	}
	uri := req.URL.RequestURI()
	address, err := url.ParseRequestURI(uri)
	if err != nil {
		return nil, false, errors.New("pkbtest: the request's URL has no usable path")
	}
	arriving = &http.Request{
		Method: req.Method, URL: address, RequestURI: uri, Host: req.Host, RemoteAddr: "192.0.2.1:1234",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: req.Header.Clone(),
	}
	if arriving.Method == "" {
		arriving.Method = http.MethodGet
	}
	if arriving.Host == "" {
		arriving.Host = req.URL.Host
	}
	if arriving.Header == nil {
		arriving.Header = http.Header{}
	}
	if _, ok := arriving.Header["User-Agent"]; !ok {
		arriving.Header.Set("User-Agent", "Go-http-client/1.1")
	}
	if arriving.Header.Get("Accept-Encoding") == "" && arriving.Header.Get("Range") == "" && arriving.Method != http.MethodHead {
		gunzip = true
		arriving.Header.Set("Accept-Encoding", "gzip")
	}
	return arriving, gunzip, nil
}

func readBody(body io.Reader, length int64) ([]byte, error) {
	if body == nil || body == http.NoBody {
		return nil, nil
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	// 0 with a body means that the length is not known.
	if length > 0 && int64(len(data)) != length {
		return nil, fmt.Errorf("pkbtest: ContentLength=%d with a body of %d bytes", length, len(data))
	}
	return data, nil
}

// serve runs the handler and reports how it ended, exactly once, also when a
// Fault panics or ends the goroutine.
func (t transport) serve(r *http.Request, done chan<- outcome) {
	a := newAnswer()
	o := outcome{err: errors.New("pkbtest: the handler ended its goroutine")}
	defer func() {
		if v := recover(); v != nil {
			o = outcome{err: fmt.Errorf("pkbtest: the handler panicked: %v\n%s", v, debug.Stack())}
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				o = outcome{err: errCut}
				if a.flushed {
					a.sent.Set("Content-Length", strconv.Itoa(a.body.Len()+1)) // it broke off
					o = outcome{answer: a}
				}
			}
		}
		done <- o
	}()
	t.server.ServeHTTP(a, r)
	o = outcome{answer: a}
}

// response turns what the handler wrote into what a client gets.
func (a *answer) response(req *http.Request, gunzip bool) *http.Response {
	h := a.sentHeader()
	data := a.body.Bytes()
	resp := &http.Response{
		Status: fmt.Sprintf("%03d %s", a.status, http.StatusText(a.status)), StatusCode: a.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Request: req,
	}
	if values, ok := h["Content-Type"]; ok && len(values) == 0 {
		delete(h, "Content-Type")
	} else if !ok && len(data) > 0 {
		h.Set("Content-Type", http.DetectContentType(data))
	}
	promised, err := strconv.Atoi(h.Get("Content-Length"))
	if req.Method == http.MethodHead || a.status == http.StatusNoContent || a.status == http.StatusNotModified {
		resp.Body, resp.ContentLength = http.NoBody, int64(promised)
		return resp
	}
	if err != nil {
		promised = len(data)
		h.Set("Content-Length", strconv.Itoa(promised))
	}
	resp.ContentLength = int64(promised)
	var content io.Reader = bytes.NewReader(data[:min(promised, len(data))])
	if promised > len(data) {
		content = io.MultiReader(content, brokenOff{})
	}
	if gunzip && h.Get("Content-Encoding") == "gzip" {
		h.Del("Content-Encoding")
		h.Del("Content-Length")
		resp.ContentLength, resp.Uncompressed = -1, true
		content = &gunzipReader{packed: content}
	}
	resp.Body = &responseBody{content: content}
	return resp
}

// brokenOff is the end of a response that is shorter than announced.
type brokenOff struct{}

func (brokenOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// gunzipReader unpacks on the first read: bad gzip is the reader's error, not
// the request's.
type gunzipReader struct {
	packed   io.Reader
	unpacked io.Reader
}

func (g *gunzipReader) Read(p []byte) (int, error) {
	if g.unpacked == nil {
		z, err := gzip.NewReader(g.packed)
		if err != nil {
			return 0, err
		}
		g.unpacked = z
	}
	return g.unpacked.Read(p)
}

type responseBody struct {
	content io.Reader
	closed  atomic.Bool
}

func (b *responseBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, errors.New("pkbtest: read on a closed response body")
	}
	return b.content.Read(p)
}

func (b *responseBody) Close() error {
	b.closed.Store(true)
	return nil
}
