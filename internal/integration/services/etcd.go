// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Etcd is a cluster of our own. Each member may be killed and started as often as one
// likes.
type Etcd []*Server

// Endpoints are those of all members, for clientv3.Config.
func (e Etcd) Endpoints() (all []string) {
	for _, member := range e {
		all = append(all, member.DSN())
	}
	return all
}

// Close kills the members and removes their directories.
func (e Etcd) Close() error {
	var errs []error
	for _, member := range e {
		errs = append(errs, member.Close())
	}
	return errors.Join(errs...)
}

// TestEtcd returns an etcd of so many members that belongs to the test, which is
// skipped, or fails, where etcd is missing, as for a server.
func TestEtcd(t testing.TB, members int, flags ...string) Etcd {
	t.Helper()
	Program(t, "etcd", "apt-get install etcd-server, or get etcd from its releases page", "etcd")
	e, err := StartEtcd(context.WithoutCancel(t.Context()), members, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// StartEtcd starts an etcd of so many members, on free ports, each in a directory of
// its own, with more flags if there are any. A leader that is lost is replaced sooner
// than by default, so that tests are short. Close it.
func StartEtcd(ctx context.Context, members int, flags ...string) (e Etcd, err error) {
	program, err := find("etcd", "/usr/bin/etcd")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	ports := make([]string, 2*members) // for clients, and for the other members
	for i := range ports {
		if ports[i], err = freePort(ctx); err != nil {
			return nil, err
		}
	}
	var cluster []string
	for i := range members {
		cluster = append(cluster, fmt.Sprintf("member-%d=http://127.0.0.1:%s", i, ports[members+i]))
	}
	for i := range members {
		s := &Server{stop: syscall.SIGTERM, dsn: "http://127.0.0.1:" + ports[i]}
		if s.dir, err = os.MkdirTemp("", "pkb-server-"); err != nil {
			return e, err
		}
		e = append(e, s)
		peer := "http://127.0.0.1:" + ports[members+i]
		args := append([]string{
			"--name", fmt.Sprint("member-", i), "--data-dir", filepath.Join(s.dir, "data"), "--log-level", "error",
			"--listen-client-urls", s.dsn, "--advertise-client-urls", s.dsn, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(cluster, ","), "--initial-cluster-token", filepath.Base(e[0].dir),
			"--heartbeat-interval", "50", "--election-timeout", "500",
		}, flags...)
		s.command = func() *exec.Cmd {
			c := exec.CommandContext(ctx, program, args...)
			c.SysProcAttr, c.Dir = &syscall.SysProcAttr{Setpgid: true}, s.dir
			return c
		}
		s.answers = func(ctx context.Context) error { return healthy(ctx, s.dsn) }
		if err := s.launch(); err != nil { // none of them responds without the others
			return e, err
		}
	}
	for _, s := range e {
		if err := s.Start(ctx); err != nil {
			return e, err
		}
	}
	return e, nil
}

// healthy asks a member whether it can read and write.
func healthy(ctx context.Context, endpoint string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/health", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd's health: %s", resp.Status)
	}
	return nil
}
