package raft

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/dnode-engine/dnode/wire"
)

// TestLogAgreesWithASlice drives the log's memory with random appends,
// truncations, evictions and batches, next to a plain slice of entries.
func TestLogAgreesWithASlice(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 7))
		var l raftLog
		l.init(&State{First: 1}, 4<<10)
		var want []stored
		lent := map[*byte][]byte{} // slices handed out, and what they held
		term, seq := wire.Term(1), uint64(0)
		for range 400 {
			switch rng.IntN(11) {
			case 0:
				if l.last > l.commit {
					from := l.commit + 1 + wire.Index(rng.Uint64N(uint64(l.last-l.commit)))
					l.truncate(from)
					want = want[:from-1]
					term++
				}
			case 1:
				l.commit += wire.Index(rng.Uint64N(uint64(l.last-l.commit) + 1))
				l.applied = l.commit
				l.evict(min(l.durable, l.applied), 4<<10)
			case 9:
				l.evict(l.durable, 5<<10)
			case 2:
				seq++
				l.handOut(nil, seq, 0)
			case 3:
				l.synced(seq)
			default:
				e := wire.AppendEntry(nil, wire.EntryHead{Type: wire.EntryCommand, Index: l.last + 1, Term: term}, make([]byte, wire.StampBytes), make([]byte, rng.IntN(200)))
				if rng.IntN(50) == 0 {
					e = wire.AppendEntry(nil, wire.EntryHead{Type: wire.EntryCommand, Index: l.last + 1, Term: term}, make([]byte, wire.StampBytes), make([]byte, 3000))
				}
				l.appendEncoded(e)
				want = append(want, stored{l.last, term, e})
			}
			checkLog(t, &l, want, rng, lent)
		}
		for p, held := range lent {
			if *p != held[0] {
				t.Fatalf("seed %d: a lent slice changed", seed)
			}
		}
	}
}

func checkLog(t *testing.T, l *raftLog, want []stored, rng *rand.Rand, lent map[*byte][]byte) {
	t.Helper()
	if int(l.last) != len(want) || l.durable > l.handed || l.handed > l.last {
		t.Fatalf("last %d of %d, durable %d, handed %d", l.last, len(want), l.durable, l.handed)
	}
	if l.memFirst-1 > l.durable {
		t.Fatalf("entries from %d in memory, durable %d", l.memFirst, l.durable)
	}
	held, seen := 0, [][]byte{l.chunk}
	for _, s := range l.segs {
		seen = append(seen, s.chunk)
	}
	for i, c := range seen {
		if i == 0 && c == nil || i > 0 && (sameChunk(c, l.chunk) || i > 1 && sameChunk(c, seen[i-1])) {
			continue
		}
		held += cap(c)
	}
	if held != l.memBytes {
		t.Fatalf("%d bytes of chunks, counted %d", held, l.memBytes)
	}
	for i, e := range want {
		if got, ok := l.term(wire.Index(i + 1)); !ok || got != e.term {
			t.Fatalf("term of %d: %d, want %d", i+1, got, e.term)
		}
	}
	if len(want) == 0 {
		return
	}
	lo := 1 + wire.Index(rng.IntN(len(want)))
	hi := lo + 1 + wire.Index(rng.IntN(10))
	limit := rng.IntN(1000)
	b, next := l.slice(lo, hi, limit)
	if (b == nil) != (lo < l.memFirst) {
		t.Fatalf("[%d,%d): nil %v, memory from %d", lo, hi, b == nil, l.memFirst)
	}
	if b == nil {
		return
	}
	var all []byte
	for i := lo; i < next; i++ {
		all = append(all, want[i-1].data...)
	}
	if !bytes.Equal(all, b) || next > hi || next > lo+1 && len(b) > limit {
		t.Fatalf("[%d,%d) limit %d: %d bytes up to %d", lo, hi, limit, len(b), next)
	}
	lent[&b[0]] = bytes.Clone(b)
}

func TestConflictIsTheLastPlaceWhereLogsMayAgree(t *testing.T) {
	r := newNetwork(1, 0, nil).preload(1, 9, 1, 1, 3, 3, 3, 6).core
	f := func(i wire.Index, term wire.Term, at wire.Index, atTerm wire.Term) {
		t.Helper()
		if gotAt, gotTerm := r.log.conflict(i, term); gotAt != at || gotTerm != atTerm {
			t.Errorf("conflict(%d, %d) = %d/t%d, want %d/t%d", i, term, gotAt, gotTerm, at, atTerm)
		}
	}
	f(6, 6, 6, 6)
	f(6, 5, 5, 3)
	f(9, 4, 5, 3)
	f(4, 3, 4, 3)
	f(4, 2, 2, 1)
	f(4, 0, 0, 0)
	f(0, 0, 0, 0)
}
