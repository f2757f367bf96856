// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package transports

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// network connects in memory, by address.
type network struct {
	mu        sync.Mutex
	listeners map[string]*listener
}

type listener struct {
	address  string
	accepted chan net.Conn
	closed   chan struct{}
	close    func()
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accepted:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.close(); return nil }
func (l *listener) Addr() net.Addr { return l }
func (*listener) Network() string  { return "memory" }
func (l *listener) String() string { return l.address }

func (n *network) listen(address string) *listener {
	l := &listener{address: address, accepted: make(chan net.Conn), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = map[string]*listener{}
	}
	n.listeners[address] = l
	return l
}

// dial is for http.Transport.DialContext.
func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[address]
	n.mu.Unlock()
	if l == nil {
		return nil, &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
	}
	here, there := net.Pipe()
	select {
	case l.accepted <- there:
		return here, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "memory", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve serves h at address until the test ends, with TLS unless config is nil.
func (n *network) serve(t *testing.T, address string, h http.Handler, config *tls.Config) {
	l := n.listen(address)
	srv := &http.Server{Handler: h, TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	var running sync.WaitGroup
	running.Go(func() {
		if config == nil {
			_ = srv.Serve(l)
		} else {
			_ = srv.ServeTLS(l, "", "")
		}
	})
	t.Cleanup(func() { _ = srv.Close(); running.Wait() })
}

// proxy tunnels to what is on the network.
func (n *network) proxy() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
			return
		}
		there, err := n.dial(r.Context(), "", r.Host)
		if err != nil {
			http.Error(w, "no such host", http.StatusBadGateway)
			return
		}
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		var both sync.WaitGroup
		for _, way := range [][2]net.Conn{{here, there}, {there, here}} {
			both.Go(func() {
				_, _ = io.Copy(way[0], way[1])
				_ = here.Close()
				_ = there.Close()
			})
		}
		both.Wait()
	})
}

// trust is a certificate authority of the test, and what it has issued.
type trust struct {
	roots          *x509.CertPool
	server, client tls.Certificate
}

var issued = sync.OnceValues(func() (*trust, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	// The clock of a bubble begins in 2000.
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	issue := func(c *x509.Certificate) (tls.Certificate, error) {
		der, err := x509.CreateCertificate(rand.Reader, c, authority, key.Public(), key)
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
	}
	root, err := issue(authority)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(root.Certificate[0])
	if err != nil {
		return nil, err
	}
	t := &trust{roots: x509.NewCertPool()}
	t.roots.AddCert(parsed)
	leaf := *authority
	leaf.IsCA, leaf.SerialNumber, leaf.KeyUsage = false, big.NewInt(2), x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	leaf.DNSNames = []string{"pkb.test", "gateway.test", "elsewhere.test"}
	if t.server, err = issue(&leaf); err != nil {
		return nil, err
	}
	leaf.SerialNumber, leaf.DNSNames, leaf.Subject = big.NewInt(3), nil, pkix.Name{CommonName: "a host"}
	t.client, err = issue(&leaf)
	return t, err
})
