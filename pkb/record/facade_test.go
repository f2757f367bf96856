// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The table of searches is that of PKB's CapabilityStatement: nothing is missing
// in it, and nothing was added.
func TestSearchesArePublished(t *testing.T) {
	data, err := os.ReadFile("testdata/facade-capabilitystatement.json")
	if err != nil {
		t.Fatal(err)
	}
	var statement struct {
		Rest []struct {
			Resource []struct {
				Type          string
				SearchInclude []string
				SearchParam   []struct{ Name, Documentation string }
			}
		}
	}
	if err := json.Unmarshal(data, &statement); err != nil || len(statement.Rest) != 1 {
		t.Fatalf("CapabilityStatement: %v", err)
	}
	type published struct {
		Required, Repeats bool
		Prefixes          string
	}
	want, got, included := map[string]map[string]published{}, map[string]map[string]published{}, []string{}
	for _, r := range statement.Rest[0].Resource {
		for _, p := range r.SearchParam {
			var prefixes []string
			if m := regexp.MustCompile(`Prefix[^\[]*\[([^\]]*)\]`).FindStringSubmatch(p.Documentation); m != nil {
				prefixes = strings.Split(m[1], ", ")
				slices.Sort(prefixes)
			}
			if want[r.Type] == nil {
				want[r.Type] = map[string]published{}
			}
			want[r.Type][p.Name] = published{
				strings.HasPrefix(p.Documentation, "Required"), strings.Contains(p.Documentation, "Multi-value support: AND"), strings.Join(prefixes, " "),
			}
		}
		for _, include := range r.SearchInclude {
			want[r.Type]["_include"] = published{Repeats: true}
			included = append(included, include)
		}
	}
	for resource, parameters := range searches {
		got[resource] = map[string]published{}
		for name, p := range parameters {
			got[resource][name] = published{p.required, p.repeats, strings.Join(slices.Sorted(slices.Values(p.prefixes)), " ")}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("searches: PKB's (-) and ours (+):\n%s", diff)
	}
	if diff := cmp.Diff(included, includes); diff != "" {
		t.Errorf("_include: PKB's (-) and ours (+):\n%s", diff)
	}
}

// A link is sent as a URL may be written, and means what it meant.
func TestNextPageIsAURL(t *testing.T) {
	const base = "https://pkb.example/tenant/fhir"
	for link, want := range map[string]string{
		"  ?_getpages=a\n":            base + "/Observation?_getpages=a",
		"?q=a b|c\"<>^`{}\\é":         base + "/Observation?q=a%20b%7Cc%22%3C%3E%5E%60%7B%7D%5C%C3%A9",
		"?q=a%20b%7Cc+d&e=[f]:/?@;*~": base + "/Observation?q=a%20b%7Cc+d&e=[f]:/?@;*~",
	} {
		if got, err := (facade{base}).next(base+"/Observation?category=x", link); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", link, got, err, want)
		}
	}
}

// Whatever a page says, the next request goes to the FHIR API and nowhere else.
func FuzzNextPage(f *testing.F) {
	for _, link := range []string{
		"", "?page=2", "/tenant/fhir?_getpages=a&_getpagesoffset=20", "https://PKB.example:443/tenant/fhir/Observation?page=2#x", "//evil.example/tenant/fhir",
		"../json/users/self", "/tenant/fhir/..%2fjson", `\\evil.example`, "https://pkb.example@evil.example/tenant/fhir", "http:/tenant/fhir", "https://[::1", "%zz",
	} {
		f.Add(link)
	}
	f.Fuzz(func(t *testing.T, link string) {
		const base = "https://pkb.example/tenant/fhir"
		next, err := facade{base}.next(base+"/Observation?category=x", link)
		if err != nil {
			if !errors.Is(err, ErrPaging) || next != "" || link != "" && len(link) > 8 && strings.Contains(err.Error(), link) {
				t.Fatalf("%q: %v with %q", link, err, next)
			}
			return
		}
		u, err := url.Parse(next)
		if err != nil || u.Scheme != "https" || u.Host != "pkb.example" || u.User != nil || u.Fragment != "" {
			t.Fatalf("%q leads to %q, %v", link, next, err)
		}
		if clean := path.Clean(u.Path) + "/"; !strings.HasPrefix(clean, "/tenant/fhir/") {
			t.Errorf("%q leads to %q, which is outside", link, next)
		}
		if !strings.HasPrefix(next, base) {
			t.Errorf("%q is written %q", link, next)
		}
	})
}
