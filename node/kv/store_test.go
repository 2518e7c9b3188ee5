package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// next applies a command at the next revision.
func (s *Store) next(command []byte) []byte { return s.Apply(s.last+1, command, nil) }

func put(key, value string) []byte { return wire.AppendPut(nil, []byte(key), []byte(value)) }

func TestResults(t *testing.T) {
	s := New()
	f := func(command []byte, want ...byte) {
		t.Helper()
		if got := s.next(command); !bytes.Equal(got, want) {
			t.Fatalf("apply %q: got %v, want %v", command, got, want)
		}
	}
	cas := func(mode wire.CASMode, expected, value string) []byte {
		return wire.AppendCAS(nil, wire.Command{Mode: mode, Key: []byte("k"), Expected: []byte(expected), Value: []byte(value)})
	}
	const ok, missing, failed, refused = byte(wire.StatusOK), byte(wire.StatusNotFound), byte(wire.StatusConditionFailed), byte(wire.StatusRefused)
	rev := func(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }

	f(cas(wire.CASValue, "", "v"), failed, 0)        // 1
	f(cas(wire.CASRevision, rev(0), "v"), failed, 0) // 2
	f(wire.AppendDelete(nil, []byte("k")), missing)  // 3
	f(cas(wire.CASAbsent, "", "v"), ok)              // 4
	f(cas(wire.CASValue, "v", "w"), ok)              // 5
	f(cas(wire.CASRevision, rev(5), "xyz"), ok)      // 6
	item := wire.Item{CreateRevision: 4, ModRevision: 6, Version: 3, Key: []byte("k"), Value: []byte("xyz")}
	want := wire.AppendItem([]byte{failed, 1}, item)
	f(cas(wire.CASAbsent, "", "no"), want...)       // 7
	f(cas(wire.CASRevision, rev(7), "no"), want...) // 8
	f(cas(wire.CASValue, "xy", "no"), want...)      // 9

	b := wire.AppendBatchHeader(nil, 5)
	b = wire.AppendBatchItem(b, cas(wire.CASAbsent, "", "no"))
	b = wire.AppendBatchItem(b, wire.AppendDelete(nil, []byte("k")))
	b = wire.AppendBatchItem(b, wire.AppendDelete(nil, []byte("k")))
	b = wire.AppendBatchItem(b, cas(wire.CASAbsent, "", "yes"))
	b = wire.AppendBatchItem(b, put("k", "last"))
	f(b, ok, 5, 0, 0, 0, 2, 0, 0, 0, failed, 0, 1, 0, 0, 0, ok, 1, 0, 0, 0, missing, 1, 0, 0, 0, ok, 1, 0, 0, 0, ok) // 10
	got, _ := s.Read(wire.AppendGet(nil, []byte("k")), nil)
	item = wire.Item{CreateRevision: 10, ModRevision: 10, Version: 2, Key: []byte("k"), Value: []byte("last")}
	if want := wire.AppendItem([]byte{ok}, item); !bytes.Equal(got, want) {
		t.Fatalf("get: got %q, want %q", got, want)
	}
	f(wire.AppendBatchHeader(nil, 0), ok, 0, 0, 0, 0)

	f(nil, refused, byte(wire.CodeBadRequest), 0)
	f([]byte{0}, refused, byte(wire.CodeUnknownType), 0)
	f([]byte{5, 1, 2}, refused, byte(wire.CodeUnknownType), 0)
	f(put("", "v"), refused, byte(wire.CodeBadRequest), 0)
	f(append(put("a", "v"), 0), refused, byte(wire.CodeBadRequest), 0)
	bad := wire.AppendBatchItem(wire.AppendBatchItem(wire.AppendBatchHeader(nil, 2), put("n", "v")), []byte{99})
	f(bad, refused, byte(wire.CodeBadRequest), 0)
	if s.Keys() != 1 {
		t.Fatalf("a refused batch was carried out in part")
	}
}

func TestLimits(t *testing.T) {
	s := New()
	key := bytes.Repeat([]byte("k"), wire.MaxKeyBytes)
	value := make([]byte, wire.MaxCommandBytes-7-len(key))
	largest := wire.AppendPut(nil, key, value)
	f := func(name string, command []byte, code wire.Code) {
		t.Helper()
		_, err := s.Check(command)
		got := s.next(command)
		if code == 0 {
			if err != nil || wire.Status(got[0]) != wire.StatusOK {
				t.Fatalf("%s: check %v, result %v", name, err, got)
			}
			return
		}
		if !errors.Is(err, wire.ErrTooLarge) || !bytes.Equal(got, []byte{byte(wire.StatusRefused), byte(code), 0}) {
			t.Fatalf("%s: check %v, result %v", name, err, got)
		}
	}
	deletes := func(n int) []byte {
		b := wire.AppendBatchHeader(nil, n)
		for range n {
			b = wire.AppendBatchItem(b, wire.AppendDelete(nil, []byte("k")))
		}
		return b
	}
	f("largest command", largest, 0)
	f("one byte more", wire.AppendPut(nil, key, append(value, 0)), wire.CodeTooLarge)
	f("key too long", wire.AppendDelete(nil, append(key, 0)), wire.CodeTooLarge)
	f("largest batch", deletes(wire.MaxBatchOps), 0)
	f("batch too long", deletes(wire.MaxBatchOps+1), wire.CodeTooLarge)

	got, err := s.Read(wire.AppendGet(nil, key), nil)
	if err != nil || len(got) > wire.MaxFrameBytes-256 {
		t.Fatalf("largest get: %d bytes, %v", len(got), err)
	}
	it, rest, err := wire.ParseItem(got[1:])
	if err != nil || len(rest) > 0 || !bytes.Equal(it.Key, key) || len(it.Value) != len(value) {
		t.Fatalf("largest item does not come back: %v", err)
	}
	if _, err := s.Read(wire.AppendGet(nil, append(key, 0)), nil); !errors.Is(err, wire.ErrTooLarge) {
		t.Fatalf("long key: %v", err)
	}
	if _, err := s.Read(wire.AppendGet(nil, nil), nil); !errors.Is(err, wire.ErrMalformed) {
		t.Fatalf("empty key: %v", err)
	}
	s.check(t)
}

// TestScanPages walks ranges page by page, as a client does, and expects every
// key once, in order, and pages within their bounds.
func TestScanPages(t *testing.T) {
	s := New()
	const keys = 25_000
	for i := range keys {
		size := 20
		if i%1000 == 0 {
			size = 200_000
		}
		s.next(put(fmt.Sprintf("key%05d", i), string(make([]byte, size))))
	}
	f := func(flags wire.ScanFlags, limit uint32, wantPages int) {
		t.Helper()
		start, seen, pages := []byte("key"), 0, 0
		for more := true; more; pages++ {
			q := wire.Query{Flags: flags, Limit: limit, Start: start, End: []byte("key24999")}
			got, err := s.Read(wire.AppendScan(nil, q), nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := wire.ParseScanResult(got)
			if err != nil || res.Count > wire.MaxScanKeys || len(res.Items) > wire.ScanPageBytes {
				t.Fatalf("page of %d keys, %d bytes: %v", res.Count, len(res.Items), err)
			}
			more = res.More
			if flags&wire.ScanCountOnly != 0 {
				seen += res.Count
				if more {
					it, rest, err := wire.ParseItem(res.Items)
					if err != nil || len(rest) > 0 || len(it.Value) > 0 || string(it.Key) != fmt.Sprintf("key%05d", seen) {
						t.Fatalf("count goes on from %q: %v", it.Key, err)
					}
					start = bytes.Clone(it.Key)
				}
				continue
			}
			for range res.Count {
				var it wire.Item
				if it, res.Items, err = wire.ParseItem(res.Items); err != nil || string(it.Key) != fmt.Sprintf("key%05d", seen) {
					t.Fatalf("item %d is %q: %v", seen, it.Key, err)
				}
				if (flags == 0) != (len(it.Value) > 0) || it.ModRevision != wire.Index(seen+1) {
					t.Fatalf("item %q: %d value bytes, revision %d", it.Key, len(it.Value), it.ModRevision)
				}
				seen++
				start = append(append(start[:0], it.Key...), 0)
			}
		}
		if seen != keys-1 || pages != wantPages {
			t.Fatalf("flags %d limit %d: %d keys on %d pages, want %d on %d", flags, limit, seen, pages, keys-1, wantPages)
		}
	}
	f(0, 0, 7)
	f(0, 1000, 25)
	f(wire.ScanKeysOnly, 0, 3)
	f(wire.ScanCountOnly, 0, 3)
	f(wire.ScanCountOnly|wire.ScanKeysOnly, 8333, 3)
	f(wire.ScanKeysOnly, 24_999, 3)
}

// TestHashTellsFieldsApart changes one bit of one field at a time, and
// requires the hash to change in about half of its bits.
func TestHashTellsFieldsApart(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	flips, bitsChanged := 0, 0
	for size := range 70 {
		item := wire.AppendItem(nil, wire.Item{CreateRevision: 3, ModRevision: 9, Version: 2, Key: make([]byte, 1+size/2), Value: make([]byte, size)})
		if size%2 == 0 {
			for i := wire.ItemHeaderBytes; i < len(item); i++ {
				item[i] = byte(rnd.Uint32())
			}
		}
		h := hashWire(item)
		for bit := range len(item) * 8 {
			item[bit/8] ^= 1 << (bit % 8)
			changed := bits.OnesCount64(h ^ hashWire(item))
			item[bit/8] ^= 1 << (bit % 8)
			if changed < 8 {
				t.Fatalf("size %d: bit %d changes only %d bits of the hash", size, bit, changed)
			}
			flips++
			bitsChanged += changed
		}
	}
	if avg := float64(bitsChanged) / float64(flips); avg < 31.5 || avg > 32.5 {
		t.Fatalf("a flipped bit changes %.2f bits of the hash on average", avg)
	}
	// Bytes that move between key and value, and zeros at the end.
	f := func(a, b wire.Item) {
		t.Helper()
		if hashWire(wire.AppendItem(nil, a)) == hashWire(wire.AppendItem(nil, b)) {
			t.Fatalf("%v and %v have one hash", a, b)
		}
	}
	f(wire.Item{Key: []byte("ab"), Value: []byte("c")}, wire.Item{Key: []byte("a"), Value: []byte("bc")})
	f(wire.Item{Key: []byte("a"), Value: []byte{}}, wire.Item{Key: []byte("a"), Value: []byte{0}})
	f(wire.Item{Key: []byte("a"), Value: make([]byte, 64)}, wire.Item{Key: []byte("a"), Value: make([]byte, 96)})
}

// TestHashOfState reaches one state by two ways, and others that differ from
// it in one thing each.
func TestHashOfState(t *testing.T) {
	build := func(commands ...[]byte) *Store {
		s := New()
		for i, c := range commands {
			if c != nil {
				s.Apply(wire.Index(i+1), c, nil)
			}
		}
		return s
	}
	del := func(key string) []byte { return wire.AppendDelete(nil, []byte(key)) }
	a := build(put("x", "1"), put("y", "2"), put("x", "3"))
	same := build(put("x", "9"), put("y", "2"), put("x", "3"), put("z", "4"), del("z"))
	if a.Hash() != same.Hash() {
		t.Fatalf("equal states have hashes %x and %x", a.Hash(), same.Hash())
	}
	f := func(name string, commands ...[]byte) {
		t.Helper()
		if got := build(commands...); got.Hash() == a.Hash() {
			t.Fatalf("a different %s does not change the hash", name)
		}
	}
	f("value", put("x", "1"), put("y", "2"), put("x", "4"))
	f("key", put("x", "1"), put("w", "2"), put("x", "3"))
	f("owner of values", put("x", "1"), put("y", "3"), put("x", "2"))
	f("version and create revision", nil, put("y", "2"), put("x", "3"))
	f("version", put("x", "1"), wire.AppendBatchItem(wire.AppendBatchItem(wire.AppendBatchHeader(nil, 2), put("x", "0")), put("y", "2")), put("x", "3"))
	f("create revision", nil, wire.AppendBatchItem(wire.AppendBatchItem(wire.AppendBatchHeader(nil, 2), put("x", "0")), put("y", "2")), put("x", "3"))
	f("mod revision", put("x", "1"), put("y", "2"), nil, put("x", "3"))
	f("number of keys", put("x", "1"), put("y", "2"), put("x", "3"), put("z", ""))
	if empty := build(put("x", "1"), del("x")); empty.Hash() != New().Hash() || empty.Bytes() != 0 {
		t.Fatalf("an emptied store has hash %x and %d bytes", empty.Hash(), empty.Bytes())
	}
}

// TestIndexGoesForward: an entry applied twice would be a fault of the caller
// that must not go on.
func TestIndexGoesForward(t *testing.T) {
	s := New()
	s.Apply(5, put("k", "v"), nil)
	defer func() {
		if recover() == nil {
			t.Fatal("an old index was applied")
		}
	}()
	s.Apply(5, put("k", "v"), nil)
}
