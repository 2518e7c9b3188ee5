package wal

import (
	"fmt"
	"slices"

	"github.com/dnode-engine/dnode/wire"
)

// extent is a stretch of one segment whose groups hold the live entries first
// to last, one after the other.
type extent struct {
	first, last wire.Index
	segment     uint64
	offset      int64 // of the group that holds first
}

// live says which entries the log holds and where. It costs 32 bytes per
// 64 KiB of log or per superseding group, and 16 bytes per term.
//
// Invariant: extents are contiguous in index, from first to last, and
// ascending in place. runs cover the same entries.
type live struct {
	first, last wire.Index // empty log: 1 and 0
	extents     []extent
	runs        []wire.TermRun
}

// term returns the term of the entry before index, zero at the log's begin.
func (v *live) termBefore(index wire.Index) wire.Term {
	for i := len(v.runs) - 1; i >= 0; i-- {
		if v.runs[i].First < index {
			return v.runs[i].Term
		}
	}
	return 0
}

// check reports whether entries that begin at first with the given term may
// follow or supersede what is there.
func (v *live) check(first wire.Index, term wire.Term) error {
	if first < v.first || first > v.last+1 {
		return fmt.Errorf("index %d does not follow on entries %d to %d", first, v.first, v.last)
	}
	if before := v.termBefore(first); term < before {
		return fmt.Errorf("entry %d has term %d after term %d", first, term, before)
	}
	return nil
}

// add takes in a group that stands at the given place. What it supersedes is
// forgotten. It reports whether the group began a new extent for a reason of
// order, so that the segment's index needs a point.
func (v *live) add(at place, first wire.Index, count uint32, runs []wire.TermRun) (superseding bool) {
	last := first + wire.Index(count) - 1
	superseding = first <= v.last
	if superseding {
		v.cut(first)
	}
	v.runs = joinRuns(v.runs, runs)
	v.last = last
	if n := len(v.extents); n > 0 && !superseding {
		x := &v.extents[n-1]
		if x.segment == at.segment && at.offset-x.offset < pointBytes {
			x.last = last
			return false
		}
	}
	v.extents = append(v.extents, extent{first, last, at.segment, at.offset})
	return superseding
}

// joinRuns appends the runs of entries that follow on those of dst.
func joinRuns(dst, runs []wire.TermRun) []wire.TermRun {
	if n := len(dst); n > 0 && len(runs) > 0 && dst[n-1].Term == runs[0].Term {
		runs = runs[1:]
	}
	return append(dst, runs...)
}

// cut forgets the entries from first on.
func (v *live) cut(first wire.Index) {
	n := len(v.extents)
	for n > 0 && v.extents[n-1].first >= first {
		n--
	}
	v.extents = v.extents[:n]
	if n > 0 {
		v.extents[n-1].last = first - 1
	}
	n = len(v.runs)
	for n > 0 && v.runs[n-1].First >= first {
		n--
	}
	v.runs = v.runs[:n]
	v.last = first - 1
}

// find returns the position of the extent that holds index.
func (v *live) find(index wire.Index) int {
	i, _ := slices.BinarySearchFunc(v.extents, index, func(x extent, i wire.Index) int {
		switch {
		case x.last < i:
			return -1
		case x.first > i:
			return 1
		}
		return 0
	})
	return i
}
