package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/dnode-engine/dnode/bench/embedded"
)

// embeddedGroup are the scenarios with nodes and load in one process.
const embeddedGroup = "embedded"

// engine is a Raft library, with the program below embedded/ that runs it.
type engine struct{ system, pkg string }

var engines = []engine{
	{sysDnode, "dnode"}, {"etcd-raft", "etcdraft"}, {"hashicorp-raft", "hashicorp"}, {"dragonboat", "dragonboat"},
}

// systemsOf are the systems of a group's tables, in order.
func systemsOf(group string) []string {
	if group != embeddedGroup {
		return []string{sysDnode, sysEtcd}
	}
	var all []string
	for _, e := range engines {
		all = append(all, e.system)
	}
	return all
}

// inTurn are the embedded systems, each round beginning with another one.
func inTurn(round int) []string {
	all := systemsOf(embeddedGroup)
	at := (round - 1) % len(all)
	return slices.Concat(all[at:], all[:at])
}

// measureEmbedded has a library's program measure itself.
func (r *runner) measureEmbedded(ctx context.Context, s *scenario, system string) (run, error) {
	program := r.bins.engines[system]
	if program.err != nil {
		return run{}, program.err
	}
	dir := filepath.Join(r.data, "embedded-"+system)
	if err := os.RemoveAll(dir); err != nil {
		return run{}, fmt.Errorf("cannot empty the data folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return run{}, fmt.Errorf("cannot make the data folder: %w", err)
	}
	defer os.RemoveAll(dir)
	return r.embed(ctx, exec.Command(program.path), embedded.Order{
		Dir: dir, Clients: s.clients, KeySize: r.opt.load.keySize, ValueSize: r.opt.load.valueSize, Keys: r.opt.load.keys,
		Duration: r.opt.measure, WarmUp: r.opt.warmUp, Seed: 1,
	})
}

// embed has a library's program carry out an order. It runs in the order's
// folder: dragonboat looks for settings where it is started.
func (r *runner) embed(ctx context.Context, cmd *exec.Cmd, o embedded.Order) (out run, err error) {
	cmd.Dir = o.Dir
	err = r.tell(ctx, cmd, o, func(p *process, answers *json.Decoder) error {
		out, err = r.watch(p, answers)
		return err
	})
	return out, err
}

// watch hears a library's program and looks at its process meanwhile.
func (r *runner) watch(p *process, answers *json.Decoder) (run, error) {
	control := func() latency { return latency{} }
	var before int64
	var begun time.Time
	var busy, own time.Duration
	for {
		var a embedded.Answer
		if answers.Decode(&a) != nil {
			control()
			return run{}, errSilent
		}
		if a.Measuring {
			control = r.control.start()
			begun, busy, own, before = time.Now(), busyCPU(), embedded.CPU(), diskBytes(p.cmd.Dir)
		}
		if a.Result == nil {
			continue
		}
		m, after, took := a.Result, usageOf(p.pid()), time.Since(begun)
		busy, own = busyCPU()-busy, embedded.CPU()-own+m.CPU
		return run{
			Load: m.Load, Hist: m.Histogram, Elections: float64(m.Elections), OtherCores: max(0, seconds(busy-own)/seconds(took)),
			Servers:      []serverUse{{CPUSeconds: seconds(m.CPU), ResidentKiB: after.ResidentKiB, PeakKiB: after.PeakKiB}},
			WrittenBytes: diskBytes(p.cmd.Dir) - before,
			Control:      control(),
			Embedded:     &embeddedUse{m.What, m.Allocs, m.AllocBytes},
		}, nil
	}
}

func allocs(r *run) float64 {
	if r.Embedded == nil {
		return 0
	}
	return ratio(float64(r.Embedded.Allocs), float64(r.Load.Ops))
}

func allocBytes(r *run) float64 {
	if r.Embedded == nil {
		return 0
	}
	return ratio(float64(r.Embedded.AllocBytes), float64(r.Load.Ops))
}

const howToReadEmbedded = "Three nodes and the load in one process, which is a program of its own per library, on loopback TCP and with a sync before\n" +
	"every acknowledgement. `dnode to it` is the ratio of entries per second, taken round by round. CPU and allocations are those of\n" +
	"the whole process divided by the entries: three nodes and the load, for dnode also its client, its connection and the server's\n" +
	"side of it, since its client has no other way. KiB written is the disk's. The state machine is dnode's key-value store in all."

// libraries is the table of the embedded scenarios.
func (p *page) libraries(rec *record, t table) {
	p.line("## Embedded\n\n%s\n", howToReadEmbedded)
	p.head("scenario", "library", "entries/s", "dnode to it", "p50", "p99", "p99.9", "max", "in flight", "errors",
		"CPU µs/entry", "allocations/entry", "B allocated/entry", "KiB written/entry", "RSS MiB")
	what := map[string]string{}
	for _, s := range rec.Plan {
		if s.Group != embeddedGroup {
			continue
		}
		for _, system := range systemsOf(embeddedGroup) {
			c := t.get(s.Name, system)
			if len(c.runs) > 0 {
				what[system] = c.runs[0].Embedded.What
				p.row(libraryCells(t, &s, c)...)
			} else if len(c.failures) > 0 {
				p.row(s.Name, system, "**failed**")
			}
		}
	}
	p.line("")
	for _, system := range systemsOf(embeddedGroup) {
		if what[system] != "" {
			p.line("- `%s`: %s", system, what[system])
		}
	}
	for _, s := range rec.Plan {
		if s.Group == embeddedGroup {
			p.line("- `%s`: %s", s.Name, s.What)
		}
	}
	p.line("")
}

// libraryCells is a cell as a row.
func libraryCells(t table, s *planned, c *cell) []string {
	toIt := ""
	if c.system != sysDnode {
		toIt = ratioText(t.get(s.Name, sysDnode).against(c, opsPerSec))
	}
	latency := func(f figure) string { return duration(c.over(f).median) }
	used := func(f figure) string { return digits(c.over(f).median) }
	return []string{
		s.Name, c.system, rangeText(c.over(opsPerSec), grouped), toIt, latency(p50), rangeText(c.over(p99), duration), latency(p999),
		duration(c.most(func(r *run) float64 { return r.Load.MaxUs })), flightText(s, c), errorsText(c),
		rangeText(c.over(serverCPU), digits), used(allocs), grouped(c.over(allocBytes).median), used(writtenKiB), used(residentMiB),
	}
}
