// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package apicall

import (
	"net"
	"net/url"
	"strings"
)

// CheckAddress returns what is wrong with one of PKB's addresses, or "".
func CheckAddress(s string) string {
	if s == "" {
		return "is empty: it is a full https address"
	}
	if !Printable(s) {
		return "has a space or another character that an address cannot have"
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "is not a full https address, such as https://sandbox.patientsknowbest.com"
	case u.User != nil:
		return "has a user name or password: remove it"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "has a query or fragment: remove it"
	case u.Scheme == "http" && !IsLoopback(u.Hostname()):
		return "is plain http: tokens are sent over https only (http is accepted for loopback addresses, such as 127.0.0.1)"
	}
	return ""
}

// Printable reports whether s has nothing but printable ASCII, and no spaces.
func Printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// IsLoopback reports whether a host is this computer.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
