package wal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
	"pgregory.net/rapid"
)

// machine drives a log and a model of it through random histories.
type machine struct {
	fs   *crashfs.FS
	l    *wal.Log
	opt  wal.Options
	w    witness
	term wire.Term

	durable  stretch // at the last sync
	attested stretch // by a record behind it
	fresh    bool    // nothing was appended since the log was sealed
}

func (m *machine) open(t *rapid.T) {
	m.opt.SegmentBytes = rapid.SampledFrom([]int64{4 << 10, 16 << 10, 200<<10 + 512}).Draw(t, "segment")
	l, rec, err := wal.Open(m.fs, m.opt)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(l, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var found model
	if found.append(got); !m.w.allows(found) || int(rec.Last) != len(found) {
		t.Fatalf("opened with %d entries, acknowledged %d", len(found), len(m.w.acked))
	}
	if err := found.said(rec); err != nil {
		t.Fatal(err)
	}
	m.l, m.w = l, witness{acked: found}
	m.durable, m.attested, m.fresh = m.used(t), stretch{}, true
}

func (m *machine) append(t *rapid.T) {
	last := len(m.now())
	first := last + 1 - rapid.IntRange(0, min(last, rapid.SampledFrom([]int{0, 0, 3, 1000}).Draw(t, "back"))).Draw(t, "superseded")
	n := rapid.IntRange(1, rapid.SampledFrom([]int{1, 4, 60}).Draw(t, "most")).Draw(t, "count")
	term := wire.Term(1)
	if first > 1 {
		term = termOf(m.now()[first-2])
	}
	if first <= last { // by another leader, whose entries here may be of an older term
		term += wire.Term(rapid.IntRange(0, int(m.term-term)+1).Draw(t, "newer"))
	}
	var b []byte
	var split [][]byte
	for i := range n {
		if i > 0 && rapid.IntRange(0, 9).Draw(t, "newTerm") == 0 {
			term++
		}
		e := entry(wire.Index(first+i), term, rapid.SampledFrom([]int{8, 30, 250, 2000}).Draw(t, "size"))
		b = append(b, e...)
		split = append(split, e)
	}
	m.term = max(m.term, term)
	m.w.tried = append(m.w.tried, b...)
	if rapid.Bool().Draw(t, "split") {
		split = [][]byte{nil, b, nil}
	}
	if err := m.l.Append(split); err != nil {
		t.Fatal(err)
	}
	m.attested, m.fresh = m.durable, false
}

func termOf(e []byte) wire.Term { return wire.Term(binary.LittleEndian.Uint64(e[16:])) }

func (m *machine) seal(t *rapid.T) {
	if !m.fresh {
		m.attested, m.fresh = m.used(t), true
	}
	if err := m.l.Seal(); err != nil {
		t.Fatal(err)
	}
	m.sync(t)
}

// now is what a reader should see.
func (m *machine) now() model {
	now := append(model(nil), m.w.acked...)
	now.append(m.w.tried)
	return now
}

func (m *machine) sync(t *rapid.T) {
	if err := m.l.Sync(); err != nil {
		t.Fatal(err)
	}
	m.w.acked.append(m.w.tried)
	m.w.tried = nil
	m.durable = m.used(t)
}

func (m *machine) read(t *rapid.T) {
	now := m.now()
	if len(now) == 0 {
		return
	}
	lo := rapid.IntRange(1, len(now)).Draw(t, "lo")
	limit := rapid.SampledFrom([]int{0, 100, 5000, 1 << 20}).Draw(t, "limit")
	got, err := m.l.Read([]byte("before"), wire.Index(lo), limit)
	if err != nil {
		t.Fatal(err)
	}
	want := []byte("before")
	for i := lo; i <= len(now); i++ {
		if i > lo && len(want)-6+len(now[i-1]) > limit {
			break
		}
		want = append(want, now[i-1]...)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("read from %d, at most %d bytes: %d bytes, want %d", lo, limit, len(got), len(want))
	}
}

// stretch is what is in use of a file.
type stretch struct {
	file string
	end  int64
}

// used returns the last segment that was written to.
func (m *machine) used(t *rapid.T) (u stretch) {
	names, err := m.fs.List("wal")
	if err != nil {
		t.Fatal(err)
	}
	for _, base := range names {
		if end := len(bytes.TrimRight(m.fs.Bytes("wal/"+base), "\x00")); end > crashfs.SectorBytes {
			u = stretch{"wal/" + base, int64(end)}
		}
	}
	return u
}

// rot damages one byte of what a later record attests. It is no torn tail: nothing
// may be cut.
func (m *machine) rot(t *rapid.T) {
	if m.attested.end == 0 {
		return
	}
	img := m.fs.Kill()
	at := m.attested.end - 1 - rapid.Int64Range(0, m.attested.end-crashfs.SectorBytes-1).Draw(t, "before the end")
	if err := img.Flip(m.attested.file, at, 1); err != nil {
		t.Fatal(err)
	}
	var c *wal.CorruptError
	if _, _, err := wal.Open(img, m.opt); !errors.As(err, &c) {
		t.Fatalf("a flipped bit at offset %d of %s: %v", at, m.attested.file, err)
	}
}

// Any history of appends, supersessions, seals, crashes and restarts leaves
// the log equal to the model.
func TestLogAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{fs: crashfs.New(), term: 1, opt: wal.Options{Owner: owner}}
		m.open(t)
		t.Repeat(map[string]func(*rapid.T){
			"append": m.append,
			"sync":   m.sync,
			"read":   m.read,
			"seal":   m.seal,
			"rot":    m.rot,
			"prepare": func(t *rapid.T) {
				if n, ok := m.l.NeedsSegment(); ok {
					if err := wal.PrepareSegment(m.fs, m.opt, n); err != nil {
						t.Fatal(err)
					}
					m.l.SegmentReady(n)
				}
			},
			"crash": func(t *rapid.T) {
				m.fs = m.fs.Crash(rapid.Uint64().Draw(t, "seed"))
				m.open(t)
			},
			"kill": func(t *rapid.T) { m.fs = m.fs.Kill(); m.open(t) },
			"close": func(t *rapid.T) {
				if err := m.l.Close(); err != nil {
					t.Fatal(err)
				}
				m.open(t)
			},
		})
	})
}
