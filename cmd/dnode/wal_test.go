package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The offline commands refuse a folder in use and what is no data folder, and
// agree that a whole log is whole.
func TestWalCommands(t *testing.T) {
	c := newCluster(t, 1)
	c.open()
	n := c.nodes[0]
	f := func(code int, out, talk string, args ...string) {
		t.Helper()
		got := cli(t, append([]string{"wal"}, args...)...)
		if got.code != code || !strings.Contains(got.out, out) || !strings.Contains(got.err, talk) {
			t.Errorf("%q: got %+v", args, got)
		}
	}
	for _, cmd := range []string{"ls", "verify", "dump"} {
		f(exitOther, "", "in use by another process: stop the node first", cmd, n.dir)
	}
	n.cmd.Process.Signal(syscall.SIGTERM)
	n.wait(t, 10*time.Second)
	f(exitOK, "are whole", "", "verify", n.dir)
	f(exitOK, "wal/00000001.seg", "", "ls", n.dir)
	f(exitOK, `"groups":`, "", "ls", "-o", "json", n.dir)
	f(exitOK, "seal written at a clean stop", "", "dump", n.dir)
	f(exitOK, `[{"kind":"identity"`, "", "dump", "-o", "json", n.dir)
	for _, cmd := range []string{"ls", "verify", "dump"} {
		f(exitOther, "", "no data folder: it holds neither", cmd, t.TempDir())
		f(exitOther, "", "give the --data-dir of a node", cmd, filepath.Join(n.dir, "none"))
		f(exitUsage, "", "DIR", cmd)
	}
	f(exitUsage, "", "needs one of dump, ls, verify")
	f(exitUsage, "", `(did you mean "verify"?)`, "verfy")
}

// Each kind of damage is named with its place, and with what can be done about
// it; the exit code is that of corruption.
func TestWalExplainsDamage(t *testing.T) {
	c := newCluster(t, 1)
	cl := c.open()
	for i := range 20 {
		if _, err := cl.Put(context.Background(), fmt.Sprint(i), make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	n := c.nodes[0]
	n.cmd.Process.Signal(syscall.SIGTERM)
	n.wait(t, 10*time.Second)
	f := func(code int, out, talk string, args ...string) {
		t.Helper()
		got := cli(t, append([]string{"wal"}, args...)...)
		if got.code != code || !strings.Contains(got.out, out) || !strings.Contains(got.err, talk) {
			t.Errorf("%q: got %+v", args, got)
		}
	}
	flip := func(file string, offset int) {
		t.Helper()
		file = filepath.Join(n.dir, filepath.FromSlash(file))
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		data[offset] ^= 1
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damaged := func(file string, offset int, out, talk string) {
		t.Helper()
		flip(file, offset)
		f(exitCorruption, out, talk, "verify", n.dir)
		flip(file, offset)
	}
	const advice = "from a copy that is not older"
	flip("vote", 4096+20)
	f(exitOK, "vote:4096: slot: this slot is damaged: the other holds all that was relied on", "", "verify", n.dir)
	damaged("vote", 20, "vote:0: damage", "the vote file is damaged: ")
	damaged("vote", 20, "vote:0: damage", "that no other node ever used this folder")
	flip("vote", 4096+20)
	damaged("identity", 20, "identity:0: identity", advice)
	damaged("wal/00000001.seg", 20, "wal/00000001.seg:0: damage", advice)    // segment header
	damaged("wal/00000001.seg", 516, "wal/00000001.seg:512: damage", advice) // group header
	damaged("wal/00000001.seg", 600, "wal/00000001.seg:512: damage", advice) // entry
	damaged("wal/00000001.seg", 5000, "was durable", "is damaged at offset")
	moved := func(file, out, talk string) {
		t.Helper()
		path := filepath.Join(n.dir, filepath.FromSlash(file))
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		f(exitCorruption, out, talk, "verify", n.dir)
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
	moved("vote", "vote:0: damage", "no vote file beside a log")
	moved("identity", "identity:0: damage", "the node refuses to start")
	moved("wal/00000001.seg", "verdict: ", advice)
	moved("wal", "verdict", "the identity names a cluster")
	if err := os.WriteFile(filepath.Join(n.dir, "fence"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f(exitOK, "fence:0: fence: left by a write or sync that failed", "", "verify", n.dir)
	flip("wal/00000001.seg", 5000)
	f(exitCorruption, "; damaged at offset", "is damaged at offset", "ls", n.dir)
	f(exitCorruption, "was durable", "is damaged at offset", "dump", n.dir)
	f(exitCorruption, "]\n", "is damaged at offset", "dump", "-o", "json", n.dir)
	c.start(n)
	if code := n.wait(t, 10*time.Second); code != exitCorruption || !strings.Contains(n.err.String(), "nothing was cut") {
		t.Errorf("serve on a damaged log exits %d", code)
	}
}
