package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// check is something that mutants can be found by: some tests of one package.
type check struct {
	name string
	pkg  string
	args []string // of the test binary
	env  []string
	// endless is a check that goes on until its CPU time is over, which then
	// means that it found nothing. It must name a seed for what it finds.
	endless bool
}

// suiteSeconds is the CPU time of a check that ends by itself.
const suiteSeconds = 120

var checks = []check{
	{name: "sim", pkg: "./node/sim", args: []string{"-test.run=^TestSwarm$", "-shrink=0"}, env: []string{"DNODETEST_SEEDS=1000000000"}, endless: true},
	{name: "wal", pkg: "./wal", args: []string{"-rapid.nofailfile"}},
	{name: "raft", pkg: "./node/raft", args: []string{"-test.skip=^TestExplore"}},
	{name: "scope", pkg: "./node/raft", args: []string{"-test.run=^TestExplore$"}},
	{name: "replica", pkg: "./node/replica"},
	{name: "disk", pkg: "./node/disk"},
	{name: "kv", pkg: "./node/kv", args: []string{"-rapid.nofailfile"}},
	{name: "wire", pkg: "./wire"},
	{name: "client", pkg: "./client"},
}

func findCheck(name string) *check {
	if i := slices.IndexFunc(checks, func(c check) bool { return c.name == name }); i >= 0 {
		return &checks[i]
	}
	return nil
}

func checkNames() []string {
	var names []string
	for _, c := range checks {
		names = append(names, c.name)
	}
	return names
}

// runner builds and runs test binaries. Its fields do not change.
type runner struct {
	ctx     context.Context
	root    string
	scratch string
	budget  time.Duration
}

// each judges all mutants, some at a time, and tells of each when it is done.
func (r *runner) each(jobs int, list []mutant, tell func(mutant, verdict)) {
	var telling sync.Mutex
	var working sync.WaitGroup
	next := make(chan int)
	for range jobs {
		working.Go(func() {
			for i := range next {
				v := r.judge(&list[i], i)
				telling.Lock()
				if r.ctx.Err() == nil {
					tell(list[i], v)
				}
				telling.Unlock()
			}
		})
	}
	for i := range list {
		next <- i
	}
	close(next)
	working.Wait()
}

// judge plants one mutant and runs its check.
func (r *runner) judge(m *mutant, number int) verdict {
	if r.ctx.Err() != nil {
		return verdict{}
	}
	c := findCheck(m.by)
	if c == nil {
		return verdict{Outcome: broken, Detail: fmt.Sprintf("no check %q", m.by)}
	}
	dir := filepath.Join(r.scratch, strconv.Itoa(number))
	defer os.RemoveAll(dir)
	bin, err := r.build(m, c, dir)
	if err != nil {
		return verdict{Outcome: broken, Detail: err.Error()}
	}
	return r.run(c, bin)
}

// build compiles the check's package with the mutant in place.
func (r *runner) build(m *mutant, c *check, dir string) (bin string, err error) {
	texts, err := m.mutated(r.root)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for file, text := range texts {
		to := filepath.Join(dir, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return "", fmt.Errorf("cannot make a scratch folder: %w", err)
		}
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("cannot write the mutant: %w", err)
		}
		replace[filepath.Join(r.root, filepath.FromSlash(file))] = to
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("cannot write the overlay: %w", err)
	}
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600)); err != nil {
		return "", fmt.Errorf("cannot write the overlay: %w", err)
	}
	bin = filepath.Join(dir, "check.test")
	cmd := exec.CommandContext(r.ctx, "go", "test", "-c", "-ldflags=-s -w", "-overlay", filepath.Join(dir, "overlay.json"), "-o", bin, c.pkg)
	cmd.Dir = r.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("does not compile: %s", bytes.TrimSpace(out))
	}
	return bin, nil
}

// run runs a test binary with bounded CPU time.
func (r *runner) run(c *check, bin string) verdict {
	seconds := suiteSeconds
	if c.endless {
		seconds = max(int(r.budget/time.Second), 1)
	}
	args := []string{"-c", fmt.Sprintf(`ulimit -t %d; exec "$0" "$@"`, seconds), bin, "-test.failfast", "-test.timeout=" + (time.Duration(seconds) * time.Minute).String()}
	cmd := exec.CommandContext(r.ctx, "sh", append(args, c.args...)...)
	cmd.Dir = filepath.Join(r.root, filepath.FromSlash(strings.TrimPrefix(c.pkg, "./")))
	cmd.Env = append(os.Environ(), c.env...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		return verdict{Outcome: broken, Detail: fmt.Sprintf("cannot run: %v", err)}
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	v := read(c, string(out), ending(cmd.ProcessState))
	if ending(cmd.ProcessState) == outOfTime && cpu < time.Duration(seconds)*time.Second*3/4 {
		v = verdict{Outcome: broken, Detail: "something else has killed it"} // or memory was short
	}
	v.CPU = cpu
	return v
}

// ending tells how a process ended: outOfTime, or its exit code.
func ending(st *os.ProcessState) int {
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() && (ws.Signal() == syscall.SIGKILL || ws.Signal() == syscall.SIGXCPU) {
		return outOfTime
	}
	return st.ExitCode()
}
