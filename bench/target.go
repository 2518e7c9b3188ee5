package main

import (
	"fmt"
	"slices"
	"strings"
)

// target is a row of what must be reached.
type target struct {
	name     string
	scenario string
	figure   figure
	must     float64
	aim      float64 // zero: none
	atMost   bool    // the ratio to etcd must be at most this, not at least
	best     bool    // against etcd's best put of any shape
}

// targets are the ratios to etcd that dnode has to reach.
var targets = []target{
	{name: "put 1/1, ops/s", scenario: "put-1-1", figure: opsPerSec, must: 2.5, aim: 3.5},
	{name: "put 10/100, ops/s", scenario: "put-10-100", figure: opsPerSec, must: 7, aim: 12},
	{name: "put 10/100, p99", scenario: "put-10-100", figure: p99, must: 0.2, atMost: true},
	{name: "put 100/1000, ops/s", scenario: "put-100-1000", figure: opsPerSec, must: 12, aim: 20},
	{name: "put 100/1000, p99", scenario: "put-100-1000", figure: p99, must: 0.15, atMost: true},
	{name: "put 1/1000, ops/s, to etcd's best put", scenario: "put-1-1000", figure: opsPerSec, must: 12, aim: 20, best: true},
	{name: "linearizable get 1/1, ops/s", scenario: "get-1-1", figure: opsPerSec, must: 3, aim: 4.5},
	{name: "linearizable get 100/1000, ops/s", scenario: "get-100-1000", figure: opsPerSec, must: 10, aim: 15},
	{name: "stale get 100/1000 over all nodes, ops/s", scenario: "stale-100-1000", figure: opsPerSec, must: 10, aim: 15},
	{name: "server CPU per put at 100/1000, all nodes", scenario: "put-100-1000", figure: serverCPU, must: 1. / 15, aim: 1. / 25, atMost: true},
	{name: "server CPU per linearizable get at 100/1000", scenario: "get-100-1000", figure: serverCPU, must: 1. / 12, aim: 1. / 20, atMost: true},
	{name: "memory per node, 1 M keys × 256 B", scenario: "memory-1m", figure: residentMiB, must: 0.7, aim: 0.5, atMost: true},
}

// verdict is a target with what was measured.
type verdict struct {
	name      string
	etcd      string
	dnode     string
	got       spread // the ratio
	must, aim string
	reached   string
}

const (
	reachedAim  = "aim reached"
	reachedMust = "must reached"
	notReached  = "not reached"
	notMeasured = "not measured"
)

// judge holds a record to all targets.
func judge(rec *record) []verdict {
	t := newTable(rec)
	var all []verdict
	for i := range targets {
		all = append(all, targets[i].judge(t))
	}
	return append(all, judgeMachine(rec, t)...)
}

func (g *target) judge(t table) verdict {
	ours, theirs := t.get(g.scenario, sysDnode), t.get(g.scenario, sysEtcd)
	if g.best {
		theirs = bestPut(t)
	}
	got := ours.against(theirs, g.figure)
	sign := "≥"
	if g.atMost {
		sign = "≤"
	}
	limit := func(v float64) string {
		switch {
		case v == 0:
			return ""
		case v < 0.1:
			return fmt.Sprintf("%s %.3f× (1/%.0f)", sign, v, 1/v)
		default:
			return fmt.Sprintf("%s %g×", sign, v)
		}
	}
	return verdict{
		name: g.name, etcd: g.value(theirs), dnode: g.value(ours), got: got, must: limit(g.must), aim: limit(g.aim),
		reached: reached(got, g.must, g.aim, g.atMost),
	}
}

// value writes the figure of a target with its unit.
func (g *target) value(c *cell) string {
	s := c.over(g.figure)
	switch {
	case s.n == 0:
		return ""
	case strings.Contains(g.name, "p99"):
		return duration(s.median)
	case strings.Contains(g.name, "CPU"):
		return digits(s.median) + " µs"
	case strings.Contains(g.name, "memory"):
		return digits(s.median) + " MiB"
	default:
		return grouped(s.median) + "/s"
	}
}

// bestPut is the shape that etcd puts fastest in; without the widest ones it is
// not known.
func bestPut(t table) *cell {
	best := t.get("put-100-1000", sysEtcd)
	if len(best.runs) == 0 {
		return best
	}
	for _, s := range shapes {
		c := t.get(fmt.Sprintf("put-%d-%d", s[0], s[1]), sysEtcd)
		if c.over(opsPerSec).median > best.over(opsPerSec).median {
			best = c
		}
	}
	return best
}

func reached(got spread, must, aim float64, atMost bool) string {
	good := func(limit float64) bool {
		if atMost {
			return got.median <= limit
		}
		return got.median >= limit
	}
	switch {
	case got.n == 0:
		return notMeasured
	case aim != 0 && good(aim):
		return reachedAim
	case good(must):
		return reachedMust
	default:
		return notReached
	}
}

// judgeMachine holds a record to what the machine can do.
func judgeMachine(rec *record, t table) []verdict {
	put, get := t.get("put-1-1", sysDnode), t.get("get-1-1000", sysDnode)
	all := []verdict{
		{
			name: "put 1/1 p50, to three syncs at once + 2 round trips", dnode: timeText(put.over(p50)), must: "≤ 1.6×",
			got: toFloor(rec, put, p50, putFloor),
		},
		{
			name: "get over one connection, 1000 in flight, to the gnet echo", dnode: rateText(get.over(opsPerSec)), must: "≥ 0.5×",
			got: toFloor(rec, get, opsPerSec, echoFloor),
		},
	}
	all[0].reached = reached(all[0].got, 1.6, 0, true)
	all[1].reached = reached(all[1].got, 0.5, 0, false)
	for _, op := range []string{"put", "get"} {
		worst := cliff(t, op)
		all = append(all, verdict{
			name: "no cliff, " + op + ": throughput at more clients to the best at fewer", must: "≥ 0.9×", got: worst,
			reached: reached(worst, 0.9, 0, false),
		})
	}
	return all
}

func rateText(s spread) string {
	if s.n == 0 {
		return ""
	}
	return grouped(s.median) + "/s"
}

func timeText(s spread) string {
	if s.n == 0 {
		return ""
	}
	return duration(s.median)
}

// The floors of a round, in the unit of the figure that is held against them.
func putFloor(f *floors) float64  { return f.Sync3.P50Us + 2*f.TCP.P50Us }
func readFloor(f *floors) float64 { return 2 * f.TCP.P50Us }
func askFloor(f *floors) float64  { return f.TCP.P50Us }
func echoFloor(f *floors) float64 { return f.Echo }

// toFloor is the spread of a figure's ratio to a floor of the same round.
func toFloor(rec *record, c *cell, f figure, floor func(f *floors) float64) spread {
	var values []float64
	for _, r := range c.runs {
		i := slices.IndexFunc(rec.Floors, func(f floors) bool { return f.Round == r.Round })
		if i >= 0 && floor(&rec.Floors[i]) > 0 {
			values = append(values, f(r)/floor(&rec.Floors[i]))
		}
	}
	return spreadOf(values)
}

// cliff is the worst ratio of a sweep's throughput to the best at fewer
// clients. It needs the whole sweep.
func cliff(t table, op string) spread {
	var worst spread
	best := 0.0
	for _, clients := range sweep {
		s := t.get(fmt.Sprintf("sweep-%s-%d", op, clients), sysDnode).over(opsPerSec)
		if s.n == 0 {
			return spread{}
		}
		if r := ratio(s.median, best); best > 0 && (worst.n == 0 || r < worst.median) {
			worst = spread{median: r, least: r, most: r, n: s.n}
		}
		best = max(best, s.median)
	}
	return worst
}
