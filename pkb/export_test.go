// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

// Excerpt makes the excerpt of a response.
var Excerpt = excerpt
