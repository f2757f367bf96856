// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

const serveArgument = "serve"

// answers are the responses of the server in the other process, whoever asks: its own
// work is not what is measured.
type answers struct {
	Self, Purview, Page []byte
}

// serve reads responses and serves them until the other end closes stdin.
func serve() error {
	in := json.NewDecoder(os.Stdin)
	var a answers
	if err := in.Decode(&a); err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	answer := func(path, mediaType string, body func(*http.Request) []byte) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", mediaType)
			_, _ = w.Write(body(r)) // a client that left is no error of ours
		})
	}
	answer("/json/users/self", "application/json", func(*http.Request) []byte { return a.Self })
	answer("/fhir/Consent/$purview", "application/fhir+json", func(*http.Request) []byte { return a.Purview })
	answer("/fhir/Observation", "application/fhir+json", func(r *http.Request) []byte {
		n, _ := strconv.Atoi(r.URL.Query().Get("page"))
		if n++; n >= pages {
			return a.Page
		}
		return bytes.Replace(a.Page, []byte(`"link":[`), fmt.Appendf(nil, `"link":[{"relation":"next","url":"?page=%d"},`, n), 1)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	fmt.Println("http://" + listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// bench is a linked patient, a server in another process, and code that asks it
// by hand.
type bench struct {
	patient *pkb.Patient
	page    []byte
	url     string
	token   string
	hand    *http.Client
	close   func() error
}

// newBench links a patient in memory, and has the responses that it then gets
// given by another process.
func newBench(ctx context.Context) (*bench, error) {
	server := pkbtest.New(pkbtest.Config{TokenLife: time.Hour})
	made := server.AddPatient(pkbtest.Patient{})
	cfg := pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: server.ClientID(), RedirectURL: cluster.RedirectURL,
		Store: tokenstore.NewMemory(), HTTPClient: &http.Client{Transport: server.Transport()},
	}
	cfg.Environment.Name = "databench"
	client, err := pkb.New(cfg)
	if err != nil {
		return nil, err
	}
	if err := cluster.Link(ctx, server, made, client, user); err != nil {
		return nil, err
	}
	token, err := client.Token(ctx, user)
	if err != nil {
		return nil, err
	}
	var a answers
	for path, into := range map[string]*[]byte{"/json/users/self": &a.Self, "/fhir/Consent/$purview": &a.Purview} {
		answer, err := client.ForUser(user).Get(ctx, path, nil)
		if err != nil {
			return nil, err
		}
		*into = answer.Raw()
	}
	a.Page = madeUpPage(made)

	b := &bench{page: a.Page, token: token.Value.Reveal()}
	if err := b.start(ctx, a); err != nil {
		return nil, err
	}
	cfg.Environment = pkb.BaseURL(b.url)
	cfg.Environment.Name = "databench" // the link is the same
	// The same transport for both, with connections of its own for each.
	cfg.HTTPClient = &http.Client{Transport: transport()}
	b.hand = &http.Client{Transport: transport(), Timeout: 30 * time.Second}
	if client, err = pkb.New(cfg); err != nil {
		return nil, errors.Join(err, b.close())
	}
	b.patient = client.ForUser(user)
	return b, nil
}

const user = "app-user-1"

func transport() *http.Transport { return &http.Transport{MaxIdleConnsPerHost: 4} }

// kinds is how many kinds of values the made-up observations have. A quantity is the
// first.
const kinds = 15

// madeUpPage is a page of a search, with a place for a link to the next one.
func madeUpPage(p *pkbtest.Patient) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"resourceType":"Bundle","type":"searchset","total":%d,"link":[{"relation":"self","url":"?"}],"entry":[`, perPage*pages)
	for seed := range uint64(perPage) {
		if seed > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"fullUrl":"https://pkbtest.example/fhir/Observation/observation-%d","resource":%s,"search":{"mode":"match"}}`,
			seed, pkbtest.MadeUpResource("Observation", seed*kinds, p))
	}
	b.WriteString("]}")
	return b.Bytes()
}

// start starts the other process.
func (b *bench) start(ctx context.Context, a answers) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.CommandContext(ctx, self, serveArgument)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		return err
	}
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	b.close = func() error { return errors.Join(in.Close(), child.Wait()) }
	if err := json.NewEncoder(in).Encode(a); err != nil {
		return errors.Join(err, b.close())
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return errors.Join(fmt.Errorf("the server did not start: %w", err), b.close())
	}
	b.url = strings.TrimSpace(line)
	return nil
}
