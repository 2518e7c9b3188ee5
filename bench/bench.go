package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// step is one run that is to be made.
type step struct {
	scenario *scenario
	system   string
	round    int
}

// bench builds, measures and reports. Whatever was measured before a failure
// or Ctrl-C is reported too.
func bench(ctx context.Context, opt options) (err error) {
	began, before := time.Now(), loadAverages()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find this program: %w", err)
	}
	if err := os.MkdirAll(opt.out, 0o755); err != nil {
		return fmt.Errorf("cannot make the report's folder: %w", err)
	}
	bins, err := buildAll(ctx, &opt, say)
	if err != nil {
		return err
	}
	r := &runner{opt: opt, group: &group{}, bins: bins, data: filepath.Join(opt.out, "data"), self: self, lines: map[string][]string{}}
	defer r.group.stopAll()
	defer context.AfterFunc(ctx, r.group.stopAll)()
	if err := os.MkdirAll(r.data, 0o755); err != nil {
		return fmt.Errorf("cannot make the data folder: %w", err)
	}
	defer func() {
		_ = os.RemoveAll(r.data)
		_ = os.Remove(opt.out) // only if nothing was written
	}()
	rec := &record{
		Began: began, Command: append([]string{"go", "-C", "bench", "run", "."}, opt.args...), Rounds: opt.rounds,
		Machine: thisMachine(r.data), Versions: versionsOf(ctx, bins), Runs: []run{}, Floors: []floors{},
		Settings: settings{
			MeasureSeconds: seconds(opt.measure), WarmUpSeconds: seconds(opt.warmUp),
			KeySize: opt.load.keySize, ValueSize: opt.load.valueSize, Keys: opt.load.keys,
		},
	}
	rec.Machine.Load = before
	runErr := r.all(ctx, rec)
	rec.Seconds = seconds(time.Since(began).Round(time.Second))
	rec.Cluster = startedBy(r.lines)
	if runErr != nil {
		rec.Skipped = append(rec.Skipped, "this report is not whole: "+runErr.Error())
	}
	if len(rec.Runs) == 0 {
		return runErr
	}
	if err := writeAll(rec, opt.out); err != nil {
		return errors.Join(runErr, err)
	}
	printTable(os.Stdout, rec)
	say("\nreport  %s\nraw     %s\n", filepath.Join(opt.out, "report.md"), filepath.Join(opt.out, "results.json"))
	return runErr
}

// say writes progress to the terminal.
func say(format string, args ...any) { fmt.Printf(format, args...) }

func startedBy(lines map[string][]string) []startLines {
	var all []startLines
	for _, system := range []string{sysDnode, sysEtcd} {
		if len(lines[system]) > 0 {
			all = append(all, startLines{system, lines[system]})
		}
	}
	return all
}

// plan lists the runs of a round, in order. The systems swap places from round
// to round, so that neither always comes second.
func (r *runner) plan(round int) []step {
	var steps []step
	for i := range r.opt.scenarios {
		s := &r.opt.scenarios[i]
		if s.once && round > 1 || s.oneCore && !canConfine() {
			continue
		}
		systems := []string{sysDnode}
		if s.group == embeddedGroup {
			systems = inTurn(round)
		} else if r.bins.etcd != "" && !s.onlyOurs {
			systems = append(systems, sysEtcd)
			if round%2 == 0 {
				systems[0], systems[1] = systems[1], systems[0]
			}
			if s.cross && r.bins.tool != "" && (!r.opt.quick || s.conns == 100) {
				systems = append(systems, sysTool)
			}
		}
		for _, system := range systems {
			steps = append(steps, step{s, system, round})
		}
	}
	return steps
}

// all makes all runs. A run that fails is recorded, and the others are made.
func (r *runner) all(ctx context.Context, rec *record) error {
	var steps []step
	for round := 1; round <= r.opt.rounds; round++ {
		steps = append(steps, r.plan(round)...)
	}
	r.describe(rec, len(steps))
	var err error
	if r.control, err = newControl(r.data, r.opt.load.keySize+r.opt.load.valueSize+syncOverhead); err != nil {
		return err
	}
	defer r.control.close()
	failed, began, done := 0, time.Now(), 0
	for i, st := range steps {
		if i == 0 || st.round != steps[i-1].round {
			f, err := r.measureFloors(ctx, st.round, min(r.opt.measure, time.Second/2))
			if err != nil {
				return err
			}
			rec.Floors = append(rec.Floors, f)
			say("round %d of %d   sync p50 %.0f µs, three at once %.0f µs; round trip %.0f µs, through gnet %.0f µs; gnet echo %.0f/s\n",
				st.round, r.opt.rounds, f.Sync.P50Us, f.Sync3.P50Us, f.TCP.P50Us, f.Gnet.P50Us, f.Echo)
		}
		out, err := r.measure(ctx, st.scenario, st.system)
		if ctx.Err() != nil {
			return fmt.Errorf("stopped after %d of %d runs", done, len(steps))
		}
		done++
		out.Scenario, out.System, out.Round = st.scenario.name, st.system, st.round
		if err != nil {
			failed++
			out.Failed = err.Error()
		}
		rec.Runs = append(rec.Runs, out)
		left := time.Since(began) / time.Duration(done) * time.Duration(len(steps)-done)
		say("%s\n", progressLine(&out, fmt.Sprintf("%d/%d", done, len(steps)), left))
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d runs failed; the report says why", failed, len(steps))
	}
	return nil
}

// progressLine is what is said after each run.
func progressLine(out *run, at string, left time.Duration) string {
	line := fmt.Sprintf("%9s  %6s left  %-20s %-9s", at, left.Round(time.Second), out.Scenario, out.System)
	if out.Failed != "" {
		return line + "  FAILED: " + out.Failed
	}
	l := &out.Load
	return line + fmt.Sprintf(" %9.0f/s  p50 %8s  p99 %8s  %d errors", l.OpsPerSec, duration(l.P50Us), duration(l.P99Us), l.Errors)
}

// describe says what is going to happen and notes it.
func (r *runner) describe(rec *record, runs int) {
	etcd := "without etcd"
	if r.bins.etcd != "" {
		etcd = "against etcd " + rec.Versions.Etcd
	}
	say("dnode %s %s: %d scenarios, %d rounds, %d runs of %.1f s after %.1f s of warm-up\n", rec.Versions.Commit, etcd,
		len(r.opt.scenarios), r.opt.rounds, runs, rec.Settings.MeasureSeconds, rec.Settings.WarmUpSeconds)
	say("%s, %d cores, kernel %s, data on %s\n", rec.Machine.CPU, rec.Machine.Cores, rec.Machine.Kernel, rec.Machine.FileSystem)
	for i := range r.opt.scenarios {
		s := &r.opt.scenarios[i]
		if s.oneCore && !canConfine() {
			rec.Skipped = append(rec.Skipped, s.name+": nodes can be confined to a core on Linux with taskset only")
			continue
		}
		rec.Plan = append(rec.Plan, planned{s.name, s.group, s.text(), s.op, s.level, s.conns, s.clients, s.nodes, s.peak > 0})
	}
}

// writeAll writes report, raw data and charts.
func writeAll(rec *record, dir string) error {
	raw, err := json.Marshal(rec)
	raw = bytes.ReplaceAll(raw, []byte(`{"scenario":`), []byte("\n"+`{"scenario":`)) // one run per line
	if err != nil {
		return fmt.Errorf("cannot write the results: %w", err)
	}
	charts, err := drawCharts(rec, dir)
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{"results.json": append(raw, '\n'), "report.md": []byte(reportText(rec, charts))} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return fmt.Errorf("cannot write the report: %w", err)
		}
	}
	return nil
}
