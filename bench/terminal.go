package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// printTable prints the short form of a report.
func printTable(out io.Writer, rec *record) {
	t := newTable(rec)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	printSystems(w, rec, t)
	printLibraries(w, rec, t)
	titled := false
	for _, v := range judge(rec) {
		if v.reached == notMeasured {
			continue
		}
		if !titled {
			titled = true
			fmt.Fprintln(w, "\nTARGET\tRATIO\tMUST\tAIM\t")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", v.name, ratioText(v.got), v.must, v.aim, v.reached)
	}
	w.Flush()
	if d := disturbed(rec); d != "" {
		fmt.Fprintf(out, "\nThe machine was not quiet: %s.\n", d)
	}
}

// printSystems prints dnode beside etcd.
func printSystems(w *tabwriter.Writer, rec *record, t table) {
	titled := false
	for _, s := range rec.Plan {
		if s.Group == embeddedGroup {
			continue
		}
		if !titled {
			titled = true
			fmt.Fprintln(w, "\nSCENARIO\tDNODE/S\tETCD/S\tRATIO\tDNODE P50\tP99\tETCD P50\tP99\tCPU/OP DNODE\tETCD\tERRORS")
		}
		ours, theirs := t.get(s.Name, sysDnode), t.get(s.Name, sysEtcd)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", s.Name, rate(ours), rate(theirs), ratioText(ours.against(theirs, opsPerSec)),
			timeText(ours.over(p50)), timeText(ours.over(p99)), timeText(theirs.over(p50)), timeText(theirs.over(p99)),
			timeText(ours.over(serverCPU)), timeText(theirs.over(serverCPU)), ours.errors()+theirs.errors())
	}
	w.Flush()
}

// printLibraries prints the libraries below each other.
func printLibraries(w *tabwriter.Writer, rec *record, t table) {
	titled := false
	for _, s := range rec.Plan {
		if s.Group != embeddedGroup {
			continue
		}
		if !titled {
			titled = true
			fmt.Fprintln(w, "\nSCENARIO\tLIBRARY\tENTRIES/S\tDNODE TO IT\tP50\tP99\tCPU/ENTRY\tALLOCATIONS\tBYTES\tKIB WRITTEN\tERRORS")
		}
		ours := t.get(s.Name, sysDnode)
		for _, system := range systemsOf(embeddedGroup) {
			c, toIt := t.get(s.Name, system), ""
			if system != sysDnode {
				toIt = ratioText(ours.against(c, opsPerSec))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", s.Name, system, rate(c), toIt, timeText(c.over(p50)), timeText(c.over(p99)),
				timeText(c.over(serverCPU)), rangeText(c.over(allocs).mid(), digits), rangeText(c.over(allocBytes).mid(), grouped), rangeText(c.over(writtenKiB).mid(), digits), c.errors())
		}
	}
	w.Flush()
}

// rate writes the throughput of a cell, or that it failed.
func rate(c *cell) string {
	if len(c.runs) == 0 && len(c.failures) > 0 {
		return "failed"
	}
	s := c.over(opsPerSec)
	if s.n == 0 {
		return ""
	}
	return grouped(s.median)
}
