// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command nhsnumbers compares what pkb says about NHS numbers with what
// python-stdnum says, which shares no line with it, and ends with one line of
// JSON:
//
//	go run ./internal/integration/nhsnumbers -values 10000000 -seed 1
//
// The values are ten random digits, numbers with a right check digit, and what
// people type: groups with spaces and dashes of several kinds, full-width digits, a
// digit too many or too few, a letter. (Invisible characters, which pkb ignores,
// python-stdnum refuses.) Then come slips of the hand: for every one of -numbers right numbers
// all changes of one digit, 90 of them, and all swaps of two different digits,
// adjacent or not. Both have to call each of these wrong. That is no luck: the
// weights 1 to 10, and their differences, have no factor in common with 11. A
// slip that moves more digits than that passes one time in eleven.
//
// disagree counts the values on which the two differ; undetected counts the
// slips that either lets pass. Status 1 unless both are 0.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"

	"github.com/betawerk/pkb-go/pkb/identity"
)

// figures are the line of JSON.
type figures struct {
	Values      int    `json:"values"`
	Valid       int    `json:"valid"`
	Numbers     int    `json:"numbers"`
	DigitErrors int    `json:"single_digit_errors"`
	SwapErrors  int    `json:"swap_errors"`
	Disagree    int    `json:"disagree"`
	Undetected  int    `json:"undetected"`
	Judge       string `json:"judge"`
	Seed        uint64 `json:"seed"`
}

func main() {
	log.SetFlags(0)
	values := flag.Int("values", 10_000_000, "values to compare")
	numbers := flag.Int("numbers", 20_000, "right numbers to make every slip in")
	seed := flag.Uint64("seed", 1, "seed of the values")
	flag.Parse()
	f, err := compare(context.Background(), *values, *numbers, *seed)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		log.Fatal(err)
	}
	if f.Disagree+f.Undetected > 0 {
		os.Exit(1)
	}
}

// errNoJudge: no Python with python-stdnum.
var errNoJudge = errors.New("python-stdnum is not installed; get it with: apt-get install python3-stdnum")

// judge is a Python process that reads lines and writes a letter for each.
type judge struct {
	name string
	cmd  *exec.Cmd
	in   *bufio.Writer
	pipe io.Closer
	out  *bufio.Reader
}

const program = `
import sys
from stdnum.gb.nhs import is_valid
write = sys.stdout.write
for line in sys.stdin:
    write('y' if is_valid(line[:-1]) else 'n')
`

// findJudge starts the judge. Debian's packages are for Debian's Python, which
// need not be the first one in the path.
func findJudge(ctx context.Context) (*judge, error) {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		version, err := exec.CommandContext(ctx, python, "-c", "import stdnum, stdnum.gb.nhs; print(stdnum.__version__)").Output()
		if err != nil {
			continue
		}
		j := &judge{name: "python-stdnum " + string(bytes.TrimSpace(version)), cmd: exec.CommandContext(ctx, python, "-X", "utf8", "-c", program)}
		j.cmd.Stderr = os.Stderr
		in, err := j.cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := j.cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		j.in, j.pipe, j.out = bufio.NewWriterSize(in, 1<<16), in, bufio.NewReaderSize(out, 1<<16)
		return j, j.cmd.Start()
	}
	return nil, errNoJudge
}

// question is one value; slip says that both have to call it wrong.
type question struct {
	value string
	slip  bool
}

func compare(ctx context.Context, values, numbers int, seed uint64) (f figures, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the judge if it is still there
	j, err := findJudge(ctx)
	if err != nil {
		return f, err
	}
	f = figures{Numbers: numbers, Judge: j.name, Seed: seed}

	// Questions are asked on one goroutine and answers read on this one, so that
	// neither pipe fills up while the other waits.
	asked := make(chan question, 1<<14)
	failed := make(chan error, 1)
	go func() {
		defer close(asked)
		ask := func(value string, slip bool) error {
			select {
			case asked <- question{value, slip}:
			case <-ctx.Done():
				return ctx.Err()
			}
			_, err := j.in.WriteString(value + "\n")
			return err
		}
		err := askAll(rand.New(rand.NewPCG(seed, 0)), values, numbers, &f, ask)
		failed <- errors.Join(err, j.in.Flush(), j.pipe.Close())
	}()
	for q := range asked {
		answer, err := j.out.ReadByte()
		if err != nil {
			cancel()
			return f, errors.Join(fmt.Errorf("the judge stopped: %w", err), <-failed)
		}
		n, parsed := identity.ParseNHSNumber(q.value)
		ours, theirs := parsed == nil && n.ChecksumValid(), answer == 'y'
		f.Values++
		if theirs {
			f.Valid++
		}
		if ours != theirs {
			f.Disagree++
			log.Printf("%q: here %t, there %t", q.value, ours, theirs)
		}
		if q.slip && (ours || theirs) {
			f.Undetected++
			log.Printf("%q is a slip, and passes", q.value)
		}
	}
	return f, errors.Join(<-failed, j.cmd.Wait())
}

func askAll(r *rand.Rand, values, numbers int, f *figures, ask func(value string, slip bool) error) error {
	for i := range values {
		value := digits(r)
		if i%2 == 0 {
			value = right(r)
		}
		if i%10 == 9 {
			value = typed(r, right(r))
		}
		if err := ask(value, false); err != nil {
			return err
		}
	}
	for range numbers {
		number := right(r)
		for i := range number {
			for d := byte('0'); d <= '9'; d++ {
				if d == number[i] {
					continue
				}
				f.DigitErrors++
				if err := ask(number[:i]+string(d)+number[i+1:], true); err != nil {
					return err
				}
			}
			for k := range i {
				if number[k] == number[i] {
					continue
				}
				swapped := []byte(number)
				swapped[i], swapped[k] = swapped[k], swapped[i]
				f.SwapErrors++
				if err := ask(string(swapped), true); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func digits(r *rand.Rand) string { return fmt.Sprintf("%010d", r.Int64N(10_000_000_000)) }

// right returns ten digits of which the last checks the others. It is found by
// its own arithmetic, upwards from 0, and not by that of either side.
func right(r *rand.Rand) string {
	for {
		d := []byte(digits(r))
		for d[9] = '0'; d[9] <= '9'; d[9]++ {
			sum := 0
			for i := range d {
				for range 10 - i {
					sum += int(d[i] - '0')
				}
			}
			if sum%11 == 0 {
				return string(d)
			}
		}
	}
}

// typed returns a number as people type it, some of them wrongly.
func typed(r *rand.Rand, number string) string {
	switch r.IntN(12) {
	case 0:
		return number[:3] + " " + number[3:6] + " " + number[6:]
	case 1:
		return number[:3] + "-" + number[3:6] + "-" + number[6:]
	case 2:
		return " " + number + "  "
	case 3:
		return strings.Join(strings.Split(number, ""), " ")
	case 4:
		return number[:9]
	case 5:
		return number + "0"
	case 6:
		return number[:5] + "O" + number[6:]
	case 7:
		return number[:3] + "\u00a0" + number[3:6] + "\u202f" + number[6:]
	case 8:
		return number[:3] + "\u2013" + number[3:6] + "\u2011" + number[6:]
	case 9:
		return number[:3] + "\u2212" + number[3:6] + "\u3000" + number[6:]
	case 10:
		return strings.Map(func(r rune) rune { return r - '0' + '\uff10' }, number) // full width
	}
	return number[:3] + "." + number[3:]
}
