// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// bouncerSettings let PgBouncer share few connections among many clients, so that
// clients meet, except by session: there each has one for as long as it is connected, and
// a host's pool must be no larger. It keeps no prepared statements for them.
const bouncerSettings = `[databases]
* = host=%s port=%s user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
auth_type = any
pool_mode = %s
default_pool_size = %d
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
unix_socket_dir =
`

// StartPgBouncer starts a PgBouncer of our own before the PostgreSQL of dsn, with a
// pool by "session", "transaction" or "statement". Close it.
func StartPgBouncer(ctx context.Context, dsn, mode string) (*Server, error) {
	program, err := find("pgbouncer", "/usr/sbin/pgbouncer")
	if err != nil {
		return nil, err
	}
	behind, err := url.Parse(dsn)
	if err != nil {
		return nil, fmt.Errorf("services: the DSN is no URL") //nolint:err113 // and may hold a password
	}
	shared := 4
	if mode == "session" {
		shared = 40
	}
	var wrong error
	s, err := newServer(ctx, "postgres", syscall.SIGINT, func(s *Server, as *syscall.SysProcAttr, port string) *exec.Cmd {
		settings := filepath.Join(s.dir, "pgbouncer.ini")
		wrong = os.WriteFile(settings, fmt.Appendf(nil, bouncerSettings, behind.Hostname(), behind.Port(), port, mode, shared), 0o644) //nolint:gosec // nothing secret is in it
		front := *behind
		front.Host = "127.0.0.1:" + port
		s.dsn = front.String()
		s.command = func() *exec.Cmd {
			c := exec.CommandContext(ctx, program, settings)
			c.SysProcAttr, c.Dir = as, s.dir
			return c
		}
		s.answers = answers(PostgresDriver, s.dsn+"&default_query_exec_mode=simple_protocol", "SELECT 1")
		return exec.CommandContext(ctx, program, "--version")
	})
	if err == nil && wrong != nil {
		err = wrong
	}
	return s, err
}
