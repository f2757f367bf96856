// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/oauth2"

	"github.com/betawerk/pkb-go/tokenstore"
)

// pair is a line of what import reads. It is not printed: it holds tokens.
type pair struct {
	line  int
	user  string
	token *oauth2.Token
	// wrong is what is wrong with the line, nil if nothing is.
	wrong *complaint
}

// String implements fmt.Stringer.
func (pair) String() string { return "[redacted]" }

// GoString implements fmt.GoStringer.
func (pair) GoString() string { return "[redacted]" }

// complaint is what is wrong with a line: a stable code and a plain text, neither of
// which repeats anything of the line.
type complaint struct{ code, text string }

const (
	// longestLine is in bytes. A pair of tokens that is longer is nothing of PKB's.
	longestLine = 32 << 10
	// longestTokens is the length of both tokens together that a link can keep.
	longestTokens = 8 << 10
)

// pairs reads lines, and remembers whom and which tokens it has met.
type pairs struct {
	r      *bufio.Reader
	line   int
	users  map[[16]byte]int // the lines they were first met on
	tokens map[[16]byte]int
}

func newPairs(r io.Reader) *pairs {
	return &pairs{r: bufio.NewReaderSize(r, longestLine), users: map[[16]byte]int{}, tokens: map[[16]byte]int{}}
}

// next returns the next line that is not empty, or io.EOF.
func (p *pairs) next() (pair, error) {
	for {
		text, long, err := p.read()
		if err != nil {
			return pair{}, err
		}
		if p.line == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		if long {
			return pair{line: p.line, wrong: &complaint{"too_long", fmt.Sprintf("it is longer than %d bytes", longestLine)}}, nil
		}
		if len(bytes.TrimSpace(text)) > 0 {
			one := p.known(parsePair(text))
			one.line = p.line
			return one, nil
		}
	}
}

// read returns the next line, and whether it is too long.
func (p *pairs) read() (text []byte, long bool, err error) {
	text, err = p.r.ReadSlice('\n')
	for p.line++; errors.Is(err, bufio.ErrBufferFull); long = true {
		text, err = p.r.ReadSlice('\n')
	}
	if errors.Is(err, io.EOF) && (long || len(text) > 0) {
		err = nil
	}
	return text, long, err
}

// known refuses a user or a refresh token that an earlier line has had: of two pairs of
// one user nobody here knows which is the right one, and a token that is presented twice
// ends its session.
func (p *pairs) known(one pair) pair {
	if one.wrong != nil {
		return one
	}
	user, token := digest(one.user), digest(one.token.RefreshToken)
	switch {
	case p.tokens[token] > 0:
		one.wrong = &complaint{"same_token", fmt.Sprintf("line %d has the same refresh token", p.tokens[token])}
	case p.users[user] > 0:
		one.wrong = &complaint{"same_user", fmt.Sprintf("line %d has a pair of the same user, which was taken", p.users[user])}
	default:
		p.users[user], p.tokens[token] = p.line, p.line
	}
	return one
}

func digest(text string) (short [16]byte) {
	sum := sha256.Sum256([]byte(text))
	copy(short[:], sum[:])
	return short
}

const members = "app_user_id, access_token, refresh_token, expiry, token_type and scope"

// parsePair reads one line.
func parsePair(text []byte) pair {
	bad := func(code, text string) pair { return pair{wrong: &complaint{code, text}} }
	if !utf8.Valid(text) || !json.Valid(text) {
		return bad("not_json", "it is not a JSON object on one line, in UTF-8")
	}
	var l struct {
		User    *string `json:"app_user_id"`
		Access  string  `json:"access_token"`
		Refresh string  `json:"refresh_token"`
		Expiry  *string `json:"expiry"`
		Type    string  `json:"token_type"`
		Scope   string  `json:"scope"`
		// In is what encoding/json writes of an oauth2.Token in addition. It counts from
		// a time that nobody has kept.
		In json.RawMessage `json:"expires_in"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil || l.User == nil {
		return bad("bad_members", "it is not an object with the members "+members+", which are texts; the first three are required")
	}
	one := pair{user: *l.User, token: &oauth2.Token{AccessToken: l.Access, RefreshToken: l.Refresh, TokenType: l.Type}}
	if l.Scope != "" {
		one.token = one.token.WithExtra(map[string]any{"scope": l.Scope})
	}
	one.wrong = one.check()
	if l.Expiry != nil && one.wrong == nil {
		expiry, err := time.Parse(time.RFC3339, *l.Expiry)
		if err != nil {
			one.wrong = &complaint{"bad_expiry", "its expiry is not a time such as 2026-03-01T12:00:00Z"}
		}
		if expiry.Year() > 1 { // encoding/json writes an oauth2.Token without one so
			one.token.Expiry = expiry
		}
	}
	return one
}

// check returns what is wrong with a pair.
func (p *pair) check() *complaint {
	t := p.token
	switch {
	case p.user == "" || len(p.user) > tokenstore.MaxUserID || strings.ContainsRune(p.user, utf8.RuneError):
		return &complaint{"bad_user", fmt.Sprintf("its app_user_id is empty, longer than %d bytes, or not UTF-8", tokenstore.MaxUserID)}
	case t.RefreshToken == "":
		return &complaint{"no_refresh_token", "it has no refresh token: the patient has to approve"}
	case t.AccessToken == "":
		return &complaint{"no_access_token", "it has no access token: an expired one will do"}
	case t.TokenType != "" && !strings.EqualFold(t.TokenType, "Bearer"):
		return &complaint{"bad_type", "its token_type is not Bearer"}
	case len(t.AccessToken)+len(t.RefreshToken) > longestTokens:
		return &complaint{"too_long", fmt.Sprintf("its tokens are longer than %d bytes", longestTokens)}
	}
	return nil
}
