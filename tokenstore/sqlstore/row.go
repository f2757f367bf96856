// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"database/sql"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// columns are in the order of values and scan.
var columns = []string{
	"app_user_id", "version", "environment", "client_id", "state", "cause", "public_id", "claim",
	"pair", "candidate", "tried", "generation",
	"expires_at", "ends_at", "due_at", "tend_at", "linked_at", "refreshed_at",
	"lease_owner", "lease_beat", "lease_ttl", "lease_taken_at",
	"key_id", "details", "sealed",
}

func values(r tokenstore.Record) []any {
	return []any{
		[]byte(r.AppUserID), signed(r.Version), r.Environment, r.ClientID, string(r.State), r.Cause, r.PublicID, sql.NullString{String: r.Claim, Valid: r.Claim != ""},
		r.Pair, r.Candidate, int64(r.Tried), signed(r.Generation),
		micros(r.ExpiresAt), micros(r.EndsAt), micros(r.DueAt), micros(r.TendAt), micros(r.LinkedAt), micros(r.RefreshedAt),
		r.Lease.Owner, signed(r.Lease.Beat), r.Lease.TTL.Microseconds(), micros(r.Lease.TakenAt),
		r.KeyID, notNil(r.Details), notNil(r.Sealed),
	}
}

func scan(row interface{ Scan(...any) error }) (tokenstore.Record, error) {
	var (
		r                                                  tokenstore.Record
		id, details, sealed                                []byte
		state                                              string
		claim                                              sql.NullString
		version, tried, generation, beat, ttl              int64
		expires, ends, due, tend, linked, refreshed, taken sql.NullInt64
	)
	err := row.Scan(&id, &version, &r.Environment, &r.ClientID, &state, &r.Cause, &r.PublicID, &claim,
		&r.Pair, &r.Candidate, &tried, &generation,
		&expires, &ends, &due, &tend, &linked, &refreshed,
		&r.Lease.Owner, &beat, &ttl, &taken,
		&r.KeyID, &details, &sealed)
	if err != nil {
		return tokenstore.Record{}, err
	}
	r.AppUserID, r.Version, r.State, r.Generation = string(id), unsigned(version), tokenstore.State(state), unsigned(generation)
	r.Claim, r.Tried = claim.String, int(tried)
	r.ExpiresAt, r.EndsAt, r.DueAt, r.TendAt, r.LinkedAt, r.RefreshedAt = moment(expires), moment(ends), moment(due), moment(tend), moment(linked), moment(refreshed)
	r.Lease.Beat, r.Lease.TTL, r.Lease.TakenAt = unsigned(beat), time.Duration(ttl)*time.Microsecond, moment(taken)
	r.Details, r.Sealed = details, sealed
	return r, nil
}

// SQL has no unsigned numbers.
func signed(n uint64) int64   { return int64(n) }  //nolint:gosec // Save refuses what does not fit
func unsigned(n int64) uint64 { return uint64(n) } //nolint:gosec // Save wrote it

// micros is how a time is stored: a number has no zone and is rounded by nobody.
func micros(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

func moment(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.UnixMicro(n.Int64).UTC()
}

// notNil returns an empty value for nil, which would be stored as NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
