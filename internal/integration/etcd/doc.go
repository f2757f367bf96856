// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package etcd tries tokenstore/etcdstore on real servers: one member, and three of
// which one after the other is killed or frozen.
package etcd
