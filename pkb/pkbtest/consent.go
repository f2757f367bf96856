// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Approve acts as a patient who opens authorizeURL in a browser, logs in as p and
// presses Approve: it gets the page and posts the consent form, in memory,
// whatever host authorizeURL names. It returns where the browser is sent, which
// is the app's callback with code and state, or with an error if p denies; it
// does not go there.
//
// The error has the text of PKB's error page when the authorize request was
// bad, and when p was not added to this server. It never contains the
// state or a code.
func (s *Server) Approve(ctx context.Context, authorizeURL string, p *Patient) (callback *url.URL, err error) {
	if p == nil {
		return nil, errors.New("pkbtest: Approve needs a patient; see AddPatient")
	}
	return s.decide(ctx, authorizeURL, "approve", p.PublicID)
}

// Deny acts as a patient who presses Deny. It is otherwise as Approve; the
// callback has error=access_denied and state (inferred).
func (s *Server) Deny(ctx context.Context, authorizeURL string) (callback *url.URL, err error) {
	return s.decide(ctx, authorizeURL, "deny", "")
}

func (s *Server) decide(ctx context.Context, authorizeURL, decision, publicID string) (*url.URL, error) {
	address, err := url.Parse(authorizeURL)
	if err != nil {
		return nil, fmt.Errorf("pkbtest: the authorize address is no URL: %w", withoutURL(err))
	}
	status, _, page, err := s.browse(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("pkbtest: opening the authorize page: %w", err)
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("pkbtest: the authorize address returned an error page (status %d): %s", status, words(page))
	}
	// The consent page has the same fields in addition to the patient and the
	// decision, so it need not be opened.
	action, fields, err := readHiddenFields(page)
	if err != nil {
		return nil, err
	}
	fields.Set("decision", decision)
	if publicID != "" {
		fields.Set("patient", publicID)
	}
	target, err := address.Parse(action)
	if err != nil {
		return nil, fmt.Errorf("pkbtest: the form's address is no URL: %w", withoutURL(err))
	}
	status, header, page, err := s.browse(ctx, http.MethodPost, target, fields)
	if err != nil {
		return nil, fmt.Errorf("pkbtest: sending the consent form: %w", err)
	}
	location := header.Get("Location")
	if status != http.StatusFound || location == "" {
		return nil, fmt.Errorf("pkbtest: the consent form returned status %d and no redirect: %s", status, words(page))
	}
	callback, err := url.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("pkbtest: the redirect is no URL: %w", withoutURL(err))
	}
	return callback, nil
}

// browse sends what a browser would, without following redirects.
func (s *Server) browse(ctx context.Context, method string, address *url.URL, form url.Values) (int, http.Header, string, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, address.String(), body)
	if err != nil {
		return 0, nil, "", withoutURL(err)
	}
	req.Header.Set("Accept", "text/html")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := s.Transport().RoundTrip(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(data), err
}

var (
	formTag   = regexp.MustCompile(`<form\b[^>]*>`)
	inputTag  = regexp.MustCompile(`<input\b[^>]*>`)
	attribute = regexp.MustCompile(`([a-z]+)="([^"]*)"`)
	alert     = regexp.MustCompile(`(?s)<p role="alert"[^>]*>(.*?)</p>`)
	anyTag    = regexp.MustCompile(`(?s)<style.*?</style>|<[^>]*>`)
)

// readHiddenFields reads the one form of a page of ours: where it goes and what
// it carries along.
func readHiddenFields(page string) (action string, fields url.Values, err error) {
	form := formTag.FindString(page)
	if form == "" {
		return "", nil, errors.New("pkbtest: the page has no form: " + words(page))
	}
	fields = url.Values{}
	for _, tag := range inputTag.FindAllString(page, -1) {
		if a := attributes(tag); a["type"] == "hidden" {
			fields.Add(a["name"], a["value"])
		}
	}
	return attributes(form)["action"], fields, nil
}

func attributes(tag string) map[string]string {
	found := map[string]string{}
	for _, m := range attribute.FindAllStringSubmatch(tag, -1) {
		found[m[1]] = html.UnescapeString(m[2])
	}
	return found
}

// words returns what a reader of the page would be told.
func words(page string) string {
	text := anyTag.ReplaceAllString(page, " ")
	if m := alert.FindStringSubmatch(page); m != nil {
		text = m[1]
	}
	text = strings.Join(strings.Fields(html.UnescapeString(text)), " ")
	if runes := []rune(text); len(runes) > 500 {
		text = string(runes[:500]) + "..."
	}
	return text
}

// withoutURL takes the address out of an error: it holds the state.
func withoutURL(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}
