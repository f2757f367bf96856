// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"database/sql"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// columns are a row's, in the order of values and scan.
var columns = []string{
	"app_user_id", "version", "environment", "client_id", "state", "cause", "public_id", "generation",
	"expires_at", "ends_at", "due_at", "linked_at", "refreshed_at",
	"lease_owner", "lease_fence", "lease_renewed_at", "lease_expires_at",
	"intent_generation", "intent_attempt", "intent_sent_at",
	"key_id", "details", "sealed",
}

// values returns r's columns.
func values(r tokenstore.Record) []any {
	return []any{
		[]byte(r.AppUserID), signed(r.Version), r.Environment, r.ClientID, string(r.State), r.Cause, r.PublicID, signed(r.Generation),
		micros(r.ExpiresAt), micros(r.EndsAt), micros(r.DueAt), micros(r.LinkedAt), micros(r.RefreshedAt),
		r.Lease.Owner, signed(r.Lease.Fence), micros(r.Lease.RenewedAt), micros(r.Lease.ExpiresAt),
		signed(r.Intent.Generation), int64(r.Intent.Attempt), micros(r.Intent.SentAt),
		r.KeyID, notNil(r.Details), notNil(r.Sealed),
	}
}

// scan reads one row.
func scan(row interface{ Scan(...any) error }) (tokenstore.Record, error) {
	var (
		r                                                            tokenstore.Record
		id, details, sealed                                          []byte
		state                                                        string
		version, generation, fence, intended, attempt                int64
		expires, ends, due, linked, refreshed, renewed, leased, sent sql.NullInt64
	)
	err := row.Scan(&id, &version, &r.Environment, &r.ClientID, &state, &r.Cause, &r.PublicID, &generation,
		&expires, &ends, &due, &linked, &refreshed,
		&r.Lease.Owner, &fence, &renewed, &leased,
		&intended, &attempt, &sent,
		&r.KeyID, &details, &sealed)
	if err != nil {
		return tokenstore.Record{}, err
	}
	r.AppUserID, r.Version, r.State, r.Generation = string(id), unsigned(version), tokenstore.State(state), unsigned(generation)
	r.ExpiresAt, r.EndsAt, r.DueAt, r.LinkedAt, r.RefreshedAt = moment(expires), moment(ends), moment(due), moment(linked), moment(refreshed)
	r.Lease.Fence, r.Lease.RenewedAt, r.Lease.ExpiresAt = unsigned(fence), moment(renewed), moment(leased)
	r.Intent = tokenstore.Intent{Generation: unsigned(intended), Attempt: int(attempt), SentAt: moment(sent)}
	r.Details, r.Sealed = details, sealed
	return r, nil
}

// signed and unsigned are for what SQL has no unsigned numbers for.
func signed(n uint64) int64   { return int64(n) }  //nolint:gosec // Save refuses what does not fit
func unsigned(n int64) uint64 { return uint64(n) } //nolint:gosec // Save wrote it

// micros is how a time is kept: a number has no zone and is rounded by nobody.
func micros(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

func moment(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.UnixMicro(n.Int64).UTC()
}

// notNil makes nothing an empty value, and not NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
