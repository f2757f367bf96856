// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Pair is a PostgreSQL of our own and its standby, which follows it through a relay:
// asynchronously, until Synchronous is called.
type Pair struct {
	Primary, Standby *Server
	Between          *Relay
}

// StartPair starts a PostgreSQL and a standby. Close it.
func StartPair(ctx context.Context) (p *Pair, err error) {
	p = &Pair{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if p.Primary, err = StartPostgres(ctx); err != nil {
		return p, err
	}
	host, err := p.Primary.host()
	if err != nil {
		return p, err
	}
	if p.Between, err = StartRelay(ctx, host); err != nil {
		return p, err
	}
	p.Standby, err = startStandby(ctx, p.Between.Port())
	return p, err
}

// startStandby starts a standby of the primary behind a port. (PostgreSQL: pg_basebackup.)
func startStandby(ctx context.Context, from string) (*Server, error) {
	programs, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	return newServer(ctx, "postgres", syscall.SIGINT, func(s *Server, as *syscall.SysProcAttr, port string) *exec.Cmd {
		s.runsPostgres(ctx, programs, as, port)
		return exec.CommandContext(ctx, filepath.Join(programs, "pg_basebackup"), "-D", filepath.Join(s.dir, "data"), "-R", "-c", "fast", "-d", "host=127.0.0.1 user=postgres application_name=standby port="+from)
	})
}

// DSN names both servers: a connection is made to the one that takes writes.
func (p *Pair) DSN() (string, error) {
	var hosts [2]string
	for i, s := range []*Server{p.Primary, p.Standby} {
		host, err := s.host()
		if err != nil {
			return "", err
		}
		hosts[i] = host
	}
	return fmt.Sprintf("postgres://postgres@%s,%s/postgres?sslmode=disable&target_session_attrs=read-write&connect_timeout=2", hosts[0], hosts[1]), nil
}

// Synchronous lets the primary wait for the standby before it acknowledges a write.
func (p *Pair) Synchronous(ctx context.Context) error {
	if err := p.Primary.ask(ctx, "ALTER SYSTEM SET synchronous_standby_names = 'standby'", nil); err != nil {
		return err
	}
	if err := p.Primary.ask(ctx, "SELECT pg_reload_conf()", nil); err != nil {
		return err
	}
	return p.until(ctx, "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
}

// Follows waits until the standby has replayed all that the primary has written.
func (p *Pair) Follows(ctx context.Context) error {
	return p.until(ctx, "SELECT count(*) = 1 FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()")
}

// until asks the primary until it says yes.
func (p *Pair) until(ctx context.Context, question string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		var yes bool
		if err := p.Primary.ask(ctx, question, &yes); err != nil || yes {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the standby does not follow: %w", ctx.Err())
		}
	}
}

// Promote makes the standby a primary, once the old one is dead.
func (p *Pair) Promote(ctx context.Context) error {
	var done bool
	err := p.Standby.ask(ctx, "SELECT pg_promote(true, 60)", &done)
	if err == nil && !done {
		err = errors.New("the standby was not promoted within a minute")
	}
	return err
}

// Close kills both and removes their directories.
func (p *Pair) Close() error {
	var errs []error
	for _, s := range []*Server{p.Standby, p.Primary} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	if p.Between != nil {
		errs = append(errs, p.Between.Close())
	}
	return errors.Join(errs...)
}

// host is where a PostgreSQL listens.
func (s *Server) host() (string, error) {
	u, err := url.Parse(s.dsn)
	if err != nil {
		return "", err
	}
	return u.Host, nil
}

// Database makes a database on a PostgreSQL of our own, and returns its DSN.
func (s *Server) Database(ctx context.Context, name string) (dsn string, err error) {
	if err := s.ask(ctx, "CREATE DATABASE "+name, nil); err != nil {
		return "", err
	}
	return postgres.inDatabase(s.dsn, name), nil
}

// ask sends a PostgreSQL one statement, and puts its answer where into points to,
// unless that is nil.
func (s *Server) ask(ctx context.Context, statement string, into any) error {
	db, err := sql.Open(PostgresDriver, s.dsn)
	if err != nil {
		return err
	}
	if into == nil {
		_, err = db.ExecContext(ctx, statement)
	} else {
		err = db.QueryRowContext(ctx, statement).Scan(into)
	}
	return errors.Join(err, db.Close())
}
