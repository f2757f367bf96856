// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// originals is how many links of each fate are lived through. All others are copies of
// them for other users, which look the same and whose tokens do not open.
const originals = 4

// makeUp fills the store with so many made-up links, for a look at the operator's
// pages.
func makeUp(ctx context.Context, p *past, d *data, count int) error {
	var lives []*life
	of := map[*fate][]string{}
	for n := range count {
		f := fateOf(n)
		if len(of[f]) == originals {
			continue
		}
		l := &life{user: madeUpUser(n), fate: f, linked: pastStep * time.Duration(12+5*len(of[f])+n%7), met: pastLength - pastStep*time.Duration(1+3*len(of[f])+n%3)}
		if f.early {
			l.linked = pastStep * time.Duration(len(of[f]))
		}
		of[f], lives = append(of[f], l.user), append(lives, l)
	}
	records, err := p.live(ctx, lives)
	if err != nil {
		return err
	}
	for _, r := range records {
		r.Version = 0
		r.TendAt = time.Time{} // nobody looks after it: it is to stay as it is
		if _, err := d.links.Save(ctx, r); errors.Is(err, tokenstore.ErrConflict) {
			return errors.New("-links is for a new database: this one has made-up links already")
		} else if err != nil {
			return err
		}
	}
	return copies(ctx, d, of, count)
}

// madeUpAccounts are the first made-up users, one of each fate, to sign in as.
func madeUpAccounts(links int) (all []account) {
	for n := range min(links, len(fates)) {
		all = append(all, account{ID: madeUpUser(n), Name: madeUpUser(n) + ", " + fates[n].name, MadeUp: true})
	}
	return all
}

// copies writes the other links, many at a time: each is a row of an original, under
// its own user and public id.
func copies(ctx context.Context, d *data, of map[*fate][]string, count int) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()                  // which does nothing after Commit
	b := &bulk{tx: tx, rows: map[string]*row{}, most: 25} // SQLite's driver is slow with many parameters
	if d.dialect == sqlstore.Postgres {
		b.most = 500
	}
	for n := range count {
		from := of[fateOf(n)]
		original := from[n%len(from)]
		if user := madeUpUser(n); user != original {
			if err := b.add(ctx, original, user); err != nil {
				return err
			}
		}
	}
	if err := b.flush(ctx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	tidy := "ANALYZE"
	if d.dialect == sqlstore.Postgres {
		tidy = "VACUUM ANALYZE " + linksTable
	}
	_, err = d.db.ExecContext(ctx, tidy)
	return err
}

// row is a row of the table of links, whatever its columns.
type row struct {
	columns []string
	values  []any
}

// bulk collects rows until there are enough for one statement.
type bulk struct {
	tx      *sql.Tx
	rows    map[string]*row // the originals
	columns []string
	args    []any
	// n is how many rows wait; most is for one statement.
	n, most int
}

func (b *bulk) add(ctx context.Context, original, user string) error {
	from := b.rows[original]
	if from == nil {
		var err error
		if from, err = b.read(ctx, original); err != nil {
			return err
		}
		b.rows[original] = from
	}
	for i, c := range from.columns {
		value := from.values[i]
		switch c {
		case "app_user_id":
			value = []byte(user)
		case "public_id":
			if value != "" {
				value = madeUpPublicID()
			}
		}
		b.args = append(b.args, value)
	}
	b.columns = from.columns
	if b.n++; b.n == b.most {
		return b.flush(ctx)
	}
	return nil
}

func (b *bulk) read(ctx context.Context, user string) (*row, error) {
	rows, err := b.tx.QueryContext(ctx, "SELECT * FROM "+linksTable+" WHERE app_user_id = $1", []byte(user))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has the error
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	if !rows.Next() {
		return nil, errors.Join(rows.Err(), errors.New("a made-up link that was saved is not there"))
	}
	r := &row{columns: columns, values: make([]any, len(columns))}
	into := make([]any, len(columns))
	for i := range into {
		into[i] = &r.values[i]
	}
	return r, errors.Join(rows.Scan(into...), rows.Err())
}

func (b *bulk) flush(ctx context.Context) error {
	if b.n == 0 {
		return nil
	}
	var q strings.Builder
	q.WriteString("INSERT INTO " + linksTable + " (" + strings.Join(b.columns, ", ") + ") VALUES ")
	for i := range b.args {
		switch {
		case i == 0:
			q.WriteString("(")
		case i%len(b.columns) == 0:
			q.WriteString("), (")
		default:
			q.WriteString(", ")
		}
		fmt.Fprintf(&q, "$%d", i+1)
	}
	q.WriteString(") ON CONFLICT DO NOTHING")
	_, err := b.tx.ExecContext(ctx, q.String(), b.args...)
	b.args, b.n = b.args[:0], 0
	return err
}

// madeUpPublicID returns a random UUID.
func madeUpPublicID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // which never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
