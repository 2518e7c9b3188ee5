package kv

import (
	"encoding/binary"
	"fmt"
)

const (
	deadShare      = 3       // compaction begins above one dead byte in this many, and takes such slabs only
	compactSlack   = 1 << 20 // dead bytes that never start it
	compactSlice   = 4 << 10 // bytes scanned by each Apply,
	compactPerByte = 4       // and for each byte that it appended
	compactLook    = 64      // slabs looked at for the next one to empty
)

// Each byte scanned frees at least 1/deadShare of a byte for good. So that the
// slabs cannot outgrow the bound, more must be freed than is appended.
var _ [compactPerByte - deadShare - 1]struct{}

// compactor empties sparse slabs, a slice at a time.
//
// Invariant: all items of the victim before next are dead.
type compactor struct {
	victim uint32 // the slab being emptied, noSlab: none
	next   uint32 // offset in the victim to go on from
	hand   uint32 // slab to look at next for a victim
}

// compact scans about budget bytes of sparse slabs and moves what is alive in
// them to the head slab, if too much is dead. Nothing that a command or query
// can observe changes.
func (s *Store) compact(budget int64) {
	for budget > 0 && s.dead > s.held/deadShare+compactSlack {
		if s.comp.victim == noSlab && !s.pickVictim() {
			return
		}
		budget -= s.compactItem()
	}
}

// pickVictim looks at the next few slabs and takes the one with the largest
// dead share, if that is large enough. The bound on the whole promises that
// there is one, so that the hand finds it in a few calls.
func (s *Store) pickVictim() bool {
	c := &s.comp
	best := slab{}
	for range min(compactLook, len(s.slabs)) {
		if c.hand++; int(c.hand) >= len(s.slabs) {
			c.hand = 0
		}
		v := s.slabs[c.hand]
		if c.hand == s.head || int(v.dead) == len(v.data) || int(v.dead)*deadShare < len(v.data) {
			continue
		}
		if v.dead > best.dead {
			best, c.victim, c.next = v, c.hand, 0
		}
	}
	return c.victim != noSlab
}

// compactItem moves the victim's next item if it is alive, and returns how
// many bytes that item has.
func (s *Store) compactItem() int64 {
	c := &s.comp
	id, off := c.victim, c.next
	v := &s.slabs[id]
	if off >= v.used {
		panic(fmt.Sprintf("BUG: slab %d is not dead after compaction: %d of %d bytes", id, v.dead, len(v.data)))
	}
	b := v.data[off:]
	n := hashBytes + itemLen(b[hashBytes:])
	b = b[:n]
	c.next += uint32(n)
	if binary.LittleEndian.Uint64(b) == 0 {
		return int64(n)
	}
	to := ref{prefix: prefix(loadKey(b[hashBytes:]))}
	var moved []byte
	to.slab, to.off, moved = s.alloc(n)
	copy(moved, b)
	s.appended -= int64(n) // a move is not growth
	if prev, ok := s.tree.Set(to); !ok || prev.slab != id || prev.off != off {
		panic(fmt.Sprintf("BUG: live item at slab %d offset %d is not in the index", id, off))
	}
	s.drop(id, off)
	return int64(n)
}

// drop kills an item, and forgets the victim if that released it.
func (s *Store) drop(id, off uint32) uint64 {
	hash := s.kill(id, off)
	if v := s.comp.victim; v == id && int(s.slabs[v].dead) == len(s.slabs[v].data) {
		s.comp.victim = noSlab
	}
	return hash
}
