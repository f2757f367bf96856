// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"bytes"
	"strings"
)

// isDeceased reports whether a member is a date of death or true: date is what was
// read of it, sent its JSON. PKB's pages do not show the format, so anything with a
// year in it in which a user of PKB can have died is a date, and so is a time in
// seconds or milliseconds.
func isDeceased(date Date, sent []byte) bool {
	if date != "" {
		return !date.isStandIn()
	}
	text := strings.TrimSpace(string(bytes.Trim(sent, `"`)))
	return strings.EqualFold(text, "true") || hasYear(text)
}

// hasYear reports whether there is a number in text that is a year after 1970, begins
// with one, such as 20240229, or is a time since then.
func hasYear(text string) bool {
	for text != "" {
		begin := strings.IndexAny(text, "0123456789")
		if begin < 0 {
			return false
		}
		negative := begin > 0 && text[begin-1] == '-'
		text = text[begin:]
		digits := text[:len(text)-len(strings.TrimLeft(text, "0123456789"))]
		text = text[len(digits):]
		switch len(digits) {
		case 4, 8, 14: // 2024, 20240229, 20240229100000
			if year := digits[:4]; year > "1970" && year < "2200" {
				return true
			}
		case 9, 10, 12, 13: // seconds or milliseconds, from 1973 or 2001 to 2286
			if !negative && digits[0] != '0' {
				return true
			}
		}
	}
	return false
}
