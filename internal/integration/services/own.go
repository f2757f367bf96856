// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"database/sql"
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
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Server is a database server of our own, which may be stopped and killed as
// often as one likes. Its settings for durability are those it comes with.
type Server struct {
	dir, dsn string
	command  func() *exec.Cmd
	answers  func(ctx context.Context) error
	stop     syscall.Signal
	running  *exec.Cmd
	ended    chan struct{} // closed when running is no more
}

// ErrNotInstalled: a server of our own cannot be started here.
var ErrNotInstalled = errors.New("is not installed here")

// StartPostgres starts a PostgreSQL in a directory of its own. Close it.
func StartPostgres(ctx context.Context) (*Server, error) {
	programs, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	return newServer(ctx, "postgres", syscall.SIGINT, func(s *Server, as *syscall.SysProcAttr, port string) *exec.Cmd {
		s.runsPostgres(ctx, programs, as, port)
		return exec.CommandContext(ctx, filepath.Join(programs, "initdb"), "-D", filepath.Join(s.dir, "data"), "-U", "postgres", "-A", "trust", "-N")
	})
}

// postgresPrograms is the directory of PostgreSQL's programs, all of one version.
func postgresPrograms() (string, error) {
	initdb, err := find("initdb", "/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	initdb, err = filepath.EvalSymlinks(initdb)
	return filepath.Dir(initdb), err
}

// runsPostgres makes s a PostgreSQL, with what is in its directory.
func (s *Server) runsPostgres(ctx context.Context, programs string, as *syscall.SysProcAttr, port string) {
	s.dsn = "postgres://postgres@127.0.0.1:" + port + "/postgres?sslmode=disable"
	s.command = func() *exec.Cmd {
		c := exec.CommandContext(ctx, filepath.Join(programs, "postgres"), "-D", filepath.Join(s.dir, "data"), "-p", port, "-k", "", "-c", "listen_addresses=127.0.0.1")
		c.SysProcAttr, c.Dir = as, s.dir
		return c
	}
	s.answers = answers(PostgresDriver, s.dsn, "SELECT 1")
}

// StartMariaDB starts a MariaDB in a directory of its own. Close it.
func StartMariaDB(ctx context.Context) (*Server, error) {
	return startMariaDB(ctx, nil)
}

// startMariaDB is StartMariaDB with more flags, if there is a function that returns
// them: it is called at each start, with what makes a command without them.
func startMariaDB(ctx context.Context, flags func(bare func() *exec.Cmd) []string) (*Server, error) {
	daemon, err := find("mariadbd", "/usr/sbin/mariadbd")
	if err != nil {
		return nil, err
	}
	install, err := find("mariadb-install-db", "/usr/bin/mariadb-install-db")
	if err != nil {
		return nil, err
	}
	if err := silenceMySQL(); err != nil {
		return nil, err
	}
	return newServer(ctx, "mysql", syscall.SIGTERM, func(s *Server, as *syscall.SysProcAttr, port string) *exec.Cmd {
		data := filepath.Join(s.dir, "data")
		s.dsn = "root@tcp(127.0.0.1:" + port + ")/pkb"
		bare := func() *exec.Cmd {
			c := exec.CommandContext(ctx, daemon, "--no-defaults", "--datadir="+data, "--port="+port, "--bind-address=127.0.0.1", "--socket="+filepath.Join(s.dir, "socket"), "--tmpdir="+s.dir)
			c.SysProcAttr, c.Dir = as, s.dir
			return c
		}
		s.command = func() *exec.Cmd {
			c := bare()
			if flags != nil {
				c.Args = append(c.Args, flags(bare)...)
			}
			return c
		}
		s.answers = answers(MariaDBDriver, "root@tcp(127.0.0.1:"+port+")/", "CREATE DATABASE IF NOT EXISTS pkb")
		// With a directory of its own for temporary tables: a server that starts removes
		// those of every other in the same one.
		return exec.CommandContext(ctx, install, "--no-defaults", "--datadir="+data, "--tmpdir="+s.dir, "--auth-root-authentication-method=normal", "--skip-test-db")
	})
}

// silenceMySQL stops the driver printing what its errors say as well. It sets a variable
// of the driver's, and servers start at the same time.
var silenceMySQL = sync.OnceValue(func() error { return mysql.SetLogger(log.New(io.Discard, "", 0)) })

// newServer makes a directory that account owns, if this is root, sets a server
// up in it, on a free port, and starts it.
func newServer(ctx context.Context, account string, stop syscall.Signal, describe func(s *Server, as *syscall.SysProcAttr, port string) (setup *exec.Cmd)) (s *Server, err error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	s = &Server{stop: stop}
	if s.dir, err = os.MkdirTemp("", "pkb-server-"); err != nil {
		return nil, err
	}
	defer func(s *Server) {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}(s)
	as := &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		who, err := user.Lookup(account)
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.ParseUint(who.Uid, 10, 32)
		gid, _ := strconv.ParseUint(who.Gid, 10, 32)
		as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, int(uid), int(gid)); err != nil {
			return nil, err
		}
	}
	setup := describe(s, as, port)
	setup.SysProcAttr, setup.Dir = as, s.dir
	if out, err := setup.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(setup.Path), err, out)
	}
	return s, s.Start(ctx)
}

// freePort returns a port at which nobody listens. It is none of those that systems give
// to outgoing connections: one of these could have it when the server starts, or when it
// starts again.
func freePort(ctx context.Context) (port string, err error) {
	const from, to, tries = 15_000, 32_000, 100
	for range tries {
		port = strconv.Itoa(from + rand.IntN(to-from)) //nolint:gosec // not a secret
		var listener net.Listener
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:"+port); err == nil {
			return port, listener.Close()
		}
	}
	return "", err
}

// DSN names the server's database, for sql.Open with PostgresDriver or
// MariaDBDriver; of an etcd it is the endpoint.
func (s *Server) DSN() string { return s.dsn }

// Start starts a server that was stopped or killed, and waits until it responds.
func (s *Server) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // a node of a cluster copies another first
	defer cancel()
	for {
		if s.ended == nil {
			if err := s.launch(); err != nil {
				return err
			}
		}
		err := s.answers(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server does not respond: %w", err)
		case <-s.ended: // what it left behind when it was killed is still going away
			s.ended = nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// launch starts the program, and does not wait.
func (s *Server) launch() error {
	running, ended := s.command(), make(chan struct{})
	if err := running.Start(); err != nil {
		return err
	}
	s.running, s.ended = running, ended
	go func() {
		_ = running.Wait() // why it ended does not matter
		close(ended)
	}()
	return nil
}

// Freeze stops the server's processes where they are, as a machine that is suspended:
// its connections stay open. Thaw lets them go on, as if no time had passed.
func (s *Server) Freeze() error { return syscall.Kill(-s.running.Process.Pid, syscall.SIGSTOP) }

// Thaw ends Freeze.
func (s *Server) Thaw() error { return syscall.Kill(-s.running.Process.Pid, syscall.SIGCONT) }

// Stop ends the server as an operator does it: connections are cut, and what
// was acknowledged is on disk.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.running.Process.Signal(s.stop); err != nil {
		return err
	}
	select {
	case <-s.ended:
		s.ended = nil
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the server does not stop: %w", ctx.Err())
	}
}

// Kill ends the server and all its processes with SIGKILL, if it runs.
func (s *Server) Kill() {
	if s.ended == nil {
		return
	}
	_ = syscall.Kill(-s.running.Process.Pid, syscall.SIGKILL)
	<-s.ended
	s.ended = nil
}

// Close kills the server and removes its directory.
func (s *Server) Close() error {
	s.Kill()
	return os.RemoveAll(s.dir)
}

// find returns the path of a program, which Debian may keep off the PATH.
func find(name, elsewhere string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	paths, err := filepath.Glob(elsewhere)
	if err != nil || len(paths) == 0 {
		return "", fmt.Errorf("%s %w", name, ErrNotInstalled)
	}
	slices.Sort(paths)
	return paths[len(paths)-1], nil
}

// answers returns a function that sends a server one statement.
func answers(driver, dsn, statement string) func(context.Context) error {
	return func(ctx context.Context) error {
		db, err := sql.Open(driver, dsn)
		if err != nil {
			return err
		}
		_, err = db.ExecContext(ctx, statement)
		return errors.Join(err, db.Close())
	}
}
