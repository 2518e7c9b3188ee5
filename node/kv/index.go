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

// index orders the items of a heap by key.
type index struct {
	heap
	tree  *btree.BTreeG[ref]
	probe []byte // the key looked for, during one call
}

func (x *index) init() {
	x.head = noSlab
	x.tree = btree.NewBTreeGOptions(x.less, btree.Options{NoLocks: true})
}

func (x *index) less(a, b ref) bool {
	if a.prefix != b.prefix {
		return a.prefix < b.prefix
	}
	return bytes.Compare(x.key(a), x.key(b)) < 0
}

func (x *index) key(r ref) []byte {
	if r.slab == noSlab {
		return x.probe
	}
	return itemKey(x.slabs[r.slab].data[r.off+hashBytes:])
}

// seek returns a reference that compares like key, until the next seek.
func (x *index) seek(key []byte) ref {
	x.probe = key
	return ref{prefix: prefix(key), slab: noSlab}
}

// get returns the encoded item of key, nil if there is none.
func (x *index) get(key []byte) []byte {
	r, ok := x.tree.Get(x.seek(key))
	x.probe = nil
	if !ok {
		return nil
	}
	return x.item(r.slab, r.off)
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
