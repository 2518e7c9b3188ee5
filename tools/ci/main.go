// Command ci runs every check of the repository, in order, and stops at the
// first that fails:
//
//	go run ./tools/ci              everything
//	go run ./tools/ci -short       only what takes little time
//	go run ./tools/ci -only vet,lint
//	go run ./tools/ci -list        the steps
//
// It needs the go command and git, nothing else: gofumpt, staticcheck and
// deadcode are built from the versions that tools/lint pins. A tool that cannot
// be built is a failure, never a skip. Modules are found by walking go.mod
// files, fuzz functions by parsing test files, so nothing has to be registered.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dnode-engine/dnode/tools/internal/repo"
)

// step is one check. run writes what a reader needs to mend a failure.
type step struct {
	name  string
	short bool // part of -short
	about string
	run   func(c *ci, out io.Writer) error
}

var steps = []step{
	{"format", true, "gofumpt would change nothing", (*ci).format},
	{"vet", true, "go vet, every module", (*ci).vet},
	{"fix", true, "go fix would change nothing, every module", (*ci).fix},
	{"lint", true, "the repository's own rules (tools/repolint)", (*ci).lint},
	{"staticcheck", true, "staticcheck, every module", (*ci).staticcheck},
	{"deadcode", true, "no function that neither a command nor a test reaches", (*ci).deadcode},
	{"test", true, "go test ./...", (*ci).test},
	{"nested", true, "go test ./... of the modules below the root", (*ci).nested},
	{"simulate", false, "the simulator on fresh seeds for a minute, and what its short form covers", (*ci).simulate},
	{"root", false, "tests on small file systems of their own, where they can be mounted", (*ci).asRoot},
	{"race", false, "go test -race ./...", (*ci).race},
	{"cross", false, "builds for linux and darwin on amd64 and arm64", (*ci).cross},
	{"outside", true, "a module of somebody else builds the command and uses the client", (*ci).outside},
	{"fuzz", false, "every fuzz function for a few seconds", (*ci).fuzz},
}

// ci is one run.
type ci struct {
	root     string
	modules  []string      // folders of go.mod files relative to root, "." first
	fuzzTime time.Duration // per function
	simTime  time.Duration
	tests    []string // package lines of the test step, for the end
}

func main() {
	short := flag.Bool("short", false, "leave out race tests, cross-builds, fuzzing, fresh seeds and failing disks")
	only := flag.String("only", "", "run only these steps, separated by commas")
	list := flag.Bool("list", false, "print the steps and exit")
	fuzzTime := flag.Duration("fuzztime", 3*time.Second, "time per fuzz function")
	simTime := flag.Duration("simtime", time.Minute, "time for fresh seeds of the simulator")
	flag.Parse()
	if *list {
		for _, s := range steps {
			fmt.Printf("%-12s %s\n", s.name, s.about)
		}
		return
	}
	chosen, err := choose(*short, *only)
	if err == nil {
		err = run(chosen, &ci{fuzzTime: *fuzzTime, simTime: *simTime})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ci:", err)
		os.Exit(1)
	}
}

// choose returns the steps that the flags ask for, in their fixed order.
func choose(short bool, only string) ([]step, error) {
	if only == "" {
		return slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return short && !s.short }), nil
	}
	names := strings.Split(only, ",")
	for _, n := range names {
		if !slices.ContainsFunc(steps, func(s step) bool { return s.name == n }) {
			return nil, fmt.Errorf("no step %q: -list prints them", n)
		}
	}
	return slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return !slices.Contains(names, s.name) }), nil
}

func run(chosen []step, c *ci) (err error) {
	if c.root, err = repo.Root(); err != nil {
		return err
	}
	if c.modules, err = findModules(c.root); err != nil {
		return err
	}
	began := time.Now()
	for _, s := range chosen {
		start := time.Now()
		var out strings.Builder
		err := s.run(c, &out)
		took := time.Since(start).Seconds()
		if err != nil {
			fmt.Printf("FAIL %-12s %6.1fs  %s\n%s\n", s.name, took, s.about, out.String())
			return fmt.Errorf("step %s failed: %w; alone: go run ./tools/ci -only %s", s.name, err, s.name)
		}
		fmt.Printf("ok   %-12s %6.1fs  %s\n", s.name, took, s.about)
	}
	for _, line := range c.tests {
		fmt.Println(line)
	}
	fmt.Printf("ok   %d steps in %.1fs\n", len(chosen), time.Since(began).Seconds())
	return nil
}
