// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/tokenstore/etcdstore"
)

// onEtcd runs the app on three members, of which one is killed and brought back. Each
// replica has a client of its own, which knows all members.
func onEtcd(ctx context.Context, out io.Writer, s size) (c counts, err error) {
	members, err := services.StartEtcd(ctx, 3)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, members.Close()) }()
	w, err := newWorld(out, s.patients)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	for range members {
		if err := w.joinEtcd(ctx, members.Endpoints()); err != nil {
			return c, err
		}
	}
	return w.storm(ctx, "etcd", w.judge.killed(members[1], s.phase, s.phase))
}

func (w *world) joinEtcd(ctx context.Context, endpoints []string) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	store, err := etcdstore.New(client, etcdstore.Config{})
	if err == nil {
		err = store.Check(ctx)
	}
	if err != nil {
		return errors.Join(err, client.Close())
	}
	_, err = w.join(store, client.Close)
	return err
}
