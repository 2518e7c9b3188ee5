package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dnode-engine/dnode/client/load"
)

// page builds a page of Markdown.
type page struct{ strings.Builder }

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// row writes one row of a table.
func (p *page) row(cells ...string) { p.line("| %s |", strings.Join(cells, " | ")) }

// head writes the head of a table.
func (p *page) head(cells ...string) {
	p.row(cells...)
	p.line("|%s", strings.Repeat("---|", len(cells)))
}

// reportText is report.md. charts are the names of the SVG files.
func reportText(rec *record, charts []chart) string {
	p, t := &page{}, newTable(rec)
	p.line("# dnode and etcd, measured side by side\n")
	p.environment(rec)
	p.targets(rec)
	p.line("## How to read the tables\n")
	p.line("%s\n", howToRead)
	for _, c := range charts {
		p.line("![%s](%s.svg)\n", c.title, c.name)
	}
	for _, g := range groups(rec) {
		if g == embeddedGroup {
			p.libraries(rec, t)
		} else {
			p.group(rec, t, g)
		}
	}
	p.parts(rec, t)
	p.processes(rec, t)
	p.crossCheck(rec, t)
	p.floors(rec)
	p.syncs(rec, t)
	p.troubles(rec, t)
	p.commands(rec)
	return p.String()
}

const howToRead = "Each figure is the median of the rounds, in brackets the least and the most. `to etcd` is dnode divided by etcd, taken\n" +
	"round by round, then the median. `in flight` is Little's law, throughput times mean latency: in a closed loop it is the number\n" +
	"of clients, or the load did not do what it says. Latencies are of operations that succeeded; the largest (max) is that of all\n" +
	"rounds. CPU is that of all server processes together, divided by the operations; RSS is that of the largest node at the end;\n" +
	"bytes are those that left for the disk; syncs are counted by the servers. `floor` is what the machine itself needs: for one\n" +
	"client p50 divided by the syncs and round trips that nobody can do without, for many throughput as a share of a gnet echo."

func (p *page) environment(rec *record) {
	m, v, s := &rec.Machine, &rec.Versions, &rec.Settings
	p.head("what", "value")
	p.row("when", rec.Began.UTC().Format("2006-01-02 15:04 UTC")+fmt.Sprintf(", %v", time.Duration(rec.Seconds*float64(time.Second))))
	p.row("machine", fmt.Sprintf("%s, %d cores, %d MiB, %s, kernel %s", m.CPU, m.Cores, m.MemoryMiB, m.OS, m.Kernel))
	p.row("disk", "data on "+m.FileSystem+", fsync on everywhere")
	p.row("load before", m.Load)
	p.row("dnode", "commit "+v.Commit+", "+v.Go)
	if v.Etcd != "" {
		p.row("etcd", fmt.Sprintf("%s, client %s, benchmark tool %s, defaults", v.Etcd, v.EtcdClient, orNone(v.EtcdTool)))
	}
	p.row("runs", fmt.Sprintf("%d rounds of %g s after %g s of warm-up, the systems in turn, each run on empty data folders", rec.Rounds, s.MeasureSeconds, s.WarmUpSeconds))
	p.row("load", fmt.Sprintf("keys of %d B, values of %d B, %s keys at random", s.KeySize, s.ValueSize, grouped(float64(s.Keys))))
	p.line("")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (p *page) targets(rec *record) {
	if d := disturbed(rec); d != "" {
		p.line("**The machine was not quiet**: %s.\n", d)
	}
	p.line("## What has to be reached\n")
	p.head("row", "etcd", "dnode", "ratio", "must", "aim", "")
	for _, v := range judge(rec) {
		p.row(v.name, v.etcd, v.dnode, ratioText(v.got), v.must, v.aim, mark(v.reached))
	}
	p.line("")
}

func mark(reached string) string {
	if reached == notReached {
		return "**" + reached + "**"
	}
	return reached
}

// ratioText writes a ratio with its spread.
func ratioText(s spread) string {
	switch {
	case s.n == 0:
		return ""
	case s.n == 1 || s.least == s.most:
		return part(s.median) + "×"
	default:
		return fmt.Sprintf("%s× (%s–%s)", part(s.median), part(s.least), part(s.most))
	}
}

// part writes a ratio: small ones more exactly, for limits such as 1/25.
func part(v float64) string {
	if v < 1 {
		return fmt.Sprintf("%.3f", v)
	}
	return digits(v)
}

// rangeText writes a figure with its spread.
func rangeText(s spread, text func(float64) string) string {
	switch {
	case s.n == 0:
		return ""
	case s.n == 1 || text(s.least) == text(s.most):
		return text(s.median)
	default:
		return fmt.Sprintf("%s (%s–%s)", text(s.median), text(s.least), text(s.most))
	}
}

// groups are the groups of the plan, in order.
func groups(rec *record) []string {
	var all []string
	for _, s := range rec.Plan {
		if !slices.Contains(all, s.Group) {
			all = append(all, s.Group)
		}
	}
	return all
}

func (p *page) group(rec *record, t table, group string) {
	p.line("## %s\n", strings.ToUpper(group[:1])+group[1:])
	p.head("scenario", "system", "ops/s", "to etcd", "p50", "p90", "p99", "p99.9", "max", "in flight", "errors",
		"CPU µs/op", "client µs/op", "RSS MiB", "KiB/op", "syncs/op", "elections", "floor")
	for _, s := range rec.Plan {
		if s.Group != group {
			continue
		}
		for _, system := range []string{sysDnode, sysEtcd} {
			if c := t.get(s.Name, system); len(c.runs) > 0 {
				p.row(cells(rec, t, &s, c)...)
			}
		}
	}
	p.line("")
	for _, s := range rec.Plan {
		if s.Group == group {
			p.line("- `%s`: %s", s.Name, s.What)
		}
	}
	p.line("")
}

// cells is a cell as a row.
func cells(rec *record, t table, s *planned, c *cell) []string {
	name, toEtcd, floor := s.Name, "", ""
	if c.system == sysDnode {
		toEtcd = ratioText(c.against(t.get(s.Name, sysEtcd), opsPerSec))
		floor = floorText(rec, s, c)
	}
	latency := func(f figure) string { return duration(c.over(f).median) }
	used := func(f figure) string {
		if v := c.over(f).median; v != 0 {
			return digits(v)
		}
		return ""
	}
	return []string{
		name, c.system, rangeText(c.over(opsPerSec), grouped), toEtcd, latency(p50), latency(p90),
		rangeText(c.over(p99), duration), latency(p999), duration(c.most(func(r *run) float64 { return r.Load.MaxUs })), flightText(s, c), errorsText(c),
		used(serverCPU), used(clientCPU), used(residentMiB), used(writtenKiB), used(syncsPerOp), fmt.Sprintf("%.0f", c.most(elections)), floor,
	}
}

// flightText is how many operations were in flight, marked if it is not what
// the scenario says.
func flightText(s *planned, c *cell) string {
	flight := digits(c.over(inFlight).median)
	if s.Open {
		return "open loop"
	}
	if off := c.over(inFlight).median / float64(s.Clients); off < 0.9 || off > 1.1 {
		flight = "**" + flight + "**"
	}
	return flight
}

// errorsText is how many operations failed, marked if any did.
func errorsText(c *cell) string {
	if n := c.errors(); n > 0 {
		return fmt.Sprintf("**%d**", n)
	}
	return "0"
}

// floorText is a dnode cell against its floor, empty where none fits.
func floorText(rec *record, s *planned, c *cell) string {
	switch {
	case s.Open || s.Op == load.Scan || s.Group == "value" || s.Group == "memory":
		return ""
	case s.Clients >= 100:
		return digits(toFloor(rec, c, opsPerSec, echoFloor).median) + " of the echo"
	case s.Clients > 1 || s.Nodes > 3:
		return ""
	}
	floor := askFloor
	switch {
	case s.Op == load.Put && s.Nodes == 1:
		floor = func(f *floors) float64 { return f.Sync.P50Us + f.TCP.P50Us }
	case s.Op == load.Put:
		floor = putFloor
	case s.Level == linearizable && s.Nodes == 3:
		floor = readFloor
	}
	return digits(toFloor(rec, c, p50, floor).median) + "×"
}

// parts tells the two kinds of a mix apart.
func (p *page) parts(rec *record, t table) {
	titled := false
	for _, s := range rec.Plan {
		if s.Op != load.Mix {
			continue
		}
		if !titled {
			titled = true
			p.line("## The parts of a mix, all rounds together\n")
			p.head("scenario", "system", "part", "ops", "p50", "p90", "p99", "p99.9", "max")
		}
		for _, system := range []string{sysDnode, sysEtcd} {
			c := t.get(s.Name, system)
			for _, part := range []struct {
				name string
				of   func(r *run) *load.Histogram
			}{{"gets", func(r *run) *load.Histogram { return r.Gets }}, {"puts", func(r *run) *load.Histogram { return r.Puts }}} {
				h := c.merged(part.of)
				q := func(q float64) string { return duration(float64(h.Quantile(q)) / 1e3) }
				if h.Count() > 0 {
					p.row(s.Name, system, part.name, grouped(float64(h.Count())), q(0.5), q(0.9), q(0.99), q(0.999), q(1))
				}
			}
		}
	}
	if titled {
		p.line("")
	}
}

// processes shows the CPU time of each process. An embedded library has only one.
func (p *page) processes(rec *record, t table) {
	titled := false
	for _, s := range rec.Plan {
		if s.Group == embeddedGroup {
			continue
		}
		if !titled {
			titled = true
			p.line("## CPU time per operation and process, µs\n")
			p.head("scenario", "system", "leader", "followers", "load", "cores used by all else")
		}
		for _, system := range []string{sysDnode, sysEtcd} {
			c := t.get(s.Name, system)
			if len(c.runs) == 0 {
				continue
			}
			var followers []string
			for i := 1; i < s.Nodes; i++ {
				followers = append(followers, digits(c.over(nodeCPU(i)).median))
			}
			p.row(s.Name, system, digits(c.over(nodeCPU(0)).median), strings.Join(followers, ", "), digits(c.over(clientCPU).median),
				rangeText(c.over(otherCores), digits))
		}
	}
	if titled {
		p.line("")
	}
}

// quiet is how many cores all else may use before a run counts as disturbed.
const quiet = 0.25

// disturbed says how many runs had to share the machine, empty if none.
func disturbed(rec *record) string {
	n, most := 0, 0.0
	for i := range rec.Runs {
		if o := rec.Runs[i].OtherCores; o > quiet {
			n, most = n+1, max(most, o)
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("in %d of %d runs other programs, the kernel or the host took more than %g cores (at most %s of %d): repeat it on a quiet machine",
		n, len(rec.Runs), quiet, digits(most), rec.Machine.Cores)
}

// crossLimit is how far our load and etcd's own tool may be apart.
const crossLimit = 0.2

// crossCheck holds what our load measures of etcd against etcd's own tool.
func (p *page) crossCheck(rec *record, t table) {
	titled := false
	for _, s := range rec.Plan {
		ours, tool := t.get(s.Name, sysEtcd), t.get(s.Name, sysTool)
		if len(ours.runs) == 0 || len(tool.runs) == 0 {
			continue
		}
		if !titled {
			titled = true
			p.line("## Cross-check: etcd driven by its own benchmark tool\n")
			p.head("scenario", "ours, ops/s", "tool, ops/s", "ratio of medians", "ours, p50", "tool, p50", "ours, p99", "tool, p99", "")
		}
		r := ratio(ours.over(opsPerSec).median, tool.over(opsPerSec).median)
		agrees := fmt.Sprintf("agree within %.0f %%", 100*crossLimit)
		if r < 1-crossLimit || r > 1+crossLimit {
			agrees = fmt.Sprintf("**apart by more than %.0f %%**", 100*crossLimit)
		}
		p.row(s.Name, rangeText(ours.over(opsPerSec), grouped), rangeText(tool.over(opsPerSec), grouped), digits(r),
			duration(ours.over(p50).median), duration(tool.over(p50).median), duration(ours.over(p99).median), duration(tool.over(p99).median), agrees)
	}
	if titled {
		p.line("\nThe tool counts from its first operation on a cluster that it has warmed up itself, with connections that are new, and up\n" +
			"to its last; our load leaves its warm-up out. Its gets all ask for one key, ours for keys at random.\n")
	}
}

func (p *page) floors(rec *record) {
	p.line("## What the machine can do: the floors\n")
	if len(rec.Floors) == 0 {
		return
	}
	f := &rec.Floors[0]
	p.head("floor", "p50", "p99", "p99.9", "max")
	for _, l := range []struct {
		name string
		of   func(f *floors) *latency
	}{
		{fmt.Sprintf("fdatasync of %d B on a zero-filled file", f.SyncBytes), func(f *floors) *latency { return &f.Sync }},
		{"the same, three writers at once", func(f *floors) *latency { return &f.Sync3 }},
		{fmt.Sprintf("TCP round trip on loopback, %d B there and %d B back", f.EchoBytes, f.ReplyBytes), func(f *floors) *latency { return &f.TCP }},
		{"the same through gnet", func(f *floors) *latency { return &f.Gnet }},
	} {
		var mid, high, higher, most []float64
		for i := range rec.Floors {
			v := l.of(&rec.Floors[i])
			mid, high, higher, most = append(mid, v.P50Us), append(high, v.P99Us), append(higher, v.P999Us), append(most, v.MaxUs)
		}
		p.row(l.name, rangeText(spreadOf(mid), duration), rangeText(spreadOf(high), duration),
			rangeText(spreadOf(higher), duration), duration(spreadOf(most).most))
	}
	var echo []float64
	for i := range rec.Floors {
		echo = append(echo, rec.Floors[i].Echo)
	}
	p.line("\ngnet echo over one connection, %d in flight, the same bytes: %s/s\n", echoInFlight, rangeText(spreadOf(echo), grouped))
}

// troubles lists what did not run or failed.
func (p *page) troubles(rec *record, t table) {
	all := slices.Clone(rec.Skipped)
	for _, s := range rec.Plan {
		for _, system := range append(systemsOf(s.Group), sysTool) {
			c := t.get(s.Name, system)
			for _, f := range c.failures {
				all = append(all, fmt.Sprintf("%s on %s, %s", s.Name, system, strings.ReplaceAll(f, "\n", " ")))
			}
			for _, r := range c.runs {
				if r.Load.Errors > 0 {
					all = append(all, fmt.Sprintf("%s on %s, round %d: %d errors: %v", s.Name, system, r.Round, r.Load.Errors, r.Load.ErrorsByCode))
				}
				if r.Elections > 0 {
					all = append(all, fmt.Sprintf("%s on %s, round %d: the leader changed %.0f times", s.Name, system, r.Round, r.Elections))
				}
			}
		}
	}
	p.line("## What did not run, failed, or was disturbed\n")
	if len(all) == 0 {
		p.line("Nothing.\n")
		return
	}
	for _, line := range all {
		p.line("- %s", line)
	}
	p.line("")
}

func (p *page) commands(rec *record) {
	p.line("## Again\n\n```sh\n%s\n```\n", strings.Join(rec.Command, " "))
	for _, c := range rec.Cluster {
		p.line("%s was started so, the folders and ports being those of one run:\n\n```sh\n%s\n```\n", c.System, strings.Join(c.Lines, "\n"))
	}
}
