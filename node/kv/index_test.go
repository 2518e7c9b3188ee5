package kv

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// counted checks the invariants of the tree and returns how many refs it has.
func (x *index) counted(t testing.TB) int {
	t.Helper()
	leafDepth := 0
	var walk func(n *node, depth int) int
	walk = func(n *node, depth int) int {
		if len(n.refs) > maxRefs || depth > 1 && len(n.refs) < minRefs-1 || n.gen > x.epoch {
			t.Fatalf("a node at depth %d of generation %d has %d refs", depth, n.gen, len(n.refs))
		}
		if n.kids == nil {
			if leafDepth == 0 {
				leafDepth = depth
			}
			if depth != leafDepth {
				t.Fatalf("leaves at depths %d and %d", depth, leafDepth)
			}
			return len(n.refs)
		}
		if len(n.kids) != len(n.refs)+1 {
			t.Fatalf("%d kids for %d refs", len(n.kids), len(n.refs))
		}
		sum := len(n.refs)
		for _, k := range n.kids {
			sum += walk(k, depth+1)
		}
		return sum
	}
	n := walk(x.root, 1)
	var last []byte
	x.ascend(nil, func(r ref) bool {
		key := x.key(r)
		if r.prefix != prefix(key) || last != nil && bytes.Compare(last, key) >= 0 {
			t.Fatalf("key %q follows %q", key, last)
		}
		last = key
		return true
	})
	return n
}

// TestTreeGrowsAndShrinks enters and deletes keys in several orders, enough for
// a tree of three levels, and compares what is there meanwhile.
func TestTreeGrowsAndShrinks(t *testing.T) {
	const n = 40_000
	orders := map[string]func(i int) int{
		"ascending":  func(i int) int { return i },
		"descending": func(i int) int { return n - 1 - i },
		"scattered":  func(i int) int { return i * 7919 % n },
	}
	for _, in := range []string{"ascending", "descending", "scattered"} {
		for _, out := range []string{"ascending", "descending", "scattered"} {
			s := New()
			key := func(i int) []byte { return binaryKey(i) }
			for i := range n {
				s.next(wire.AppendPut(nil, key(orders[in](i)), nil))
			}
			if s.counted(t) != n {
				t.Fatalf("%s: %d keys, want %d", in, s.counted(t), n)
			}
			for i := range n {
				s.next(wire.AppendDelete(nil, key(orders[out](i))))
				if i%5000 == 0 && s.counted(t) != n-1-i {
					t.Fatalf("%s, %s: %d keys, want %d", in, out, s.counted(t), n-1-i)
				}
			}
			if s.Keys() != 0 || s.root.kids != nil || len(s.root.refs) != 0 {
				t.Fatalf("%s, %s: %d keys are left", in, out, s.Keys())
			}
		}
	}
}

// binaryKey is a key that shares its first 8 bytes with many others.
func binaryKey(i int) []byte {
	return []byte{'k', 'e', 'y', byte(i >> 14), 0, 0, 0, 0, byte(i >> 8), byte(i)}
}

// TestTreeAscendsFromAnywhere starts at keys that are there and between them.
func TestTreeAscendsFromAnywhere(t *testing.T) {
	s := New()
	var keys [][]byte
	rnd := rand.New(rand.NewPCG(6, 6))
	for range 30_000 {
		k := key8(nil, rnd.Uint64())[:1+rnd.IntN(8)]
		keys = append(keys, k)
		s.next(wire.AppendPut(nil, k, nil))
	}
	slices.SortFunc(keys, bytes.Compare)
	keys = slices.CompactFunc(keys, bytes.Equal)
	if s.counted(t) != len(keys) {
		t.Fatalf("%d keys, want %d", s.counted(t), len(keys))
	}
	for range 5000 {
		start := key8(nil, rnd.Uint64())[:rnd.IntN(9)]
		at, _ := slices.BinarySearchFunc(keys, start, bytes.Compare)
		want := keys[at:min(at+300, len(keys))]
		n := 0
		s.ascend(start, func(r ref) bool {
			if n < len(want) && !bytes.Equal(s.key(r), want[n]) {
				t.Fatalf("from %x: key %d is %x, want %x", start, n, s.key(r), want[n])
			}
			n++
			return n < len(want)
		})
		if n != len(want) {
			t.Fatalf("from %x: %d keys, want %d", start, n, len(want))
		}
	}
}

// TestIndexIsDense bounds what the index takes for a key, whatever the order in
// which keys come: nearly all of it is the refs.
func TestIndexIsDense(t *testing.T) {
	f := func(name string, key func(i int) uint64) {
		t.Helper()
		const n = 200_000
		s := New()
		for i := range n {
			s.next(wire.AppendPut(nil, key8(nil, key(i)), nil))
		}
		bytes := 0
		var walk func(n *node)
		walk = func(n *node) {
			bytes += 64 + 16*cap(n.refs) + 8*cap(n.kids)
			for _, k := range n.kids {
				walk(k)
			}
		}
		if walk(s.root); bytes > 19*n {
			t.Errorf("%s: %.1f bytes for each key", name, float64(bytes)/n)
		}
	}
	const inverse = 0xf1de83e19937733d // of key8's factor
	f("scattered", func(i int) uint64 { return uint64(i) })
	f("ascending", func(i int) uint64 { return uint64(i) * inverse })
	f("descending", func(i int) uint64 { return uint64(1_000_000-i) * inverse })
}

// TestItemsComeBack stores items of all widths and loads and hashes them.
func TestItemsComeBack(t *testing.T) {
	numbers := []uint64{0, 1, 255, 256, 1 << 16, 1<<24 - 1, 1 << 24, 1 << 40, 1 << 56, 1<<64 - 1}
	sizes := []int{0, 1, 2, 3, 31, 32, 33, 255, 256, 4096, 65_535, 65_536, 1 << 20}
	f := func(it wire.Item) {
		t.Helper()
		b := bytes.Repeat([]byte{0xee}, storedBytes(&it)+1)
		body := storeItem(b[:len(b)-1], &it)
		got := loadItem(b)
		encoded := wire.AppendItem(nil, it)
		if !bytes.Equal(got.append(nil, true), encoded) || !bytes.Equal(got.key(), it.Key) || !bytes.Equal(got.value(), it.Value) {
			t.Fatalf("stored %d %d %d with %d and %d bytes, loaded %d %d %d with %d of %d", it.CreateRevision, it.ModRevision, it.Version,
				len(it.Key), len(it.Value), got.create, got.mod, got.version, got.keyLen, len(got.body))
		}
		if want := hashWire(encoded); hashItem(&it, body) != want {
			t.Fatalf("an item with %d and %d bytes has another hash than %x", len(it.Key), len(it.Value), want)
		}
		if itemLen(b) != len(b)-1 || !bytes.Equal(loadKey(b), it.Key) || b[len(b)-1] != 0xee || len(b)-1 > headBytes+maxTailBytes+len(it.Key)+len(it.Value) {
			t.Fatalf("an item of %d bytes is said to have %d", len(b)-1, itemLen(b))
		}
	}
	value := make([]byte, 1<<20)
	for i := range value {
		value[i] = byte(i * 7)
	}
	for _, mod := range numbers {
		for _, create := range numbers {
			for _, version := range numbers {
				if create <= mod {
					f(wire.Item{CreateRevision: wire.Index(create), ModRevision: wire.Index(mod), Version: version, Key: value[:8], Value: value[:256]})
				}
			}
		}
	}
	for _, k := range []int{1, 2, 33, 255, 256, 4096} {
		for _, v := range sizes {
			f(wire.Item{CreateRevision: 1, ModRevision: 1, Version: 1, Key: value[:k], Value: value[:v]})
			f(wire.Item{CreateRevision: 3, ModRevision: 300, Version: 2, Key: value[:k], Value: value[:v]})
		}
	}
}
