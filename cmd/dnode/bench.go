package main

import (
	"errors"
	"fmt"
	"maps"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/client/load"
)

func newBench(con *console) *cobra.Command {
	return family("bench", groupTools, "Put a load on a running cluster and measure it",
		newBenchOp(con, load.Put), newBenchOp(con, load.Get), newBenchOp(con, load.Mix), newBenchOp(con, load.Scan))
}

// benchFlags are the flags of a bench command as they were given.
type benchFlags struct {
	to       target
	level    level
	cfg      load.Config
	duration time.Duration
	format   string
}

func newBenchOp(con *console, op load.Op) *cobra.Command {
	f := benchFlags{cfg: load.Config{Op: op}}
	cmd := &cobra.Command{
		Use: string(op), Args: takes(""),
		Short: "Measure puts",
		Long:  "Put keys, with --clients writes in flight over --conns connections, and print how many a second and how\nlong they took. Progress goes to stderr.",
		Example: examples("dnode bench put --clients 64 --duration 5s", "dnode bench put --conns 10 --clients 100 --total 100000 -o json",
			"dnode bench put --clients 256 --rate 5000"),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd, con) },
	}
	f.describe(cmd)
	c := &f.cfg
	cmd.Flags().IntVar(&c.Conns, "conns", 1, "connections")
	cmd.Flags().IntVar(&c.Clients, "clients", 1, "operations in flight, over all connections")
	cmd.Flags().Int64Var(&c.Total, "total", 0, "how many operations; 0 is for --duration")
	cmd.Flags().DurationVar(&f.duration, "duration", 10*time.Second, "how long")
	cmd.Flags().DurationVar(&c.WarmUp, "warm-up", 0, "how long to go on before measuring")
	cmd.Flags().IntVar(&c.KeySize, "key-size", 8, "bytes of a key")
	cmd.Flags().IntVar(&c.ValueSize, "val-size", 256, "bytes of a value")
	cmd.Flags().IntVar(&c.Keys, "keys", 10_000, "different keys")
	cmd.Flags().BoolVar(&c.Sequential, "sequential", false, "take the keys in order, not at random")
	switch op {
	case load.Mix:
		cmd.Flags().Float64Var(&c.PutShare, "put-share", 0.1, "part of the operations that are puts, above 0 and at most 1")
	case load.Scan:
		cmd.Flags().IntVar(&c.ScanKeys, "scan-keys", 1000, "keys of one scan")
	}
	cmd.Flags().Float64Var(&c.Rate, "rate", 0, "operations begun per second, each timed from when it was due; 0 begins one when one ends")
	f.to.addFlags(cmd)
	f.level.addFlag(cmd)
	cmd.Flags().VarP(oneOf(&f.format, asTable, asJSON), "output", "o", "how to print")
	return cmd
}

// describe writes the help of a command that reads.
func (f *benchFlags) describe(cmd *cobra.Command) {
	const talk = "with --clients of them in flight over --conns connections, and print\nhow many a second and how long they took. Progress goes to stderr."
	switch f.cfg.Op {
	case load.Get:
		cmd.Short = "Measure gets"
		cmd.Long = "Write the keys first, then get them, with --clients reads in flight over --conns connections, and print\nhow many a second and how long they took. Progress goes to stderr."
		cmd.Example = examples("dnode bench get --clients 64 --duration 5s", "dnode bench get --consistency lease --total 100000 -o json")
	case load.Mix:
		cmd.Short = "Measure gets and puts together"
		cmd.Long = "Write the keys first, then put and get them, " + talk
		cmd.Example = examples("dnode bench mix --clients 64 --duration 5s", "dnode bench mix --put-share 0.5 --total 100000 -o json")
	case load.Scan:
		cmd.Short = "Measure scans"
		cmd.Long = "Write the keys first, then scan --scan-keys of them at a time, " + talk
		cmd.Example = examples("dnode bench scan --clients 8 --duration 5s", "dnode bench scan --scan-keys 100 --total 10000 -o json")
	}
}

func (f *benchFlags) run(cmd *cobra.Command, con *console) error {
	cfg := f.cfg
	switch {
	case cfg.Total == 0:
		cfg.Duration = f.duration
	case cmd.Flags().Changed("duration"):
		return usagef("--total and --duration exclude each other")
	}
	if cfg.Conns < 1 || cfg.Clients < 1 || cfg.Keys < 1 || cfg.Total == 0 && cfg.Duration <= 0 {
		return usagef("--conns, --clients, --keys and --duration must be above zero")
	}
	if cfg.KeySize < 1 || cfg.ValueSize < 1 {
		return usagef("--key-size and --val-size must be above zero")
	}
	if cfg.Total < 0 || cfg.WarmUp < 0 {
		return usagef("--total and --warm-up must not be negative")
	}
	var none client.Batch
	if none.Put(strings.Repeat("k", min(cfg.KeySize, maxValueBytes)), make([]byte, min(cfg.ValueSize, 2*maxValueBytes))); none.Len() == 0 {
		return usagef("--key-size %d and --val-size %d are too large: a key may have 4096 bytes, both together about %d", cfg.KeySize, cfg.ValueSize, maxValueBytes)
	}
	cfg.Endpoints, cfg.Timeout = f.to.endpoints, f.to.timeout
	cfg.Consistency = f.level.options(&f.to).Consistency
	if cfg.Op == load.Mix && !(cfg.PutShare > 0 && cfg.PutShare <= 1) || cfg.Op == load.Scan && cfg.ScanKeys < 1 {
		return usagef("--put-share must be above 0 and at most 1, --scan-keys above zero")
	}
	var stopProgress func()
	cfg.Progress, stopProgress = progress(con, &cfg)
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	res, err := load.Run(ctx, cfg)
	stopProgress()
	var typed *client.Error
	switch {
	case err == nil || ctx.Err() != nil && res.Ops > 0: // what was measured before Ctrl-C counts
	case errors.As(err, &typed) || ctx.Err() != nil:
		return err
	default:
		return usagef("%v", err)
	}
	if err := printResult(con, f.format, res); err != nil {
		return err
	}
	if res.Ops == 0 {
		return &exitError{exitUnavailable, fmt.Errorf(`not one operation succeeded: %s; "dnode status" shows the nodes`, strings.Join(res.Codes(), ", "))}
	}
	return nil
}

// barWidth is how many characters the bar of the progress has.
const barWidth = 24

// progress shows what goes on: one line that is written again and again on a
// terminal, a line each time elsewhere. The second function ends that.
func progress(con *console, cfg *load.Config) (show func(load.Progress), end func()) {
	if !con.terminal {
		return func(p load.Progress) {
			fmt.Fprintf(con.err, "%-8s %5.0fs  %8d done  %8.0f/s  %d errors\n", p.Phase, p.Elapsed.Seconds(), p.Ops, p.OpsPerSec, p.Errors)
		}, func() {}
	}
	show = func(p load.Progress) {
		done := barShare(cfg, &p)
		full := int(done*barWidth + 0.5)
		fmt.Fprintf(con.err, "\r%-8s %s%s %3.0f%%  %9.0f/s  %d errors\x1b[K", p.Phase,
			strings.Repeat("█", full), strings.Repeat("░", barWidth-full), 100*done, p.OpsPerSec, p.Errors)
	}
	return show, func() { fmt.Fprint(con.err, "\r\x1b[K") }
}

// barShare is how much of its phase a run has done, between 0 and 1.
func barShare(cfg *load.Config, p *load.Progress) float64 {
	done := 0.0
	switch {
	case p.Phase == "fill":
		done = float64(p.Ops) / float64(cfg.Keys)
	case p.Phase == "warm-up":
		done = p.Elapsed.Seconds() / cfg.WarmUp.Seconds()
	case cfg.Total > 0:
		done = float64(p.Ops+p.Errors) / float64(cfg.Total)
	default:
		done = p.Elapsed.Seconds() / cfg.Duration.Seconds()
	}
	return min(max(done, 0), 1)
}

// mixed is the result of a mix with its two parts.
type mixed struct {
	load.Result
	Puts part `json:"puts"`
	Gets part `json:"gets"`
}

// part is one kind of the operations of a mix.
type part struct {
	Ops    uint64  `json:"ops"`
	P50Us  float64 `json:"p50_us"`
	P99Us  float64 `json:"p99_us"`
	P999Us float64 `json:"p999_us"`
	MaxUs  float64 `json:"max_us"`
}

func partOf(h *load.Histogram) part {
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	return part{h.Count(), us(h.Quantile(0.5)), us(h.Quantile(0.99)), us(h.Quantile(0.999)), us(h.Max())}
}

func printResult(con *console, format string, r load.Result) error {
	switch {
	case format == asJSON && r.Op == load.Mix:
		return writeJSON(con.out, mixed{r, partOf(r.Puts), partOf(r.Gets)})
	case format == asJSON:
		return writeJSON(con.out, r)
	}
	w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\t%d in %.2fs, %d connections, %d in flight, keys of %d and values of %d bytes\n",
		r.Op, r.Ops, r.Seconds, r.Conns, r.Clients, r.KeySize, r.ValueSize)
	fmt.Fprintf(w, "per second\t%.0f\n", r.OpsPerSec)
	for _, l := range []struct {
		name string
		us   float64
	}{{"mean", r.AvgUs}, {"p50", r.P50Us}, {"p90", r.P90Us}, {"p99", r.P99Us}, {"p99.9", r.P999Us}, {"max", r.MaxUs}} {
		fmt.Fprintf(w, "%s\t%.0f µs\n", l.name, l.us)
	}
	if r.Op == load.Mix {
		for _, l := range []struct {
			name string
			part part
		}{{"gets", partOf(r.Gets)}, {"puts", partOf(r.Puts)}} {
			fmt.Fprintf(w, "%s\t%d, p50 %.0f µs, p99 %.0f µs, p99.9 %.0f µs, max %.0f µs\n", l.name, l.part.Ops, l.part.P50Us, l.part.P99Us, l.part.P999Us, l.part.MaxUs)
		}
	}
	fmt.Fprintf(w, "errors\t%d\n", r.Errors)
	for _, code := range slices.Sorted(maps.Keys(r.ErrorsByCode)) {
		fmt.Fprintf(w, "\t%d %s\n", r.ErrorsByCode[code], code)
	}
	return w.Flush()
}
