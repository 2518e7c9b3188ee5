package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// printTable prints the short form of a report.
func printTable(out io.Writer, rec *record) {
	t := newTable(rec)
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SCENARIO\tDNODE/S\tETCD/S\tRATIO\tDNODE P50\tP99\tETCD P50\tP99\tCPU/OP DNODE\tETCD\tERRORS")
	for _, s := range rec.Plan {
		ours, theirs := t.get(s.Name, sysDnode), t.get(s.Name, sysEtcd)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", s.Name, rate(ours), rate(theirs), ratioText(ours.against(theirs, opsPerSec)),
			timeText(ours.over(p50)), timeText(ours.over(p99)), timeText(theirs.over(p50)), timeText(theirs.over(p99)),
			timeText(ours.over(serverCPU)), timeText(theirs.over(serverCPU)), ours.errors()+theirs.errors())
	}
	w.Flush()
	fmt.Fprintln(out)
	fmt.Fprintln(w, "TARGET\tRATIO\tMUST\tAIM\t")
	for _, v := range judge(rec) {
		if v.reached != notMeasured {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", v.name, ratioText(v.got), v.must, v.aim, v.reached)
		}
	}
	w.Flush()
	if d := disturbed(rec); d != "" {
		fmt.Fprintf(out, "\nThe machine was not quiet: %s.\n", d)
	}
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
