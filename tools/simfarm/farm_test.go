package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/node/sim"
)

// A seed that fails is kept in a form that fails again.
func TestFindsAndKeeps(t *testing.T) {
	s := settings{shrink: time.Second, tell: time.Hour, corpus: filepath.Join(t.TempDir(), "new")}
	f := &farm{first: 1, count: 40, options: func(seed uint64) sim.Options {
		o := sim.Swarm(seed)
		o.LyingDisk, o.PowerAll, o.LoadNanos = true, true, 5e9
		return o
	}}
	s.harvest(t.Context(), f)
	if len(f.found) == 0 {
		t.Fatalf("on disks that lie nothing is found: %s", f.report())
	}
	x := f.found[0]
	if err := s.keep(f, x); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(s.corpus, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v: %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var kept sim.Found
	if err := json.Unmarshal(b, &kept); err != nil || kept.Error != x.err.Error() {
		t.Fatalf("%v: %s", err, b)
	}
	if _, err := sim.Run(kept.Options); err == nil {
		t.Errorf("what is kept of %v does not fail", x.err)
	}
}

// All seeds are run, each hundredth twice, and what they do is the same.
func TestRunsAll(t *testing.T) {
	f := &farm{first: 95, count: 10, options: func(seed uint64) sim.Options {
		o := sim.Swarm(seed)
		o.LoadNanos = 1e9
		return o
	}}
	s := settings{tell: time.Millisecond}
	s.harvest(t.Context(), f)
	if r := f.report(); !strings.HasPrefix(r, "10 seeds (1 twice)") || len(f.found) > 0 {
		t.Error(r)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	f = &farm{first: 1, options: sim.Swarm}
	if s.harvest(ended, f); f.taken != 0 {
		t.Errorf("%d seeds were run after the end", f.taken)
	}
}

func TestSettings(t *testing.T) {
	for _, s := range []settings{
		{tell: 1}, {tell: 1, time: -1}, {tell: 0, seeds: 1}, {tell: 1, seeds: 1, shrink: -1},
	} {
		if s.check() == nil {
			t.Errorf("taken: %+v", s)
		}
	}
	s := settings{tell: 1, seeds: 1}
	if err := s.check(); err != nil || !strings.HasSuffix(s.corpus, filepath.Join("node", "sim", "testdata", "corpus")) {
		t.Errorf("%v: %q", err, s.corpus)
	}
}
