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

// BenchmarkAppendSync is one group and one sync; BenchmarkBareWriteSync the
// same bytes to a zero-filled file without any format. p50 is in the metrics.
func BenchmarkAppendSync(b *testing.B) {
	for _, size := range []int{256, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			fs := open(b, b.TempDir())
			defer fs.Close()
			opt := wal.Options{SegmentBytes: 64 << 20, Owner: wire.ReplicaID{1}}
			l, _, err := wal.Open(fs, opt)
			must(b, err)
			defer l.Close()
			payload := bytes.Repeat([]byte("v"), size)
			batch := make([][]byte, 1)
			var entry []byte
			measure(b, func(i int) {
				entry = wire.AppendEntry(entry[:0], wire.EntryCommand, wire.Index(i+1), 1, nil, payload)
				batch[0] = entry
				if err := l.Append(batch); err != nil {
					b.Fatal(err)
				}
				if err := l.Sync(); err != nil {
					b.Fatal(err)
				}
			}, func() {
				if n, ok := l.NeedsSegment(); ok {
					must(b, wal.PrepareSegment(fs, opt, n))
					l.SegmentReady(n)
				}
			})
		})
	}
}

func BenchmarkBareWriteSync(b *testing.B) {
	for _, size := range []int{256, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			const fileBytes = 64 << 20
			fs := open(b, b.TempDir())
			defer fs.Close()
			f := zeroFilled(b, fs, fileBytes)
			defer f.Close()
			group := bytes.Repeat([]byte("v"), size+28+48+72)
			off := int64(0)
			measure(b, func(int) {
				if off+int64(len(group)) > fileBytes {
					off = 0
				}
				if _, err := f.WriteAt(group, off); err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
				off += int64(len(group))
			}, func() {})
		})
	}
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
			batch = wire.AppendEntry(batch, wire.EntryCommand, last, 1, nil, make([]byte, 300))
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

// measure times every step alone; between is not timed.
func measure(b *testing.B, step func(i int), between func()) {
	took := make([]time.Duration, 0, b.N)
	between()
	b.ResetTimer()
	for i := range b.N {
		start := time.Now()
		step(i)
		took = append(took, time.Since(start))
		b.StopTimer()
		between()
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
