package kv

import (
	"bytes"
	"encoding/binary"

	"github.com/tidwall/btree"
)

// ref says where an item stands. The first bytes of its key, big-endian and
// padded with zeros, decide most comparisons without touching the slab.
//
// Invariant: ref holds no pointer, so that the garbage collector never walks
// the tree's items.
type ref struct {
	prefix uint64
	slab   uint32 // noSlab: not an item, but index.probe
	off    uint32
}

// degree is half of what a node of the tree holds at most. What a key takes hangs
// on how arrays of that length grow.
const degree = 72

// index orders the items of a heap by key.
type index struct {
	heap
	tree  *btree.BTreeG[ref]
	probe []byte // the key looked for, during one call
}

func (x *index) init() {
	x.head = noSlab
	x.tree = btree.NewBTreeGOptions(x.less, btree.Options{NoLocks: true, Degree: degree})
}

func (x *index) less(a, b ref) bool {
	if a.prefix != b.prefix {
		return a.prefix < b.prefix
	}
	return bytes.Compare(x.key(a), x.key(b)) < 0
}

// key returns the key of a ref, or the one that is looked for.
func (x *index) key(r ref) []byte {
	if r.slab == noSlab {
		return x.probe
	}
	return x.heap.key(r)
}

// seek returns a ref that compares like key, until the next seek.
func (x *index) seek(key []byte) ref {
	x.probe = key
	return ref{prefix: prefix(key), slab: noSlab}
}

// find returns the ref of key.
func (x *index) find(key []byte) (ref, bool) {
	r, found := x.tree.Get(x.seek(key))
	x.probe = nil
	return r, found
}

// take removes the ref of key and returns it, if it is there.
func (x *index) take(key []byte) (ref, bool) {
	r, found := x.tree.Delete(x.seek(key))
	x.probe = nil
	return r, found
}

// ascend calls visit for the refs from the first that is not below start on,
// in order, until it returns false.
func (x *index) ascend(start []byte, visit func(ref) bool) {
	x.tree.Ascend(x.seek(start), visit)
	x.probe = nil
}

func prefix(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var p uint64
	for i, c := range key {
		p |= uint64(c) << (56 - 8*i)
	}
	return p
}
