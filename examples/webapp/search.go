// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// mostFound bounds a search.
const mostFound = 1000

// search returns the users whom an operator may mean: by the PKB public id of their
// record, by the name of their link in logs, or by a part of their app_user_id. The
// best come first; all is false if there are more than mostFound.
//
// The name of a link is a hash, so no index has it. One pass over the index of ids
// looks for it and for parts of ids: 100,000 take about a fifth of a second.
func (o *overview) search(ctx context.Context, text string) (users []string, all bool, err error) {
	if id, err := identity.ParsePublicID(text); err == nil {
		links, err := o.read(ctx, fmt.Sprintf("WHERE environment = $1 AND client_id = $2 AND public_id = $3 ORDER BY app_user_id LIMIT %d", mostFound),
			o.environment, o.clientID, string(id))
		for _, link := range links {
			users = append(users, link.AppUserID)
		}
		if err != nil || len(users) > 0 {
			return users, true, err
		}
	}
	rows, err := o.db.QueryContext(ctx, "SELECT app_user_id FROM "+linksTable+
		" WHERE environment = $1 AND client_id = $2 AND state IN ('linked', 'uncertain', 'relink_required', 'pending')", o.environment, o.clientID)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has the error
	var exact []string
	name, part := strings.TrimPrefix(text, "link="), strings.ToLower(text)
	for rows.Next() {
		var id []byte
		if err := rows.Scan(&id); err != nil {
			return nil, false, err
		}
		switch user := string(id); {
		case user == text, len(name) >= 6 && strings.HasPrefix(observe.LinkName(user), name):
			exact = append(exact, user)
		case len(users) <= mostFound && strings.Contains(strings.ToLower(user), part):
			users = append(users, user)
		}
	}
	all = len(users) <= mostFound
	users = users[:min(len(users), mostFound)]
	slices.Sort(exact)
	slices.Sort(users)
	return append(exact, users...), all, rows.Err()
}

// linksOf returns the links of some users, in their order.
func (o *overview) linksOf(ctx context.Context, users []string) ([]pkb.Link, error) {
	if len(users) == 0 {
		return nil, nil
	}
	args, marks := []any{o.environment, o.clientID}, []string(nil)
	for _, u := range users {
		args = append(args, []byte(u))
		marks = append(marks, fmt.Sprintf("$%d", len(args)))
	}
	links, err := o.read(ctx, "WHERE environment = $1 AND client_id = $2 AND app_user_id IN ("+strings.Join(marks, ", ")+")", args...)
	slices.SortFunc(links, func(a, b pkb.Link) int { return slices.Index(users, a.AppUserID) - slices.Index(users, b.AppUserID) })
	return slices.DeleteFunc(links, func(l pkb.Link) bool { return !isLink(l) }), err
}
