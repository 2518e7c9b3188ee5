package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/bench/embedded"
	"github.com/dnode-engine/dnode/client/load"
)

// brief is a result without its histogram.
func brief(r load.Result) string {
	b, _ := json.Marshal(r)
	return string(b)
}

func TestParseTool(t *testing.T) {
	text, err := os.ReadFile("testdata/tool.txt")
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseTool(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if r.OpsPerSec != 9868.2312 || r.Seconds != 2.0267 || r.Ops != 20000 || r.Errors != 7 {
		t.Error(brief(r))
	}
	if r.AvgUs != 97_400 || r.P50Us != 91_000 || r.P90Us != 130_500 || r.P99Us != 201_200 || r.P999Us != 240_100 || math.Round(r.MaxUs) != 250_300 {
		t.Error(brief(r))
	}
	if _, err := parseTool("benchmark: no such host"); err == nil {
		t.Error("read nonsense")
	}
}

func TestParseMetrics(t *testing.T) {
	s := parseMetrics("# HELP a text\n# TYPE a counter\na{x=\"1 2\",y=\"b\"} 3\na{x=\"2\"} 4.5\nb 1e3\n\nnonsense\n")
	if s["a"] != 7.5 || s["b"] != 1000 || len(s) != 2 {
		t.Errorf("%v", s)
	}
	if got := grown(samples{"a": 1}, samples{"a": 4, "b": 2}, []string{"a", "b", "c"}); got != 5 {
		t.Error(got)
	}
}

// The syncs between two scrapes, with the bounds of their buckets.
func TestSyncTimes(t *testing.T) {
	before := parseMetrics("dnode_wal_sync_seconds_bucket{le=\"2e-05\"} 1\ndnode_wal_sync_seconds_bucket{le=\"4e-05\"} 2\n" +
		"dnode_wal_sync_seconds_bucket{le=\"+Inf\"} 2\ndnode_wal_group_bytes_bucket{le=\"512\"} 7\n")
	after := parseMetrics("dnode_wal_sync_seconds_bucket{le=\"2e-05\"} 1\ndnode_wal_sync_seconds_bucket{le=\"4e-05\"} 91\n" +
		"dnode_wal_sync_seconds_bucket{le=\"+Inf\"} 102\ndnode_wal_group_bytes_bucket{le=\"512\"} 70\n")
	if after["dnode_wal_sync_seconds_bucket"] != 194 {
		t.Errorf("%v", after)
	}
	two := syncTimes([]samples{before, before}, []samples{after, after})
	if want := []bucket{{20, 0}, {40, 178}, {0, 200}}; !slices.Equal(two, want) {
		t.Errorf("%v, want %v", two, want)
	}
	if a, b, c := within(two, 0.5), within(two, 0.89), within(two, 0.9); a != "≤ 40.0 µs" || b != a || c != "> 40.0 µs" {
		t.Error(a, b, c)
	}
	c := &cell{runs: []*run{{SyncTimes: two}, {SyncTimes: []bucket{{20, 5}, {0, 5}}}}}
	if got := syncsOf(c); !slices.Equal(got, []bucket{{20, 5}, {40, 178}, {0, 205}}) {
		t.Errorf("%v", got)
	}
}

// The control syncs on until it is stopped, and leaves nothing behind.
func TestControl(t *testing.T) {
	dir := t.TempDir()
	c, err := newControl(dir, 328)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if l := c.start()(); l.Count == 0 || l.MaxUs <= 0 || l.P50Us > l.MaxUs*1.01 {
			t.Errorf("%+v", l)
		}
	}
	c.close()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Error(left, err)
	}
	var none *control
	if l := none.start()(); l.Count != 0 {
		t.Errorf("%+v", l)
	}
	none.close()
}

func TestParseStat(t *testing.T) {
	// A name may hold spaces and parentheses.
	text := "123 (a (b) c) S 1 123 123 0 -1 4194560 900 0 0 0 250 50 0 0 20 0 8 0 100 1000 200 18446744073709551615"
	if got := parseStat(text); got != 3*time.Second {
		t.Error(got)
	}
	if got := parseStat(""); got != 0 {
		t.Error(got)
	}
	if got := field("VmPeak:\t 5 kB\nVmRSS:\t  1234 kB\n", "VmRSS:"); got != 1234 {
		t.Error(got)
	}
}

func TestParseBusy(t *testing.T) {
	if got := parseBusy("cpu  100 20 30 9999 8888 4 5 6 50 0\ncpu0 1 2 3 4 5 6 7 8\n"); got != 1650*time.Millisecond {
		t.Error(got)
	}
	if got := parseBusy("intr 1 2 3 4 5 6 7 8 9"); got != 0 {
		t.Error(got)
	}
}

// The disk under a synced file has written its bytes, where it can be asked.
func TestDiskBytes(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before, size := diskBytes(f.Name()), 1<<20
	if _, err := os.Stat(deviceStat(f.Name())); err != nil {
		t.Log("no counters of a device here")
		if before != 0 {
			t.Error(before)
		}
		return
	}
	if _, err := f.Write(bytes.Repeat([]byte("x"), size)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if n := diskBytes(f.Name()) - before; n < int64(size) {
		t.Errorf("%d bytes of %d", n, size)
	}
}

// This process is one that can be looked at, where /proc is.
func TestUsageOfSelf(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Log("no /proc here: usage is empty")
		if u := usageOf(os.Getpid()); u != (usage{}) {
			t.Errorf("%+v", u)
		}
		return
	}
	before := embedded.CPU()
	for embedded.CPU()-before < 30*time.Millisecond { // burn some
	}
	u := usageOf(os.Getpid())
	if u.CPU < 20*time.Millisecond || u.CPU > embedded.CPU()+2*clockTick || u.ResidentKiB < 1000 || u.PeakKiB < u.ResidentKiB {
		t.Errorf("%+v, own CPU %v", u, embedded.CPU())
	}
}
