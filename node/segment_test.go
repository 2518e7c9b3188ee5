package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wal/osfs"
	"github.com/dnode-engine/dnode/wire"
)

// segmentFS tampers with how the next segment is prepared and taken over.
type segmentFS struct {
	FS
	create func() // before a segment is prepared
	inline bool   // the log has filled a segment itself
	broken bool   // a prepared segment's name cannot be made durable; used by the disk goroutine alone
	taken  bool
}

func (f *segmentFS) Create(name string) (wal.File, error) {
	if strings.HasSuffix(name, ".new") && f.create != nil {
		f.create()
	}
	f.inline = f.inline || strings.HasSuffix(name, ".now")
	return f.FS.Create(name)
}

func (f *segmentFS) Rename(from, to string) error {
	f.taken = f.taken || strings.HasSuffix(from, ".new")
	return f.FS.Rename(from, to)
}

func (f *segmentFS) SyncDir(dir string) error {
	if f.broken && f.taken {
		return errBroken
	}
	return f.FS.SyncDir(dir)
}

func openSegmentFS(f *segmentFS) func(string) (FS, error) {
	return func(dir string) (FS, error) {
		fs, err := osfs.Open(dir)
		f.FS = fs
		return f, err
	}
}

// A folder that cannot be synced when a prepared segment is taken over fences
// the node at once, not only when something is to be written.
func TestFailedTakeOverFences(t *testing.T) {
	cfg := testConfig(t, "n1")
	fs, err := openSegmentFS(&segmentFS{broken: true})(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	opt := wal.Options{SegmentBytes: wire.MinSegmentBytes}
	store, _, _, err := wal.OpenStore(fs, opt)
	if err != nil {
		t.Fatal(err)
	}
	d := newDiskLoop(fs, opt, cfg.Logger, store)
	var told error
	d.done = func(c replica.Completion, _ []replica.ReadDone) { told = c.Err }
	if err := wal.PrepareSegment(fs, opt, 2); err != nil {
		t.Fatal(err)
	}
	d.takeOver(preparation{number: 2})
	if !errors.Is(told, wal.ErrFenced) || !errors.Is(told, errBroken) {
		t.Errorf("the replica was told %v", told)
	}
	if err := errors.Join(store.Close(), fs.Close()); err != nil {
		t.Error(err)
	}
}

// A node whose disk hangs while a segment is prepared stops when it is told to,
// with an error, and keeps the folder locked.
func TestShutdownWithHangingPreparation(t *testing.T) {
	hold, begun := make(chan struct{}), make(chan struct{}, 2)
	cfg := testConfig(t, "n1")
	cfg.OpenFS = openSegmentFS(&segmentFS{create: func() { begun <- struct{}{}; <-hold }})
	n, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- n.Shutdown(ctx) }()
	select {
	case err := <-stopped:
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "has not returned") {
			t.Errorf("shutdown: %v", err)
		}
	case <-time.After(testPatience):
		t.Error("shutdown waits for a disk that hangs")
	}
	close(hold)
	<-n.disk.prepared
	if err := n.fs.Close(); err != nil {
		t.Error(err)
	}
}

// The log waits for the segment that is being prepared rather than filling another
// one beside it, and bulk waits only when the segment before it is nearly full.
func TestLogWaitsForPreparation(t *testing.T) {
	cfg, fs, hold := testConfig(t, "n1"), &segmentFS{}, make(chan struct{})
	under, err := osfs.Open(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	fs.FS = under
	opt := wal.Options{SegmentBytes: 64 << 10}
	store, _, _, err := wal.OpenStore(fs, opt)
	if err != nil {
		t.Fatal(err)
	}
	fs.inline = false // the first segment has to be
	fs.create = func() { <-hold }
	d := newDiskLoop(fs, opt, cfg.Logger, store)
	told := replica.Completion{}
	write := func(i wire.Index) {
		e := wire.AppendEntry(nil, wire.EntryHead{Type: wire.EntryCommand, Index: i, Term: 1}, nil, make([]byte, 10_000))
		d.enqueue(&replica.Store{Seq: uint64(i), Append: [][]byte{e}, Last: i}, nil)
		told, _ = d.turn()
		d.lookBehind()
	}
	d.prepareNext()
	d.lookBehind()
	for i := range wire.Index(5) {
		if !d.behind.Load() || d.tight.Load() {
			t.Errorf("after %d of 5 entries: behind %v, tight %v", i, d.behind.Load(), d.tight.Load())
		}
		write(i + 1)
	}
	if !d.tight.Load() {
		t.Error("bulk may take the rest of the segment")
	}
	close(hold)
	write(6)
	write(7)
	if told.Seq != 7 || told.Err != nil || d.preparing || fs.inline || d.behind.Load() || d.tight.Load() {
		t.Errorf("told %+v, preparing %v, filled inline %v, behind %v, tight %v", told, d.preparing, fs.inline, d.behind.Load(), d.tight.Load())
	}
	if err := errors.Join(store.Close(), fs.Close()); err != nil {
		t.Error(err)
	}
}

// filesFS has no descriptor for the log's files while none is set.
type filesFS struct {
	FS
	none atomic.Bool
}

func (f *filesFS) lacking(name string) error {
	if f.none.Load() && strings.HasPrefix(name, "wal/") {
		return fmt.Errorf("open %s: %w", name, wal.ErrNoFiles)
	}
	return nil
}

func (f *filesFS) Create(name string) (wal.File, error) {
	if err := f.lacking(name); err != nil {
		return nil, err
	}
	return f.FS.Create(name)
}

func (f *filesFS) Open(name string) (wal.File, error) {
	if err := f.lacking(name); err != nil {
		return nil, err
	}
	return f.FS.Open(name)
}

// A read of a sealed segment waits for a descriptor, too, if the node itself has
// asked: it has no other way to these entries.
func TestReadWaitsForDescriptors(t *testing.T) {
	cfg, fs := testConfig(t, "n1"), &filesFS{}
	under, err := osfs.Open(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	fs.FS = under
	opt := wal.Options{SegmentBytes: 16 << 10}
	store, _, _, err := wal.OpenStore(fs, opt)
	if err != nil {
		t.Fatal(err)
	}
	for i := range wire.Index(40) {
		e := wire.AppendEntry(nil, wire.EntryHead{Type: wire.EntryCommand, Index: i + 1, Term: 1}, nil, make([]byte, 1000))
		if err := errors.Join(store.Append([][]byte{e}), store.Sync()); err != nil {
			t.Fatal(err)
		}
	}
	d := newDiskLoop(fs, opt, cfg.Logger, store)
	var told []replica.ReadDone
	d.done = func(_ replica.Completion, reads []replica.ReadDone) { told = append(told, reads...) }
	fs.none.Store(true)
	d.enqueue(&replica.Store{}, []replica.ReadRequest{{Lo: 1, Hi: 3, MaxBytes: 1 << 20}, {Peer: 2, Lo: 1, Hi: 3, MaxBytes: 1 << 20}, {Peer: 3, Lo: 40, Hi: 41, MaxBytes: 1 << 20}})
	d.serve()
	d.retry()
	if len(told) != 2 || told[1].Err != nil || told[0].Peer != 2 || !errors.Is(told[0].Err, wal.ErrNoFiles) || !d.noFiles || d.unreadable {
		t.Errorf("without descriptors: %+v, told so %v, called unreadable %v", told, d.noFiles, d.unreadable)
	}
	fs.none.Store(false)
	d.retry()
	if len(told) != 3 || told[2].Peer != 0 || told[2].Err != nil || len(told[2].Data) == 0 || d.noFiles {
		t.Errorf("with descriptors: %d answers, none told %v", len(told), d.noFiles)
	}
	if err := errors.Join(store.Close(), fs.Close()); err != nil {
		t.Error(err)
	}
}

// A node whose process has no descriptor left when its segment is full waits for
// one. It is not fenced, says why, and forgets nothing that it has acknowledged.
func TestRotationWaitsForDescriptors(t *testing.T) {
	said, fs := &testLog{}, &filesFS{}
	cfg := testConfig(t, "n1")
	cfg.Logger = said.logger()
	cfg.OpenFS = func(dir string) (FS, error) {
		under, err := osfs.Open(dir)
		fs.FS = under
		return fs, err
	}
	n := start(t, cfg)
	c := mustConnect(t, n.ClientAddr())
	eventually(t, "put", func() error { return c.put("k", "v") })
	fs.none.Store(true)
	value := strings.Repeat("v", wire.MaxCommandBytes/2)
	acked := 0
	eventually(t, "a write that is not taken", func() error {
		if err := c.SetReadDeadline(time.Now().Add(testPatience)); err != nil {
			return err
		}
		if err := c.put(fmt.Sprint("k", acked), value); err != nil {
			return nil
		}
		acked++
		return errors.New("writes are taken")
	})
	eventually(t, "the reason", func() error {
		if !strings.Contains(said.String(), "disk.nofiles") || !strings.Contains(said.String(), "ulimit -n") {
			return errors.New(said.String())
		}
		return nil
	})
	fs.none.Store(false)
	eventually(t, "a write with descriptors", func() error {
		c := mustConnect(t, n.ClientAddr())
		defer c.Close()
		return c.put("k", "w")
	})
	for i := range acked {
		c := mustConnect(t, n.ClientAddr())
		if v, err := c.get(wire.Linearizable, fmt.Sprint("k", i)); err != nil || v != value {
			t.Errorf("acknowledged write %d: %d bytes, %v", i, len(v), err)
		}
		_ = c.Close()
	}
	if s := n.Status(); s.State != wire.StateOK {
		t.Errorf("state %v", s.State)
	}
	if strings.Contains(said.String(), "disk.full") {
		t.Error("the disk is called full")
	}
}

// The identity file names the cluster only once the entries before it are on the
// disk: a node killed between the two would refuse to start for ever.
func TestClusterIsRecordedBehindItsEntry(t *testing.T) {
	f := func(fail crashfs.Rule, later bool) {
		t.Helper()
		fs, opt := crashfs.New(), wal.Options{SegmentBytes: 16 << 10}
		if err := wal.SaveIdentity(fs, wal.Identity{Name: "n1"}); err != nil {
			t.Fatal(err)
		}
		store, _, _, err := wal.OpenStore(fs, opt)
		if err != nil {
			t.Fatal(err)
		}
		d := newDiskLoop(unlocked{fs}, opt, slog.New(slog.DiscardHandler), store)
		d.done = func(replica.Completion, []replica.ReadDone) {}
		d.retryAt = time.Now().Add(time.Hour) // nothing is prepared beside it
		recorded := func() bool {
			id, err := wal.LoadIdentity(fs)
			if err != nil {
				t.Fatal(err)
			}
			return !id.Cluster.IsZero()
		}
		fs.Inject(fail)
		e := wire.AppendEntry(nil, wire.EntryHead{Type: wire.EntryConfig, Index: 1, Term: 1}, nil, make([]byte, 8))
		d.enqueue(&replica.Store{Seq: 1, Append: [][]byte{e}, Last: 1}, nil)
		d.saveIdentity(wire.ClusterID{1}, 1)
		d.turn()
		if recorded() {
			t.Errorf("%v: recorded, though the entry was not written", fail.Err)
		}
		d.retry()
		if recorded() != later {
			t.Errorf("%v: recorded later: %v", fail.Err, !later)
		}
	}
	f(crashfs.Rule{Op: crashfs.OpWrite, Name: ".seg", Err: wal.ErrNoSpace}, true)
	f(crashfs.Rule{Op: crashfs.OpSync, Name: ".seg", Err: errBroken}, false)
}

// unlocked is a file system that nobody has to release.
type unlocked struct{ wal.FS }

func (unlocked) Close() error { return nil }
