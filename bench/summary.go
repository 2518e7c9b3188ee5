package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/dnode-engine/dnode/client/load"
)

// spread is the median of a figure over the rounds, with the least and the
// most that was seen.
type spread struct {
	median, least, most float64
	n                   int // rounds; zero: not measured
}

// spreadOf sums up figures.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	v := slices.Sorted(slices.Values(values))
	mid := v[len(v)/2]
	if len(v)%2 == 0 {
		mid = (mid + v[len(v)/2-1]) / 2
	}
	return spread{median: mid, least: v[0], most: v[len(v)-1], n: len(v)}
}

// mid is the spread without its ends.
func (s spread) mid() spread {
	return spread{median: s.median, least: s.median, most: s.median, n: s.n}
}

// cell is all rounds of one scenario on one system.
type cell struct {
	scenario string
	system   string
	runs     []*run // those that did not fail, by round
	failures []string
}

// table finds the cells of a record.
type table map[[2]string]*cell

// newTable sorts the runs of a record.
func newTable(rec *record) table {
	t := table{}
	for i := range rec.Runs {
		r := &rec.Runs[i]
		key := [2]string{r.Scenario, r.System}
		c := t[key]
		if c == nil {
			c = &cell{scenario: r.Scenario, system: r.System}
			t[key] = c
		}
		if r.Failed != "" {
			c.failures = append(c.failures, fmt.Sprintf("round %d: %s", r.Round, r.Failed))
			continue
		}
		c.runs = append(c.runs, r)
	}
	return t
}

// get returns a cell, which may be empty.
func (t table) get(scenario, system string) *cell {
	if c := t[[2]string{scenario, system}]; c != nil {
		return c
	}
	return &cell{scenario: scenario, system: system}
}

// figure is something that a run has measured.
type figure func(r *run) float64

func opsPerSec(r *run) float64 { return r.Load.OpsPerSec }
func p50(r *run) float64       { return r.Load.P50Us }
func p90(r *run) float64       { return r.Load.P90Us }
func p99(r *run) float64       { return r.Load.P99Us }
func p999(r *run) float64      { return r.Load.P999Us }
func inFlight(r *run) float64  { return little(&r.Load) }
func clientCPU(r *run) float64 { return ratio(r.ClientCPUSeconds*1e6, float64(r.Load.Ops)) }
func elections(r *run) float64 { return r.Elections }
func serverCPU(r *run) float64 {
	return r.perOp(func(s *serverUse) float64 { return s.CPUSeconds * 1e6 })
}

func writtenKiB(r *run) float64 {
	return ratio(float64(r.WrittenBytes)/1024, float64(r.Load.Ops))
}
func syncsPerOp(r *run) float64 { return r.perOp(func(s *serverUse) float64 { return s.Syncs }) }
func residentMiB(r *run) float64 {
	return largest(r, func(s *serverUse) int64 { return s.ResidentKiB }) / 1024
}

func otherCores(r *run) float64 { return r.OtherCores }

// nodeCPU is the CPU time per operation of one node; the leader is node 0.
func nodeCPU(node int) figure {
	return func(r *run) float64 {
		if node >= len(r.Servers) {
			return 0
		}
		return ratio(r.Servers[node].CPUSeconds*1e6, float64(r.Load.Ops))
	}
}

func largest(r *run, of func(s *serverUse) int64) float64 {
	most := int64(0)
	for i := range r.Servers {
		most = max(most, of(&r.Servers[i]))
	}
	return float64(most)
}

// ratio is a/b, or zero if there is no b.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// over is the spread of a figure over a cell's rounds.
func (c *cell) over(f figure) spread {
	values := make([]float64, len(c.runs))
	for i, r := range c.runs {
		values[i] = f(r)
	}
	return spreadOf(values)
}

// errors adds up what failed in all rounds.
func (c *cell) errors() int64 {
	n := int64(0)
	for _, r := range c.runs {
		n += r.Load.Errors
	}
	return n
}

// most is the largest figure of all rounds.
func (c *cell) most(f figure) float64 { return c.over(f).most }

// merged is the histogram of all rounds together.
func (c *cell) merged(part func(r *run) *load.Histogram) *load.Histogram {
	var all load.Histogram
	for _, r := range c.runs {
		if h := part(r); h != nil {
			all.Merge(h)
		}
	}
	return &all
}

// against is the spread of a figure's ratio between two cells, round by round,
// so that what changes on the machine between rounds cancels out.
func (c *cell) against(other *cell, f figure) spread {
	var values []float64
	for _, r := range c.runs {
		for _, o := range other.runs {
			if o.Round == r.Round && f(o) > 0 && f(r) > 0 {
				values = append(values, f(r)/f(o))
			}
		}
	}
	return spreadOf(values)
}

// duration writes microseconds with three digits.
func duration(us float64) string {
	switch {
	case us >= 1e6:
		return digits(us/1e6) + " s"
	case us >= 1000:
		return digits(us/1e3) + " ms"
	default:
		return digits(us) + " µs"
	}
}

// digits writes a number with about three digits.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// grouped writes a whole number with commas.
func grouped(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
