// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package canary

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	_ "modernc.org/sqlite"

	"github.com/betawerk/pkb-go/internal/canary"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// S54: whoever finds a disk, or a backup of it, finds no token in what the store
// has written, also not in its log, and nothing about the patient but the public
// id.
func TestNothingSecretIsInFiles(t *testing.T) {
	dir := t.TempDir()
	var printed *canary.Printed
	inFiles := map[string][]byte{}
	synctest.Test(t, func(t *testing.T) {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "links.db")+"?_pragma=journal_mode(wal)&_pragma=wal_autocheckpoint(0)&_pragma=synchronous(off)")
		if err != nil {
			t.Fatal(err)
		}
		db.SetMaxOpenConns(1)
		store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Migrate(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
		if printed, err = (canary.Flow{Store: store}).Run(t.Context()); err != nil {
			t.Fatalf("the flow did not go as it was meant to, so nothing is shown: %v", err)
		}
		read(t, dir, "in use", inFiles) // with the log: nothing was moved out of it
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
	read(t, dir, "closed", inFiles)

	var publicID bool
	for name, data := range inFiles {
		if found := printed.Secrets.Find(string(data)); len(found) > 0 {
			t.Errorf("%s holds %v", name, found)
		}
		publicID = publicID || len(printed.Names.Find(string(data))) > 0
	}
	if !publicID {
		t.Error("the files hold no public id either: the wrong ones were searched")
	}
	for _, leak := range printed.Leaks() {
		t.Errorf("got out in %s", leak)
	}
	for _, want := range []string{"in use: links.db-wal", "closed: links.db"} {
		if len(inFiles[want]) < 100_000 {
			t.Errorf("only %d bytes of %s to search", len(inFiles[want]), want)
		}
	}
}

func read(t *testing.T, dir, when string, into map[string][]byte) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), "-shm") {
			continue // an index of the log, which SQLite keeps locked
		}
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		into[when+": "+f.Name()] = data
	}
}
