package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fullOrdeal is the number of operations from which on the tests take their
// time: that many operations under ten kills of the leader.
const fullOrdeal = 20_000

// operationsWanted is how long the ordeal is.
func operationsWanted(t *testing.T) int64 {
	s := os.Getenv("DNODETEST_OPS")
	if s == "" {
		return 2500
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		t.Fatalf("DNODETEST_OPS=%q is not a number above zero", s)
	}
	return n
}

// Under a nemesis that kills the leader and stops it and others, the history of
// colliding clients is linearizable, every acknowledged write stands in the log
// where its answer said, nothing called failed does, few outcomes stay unknown,
// and all members end in the same state. A single stale read in the same history
// is noticed.
//
// DNODETEST_OPS=20000 is the full form.
func TestOrdeal(t *testing.T) {
	n := operationsWanted(t)
	o := newOrdeal(t, binary, 1)
	var acts []act
	for range max(1, n/(fullOrdeal/5)) {
		acts = append(acts, killLeader, pauseFollower, deposeLeader, slowLeader, killLeader, pauseQuorum, pauseLeader)
	}
	o.run(acts, n)
	v, err := o.judge()
	if err != nil {
		t.Fatal(err)
	}
	if share := v.unknownShare(); share > 0.05 {
		t.Errorf("%.1f %% of the operations ended without a known outcome", 100*share)
	}
	if int64(v.operations) < n || n >= fullOrdeal && (o.kills < 10 || o.pauses < 10 || v.inLog == 0) {
		t.Errorf("only %d operations, %d kills, %d pauses, %d writes of unknown outcome in the log", v.operations, o.kills, o.pauses, v.inLog)
	}
	stale := o.load.history
	if !plantStale(stale) {
		t.Fatal("no read that could be made stale")
	}
	if _, err := judge(stale, o.log, time.Minute); !errors.Is(err, errNotLinearizable) {
		t.Errorf("a stale read in the history went unnoticed: %v", err)
	}
}

// The test above notices a server that answers linearizable reads without a
// quorum round: a leader that was stopped, replaced and goes on answers reads
// that it finds in its socket from its old state. Whether one of those reads is
// stale is up to the moment at which it was sent, so there are several tries.
func TestOrdealNoticesStaleReads(t *testing.T) {
	const rule = "case level == wire.Lease && r.leaseHolds():"
	planted := buildMutant(t, edit{"node/replica/request.go", rule, "case level == wire.Linearizable || level == wire.Lease && r.leaseHolds():"})
	const tries = 10
	for try := range uint64(tries) {
		o := newOrdeal(t, planted, 2+try)
		o.run([]act{deposeLeader, deposeLeader}, 0)
		_, err := o.judge()
		if errors.Is(err, errNotLinearizable) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("a server without quorum rounds passed %d times", tries)
}

// edit replaces one piece of a file of the repository.
type edit struct{ file, old, with string }

// buildMutant builds the command with some pieces of some files replaced.
func buildMutant(t *testing.T, edits ...edit) string {
	t.Helper()
	dir := t.TempDir()
	sources := make(map[string]string)
	var overlay struct{ Replace map[string]string }
	overlay.Replace = make(map[string]string)
	for i, e := range edits {
		path, err := filepath.Abs(filepath.Join("../..", e.file))
		if err != nil {
			t.Fatal(err)
		}
		if sources[path] == "" {
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			sources[path] = string(source)
			overlay.Replace[path] = filepath.Join(dir, fmt.Sprintf("mutant%d.go", i))
		}
		if strings.Count(sources[path], e.old) != 1 {
			t.Fatalf("%q does not stand once in %s: the mutation needs a new place", e.old, e.file)
		}
		sources[path] = strings.Replace(sources[path], e.old, e.with, 1)
	}
	for path, source := range sources {
		if err := os.WriteFile(overlay.Replace[path], []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list, out := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "dnode")
	if err := os.WriteFile(list, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command("go", "build", "-overlay", list, "-o", out, ".").CombinedOutput(); err != nil {
		t.Fatalf("cannot build the mutant: %v\n%s", err, said)
	}
	return out
}
