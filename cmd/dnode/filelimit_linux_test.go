package main

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/dnode-engine/dnode/client"
)

// limitFiles sets how large files a running process may make.
func limitFiles(t *testing.T, p *process, sizeBytes uint64) {
	t.Helper()
	lim := syscall.Rlimit{Cur: sizeBytes, Max: math.MaxUint64}
	if _, _, err := syscall.Syscall6(syscall.SYS_PRLIMIT64, uintptr(p.cmd.Process.Pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&lim)), 0, 0, 0); err != 0 {
		t.Fatal(err)
	}
}

// A process that may write no further into its files has its writes cut short,
// at any byte, and then refused: that is a full disk. Writes are refused with a
// reason, and go on where they were cut when they may.
func TestFileSizeLimit(t *testing.T) {
	c := newCluster(t, 1)
	cl := c.open()
	l := startStress("limit/", cl)
	defer l.end()
	l.reach(t, 500)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	for { // or preparing a segment would fail first, and writes be refused before any is cut
		if _, err := os.Stat(filepath.Join(c.nodes[0].dir, "wal", "00000003.seg")); err == nil {
			break
		}
		pause(ctx, t)
	}
	log, err := os.ReadFile(filepath.Join(c.nodes[0].dir, "wal", "00000001.seg"))
	if err != nil {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(log, "\x00"))
	limitFiles(t, c.nodes[0].process, uint64(used)+100_003)
	put := func() error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := cl.Put(ctx, "probe", []byte("x"))
		return err
	}
	// With nothing at all left to write to, a leader steps down: then a stale
	// read is what is left.
	for err := put(); err == nil || !strings.Contains(err.Error(), "disk is full"); err = put() {
		if ctx.Err() != nil {
			t.Fatalf("no write is refused for lack of space; last: %v", err)
		}
	}
	if _, err := cl.Get(ctx, "ready", client.ReadOptions{Consistency: client.Stale}); err != nil {
		t.Errorf("read while nothing can be written: %v", err)
	}
	limitFiles(t, c.nodes[0].process, math.MaxUint64)
	for err := put(); err != nil; err = put() {
		if ctx.Err() != nil {
			t.Fatalf("writes are refused though they may be carried out: %v", err)
		}
	}
	l.reach(t, l.acked.Load()+500)
	l.end()
	l.audit(t, cl)
	c.nodes[0].kill()
	c.start(c.nodes[0])
	l.audit(t, c.open())
}
