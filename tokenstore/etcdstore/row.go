// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package etcdstore

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/betawerk/pkb-go/tokenstore"
)

// row is a record as its value holds it, in JSON, which operators can read (etcdctl
// get), and to which a later release can add without breaking this one. The id is the
// key's, and the version is etcd's.
type row struct {
	// Format is 1. A record of another format is not read.
	Format int `json:"format"`
	// Write names the Save that wrote the value, by which it knows its own.
	Write string `json:"write,omitempty"`

	Environment string `json:"environment,omitempty"`
	ClientID    string `json:"client_id,omitempty"`
	State       string `json:"state,omitempty"`
	Cause       string `json:"cause,omitempty"`
	PublicID    string `json:"public_id,omitempty"`
	Claim       string `json:"claim,omitempty"`
	Pair        string `json:"pair,omitempty"`
	Candidate   string `json:"candidate,omitempty"`
	Tried       int    `json:"tried,omitempty"`
	Generation  uint64 `json:"generation,omitempty"`

	ExpiresAt   micros `json:"expires_at,omitempty"`
	EndsAt      micros `json:"ends_at,omitempty"`
	DueAt       micros `json:"due_at,omitempty"`
	TendAt      micros `json:"tend_at,omitempty"`
	LinkedAt    micros `json:"linked_at,omitempty"`
	RefreshedAt micros `json:"refreshed_at,omitempty"`

	LeaseOwner   string `json:"lease_owner,omitempty"`
	LeaseBeat    uint64 `json:"lease_beat,omitempty"`
	LeaseTTL     int64  `json:"lease_ttl,omitempty"` // in microseconds
	LeaseTakenAt micros `json:"lease_taken_at,omitempty"`

	KeyID   string `json:"key_id,omitempty"`
	Details []byte `json:"details,omitempty"`
	Sealed  []byte `json:"sealed,omitempty"`
}

const format = 1

// micros is a time as a number, in microseconds since 1970, which has no zone and is
// rounded by nobody; nil is the zero time.
type micros *int64

func microsOf(t time.Time) micros {
	if t.IsZero() {
		return nil
	}
	return new(t.UnixMicro())
}

func moment(m micros) time.Time {
	if m == nil {
		return time.Time{}
	}
	return time.UnixMicro(*m).UTC()
}

// maxText bounds the texts of a record that have no limit of their own, in bytes, and
// texts counts them.
const (
	maxText = 4096
	texts   = 8
)

// encode returns the value that a write gives a record, which went through Prepare, or
// ErrInvalid.
func encode(r tokenstore.Record, write string) ([]byte, error) {
	for _, text := range [texts]string{r.Environment, r.ClientID, string(r.State), r.Cause, r.PublicID, r.Claim, r.Lease.Owner, r.KeyID} {
		if len(text) > maxText || !utf8.ValidString(text) {
			return nil, tokenstore.ErrInvalid // JSON would change it
		}
	}
	return json.Marshal(row{
		Format: format, Write: write,
		Environment: r.Environment, ClientID: r.ClientID, State: string(r.State), Cause: r.Cause, PublicID: r.PublicID, Claim: r.Claim,
		Pair: r.Pair, Candidate: r.Candidate, Tried: r.Tried, Generation: r.Generation,
		ExpiresAt: microsOf(r.ExpiresAt), EndsAt: microsOf(r.EndsAt), DueAt: microsOf(r.DueAt), TendAt: microsOf(r.TendAt),
		LinkedAt: microsOf(r.LinkedAt), RefreshedAt: microsOf(r.RefreshedAt),
		LeaseOwner: r.Lease.Owner, LeaseBeat: r.Lease.Beat, LeaseTTL: r.Lease.TTL.Microseconds(), LeaseTakenAt: microsOf(r.Lease.TakenAt),
		KeyID: r.KeyID, Details: r.Details, Sealed: r.Sealed,
	})
}

// wroteBy reports whether a write gave a key its value.
func wroteBy(write string, kv *mvccpb.KeyValue) bool {
	var v row
	return json.Unmarshal(kv.Value, &v) == nil && v.Write == write
}

// decode returns the record in a key, or ErrDamaged.
func (s *Store) decode(op string, kv *mvccpb.KeyValue) (tokenstore.Record, error) {
	var v row
	if err := json.Unmarshal(kv.Value, &v); err != nil || v.Format != format {
		return tokenstore.Record{}, &Error{Op: op, kind: ErrDamaged, cause: err}
	}
	return tokenstore.Record{
		AppUserID: strings.TrimPrefix(string(kv.Key), s.records), Version: version(kv.ModRevision),
		Environment: v.Environment, ClientID: v.ClientID, State: tokenstore.State(v.State), Cause: v.Cause, PublicID: v.PublicID, Claim: v.Claim,
		Pair: v.Pair, Candidate: v.Candidate, Tried: v.Tried, Generation: v.Generation,
		ExpiresAt: moment(v.ExpiresAt), EndsAt: moment(v.EndsAt), DueAt: moment(v.DueAt), TendAt: moment(v.TendAt),
		LinkedAt: moment(v.LinkedAt), RefreshedAt: moment(v.RefreshedAt),
		Lease: tokenstore.Lease{
			Owner: v.LeaseOwner, Beat: v.LeaseBeat, TTL: time.Duration(v.LeaseTTL) * time.Microsecond, TakenAt: moment(v.LeaseTakenAt),
		},
		KeyID: v.KeyID, Details: v.Details, Sealed: v.Sealed,
	}, nil
}
