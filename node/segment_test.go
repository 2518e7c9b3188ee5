package node

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/osfs"
	"github.com/dnode-engine/dnode/wire"
)

// segmentFS tampers with how the next segment is prepared and taken over.
type segmentFS struct {
	FS
	create func() // before a segment is prepared
	broken bool   // a prepared segment's name cannot be made durable; used by the disk goroutine alone
	taken  bool
}

func (f *segmentFS) Create(name string) (wal.File, error) {
	if strings.HasSuffix(name, ".new") && f.create != nil {
		f.create()
	}
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
	d.takeOver(2)
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
