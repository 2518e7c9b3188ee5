package main

import (
	"errors"
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
	planted := buildMutant(t, "node/replica/request.go", rule, "case level == wire.Linearizable || level == wire.Lease && r.leaseHolds():")
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

// buildMutant builds the command with one piece of one file replaced.
func buildMutant(t *testing.T, file, old, with string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(source), old) != 1 {
		t.Fatalf("%q does not stand once in %s: the mutation needs a new place", old, file)
	}
	dir := t.TempDir()
	mutant := filepath.Join(dir, "mutant.go")
	if err := os.WriteFile(mutant, []byte(strings.Replace(string(source), old, with, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	text := `{"Replace":{` + strconv.Quote(path) + ":" + strconv.Quote(mutant) + "}}"
	if err := os.WriteFile(overlay, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "dnode")
	if said, err := exec.Command("go", "build", "-overlay", overlay, "-o", out, ".").CombinedOutput(); err != nil {
		t.Fatalf("cannot build the mutant: %v\n%s", err, said)
	}
	return out
}
