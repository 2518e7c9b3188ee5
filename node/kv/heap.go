package kv

import (
	"encoding/binary"
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

const (
	slabBytes    = 1 << 20  // one shared slab
	maxShared    = 64 << 10 // an item above this gets a slab of its own, of its exact size
	maxFree      = 4        // empty slabs kept for reuse
	hashBytes    = 8        // precede every item: its hash, 0 once it is dead
	noSlab       = ^uint32(0)
	maxItemBytes = hashBytes + headBytes + maxTailBytes + wire.MaxKeyBytes + wire.MaxCommandBytes
)

// The limits are asserted against each other: an array of negative length does
// not compile. Shared items and keys fit a slab, item sizes fit 32 bits.
var (
	_ [slabBytes - 8*maxShared]struct{}
	_ [maxShared - 2*wire.MaxKeyBytes]struct{}
	_ [1<<31 - maxItemBytes]struct{}
)

// slab is a run of items, each behind its hash, appended one after another.
//
// Invariant: what was appended never changes, but for the hash words, and for the
// tail of an item before its put returns. data is set when the slab is taken into
// use and stays until it is released.
type slab struct {
	data []byte // nil: the slot is free
	used uint32 // bytes appended
	dead uint32 // bytes of them that no key refers to; a full slab's unused tail counts
}

// heap holds the items' bytes in slabs and counts what is dead in them. A slab
// in which all is dead is released at once, unless a view may still read it.
//
// Invariant: held - dead is the bytes of all live items, hash words included.
// Invariant: head is the only slab that grows, and it is never released.
type heap struct {
	slabs    []slab
	head     uint32
	slots    []uint32 // free positions in slabs
	free     [][]byte // empty shared slabs for reuse, at most maxFree
	held     int64    // bytes appended to slabs in use, unused tails of full ones included
	dead     int64    // bytes of them that are dead
	memory   int64    // bytes of all slabs, those in free included
	appended int64    // bytes ever appended

	epoch uint64     // counts views
	pins  []uint64   // epochs of the open views, ascending
	limbo []released // dead slabs that an open view may read, ascending
}

// released is a slab that died while the given epoch was the newest.
type released struct {
	epoch uint64
	slab  uint32
}

// alloc appends an item of n bytes, its hash word included, and returns where
// it stands and its bytes, which are not cleared.
func (h *heap) alloc(n int) (id, off uint32, b []byte) {
	h.held += int64(n)
	h.appended += int64(n)
	if n > maxShared {
		id = h.add(make([]byte, n))
		h.memory += int64(n)
		s := &h.slabs[id]
		s.used = uint32(n)
		return id, 0, s.data
	}
	if h.head == noSlab || slabBytes-int(h.slabs[h.head].used) < n {
		h.nextHead()
	}
	s := &h.slabs[h.head]
	off = s.used
	s.used += uint32(n)
	return h.head, off, s.data[off:s.used:s.used]
}

// shrink gives back the last bytes of the item that alloc returned last.
func (h *heap) shrink(id uint32, unused int) {
	s := &h.slabs[id]
	s.used -= uint32(unused)
	h.held -= int64(unused)
	h.appended -= int64(unused)
	if id != h.head { // a slab of its own
		s.data = s.data[:s.used:s.used]
		h.memory -= int64(unused)
	}
}

// nextHead retires the head slab and puts an empty one in its place.
func (h *heap) nextHead() {
	if old := h.head; old != noSlab {
		s := &h.slabs[old]
		tail := slabBytes - s.used
		s.dead += tail
		h.held += int64(tail)
		h.dead += int64(tail)
		h.head = noSlab
		if s.dead == slabBytes {
			h.release(old)
		}
	}
	var data []byte
	if n := len(h.free); n > 0 {
		data = h.free[n-1]
		h.free[n-1] = nil
		h.free = h.free[:n-1]
	} else {
		data = make([]byte, slabBytes)
		h.memory += slabBytes
	}
	h.head = h.add(data)
}

func (h *heap) add(data []byte) uint32 {
	if n := len(h.slots); n > 0 {
		id := h.slots[n-1]
		h.slots = h.slots[:n-1]
		h.slabs[id] = slab{data: data}
		return id
	}
	h.slabs = append(h.slabs, slab{data: data})
	return uint32(len(h.slabs) - 1)
}

// item returns the item at off. Its body stays valid until the slab is released.
func (h *heap) item(r ref) item { return loadItem(h.slabs[r.slab].data[r.off+hashBytes:]) }

// key returns the key of the item at off, likewise.
func (h *heap) key(r ref) []byte { return loadKey(h.slabs[r.slab].data[r.off+hashBytes:]) }

// kill marks the item at off dead and returns the hash it had.
func (h *heap) kill(id, off uint32) uint64 {
	s := &h.slabs[id]
	b := s.data[off:]
	hash := binary.LittleEndian.Uint64(b)
	if hash == 0 {
		panic(fmt.Sprintf("BUG: item at slab %d offset %d dies twice", id, off))
	}
	binary.LittleEndian.PutUint64(b, 0)
	n := hashBytes + itemLen(b[hashBytes:])
	s.dead += uint32(n)
	h.dead += int64(n)
	if int(s.dead) == len(s.data) && id != h.head {
		h.release(id)
	}
	return hash
}

// release takes a slab without live items out of use.
func (h *heap) release(id uint32) {
	n := int64(len(h.slabs[id].data))
	h.held -= n
	h.dead -= n
	if len(h.pins) > 0 {
		h.limbo = append(h.limbo, released{epoch: h.epoch, slab: id})
		return
	}
	h.reclaim(id)
}

// reclaim gives a slab's bytes and its slot up for reuse. No reference to it
// may be left.
func (h *heap) reclaim(id uint32) {
	data := h.slabs[id].data
	h.slabs[id] = slab{}
	h.slots = append(h.slots, id)
	if len(data) == slabBytes && len(h.free) < maxFree {
		h.free = append(h.free, data)
		return
	}
	h.memory -= int64(len(data))
}

// pin keeps every slab that is in use now readable until unpin is called with
// the epoch returned. A copy of the slabs slice taken now may be read by
// another goroutine until then: of a used slot, only counters change.
func (h *heap) pin() uint64 {
	h.epoch++
	h.pins = append(h.pins, h.epoch)
	return h.epoch
}

// unpin ends a pin. Slabs that died since are reclaimed once no older pin is
// left.
func (h *heap) unpin(epoch uint64) {
	i := 0
	for i < len(h.pins) && h.pins[i] != epoch {
		i++
	}
	if i == len(h.pins) {
		panic(fmt.Sprintf("BUG: epoch %d is not pinned", epoch))
	}
	h.pins = append(h.pins[:i], h.pins[i+1:]...)
	n := 0
	for n < len(h.limbo) && (len(h.pins) == 0 || h.limbo[n].epoch < h.pins[0]) {
		h.reclaim(h.limbo[n].slab)
		n++
	}
	h.limbo = append(h.limbo[:0], h.limbo[n:]...)
}
