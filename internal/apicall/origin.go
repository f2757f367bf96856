// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package apicall

import (
	"net/url"
	"strings"
)

// Origin is the scheme and host, with port, that a bearer may be sent to.
type Origin struct{ Scheme, Host string }

// OriginOf returns the origin of an address as written.
func OriginOf(address string) Origin {
	u, err := url.Parse(address)
	if err != nil {
		return Origin{}
	}
	return Origin{u.Scheme, u.Host}
}

// SameOrigin reports whether two addresses have the same origin, ignoring the case
// of the host and a default port.
func SameOrigin(a, b string) bool {
	u, err := url.Parse(a)
	if err != nil {
		return false
	}
	v, err := url.Parse(b)
	return err == nil && u.Scheme == v.Scheme && u.Hostname() != "" && strings.EqualFold(u.Hostname(), v.Hostname()) && port(u) == port(v)
}

func port(u *url.URL) string {
	switch p := u.Port(); {
	case p != "":
		return p
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
