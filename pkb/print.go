// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/betawerk/pkb-go/internal/conceal"
)

// Values that name a user or a patient print without the app_user_id, which may be
// an e-mail address, and without the public id: a link prints as its log name.

// Format implements fmt.Formatter: a Link prints without its ids.
func (l Link) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "link="+conceal.LinkName(l.AppUserID)+" "+string(l.State))
	if l.Cause != "" {
		_, _ = io.WriteString(f, " ("+string(l.Cause)+")")
	}
	if !l.Verified {
		_, _ = io.WriteString(f, ", not verified")
	}
	if l.Unchecked {
		_, _ = io.WriteString(f, ", an authorization waits to be checked")
	}
	for _, at := range l.times() {
		if !at.IsZero() {
			_, _ = io.WriteString(f, ", "+at.says+" "+at.Time.UTC().Format(time.RFC3339))
		}
	}
}

type linkTime struct {
	says, key string
	time.Time
}

func (l Link) times() []linkTime {
	return []linkTime{
		{"linked", "linked_at", l.LinkedAt}, {"refreshed", "refreshed_at", l.RefreshedAt}, {"expires", "expires_at", l.ExpiresAt},
		{"ends", "ends_at", l.EndsAt}, {"due", "due_at", l.DueAt},
	}
}

// LogValue implements slog.LogValuer, without the ids.
func (l Link) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("link", conceal.LinkName(l.AppUserID)), slog.String("state", string(l.State)), slog.Bool("verified", l.Verified),
	}
	if l.Cause != "" {
		attrs = append(attrs, slog.String("cause", string(l.Cause)))
	}
	if l.Unchecked {
		attrs = append(attrs, slog.Bool("unchecked", true))
	}
	for _, at := range l.times() {
		if !at.IsZero() {
			attrs = append(attrs, slog.Time(at.key, at.Time))
		}
	}
	return slog.GroupValue(attrs...)
}

// Types used by pointer also have a String method: templates follow pointers
// without one.

// String implements fmt.Stringer: a Patient prints without the app_user_id.
func (p *Patient) String() string {
	if p == nil {
		return "(*pkb.Patient)(nil)"
	}
	return "pkb.Patient{link=" + conceal.LinkName(p.appUserID) + "}"
}

// Format implements fmt.Formatter.
func (p *Patient) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// String implements fmt.Stringer.
func (c *Client) String() string { return fmt.Sprint(c) }

// String implements fmt.Stringer.
func (w *Web) String() string { return fmt.Sprint(w) }

func (b *bearer) String() string { return fmt.Sprint(b) }

func (s tokenSource) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "pkb.TokenSource{link="+conceal.LinkName(s.appUserID)+"}")
}

// Errors print as their text under every verb and in JSON.

// Format implements fmt.Formatter.
func (e *APIError) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.Error()) }

// MarshalJSON implements json.Marshaler.
func (e *APIError) MarshalJSON() ([]byte, error) { return json.Marshal(e.Error()) }

// Format implements fmt.Formatter.
func (e *TryLaterError) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.Error()) }

// MarshalJSON implements json.Marshaler.
func (e *TryLaterError) MarshalJSON() ([]byte, error) { return json.Marshal(e.Error()) }

// Format implements fmt.Formatter.
func (e *SharedRecordError) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.Error()) }

// MarshalJSON implements json.Marshaler.
func (e *SharedRecordError) MarshalJSON() ([]byte, error) { return json.Marshal(e.Error()) }

func (e *storeFailure) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, e.Error()) }
func (e *uncheckedError) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.Error()) }
func (e *keysError) Format(f fmt.State, _ rune)      { _, _ = io.WriteString(f, e.Error()) }
func (e *identifyError) Format(f fmt.State, _ rune)  { _, _ = io.WriteString(f, e.Error()) }
func (e *contentError) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, e.Error()) }
func (e *unspoken) Format(f fmt.State, _ rune)       { _, _ = io.WriteString(f, e.Error()) }

// quietLog logs errors as hosts get them, because a handler may print the chain. A
// handler that fails costs the line.
type quietLog struct {
	slog.Handler
	contained *containment
}

// Enabled implements slog.Handler.
func (h quietLog) Enabled(ctx context.Context, level slog.Level) bool {
	yes, _ := contain(h.contained, "Handler.Enabled", func() bool { return h.Handler.Enabled(ctx, level) })
	return yes
}

// Handle implements slog.Handler.
func (h quietLog) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(quietAttr(a))
		return true
	})
	err, _ := contain(h.contained, "Handler.Handle", func() error { return h.Handler.Handle(ctx, out) })
	return err
}

// WithAttrs implements slog.Handler.
func (h quietLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	quieted := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		quieted[i] = quietAttr(a)
	}
	return quietLog{h.Handler.WithAttrs(quieted), h.contained}
}

func (h quietLog) WithGroup(name string) slog.Handler {
	return quietLog{h.Handler.WithGroup(name), h.contained}
}

func quietAttr(a slog.Attr) slog.Attr {
	if err, ok := a.Value.Any().(error); ok && a.Value.Kind() == slog.KindAny {
		return slog.Any(a.Key, told(err))
	}
	return a
}
