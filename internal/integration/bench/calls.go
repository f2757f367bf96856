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
	"strings"
	"syscall"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

const (
	callRounds    = 40
	callsPerRound = 300
	patientID     = "1d4a8b2d-f885-499f-ba51-50600312f316"

	purviewAnswer = `{"resourceType":"Parameters","parameter":[{"name":"purview","valueReference":{"reference":"Patient/` + patientID + `"}}]}`
	selfAnswer    = `{"id":"7300000","userType":null,"heightCm":"2","heightFeet":"0","heightInches":"1","heightInchesTotal":"1","weightKg":"87","weightLbs":"191.8",` +
		`"title":"Dr.","firstName":"Sample","lastName":"Person","dob":"2000-01-01","dateDeceased":null,"genderMF":"m","gender":"M","email":"sample@example.org","phone":"",` +
		`"address1":"1 Sample Street","address2":"","city":"Sample City","state":"COUNTY","postalCode":"ZZ99 3WZ","country":"GB-ENG","jobTitle":null,"organizationName":null,"teamName":null,` +
		`"nationalIds":[{"value":"9991566171","name":"NHS number","countryCodes":["GB-ENG","GB-WLS"]}],"orgLevelIds":null,"teamLevelIds":null,` +
		`"contacts":[{"id":"10700000","contactType":"EMAIL","contactValue":"sample@example.org","phoneUseType":null,"primary":true,"confirmed":true}],"patient":true}`
)

// answer is the process that answers calls, so that its work is not ours.
func answer() error {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + listener.Addr().String())
	mux := http.NewServeMux()
	for path, body := range map[string]string{"/json/users/self": selfAnswer, "/fhir/Consent/$purview": purviewAnswer} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, body)
		})
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the process that started this one
		os.Exit(0)
	}()
	return (&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(listener)
}

// split sends calls to the process that answers, and the rest to a PKB in
// memory.
type split struct{ calls, pkb http.RoundTripper }

func (s split) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasPrefix(req.URL.Host, "127.0.0.1:") {
		return s.calls.RoundTrip(req)
	}
	return s.pkb.RoundTrip(req)
}

// callsOverHand measures the processor time of Self and Purview beside the same
// calls by hand.
func callsOverHand(ctx context.Context) (self, purview float64, err error) {
	program, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	child := exec.CommandContext(ctx, program, "-answer")
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		return 0, 0, err
	}
	out, err := child.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	if err := child.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		err = errors.Join(err, in.Close(), child.Wait())
	}()
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return 0, 0, err
	}
	address = strings.TrimSpace(address)

	server := pkbtest.New(pkbtest.Config{TokenLife: accessLife})
	calls := &http.Transport{MaxIdleConnsPerHost: 4}
	env := pkb.BaseURL(server.URL())
	env.SelfURL, env.PurviewURL = address+"/json/users/self", address+"/fhir/Consent/$purview"
	client, err := pkb.New(pkb.Config{
		Environment: env, ClientID: server.ClientID(), RedirectURL: cluster.RedirectURL, Store: tokenstore.NewMemory(),
		HTTPClient: &http.Client{Transport: split{calls: calls, pkb: server.Transport()}},
	})
	if err != nil {
		return 0, 0, err
	}
	if err := cluster.Link(ctx, server, server.AddPatient(pkbtest.Patient{PublicID: patientID}), client, "app-user-1"); err != nil {
		return 0, 0, err
	}
	token, err := client.Token(ctx, "app-user-1")
	if err != nil {
		return 0, 0, err
	}
	byHand := hand{http: &http.Client{Transport: calls, Timeout: 30 * time.Second}, bearer: "Bearer " + token.Value.Reveal()}
	patient := func() *pkb.Patient { return client.ForUser("app-user-1") }

	self, err = processorTime("users/self",
		func() error { _, err := patient().Self(ctx); return err },
		func() error { return byHand.call(ctx, http.MethodGet, env.SelfURL, "", new(handSelf)) })
	if err != nil {
		return 0, 0, err
	}
	purview, err = processorTime("Purview",
		func() error { _, err := patient().Purview(ctx); return err },
		func() error {
			return byHand.call(ctx, http.MethodPost, env.PurviewURL, `{"resourceType":"Parameters"}`, new(handPurview))
		})
	return self, purview, err
}

// processorTime returns the ratio of two calls' processor time, by turns, with
// what the kernel does for them.
func processorTime(what string, ours, theirs func() error) (float64, error) {
	var spent [2]time.Duration
	for round := range callRounds + 1 {
		for i, call := range []func() error{ours, theirs} {
			before, err := used()
			if err != nil {
				return 0, err
			}
			for range callsPerRound {
				if err := call(); err != nil {
					return 0, err
				}
			}
			after, err := used()
			if err != nil {
				return 0, err
			}
			if round > 0 { // the first warms up
				spent[i] += after - before
			}
		}
	}
	const calls = callRounds * callsPerRound
	fmt.Printf("%s: ours %v of processor time, by hand %v\n", what, spent[0]/calls, spent[1]/calls)
	return float64(spent[0]) / float64(spent[1]), nil
}

// used is the processor time of this process so far.
func used() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// hand calls PKB with net/http and encoding/json, as people write it.
type hand struct {
	http   *http.Client
	bearer string
}

func (h hand) call(ctx context.Context, method, address, body string, into any) error {
	var reader io.Reader
	if body != "" {
		reader = bytes.NewReader([]byte(body))
	}
	req, err := http.NewRequestWithContext(ctx, method, address, reader)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", h.bearer)
	req.Header.Set("Accept", "application/json")
	resp, err := h.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return json.Unmarshal(data, into)
}

type handPurview struct {
	ResourceType string `json:"resourceType"`
	Parameter    []struct {
		Name           string `json:"name"`
		ValueReference struct {
			Reference string `json:"reference"`
		} `json:"valueReference"`
	} `json:"parameter"`
}

type handSelf struct {
	ID                string  `json:"id"`
	UserType          *string `json:"userType"`
	HeightCm          string  `json:"heightCm"`
	HeightFeet        string  `json:"heightFeet"`
	HeightInches      string  `json:"heightInches"`
	HeightInchesTotal string  `json:"heightInchesTotal"`
	WeightKg          string  `json:"weightKg"`
	WeightLbs         string  `json:"weightLbs"`
	Title             string  `json:"title"`
	FirstName         string  `json:"firstName"`
	LastName          string  `json:"lastName"`
	DOB               string  `json:"dob"`
	DateDeceased      *string `json:"dateDeceased"`
	GenderMF          string  `json:"genderMF"`
	Gender            string  `json:"gender"`
	Email             string  `json:"email"`
	Phone             string  `json:"phone"`
	Address1          string  `json:"address1"`
	Address2          string  `json:"address2"`
	City              string  `json:"city"`
	State             string  `json:"state"`
	PostalCode        string  `json:"postalCode"`
	Country           string  `json:"country"`
	JobTitle          *string `json:"jobTitle"`
	OrganizationName  *string `json:"organizationName"`
	TeamName          *string `json:"teamName"`
	NationalIDs       []struct {
		Value        string   `json:"value"`
		Name         string   `json:"name"`
		CountryCodes []string `json:"countryCodes"`
	} `json:"nationalIds"`
	OrgLevelIDs  json.RawMessage `json:"orgLevelIds"`
	TeamLevelIDs json.RawMessage `json:"teamLevelIds"`
	Contacts     []struct {
		ID           string  `json:"id"`
		ContactType  string  `json:"contactType"`
		ContactValue string  `json:"contactValue"`
		PhoneUseType *string `json:"phoneUseType"`
		Primary      bool    `json:"primary"`
		Confirmed    bool    `json:"confirmed"`
	} `json:"contacts"`
	Patient bool `json:"patient"`
}
