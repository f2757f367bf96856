// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// aead is a key outside this process: no secret at all, and as strict about the
// place as a good one.
type aead struct {
	opened, sealed atomic.Int64
	// before is called first, and may panic, hang, or end the goroutine.
	before func(op string) error
}

// config puts the key on a keeper's ring, alone.
func (a *aead) config(t testing.TB) func(*custody.Config) {
	return func(c *custody.Config) {
		c.Ring = &seal.Ring{}
		if err := c.Ring.AddAEAD("theirs", a); err != nil {
			t.Fatal(err)
		}
	}
}

func (a *aead) Encrypt(plain, place []byte) ([]byte, error) {
	a.sealed.Add(1)
	if a.before != nil {
		if err := a.before("encrypt"); err != nil {
			return nil, err
		}
	}
	return []byte(base64.StdEncoding.EncodeToString(place) + " " + string(plain)), nil
}

func (a *aead) Decrypt(sealed, place []byte) ([]byte, error) {
	a.opened.Add(1)
	if a.before != nil {
		if err := a.before("decrypt"); err != nil {
			return nil, err
		}
	}
	at, plain, _ := bytes.Cut(sealed, []byte(" "))
	if string(at) != base64.StdEncoding.EncodeToString(place) {
		return nil, errors.New("not authentic")
	}
	return plain, nil
}

// S58: the key is out of reach: tokens in memory serve on, nothing is sent that
// could not be saved, and a response is saved when the key is back.
func TestKeyThatIsOutOfReach(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var down atomic.Bool
		errAway := errors.New("the vault is away")
		key := &aead{before: func(string) error {
			if down.Load() {
				return errAway
			}
			return nil
		}}
		k := keeper(t, s, i, key.config(t))
		first := link(t, k, i)
		wantToken(t, k, first)
		down.Store(true)
		time.Sleep(life * 86 / 100)
		for range 20 {
			wantToken(t, k, first)
			time.Sleep(time.Second)
		}
		time.Sleep(life)
		var sealed *custody.SealError
		for range 3 {
			if _, err := k.Token(t.Context(), user); !errors.As(err, &sealed) || !errors.Is(err, errAway) {
				t.Fatalf("Token: %v, want that the record does not open", err)
			}
		}
		wantPosts(t, i, 0)
		down.Store(false)
		wantToken(t, k, "access-2")

		// The key goes away while a token is presented.
		time.Sleep(life)
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			down.Store(true)
			return answer()
		}
		for range 3 {
			if _, err := k.Token(t.Context(), user); !errors.As(err, &sealed) || !errors.Is(err, errAway) {
				t.Fatalf("Token: %v, want that the response cannot be sealed", err)
			}
			time.Sleep(time.Minute)
		}
		if n := k.Health().Unsaved; n != 1 {
			t.Errorf("Health counts %d responses that are not saved, want 1", n)
		}
		i.disturb = nil
		down.Store(false)
		time.Sleep(30 * time.Second)
		wantToken(t, k, "access-3")
		wantPosts(t, i, 2)
	})
}
