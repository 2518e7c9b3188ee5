package node

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/osfs"
	"github.com/dnode-engine/dnode/wire"
)

// faultyFS is a file system on which, once it is broken, what fault says goes
// wrong. Its methods may be called from two goroutines, as those of an FS.
type faultyFS struct {
	FS
	broken atomic.Bool
	// fault returns the error of an operation on a name, or nil. A short write
	// has errShort.
	fault func(op, name string) error
}

var errShort = errors.New("a short write, and no error")

func (f *faultyFS) ask(op, name string) error {
	if !f.broken.Load() {
		return nil
	}
	return f.fault(op, name)
}

func (f *faultyFS) open(dir string) (FS, error) {
	under, err := osfs.Open(dir)
	f.FS = under
	return f, err
}

func (f *faultyFS) Create(name string) (wal.File, error) {
	if err := f.ask("create", name); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name)
	return &faultyFile{file, f, name}, err
}

func (f *faultyFS) Open(name string) (wal.File, error) {
	file, err := f.FS.Open(name)
	return &faultyFile{file, f, name}, err
}

func (f *faultyFS) Rename(from, to string) error {
	if err := f.ask("rename", to); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

func (f *faultyFS) SyncDir(dir string) error {
	if err := f.ask("syncdir", dir); err != nil {
		return err
	}
	return f.FS.SyncDir(dir)
}

type faultyFile struct {
	wal.File
	fs   *faultyFS
	name string
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.ask("read", f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.fs.ask("write", f.name)
	if errors.Is(err, errShort) {
		return f.File.WriteAt(p[:(len(p)+1)/2], off)
	}
	if err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *faultyFile) Sync() error {
	if err := f.fs.ask("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

// on is a fault of one kind of operation on files with this end of their names.
func on(err error, suffix string, ops ...string) func(op, name string) error {
	return func(op, name string) error {
		for _, o := range ops {
			if o == op && strings.HasSuffix(name, suffix) {
				return err
			}
		}
		return nil
	}
}

// readOnly is what a file system does that has turned read-only.
func readOnly(op, _ string) error {
	if op == "read" {
		return nil
	}
	return syscall.EROFS
}

// A write, a sync or a rename that fails fences the node, whatever failed: it
// says why, answers stale reads, and has after a restart all that it has
// acknowledged. It leaves a marker where the disk still lets it.
func TestEveryFailedWriteFences(t *testing.T) {
	f := func(what string, fault func(op, name string) error, why error, marked bool) {
		t.Helper()
		var log testLog
		fs := &faultyFS{fault: fault}
		cfg := testConfig(t, "n1")
		cfg.OpenFS, cfg.Logger = fs.open, log.logger()
		n := start(t, cfg)
		conn := mustConnect(t, n.ClientAddr())
		eventually(t, "put", func() error { return conn.put("k", "v") })
		fs.broken.Store(true)
		value := strings.Repeat("x", wire.MinSegmentBytes/20) // a rotation, and with it a rename, comes soon
		acked := 0
		for i := 0; ; i++ {
			err := conn.put(fmt.Sprint("k", i), value)
			if err == nil && i < 400 {
				acked++
				continue
			}
			if !isCode(err, wire.CodeUnknown) && !isCode(err, wire.CodeFenced) {
				t.Errorf("%s: put %d: %v", what, i, err)
			}
			break
		}
		eventually(t, what+": the fence", func() error {
			if err := n.Err(); !errors.Is(err, why) || !errors.Is(err, wal.ErrFenced) || !strings.Contains(err.Error(), "check the disk") {
				return fmt.Errorf("the node says %w", err)
			}
			if s := n.published.get(); s.status.State != wire.StateFenced || s.fenced == "" {
				return fmt.Errorf("state %v, fenced %q", s.status.State, s.fenced)
			}
			return nil
		})
		if got, err := conn.get(wire.Stale, "k"); err != nil || got != "v" {
			t.Errorf("%s: stale read: %q, %v", what, got, err)
		}
		n.Kill()
		fs.broken.Store(false)
		n = start(t, cfg)
		conn = mustConnect(t, n.ClientAddr())
		for i := range acked {
			eventually(t, what+": what was acknowledged", func() error {
				if got, err := conn.get(wire.Linearizable, fmt.Sprint("k", i)); err != nil || got != value {
					return fmt.Errorf("k%d: %d bytes, %w", i, len(got), err)
				}
				return nil
			})
		}
		if got := strings.Contains(log.String(), "event=wal.fenced"); got != marked {
			t.Errorf("%s: told of a fence at the next start: %v", what, got)
		}
		shutdown(t, n)
	}
	f("write", on(syscall.EIO, ".seg", "write"), syscall.EIO, true)
	f("sync", on(syscall.EIO, ".seg", "sync"), syscall.EIO, true)
	f("name of a segment", on(syscall.EIO, "wal", "syncdir"), syscall.EIO, true)
	f("read-only", readOnly, syscall.EROFS, false)
}

// Writes that are cut short are resumed, and nothing is noticed.
func TestShortWrites(t *testing.T) {
	fs := &faultyFS{fault: on(errShort, "", "write")}
	cfg := testConfig(t, "n1")
	cfg.OpenFS = fs.open
	fs.broken.Store(true)
	n := start(t, cfg)
	conn := mustConnect(t, n.ClientAddr())
	value := strings.Repeat("x", wire.MinSegmentBytes/20)
	for i := range 50 {
		eventually(t, "put", func() error { return conn.put(fmt.Sprint("k", i), value) })
	}
	n.Kill()
	fs.broken.Store(false)
	n = start(t, cfg)
	conn = mustConnect(t, n.ClientAddr())
	for i := range 50 {
		eventually(t, "what was written", func() error {
			if got, err := conn.get(wire.Linearizable, fmt.Sprint("k", i)); err != nil || got != value {
				return fmt.Errorf("k%d: %d bytes, %w", i, len(got), err)
			}
			return nil
		})
	}
}

// A leader that cannot read its log goes on with those who need nothing from it,
// says what is wrong, once, and serves the others when it can read again.
func TestUnreadableLogOfTheLeader(t *testing.T) {
	var disks [3]faultyFS
	var logs [3]testLog
	c := newCluster(t, 3, func(i int, cfg *Config) {
		disks[i].fault = on(syscall.EIO, ".seg", "read")
		cfg.OpenFS, cfg.Logger, cfg.Limits.TailBytes = disks[i].open, logs[i].logger(), 4<<20
	})
	c.put("k", "v")
	lead := c.leader()
	i := c.index(lead)
	away := (i + 1) % 3
	c.nodes[away].Kill()
	c.nodes[away] = nil
	for j := range 20 {
		c.put(fmt.Sprint("k", j), strings.Repeat("x", 512<<10))
	}
	if c.leader() != lead {
		t.Fatal("the leader changed without need")
	}
	disks[i].broken.Store(true)
	c.nodes[away] = start(t, c.cfgs[away])
	eventually(t, "the failure to be told", func() error {
		if !strings.Contains(logs[i].String(), "event=disk.unreadable") {
			return errors.New("not yet")
		}
		return nil
	})
	c.put("more", "v")
	if n := strings.Count(logs[i].String(), "event=disk.unreadable"); n != 1 {
		t.Errorf("told %d times", n)
	}
	if _, _, st := lead.disk.queued(); st.readErrors == 0 {
		t.Error("not counted")
	}
	disks[i].broken.Store(false)
	eventually(t, "the member to catch up", func() error { return c.converged(24) })
}
