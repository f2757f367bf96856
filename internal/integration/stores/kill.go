// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/betawerk/pkb-go/tokenstore"
)

// killed lets workers write to a server of its own, kills it in the middle,
// starts it again, and returns how many acknowledged writes are not there.
func killed(ctx context.Context, d database) (lost int, err error) {
	server, err := d.private(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	db, err := d.open(server.dsn, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	store, err := d.store(ctx, db)
	if err != nil {
		return 0, err
	}
	const records = 20
	for i := range records {
		if _, err := store.Save(ctx, tokenstore.Record{AppUserID: row(i)}); err != nil {
			return 0, err
		}
	}
	var mu sync.Mutex
	var acknowledged, unknown [records]int
	total := 0
	enough := make(chan struct{}) // closed when there is something to lose
	const enoughWrites = 500
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				i := rand.IntN(records)
				err := incrementOne(ctx, store, row(i))
				mu.Lock()
				if err != nil {
					unknown[i]++
				} else {
					acknowledged[i]++
					if total++; total == enoughWrites || total == 2*enoughWrites {
						enough <- struct{}{}
					}
				}
				mu.Unlock()
				if err != nil {
					time.Sleep(10 * time.Millisecond) // the server is away
				}
			}
		})
	}
	<-enough
	server.kill()
	if err = server.start(ctx); err == nil {
		<-enough // it takes writes again
	}
	close(stop)
	workers.Wait()
	if err != nil {
		return 0, err
	}
	for i := range records {
		r, err := store.Load(ctx, row(i))
		if err != nil {
			return 0, err
		}
		if there := int(r.Generation); there < acknowledged[i] {
			lost += acknowledged[i] - there
		} else if there > acknowledged[i]+unknown[i] {
			return 0, fmt.Errorf("%d writes are there, and %d were made", there, acknowledged[i]+unknown[i])
		}
	}
	return lost, nil
}

// privateServer is a database server of our own, with its own settings for
// durability.
type privateServer struct {
	dir, dsn string
	command  func() *exec.Cmd
	answers  func(ctx context.Context) error
	running  *exec.Cmd
}

// start starts the server and waits until it answers.
func (s *privateServer) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var ended chan error
	for {
		if ended == nil {
			running, end := s.command(), make(chan error, 1)
			if err := running.Start(); err != nil {
				return err
			}
			s.running, ended = running, end
			go func() { end <- running.Wait() }()
		}
		err := s.answers(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w", err)
		case <-ended: //nolint:errcheck // why it ended does not matter: what it left behind when it was killed is still going away
			ended = nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// kill ends the server and all its processes with SIGKILL.
func (s *privateServer) kill() { _ = syscall.Kill(-s.running.Process.Pid, syscall.SIGKILL) }

func (s *privateServer) close() error {
	s.kill()
	return os.RemoveAll(s.dir)
}

// newServer makes a directory that account owns, if this is root, and returns
// a server in it with a free port.
func newServer(account string) (s *privateServer, as *syscall.SysProcAttr, port string, err error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, "", err
	}
	_, port, err = net.SplitHostPort(listener.Addr().String())
	if err = errors.Join(err, listener.Close()); err != nil {
		return nil, nil, "", err
	}
	s = &privateServer{}
	if s.dir, err = os.MkdirTemp("", "pkb-server-"); err != nil {
		return nil, nil, "", err
	}
	as = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() != 0 {
		return s, as, port, nil
	}
	who, err := user.Lookup(account)
	if err != nil {
		return nil, nil, "", err
	}
	uid, _ := strconv.ParseUint(who.Uid, 10, 32)
	gid, _ := strconv.ParseUint(who.Gid, 10, 32)
	as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return s, as, port, os.Chown(s.dir, int(uid), int(gid))
}

// errNotInstalled: a server of our own cannot be started here.
var errNotInstalled = errors.New("is not installed here")

// find returns the path of a program, which Debian may keep off the PATH.
func find(name, elsewhere string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	paths, err := filepath.Glob(elsewhere)
	if err != nil || len(paths) == 0 {
		return "", fmt.Errorf("%s %w", name, errNotInstalled)
	}
	slices.Sort(paths)
	return paths[len(paths)-1], nil
}

func startPostgres(ctx context.Context) (*privateServer, error) {
	initdb, err := find("initdb", "/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return nil, err
	}
	s, as, port, err := newServer("postgres")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(s.dir, "data")
	setup := exec.CommandContext(ctx, initdb, "-D", data, "-U", "postgres", "-A", "trust", "-N")
	setup.SysProcAttr, setup.Dir = as, s.dir
	if out, err := setup.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	s.dsn = "postgres://postgres@127.0.0.1:" + port + "/postgres?sslmode=disable"
	s.command = func() *exec.Cmd {
		c := exec.CommandContext(ctx, filepath.Join(filepath.Dir(initdb), "postgres"), "-D", data, "-p", port, "-k", "", "-c", "listen_addresses=127.0.0.1")
		c.SysProcAttr, c.Dir = as, s.dir
		return c
	}
	s.answers = answers(&stdlib.Driver{}, s.dsn, "SELECT 1")
	return s, s.start(ctx)
}

func startMariaDB(ctx context.Context) (*privateServer, error) {
	daemon, err := find("mariadbd", "/usr/sbin/mariadbd")
	if err != nil {
		return nil, err
	}
	install, err := find("mariadb-install-db", "/usr/bin/mariadb-install-db")
	if err != nil {
		return nil, err
	}
	s, as, port, err := newServer("mysql")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(s.dir, "data")
	setup := exec.CommandContext(ctx, install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
	setup.SysProcAttr, setup.Dir = as, s.dir
	if out, err := setup.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mariadb-install-db: %w: %s", err, out)
	}
	s.dsn = "root@tcp(127.0.0.1:" + port + ")/pkb"
	s.command = func() *exec.Cmd {
		c := exec.CommandContext(ctx, daemon, "--no-defaults", "--datadir="+data, "--port="+port, "--bind-address=127.0.0.1", "--socket="+filepath.Join(s.dir, "socket"))
		c.SysProcAttr, c.Dir = as, s.dir
		return c
	}
	if err := mysql.SetLogger(log.New(io.Discard, "", 0)); err != nil { // it prints what its errors say as well
		return nil, err
	}
	s.answers = answers(&mysql.MySQLDriver{}, "root@tcp(127.0.0.1:"+port+")/", "CREATE DATABASE IF NOT EXISTS pkb")
	return s, s.start(ctx)
}

// answers returns a function that sends a server one statement.
func answers(d driver.Driver, dsn, statement string) func(context.Context) error {
	return func(ctx context.Context) error {
		db := sql.OpenDB(&connector{d, dsn, new(atomic.Int64)})
		_, err := db.ExecContext(ctx, statement)
		return errors.Join(err, db.Close())
	}
}
