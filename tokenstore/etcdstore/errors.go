// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/betawerk/pkb-go/tokenstore"
)

// What is wrong with etcd, for errors.Is. None of them is about a link: no patient has
// to do anything.
var (
	// ErrUnavailable: etcd could not be reached, has no leader, went away or did not
	// respond in time. What was sent may have been done or not. It is
	// tokenstore.ErrUnavailable, too.
	ErrUnavailable error = temporary("etcd is not available")
	// ErrBusy: etcd had too many requests, again and again. Nothing was written. It is
	// tokenstore.ErrUnavailable, too.
	ErrBusy error = temporary("etcd has too many requests")
	// ErrFull: etcd has reached its quota and takes no writes. Compact, defragment and
	// disarm the alarm, or raise --quota-backend-bytes. Nothing was written.
	ErrFull = errors.New("etcd has no space left within its quota; compact, defragment and disarm the alarm")
	// ErrRefused: etcd refuses this user. The role needs readwrite on the whole
	// prefix. Nothing was written.
	ErrRefused = errors.New("etcd refused the user; the role needs readwrite on the prefix")
	// ErrSettings: etcd takes smaller requests than this store sends. The text names
	// the flag to raise; see Store.Check. Nothing was written.
	ErrSettings = errors.New("etcd is not set up for this store")
	// ErrDamaged: a key of the prefix holds something else than a record of this
	// package, or a record of a later release. Nothing was written.
	ErrDamaged = errors.New("a key of the prefix does not hold a record that this release can read")
)

// temporary is an error that ends by itself.
type temporary string

func (e temporary) Error() string      { return string(e) }
func (temporary) Is(target error) bool { return target == tokenstore.ErrUnavailable }

// Error is a failure of etcd. Its text has the code of gRPC, and nothing of a record
// or of etcd's text.
type Error struct {
	// Op is the operation: load, save, delete, list, find, count, due or check.
	Op string
	// Code is gRPC's name of the status, such as "Unavailable", or empty.
	Code string

	kind  error
	text  string
	cause error
}

// Error implements error.
func (e *Error) Error() string {
	text := "etcdstore: " + e.Op + ": "
	if e.kind != nil {
		text += e.kind.Error()
	} else {
		text += "etcd failed"
	}
	if e.text != "" {
		text += ": " + e.text
	}
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	return text
}

// Unwrap returns one of this package's errors, and the client's for errors.As.
func (e *Error) Unwrap() (causes []error) {
	for _, err := range []error{e.kind, e.cause} {
		if err != nil {
			causes = append(causes, err)
		}
	}
	return causes
}

// Format implements fmt.Formatter: every verb prints the text alone.
func (e *Error) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.Error()) }

// The flags to raise.
const (
	requestText = "requests may be too small: raise --max-request-bytes to its default of 1.5 MiB"
	opsText     = "transactions may be too short: raise --max-txn-ops to its default of 128"
)

// explain turns an error of the client into one of this package's.
func explain(op string, err error) error {
	code := codeOf(err)
	e := &Error{Op: op, cause: err, Code: code.String()}
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		e.kind = ErrFull
	case errors.Is(err, rpctypes.ErrTooManyRequests):
		e.kind = ErrBusy
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		e.kind, e.text = ErrSettings, requestText
	case errors.Is(err, rpctypes.ErrTooManyOps):
		e.kind, e.text = ErrSettings, opsText
	case code == codes.PermissionDenied, code == codes.Unauthenticated, errors.Is(err, rpctypes.ErrAuthFailed),
		errors.Is(err, rpctypes.ErrUserEmpty), errors.Is(err, rpctypes.ErrUserNotFound), errors.Is(err, rpctypes.ErrAuthOldRevision):
		e.kind = ErrRefused
	case code == codes.Unavailable, code == codes.DeadlineExceeded, code == codes.Canceled:
		e.kind = ErrUnavailable // no context of a caller has ended: a member has stopped
	}
	return e
}

// codeOf returns the code of an error of the client.
func codeOf(err error) codes.Code {
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		return e.Code()
	}
	s, ok := status.FromError(err)
	switch {
	case !ok:
		return status.FromContextError(err).Code()
	case s.Message() == context.Canceled.Error() || s.Message() == context.DeadlineExceeded.Error():
		return codes.Unavailable // etcd 3.4 sends an error of its own context as unknown
	}
	return s.Code()
}

// pause waits before a request is sent again, longer with each try. It reports whether
// there is time left for it.
func pause(ctx context.Context, try int) bool {
	base := time.Millisecond << min(try, 6)
	wait := time.NewTimer(base/2 + rand.N(base))
	defer wait.Stop()
	select {
	case <-wait.C:
		return true
	case <-ctx.Done():
		return false
	}
}
