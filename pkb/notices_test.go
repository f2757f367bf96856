// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// webhook sends notices to another service, signed as Standard Webhooks has it.
type webhook struct {
	url  string
	key  []byte
	http *http.Client
}

// newWebhook takes a secret as it is exchanged: "whsec_" and 24 to 64 bytes in base64.
func newWebhook(url, secret string) (*webhook, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New("the webhook's secret is not 24 to 64 bytes in base64") // without the secret
	}
	return &webhook{url, key, &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (h *webhook) sign(id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, h.key)
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// notify is Config.Notify. Its context ends after 30 seconds.
func (h *webhook) notify(ctx context.Context, n observe.Notice) error {
	body, err := json.Marshal(map[string]any{"type": "pkb.link." + n.Kind, "timestamp": n.At, "data": n})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	id := observe.LinkName(n.AppUserID) + "-" + n.ID // the same each time, and without the app_user_id
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("webhook-id", id)
	r.Header.Set("webhook-timestamp", timestamp)
	r.Header.Set("webhook-signature", h.sign(id, timestamp, body))
	resp, err := h.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("the webhook responded %d", resp.StatusCode) // the notice comes again
	}
	return nil
}

// The published test vector of Standard Webhooks, which its libraries have in their
// tests.
const (
	vectorSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTimestamp = "1614265330"
	vectorBody      = `{"test": 2432232314}`
	vectorSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

// A receiver that has a library of Standard Webhooks accepts what the recipe signs.
func TestWebhookSignsAsThePublishedVector(t *testing.T) {
	hook, err := newWebhook("https://app.example/hook", vectorSecret)
	if err != nil {
		t.Fatal(err)
	}
	if got := hook.sign(vectorID, vectorTimestamp, []byte(vectorBody)); got != vectorSignature {
		t.Errorf("signed %s, want %s", got, vectorSignature)
	}
	for what, got := range map[string]string{
		"id":        hook.sign(vectorID+"x", vectorTimestamp, []byte(vectorBody)),
		"timestamp": hook.sign(vectorID, "1614265331", []byte(vectorBody)),
		"body":      hook.sign(vectorID, vectorTimestamp, []byte(vectorBody+" ")),
	} {
		if got == vectorSignature {
			t.Errorf("the signature does not depend on the %s", what)
		}
	}
	for _, secret := range []string{"", "whsec_", "whsec_short", "whsec_!", "whsec_" + strings.Repeat("QUJD", 30)} {
		if _, err := newWebhook("https://app.example/hook", secret); err == nil || secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("the secret %q: %v", secret, err)
		}
	}
}

// delivery is what a receiver got.
type delivery struct {
	id   string
	body struct {
		Type      string
		Timestamp time.Time
		Data      observe.Notice
	}
}

// receive returns a receiver that verifies signatures. It responds with the statuses in
// turn, and then with 204.
func receive(t *testing.T, statuses ...int) (address string, received *[]delivery) {
	t.Helper()
	received = new([]delivery)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		id, timestamp := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
		verifier, err := newWebhook("", vectorSecret)
		if err != nil {
			t.Error(err)
		}
		if !hmac.Equal([]byte(verifier.sign(id, timestamp, body)), []byte(r.Header.Get("webhook-signature"))) {
			t.Errorf("the signature of %s is not right", id)
		}
		if seconds, err := strconv.ParseInt(timestamp, 10, 64); err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
			t.Errorf("signed at %q: %v", timestamp, err)
		}
		if strings.Contains(fmt.Sprint(r.Header, r.URL), "app-user-1") {
			t.Errorf("the app_user_id is where proxies log it: %v", r.Header)
		}
		d := delivery{id: id}
		if err := json.Unmarshal(body, &d.body); err != nil {
			t.Error(err)
		}
		*received = append(*received, d)
		status := http.StatusNoContent
		if n := len(*received); n <= len(statuses) {
			status = statuses[n-1]
		}
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	return server.URL, received
}

// A receiver that is down, refuses or redirects gets the same notice again, under the
// same id, until it has accepted it, and the next one only then.
func TestWebhookIsRepeatedUntilItIsAccepted(t *testing.T) {
	address, received := receive(t, http.StatusServiceUnavailable, http.StatusFound)
	hook, err := newWebhook(address, vectorSecret)
	if err != nil {
		t.Fatal(err)
	}
	server := pkbtest.New(pkbtest.Config{})
	ada := server.AddPatient(pkbtest.Patient{})
	client, err := demoClient(server, pkb.Config{Notify: hook.notify})
	if err != nil {
		t.Fatal(err)
	}
	demoLink(t.Context(), server, ada, client)
	server.EndSessions(ada)
	if _, err := client.ForUser("app-user-1").Self(t.Context()); !errors.Is(err, pkb.ErrRelinkRequired) {
		t.Fatalf("the link goes on: %v", err)
	}
	for range 4 {
		tendOnce(t, client)
		server.Advance(time.Hour)
	}
	var types, ids []string
	for _, d := range *received {
		types, ids = append(types, d.body.Type), append(ids, d.id)
		if d.body.Data.AppUserID != "app-user-1" || !d.body.Timestamp.Equal(d.body.Data.At) || "pkb.link."+string(d.body.Data.Kind) != d.body.Type {
			t.Errorf("received %+v", d.body)
		}
	}
	want := []string{"pkb.link.linked", "pkb.link.linked", "pkb.link.linked", "pkb.link.relink_required"}
	if !slices.Equal(types, want) {
		t.Fatalf("received %q, want %q", types, want)
	}
	if ids[0] != ids[1] || ids[1] != ids[2] || ids[2] == ids[3] || strings.Contains(ids[0], ".") {
		t.Errorf("the ids are %q: one for each notice, without a dot, is what a receiver sorts out repetitions by", ids)
	}
	if h := client.Health(t.Context()); h.Undelivered != 0 {
		t.Errorf("%d are undelivered", h.Undelivered)
	}
}
