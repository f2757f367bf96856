// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package conceal

import (
	"crypto/sha256"
	"encoding/hex"
)

// LinkName is a short name for a user in logs: enough to find the link again,
// and not the host's own id, which may be an e-mail address.
func LinkName(user string) string {
	sum := sha256.Sum256([]byte(user))
	return hex.EncodeToString(sum[:6])
}
