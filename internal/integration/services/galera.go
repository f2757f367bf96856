// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"sync"
)

// Galera is a cluster of MariaDB nodes of our own. Each may be killed and started as
// often as one likes, as long as another one runs.
type Galera []*Server

// Close kills the nodes and removes their directories.
func (g Galera) Close() error {
	var errs []error
	for _, node := range g {
		if node != nil {
			errs = append(errs, node.Close())
		}
	}
	return errors.Join(errs...)
}

// galeraProvider is the library that Debian's package galera-4 has.
const galeraProvider = "/usr/lib/galera/libgalera_smm.so"

// StartGalera starts a cluster of so many nodes, each in a directory of its own. A node
// that joins copies another with rsync. Close it.
func StartGalera(ctx context.Context, nodes int) (Galera, error) {
	provider, err := find("libgalera_smm.so", galeraProvider)
	if err != nil {
		return nil, err
	}
	if _, err := find("rsync", "/usr/bin/rsync"); err != nil {
		return nil, err
	}
	ports := make([]string, 3*nodes) // for the group, and for the two ways to catch up
	for i := range ports {
		if ports[i], err = freePort(ctx); err != nil {
			return nil, err
		}
	}
	var group []string
	for _, port := range ports[:nodes] {
		group = append(group, "127.0.0.1:"+port)
	}
	g, errs := make(Galera, nodes), make([]error, nodes)
	start := func(i int) {
		n := &galeraNode{provider: provider, first: i == 0, group: group, at: group[i], ist: ports[nodes+i], sst: ports[2*nodes+i]}
		if g[i], errs[i] = startMariaDB(ctx, n.flags); errs[i] != nil {
			errs[i] = fmt.Errorf("node %d: %w", i, errs[i])
		}
	}
	start(0)
	var others sync.WaitGroup
	for i := 1; i < nodes && errs[0] == nil; i++ {
		others.Go(func() { start(i) })
	}
	others.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// galeraNode is how a node starts.
type galeraNode struct {
	provider string
	first    bool // it starts the cluster
	began    bool
	group    []string
	at       string
	ist, sst string // ports
}

// flags are those of Galera's page on configuration, and --wsrep-start-position as
// Debian's galera_recovery sets it: so a node that was killed asks for what it lacks,
// and not for a copy of everything.
func (n *galeraNode) flags(bare func() *exec.Cmd) []string {
	flags := []string{
		"--wsrep-on=1", "--wsrep-provider=" + n.provider, "--wsrep-cluster-address=gcomm://" + strings.Join(n.group, ","),
		"--wsrep-node-address=127.0.0.1", "--wsrep-sst-method=rsync", "--wsrep-sst-receive-address=127.0.0.1:" + n.sst,
		"--wsrep-provider-options=gmcast.listen_addr=tcp://" + n.at + ";ist.recv_addr=127.0.0.1:" + n.ist,
		"--binlog-format=ROW", "--default-storage-engine=InnoDB", "--innodb-autoinc-lock-mode=2",
	}
	switch {
	case n.began:
		recovers := bare()
		recovers.Args = append(append(recovers.Args, flags...), "--wsrep-recover", "--disable-log-error")
		out, _ := recovers.CombinedOutput() // without a position it copies everything
		if at := recovered.FindSubmatch(out); at != nil {
			flags = append(flags, "--wsrep-start-position="+string(at[1]))
		}
	case n.first:
		flags = append(flags, "--wsrep-new-cluster")
	}
	n.began = true
	return flags
}

// recovered finds where a node was when it was killed.
var recovered = regexp.MustCompile(`Recovered position:? ([0-9a-f-]{36}:-?[0-9]+)`)
