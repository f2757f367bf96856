// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenwire

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// longestLife bounds expires_in: a larger figure is a mistake, and would keep a
// token long after its end.
const longestLife = 24 * time.Hour

// Grant is a token response, read.
type Grant struct {
	AccessToken string
	// RefreshToken is "" if it is absent.
	RefreshToken string
	// Scope is the granted scope; "" if it is absent.
	Scope string
	// ExpiresIn is the life of the access token; 0 if it is absent or no sensible
	// number.
	ExpiresIn time.Duration
}

// String implements fmt.Stringer: a Grant prints nothing of itself.
func (Grant) String() string { return "[redacted]" }

func (Grant) GoString() string { return "[redacted]" }

// Parse reads a token response. It requires an access token of type Bearer, and is
// tolerant of everything else: the content type, a byte-order mark, extra and
// repeated members, numbers in strings. Its errors repeat nothing of the body.
func Parse(body []byte) (Grant, error) {
	body = bytes.TrimSpace(trimBOM(body))
	if len(body) == 0 {
		return Grant{}, &Failure{What: "the token response is empty"}
	}
	// A map, not a struct: member names match exactly, and an odd type in one member
	// does not spoil the others.
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		if body[0] == '<' {
			return Grant{}, &Failure{What: "the token response is a web page, not JSON"}
		}
		return Grant{}, &Failure{What: "the token response is not a JSON object"}
	}
	g := Grant{
		AccessToken:  text(members["access_token"]),
		RefreshToken: text(members["refresh_token"]),
		Scope:        text(members["scope"]),
		ExpiresIn:    seconds(members["expires_in"]),
	}
	switch kind := text(members["token_type"]); {
	case g.AccessToken == "" && len(members["error"]) > 0:
		return Grant{}, &Failure{What: "the token response has status 200 and an error in it"}
	case g.AccessToken == "":
		return Grant{}, &Failure{What: "the token response has no access_token"}
	case !headerSafe(g.AccessToken):
		return Grant{}, &Failure{What: "the access_token cannot be sent in a header"}
	case kind != "" && !strings.EqualFold(kind, "Bearer"):
		return Grant{}, &Failure{What: "the token response has a token_type other than Bearer"}
	}
	return g, nil
}

func text(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	if plain := string(raw[1:max(len(raw)-1, 1)]); raw[0] == '"' && headerSafe(plain) && !strings.ContainsAny(plain, `\"`) {
		return plain // as almost all are
	}
	var s string
	_ = json.Unmarshal(raw, &s) // null, absent and other types are all ""
	return s
}

// seconds reads a number, or a string with a number in it; otherwise it returns 0.
func seconds(raw json.RawMessage) time.Duration {
	s := strings.TrimSpace(string(raw))
	if strings.HasPrefix(s, `"`) {
		s = strings.TrimSpace(text(raw))
	}
	f, err := strconv.ParseFloat(s, 64)
	if math.IsNaN(f) || f <= 0 || (err != nil && !math.IsInf(f, 1)) {
		return 0
	}
	if f >= longestLife.Seconds() {
		return longestLife
	}
	return time.Duration(f * float64(time.Second))
}

// headerSafe reports whether s may stand in an Authorization header: visible ASCII
// without spaces (RFC 6750 section 2.1 is narrower still).
func headerSafe(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

func trimBOM(b []byte) []byte { return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) }
