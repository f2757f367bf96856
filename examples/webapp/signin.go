// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"net/http"
	"time"
)

// account is one of the app's own users. Its ID is the app_user_id.
type account struct {
	ID, Name string
	// Operator looks after links, and has none. MadeUp is a patient of -links.
	Operator, MadeUp bool
}

// accounts are made up. A real host has its own, and a log-in that asks for
// more than a name.
var accounts = []account{
	{ID: "amira", Name: "Amira"},
	{ID: "ben", Name: "Ben"},
	{ID: "olu", Name: "Olu, operator", Operator: true},
}

// sessions are the log-ins, in the database that all replicas share.
type sessions struct {
	db  *sql.DB
	now func() time.Time
	// accounts are who can sign in.
	accounts []account
}

func (s *sessions) account(id string) (account, bool) {
	for _, a := range s.accounts {
		if a.ID == id {
			return a, true
		}
	}
	return account{}, false
}

const sessionLife = 12 * time.Hour

// migrate makes the table.
func (s *sessions) migrate(ctx context.Context) error {
	return define(ctx, s.db, `CREATE TABLE IF NOT EXISTS webapp_sessions (
		token_hash VARCHAR(64) PRIMARY KEY,
		app_user_id VARCHAR(64) NOT NULL,
		ends_at BIGINT NOT NULL
	)`)
}

// begin signs a user in and returns the session's token, of which the database
// keeps a hash only.
func (s *sessions) begin(ctx context.Context, id string) (token string, err error) {
	now := s.now()
	if _, err := s.db.ExecContext(ctx, "DELETE FROM webapp_sessions WHERE ends_at <= $1", now.Unix()); err != nil {
		return "", err
	}
	token = rand.Text()
	_, err = s.db.ExecContext(ctx, "INSERT INTO webapp_sessions (token_hash, app_user_id, ends_at) VALUES ($1, $2, $3)",
		hashOf(token), id, now.Add(sessionLife).Unix())
	return token, err
}

// whose returns who is signed in with this token; ok is false for nobody.
func (s *sessions) whose(ctx context.Context, token string) (who account, ok bool, err error) {
	var id string
	err = s.db.QueryRowContext(ctx, "SELECT app_user_id FROM webapp_sessions WHERE token_hash = $1 AND ends_at > $2",
		hashOf(token), s.now().Unix()).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return account{}, false, nil
	}
	if err != nil {
		return account{}, false, err
	}
	who, ok = s.account(id)
	return who, ok, nil
}

func (s *sessions) end(ctx context.Context, token string) error {
	_, err := s.db.ExecContext(ctx, "DELETE FROM webapp_sessions WHERE token_hash = $1", hashOf(token))
	return err
}

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// cookieName has the prefix with which a browser refuses to take the cookie
// from anywhere else, where there is https.
func (a *app) cookieName() string {
	if a.secure {
		return "__Host-webapp"
	}
	return "webapp"
}

func (a *app) setCookie(w http.ResponseWriter, token string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // not Secure on loopback http only
		Name: a.cookieName(), Value: token, Path: "/", MaxAge: int(life.Seconds()),
		HttpOnly: true, Secure: a.secure, SameSite: http.SameSiteLaxMode,
	})
}

// withSession looks up who is signed in, once for each request.
func (a *app) withSession(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie(a.cookieName()); err == nil && c.Value != "" {
			who, ok, err := a.sessions.whose(r.Context(), c.Value)
			if err != nil {
				a.log.Error("webapp: sessions cannot be read", "error", err)
				a.sorry(w, r, http.StatusServiceUnavailable, "Sorry, there is a problem with this service", "Try again in a few minutes.")
				return
			}
			if ok {
				r = r.WithContext(context.WithValue(r.Context(), signedInKey{}, who))
			}
		}
		next.ServeHTTP(w, r)
	})
}

type signedInKey struct{}

// signedIn returns who is signed in.
func signedIn(r *http.Request) (who account, ok bool) {
	who, ok = r.Context().Value(signedInKey{}).(account)
	return who, ok
}

// appUserID is what the library asks for: the patient who is signed in, or "".
func appUserID(r *http.Request) string {
	if who, ok := signedIn(r); ok && !who.Operator {
		return who.ID
	}
	return ""
}

// patients lets patients in, operators operators.
func (a *app) patients(next http.HandlerFunc) http.Handler  { return a.only(false, next) }
func (a *app) operators(next http.HandlerFunc) http.Handler { return a.only(true, next) }

func (a *app) only(operator bool, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch who, ok := signedIn(r); {
		case !ok:
			http.Redirect(w, r, "/", http.StatusSeeOther)
		case who.Operator != operator:
			a.sorry(w, r, http.StatusForbidden, "This page is not for you", "You are signed in as "+who.Name+". Sign out to use another account.")
		default:
			next(w, r)
		}
	})
}

// home is the way in, and for whoever is in, the way on.
func (a *app) home(w http.ResponseWriter, r *http.Request) {
	switch who, ok := signedIn(r); {
	case !ok:
		a.render(w, r, http.StatusOK, "signin.html", page{Title: "Sign in", Content: a.sessions.accounts})
	case who.Operator:
		http.Redirect(w, r, "/operator", http.StatusSeeOther)
	default:
		http.Redirect(w, r, "/account", http.StatusSeeOther)
	}
}

func (a *app) signIn(w http.ResponseWriter, r *http.Request) {
	who, ok := a.sessions.account(r.PostFormValue("user"))
	if !ok {
		a.sorry(w, r, http.StatusBadRequest, "Nobody was chosen", "Go back and choose who you are.")
		return
	}
	a.forget(r)
	token, err := a.sessions.begin(r.Context(), who.ID)
	if err != nil {
		a.log.Error("webapp: a session cannot be written", "error", err)
		a.sorry(w, r, http.StatusServiceUnavailable, "Sorry, there is a problem with this service", "Try again in a few minutes.")
		return
	}
	a.setCookie(w, token, sessionLife)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) signOut(w http.ResponseWriter, r *http.Request) {
	a.forget(r)
	a.setCookie(w, "", -time.Second)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// forget ends the session of this browser. One that cannot be ended now ends by
// itself.
func (a *app) forget(r *http.Request) {
	c, err := r.Cookie(a.cookieName())
	if err != nil {
		return
	}
	if err := a.sessions.end(r.Context(), c.Value); err != nil {
		a.log.Error("webapp: a session cannot be ended", "error", err)
	}
}
