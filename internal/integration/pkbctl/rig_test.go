// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbctl_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/creack/pty"
	"github.com/go-sql-driver/mysql"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
	_ "modernc.org/sqlite"
)

// the driver "sqlite"

// program is pkbctl, built once.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "pkbctl-")
	if err == nil {
		program = filepath.Join(dir, "pkbctl")
		build := exec.Command("go", "build", "-o", program, ".")
		build.Dir, build.Env = filepath.Join("..", "..", "..", "examples", "pkbctl"), append(os.Environ(), "GOWORK=off")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pkbctl does not build:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// kind is a kind of database.
type kind struct {
	name, driver string
	dialect      sqlstore.Dialect
	// dsn makes an empty one, or skips the test.
	dsn func(t testing.TB) string
	// address is how an operator writes the DSN.
	address func(dsn string) string
}

func same(dsn string) string { return dsn }

var kinds = []kind{
	{"SQLite", "sqlite", sqlstore.SQLite, func(t testing.TB) string { return filepath.Join(t.TempDir(), "links.db") }, same},
	{"PostgreSQL", services.PostgresDriver, sqlstore.Postgres, services.PostgresDSN, same},
	{"MariaDB", services.MariaDBDriver, sqlstore.MySQL, services.MariaDBDSN, mysqlAddress},
}

// mysqlAddress writes a DSN as an address.
func mysqlAddress(dsn string) string {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return dsn
	}
	user := cfg.User
	if cfg.Passwd != "" {
		user += ":" + cfg.Passwd
	}
	return "mysql://" + user + "@" + cfg.Addr + "/" + cfg.DBName
}

// host is an application with a database, at a PKB for tests.
type host struct {
	t       testing.TB
	server  *pkbtest.Server
	front   *httptest.Server
	url     string // of front
	kind    kind
	dsn     string // of the database, for its driver
	address string // of the database, for -db
	store   *sqlstore.Store
	place   pkb.Environment
	client  *pkb.Client
	keys    string // as ParseKeyring reads them
	dir     string
	env     []string // of pkbctl, in addition to what it always gets
	width   int      // of the terminal

	mu sync.Mutex
	// secrets are what must never be printed.
	secrets []string
	// down is an endpoint that fails, or "".
	down pkbtest.Endpoint
	// sent is how often each refresh token arrived at PKB.
	sent map[string]int
}

func newHost(t testing.TB, k kind, cfg pkbtest.Config) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir(), width: 140}
	h.kind, h.dsn = k, k.dsn(t)
	h.address = k.address(h.dsn)
	h.server = pkbtest.New(cfg)
	h.front = httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(func() { h.front.Close() })
	h.url = h.front.URL
	var err error
	if h.keys, err = keys.Generate("first"); err != nil {
		t.Fatal(err)
	}
	h.keep(h.keys)
	h.store, h.place = openStore(t, k, h.dsn), pkb.BaseURL(h.url)
	h.client = h.open(h.keys)
	return h
}

// openDatabase opens a database; a file need not survive a power cut.
func openDatabase(t testing.TB, k kind, dsn string) *sql.DB {
	t.Helper()
	if k.dialect == sqlstore.SQLite {
		dsn = (&url.URL{Scheme: "file", Path: dsn, RawQuery: "_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_pragma=synchronous(off)"}).String()
	}
	db, err := sql.Open(k.driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(2)
	return db
}

func openStore(t testing.TB, k kind, dsn string) *sqlstore.Store {
	t.Helper()
	store, err := sqlstore.New(openDatabase(t, k, dsn), sqlstore.Config{Dialect: k.dialect})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}

// keep notes the key of a keyring's text as a secret.
func (h *host) keep(keys string) {
	for entry := range strings.SplitSeq(keys, ",") {
		_, key, _ := strings.Cut(entry, ":")
		h.secrets = append(h.secrets, key)
	}
}

// hangUp lets nobody reach the server.
func (h *host) hangUp() { h.front.Close() }

// listen lets everybody reach it again.
func (h *host) listen() {
	h.t.Helper()
	at, err := net.Listen("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.front = &httptest.Server{Listener: at, Config: &http.Server{Handler: http.HandlerFunc(h.serve), ReadHeaderTimeout: time.Minute}}
	h.front.Start()
}

// cut lets an endpoint fail from now on, and "" none.
func (h *host) cut(down pkbtest.Endpoint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
}

// twice is how many refresh tokens arrived at PKB more than once.
func (h *host) twice() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, times := range h.sent {
		if times > 1 {
			n++
		}
	}
	return n
}

// arrives notes a refresh token that comes in.
func (h *host) arrives(token string) {
	if token == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sent == nil {
		h.sent = map[string]int{}
	}
	h.sent[token]++
}

// paths are those of the endpoints that can fail.
var paths = map[string]pkbtest.Endpoint{"apiToken.action": pkbtest.Token, "$purview": pkbtest.Purview}

// serve is the server's handler; it notes the tokens that come in and go out.
func (h *host) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	down := h.down
	h.mu.Unlock()
	endpoint := paths[path.Base(r.URL.Path)]
	switch {
	case down != "" && endpoint == down:
		panic(http.ErrAbortHandler) // before anything of the request is read
	case endpoint != pkbtest.Token:
		h.server.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if form, err := url.ParseQuery(string(body)); err == nil {
		h.arrives(form.Get("refresh_token"))
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	h.server.ServeHTTP(answer, r)
	var pair struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	}
	if json.Unmarshal(answer.Body.Bytes(), &pair) == nil && pair.AccessToken != "" {
		h.mu.Lock()
		h.secrets = append(h.secrets, pair.AccessToken, pair.RefreshToken)
		h.mu.Unlock()
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// open returns a client with these keys.
func (h *host) open(key string) *pkb.Client {
	h.t.Helper()
	return h.openWith(key, func(*pkb.Config) {})
}

// openWith is open with a configuration that change changes.
func (h *host) openWith(key string, change func(*pkb.Config)) *pkb.Client {
	h.t.Helper()
	ring, err := keys.Parse(key)
	if err != nil {
		h.t.Fatal(err)
	}
	cfg := pkb.Config{
		Environment: h.place, ClientID: h.server.ClientID(), RedirectURL: cluster.RedirectURL, Store: h.store, Keys: ring,
	}
	change(&cfg)
	client, err := pkb.New(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	return client
}

// link links a user.
func (h *host) link(user string) *pkbtest.Patient {
	h.t.Helper()
	patient := h.server.AddPatient(pkbtest.Patient{})
	if err := cluster.Link(h.t.Context(), h.server, patient, h.client, user); err != nil {
		h.t.Fatal(err)
	}
	return patient
}

// end ends a user's link, as PKB does it.
func (h *host) end(user string, p *pkbtest.Patient) {
	h.t.Helper()
	h.server.InvalidateSessions(p)
	if _, err := h.client.ForUser(user).Self(h.t.Context()); !errors.Is(err, pkb.ErrRelinkRequired) {
		h.t.Fatalf("PKB ended the session, and the call says %v", err)
	}
}

// change writes a record, as another process of the host's might.
func (h *host) change(user string, change func(*tokenstore.Record)) {
	h.t.Helper()
	r := h.load(user)
	change(&r)
	if _, err := h.store.Save(h.t.Context(), r); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) load(user string) tokenstore.Record {
	h.t.Helper()
	r, err := h.store.Load(h.t.Context(), user)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// keyFile writes keys to a file of their own.
func (h *host) keyFile(keys string) string {
	h.t.Helper()
	h.keep(keys)
	file, err := os.CreateTemp(h.dir, "keys-")
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := file.WriteString(keys + "\n"); err != nil {
		h.t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		h.t.Fatal(err)
	}
	return file.Name() // which nobody else can read
}

// command returns pkbctl with arguments, in an environment that says nothing
// else.
func (h *host) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TERM=xterm", "PKB_DB=" + h.address}
	cmd.Env = append(cmd.Env, h.env...)
	cmd.Dir = h.dir
	return cmd
}

// said is what pkbctl printed, and its exit code.
type said struct {
	out, err string
	code     int
}

// silent fails the test if anything secret was printed.
func (h *host) silent(s said) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.secrets) == 0 {
		h.t.Fatal("there is no secret to look for")
	}
	for _, secret := range h.secrets {
		if secret != "" && strings.Contains(s.out+s.err, secret) {
			h.t.Errorf("a token or a key was printed:\n%s%s", s.out, s.err)
		}
	}
}

// pipe runs pkbctl as a script does.
func (h *host) pipe(args ...string) said {
	h.t.Helper()
	var out, stderr bytes.Buffer
	cmd := h.command(h.t.Context(), args...)
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	s := said{out.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	h.silent(s)
	return s
}

// json is pipe for a command that must end with this code, and print one JSON
// document.
func (h *host) json(code int, v any, args ...string) {
	h.t.Helper()
	s := h.pipe(args...)
	if s.code != code {
		h.t.Fatalf("pkbctl %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), s.code, code, s.out, s.err)
	}
	d := json.NewDecoder(strings.NewReader(s.out))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		h.t.Fatalf("pkbctl %s: a script reads JSON of the documented shape: %v\n%s", strings.Join(args, " "), err, s.out)
	}
	if d.More() {
		h.t.Errorf("pkbctl %s: more than one document:\n%s", strings.Join(args, " "), s.out)
	}
}

// screen is a terminal in which pkbctl runs.
type screen struct {
	h     *host
	cmd   *exec.Cmd
	pty   *os.File
	ended chan struct{} // closed when all was read
	watched

	mu  sync.Mutex
	raw bytes.Buffer
}

// terminal starts pkbctl in a terminal.
func (h *host) terminal(args ...string) *screen {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	h.t.Cleanup(cancel)
	s := &screen{h: h, cmd: h.command(ctx, args...), ended: make(chan struct{})}
	var err error
	if s.pty, err = pty.StartWithSize(s.cmd, &pty.Winsize{Rows: 40, Cols: uint16(h.width)}); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = s.pty.Close() })
	s.watched = watched{r: s.pty, pid: s.cmd.Process.Pid}
	go func() {
		defer close(s.ended)
		b := make([]byte, 4096)
		for {
			n, err := s.Read(b)
			s.mu.Lock()
			s.raw.Write(b[:n])
			s.mu.Unlock()
			if err != nil {
				return // its other end was closed
			}
		}
	}()
	return s
}

var (
	escape = regexp.MustCompile(`\x1b\[[0-9;?]*[a-zA-Z]`)
	erased = regexp.MustCompile(`(?m)^[^\n]*\r\x1b\[K`)
)

// text is what was printed, without colours.
func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.ReplaceAll(escape.ReplaceAllString(s.raw.String(), ""), "\r\n", "\n")
}

// left is the text that was not erased again, as the bar of progress is.
func (s *screen) left() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return escape.ReplaceAllString(erased.ReplaceAllString(strings.ReplaceAll(s.raw.String(), "\r\n", "\n"), ""), "")
}

// wait waits until text was printed n times.
func (s *screen) wait(text string, n int) {
	s.h.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); strings.Count(s.text(), text) < n; {
		if time.Now().After(deadline) {
			s.h.t.Fatalf("%q was not shown %d times:\n%s", text, n, s.text())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// press types at the terminal.
func (s *screen) press(keys string) {
	s.h.t.Helper()
	if _, err := s.pty.WriteString(keys); err != nil {
		s.h.t.Fatal(err)
	}
}

const ctrlC = "\x03"

// end waits for the end of pkbctl.
func (s *screen) end() said {
	s.h.t.Helper()
	<-s.ended
	err := s.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.h.t.Fatal(err)
	}
	s.h.silent(said{out: s.text()})
	return said{out: s.left(), code: s.cmd.ProcessState.ExitCode()}
}

// shows fails the test unless pkbctl, in a terminal, ends with code and shows
// lines that match the patterns, in this order.
func (h *host) shows(code int, args []string, patterns ...string) said {
	h.t.Helper()
	s := h.terminal(args...).end()
	if s.code != code {
		h.t.Errorf("pkbctl %s: exit code %d, want %d", strings.Join(args, " "), s.code, code)
	}
	matches(h.t, s.out, patterns...)
	return s
}

// matches fails the test unless lines match the patterns, in this order.
func matches(t testing.TB, text string, patterns ...string) {
	t.Helper()
	lines := strings.Split(text, "\n")
	i := 0
	for _, pattern := range patterns {
		re := regexp.MustCompile(pattern)
		for i < len(lines) && !re.MatchString(lines[i]) {
			i++
		}
		if i == len(lines) {
			t.Errorf("no line, at its place, is as %q says:\n%s", pattern, text)
			return
		}
		i++
	}
}
