package wal_test

import (
	"slices"
	"testing"

	"github.com/dnode-engine/dnode/wal"
)

// flushFS notes what is flushed of the files that are created.
type flushFS struct {
	nullFS
	flushed *[][2]int64
}

func (f flushFS) Create(string) (wal.File, error) {
	return flushFile{nullFile(f.nullFS), f.flushed}, nil
}

type flushFile struct {
	nullFile
	flushed *[][2]int64
}

func (f flushFile) Flush(off, n int64) error {
	*f.flushed = append(*f.flushed, [2]int64{off, n})
	return nil
}

// A segment is flushed without gaps, in small pieces until there is a hurry.
func TestPrepareInPieces(t *testing.T) {
	opt, asked := wal.Options{SegmentBytes: 3 << 20, Owner: owner}, 0
	f := func(about string, hurry func() bool, want ...int64) {
		t.Helper()
		fs := flushFS{nullFS{opt.SegmentBytes}, &[][2]int64{}}
		opt.Hurry = hurry
		if err := wal.PrepareSegment(fs, opt, 2); err != nil {
			t.Fatal(err)
		}
		var sizes []int64
		end := int64(0)
		for _, p := range *fs.flushed {
			if p[0] != end {
				t.Errorf("%s: flushed from %d on, after %d", about, p[0], end)
			}
			end += p[1]
			sizes = append(sizes, p[1])
		}
		if !slices.Equal(sizes, want) {
			t.Errorf("%s: flushed %d, want %d", about, sizes, want)
		}
	}
	calm := slices.Repeat([]int64{64 << 10}, 48)
	f("no hurry", nil, calm...)
	f("a hurry", func() bool { return true }, 1<<20, 1<<20, 1<<20)
	f("a hurry from the second MiB on", func() bool { asked++; return asked > 16 }, append(slices.Clone(calm[:16]), 1<<20, 1<<20)...)
}
