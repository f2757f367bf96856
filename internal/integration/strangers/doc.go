// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package strangers lets OAuth clients of other people link a patient against
// pkbtest: golang.org/x/oauth2, and oauth4webapi and fhirclient from npm. None
// of them knows this library, so what pkbtest speaks is OAuth, and not merely
// what package pkb understands.
package strangers
