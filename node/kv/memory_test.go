package kv

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

const memorySlack = 8 << 20

// bounded checks the promise on memory, for the largest live size so far.
func (s *Store) bounded(t *testing.T, peak int64) {
	t.Helper()
	if limit := peak*3/2 + memorySlack; s.Memory() > limit {
		t.Fatalf("%d bytes of slabs for at most %d live ones, allowed are %d", s.Memory(), peak, limit)
	}
}

// TestOverwritesKeepMemoryBounded overwrites a thousand keys a million times,
// most of them rarely, so that slabs never die by themselves.
func TestOverwritesKeepMemoryBounded(t *testing.T) {
	f := func(keys, rounds, batch int) {
		t.Helper()
		s := New()
		rnd := rand.New(rand.NewPCG(1, 1))
		var key, cmd, b, dst []byte
		value := bytes.Repeat([]byte("value"), 200)
		var peak int64
		for i := range rounds {
			b = wire.AppendBatchHeader(b[:0], batch)
			for j := range batch {
				n := rnd.IntN(keys)
				if i*batch+j > 2*keys && j%16 != 0 {
					n %= 30
				}
				key = key8(key[:0], uint64(n))
				cmd = wire.AppendPut(cmd[:0], key, value[:256+n%5*100])
				b = wire.AppendBatchItem(b, cmd)
			}
			dst = s.Apply(s.last+1, b, dst[:0])
			peak = max(peak, s.Bytes())
			s.bounded(t, peak)
		}
		s.check(t)
	}
	f(1000, 62_500, 16)
	f(50_000, 150, 2000) // the slice must grow with what is appended
}

// TestEmptiedStoreKeepsNoMemory deletes what it puts: slabs are full of the dead
// when the next one is begun.
func TestEmptiedStoreKeepsNoMemory(t *testing.T) {
	s := New()
	value := make([]byte, 10_000)
	for range 3000 {
		s.next(wire.AppendPut(nil, []byte("job"), value))
		s.next(wire.AppendDelete(nil, []byte("job")))
		s.bounded(t, int64(len(value)))
	}
	s.check(t)
}

// TestMemoryBoundedWhateverTheSizes mixes sizes, bursts of deletes that leave
// every slab sparse, and batches.
func TestMemoryBoundedWhateverTheSizes(t *testing.T) {
	s := New()
	rnd := rand.New(rand.NewPCG(2, 2))
	value := bytes.Repeat([]byte("value"), 40_000)
	sizes := []int{0, 10, 256, 256, 256, 5000, 60_000, 65_000, 200_000}
	var peak, last int64
	for round := range 6 {
		for range 3000 {
			cmd := wire.AppendPut(nil, key8(nil, rnd.Uint64N(2000)), value[:sizes[rnd.IntN(len(sizes))]])
			s.next(cmd)
			peak = max(peak, s.Bytes())
		}
		s.bounded(t, peak)
		b := wire.AppendBatchHeader(nil, 1500)
		for i := range 1500 {
			b = wire.AppendBatchItem(b, wire.AppendDelete(nil, key8(nil, uint64(i+round*100))))
		}
		s.next(b)
		for range 20_000 { // what was deleted comes back in time, with next to no writes
			s.next(wire.AppendDelete(nil, []byte("nothing")))
		}
		s.bounded(t, s.Bytes())
		s.check(t)
		if s.Bytes() == last {
			t.Fatalf("nothing changed in round %d", round)
		}
		last = s.Bytes()
	}
}

// TestSteadyStateAllocatesNothing allows ten allocations for ten thousand
// operations on existing keys, slabs included; on average there are none.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	s := benchStore(50_000)
	rnd := rand.New(rand.NewPCG(3, 3))
	value := make([]byte, 256)
	var key, cmd, dst []byte
	f := func(name string, op func()) {
		t.Helper()
		if got := testing.AllocsPerRun(5, func() {
			for range 10_000 {
				key = key8(key[:0], rnd.Uint64N(50_000))
				op()
			}
		}); got > 10 {
			t.Errorf("%s: %.0f allocations in 10,000 operations", name, got)
		}
	}
	overwrite := func() {
		cmd = wire.AppendPut(cmd[:0], key, value)
		dst = s.Apply(s.last+1, cmd, dst[:0])
	}
	for range 100_000 { // until slabs circulate
		key = key8(key[:0], rnd.Uint64N(50_000))
		overwrite()
	}
	f("put", overwrite)
	f("cas", func() {
		cmd = wire.AppendCAS(cmd[:0], wire.Command{Mode: wire.CASValue, Key: key, Expected: value, Value: value})
		dst = s.Apply(s.last+1, cmd, dst[:0])
	})
	var batch []byte
	f("batch", func() {
		cmd = wire.AppendPut(cmd[:0], key, value)
		batch = wire.AppendBatchItem(wire.AppendBatchHeader(batch[:0], 2), cmd)
		batch = wire.AppendBatchItem(batch, cmd)
		dst = s.Apply(s.last+1, batch, dst[:0])
	})
	f("get", func() {
		cmd = wire.AppendGet(cmd[:0], key)
		dst, _ = s.Read(cmd, dst[:0])
	})
	f("scan", func() {
		cmd = wire.AppendScan(cmd[:0], wire.Query{Start: key, Limit: 10})
		dst, _ = s.Read(cmd, dst[:0])
	})
	f("check", func() {
		cmd = wire.AppendPut(cmd[:0], key, value)
		_, _ = s.Check(cmd)
	})
	s.check(t)
}

// sum returns the sum of all items' hashes.
func (x *index) sum() (sum uint64) {
	x.tree.Scan(func(r ref) bool {
		it := x.item(r)
		sum += hashWire(it.append(nil, true))
		return true
	})
	return sum
}

// TestViewSurvivesWrites reads a view, copies of the tree and of the slabs slice, on
// another goroutine while keys are overwritten, deleted and compacted: what it
// reads is the state at the time of the copy. With -race it also shows that
// nothing a view reads is ever written.
func TestViewSurvivesWrites(t *testing.T) {
	const keys = 10_000
	s := benchStore(keys)
	value := bytes.Repeat([]byte{1}, 256)
	old := s.pin()
	for i := range uint64(keys / 2) { // slabs of this churn are nobody's but the first pin's
		s.next(wire.AppendPut(nil, key8(nil, i), value))
	}
	want := s.Hash()
	view := index{heap: heap{slabs: s.slabs}, tree: s.tree.Copy()}
	epoch := s.pin()
	done := make(chan uint64)
	go func() {
		done <- view.sum()
	}()
	rnd := rand.New(rand.NewPCG(4, 4))
	for range 40_000 {
		s.next(wire.AppendPut(nil, key8(nil, rnd.Uint64N(keys)), value[:rnd.IntN(256)]))
		s.next(wire.AppendDelete(nil, key8(nil, rnd.Uint64N(keys))))
	}
	s.compactAll()
	if got := <-done; got != want {
		t.Fatalf("the view's items hash to %x, want %x", got, want)
	}
	if again := view.sum(); again != want {
		t.Fatalf("after the writes the view's items hash to %x, want %x", again, want)
	}
	s.check(t)

	waiting := len(s.limbo)
	s.unpin(old)
	if waiting == 0 || len(s.limbo) == 0 || len(s.limbo) >= waiting {
		t.Fatalf("%d slabs wait, %d after the older view ended", waiting, len(s.limbo))
	}
	s.unpin(epoch)
	if len(s.limbo) != 0 {
		t.Fatalf("%d slabs wait for no view", len(s.limbo))
	}
	s.check(t)
	s.bounded(t, s.Bytes()+keys*302)
}

func TestPrefixOrdersLikeKeys(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	for range 20_000 {
		a := binary.BigEndian.AppendUint64(nil, rnd.Uint64()&0x0100ff0001000000)[:rnd.IntN(9)]
		b := binary.BigEndian.AppendUint64([]byte{}, rnd.Uint64()&0x0100ff0001000000)[:rnd.IntN(9)]
		if pa, pb := prefix(a), prefix(b); pa < pb && bytes.Compare(a, b) >= 0 || pa > pb && bytes.Compare(a, b) <= 0 {
			t.Fatalf("prefixes of %x and %x are ordered otherwise", a, b)
		}
	}
}
