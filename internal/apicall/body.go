// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package apicall

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// ErrTooLarge is in the *ContentError for a response that is larger than
// Policy.MaxBytes.
var ErrTooLarge = errors.New("pkb: the response is larger than Config.MaxResponseBytes")

// Body is the body of a response 200. Read returns the error with which the response
// fails, whatever its reader makes of that: a transport's, or a *ContentError for a
// response that is too large, that cannot be decompressed, or that is a page.
type Body struct {
	from      io.Reader
	length    int64 // as the server has it
	most      int64
	left      int64 // of most
	beginning bool  // only white space was read
	failed    error
}

func newBody(resp *http.Response, most int64) *Body {
	return &Body{from: resp.Body, length: resp.ContentLength, most: most, left: most, beginning: true}
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	if b.failed != nil {
		return 0, b.failed
	}
	if int64(len(p)) > b.left {
		p = p[:b.left+1] // one byte more than may be there
	}
	n, err := b.from.Read(p)
	switch {
	case int64(n) > b.left:
		b.failed = &ContentError{What: "the response is larger than Config.MaxResponseBytes (" + size(b.most) + ")", Err: ErrTooLarge}
	case b.isPage(p[:n]):
		b.failed = &ContentError{What: "the response is a page, not data"}
	case err != nil && err != io.EOF: //nolint:errorlint // as io.Reader has it
		b.failed = unpackError(err)
	}
	if b.failed != nil {
		return 0, b.failed
	}
	b.left -= int64(n)
	return n, err
}

// All reads the whole body.
func (b *Body) All() ([]byte, error) { return readAll(b, b.length) }

// readAll reads to the end of r. The length is only a hint from the server.
func readAll(r io.Reader, length int64) ([]byte, error) {
	buf := bytes.NewBuffer(make([]byte, 0, bytes.MinRead+min(max(length, 0), MaxProblem)))
	_, err := buf.ReadFrom(r)
	return buf.Bytes(), err
}

// isPage reports whether a response begins as HTML or XML, whatever its media type.
func (b *Body) isPage(data []byte) bool {
	if !b.beginning {
		return false
	}
	data = bytes.TrimLeft(data, "\ufeff \t\r\n")
	b.beginning = len(data) == 0
	return !b.beginning && data[0] == '<'
}

// unpackError returns a *ContentError for a corrupt compressed response, and err
// for one that was cut off.
func unpackError(err error) error {
	var corrupt flate.CorruptInputError
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt) {
		return &ContentError{What: "the response cannot be decompressed", Err: err}
	}
	return err
}

func size(bytes int64) string {
	if bytes%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d bytes", bytes)
}
