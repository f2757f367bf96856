// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"fmt"
	"strconv"
	"strings"
)

// Dialect is the SQL that a database speaks.
type Dialect string

// The dialects.
const (
	// Postgres is PostgreSQL, or a database with its protocol and SQL.
	Postgres Dialect = "postgres"
	// MySQL is MySQL 8 and MariaDB 10.5, and later ones.
	MySQL Dialect = "mysql"
	// SQLite is SQLite 3.35 and later.
	SQLite Dialect = "sqlite"
)

// dialects are the differences between them.
var dialects = map[Dialect]struct {
	quote string
	// numbered: parameters are $1, $2 and not ?.
	numbered bool
	// skip makes an insert of a row that exists write nothing. Where it is "", such
	// an insert is an error with a code of its own.
	skip string
	// prepare: statements are prepared once for each connection. Otherwise the
	// drivers for MySQL would prepare each time, which is one more round trip, and
	// those for SQLite would compile each time. Those for PostgreSQL prepare by
	// themselves, or must not, behind a pooler.
	prepare bool
	// together: the statements for several rows are in this dialect.
	together bool
}{
	Postgres: {quote: `"`, numbered: true, skip: " ON CONFLICT (app_user_id) DO NOTHING", together: true},
	MySQL:    {quote: "`", prepare: true},
	SQLite:   {quote: `"`, skip: " ON CONFLICT (app_user_id) DO NOTHING", prepare: true},
}

// write makes the store's statements.
func (s *Store) write() {
	d := dialects[s.dialect]
	s.table = d.quote + s.bare + d.quote
	if s.schema != "" {
		s.table = d.quote + s.schema + d.quote + "." + s.table
	}
	n := 0
	param := func() string {
		if n++; d.numbered {
			return "$" + strconv.Itoa(n)
		}
		return "?"
	}
	where := func(format string, params ...any) string {
		n = 0
		for i := range params {
			params[i] = param()
		}
		return fmt.Sprintf(format, params...)
	}
	all := strings.Join(columns, ", ")
	s.load = "SELECT " + all + " FROM " + s.table + where(" WHERE app_user_id = %s", "")
	s.list = "SELECT " + all + " FROM " + s.table + where(" WHERE app_user_id > %s ORDER BY app_user_id LIMIT %s", "", "")
	s.find = "SELECT " + all + " FROM " + s.table + where(" WHERE public_id = %s OR claim = %s ORDER BY app_user_id LIMIT %s", "", "", "")
	s.due = "SELECT " + all + " FROM " + s.table + where(" WHERE tend_at <= %s ORDER BY tend_at, app_user_id LIMIT %s", "", "")
	s.dueWithin = "SELECT " + all + " FROM " + s.table + where(" WHERE tend_at <= %s AND app_user_id >= %s AND app_user_id < %s ORDER BY tend_at, app_user_id LIMIT %s", "", "", "", "")
	s.delete = "DELETE FROM " + s.table + where(" WHERE app_user_id = %s AND version = %s", "", "")
	s.exists = "SELECT 1 FROM " + s.table + where(" WHERE app_user_id = %s", "")

	s.count = "SELECT COUNT(*) FROM " + s.table
	s.countWithin = s.count + where(" WHERE app_user_id >= %s AND app_user_id < %s", "", "")

	n = 0
	set, params := make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		params[i] = param()
		set[i] = c + " = " + params[i]
	}
	s.insert = "INSERT INTO " + s.table + " (" + all + ") VALUES (" + strings.Join(params, ", ") + ")" + d.skip
	s.update = "UPDATE " + s.table + " SET " + strings.Join(set, ", ") + " WHERE app_user_id = " + param() + " AND version = " + param()
	if d.together {
		s.writeTogether()
	}
}
