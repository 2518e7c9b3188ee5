package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/dnode-engine/dnode/wire"
	"pgregory.net/rapid"
)

// model is the obvious key-value store, to compare with.
type model map[string]wire.Item

func (m model) apply(index wire.Index, command, dst []byte) []byte {
	c, err := wire.ParseCommand(command)
	if err != nil {
		code := wire.CodeBadRequest
		if errors.Is(err, wire.ErrTooLarge) {
			code = wire.CodeTooLarge
		} else if len(command) > 0 && wire.Op(command[0]).String() == "invalid" {
			code = wire.CodeUnknownType
		}
		return append(dst, byte(wire.StatusRefused), byte(code), 0)
	}
	if c.Op != wire.OpBatch {
		return append(dst, m.one(index, c)...)
	}
	dst = append(dst, byte(wire.StatusOK))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(c.Count))
	for rest := c.Batch; len(rest) > 0; {
		var item wire.Command
		item, rest, _ = wire.NextBatchItem(rest)
		res := m.one(index, item)
		if wire.Status(res[0]) == wire.StatusConditionFailed {
			res = []byte{byte(wire.StatusConditionFailed), 0}
		}
		dst = wire.AppendBatchItem(dst, res)
	}
	return dst
}

func (m model) one(index wire.Index, c wire.Command) []byte {
	old, exists := m[string(c.Key)]
	switch c.Op {
	case wire.OpDelete:
		if !exists {
			return []byte{byte(wire.StatusNotFound)}
		}
		delete(m, string(c.Key))
		return []byte{byte(wire.StatusOK)}
	case wire.OpCAS:
		ok := false
		switch c.Mode {
		case wire.CASAbsent:
			ok = !exists
		case wire.CASValue:
			ok = exists && bytes.Equal(old.Value, c.Expected)
		case wire.CASRevision:
			ok = exists && old.ModRevision == c.Revision()
		}
		if !ok && exists {
			return wire.AppendItem([]byte{byte(wire.StatusConditionFailed), 1}, old)
		} else if !ok {
			return []byte{byte(wire.StatusConditionFailed), 0}
		}
	}
	it := wire.Item{CreateRevision: index, ModRevision: index, Version: 1, Key: bytes.Clone(c.Key), Value: bytes.Clone(c.Value)}
	if exists {
		it.CreateRevision, it.Version = old.CreateRevision, old.Version+1
	}
	m[string(c.Key)] = it
	return []byte{byte(wire.StatusOK)}
}

func (m model) keys() []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// scan returns the page that a query is promised, before encoding.
func (m model) scan(q wire.Query) (items []wire.Item, count int, more bool) {
	size := 0
	for _, k := range m.keys() {
		if k < string(q.Start) || len(q.End) > 0 && k >= string(q.End) {
			continue
		}
		it := m[k]
		if q.Flags != 0 {
			it.Value = nil
		}
		n := wire.ItemHeaderBytes + len(it.Key) + len(it.Value)
		if q.Flags&wire.ScanCountOnly != 0 {
			n = 0
		}
		if count == int(q.Limit) || count > 0 && size+n > wire.ScanPageBytes {
			if q.Flags&wire.ScanCountOnly != 0 {
				items = []wire.Item{it}
			}
			return items, count, true
		}
		count++
		size += n
		if q.Flags&wire.ScanCountOnly == 0 {
			items = append(items, it)
		}
	}
	return items, count, false
}

func (m model) read(query []byte) []byte {
	q, err := wire.ParseQuery(query)
	if err != nil {
		return nil
	}
	if q.Op == wire.QueryGet {
		if it, ok := m[string(q.Key)]; ok {
			return wire.AppendItem([]byte{byte(wire.StatusOK)}, it)
		}
		return []byte{byte(wire.StatusNotFound)}
	}
	items, count, more := m.scan(q)
	dst := []byte{byte(wire.StatusOK), 0}
	if more {
		dst[1] = 1
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(count))
	for _, it := range items {
		dst = wire.AppendItem(dst, it)
	}
	return dst
}

// hash is the state hash computed from nothing.
func (m model) hash() uint64 {
	var h uint64
	for _, it := range m {
		h += hashWire(wire.AppendItem(nil, it))
	}
	return h
}

// hashWire is the hash of an encoded item, written down the plainest way.
func hashWire(b []byte) uint64 {
	n := uint64(len(b))
	x, y := uint64(hashSeed0), hashSeed1^n
	for len(b) > 32 {
		x, y = hashBlock(b, x, y)
		b = b[32:]
	}
	x, y = hashBlock(append(bytes.Clone(b), make([]byte, 32)...), x, y)
	return max(mix(mix(x^hashLast, y^n), hashKey0^n), 1)
}

func drawKey(t *rapid.T) []byte {
	return []byte(rapid.SampledFrom([]string{
		"a", "a\x00", "a\x00\x00\x00\x00\x00\x00\x00", "a\x00\x00\x00\x00\x00\x00\x00\x00", "b", "\x00", "\xff", "\xff\xff\xff\xff\xff\xff\xff\xff",
		"12345678", "123456789", "1234567", "12345678a", "user:0001", "user:0002", "user:00020", "user:", string(make([]byte, wire.MaxKeyBytes)),
	}).Draw(t, "key"))
}

func drawValue(t *rapid.T) []byte {
	n := rapid.SampledFrom([]int{0, 1, 8, 31, 256, 256, 3000, maxShared - 46, maxShared}).Draw(t, "size")
	v := bytes.Repeat([]byte{byte(rapid.IntRange(0, 2).Draw(t, "fill"))}, n)
	return v
}

func drawSimple(t *rapid.T, m model) []byte {
	key := drawKey(t)
	switch rapid.IntRange(0, 6).Draw(t, "op") {
	case 0:
		return wire.AppendDelete(nil, key)
	case 1:
		return wire.AppendCAS(nil, wire.Command{Mode: wire.CASAbsent, Key: key, Expected: nil, Value: drawValue(t)})
	case 2:
		return wire.AppendCAS(nil, wire.Command{Mode: wire.CASValue, Key: key, Expected: m[string(key)].Value, Value: drawValue(t)})
	case 3:
		rev := uint64(m[string(key)].ModRevision) + rapid.Uint64Range(0, 1).Draw(t, "off")
		return wire.AppendCAS(nil, wire.Command{Mode: wire.CASRevision, Key: key, Expected: binary.LittleEndian.AppendUint64(nil, rev), Value: drawValue(t)})
	default:
		return wire.AppendPut(nil, key, drawValue(t))
	}
}

func drawCommand(t *rapid.T, m model) []byte {
	if rapid.IntRange(0, 9).Draw(t, "batch") > 0 {
		return drawSimple(t, m)
	}
	n := rapid.IntRange(0, 5).Draw(t, "count")
	b := wire.AppendBatchHeader(nil, n)
	for range n {
		if next := wire.AppendBatchItem(b, drawSimple(t, m)); len(next) < wire.MaxCommandBytes {
			b = next
		} else {
			b = wire.AppendBatchItem(b, wire.AppendDelete(nil, drawKey(t)))
		}
	}
	return b
}

func drawQuery(t *rapid.T) []byte {
	if rapid.Bool().Draw(t, "get") {
		return wire.AppendGet(nil, drawKey(t))
	}
	q := wire.Query{
		Flags: wire.ScanFlags(rapid.IntRange(0, 3).Draw(t, "flags")),
		Limit: rapid.SampledFrom([]uint32{0, 1, 2, 5, 1 << 31}).Draw(t, "limit"),
	}
	if rapid.Bool().Draw(t, "start") {
		q.Start = drawKey(t)
	}
	if rapid.Bool().Draw(t, "end") {
		q.End = drawKey(t)
	}
	return wire.AppendScan(nil, q)
}

// check verifies the invariants of the heap, the compactor and the index.
func (s *Store) check(t testing.TB) {
	t.Helper()
	var held, dead, memory int64
	slabDead := make([]int64, len(s.slabs))
	var hash uint64
	live := 0
	for id := range s.slabs {
		v := &s.slabs[id]
		memory += int64(len(v.data))
		limbo := slices.ContainsFunc(s.limbo, func(r released) bool { return r.slab == uint32(id) })
		if v.data == nil || limbo {
			continue
		}
		for off := uint32(0); off < v.used; {
			at := ref{slab: uint32(id), off: off}
			item := s.item(at)
			size := hashBytes + itemLen(v.data[off+hashBytes:])
			h := binary.LittleEndian.Uint64(v.data[off:])
			if h == 0 {
				slabDead[id] += int64(size)
			} else {
				live++
				hash += h
				if want := hashWire(item.append(nil, true)); h != want {
					t.Fatalf("item %q has hash %x, want %x", item.key(), h, want)
				}
				at.prefix = prefix(item.key())
				if got, ok := s.find(item.key()); !ok || got != at {
					t.Fatalf("live item %q is not the one in the index", item.key())
				}
			}
			off += uint32(size)
		}
		size := int64(v.used)
		if uint32(id) != s.head {
			slabDead[id] += int64(len(v.data)) - size
			size = int64(len(v.data))
		}
		if slabDead[id] != int64(v.dead) {
			t.Fatalf("slab %d: %d dead bytes counted, want %d", id, v.dead, slabDead[id])
		}
		held += size
		dead += slabDead[id]
	}
	for _, f := range s.free {
		memory += int64(len(f))
	}
	if held != s.held || dead != s.dead || memory != s.memory || live != s.Keys() || hash != s.hash {
		t.Fatalf("held %d dead %d memory %d live %d hash %x, counted %d %d %d %d %x",
			s.held, s.dead, s.memory, s.Keys(), s.hash, held, dead, memory, live, hash)
	}
	if len(s.free) > maxFree || s.probe != nil {
		t.Fatalf("%d free slabs, probe %q", len(s.free), s.probe)
	}
	if slices.ContainsFunc(s.page.ahead[:], func(it item) bool { return it.body != nil }) {
		t.Fatal("a scan that has ended holds items")
	}
}

// TestModel compares every result, every read and the hash with the model's,
// on two stores of which one reads and is forced to compact in between.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b, m := New(), New(), model{}
		for i := range rapid.IntRange(1, 200).Draw(rt, "steps") {
			index := wire.Index(3*i + 1)
			command := drawCommand(rt, m)
			want := m.apply(index, command, []byte("dst"))
			if _, err := a.Check(command); err != nil {
				rt.Fatalf("%q refused: %v", command[:min(len(command), 40)], err)
			}
			if got := a.Apply(index, bytes.Clone(command), []byte("dst")); !bytes.Equal(got, want) {
				rt.Fatalf("result %q, want %q", got, want)
			}
			if got := b.Apply(index, command, []byte("dst")); !bytes.Equal(got, want) {
				rt.Fatalf("result %q, want %q", got, want)
			}
			clear(command)
			if rapid.IntRange(0, 3).Draw(rt, "read") == 0 {
				query := drawQuery(rt)
				if got, err := b.Read(query, nil); err != nil || !bytes.Equal(got, m.read(query)) {
					rt.Fatalf("query %q: %v, %q, want %q", query[:min(len(query), 40)], err, got, m.read(query))
				}
				b.compactAll()
			}
			if i%8 != 0 {
				continue
			}
			if want := m.hash(); a.Hash() != want || b.Hash() != want || b.Keys() != len(m) || a.Bytes() != b.Bytes() {
				rt.Fatalf("hashes %x %x, want %x", a.Hash(), b.Hash(), want)
			}
		}
		a.check(t)
		b.check(t)
		all := wire.AppendScan(nil, wire.Query{})
		got, _ := a.Read(all, nil)
		if other, _ := b.Read(all, nil); !bytes.Equal(got, other) || !bytes.Equal(got, m.read(all)) {
			rt.Fatalf("the stores' scans differ")
		}
	})
}

// compactAll empties every slab that has any dead byte, as if compaction had
// been timed differently.
func (s *Store) compactAll() {
	for id := range uint32(len(s.slabs)) {
		v := s.slabs[id]
		if id == s.head || v.dead == 0 || int(v.dead) == len(v.data) {
			continue
		}
		if s.comp.victim != id {
			s.comp.victim, s.comp.next = id, 0
		}
		for s.comp.victim == id {
			s.compactItem()
		}
	}
}
