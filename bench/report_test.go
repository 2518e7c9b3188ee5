package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/client/load"
)

var update = flag.Bool("update", false, "write the golden files")

// sample is a record of two rounds made up of round numbers.
func sample() *record {
	rec := &record{
		Began: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), Seconds: 95, Command: []string{"go", "-C", "bench", "run", "."}, Rounds: 2,
		Machine:  machine{CPU: "Some CPU", Cores: 2, MemoryMiB: 4096, OS: "linux/amd64", Kernel: "6.1", FileSystem: "ext4", Load: "0.1 0.2 0.3"},
		Versions: versions{Commit: "0123456789ab", Etcd: "3.6.16", EtcdClient: "3.6.16", EtcdTool: "3.6.8", Go: "go1.26.8"},
		Settings: settings{MeasureSeconds: 8, WarmUpSeconds: 2, KeySize: 8, ValueSize: 256, Keys: 10_000},
		Skipped:  []string{"core-put-1-1: nodes can be confined to a core on Linux with taskset only"},
		Cluster:  []startLines{{sysDnode, []string{"dnode serve --name n1"}}},
	}
	for _, name := range []string{"put-1-1", "put-100-1000", "get-1-1", "lease-1-1", "mix-10-100", "sweep-put-1", "sweep-put-4", "embedded-100"} {
		chosen, err := choose(name, false)
		if err != nil {
			panic(err)
		}
		s := &chosen[0]
		rec.Plan = append(rec.Plan, planned{s.name, s.group, s.text(), s.op, s.level, s.conns, s.clients, s.nodes, s.peak > 0})
	}
	for round := 1; round <= 2; round++ {
		rec.Floors = append(rec.Floors, floors{
			Round: round, SyncBytes: 328, EchoBytes: 36, ReplyBytes: 330, Echo: 2e6,
			Sync:  latency{1000, 100, 200, 300, 1000 * float64(round)},
			Sync3: latency{1000, 160, 400, 500, 2000}, TCP: latency{1000, 20, 60, 70, 100}, Gnet: latency{1000, 22, 61, 71, 101},
		})
		for i := range rec.Plan {
			rec.Runs = append(rec.Runs, sampleRuns(&rec.Plan[i], round)...)
		}
	}
	return rec
}

// sampleLibraries are the runs of one embedded scenario: each library does half
// of what the one before it does, and the last does not build.
func sampleLibraries(s *planned, round int) []run {
	var all []run
	rate := 80_000 / float64(round)
	for _, system := range inTurn(round) {
		at := float64(slices.Index(systemsOf(embeddedGroup), system))
		rate := rate / math.Pow(2, at)
		mean := float64(s.Clients) / rate * 1e6
		r := run{Scenario: s.Name, System: system, Round: round, Load: load.Result{
			OpsPerSec: rate, AvgUs: mean, P50Us: mean, P90Us: 2 * mean, P99Us: 3 * mean, P999Us: 4 * mean, MaxUs: 5 * mean, Ops: int64(8 * rate),
		}}
		ops := uint64(8 * rate)
		r.Servers, r.WrittenBytes = []serverUse{{CPUSeconds: 16, ResidentKiB: 51200}}, int64(ops*2048)
		r.Embedded = &embeddedUse{What: "parts of " + system, Allocs: ops * uint64(1+at), AllocBytes: ops * 1000 * uint64(1+at)}
		if system == "dragonboat" {
			r = run{Scenario: s.Name, System: system, Round: round, Failed: "cannot go build: no such module"}
		}
		all = append(all, r)
	}
	return all
}

// sampleRuns are the runs of one scenario: dnode does ten times as much as etcd.
func sampleRuns(s *planned, round int) []run {
	if s.Group == embeddedGroup {
		return sampleLibraries(s, round)
	}
	var all []run
	for _, system := range []string{sysDnode, sysEtcd, sysTool} {
		rate := 1000 * float64(s.Clients) / float64(round)
		if system != sysDnode {
			rate /= 10
		}
		if s.Level == lease && system != sysDnode || system == sysTool && s.Name != "put-100-1000" {
			continue
		}
		mean := float64(s.Clients) / rate * 1e6
		r := run{Scenario: s.Name, System: system, Round: round, Load: load.Result{
			OpsPerSec: rate, AvgUs: mean, P50Us: mean, P90Us: 2 * mean, P99Us: 3 * mean, P999Us: 4 * mean, MaxUs: 5 * mean, Ops: int64(8 * rate),
		}}
		if s.Op == load.Mix {
			r.Puts, r.Gets = &load.Histogram{}, &load.Histogram{}
			r.Puts.Record(4 * time.Millisecond)
			r.Gets.Record(time.Millisecond)
		}
		if system != sysTool {
			r.ClientCPUSeconds, r.OtherCores = rate*8*5e-6, 0.05
			if s.Op == load.Put {
				r.Control = latency{160, 150, 300, 400, 900 * float64(round)}
				r.SyncTimes = []bucket{{640, 600}, {1280, 980}, {2560, 998 + float64(round)}, {0, 1000}}
			}
			if s.Op == load.Mix && round == 2 {
				r.OtherCores = 1.25
			}
			r.WrittenBytes = int64(s.Nodes) * int64(rate*8*1024)
			for n := range s.Nodes {
				r.Servers = append(r.Servers, serverUse{
					CPUSeconds: rate * 8 * 1e-6 * float64(3-n), ResidentKiB: int64(102400 + 1024*n), Syncs: rate,
				})
			}
		}
		all = append(all, r)
	}
	switch last := &all[len(all)-1]; {
	case s.Name == "get-1-1" && round == 2:
		*last = run{Scenario: s.Name, System: sysEtcd, Round: round, Failed: "cannot start etcd:\nno port"}
	case s.Name == "put-1-1" && round == 2:
		last.Elections, last.Load.Errors, last.Load.ErrorsByCode = 1, 3, map[string]int64{"outcome unknown": 3}
	}
	return all
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Fatalf("%s differs at line %d; go -C bench test -update . writes it\n%s", path, i+1, strings.Join(g[min(i, len(g)):min(i+3, len(g))], "\n"))
		}
	}
}

func TestReport(t *testing.T) {
	golden(t, "report.md", reportText(sample(), []chart{{"throughput-put", "Puts per second"}}))
}

func TestTerminalTable(t *testing.T) {
	var out bytes.Buffer
	printTable(&out, sample())
	golden(t, "table.txt", out.String())
}

// What is written can be read again, with all its histograms, and the charts
// that the report shows are there.
func TestWriteAll(t *testing.T) {
	dir := t.TempDir()
	rec := sample()
	if err := writeAll(rec, dir); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back record
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if reportText(&back, nil) != reportText(rec, nil) {
		t.Error("the report of what was read back differs")
	}
	report, err := os.ReadFile(filepath.Join(dir, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for line := range strings.Lines(string(report)) {
		_, rest, found := strings.Cut(line, "](")
		if !found {
			continue
		}
		shown++
		svg, _, _ := strings.Cut(rest, ")")
		for _, name := range []string{svg, strings.TrimSuffix(svg, ".svg") + ".png"} {
			if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || len(b) < 1000 {
				t.Errorf("%s: %d bytes, %v", name, len(b), err)
			}
		}
	}
	if shown < 5 {
		t.Errorf("%d charts", shown)
	}
}

func TestProgressLine(t *testing.T) {
	f := func(r run, want string) {
		t.Helper()
		if got := progressLine(&r, "3/10", 61*time.Second); !strings.Contains(got, want) || !strings.Contains(got, "1m1s left") {
			t.Error(got)
		}
	}
	f(run{Scenario: "put-1-1", System: sysDnode, Load: load.Result{OpsPerSec: 1234, P50Us: 400, P99Us: 1500, Errors: 2}}, "1234/s  p50   400 µs  p99  1.50 ms  2 errors")
	f(run{Failed: "no port"}, "FAILED: no port")
}
