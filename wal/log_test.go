package wal_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
)

func TestAppendReadReopen(t *testing.T) {
	fs := crashfs.New()
	l, rec := mustOpen(t, fs, small)
	if rec.First != 1 || rec.Last != 0 {
		t.Fatalf("new log: %+v", rec)
	}
	var m model
	for i := wire.Index(1); i <= 200; i += 5 {
		b := entries(i, i+4, wire.Term(1+i/50), int(i))
		m.append(b)
		must(t, l.Append(runs(b)))
		must(t, l.Sync())
	}
	b := entries(150, 160, 9, 300)
	m.append(b)
	must(t, l.Append(runs(b[:0], b)))
	must(t, l.Sync())
	expect(t, l, m)

	again, rec := mustOpen(t, fs.Kill(), small)
	expect(t, again, m)
	if rec.Last != 160 || rec.LastTime != 160_009 || rec.Cut != nil || len(rec.Configs) != 16 {
		t.Fatalf("recovered %+v", rec)
	}
	must(t, l.Close())
	again, rec = mustOpen(t, fs.Crash(1), small)
	expect(t, again, m)
	if rec.Last != 160 || rec.Runs[len(rec.Runs)-1] != (wire.TermRun{First: 150, Term: 9}) {
		t.Fatalf("recovered %+v", rec)
	}
	b = entries(161, 163, 9, 3000)
	m.append(b)
	must(t, again.Append(runs(b)))
	must(t, again.Sync())
	expect(t, again, m)
}

// Entries of the largest size, in segments of the smallest that the server
// allows; a batch larger than a group, and one larger than a segment.
func TestLargestEntries(t *testing.T) {
	opt := wal.Options{SegmentBytes: wire.MinSegmentBytes, Owner: owner}
	fs := crashfs.New()
	l, _ := mustOpen(t, fs, opt)
	var m model
	const payload = wire.MaxEntryBytes - wire.EntryHeaderBytes
	for _, n := range []wire.Index{1, 6, 12} {
		next := wire.Index(len(m) + 1)
		b := entries(next, next+n-1, 1, payload)
		m.append(b)
		must(t, l.Append(runs(b)))
		must(t, l.Sync())
	}
	expect(t, l, m)
	l, rec := mustOpen(t, fs.Crash(1), opt)
	if rec.Cut != nil {
		t.Fatal(rec.Cut)
	}
	expect(t, l, m)
}

// A seal whose index is not that of its groups is refused, though it verifies.
func TestSealIndexIsChecked(t *testing.T) {
	fs := crashfs.New()
	l, _ := mustOpen(t, fs, small)
	must(t, l.Append(runs(entry(1, 1, 3000))))
	l.SpoilIndex()
	must(t, l.Append(runs(entry(2, 1, 3000))))
	must(t, l.Sync())
	var c *wal.CorruptError
	if _, _, err := wal.Open(fs, small); !errors.As(err, &c) || c.File != "wal/00000001.seg" {
		t.Fatal(err)
	}
}

// A segment is filled to each of its last places. There is always room for an idle
// seal and for the one that ends the segment, whatever the last group adds to its
// index.
func TestSealsHaveRoom(t *testing.T) {
	for size := 2400; size < 3200; size += 8 {
		for _, last := range []struct {
			back int
			term wire.Term
		}{{0, 1}, {0, 2}, {1, 1}, {1, 2}} {
			fs := crashfs.New()
			l, _ := mustOpen(t, fs, small)
			var m model
			for _, b := range [][]byte{entry(1, 1, 8), entry(2, 1, size), entry(wire.Index(3-last.back), last.term, 8)} {
				m.append(b)
				must(t, l.Append(runs(b)))
			}
			must(t, l.Seal())
			b := entry(wire.Index(len(m)+1), last.term, 3000)
			m.append(b)
			must(t, l.Append(runs(b)))
			must(t, l.Sync())
			l, _, err := wal.Open(fs.Crash(0), small)
			if err != nil {
				t.Fatalf("an entry of %d bytes, then %+v: %v", size, last, err)
			}
			got, err := readAll(l, 1<<20)
			if err != nil || !bytes.Equal(got, m.bytes()) {
				t.Fatalf("an entry of %d bytes, then %+v: %d bytes, want %d: %v", size, last, len(got), len(m.bytes()), err)
			}
		}
	}
}
