package wal_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
	"github.com/dnode-engine/dnode/wire"
)

var (
	owner = wire.ReplicaID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	small = wal.Options{SegmentBytes: 4 << 10, Owner: owner}
)

// entry makes one encoded entry whose content depends on index and term.
func entry(index wire.Index, term wire.Term, size int) []byte {
	payload := make([]byte, max(size, 8))
	binary.LittleEndian.PutUint64(payload, uint64(index)*1000+uint64(term))
	for i := 8; i < len(payload); i++ {
		payload[i] = byte(uint64(index)*7 + uint64(term)*31 + uint64(i))
	}
	typ := wire.EntryCommand
	if index%10 == 0 {
		typ = wire.EntryConfig
	}
	return wire.AppendEntry(nil, wire.EntryHead{Type: typ, Index: index, Term: term}, nil, payload)
}

// entries makes a run of entries from first to last.
func entries(first, last wire.Index, term wire.Term, size int) []byte {
	var b []byte
	for i := first; i <= last; i++ {
		b = append(b, entry(i, term, size)...)
	}
	return b
}

func runs(b ...[]byte) [][]byte { return b }

// model is what the log should hold: model[i] is entry i+1.
type model [][]byte

func (m *model) append(b []byte) {
	for len(b) > 0 {
		n := binary.LittleEndian.Uint32(b)
		index := binary.LittleEndian.Uint64(b[8:])
		*m = append((*m)[:index-1], b[:n])
		b = b[n:]
	}
}

func (m model) bytes() []byte { return bytes.Join(m, nil) }

// said compares what recovery says of the log with what it holds.
func (m model) said(rec *wal.Recovered) error {
	want := wal.Recovered{First: 1, Last: wire.Index(len(m))}
	for _, b := range m {
		e, err := wire.ParseEntry(b)
		if err != nil {
			return err
		}
		if n := len(want.Runs); n == 0 || want.Runs[n-1].Term != e.Term {
			want.Runs = append(want.Runs, wire.TermRun{First: e.Index, Term: e.Term})
		}
		if e.Type == wire.EntryConfig {
			want.Configs = append(want.Configs, wal.ConfigEntry{Index: e.Index, Term: e.Term, Payload: e.Payload})
		}
		want.LastTime, _ = e.Time()
	}
	sameConfig := func(a, b wal.ConfigEntry) bool {
		return a.Index == b.Index && a.Term == b.Term && bytes.Equal(a.Payload, b.Payload)
	}
	switch {
	case rec.First != want.First || rec.Last != want.Last || rec.LastTime != want.LastTime:
		return fmt.Errorf("recovered %d to %d, time %d, want %d to %d, time %d", rec.First, rec.Last, rec.LastTime, want.First, want.Last, want.LastTime)
	case !slices.Equal(rec.Runs, want.Runs):
		return fmt.Errorf("recovered terms %v, want %v", rec.Runs, want.Runs)
	case !slices.EqualFunc(rec.Configs, want.Configs, sameConfig):
		return fmt.Errorf("recovered configurations %v, want %v", rec.Configs, want.Configs)
	}
	return nil
}

func mustOpen(t testing.TB, fs wal.FS, opt wal.Options) (*wal.Log, *wal.Recovered) {
	t.Helper()
	l, rec, err := wal.Open(fs, opt)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return l, rec
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// readAll reads the whole log in steps of at most maxBytes.
func readAll(l *wal.Log, maxBytes int) ([]byte, error) {
	var out []byte
	for lo := l.First(); lo <= l.Last(); {
		b, err := l.Read(nil, lo, maxBytes)
		if err != nil {
			return out, err
		}
		out = append(out, b...)
		for len(b) > 0 {
			e, err := wire.ParseEntry(b)
			if err != nil {
				return out, err
			}
			if e.Index != lo {
				return out, fmt.Errorf("entry %d where %d was due", e.Index, lo)
			}
			b = b[e.Size:]
			lo++
		}
	}
	return out, nil
}

func expect(t testing.TB, l *wal.Log, m model) {
	t.Helper()
	if int(l.Last()) != len(m) {
		t.Fatalf("last is %d, want %d", l.Last(), len(m))
	}
	for _, step := range []int{1, 1000, 1 << 20} {
		got, err := readAll(l, step)
		if err != nil {
			t.Fatalf("read in steps of %d: %v", step, err)
		}
		if !bytes.Equal(got, m.bytes()) {
			t.Fatalf("read in steps of %d gives other bytes than were appended", step)
		}
	}
}

var _ = crashfs.New
