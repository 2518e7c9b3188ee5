package raft

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/dnode-engine/dnode/wire"
)

const (
	maxChunkBytes = 1 << 20
	minChunkBytes = 512
	// sharedTailBytes of the tail stay in memory though every member has them: one
	// that was restarted, or a new leader's followers, lack but the end of the log.
	sharedTailBytes = 4 << 20
)

// segment is a run of entries that lie back to back in one chunk. A new one
// begins with each chunk and after each truncation.
type segment struct {
	first wire.Index
	chunk []byte // the whole chunk, up to its capacity
	end   int    // offset in chunk after the segment's last entry
}

// batch is a storage batch that was handed out and is not yet durable.
type batch struct {
	seq uint64
	// Invariant: entries up to last are in the log exactly as this batch and
	// those before it store them. A truncation lowers it, so that the batch's
	// completion never counts for an entry that took a truncated one's place,
	// even one with the same index and term (the ABA problem).
	last wire.Index
	tick uint64 // when it was handed out
}

// raftLog is the log: its newest entries in memory, the terms of all of them.
//
//	first ........ memFirst ........ applied ≤ commit ........ last
//	  only on disk     │  segments of encoded entries in chunks  │
//	                             durable ≤ handed ≤ last
//
// A chunk is written once and never again, not even where a truncation left
// garbage: whoever borrowed a slice of it may keep it for ever.
type raftLog struct {
	// Invariant: first-1 <= commit <= last, applied <= commit. commit and
	// applied never decrease.
	first, last     wire.Index
	commit, applied wire.Index

	// Invariant: durable <= handed <= last; entries up to durable are on this
	// node's disk, those up to handed were given to storage. A truncation
	// lowers both.
	durable, handed wire.Index

	// Invariant: runs gives the term of every entry in [first, last], and of
	// first-1 if that is not zero.
	runs []wire.TermRun

	// Invariant: segs covers [memFirst, last] without gaps; memFirst = last+1
	// if it is empty. Only entries that are durable leave memory, and those that
	// are not applied only if there is too much of them.
	memFirst wire.Index
	segs     []segment
	// Invariant: for every entry i in memory offs[i % len(offs)] is its offset
	// in its chunk; len(offs) is a power of two.
	offs []uint32

	chunk    []byte // the newest chunk; its length is what is used of it
	memBytes int    // capacity of all chunks held

	chunkBytes int

	batches  []batch // oldest first
	lastTime uint64  // of the last entry as recovered, while none is in memory
}

func (l *raftLog) init(st *State, tailBytes int) {
	l.first, l.last = st.First, st.Last
	l.commit, l.applied = st.First-1, st.First-1
	l.durable, l.handed = st.Last, st.Last
	l.runs = slices.Clone(st.Runs)
	l.memFirst = st.Last + 1
	l.offs = make([]uint32, 64)
	l.chunkBytes = min(max(tailBytes/16, minChunkBytes), maxChunkBytes)
	l.lastTime = st.LastTime
}

// term returns the term of entry i, or of the position before the log.
func (l *raftLog) term(i wire.Index) (wire.Term, bool) {
	if i == 0 {
		return 0, true
	}
	if i > l.last {
		return 0, false
	}
	for k := len(l.runs) - 1; k >= 0; k-- {
		if l.runs[k].First <= i {
			return l.runs[k].Term, true
		}
	}
	return 0, false
}

func (l *raftLog) lastTerm() wire.Term {
	if n := len(l.runs); n > 0 {
		return l.runs[n-1].Term
	}
	return 0
}

// matches reports whether the log holds an entry with this index and term.
// What was purged is committed, and so in every leader's log.
func (l *raftLog) matches(i wire.Index, t wire.Term) bool {
	have, ok := l.term(i)
	if !ok {
		return i < l.first
	}
	return have == t
}

// conflict returns the last position at or below i whose term is at most t,
// and its term: the two logs cannot agree anywhere after it.
func (l *raftLog) conflict(i wire.Index, t wire.Term) (wire.Index, wire.Term) {
	i = min(i, l.last)
	for k := len(l.runs) - 1; k >= 0; k-- {
		run := l.runs[k]
		if run.First > i {
			continue
		}
		if run.Term <= t {
			return i, run.Term
		}
		i = run.First - 1
	}
	return i, 0
}

// upToDate reports whether a log ending with this entry holds at least what
// this one does, in the sense of Raft 5.4.1.
func (l *raftLog) upToDate(last wire.Index, term wire.Term) bool {
	mine := l.lastTerm()
	return term > mine || term == mine && last >= l.last
}

// propose encodes a new last entry in place and returns its size.
func (l *raftLog) propose(typ wire.EntryType, term wire.Term, head, body []byte) int {
	size := wire.EntryBytes(len(head) + len(body))
	l.reserve(size)
	l.chunk = wire.AppendEntry(l.chunk, wire.EntryHead{Type: typ, Index: l.last + 1, Term: term}, head, body)
	l.placed(size, term)
	return size
}

// appendEncoded copies whole entries that follow the last one. The caller has
// verified them.
func (l *raftLog) appendEncoded(data []byte) {
	for len(data) > 0 {
		size := int(binary.LittleEndian.Uint32(data))
		term := wire.Term(binary.LittleEndian.Uint64(data[16:]))
		l.reserve(size)
		l.chunk = append(l.chunk, data[:size]...)
		l.placed(size, term)
		data = data[size:]
	}
}

// reserve makes room for size bytes at the end of the newest chunk and for one
// more offset.
func (l *raftLog) reserve(size int) {
	if cap(l.chunk)-len(l.chunk) < size {
		if l.chunk != nil && (len(l.segs) == 0 || !sameChunk(l.segs[len(l.segs)-1].chunk, l.chunk)) {
			l.memBytes -= cap(l.chunk) // nothing in it is alive
		}
		l.chunk = make([]byte, 0, max(l.chunkBytes, size))
		l.memBytes += cap(l.chunk)
	}
	n := len(l.segs)
	if n == 0 || !sameChunk(l.segs[n-1].chunk, l.chunk) || l.segs[n-1].end != len(l.chunk) {
		l.segs = append(l.segs, segment{first: l.last + 1, chunk: l.chunk[:cap(l.chunk)], end: len(l.chunk)})
	}
	if int(l.last+1-l.memFirst) == len(l.offs) {
		l.growOffsets()
	}
}

// placed records the entry that was just encoded at the end of the chunk.
func (l *raftLog) placed(size int, term wire.Term) {
	l.last++
	l.offs[int(l.last)&(len(l.offs)-1)] = uint32(len(l.chunk) - size)
	l.segs[len(l.segs)-1].end = len(l.chunk)
	if l.lastTerm() != term {
		l.runs = append(l.runs, wire.TermRun{First: l.last, Term: term})
	}
}

func (l *raftLog) growOffsets() {
	bigger := make([]uint32, 2*len(l.offs))
	for i := l.memFirst; i <= l.last; i++ {
		bigger[int(i)&(len(bigger)-1)] = l.offs[int(i)&(len(l.offs)-1)]
	}
	l.offs = bigger
}

// sameChunk reports whether two slices start the same chunk; a segment that was
// dropped has none.
func sameChunk(a, b []byte) bool { return cap(a) > 0 && cap(b) > 0 && &a[:1][0] == &b[:1][0] }

// truncate removes entry from and all after it.
func (l *raftLog) truncate(from wire.Index) {
	if from <= l.commit {
		panic(fmt.Sprintf("BUG: truncating at %d below commit index %d", from, l.commit))
	}
	after := l.last + 1 // the first entry behind the last segment
	for n := len(l.segs); n > 0 && l.segs[n-1].first >= from; n-- {
		after = l.segs[n-1].first
		l.drop(n - 1)
		l.segs = l.segs[:n-1]
	}
	if n := len(l.segs); n > 0 && from < after {
		l.segs[n-1].end = int(l.offs[int(from)&(len(l.offs)-1)])
	}
	for n := len(l.runs); n > 0 && l.runs[n-1].First >= from; n-- {
		l.runs = l.runs[:n-1]
	}
	l.last = from - 1
	l.memFirst = min(l.memFirst, from)
	l.durable = min(l.durable, l.last)
	l.handed = min(l.handed, l.last)
	for i := range l.batches {
		l.batches[i].last = min(l.batches[i].last, l.last)
	}
}

// drop forgets segment k, the first or the last one, and its chunk if nothing
// else lies in it.
func (l *raftLog) drop(k int) {
	c := l.segs[k].chunk
	shared := k > 0 && sameChunk(l.segs[k-1].chunk, c) || k+1 < len(l.segs) && sameChunk(l.segs[k+1].chunk, c)
	if !shared && !sameChunk(l.chunk, c) {
		l.memBytes -= cap(c)
	}
	l.segs[k] = segment{}
}

// evict lets the oldest segments that end at or before i, which is durable, go
// while memory is above the limit. The last one stays.
func (l *raftLog) evict(i wire.Index, limit int) {
	n := 0
	for len(l.segs)-n > 1 && l.memBytes > limit && l.segs[n+1].first-1 <= i {
		l.drop(n)
		n++
	}
	if n > 0 {
		l.segs = slices.Delete(l.segs, 0, n)
		l.memFirst = l.segs[0].first
	}
}

// segmentOf returns the position of the segment that holds entry i, which must
// be in memory.
func (l *raftLog) segmentOf(i wire.Index) int {
	if n := len(l.segs) - 1; l.segs[n].first <= i {
		return n
	}
	lo, hi := 0, len(l.segs)-1 // segs[lo].first <= i < segs[hi].first
	for hi-lo > 1 {
		mid := int(uint(lo+hi) / 2)
		if l.segs[mid].first <= i {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// slice returns entries [lo, hi) of one segment: at least one, at most maxBytes
// unless the first alone is larger; nil if lo is not in memory.
func (l *raftLog) slice(lo, hi wire.Index, maxBytes int) ([]byte, wire.Index) {
	if lo < l.memFirst || lo > l.last || lo >= hi {
		return nil, lo
	}
	k := l.segmentOf(lo)
	segEnd, after := l.segs[k].end, l.last+1
	if k+1 < len(l.segs) {
		after = l.segs[k+1].first
	}
	mask := len(l.offs) - 1
	start := int(l.offs[int(lo)&mask])
	end := func(i wire.Index) int { // offset after entry i
		if i+1 == after {
			return segEnd
		}
		return int(l.offs[int(i+1)&mask])
	}
	a, b := lo, min(hi, after)-1 // the answer's last entry lies in [a, b]
	if end(b)-start > maxBytes {
		for a < b {
			if mid := a + (b-a+1)/2; end(mid)-start <= maxBytes {
				a = mid
			} else {
				b = mid - 1
			}
		}
	}
	stop := end(b)
	return l.segs[k].chunk[start:stop:stop], b + 1
}

// bytesAfter returns the size of the entries after i, as far as in memory.
func (l *raftLog) bytesAfter(i wire.Index) int {
	total := 0
	for lo := max(i+1, l.memFirst); lo <= l.last; {
		b, next := l.slice(lo, l.last+1, int(^uint(0)>>1))
		total += len(b)
		lo = next
	}
	return total
}

// time returns the leader's time in the last entry.
func (l *raftLog) time() uint64 {
	b, _ := l.slice(l.last, l.last+1, 0)
	if len(b) < wire.EntryHeaderBytes+8 {
		return l.lastTime
	}
	return binary.LittleEndian.Uint64(b[wire.EntryHeaderBytes:])
}

// handOut adds everything that storage does not have yet to dst and notes the
// batch that it belongs to.
func (l *raftLog) handOut(dst [][]byte, seq, tick uint64) [][]byte {
	for lo := l.handed + 1; lo <= l.last; {
		b, next := l.slice(lo, l.last+1, int(^uint(0)>>1))
		dst = append(dst, b)
		lo = next
	}
	l.handed = l.last
	l.batches = append(l.batches, batch{seq: seq, last: l.last, tick: tick})
	return dst
}

// synced counts the batches up to seq as durable.
func (l *raftLog) synced(seq uint64) {
	n := 0
	for n < len(l.batches) && l.batches[n].seq <= seq {
		l.durable = max(l.durable, l.batches[n].last)
		n++
	}
	l.batches = slices.Delete(l.batches, 0, n)
}
