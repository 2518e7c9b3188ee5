package wal_test

import (
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
)

// nullFS is a folder of one kind of file, which keeps nothing but zeros.
type nullFS struct{ size int64 }

func (n nullFS) Create(string) (wal.File, error) { return nullFile(n), nil }
func (n nullFS) Open(name string) (wal.File, error) {
	if name == "fence" || name == "identity" {
		return nil, wal.ErrNotExist
	}
	return nullFile(n), nil
}
func (nullFS) Rename(_, _ string) error      { return nil }
func (nullFS) Remove(string) error           { return nil }
func (nullFS) List(string) ([]string, error) { return nil, nil }
func (nullFS) SyncDir(string) error          { return nil }
func (nullFS) MkdirAll(string) error         { return nil }

type nullFile struct{ size int64 }

func (nullFile) ReadAt(p []byte, _ int64) (int, error)  { return len(p), nil }
func (nullFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nullFile) Sync() error                            { return nil }
func (n nullFile) Size() (int64, error)                 { return n.size, nil }
func (nullFile) Close() error                           { return nil }

// Appending and syncing allocates nothing in steady state; nor does Seal.
func TestAppendDoesNotAllocate(t *testing.T) {
	l, _ := mustOpen(t, nullFS{64 << 20}, wal.Options{SegmentBytes: 64 << 20, Owner: owner})
	template := entries(1, 20, 1, 256)
	batch := make([][]byte, 2)
	next := wire.Index(1)
	step := func() {
		b := template
		for len(b) > 0 { // same batch, next indexes
			n := int(uint32(b[0]) | uint32(b[1])<<8)
			for i := range 8 {
				b[8+i] = byte(next >> (8 * i))
			}
			b = b[n:]
			next++
		}
		batch[0], batch[1] = template[:284], template[284:]
		if err := l.Append(batch); err != nil {
			t.Fatal(err)
		}
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2000 {
		step()
	}
	if n := testing.AllocsPerRun(2000, step); n > 0.01 {
		t.Errorf("%v allocations per append and sync", n)
	}
	seal := func() {
		step()
		if err := l.Seal(); err != nil {
			t.Fatal(err)
		}
	}
	seal()
	if n := testing.AllocsPerRun(100, seal); n > 0.1 {
		t.Errorf("%v allocations per append, sync and seal", n)
	}
}

// Nor does reading, into memory that is large enough.
func TestReadDoesNotAllocate(t *testing.T) {
	l, _ := mustOpen(t, crashfs.New(), wal.Options{SegmentBytes: 64 << 10, Owner: owner})
	for i := wire.Index(1); i <= 300; i++ {
		must(t, l.Append(runs(entry(i, 1, 300))))
	}
	dst := make([]byte, 0, 64<<10)
	for _, lo := range []wire.Index{300, 10} { // active and sealed segment
		read := func() {
			if _, err := l.Read(dst, lo, 32<<10); err != nil {
				t.Fatal(err)
			}
		}
		read()
		if n := testing.AllocsPerRun(100, read); n > 0 {
			t.Errorf("%v allocations per read from %d", n, lo)
		}
	}
}

// BenchmarkAppendEntry is the cost per entry without a disk, in groups of 500.
func BenchmarkAppendEntry(b *testing.B) {
	l, _ := mustOpen(b, nullFS{64 << 20}, wal.Options{SegmentBytes: 64 << 20, Owner: owner})
	const group = 500
	batch := entries(1, group, 1, 300)
	b.SetBytes(int64(len(batch) / group))
	for i := 0; b.Loop(); i++ {
		if i%group > 0 {
			continue
		}
		if err := l.Append(runs(batch)); err != nil { // supersedes itself
			b.Fatal(err)
		}
	}
}
