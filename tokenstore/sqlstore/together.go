// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/betawerk/pkb-go/tokenstore"
)

// Under load, a database spends more on statements and commits than on rows. So what
// several callers want while a statement is on its way is sent together: the rows to
// load, and the leases to take. What would be missed if it failed travels by itself: no
// other row delays a save that has new tokens in it, or fails with it.
const (
	// alone is how many statements of a kind are on their way before others wait: for
	// the end of one, or until there are mostTogether, and for togetherAfter at most.
	alone         = 1
	mostTogether  = 32
	togetherAfter = 5 * time.Millisecond
)

// errand is a record that is to be loaded or saved, and then is as it was found or
// written.
type errand struct {
	ctx  context.Context // of the caller
	rec  tokenstore.Record
	was  uint64 // the version that is replaced
	row  string // of a save, as JSON
	done bool
}

// together sends errands of a kind. A statement does those that it can do at once.
type together struct {
	send func(context.Context, []*errand) error

	mu    sync.Mutex
	under int // statements on their way
	next  *group
}

// group is what one statement is for.
type group struct {
	errands []*errand
	timer   *time.Timer
	done    chan struct{}
	err     error
}

// do has an errand done, with one, or together with others. Of what another statement
// has not done, one knows the reason.
func (t *together) do(e *errand, one func() error) error {
	g := t.join(e)
	if g == nil {
		defer t.end()
		return one()
	}
	select {
	case <-g.done:
	case <-e.ctx.Done():
		return e.ctx.Err()
	}
	switch {
	case errors.Is(g.err, ErrUnavailable):
		return g.err // it may have been done
	case g.err == nil && e.done:
		return nil
	}
	return one()
}

// join returns the group that an errand is in, or nil if it goes by itself.
func (t *together) join(e *errand) *group {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.under < alone {
		t.under++
		return nil
	}
	g := t.next
	if g == nil {
		g = &group{done: make(chan struct{})}
		g.timer = time.AfterFunc(togetherAfter, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			if t.next == g {
				t.depart()
			}
		})
		t.next = g
	}
	if g.errands = append(g.errands, e); len(g.errands) == mostTogether {
		t.depart()
	}
	return g
}

// depart sends what waits; t.mu is held.
func (t *together) depart() {
	g := t.next
	t.next = nil
	t.under++
	g.timer.Stop()
	go t.run(g)
}

func (t *together) run(g *group) {
	defer t.end()
	defer close(g.done)
	defer func() { _ = recover() }() // of a driver: it panics again where its caller sees it
	g.err = errors.New("the driver did not return")
	// Nothing is sent for who has left. The first caller's context has the values, and
	// ends for none of the others.
	if here := slices.DeleteFunc(g.errands, func(e *errand) bool { return e.ctx.Err() != nil }); len(here) > 0 {
		g.err = t.send(context.WithoutCancel(here[0].ctx), here)
	}
}

// end is the end of a statement.
func (t *together) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.under--; t.next != nil && t.under < alone {
		t.depart()
	}
}

// writeTogether makes the statements for several rows. Their parameters are lists, so
// that each is one statement to prepare, however many rows it is for. The limit is for
// the planner, which would take a list in JSON for a longer one, and read the whole table.
func (s *Store) writeTogether() {
	var set []string
	for _, c := range columns {
		if c != "app_user_id" {
			set = append(set, c+" = n."+c)
		}
	}
	s.loadAll = fmt.Sprintf(`SELECT %s FROM %s
		WHERE app_user_id IN (SELECT decode(id, 'hex') FROM json_array_elements_text(CAST($1 AS text)::json) AS id LIMIT %d)`,
		strings.Join(columns, ", "), s.table, mostTogether)
	// A row that another transaction has locked, or changed, is left out: nothing here
	// waits for a lock.
	s.leaseAll = fmt.Sprintf(`WITH n AS MATERIALIZED (
			SELECT row.*, row.unnest AS was FROM ROWS FROM (
				json_populate_recordset(NULL::%[1]s, CAST($1 AS text)::json), unnest(string_to_array($2, ',')::bigint[])
			) AS row LIMIT %[2]d
		), free AS MATERIALIZED (
			SELECT n.* FROM %[1]s AS l JOIN n ON l.app_user_id = n.app_user_id AND l.version = n.was FOR NO KEY UPDATE OF l SKIP LOCKED
		)
		UPDATE %[1]s AS l SET %[3]s FROM free AS n
		WHERE l.app_user_id = n.app_user_id AND l.version = n.was RETURNING l.app_user_id, l.version`,
		s.table, mostTogether, strings.Join(set, ", "))
}

// loadTogether loads the rows that exist.
func (s *Store) loadTogether(ctx context.Context, errands []*errand) error {
	ids := make([]string, len(errands))
	for i, e := range errands {
		ids[i] = hex.EncodeToString([]byte(e.rec.AppUserID))
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	return s.rows(ctx, "load", s.loadAll, []any{string(list)}, func(rows *sql.Rows) error {
		r, err := scan(rows)
		if err != nil {
			return err
		}
		for _, e := range errands {
			if !e.done && e.rec.AppUserID == r.AppUserID {
				e.rec, e.done = r, true
				r = r.Clone() // each has one of its own
			}
		}
		return nil
	})
}

// leaseTogether saves the records whose rows are free, and as they were.
func (s *Store) leaseTogether(ctx context.Context, errands []*errand) error {
	rows, was := make([]string, len(errands)), make([]string, len(errands))
	for i, e := range errands {
		rows[i], was[i] = e.row, strconv.FormatUint(e.was, 10)
	}
	list := "[" + strings.Join(rows, ",") + "]"
	return s.rows(ctx, "save", s.leaseAll, []any{list, strings.Join(was, ",")}, func(rows *sql.Rows) error {
		var id []byte
		var version int64
		if err := rows.Scan(&id, &version); err != nil {
			return err
		}
		if i := slices.IndexFunc(errands, func(e *errand) bool {
			return e.rec.AppUserID == string(id) && e.rec.Version == unsigned(version)
		}); i >= 0 {
			errands[i].done = true
		}
		return nil
	})
}

// rows sends a statement once, and reads what it returns.
func (s *Store) rows(ctx context.Context, op, statement string, args []any, read func(*sql.Rows) error) error {
	return s.attempt(ctx, op, 1, func(ctx context.Context) error { return s.each(ctx, statement, args, read) })
}

// lease returns a record that holds a lease as the JSON of its row, or "" if it has
// to be saved by itself: because it may have new tokens in it, or is nothing that
// JSON can hold.
func (s *Store) lease(r tokenstore.Record) string {
	if !dialects[s.dialect].together || r.Lease.Owner == "" {
		return ""
	}
	b := make([]byte, 0, 1<<10+2*(len(r.Details)+len(r.Sealed)))
	for i, v := range values(r) {
		if null, ok := v.(driver.Valuer); ok {
			v, _ = null.Value() // never fails
		}
		b = append(append(append(b, `,"`...), columns[i]...), `":`...)
		switch v := v.(type) {
		case []byte:
			b = append(hex.AppendEncode(append(b, `"\\x`...), v), '"')
		case string:
			text, err := json.Marshal(v)
			if err != nil || !utf8.ValidString(v) {
				return ""
			}
			b = append(b, text...)
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case nil:
			b = append(b, "null"...)
		}
	}
	b[0] = '{'
	return string(append(b, '}'))
}
