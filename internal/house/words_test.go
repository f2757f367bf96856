// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// worded are the directories whose prose follows the list of words.
var worded = []string{"pkb", "internal/custody", "internal/tokenwire", "internal/seal", "internal/jsonwalk", "internal/wording", "internal/apicall", "internal/conceal", "internal/retryafter", "tokenstore", "fhir"}

// word is a word or phrase that the library's prose does not use. Spaces match line
// breaks too.
type word struct {
	not  string // a regular expression
	but  string // what to write
	as   string // a sentence with it, for the test
	fine string // a sentence that is near it and allowed, or ""
}

var words = []word{
	{`answer(s|ed|ing)?`, "response, responds, returns", "the server answers 503", "the cause response_unreadable"},
	{`approvals?`, "authorization, or that the patient approves", "a new approval", "the patient approved"},
	{`(is|are|was|were) over`, "has expired, has ended", "when the session is over", "it is overwritten"},
	{`at (its|their) end`, "has expired, has ended", "a token at its end", "at the end of the page"},
	{`mend(s|ed|ing)?`, "fix, repair", "no flight can mend it", "an amended record"},
	{`(see|sees|saw|seeing) to`, "check, arrange", "the driver sees to it", "seen to have ended"},
	{`at hand`, "current", "the token at hand", "at handshake"},
	{`tells|says?`, "reports, returns, is, means", "the code says why", "the server said so"},
	{`(^|[^h]) as "`, `such as "..."`, `a name, as "NHS number"`, `a name, such as "NHS number"`},
	{`besides?`, "in addition to, other than, next to", "beside that", "both sides"},
	{`(none|nothing|what) came`, "was present, was absent, was received", "IsZero reports whether none came", "the patient came back"},
	{`(whose|nobody's|your|their) turn`, "what happened; whose turn it is belongs in pkb/advice", "it is nobody's turn", "in turn"},
	{`homes?`, "origin, address, primary", "two homes of the API", "a chrome"},
	{`machines?`, "the system clock, process, computer", "a clock of another machine", "machinery"},
	{`do(es)? not count`, "is ignored", "the rest does not count", "it does not recount"},
	{`costs? [a-z]+( [a-z]+)? only`, "only that is lost, or left at its zero value", "it costs that member only", "it costs a pointer"},
}

// spared is prose that may use such a word.
type spared struct {
	file string
	text string // a regular expression; what it matches is not looked at
	why  string
}

var sparedWords = []spared{
	{"internal/custody/core/record.go", "state machine", "the term of the field"},
	{"internal/custody/keeper.go", "state machine", "the term of the field"},
	{"tokenstore/sqlstore/errors.go", `not answer\s+in time`, "pkb/advice/errors.md has this sentence"},
	{"pkb/doc.go", "says what happened", "an error says what happened"},
	{"pkb/identity/nhsnumber.go", `PKB\s+says it is`, "it is PKB that says it"},
	{"pkb/token.go", `as "Authorization`, "the header, word for word"},
	{"pkb/record/questionnaires.go", `(?i)\banswers?`, "an element of STU3: the answer to a question of a form"},
	{"pkb/pkbtest/madeup.go", `answer`, "an element of STU3: the answer to a question of a form"},
	{"pkb/pkbtest/faults.go", `such\s+as "`, "it is the form to write"},
	{"fhir/questionnaire.go", `(?i)\banswer`, "an element of STU3: the answer to a question of a form"},
}

var (
	firstWord    = regexp.MustCompile(`^\s*\w+`)
	exportedName = regexp.MustCompile(`\b[A-Z]\w*`)
)

// prose calls found for each comment and each string literal of s, with the position
// of its first line; import paths and struct tags are none. Comments are without the
// names in the code: the one they begin with, and those that are exported.
func prose(s source, found func(at token.Position, text string)) {
	names := make(map[string]bool)
	ast.Inspect(s.File, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			names[id.Name] = true
		}
		return true
	})
	nameless := func(word string) string {
		if names[strings.TrimSpace(word)] {
			return ""
		}
		return word
	}
	for _, group := range s.Comments {
		var text strings.Builder
		for _, c := range group.List {
			text.WriteString(strings.TrimPrefix(c.Text, "//") + "\n")
		}
		found(s.fset.Position(group.Pos()), exportedName.ReplaceAllStringFunc(firstWord.ReplaceAllStringFunc(text.String(), nameless), nameless))
	}
	ast.Inspect(s.File, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			n.Tag = nil
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				found(s.fset.Position(n.Pos()), text)
			}
		}
		return true
	})
}

// foreignWords finds words of the list in prose, and exceptions that nothing needs.
func foreignWords(sources []source, list []word, except []spared) (problems []string) {
	needed := make([]bool, len(except))
	for _, s := range sources {
		prose(s, func(at token.Position, text string) {
			for i, e := range except {
				if e.file == s.name {
					without := regexp.MustCompile(strings.ReplaceAll(e.text, " ", `\s+`)).ReplaceAllStringFunc(text, func(m string) string {
						return strings.Repeat("\n", strings.Count(m, "\n"))
					})
					needed[i], text = needed[i] || without != text, without
				}
			}
			for _, w := range list {
				pattern := `(?i)\b(` + strings.ReplaceAll(w.not, " ", `\s+`) + `)\b`
				if strings.HasSuffix(w.not, `"`) || strings.HasPrefix(w.not, "(^") {
					pattern = strings.ReplaceAll(w.not, " ", `\s+`)
				}
				for _, m := range regexp.MustCompile(pattern).FindAllStringIndex(text, -1) {
					problems = append(problems, fmt.Sprintf("%s:%d: %q: write %s", s.name, at.Line+strings.Count(text[:m[0]], "\n"),
						strings.Join(strings.Fields(text[m[0]:m[1]]), " "), w.but))
				}
			}
		})
	}
	for i, e := range except {
		if !needed[i] {
			problems = append(problems, fmt.Sprintf("%s has no %q: remove it from the list", e.file, e.text))
		}
	}
	return problems
}

func TestWords(t *testing.T) {
	shipped := files(t, func(name string) bool { return isLibrary(name) && under(name, worded...) })
	for _, dir := range worded {
		if len(files(t, func(name string) bool { return shipped[name] != "" && under(name, dir) })) == 0 {
			t.Errorf("%s has no shipped file", dir)
		}
	}
	report(t, "errors, logs and documentation are read by people who know the terms of the field, and no others",
		foreignWords(parse(t, shipped), words, sparedWords))

	for _, w := range words {
		for _, sample := range []string{
			"package a // " + w.as + "\n",
			"package a\n\n// A is. " + strings.ReplaceAll(w.as, " ", "\n// ") + "\nvar A int\n",
			"package a\n\nvar a = " + strconv.Quote("pkb: "+w.as) + "\n",
		} {
			finds(t, foreignWords(parse(t, map[string]string{"a.go": sample}), words, nil), "write "+w.but)
		}
	}
	for _, w := range words {
		sample := "package a\n\nimport _ \"example.com/answer\"\n\n// " + w.fine + "\nvar a struct{ A int `json:\"answer\"` }\n\nvar b = " + strconv.Quote(w.fine) + "\n"
		finds(t, foreignWords(parse(t, map[string]string{"a.go": sample}), words, nil))
	}
	const named = "package a\n\n// answer is an Answer: no answer.\ntype answer = Answer\n"
	finds(t, foreignWords(parse(t, map[string]string{"a.go": named}), words, nil), "a.go:3: \"answer\"")
	const lines = "package a\n\n// A is\n// the state\n// machine of\n// another machine.\nvar A = \"one\\nat hand\"\n"
	finds(t, foreignWords(parse(t, map[string]string{"a.go": lines}), words, []spared{{"a.go", "state machine", ""}, {"b.go", "answer", ""}}),
		"a.go:6: \"machine\"", "\"at hand\"", "b.go has no \"answer\"")
}
