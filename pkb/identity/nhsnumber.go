// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"database/sql/driver"
	"errors"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/betawerk/pkb-go/internal/conceal"
)

// NHSNumber is a number of the form that the health services of England and Wales,
// Scotland and Northern Ireland share: ten digits, the last of which is a check
// digit. It prints [redacted] and refuses to be encoded, except in a database
// column (Scan and Value: ten digits, NULL for none). Reveal and Formatted return
// the digits. The zero NHSNumber is absent.
//
// Three questions about a number are independent:
//
//   - ChecksumValid: could these digits have been issued?
//   - Range: which service issues numbers in this range?
//   - [NationalID.Kind]: what does PKB present it as? Only this makes a number the
//     patient's NHS number.
//
// Compare numbers with Equal, not with ==.
type NHSNumber struct{ digits }

// digits are ten ASCII digits, or nothing.
type digits = conceal.Hidden[string]

var errNHSNumber = errors.New("identity: not an NHS number of ten digits")

// ParseNHSNumber parses ten digits as people type and paste them: with spaces,
// hyphens and dashes of any kind and invisible characters anywhere, such as the
// zero-width joiners of the NHS App, and with full-width digits, which East Asian
// keyboards type. Other scripts' digits are refused, as is everything else. It checks
// neither the check digit nor the range.
func ParseNHSNumber(s string) (NHSNumber, error) {
	read := make([]byte, 0, 10)
	for _, r := range s {
		if r >= '\uff10' && r <= '\uff19' {
			r -= '\uff10' - '0'
		}
		switch {
		case r >= '0' && r <= '9':
			if len(read) == 10 {
				return NHSNumber{}, errNHSNumber
			}
			read = utf8.AppendRune(read, r)
		case !isSeparator(r):
			return NHSNumber{}, errNHSNumber
		}
	}
	if len(read) != 10 {
		return NHSNumber{}, errNHSNumber
	}
	return NHSNumber{conceal.OfText(string(read))}, nil
}

// isSeparator reports whether r may separate digits.
func isSeparator(r rune) bool { return unicode.IsSpace(r) || isDash(r) || isInvisible(r) }

// isDash reports whether r is a hyphen, a dash or a minus.
func isDash(r rune) bool {
	return r == '-' || r == '\u2212' || r == '\u2043' || r > unicode.MaxASCII && unicode.Is(unicode.Pd, r)
}

// isInvisible reports whether r has no width: joiners, direction marks, soft hyphens,
// byte-order marks, and what selects a variant of the character before it.
func isInvisible(r rune) bool {
	return r > unicode.MaxASCII && (unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r) || r == '\u034f')
}

// Reveal returns the ten digits without spaces, or "".
func (n NHSNumber) Reveal() string { return conceal.Open(n.digits) }

// Formatted returns the number in clear for people to read, such as "999 156 6171",
// or "".
func (n NHSNumber) Formatted() string {
	if n.IsZero() {
		return ""
	}
	d := n.Reveal()
	return d[:3] + " " + d[3:6] + " " + d[6:]
}

// IsZero reports whether the number is absent.
func (n NHSNumber) IsZero() bool { return conceal.Absent(n.digits) }

// Value implements driver.Valuer: the ten digits, or NULL.
func (n NHSNumber) Value() (driver.Value, error) {
	if n.IsZero() {
		return nil, nil
	}
	return n.Reveal(), nil
}

// Scan implements sql.Scanner, for NULL and text that ParseNHSNumber accepts.
func (n *NHSNumber) Scan(column any) (err error) {
	switch v := column.(type) {
	case nil:
		*n = NHSNumber{}
	case string:
		*n, err = ParseNHSNumber(v)
	case []byte:
		*n, err = ParseNHSNumber(string(v))
	default:
		return errNHSNumber // a number would have lost its leading zeros
	}
	return err
}

// Equal reports whether both have the same digits, or are absent.
func (n NHSNumber) Equal(o NHSNumber) bool { return n.Reveal() == o.Reveal() }

// ChecksumValid reports whether the check digit is right: the sum of the digits,
// weighted 10 down to 1, is a multiple of 11. It detects each change of one digit
// and each swap of two different digits. One digit ten times over passes, such as
// 0000000000: valid is not issued. (NHS Data Dictionary: NHS NUMBER, whose five
// steps come to the same.)
func (n NHSNumber) ChecksumValid() bool {
	if n.IsZero() {
		return false
	}
	sum := 0
	for i, d := range []byte(n.Reveal()) {
		sum += (10 - i) * int(d-'0')
	}
	return sum%11 == 0
}

// NumberRange is the health service that a number's range belongs to; "" for none of
// the known ranges. England is said to issue more numbers that begin with 3; no
// official page with their bounds was found, so they are among these.
type NumberRange string

// The ranges do not overlap. PKB confirms none of them, and a number in a range
// need not have been issued.
const (
	// RangeEnglandWales: first nine digits 400 000 000 to 499 999 999 and
	// 600 000 000 to 799 999 999, of England, Wales and the Isle of Man.
	// (Wikipedia: NHS number; no official page with the bounds was found.)
	RangeEnglandWales NumberRange = "England, Wales and the Isle of Man"
	// RangeCHI: Scotland's Community Health Index. The first six digits are a
	// date of birth, DDMMYY, which puts them between 010 101 000 0 and
	// 311 299 999 9. (NHS Data Dictionary: COMMUNITY HEALTH INDEX NUMBER.)
	RangeCHI NumberRange = "Scotland (CHI)"
	// RangeNorthernIreland: first nine digits 320 000 001 to 399 999 999, the
	// Health and Care Number. (NHS Data Dictionary: HEALTH AND CARE NUMBER.)
	RangeNorthernIreland NumberRange = "Northern Ireland"
	// RangeTest: numbers that begin with 999 are for tests and are not issued.
	// (Wikipedia: NHS number.)
	RangeTest NumberRange = "test (999)"
)

// Range returns the range of the digits. It does not decide what kind of number PKB
// says it is: that is [NationalID.Kind].
func (n NHSNumber) Range() NumberRange {
	d := n.Reveal()
	switch {
	case d == "":
		return ""
	case d[:3] == "999":
		return RangeTest
	case d[0] == '4', d[0] == '6', d[0] == '7':
		return RangeEnglandWales
	case d[0] == '3' && d[:9] > "320000000":
		return RangeNorthernIreland
	}
	if _, err := time.Parse("020106", d[:6]); err == nil {
		return RangeCHI
	}
	return ""
}
