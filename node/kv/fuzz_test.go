package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// chunks yields the pieces of b, each behind its 16-bit length, and what is
// left over as the last piece.
func chunks(b []byte, yield func([]byte)) {
	for len(b) >= 2 {
		n := min(int(binary.LittleEndian.Uint16(b)), len(b)-2)
		yield(b[2 : 2+n])
		b = b[2+n:]
	}
	yield(b)
}

func pieces(p ...[]byte) []byte {
	var b []byte
	for _, x := range p {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(x)))
		b = append(b, x...)
	}
	return b
}

// full is a store of several pages, and its model.
func full() (*Store, model) {
	s, m := New(), model{}
	for i := range 300 {
		command := wire.AppendPut(nil, binary.BigEndian.AppendUint16([]byte("key"), uint16(i*7)), make([]byte, i*i/10))
		s.Apply(wire.Index(i+1), command, nil)
		m.apply(wire.Index(i+1), command, nil)
	}
	return s, m
}

// FuzzStore feeds the same commands to two stores, one of which compacts in
// between, and to the model, and asks the same bytes as a question of them and
// of a large store. All results, answers and hashes must be the model's; what
// Check refuses Apply refuses, and changes nothing.
func FuzzStore(f *testing.F) {
	large, largeModel := full()
	put := wire.AppendPut(nil, []byte("key"), []byte("value"))
	cas := wire.AppendCAS(nil, wire.Command{Mode: wire.CASValue, Key: []byte("key"), Expected: []byte("value"), Value: []byte("new")})
	batch := wire.AppendBatchItem(wire.AppendBatchItem(wire.AppendBatchHeader(nil, 2), put), cas)
	f.Add(pieces(put, cas, batch, wire.AppendDelete(nil, []byte("key")), wire.AppendGet(nil, []byte("key"))))
	f.Add(pieces([]byte{0}, []byte{5}, []byte{255}, nil, put[:3], batch[:9]))
	f.Add(pieces(put, wire.AppendCAS(nil, wire.Command{Mode: wire.CASRevision, Key: []byte("key"), Expected: []byte{1, 0, 0, 0, 0, 0, 0, 0}, Value: nil})))
	f.Add(pieces(wire.AppendGet(nil, []byte("key\x00\x07")), wire.AppendScan(nil, wire.Query{Limit: 3, Start: []byte("key\x01"), End: []byte("key\x02")})))
	f.Add(pieces(put, wire.AppendScan(nil, wire.Query{Flags: wire.ScanCountOnly, Limit: 3, Start: []byte("k")}), wire.AppendScan(nil, wire.Query{})))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, y, m := New(), New(), model{}
		index := wire.Index(0)
		chunks(b, func(piece []byte) {
			index++
			before := x.Hash()
			_, checked := x.Check(piece)
			got, want := x.Apply(index, piece, []byte("dst")), m.apply(index, piece, []byte("dst"))
			if other := y.Apply(index, piece, []byte("dst")); !bytes.Equal(got, want) || !bytes.Equal(other, want) {
				t.Fatalf("command %q: results %q and %q, want %q", piece, got, other, want)
			}
			if refused := wire.Status(got[3]) == wire.StatusRefused; refused != (checked != nil) || refused && x.Hash() != before {
				t.Fatalf("command %q: check says %v, apply %q", piece, checked, got)
			}
			ask(t, y, m, piece)
			ask(t, large, largeModel, piece)
			y.compactAll()
			if x.Hash() != m.hash() || y.Hash() != m.hash() {
				t.Fatalf("command %q: hashes %x and %x, want %x", piece, x.Hash(), y.Hash(), m.hash())
			}
		})
		x.check(t)
		y.check(t)
	})
}

// ask compares an answer with the model's. What the parser does not accept is
// an error, and leaves dst alone.
func ask(t *testing.T, s *Store, m model, query []byte) {
	got, err := s.Read(query, []byte("dst"))
	want := append([]byte("dst"), m.read(query)...)
	if !bytes.Equal(got, want) || (err != nil) != (len(want) == 3) {
		t.Fatalf("query %q: got %q, %v, want %q", query, got, err, want)
	}
	if err != nil && !errors.Is(err, wire.ErrMalformed) && !errors.Is(err, wire.ErrTooLarge) {
		t.Fatal(err)
	}
}
