// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/pkb/record"
)

// letters is a page of reports with a letter of size bytes in each. It is made while
// it is read, so that no test measures itself.
func letters(n, size int) io.Reader {
	letter := strings.Repeat("QUJD", size/4)
	parts := []io.Reader{strings.NewReader(`{"resourceType":"Bundle","type":"searchset","entry":[`)}
	for i := range n {
		parts = append(parts, strings.NewReader(fmt.Sprintf(`{"fullUrl":"https://pkb.example/r%d","search":{"mode":"match"},"resource":{"resourceType":"DiagnosticReport","id":"r%d","presentedForm":[{"data":"`, i, i)),
			strings.NewReader(letter), strings.NewReader(`"}]}}`+map[bool]string{true: `]}`, false: `,`}[i == n-1]))
	}
	return io.MultiReader(parts...)
}

// servePages is a sender whose searches for reports get these pages.
func servePages(t *testing.T, page func() io.Reader, change ...func(*pkb.Config)) *pkb.Patient {
	t.Helper()
	r := newRig(t)
	r.link(t, user, r.patient)
	config := r.config
	for _, f := range change {
		f(&config)
	}
	config.HTTPClient = &http.Client{Transport: roundTrip(func(q *http.Request) (*http.Response, error) {
		if !strings.HasSuffix(q.URL.Path, "/DiagnosticReport") {
			return r.pkb.Transport().RoundTrip(q)
		}
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(page()), ContentLength: -1, Request: q}, nil
	})}
	c, err := pkb.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c.ForUser(user)
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A page costs its memory once: the resources are all that is held of it, and what was
// yielded and not kept is given back.
func TestALargePageIsInMemoryOnce(t *testing.T) {
	const n, size = 50, 1 << 20
	patient := servePages(t, func() io.Reader { return letters(n, size) })
	q := map[string][]string{"category": {string(record.Laboratory)}}
	before, base, most, found := allocated(), live(), uint64(0), 0
	for r, err := range patient.Record().Search(t.Context(), "DiagnosticReport", q) {
		if err != nil {
			t.Fatal(err)
		}
		if found++; found == 1 {
			// All that was allocated for the page, whether it is garbage now or not, is
			// the resources, and a buffer that grew to the largest entry.
			if all := allocated() - before; all > (n+8)*size {
				t.Errorf("reading a page of %d MiB allocated %.1f MiB", n, float64(all)/size)
			}
		}
		if found%10 == 1 {
			now := live() - base
			if most = max(most, now); now > uint64(n-found+4)*size {
				t.Errorf("after %d of %d resources %.1f MiB are held", found, n, float64(now)/size)
			}
		}
		if len(r.ID()) < 2 {
			t.Errorf("resource %q", r.ID())
		}
	}
	if found != n || most < (n-1)*size {
		t.Errorf("%d resources, and at most %.1f MiB were held: the measure does not see the page", found, float64(most)/size)
	}
}

// Who keeps one resource keeps no page.
func TestAKeptResourceKeepsItselfOnly(t *testing.T) {
	patient := servePages(t, func() io.Reader { return letters(40, 1<<20) })
	before := live()
	var kept fhir.Resource[fhir.DiagnosticReport]
	for r, err := range patient.Record().DiagnosticReports(t.Context(), record.Laboratory) {
		if err != nil {
			t.Fatal(err)
		}
		kept = r
	}
	if now := int64(live()) - int64(before); now > 4<<20 { // as JSON, and as a struct
		t.Errorf("one report of 1 MiB keeps %.1f MiB", float64(now)/(1<<20))
	}
	if kept.ID() != "r39" || len(kept.Reveal().PresentedForm[0].Data) != 1<<20 {
		t.Errorf("the report is %s", kept.ID())
	}
}

// Ordinary pages fit; how much a page may have is the host's to say, and a page that
// has more says so.
func TestPageSizeIsBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		most int64
		page func() io.Reader
		ok   bool
	}{
		"20 letters of 200 kB":     {0, func() io.Reader { return letters(20, 200<<10) }, true},
		"63 MiB":                   {0, func() io.Reader { return letters(63, 1<<20) }, true},
		"65 MiB":                   {0, func() io.Reader { return letters(65, 1<<20) }, false},
		"66 MiB, and it is raised": {80 << 20, func() io.Reader { return letters(66, 1<<20) }, true},
		"less":                     {1 << 20, func() io.Reader { return letters(20, 200<<10) }, false},
		"a long end": {1 << 20, func() io.Reader {
			return io.MultiReader(letters(1, 1<<10), strings.NewReader(strings.Repeat(" ", 1<<20)))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			patient := servePages(t, tc.page, func(c *pkb.Config) { c.MaxResponseBytes = tc.most })
			n := 0
			var last error
			for _, err := range patient.Record().DiagnosticReports(t.Context(), record.Laboratory) {
				if last = err; err == nil {
					n++
				}
			}
			var api *pkb.APIError
			switch {
			case tc.ok && (last != nil || n == 0):
				t.Errorf("%d reports, then %v", n, last)
			case !tc.ok && (!errors.Is(last, pkb.ErrTooLarge) || !errors.As(last, &api) || api.Status != 200 || n != 0):
				t.Errorf("%d reports, then %v, want ErrTooLarge", n, last)
			}
		})
	}
}

// The bound is exact, and holds for what is unpacked.
func TestSizeIsThatOfTheData(t *testing.T) {
	body := `{"a":"` + strings.Repeat("x", 4096-8) + `"}`
	for extra, ok := range map[string]bool{"": true, " ": false} {
		for how, fault := range map[string]pkbtest.Fault{
			"plain": pkbtest.Respond(200, "application/json", body+extra),
			"packed": pkbtest.Rewrite(func(h http.Header, _ []byte) []byte {
				return packed(0, h, []byte(body+extra))
			}),
		} {
			s := newSender(t, withConfig(func(c *pkb.Config) { c.MaxResponseBytes = 4096 }))
			s.pkb.Next(pkbtest.Self, fault)
			got, err := s.Get(t.Context(), "/json/users/self", nil)
			if ok && (err != nil || string(got.Raw()) != body) || !ok && (!errors.Is(err, pkb.ErrTooLarge) || !got.IsZero()) {
				t.Errorf("%s with %q: %d bytes, %v", how, extra, len(got.Raw()), err)
			}
		}
	}
}

// A page that is cut off in the middle is read again as a whole: nothing of it is
// yielded twice, or lost.
func TestACutPageIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, pageSize(3))
		s.rig.config.Retries = 2
		s.Patient = s.rig.replica(t).ForUser(user)
		s.add(t, 5)
		cut := pkbtest.Rewrite(func(h http.Header, body []byte) []byte {
			h.Set("Content-Length", fmt.Sprint(len(body)))
			return body[:len(body)*2/3]
		})
		s.pkb.Next(pkbtest.Facade, cut, cut, pkbtest.Pass(), cut)
		ids, err := s.appointments(t.Context())
		if got := strings.Join(ids, " "); err != nil || got != "app-1 app-2 app-3 app-4 app-5" {
			t.Errorf("%s, %v", got, err)
		}
		if n := s.pkb.Count(pkbtest.Facade); n != 5 {
			t.Errorf("%d requests, want 5", n)
		}
	})
}

// A page is read before its results are yielded: who works with them holds no turn,
// and may make other calls.
func TestResultsHoldNoTurn(t *testing.T) {
	s := newSender(t, pageSize(2), withConfig(func(c *pkb.Config) { c.MaxCallsPerPatient = 1 }))
	s.add(t, 4)
	n := 0
	for _, err := range s.Record().Appointments(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Self(t.Context()); err != nil {
			t.Fatalf("a call between two results: %v", err)
		}
		n++
	}
	if n != 4 {
		t.Errorf("%d appointments", n)
	}
}
