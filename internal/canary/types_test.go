// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package canary_test

import "github.com/betawerk/pkb-go/pkb/observe"
import "github.com/betawerk/pkb-go/pkb/keys"
import "github.com/betawerk/pkb-go/pkb/identity"
import "github.com/betawerk/pkb-go/pkb/pkbsystem"

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/canary"
	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

const (
	user     = "canarina@app.example"
	link     = "link=9898cc178303" // the hash of user
	publicID = "1d4a8b2d-f885-499f-ba51-50600312f316"
	redacted = "[redacted]"
)

// looks is how a value prints: under every verb and in templates, in a log, and
// as JSON. "" means that it is not looked at.
type looks struct {
	value          any
	fmt, log, json string
	// refuses is what the error says, of a value that is not encoded as JSON.
	refuses string
	// plain says that the value prints as it is under fmt, by decision.
	plain bool
}

// types are all types that print less than they hold.
func types(t *testing.T) map[string][]looks {
	t.Helper()
	ctx := t.Context()
	server := pkbtest.New(pkbtest.Config{ClientID: "c"})
	patient := server.AddPatient(pkbtest.Patient{PublicID: publicID})
	store := tokenstore.NewMemory()
	config := pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: "c", ClientSecret: pkb.Secret{}, RedirectURL: redirect, Store: store,
		HTTPClient: &http.Client{Transport: server.Transport()}, Now: server.Now,
	}
	client := newClient(t, config)
	approve(t, server, patient, client)
	self, err := client.ForUser(user).Self(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, pending, err := client.Authorize(ctx, user)
	if err != nil {
		t.Fatal(err)
	}
	record, err := store.Load(ctx, user)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	outcome, err := fhir.DecodeOperationOutcome([]byte(`{"resourceType":"OperationOutcome","issue":[{"code":"NO_CONSENT","details":{"text":"canary"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	resource, err := fhir.NewResource(outcome)
	if err != nil {
		t.Fatal(err)
	}

	number, err := identity.ParseNHSNumber("9991566171")
	if err != nil {
		t.Fatal(err)
	}
	answered, err := client.ForUser(user).Get(ctx, "/json/users/self", nil)
	if err != nil {
		t.Fatal(err)
	}

	system, statuses := asSystem(t, server, number)
	server.Next(pkbtest.Self, pkbtest.Respond(200, "text/html", "<html>canary"))
	_, unreadable := client.ForUser(user).Self(ctx)
	answer, _ := errors.AsType[*pkb.APIError](unreadable)
	withKeys := config
	withKeys.Keys = &keys.Keyring{}
	if err := withKeys.Keys.AddKey("k", bytes.Repeat([]byte{1}, 32)); err != nil {
		t.Fatal(err)
	}
	_, sealed := newClient(t, withKeys).Token(ctx, user)
	identify := config
	identify.Store = tokenstore.NewMemory()
	identify.Identify = func(context.Context, pkb.Candidate) error { return errors.New("canary") }
	asking := newClient(t, identify)
	approve(t, server, patient, asking)
	_, unidentified := asking.ForUser(user).PublicID(ctx)
	later, _ := errors.AsType[*pkb.TryLaterError](unidentified)
	address, waits, err := client.Authorize(ctx, user)
	if err != nil {
		t.Fatal(err)
	}
	back, err := server.Approve(ctx, address, patient)
	if err != nil {
		t.Fatal(err)
	}
	server.Next(pkbtest.Purview, pkbtest.Respond(401, "text/html", "<html>canary"))
	_, unchecked := client.Complete(ctx, user, waits, back.Query())
	if !errors.Is(unchecked, pkb.ErrUnchecked) {
		t.Fatalf("Complete: %v, want ErrUnchecked", unchecked)
	}
	broken := config
	broken.Store = brokenStore{store}
	_, failed := newClient(t, broken).Token(ctx, user)
	if answer == nil || later == nil {
		t.Fatalf("%v, %v", unreadable, unidentified)
	}

	refuses := func(v any) looks { return looks{value: v, fmt: redacted, log: redacted, refuses: "Reveal or Raw"} }
	says := func(err error) looks { return looks{value: err, fmt: err.Error(), log: err.Error()} }
	marshals := func(err error) looks {
		quoted, _ := json.Marshal(err.Error())
		return looks{value: err, fmt: err.Error(), log: err.Error(), json: string(quoted)}
	}
	same := func(v any, s string) looks { return looks{value: v, fmt: s} }
	return map[string][]looks{
		"pkb.Secret":         {refuses(pkb.NewSecret("canary-7f3a")), refuses(pkb.Secret{})},
		"pkb.Response":       {refuses(answered), refuses(pkb.Response{})},
		"pkb.Pending":        {refuses(pending), refuses(&pending), refuses(pkb.Pending{})},
		"pkb.Candidate":      {refuses(pkb.Candidate{AppUserID: user, PublicID: publicID, Self: self})},
		"identity.Self":      {refuses(self), refuses(&self), refuses(identity.Self{})},
		"identity.Known":     {refuses(identity.NewKnown(identity.Person{FirstName: "canary", DateOfBirth: "1977-07-17"})), refuses(identity.Known{})},
		"identity.NHSNumber": {refuses(number), refuses(&number), refuses(identity.NHSNumber{})},
		"pkb.Link": {{
			value: pkb.Link{AppUserID: user, PublicID: publicID, State: tokenstore.StateRelinkRequired, Cause: observe.CauseFrozen, LinkedAt: at},
			fmt:   link + " relink_required (frozen), not verified, linked 2026-01-02T03:04:05Z",
			log:   "v." + link + " v.state=relink_required v.verified=false v.cause=frozen v.linked_at=2026-01-02T03:04:05.000Z",
			json:  `{"app_user_id":"` + user + `","state":"relink_required","cause":"frozen","public_id":"` + publicID + `","verified":false,"linked_at":"2026-01-02T03:04:05Z"}`,
		}, {
			value: pkb.Link{AppUserID: user, PublicID: publicID, State: tokenstore.StateLinked, Verified: true, Unchecked: true},
			fmt:   link + " linked, an authorization waits to be checked",
			log:   "v." + link + " v.state=linked v.verified=true v.unchecked=true",
			json:  `{"app_user_id":"` + user + `","state":"linked","public_id":"` + publicID + `","verified":true,"unchecked":true}`,
		}},
		"observe.Event": {{
			value: observe.Event{Kind: observe.EventLinked, AppUserID: user, Err: &pkb.RelinkError{}},
			fmt:   "linked " + link, log: "linked " + link, json: `{"kind":"linked","app_user_id":"` + user + `"}`,
		}},
		"observe.Notice": {{
			value: observe.Notice{ID: "1", Kind: observe.EventLinked, AppUserID: user}, fmt: "linked " + link, log: "linked " + link,
			json: `{"id":"1","kind":"linked","app_user_id":"` + user + `","at":"0001-01-01T00:00:00Z"}`,
		}},
		"pkb.Config":            {same(pkb.Config{ClientID: "c", ClientSecret: pkb.NewSecret("canary")}, `pkb.Config{Environment: "", ClientID: "c", RedirectURL: ""}`)},
		"pkb.Client":            {same(client, fmt.Sprintf(`pkb.Client{Environment: %q, ClientID: "c"}`, server.URL()))},
		"keys.Keyring":          {refuses(withKeys.Keys), refuses(&keys.Keyring{})},
		"pkb.Web":               {same(client.Web(pkb.WebConfig{User: func(*http.Request) string { return user }, Done: "/account"}), `pkb.Web{Done: "/account"}`)},
		"pkb.Patient":           {same(client.ForUser(user), "pkb.Patient{"+link+"}")},
		"pkb.tokenSource":       {same(client.TokenSource(user), "pkb.TokenSource{"+link+"}")},
		"pkb.bearer":            {same(client.HTTPClient(user).Transport, "pkb.HTTPClient transport")},
		"pkb.APIError":          {marshals(answer), marshals(&pkb.APIError{Operation: "users/self", Outcome: resource})},
		"pkb.TryLaterError":     {marshals(later)},
		"pkb.SharedRecordError": {marshals(&pkb.SharedRecordError{AppUserIDs: []string{user}})},
		"pkb.contentError":      {says(answer.Err)},
		"pkb.keysError":         {says(sealed)},
		"pkb.uncheckedError":    {says(unchecked)},
		"pkb.identifyError":     {says(later.Err)},
		"pkb.storeFailure":      {says(failed)},
		"pkb.unspoken":          {says(errors.Unwrap(failed))},

		"pkbsystem.Config":        {same(pkbsystem.Config{ClientID: "c", ClientSecret: pkb.NewSecret("canary")}, `pkbsystem.Config{Environment: "", ClientID: "c"}`)},
		"pkbsystem.Client":        {same(system, fmt.Sprintf(`pkbsystem.Client{Environment: %q, ClientID: "test-system-client"}`, server.URL()))},
		"pkbsystem.bearer":        {same(system.HTTPClient().Transport, "pkbsystem.HTTPClient transport")},
		"pkbsystem.PatientStatus": {refuses(statuses[0]), refuses(&statuses[0]), refuses(pkbsystem.PatientStatus{})},

		"fhir.Resource": {refuses(resource), refuses(&resource), refuses(fhir.Resource[fhir.Any]{})},

		"tokenstore.Blob":   {{value: record.Sealed, fmt: fmt.Sprintf("[%d sealed bytes]", len(record.Sealed)), log: fmt.Sprintf("[%d sealed bytes]", len(record.Sealed))}},
		"tokenstore.Memory": {same(store, "tokenstore.Memory")},
		"tokenstore.Record": {{
			value: record, fmt: fmt.Sprintf(`tokenstore.Record{linked, version %d, generation 1, key "", [%d sealed bytes]}`, record.Version, len(record.Sealed)),
			log: fmt.Sprintf(`tokenstore.Record{linked, version %d, generation 1, key \"\", [%d sealed bytes]}`, record.Version, len(record.Sealed)),
		}},
		"sqlstore.Store": {same(&sqlstore.Store{}, "sqlstore.Store")},
		"sqlstore.Error": {says(&sqlstore.Error{Op: "load", Code: "1"})},

		"pkbtest.Server":  {same(server, "pkbtest.Server at "+server.URL())},
		"pkbtest.Request": {same(server.Requests()[0], "GET /apiAuthorize.action: 200")},

		"tokenwire.Grant":    {same(tokenwire.Grant{AccessToken: "canary"}, redacted)},
		"tokenwire.Outcome":  {same(tokenwire.Outcome{Class: tokenwire.OK, Body: []byte("canary")}, "ok")},
		"tokenwire.Reading":  {same(tokenwire.Reading{Body: "canary"}, redacted)},
		"tokenwire.Endpoint": {same(&tokenwire.Endpoint{ClientSecret: func() string { return "canary" }}, "tokenwire.Endpoint")},
		"tokenwire.Failure":  {says(&tokenwire.Failure{What: "it failed", Cause: errors.New("canary")})},

		"custody.Token":     {same(custody.Token{Value: "canary"}, redacted)},
		"custody.Candidate": {same(custody.Candidate{AccessToken: "canary"}, redacted)},
	}
}

// asSystem returns a system client that has a token, and what PKB reports about number.
func asSystem(t *testing.T, server *pkbtest.Server, number identity.NHSNumber) (*pkbsystem.Client, []pkbsystem.PatientStatus) {
	t.Helper()
	system, err := pkbsystem.New(pkbsystem.Config{
		Environment: pkb.BaseURL(server.URL()), TokenURL: server.URL() + "/api/oauth/token", Organisation: server.AddOrganisation(pkbtest.Organisation{}).PublicID,
		ClientID: "test-system-client", ClientSecret: pkb.NewSecret("test-system-secret"), HTTPClient: &http.Client{Transport: roundTripper(server.Transport().RoundTrip)}, Now: server.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	statuses, err := system.Status(t.Context(), identity.KindNHSNumber, number)
	if err != nil || statuses[0].IsZero() {
		t.Fatalf("%v, %v", statuses, err)
	}
	return system, statuses
}

const redirect = "https://app.example/pkb/callback"

func newClient(t *testing.T, config pkb.Config) *pkb.Client {
	t.Helper()
	client, err := pkb.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func approve(t *testing.T, server *pkbtest.Server, p *pkbtest.Patient, client *pkb.Client) {
	t.Helper()
	address, pending, err := client.Authorize(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	back, err := server.Approve(t.Context(), address, p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Complete(t.Context(), user, pending, back.Query()); err != nil {
		t.Fatal(err)
	}
}

// brokenStore is a store that says too much.
type brokenStore struct{ tokenstore.Store }

func (brokenStore) Volatile() bool { return true }

func (brokenStore) Load(context.Context, string) (tokenstore.Record, error) {
	return tokenstore.Record{}, rowError{"canary"}
}

type rowError struct{ Detail string }

func (e rowError) Error() string { return e.Detail }

// Each type prints exactly what it is meant to: a type whose redaction is gone
// prints something else, also where what it holds is hidden once more.
func TestTypesPrintWhatTheyAreMeantTo(t *testing.T) {
	for name, all := range types(t) {
		t.Run(name, func(t *testing.T) {
			for _, l := range all {
				kind, _, _ := strings.Cut(fmt.Sprintf("%T", l.value), "[") // of Resource[T]
				if !strings.HasSuffix(kind, name) {
					t.Fatalf("a %T is tried for %s", l.value, name)
				}
				if !l.plain {
					checkFmt(t, l)
				}
				if l.refuses != "" {
					checkHooks(t, l.value)
				}
				if l.log != "" {
					checkLog(t, l)
				}
				switch got, err := json.Marshal(l.value); {
				case l.refuses != "" && (err == nil || !strings.Contains(err.Error(), l.refuses)):
					t.Errorf("as JSON: %s, %v, want an error with %q", got, err, l.refuses)
				case l.json != "" && (err != nil || string(got) != l.json):
					t.Errorf("as JSON: %s, %v, want %s", got, err, l.json)
				}
				// What only this module has is in no field of a host's.
				if strings.HasPrefix(name, "tokenwire.") || strings.HasPrefix(name, "custody.") {
					continue
				}
				if text := canary.PrintHidden(l.value); strings.Contains(text, "canary") {
					t.Errorf("in a field that is not exported: %s", text)
				}
			}
		})
	}
}

// checkHooks calls each method that a kind of sink calls: a wrapper that answers one of
// them hands its content, or a text in its place, to whatever asks. An NHS number has a
// column.
func checkHooks(t *testing.T, v any) {
	t.Helper()
	pointer := reflect.New(reflect.TypeOf(v))
	pointer.Elem().Set(reflect.ValueOf(v))
	if reflect.TypeOf(v).Kind() != reflect.Pointer {
		v = pointer.Interface()
	}
	prints := v.(interface {
		fmt.Formatter
		fmt.Stringer
		fmt.GoStringer
		slog.LogValuer
	})
	for name, got := range map[string]string{"String": prints.String(), "GoString": prints.GoString(), "LogValue": prints.LogValue().String()} {
		if got != redacted {
			t.Errorf("%s: %s", name, got)
		}
	}
	hooks := v.(interface {
		json.Marshaler
		json.Unmarshaler
		encoding.TextMarshaler
		encoding.TextUnmarshaler
		encoding.BinaryMarshaler
		encoding.BinaryUnmarshaler
		driver.Valuer
		sql.Scanner
		MarshalYAML() (any, error)
		MarshalCBOR() ([]byte, error)
		MarshalBSONValue() (byte, []byte, error)
		MarshalBSON() ([]byte, error)
	})
	says := map[string]func() error{
		"MarshalJSON":      func() error { _, err := hooks.MarshalJSON(); return err },
		"MarshalText":      func() error { _, err := hooks.MarshalText(); return err },
		"MarshalBinary":    func() error { _, err := hooks.MarshalBinary(); return err },
		"MarshalYAML":      func() error { _, err := hooks.MarshalYAML(); return err },
		"MarshalCBOR":      func() error { _, err := hooks.MarshalCBOR(); return err },
		"MarshalBSONValue": func() error { _, _, err := hooks.MarshalBSONValue(); return err },
		"MarshalBSON":      func() error { _, err := hooks.MarshalBSON(); return err },
		"UnmarshalJSON":    func() error { return hooks.UnmarshalJSON([]byte(`"x"`)) },
		"UnmarshalText":    func() error { return hooks.UnmarshalText([]byte("x")) },
		"UnmarshalBinary":  func() error { return hooks.UnmarshalBinary([]byte("x")) },
	}
	if _, ok := v.(*identity.NHSNumber); !ok {
		says["Value"] = func() error { _, err := hooks.Value(); return err }
		says["Scan"] = func() error { return hooks.Scan("x") }
	}
	for name, call := range says {
		if err := call(); !errors.Is(err, conceal.ErrEncoding) {
			t.Errorf("%s: %v, want an error that names Reveal", name, err)
		}
	}
}

func checkFmt(t *testing.T, l looks) {
	t.Helper()
	for _, verb := range canary.Verbs {
		if got := fmt.Sprintf(verb, l.value); got != l.fmt {
			t.Errorf("%s: %s, want %s", verb, got, l.fmt)
			break // the others will not do better
		}
		if got := fmt.Sprintf(verb, []any{l.value}); !strings.Contains(got, l.fmt) {
			t.Errorf("%s in a list: %s", verb, got)
		}
	}
	var page bytes.Buffer
	if err := template.Must(template.New("").Parse("{{.}}")).Execute(&page, l.value); err != nil || page.String() != l.fmt {
		t.Errorf("in a template: %s, %v, want %s", &page, err, l.fmt)
	}
}

func checkLog(t *testing.T, l looks) {
	t.Helper()
	var b bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key != "v" {
			return slog.Attr{}
		}
		return a
	}}))
	logger.Info("m", "v", l.value)
	got := strings.TrimSpace(b.String())
	if strings.HasPrefix(l.log, "v.") {
		if got != l.log {
			t.Errorf("in a log: %s, want %s", got, l.log)
		}
		return
	}
	got = strings.TrimPrefix(got, "v=")
	if unquoted, ok := strings.CutPrefix(got, `"`); ok {
		got = strings.TrimSuffix(unquoted, `"`)
	}
	if got != l.log {
		t.Errorf("in a log: %s, want %s", got, l.log)
	}
}

// tested elsewhere are types that only their own package has.
var testedElsewhere = map[string]string{
	"custody.secrets":  "TestNothingOfTokensIsPrinted of package custody",
	"custody.Approval": "TestNothingOfTokensIsPrinted of package custody",
	"custody.response": "TestNothingOfTokensIsPrinted of package custody",
	"custody.answer":   "TestNothingOfTokensIsPrinted of package custody",
	"custody.pair":     "TestNothingOfTokensIsPrinted of package custody",
	"custody.vault":    "TestNothingOfTokensIsPrinted of package custody",
	"custody.row":      "TestNothingOfTokensIsPrinted of package custody",
	"custody.memory":   "TestNothingOfTokensIsPrinted of package custody",
	"custody.entry":    "TestNothingOfTokensIsPrinted of package custody",
	"custody.flight":   "TestNothingOfTokensIsPrinted of package custody",
	"custody.trip":     "TestNothingOfTokensIsPrinted of package custody",

	"custody.timeline": "TestTimelineIsReadAsWritten of package custody: it hides nothing",
	"custody.marks":    "TestMarksAreReadAsWritten of package custody: it hides nothing",
	"tokenstore.part":  "TestPrefixPrintsNothing of the package",
	"etcdstore.Store":  "TestStorePrintsNothing of the package, which is a module of its own",
	"etcdstore.Error":  "TestFailuresHaveNames of the package",
	"custody.Imported": "TestImportedPrintsNothing of package custody",
	"conceal.Printing": "TestEverySink of package conceal",
	"conceal.Hidden":   "TestEverySink of package conceal",
	"fhir.List":        "TestRoundTrip of package fhir: it hides nothing, and writes null for a value that is absent",
}

// A type that gets redacting methods gets a test that they do what they are for.
func TestNoRedactingTypeIsForgotten(t *testing.T) {
	var all []string
	for _, dir := range []string{"pkb", "pkb/identity", "pkb/record", "pkb/observe", "pkb/keys", "pkb/advice", "pkb/pkbsystem", "pkb/pkbtest", "fhir", "tokenstore", "tokenstore/sqlstore", "tokenstore/etcdstore", "internal/tokenwire", "internal/custody", "internal/seal", "internal/conceal"} {
		all = append(all, redacting(t, "../../"+dir)...)
	}
	known := types(t)
	for _, name := range all {
		if known[name] == nil && testedElsewhere[name] == "" {
			t.Errorf("%s redacts itself, and no test says how it prints: add it to types", name)
		}
	}
	for name := range known {
		if !slices.Contains(all, name) {
			t.Errorf("%s has no redacting method any more", name)
		}
	}
	if len(all) < 35 {
		t.Errorf("only %d types were found: the search is broken", len(all))
	}
}

// redacting returns the types of a package that have methods to print with.
func redacting(t *testing.T, dir string) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(dir + "/*.go")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no source in %s: %v", dir, err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if name := wrapper(decl); name != "" {
				names = append(names, file.Name.Name+"."+name)
			}
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || !slices.Contains([]string{"Format", "GoString", "LogValue", "MarshalJSON"}, fn.Name.Name) {
				continue
			}
			receiver := fn.Recv.List[0].Type
			if star, ok := receiver.(*ast.StarExpr); ok {
				receiver = star.X
			}
			if generic, ok := receiver.(*ast.IndexExpr); ok {
				receiver = generic.X
			}
			if name := file.Name.Name + "." + receiver.(*ast.Ident).Name; !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// wrapper returns the name of a struct type that embeds the alias hidden, by which
// package conceal prints and refuses for it.
func wrapper(decl ast.Decl) (name string) {
	types, ok := decl.(*ast.GenDecl)
	if !ok || types.Tok != token.TYPE {
		return ""
	}
	for _, spec := range types.Specs {
		spec := spec.(*ast.TypeSpec)
		fields, ok := spec.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, field := range fields.Fields.List {
			embedded := field.Type
			if generic, ok := embedded.(*ast.IndexExpr); ok {
				embedded = generic.X
			}
			if alias, ok := embedded.(*ast.Ident); ok && len(field.Names) == 0 && slices.Contains([]string{"hidden", "started", "person", "digits", "printing"}, alias.Name) {
				return spec.Name.Name
			}
		}
	}
	return ""
}
