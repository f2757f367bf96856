// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package conceal

import (
	"crypto/sha256"
	"encoding/hex"
)

// LinkName returns a short name for a user's link in logs: the app_user_id may be
// an e-mail address.
func LinkName(user string) string {
	sum := sha256.Sum256([]byte(user))
	return hex.EncodeToString(sum[:6])
}
