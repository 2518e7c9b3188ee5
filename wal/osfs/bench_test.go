package osfs_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/osfs"
	"github.com/dnode-engine/dnode/wire"
)

// BenchmarkAppendSync times one group and one sync, and in turn with it the
// bare write and sync of as many bytes to a zero-filled file, so that both see
// the same disk. The metrics are medians and 99th percentiles of each.
func BenchmarkAppendSync(b *testing.B) {
	for _, size := range []int{256, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			fs := open(b, b.TempDir())
			defer fs.Close()
			opt := wal.Options{SegmentBytes: 64 << 20, Owner: wire.ReplicaID{1}}
			l, _, err := wal.Open(fs, opt)
			must(b, err)
			defer l.Close()
			bare := newBareLog(b, fs, opt.SegmentBytes)
			defer bare.f.Close()
			payload := bytes.Repeat([]byte("v"), size)
			group := bytes.Repeat([]byte("v"), size+28+48+72)
			batch := make([][]byte, 1)
			var ours, theirs []time.Duration
			for i := range b.N {
				if n, ok := l.NeedsSegment(); ok {
					must(b, wal.PrepareSegment(fs, opt, n))
					l.SegmentReady(n)
				}
				start := time.Now()
				batch[0] = wire.AppendEntry(batch[0][:0], wire.EntryHead{Type: wire.EntryCommand, Index: wire.Index(i + 1), Term: 1}, nil, payload)
				must(b, l.Append(batch))
				must(b, l.Sync())
				middle := time.Now()
				bare.write(b, group)
				ours, theirs = append(ours, middle.Sub(start)), append(theirs, time.Since(middle))
			}
			report(b, ours, "")
			report(b, theirs, "bare-")
		})
	}
}

// bareLog is what the format is compared with.
type bareLog struct {
	f    wal.File
	off  int64
	size int64
}

func newBareLog(b *testing.B, fs *osfs.FS, size int64) *bareLog {
	return &bareLog{f: zeroFilled(b, fs, size), size: size}
}

func (l *bareLog) write(b *testing.B, p []byte) {
	if l.off+int64(len(p)) > l.size {
		l.off = 0
	}
	_, err := l.f.WriteAt(p, l.off)
	must(b, err)
	must(b, l.f.Sync())
	l.off += int64(len(p))
}

func report(b *testing.B, took []time.Duration, prefix string) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), prefix+"p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), prefix+"p99-µs")
}

func zeroFilled(b *testing.B, fs *osfs.FS, size int64) wal.File {
	f, err := fs.Create("bare")
	must(b, err)
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(zeros)) {
		_, err := f.WriteAt(zeros, off)
		must(b, err)
	}
	must(b, f.Sync())
	return f
}

// BenchmarkOpen is the recovery of a log of 128 MiB in the page cache.
func BenchmarkOpen(b *testing.B) {
	fs := open(b, b.TempDir())
	defer fs.Close()
	opt := wal.Options{SegmentBytes: 64 << 20, Owner: wire.ReplicaID{1}}
	l, _, err := wal.Open(fs, opt)
	must(b, err)
	var batch []byte
	last := wire.Index(0)
	for written := 0; written < 128<<20; written += len(batch) {
		batch = batch[:0]
		for range 500 {
			last++
			batch = wire.AppendEntry(batch, wire.EntryHead{Type: wire.EntryCommand, Index: last, Term: 1}, nil, make([]byte, 300))
		}
		must(b, l.Append([][]byte{batch}))
	}
	must(b, l.Close())
	b.SetBytes(128 << 20)
	for b.Loop() {
		l, rec, err := wal.Open(fs, opt)
		must(b, err)
		if rec.Last != last {
			b.Fatal(rec)
		}
		must(b, l.Close())
	}
}
