// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package cluster is what the commands here have in common: patients who
// approve, a PKB that listens, an empty PostgreSQL database, and processes of
// the same program that use both.
package cluster

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// RedirectURL is where patients come back to.
const RedirectURL = "https://app.example/pkb/callback"

// Cluster is a PKB, a database, and a client of both.
type Cluster struct {
	PKB     *pkbtest.Server
	Client  *pkb.Client
	Inbox   *Inbox
	setup   Setup
	patient *pkbtest.Patient
	close   []func() error
}

// New starts a PKB and makes a database. Close the cluster.
func New(ctx context.Context) (c *Cluster, err error) {
	c = &Cluster{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if c.PKB, err = pkbtest.Start(pkbtest.Config{KeepRequests: 1, SessionLife: 365 * 24 * time.Hour}); err != nil {
		return c, err
	}
	c.close = append(c.close, func() error { c.PKB.Close(); return nil })
	c.patient = c.PKB.AddPatient(pkbtest.Patient{})

	dsn, drop, err := services.ScratchPostgres(ctx)
	if err != nil {
		return c, err
	}
	c.close = append(c.close, drop)
	keys, err := keys.Generate("cluster")
	if err != nil {
		return c, err
	}
	c.setup = Setup{DSN: dsn, Keys: keys, PKB: c.PKB.URL(), ClientID: c.PKB.ClientID()}
	replica, err := c.setup.Open(func(cfg *pkb.Config) { cfg.Now = c.PKB.Now })
	if err != nil {
		return c, err
	}
	c.Client = replica.Client
	c.close = append(c.close, replica.Close)
	if err := replica.Store.Migrate(ctx); err != nil {
		return c, err
	}
	if c.Inbox, err = c.setup.OpenInbox(); err != nil {
		return c, err
	}
	c.close = append(c.close, c.Inbox.Close)
	return c, c.Inbox.create(ctx)
}

// NewKeyring returns a keyring with a key that nobody else has.
func NewKeyring() (*keys.Keyring, error) {
	text, err := keys.Generate("new")
	if err != nil {
		return nil, err
	}
	return keys.Parse(text)
}

// Close stops everything and drops the database.
func (c *Cluster) Close() error {
	var errs []error
	for _, f := range slices.Backward(c.close) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// Link links a user.
func (c *Cluster) Link(ctx context.Context, appUserID string) error {
	return Link(ctx, c.PKB, c.patient, c.Client, appUserID)
}

// Link links a user of client to patient, who approves at once.
func Link(ctx context.Context, server *pkbtest.Server, patient *pkbtest.Patient, client *pkb.Client, appUserID string) error {
	pending, callback, err := approve(ctx, server, patient, client, appUserID, pkb.AllowShared())
	if err == nil {
		_, err = client.Complete(ctx, appUserID, pending, callback)
	}
	return err
}

// approve starts an authorization, which patient approves at once.
func approve(
	ctx context.Context, server *pkbtest.Server, patient *pkbtest.Patient, client *pkb.Client, appUserID string, options ...pkb.AuthorizeOption,
) (pkb.Pending, url.Values, error) {
	address, pending, err := client.Authorize(ctx, appUserID, options...)
	if err != nil {
		return pending, nil, err
	}
	back, err := server.Approve(ctx, address, patient)
	if err != nil {
		return pending, nil, err
	}
	return pending, back.Query(), nil
}

// Import links a user of client to patient with tokens that other code obtained.
func Import(ctx context.Context, server *pkbtest.Server, patient *pkbtest.Patient, client *pkb.Client, appUserID string) error {
	token, err := Obtain(ctx, server, patient, client, appUserID)
	if err == nil {
		_, err = client.Import(ctx, appUserID, token)
	}
	return err
}

// Obtain obtains tokens as code does that knows nothing of this library.
func Obtain(ctx context.Context, server *pkbtest.Server, patient *pkbtest.Patient, client *pkb.Client, appUserID string) (*oauth2.Token, error) {
	_, callback, err := approve(ctx, server, patient, client, appUserID)
	if err != nil {
		return nil, err
	}
	other := oauth2.Config{
		ClientID: server.ClientID(), RedirectURL: RedirectURL,
		Endpoint: oauth2.Endpoint{TokenURL: pkb.BaseURL(server.URL()).TokenURL, AuthStyle: oauth2.AuthStyleInParams},
	}
	token, err := other.Exchange(ctx, callback.Get("code"))
	if err == nil && token.ExpiresIn > 0 { // by the clock of the PKB, which is not that of package oauth2
		token.Expiry = server.Now().Add(time.Duration(token.ExpiresIn) * time.Second)
	}
	return token, err
}

// Setup is what a process needs to know. Its clock is that of the PKB, as it is
// now.
func (c *Cluster) Setup() Setup {
	s := c.setup
	s.Clock = time.Until(c.PKB.Now())
	return s
}

// Setup says where everything is.
type Setup struct {
	DSN, Keys, PKB, ClientID string
	// Clock is how far the process's clock is ahead, and Speed, how fast it goes; 0
	// means as fast as time does.
	Clock time.Duration
	Speed int
}

// Now returns the clock of a process that begins now.
func (s Setup) Now() func() time.Time {
	began, speed := time.Now(), time.Duration(max(s.Speed, 1))
	return func() time.Time { return began.Add(s.Clock + time.Since(began)*speed) }
}

// Replica is one process's client.
type Replica struct {
	Client *pkb.Client
	Store  *sqlstore.Store
	// DB is the pool.
	DB *sql.DB
}

// Open returns a client with a pool of its own; change may change its
// configuration.
func (s Setup) Open(change func(*pkb.Config)) (*Replica, error) {
	db, err := sql.Open(services.PostgresDriver, s.DSN)
	if err != nil {
		return nil, err
	}
	return s.OpenWith(db, change)
}

// OpenWith is Open with a pool that the caller has opened.
func (s Setup) OpenWith(db *sql.DB, change func(*pkb.Config)) (_ *Replica, err error) {
	db.SetMaxOpenConns(4)
	r := &Replica{DB: db}
	if r.Store, err = sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.Postgres}); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	keys, err := keys.Parse(s.Keys)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	cfg := pkb.Config{
		Environment: pkb.BaseURL(s.PKB), ClientID: s.ClientID, RedirectURL: RedirectURL, Store: r.Store, Keys: keys,
		Now: s.Now(),
	}
	change(&cfg)
	if r.Client, err = pkb.New(cfg); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return r, nil
}

// Close waits for what is under way and closes the pool.
func (r *Replica) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(r.Client.Close(ctx), r.DB.Close())
}

// roleVariable is the role of a process.
const roleVariable = "PKB_CLUSTER_ROLE"

// Role is what this process was started for, "" if not by Start.
func Role() string { return os.Getenv(roleVariable) }

// Process is another process of this program. What it prints on standard
// output, and what it reads, is JSON.
type Process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// Start starts this program once more and sends it order.
func Start(ctx context.Context, role string, order any) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.CommandContext(ctx, self)}
	p.cmd.Env = append(os.Environ(), roleVariable+"="+role)
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = json.NewDecoder(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	return p, p.Send(order)
}

// Send sends the process a message.
func (p *Process) Send(message any) error { return json.NewEncoder(p.in).Encode(message) }

// Receive waits for a message of the process.
func (p *Process) Receive(message any) error {
	if err := p.out.Decode(message); err != nil {
		return fmt.Errorf("process %d said nothing: %w", p.cmd.Process.Pid, err)
	}
	return nil
}

// Kill ends the process with SIGKILL, unless it has ended.
func (p *Process) Kill() { _ = p.cmd.Process.Kill() }

// Wait waits for the end of the process.
func (p *Process) Wait() error { return p.cmd.Wait() }

// Killed reports whether the error of Wait is that of a process that ended with SIGKILL.
func Killed(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Die ends this process as an operating system does it.
func Die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// TestMain is that of a program whose tests start it again: such a process does what
// play does.
func TestMain(m *testing.M, play func() error) {
	if Role() == "" {
		os.Exit(m.Run())
	}
	if err := play(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
