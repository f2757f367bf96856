// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"net/http"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/storage"
)

// fositeServer is ory/fosite with its store in memory: the code flow, refresh
// tokens that rotate, and the end of the whole family when one comes twice.
func fositeServer(*testing.T) server {
	store := storage.NewMemoryStore()
	store.Clients[clientID] = &fosite.DefaultClient{
		ID: clientID, Public: true, RedirectURIs: []string{redirectURL},
		ResponseTypes: []string{"code"}, GrantTypes: []string{"authorization_code", "refresh_token"}, Scopes: []string{scope},
	}
	config := &fosite.Config{
		AccessTokenLifespan: tokenLife, GlobalSecret: make([]byte, 32),
		RefreshTokenScopes: []string{}, // each response has one
	}
	provider := compose.Compose(config, store, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2TokenIntrospectionFactory)
	session := func(user string) *fosite.DefaultSession { return &fosite.DefaultSession{Subject: user} }
	return server{
		authorize: func(w http.ResponseWriter, r *http.Request, allow bool) {
			ctx := r.Context()
			ask, err := provider.NewAuthorizeRequest(ctx, r)
			if err == nil && !allow {
				err = fosite.ErrAccessDenied
			}
			if err != nil {
				provider.WriteAuthorizeError(ctx, w, ask, err)
				return
			}
			for _, s := range ask.GetRequestedScopes() {
				ask.GrantScope(s)
			}
			answer, err := provider.NewAuthorizeResponse(ctx, ask, session(patient))
			if err != nil {
				provider.WriteAuthorizeError(ctx, w, ask, err)
				return
			}
			provider.WriteAuthorizeResponse(ctx, w, ask, answer)
		},
		token: func(w http.ResponseWriter, r *http.Request) {
			ctx := r.Context()
			ask, err := provider.NewAccessRequest(ctx, r, session(""))
			if err != nil {
				provider.WriteAccessError(ctx, w, ask, err)
				return
			}
			answer, err := provider.NewAccessResponse(ctx, ask)
			if err != nil {
				provider.WriteAccessError(ctx, w, ask, err)
				return
			}
			provider.WriteAccessResponse(ctx, w, ask, answer)
		},
		takes: func(r *http.Request) bool {
			use, ask, err := provider.IntrospectToken(r.Context(), fosite.AccessTokenFromRequest(r), fosite.AccessToken, session(""), scope)
			return err == nil && use == fosite.AccessToken && ask.GetSession().GetSubject() == patient
		},
	}
}

// tokenLife is what both servers issue; our clocks decide when it has expired.
const tokenLife = time.Hour
