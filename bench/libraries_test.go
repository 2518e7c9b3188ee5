package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/bench/embedded"
	"github.com/dnode-engine/dnode/client/load"
)

// libraryCommand makes this test binary a library's program.
const libraryCommand = "library"

// startNothing is a library that keeps nothing. It fails if the folder for its
// first node says so.
func startNothing(_ context.Context, dirs []string) (*embedded.Engine, error) {
	if strings.Contains(dirs[0], "broken") {
		return nil, errors.New("it is broken")
	}
	return &embedded.Engine{
		What: "nothing at all", Leader: func() int { return 0 }, Stop: func() {},
		Open: embedded.Proposer(func(*load.Operation) error { return nil }),
	}, nil
}

// What a library's program measures arrives whole.
func TestEmbed(t *testing.T) {
	g := &group{}
	defer g.stopAll()
	r := &runner{group: g, self: self(t)}
	o := embedded.Order{Dir: t.TempDir(), Clients: 4, KeySize: 8, ValueSize: 256, Keys: 1000, Duration: 100 * time.Millisecond, WarmUp: 20 * time.Millisecond}
	out, err := r.embed(t.Context(), exec.Command(r.self, libraryCommand), o)
	if err != nil {
		t.Fatal(err)
	}
	if out.Load.Ops == 0 || out.Hist.Count() != uint64(out.Load.Ops) || out.Load.Clients != 4 || out.Embedded.What != "nothing at all" {
		t.Error(brief(out.Load), out.Embedded)
	}
	if serverCPU(&out) <= 0 || residentMiB(&out) <= 1 || out.Embedded.Allocs == 0 || allocBytes(&out) <= 0 {
		t.Errorf("%+v, %+v", out.Servers, out.Embedded)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.running {
		if !gone(p.pid()) {
			t.Errorf("%s is still there", p.name)
		}
	}
}

// A library that does not start or does not build says why.
func TestEmbedFails(t *testing.T) {
	g := &group{}
	defer g.stopAll()
	r := &runner{group: g, self: self(t), data: t.TempDir()}
	dir := filepath.Join(t.TempDir(), "broken")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := r.embed(t.Context(), exec.Command(r.self, libraryCommand), embedded.Order{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "it is broken") {
		t.Error(err)
	}
	r.bins.engines = map[string]built{"dragonboat": {err: errors.New("no such module")}}
	if _, err := r.measureEmbedded(t.Context(), &scenario{}, "dragonboat"); err == nil || err.Error() != "no such module" {
		t.Error(err)
	}
}

// Every library is there in each round, and each is first in turn.
func TestInTurn(t *testing.T) {
	first := map[string]bool{}
	for round := 1; round <= len(engines); round++ {
		all := inTurn(round)
		first[all[0]] = true
		if slices.Sort(all); len(slices.Compact(all)) != len(engines) {
			t.Errorf("round %d: %v", round, all)
		}
	}
	if len(first) != len(engines) {
		t.Errorf("%v", first)
	}
}

// Nothing of etcd is built for the libraries alone.
func TestEmbeddedAlone(t *testing.T) {
	opt, err := parseOptions([]string{"-only", "embedded"}, io.Discard)
	if err != nil || opt.etcd != "" || len(opt.scenarios) != 3 {
		t.Errorf("%+v, %v", opt, err)
	}
	opt, err = parseOptions([]string{"-only", "embedded-100,put-1-1"}, io.Discard)
	if err != nil || opt.etcd == "" {
		t.Errorf("%+v, %v", opt, err)
	}
	r := &runner{opt: opt, bins: binaries{dnode: "d", etcd: "e"}}
	if steps := r.plan(1); len(steps) != 2+len(engines) {
		t.Errorf("%v", steps)
	}
}
