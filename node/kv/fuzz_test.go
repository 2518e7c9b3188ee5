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

// FuzzApply feeds the same bytes to two stores, one of which reads and
// compacts in between: no panic, the same results and hash; Check agrees with
// what Apply refuses, and a refusal changes nothing.
func FuzzApply(f *testing.F) {
	put := wire.AppendPut(nil, []byte("key"), []byte("value"))
	cas := wire.AppendCAS(nil, wire.Command{Mode: wire.CASValue, Key: []byte("key"), Expected: []byte("value"), Value: []byte("new")})
	batch := wire.AppendBatchItem(wire.AppendBatchItem(wire.AppendBatchHeader(nil, 2), put), cas)
	f.Add(pieces(put, cas, batch, wire.AppendDelete(nil, []byte("key"))))
	f.Add(pieces([]byte{0}, []byte{5}, []byte{255}, nil, put[:3], batch[:9]))
	f.Add(pieces(wire.AppendCAS(nil, wire.Command{Mode: wire.CASRevision, Key: []byte("k"), Expected: make([]byte, 8), Value: nil})))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, y := New(), New()
		index := wire.Index(0)
		chunks(b, func(command []byte) {
			index++
			before := x.Hash()
			_, checked := x.Check(command)
			got := x.Apply(index, command, nil)
			if other := y.Apply(index, command, nil); !bytes.Equal(got, other) {
				t.Fatalf("results %q and %q", got, other)
			}
			if refused := wire.Status(got[0]) == wire.StatusRefused; refused != (checked != nil) || refused && (x.Hash() != before || len(got) != 3) {
				t.Fatalf("command %q: check says %v, apply %q", command, checked, got)
			}
			if _, err := y.Read(command, nil); err != nil && !errors.Is(err, wire.ErrMalformed) && !errors.Is(err, wire.ErrTooLarge) {
				t.Fatal(err)
			}
			y.compactAll()
		})
		if x.Hash() != y.Hash() {
			t.Fatalf("hashes %x and %x", x.Hash(), y.Hash())
		}
		x.check(t)
		y.check(t)
	})
}

// FuzzRead asks arbitrary questions: what the parser accepts is answered as
// the model answers it, the rest is an error and leaves dst alone.
func FuzzRead(f *testing.F) {
	s, m := New(), model{}
	for i := range 300 {
		command := wire.AppendPut(nil, binary.BigEndian.AppendUint16([]byte("key"), uint16(i*7)), make([]byte, i*i/10))
		s.Apply(wire.Index(i+1), command, nil)
		m.apply(wire.Index(i+1), command, nil)
	}
	f.Add(wire.AppendGet(nil, []byte("key\x00\x07")))
	f.Add(wire.AppendScan(nil, wire.Query{Limit: 3, Start: []byte("key\x01"), End: []byte("key\x02")}))
	f.Add(wire.AppendScan(nil, wire.Query{Flags: wire.ScanCountOnly, Limit: 3, Start: []byte("k")}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, query []byte) {
		got, err := s.Read(query, []byte("dst"))
		want := append([]byte("dst"), m.read(query)...)
		if !bytes.Equal(got, want) || (err != nil) != (len(want) == 3) {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	})
}
