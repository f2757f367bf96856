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

// SameServer reports whether an address in a response of the server at base is on that
// server. It has the origin of base, ignoring the case of the host and a default port;
// or it is the http form of an https origin, as a server writes its own address that
// does not know of the proxy at which TLS ends. Send requests to the origin of base.
func SameServer(base, address string) bool {
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	v, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || !strings.EqualFold(u.Hostname(), v.Hostname()) {
		return false
	}
	if u.Scheme == v.Scheme {
		return port(u) == port(v)
	}
	return u.Scheme == "https" && v.Scheme == "http" && (port(v) == "80" || port(v) == port(u))
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
