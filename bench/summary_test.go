package main

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/client/load"
)

func TestSpread(t *testing.T) {
	f := func(want spread, values ...float64) {
		t.Helper()
		if got := spreadOf(values); got != want {
			t.Errorf("%v: %+v", values, got)
		}
	}
	f(spread{})
	f(spread{3, 3, 3, 1}, 3)
	f(spread{2, 1, 9, 3}, 9, 1, 2)
	f(spread{2.5, 1, 9, 4}, 9, 1, 2, 3)
}

// Ratios are taken within a round: a machine that is half as fast in one round
// does not change them.
func TestAgainst(t *testing.T) {
	ours, theirs := &cell{}, &cell{}
	for round, speed := range []float64{1, 0.5, 1.5} {
		ours.runs = append(ours.runs, &run{Round: round, Load: load.Result{OpsPerSec: 1000 * speed}})
		theirs.runs = append(theirs.runs, &run{Round: round, Load: load.Result{OpsPerSec: 100 * speed}})
	}
	theirs.runs = append(theirs.runs, &run{Round: 9, Load: load.Result{OpsPerSec: 1}})
	if got := ours.against(theirs, opsPerSec); got != (spread{10, 10, 10, 3}) {
		t.Errorf("%+v", got)
	}
}

// The histograms of the rounds together are that of all operations.
func TestMerged(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var whole load.Histogram
	c := &cell{}
	for range 5 {
		h := &load.Histogram{}
		for range 1000 {
			d := time.Duration(rnd.ExpFloat64() * 1e6)
			h.Record(d)
			whole.Record(d)
		}
		c.runs = append(c.runs, &run{Hist: h})
	}
	c.runs = append(c.runs, &run{}) // one of the tool has none
	if got := c.merged(func(r *run) *load.Histogram { return r.Hist }); *got != whole {
		t.Error("differs")
	}
}

// A load with fewer in flight than it says is marked.
func TestLittle(t *testing.T) {
	f := func(clients int, opsPerSec, avgUs float64, marked bool) {
		t.Helper()
		s := planned{Name: "put-x", Op: load.Put, Conns: 1, Clients: clients, Nodes: 3}
		rec := &record{Plan: []planned{s}, Runs: []run{{Scenario: "put-x", System: sysEtcd, Load: load.Result{Ops: 1, OpsPerSec: opsPerSec, AvgUs: avgUs}}}}
		tab := newTable(rec)
		const column = 9
		got := cells(rec, tab, &s, tab.get("put-x", sysEtcd))[column]
		if want := digits(opsPerSec * avgUs / 1e6); strings.Trim(got, "*") != want || strings.HasPrefix(got, "**") != marked {
			t.Errorf("%d clients, %.0f/s of %.0f µs: %s", clients, opsPerSec, avgUs, got)
		}
	}
	f(100, 10_000, 10_000, false)
	f(100, 10_000, 9_100, false)
	f(100, 10_000, 1_000, true) // one connection's worth each
	f(10, 1_000, 12_000, true)
}

func TestReached(t *testing.T) {
	f := func(got, must, aim float64, atMost bool, want string) {
		t.Helper()
		if r := reached(spread{median: got, n: 1}, must, aim, atMost); r != want {
			t.Errorf("%v of %v and %v: %s", got, must, aim, r)
		}
	}
	f(2.4, 2.5, 3.5, false, notReached)
	f(2.5, 2.5, 3.5, false, reachedMust)
	f(3.5, 2.5, 3.5, false, reachedAim)
	f(0.2, 0.2, 0, true, reachedMust)
	f(0.21, 0.2, 0, true, notReached)
	f(1./25, 1./15, 1./25, true, reachedAim)
	if r := reached(spread{}, 1, 2, true); r != notMeasured {
		t.Error(r)
	}
}

func TestCliff(t *testing.T) {
	f := func(want float64, rates ...float64) {
		t.Helper()
		tab := table{}
		for i, r := range rates {
			name := "sweep-put-" + grouped0(sweep[i])
			tab[[2]string{name, sysDnode}] = &cell{runs: []*run{{Load: load.Result{OpsPerSec: r}}}}
		}
		if got := cliff(tab, "put"); math.Abs(got.median-want) > 1e-9 {
			t.Errorf("%v: %v, want %v", rates, got.median, want)
		}
	}
	f(1.1, 100, 200, 300, 400, 500, 600, 660)
	f(0.5, 100, 200, 300, 400, 200, 600, 660) // not hidden by what follows
	f(0.8, 100, 200, 500, 450, 400, 410, 420) // a slow fall adds up
	f(0, 100, 200)                            // not the whole sweep
}

func grouped0(n int) string { return strings.ReplaceAll(grouped(float64(n)), ",", "") }

func TestNumbers(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f(duration(7), "7.00 µs")
	f(duration(999), "999 µs")
	f(duration(1234), "1.23 ms")
	f(duration(2.5e6), "2.50 s")
	f(grouped(999), "999")
	f(grouped(1234567), "1,234,567")
	f(short(1234567), "1.23 M")
	f(tickText(50_000), "50 k")
	f(labelOf("nodes5-put-100-1000"), "nodes5 put\n100/1000")
	f(labelOf("memory-1m"), "memory 1m\n")
}
