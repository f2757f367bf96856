// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// goBlocks returns the Go code in a Markdown text, each with its line number.
func goBlocks(markdown string) map[int][]string {
	blocks := make(map[int][]string)
	start, language := 0, ""
	for i, line := range strings.Split(markdown, "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && start == 0:
			start, language = i+1, strings.TrimSpace(fence)
		case isFence:
			start = 0
		case start > 0 && language == "go":
			blocks[start] = append(blocks[start], line)
		}
	}
	return blocks
}

// dedent removes the indentation that all lines share. Lines without text have
// none of their own.
func dedent(lines []string) []string {
	indent := ""
	first := true
	for _, line := range lines {
		if strings.TrimSpace(line) == "" {
			continue
		}
		own := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if first {
			indent, first = own, false
		}
		for !strings.HasPrefix(own, indent) {
			indent = indent[:len(indent)-1]
		}
	}
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = strings.TrimRight(strings.TrimPrefix(line, indent), " \t\r")
	}
	return out
}

// trim removes the empty lines around a block.
func trim(lines []string) []string {
	empty := func(s string) bool { return strings.TrimSpace(s) == "" }
	for len(lines) > 0 && empty(lines[0]) {
		lines = lines[1:]
	}
	for len(lines) > 0 && empty(lines[len(lines)-1]) {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// has reports whether a file holds the block, at any indentation.
func has(file string, block []string) bool {
	lines := strings.Split(file, "\n")
	for i := 0; i+len(block) <= len(lines); i++ {
		if strings.TrimSpace(lines[i]) == strings.TrimSpace(block[0]) &&
			slices.Equal(dedent(lines[i:i+len(block)]), block) {
			return true
		}
	}
	return false
}

// pasted are the documents whose Go blocks people, and coding assistants, paste.
var pasted = []string{"README.md", "llms.txt", "pkb/hosting.md", "pkb/organisations.md", "tokenstore/writing.md"}

func uncompiledBlocks(name, markdown string, compiled map[string]string) (problems []string) {
	blocks := goBlocks(markdown)
	for line := range strings.Count(markdown, "\n") + 2 {
		block := trim(dedent(blocks[line]))
		if len(block) == 0 {
			continue
		}
		found := false
		for _, text := range compiled {
			found = found || has(text, block)
		}
		if !found {
			problems = append(problems, fmt.Sprintf("%s:%d: this block is in no Go file, as it stands: put it into an example, and copy it from there:\n\t%s",
				name, line, strings.Join(block, "\n\t")))
		}
	}
	return problems
}

func TestReadmeIsCompiled(t *testing.T) {
	const sample = "# Title\n\n```go\nif a {\n\tb()\n}\n```\n\n```sh\nrm\n```\n\n```go\nif a {\n\tc()\n}\n```\n"
	finds(t, uncompiledBlocks("README.md", sample, map[string]string{
		"a.go": "package a\n\nfunc f() {\n\tif a {\n\t\tb()\n\t}\n}\n",
		"b.go": "package a\n\nfunc f() {\n\tif a {\n\tc()\n\t}\n}\n", // other indentation
	}), "README.md:13")

	documents := files(t, func(name string) bool { return slices.Contains(pasted, name) })
	ignored := regexp.MustCompile(`(?m)^//go:build .*\bignore\b`)
	compiled := files(t, isGo)
	for name, text := range compiled {
		if ignored.MatchString(text) || under(name, "internal/house") {
			delete(compiled, name)
		}
	}
	for _, name := range pasted {
		if len(goBlocks(documents[name])) == 0 {
			t.Errorf("%s is missing, or shows no code", name)
		}
		report(t, "the first thing that people paste has to compile, today and after the next change", uncompiledBlocks(name, documents[name], compiled))
	}
}

var (
	markdownLink = regexp.MustCompile(`\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)`)
	linkTarget   = regexp.MustCompile(`(?m)^\[[^\]]+\]:\s+<?(\S+?)>?\s*$`)
	codeSpan     = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	hasScheme    = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:`)
)

// brokenLinks finds links between files that lead nowhere.
func brokenLinks(all map[string]string) (problems []string) {
	exists := make(map[string]bool)
	for name := range all {
		for ; name != "."; name = path.Dir(name) {
			exists[name] = true
		}
	}
	for _, name := range sortedKeys(all) {
		if path.Ext(name) != ".md" && name != "llms.txt" {
			continue
		}
		text := codeSpan.ReplaceAllString(all[name], "")
		for _, m := range slices.Concat(markdownLink.FindAllStringSubmatch(text, -1), linkTarget.FindAllStringSubmatch(text, -1)) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if hasScheme.MatchString(m[1]) {
				continue
			}
			to := name
			if target != "" {
				to = path.Join(path.Dir(name), target)
				if fromRoot, ok := strings.CutPrefix(target, "/"); ok {
					to = path.Clean(fromRoot)
				}
			}
			switch {
			case !exists[to] && to != ".":
				problems = append(problems, fmt.Sprintf("%s links to %s, which is not there", name, m[1]))
			case fragment != "" && path.Ext(to) == ".md" && !slices.Contains(anchors(all[to]), fragment):
				problems = append(problems, fmt.Sprintf("%s links to %s, and there is no such heading", name, m[1]))
			}
		}
	}
	return problems
}

// anchors returns the names that GitHub gives the headings of a Markdown text.
func anchors(markdown string) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(markdown, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(m[1])), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

func TestLinksResolve(t *testing.T) {
	report(t, "a reader who follows a link into nothing trusts the rest less",
		brokenLinks(files(t, func(string) bool { return true })))
	finds(t, brokenLinks(map[string]string{
		"README.md":   "[a](docs/a.md) [b](docs/b.md \"B\") [w](https://example.com/x) [h](#the-end) [i](#nowhere) `[c](c.md)`\n\n# The end!\n\n[ref]: docs/none\n",
		"docs/a.md":   "[up](../README.md#the-end) [dir](../docs) [lost](other.md)",
		"pkb/pkb.txt": "[not](markdown.md)",
	}), "docs/b.md", "#nowhere", "docs/none", "other.md")
}

var (
	namedTest    = regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)`")
	declaredTest = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// missingTests finds tests that a document names and that do not exist.
func missingTests(documents, code map[string]string) (problems []string) {
	declared := make(map[string]bool)
	for name, text := range code {
		if isTest(name) {
			for _, m := range declaredTest.FindAllStringSubmatch(text, -1) {
				declared[m[1]] = true
			}
		}
	}
	for _, name := range sortedKeys(documents) {
		for _, m := range namedTest.FindAllStringSubmatch(documents[name], -1) {
			if !declared[m[1]] {
				problems = append(problems, fmt.Sprintf("%s names %s, which does not exist", name, m[1]))
			}
		}
	}
	return problems
}

func TestNamedTestsExist(t *testing.T) {
	report(t, "a threat whose test has gone is a threat that nobody looks at any more",
		missingTests(files(t, func(name string) bool { return path.Ext(name) == ".md" }), files(t, isGo)))
	finds(t, missingTests(
		map[string]string{"a.md": "`TestThere` and `TestGone`, TestNotNamed, `Test`"},
		map[string]string{"a_test.go": "func TestThere(t *testing.T) {}\nfunc TestGoneToo(t *testing.T) {}\n"},
	), "TestGone,")
}

type suspicion struct {
	pattern *regexp.Regexp
	what    string
}

// personal finds what belongs to a developer's computer or to-do list. The patterns
// are put together so that this file does not contain them.
var personal = []suspicion{
	{regexp.MustCompile(`(^|[^\w.])(/(ho` + `me|ro` + `ot|wo` + `rk|Us` + `ers)/|/tmp/st` + `udio)`), "a path of a developer's computer"},
	{regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b`), "a note to do something"},
}

// mayName matches what looks like it, and is not.
var mayName = regexp.MustCompile(`context\.TO` + `DO`)

func leftovers(all map[string]string) (problems []string) {
	for _, name := range sortedKeys(all) {
		if !utf8.ValidString(all[name]) || path.Base(name) == "go.sum" || path.Base(name) == "go.work.sum" {
			continue
		}
		suspects := slices.DeleteFunc(slices.Clone(personal), func(p suspicion) bool { return !p.pattern.MatchString(all[name]) })
		if len(suspects) == 0 {
			continue
		}
		for i, line := range strings.Split(all[name], "\n") {
			for _, p := range suspects {
				if found := p.pattern.FindString(mayName.ReplaceAllString(line, "")); found != "" {
					problems = append(problems, fmt.Sprintf("%s:%d: %q is %s", name, i+1, strings.TrimSpace(found), p.what))
				}
			}
		}
	}
	return problems
}

func TestNoLeftovers(t *testing.T) {
	report(t, "what only its author can use or finish is not finished: a path works on one computer, and a note belongs in an issue",
		leftovers(files(t, func(string) bool { return true })))
	finds(t, leftovers(map[string]string{
		"a.go":  "// see /ho" + "me/me/notes\nvar ok = \"https://example.com/ho" + "me/x\"\n",
		"b.md":  "fine\nTO" + "DO: later\n",
		"c.go":  "// context.TO" + "DO is forbidden\n",
		"d.txt": "run /wo" + "rk/x or (/Us" + "ers/me)\n",
	}), "a.go:1", "b.md:2", "d.txt:1")
}

// binaries finds what is not text, such as a program that was built here.
func binaries(all map[string]string) (problems []string) {
	for _, name := range sortedKeys(all) {
		if !utf8.ValidString(all[name]) || strings.Contains(all[name], "\x00") {
			problems = append(problems, name+" is not text: nobody can review it")
		}
	}
	return problems
}

func TestFilesAreText(t *testing.T) {
	report(t, "what is committed stays in every clone for ever, and what was built can be built again",
		binaries(files(t, func(string) bool { return true })))
	finds(t, binaries(map[string]string{"a.go": "package a // ü\n", "a": "\x7fELF\x00", "b.bin": "\xff"}), "a is", "b.bin")
}
