package kv

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// ref says where an item stands. The first bytes of its key, big-endian and
// padded with zeros, decide most comparisons without touching the slab.
//
// Invariant: ref holds no pointer, so that the garbage collector never walks
// the tree's items.
type ref struct {
	prefix uint64
	slab   uint32
	off    uint32
}

const (
	maxRefs  = 128         // in one node
	minRefs  = maxRefs / 4 // a node with fewer is joined with one beside it, unless it is the root
	growRefs = 8           // room is made for so many at a time
	maxDepth = 12          // more than minRefs+1 to that power do not fit any memory
)

// node is one of a B-tree: refs[i] stands between the subtrees kids[i] and
// kids[i+1].
//
// Invariant: len(refs) <= maxRefs; in inner nodes len(kids) = len(refs)+1.
type node struct {
	gen  uint64 // the heap's epoch when it was made
	refs []ref
	kids []*node // nil: a leaf
}

// index orders the items of a heap by key.
//
// Invariant: a node from before the newest view, whose gen is not the heap's epoch,
// may be read by that view and is copied before it changes.
type index struct {
	heap
	root *node
	keys int
}

func (x *index) init() {
	x.head = noSlab
	x.root = &node{}
}

// search returns the position of the first ref in n that is not below the key,
// and whether it is the key's.
func (x *index) search(n *node, p uint64, key []byte) (int, bool) {
	lo, hi := 0, len(n.refs)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		r := n.refs[mid]
		switch {
		case r.prefix < p:
			lo = mid + 1
			continue
		case r.prefix == p:
			if c := bytes.Compare(x.key(r), key); c == 0 {
				return mid, true
			} else if c < 0 {
				lo = mid + 1
				continue
			}
		}
		hi = mid
	}
	return lo, false
}

// find returns the ref of key.
func (x *index) find(key []byte) (ref, bool) {
	p := prefix(key)
	n := x.root
	for {
		i, found := x.search(n, p, key)
		switch {
		case found:
			return n.refs[i], true
		case n.kids == nil:
			return ref{}, false
		}
		n = n.kids[i]
	}
}

// place returns where the ref of key stands in the tree, and whether it was
// there. If not it has the prefix only, and the caller enters slab and offset
// before the next call of any method.
func (x *index) place(key []byte) (*ref, bool) {
	p := prefix(key)
	for {
		var path [maxDepth]step
		n := x.own(&x.root)
		for d := 0; ; d++ {
			i, found := x.search(n, p, key)
			if found {
				return &n.refs[i], true
			}
			path[d] = step{n, i}
			if n.kids == nil {
				if len(n.refs) == maxRefs {
					x.split(path[:d+1])
					break // look again
				}
				n.insert(i, ref{prefix: p})
				x.keys++
				return &n.refs[i], false
			}
			n = x.own(&n.kids[i])
		}
	}
}

// step is a node on the way to a key, and the position taken in it.
type step struct {
	n  *node
	at int
}

// split divides the highest of the full nodes at the end of a path.
func (x *index) split(path []step) {
	k := len(path) - 1
	for k > 0 && len(path[k-1].n.refs) == maxRefs {
		k--
	}
	if k == 0 {
		x.root = &node{gen: x.epoch, kids: []*node{x.root}}
		path, k = append([]step{{x.root, 0}}, path...), 1
	}
	parent, at := path[k-1].n, path[k-1].at
	left := path[k].n
	const mid = maxRefs / 2
	up, right := left.refs[mid], &node{gen: x.epoch, refs: fitted(left.refs[mid+1:])}
	left.refs = fitted(left.refs[:mid])
	if left.kids != nil {
		right.kids = slices.Clone(left.kids[mid+1:])
		left.kids = slices.Clone(left.kids[:mid+1])
	}
	parent.insert(at, up)
	parent.kids = slices.Insert(parent.kids, at+1, right)
}

// take removes the ref of key and returns it, if it is there.
func (x *index) take(key []byte) (ref, bool) {
	if _, found := x.find(key); !found {
		return ref{}, false
	}
	r := x.takeFrom(x.own(&x.root), prefix(key), key)
	if len(x.root.refs) == 0 && x.root.kids != nil {
		x.root = x.root.kids[0]
	}
	x.keys--
	return r, true
}

// takeFrom removes the ref of key, which is there, from the subtree of n.
func (x *index) takeFrom(n *node, p uint64, key []byte) ref {
	i, found := x.search(n, p, key)
	if n.kids == nil {
		r := n.refs[i]
		n.remove(i)
		return r
	}
	kid := x.own(&n.kids[i])
	var r ref
	if found { // the last ref before it takes its place
		r = n.refs[i]
		n.refs[i] = x.takeLast(kid)
	} else {
		r = x.takeFrom(kid, p, key)
	}
	x.level(n, i)
	return r
}

// takeLast removes the last ref of the subtree of n.
func (x *index) takeLast(n *node) ref {
	last := len(n.refs) - 1
	if n.kids == nil {
		r := n.refs[last]
		n.remove(last)
		return r
	}
	r := x.takeLast(x.own(&n.kids[last+1]))
	x.level(n, last+1)
	return r
}

// level joins child i of n with one beside it if it has become too small, or
// shares their refs evenly if those are too many for one node.
func (x *index) level(n *node, i int) {
	if len(n.kids[i].refs) >= minRefs {
		return
	}
	i = max(i-1, 0)
	left, right := x.own(&n.kids[i]), n.kids[i+1]
	refs := slices.Concat(left.refs, n.refs[i:i+1], right.refs)
	kids := slices.Concat(left.kids, right.kids)
	if len(refs) <= maxRefs {
		left.refs, left.kids = fitted(refs), kids
		n.remove(i)
		n.kids = slices.Delete(n.kids, i+1, i+2)
		return
	}
	right = x.own(&n.kids[i+1])
	mid := len(refs) / 2
	n.refs[i] = refs[mid]
	left.refs, right.refs = fitted(refs[:mid]), fitted(refs[mid+1:])
	if kids != nil {
		left.kids, right.kids = slices.Clone(kids[:mid+1]), slices.Clone(kids[mid+1:])
	}
}

// own returns the node that p refers to, or a copy put in its place if a view
// may read it.
func (x *index) own(p **node) *node {
	n := *p
	if n.gen != x.epoch {
		n = &node{gen: x.epoch, refs: fitted(n.refs), kids: slices.Clone(n.kids)}
		*p = n
	}
	return n
}

// ascend calls visit for the refs from the first that is not below start on,
// in order, until it returns false.
func (x *index) ascend(start []byte, visit func(ref) bool) {
	x.ascendFrom(x.root, start, visit)
}

func (x *index) ascendFrom(n *node, start []byte, visit func(ref) bool) bool {
	i, found := 0, false
	if len(start) > 0 {
		i, found = x.search(n, prefix(start), start)
	}
	if n.kids != nil && !found && !x.ascendFrom(n.kids[i], start, visit) {
		return false
	}
	for ; i < len(n.refs); i++ {
		if !visit(n.refs[i]) || n.kids != nil && !x.ascendFrom(n.kids[i+1], nil, visit) {
			return false
		}
	}
	return true
}

// insert makes room for r at position i.
func (n *node) insert(i int, r ref) {
	if len(n.refs) == cap(n.refs) {
		n.refs = append(make([]ref, 0, len(n.refs)+growRefs), n.refs...)
	}
	n.refs = slices.Insert(n.refs, i, r)
}

// remove takes out the ref at position i, and gives back room that is too much.
func (n *node) remove(i int) {
	n.refs = slices.Delete(n.refs, i, i+1)
	if cap(n.refs)-len(n.refs) > 2*growRefs {
		n.refs = fitted(n.refs)
	}
}

// fitted returns a copy with no more room than is used, but for growRefs-1.
func fitted(refs []ref) []ref {
	return append(make([]ref, 0, (len(refs)+growRefs-1)/growRefs*growRefs), refs...)
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
