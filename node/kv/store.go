package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// Store is the key-value state machine. It belongs to one goroutine.
//
// Invariant: hash is the wrapping sum of the hash words of all live items.
type Store struct {
	index
	comp compactor
	page page
	hash uint64
	last wire.Index // of the last Apply
}

// New returns an empty store.
func New() *Store {
	s := &Store{comp: compactor{victim: noSlab}}
	s.init()
	s.page.index = &s.index
	s.page.next = s.page.visit
	return s
}

// Check reports whether Apply would carry the command out: nil, or an error
// that wraps wire.ErrMalformed or wire.ErrTooLarge. frees says that the command
// only deletes.
func (s *Store) Check(command []byte) (frees bool, err error) {
	c, err := wire.ParseCommand(command)
	if err != nil {
		return false, fmt.Errorf("cannot accept command: %w", err)
	}
	if c.Op != wire.OpBatch {
		return c.Op == wire.OpDelete, nil
	}
	for rest := c.Batch; len(rest) > 0; {
		if c, rest, err = wire.NextBatchItem(rest); err != nil || c.Op != wire.OpDelete {
			return false, err
		}
	}
	return true, nil
}

// Apply carries out one command at the given index, which becomes the revision
// of what it writes and must be larger than in any call before. It appends the
// result to dst, in the layout written down in package wire. The command is
// not kept. What Check refuses changes nothing and yields wire.StatusRefused.
func (s *Store) Apply(index wire.Index, command, dst []byte) []byte {
	if index <= s.last {
		panic(fmt.Sprintf("BUG: index %d is applied after %d", index, s.last))
	}
	s.last = index
	before := s.appended
	c, err := wire.ParseCommand(command)
	switch {
	case err != nil:
		dst = refuse(dst, command, err)
	case c.Op == wire.OpBatch:
		dst = s.batch(index, &c, dst)
	default:
		dst = s.command(index, &c, dst)
	}
	s.compact(compactSlice + compactPerByte*(s.appended-before))
	return dst
}

// Hash returns the hash of the state: of every key with its value, revisions
// and version. It does not depend on how the state was reached.
func (s *Store) Hash() uint64 { return s.hash }

// Keys returns the number of keys.
func (s *Store) Keys() int { return s.tree.Len() }

// Bytes returns the size of all items: keys and values, and 15 to 38 bytes for
// each.
func (s *Store) Bytes() int64 { return s.held - s.dead }

// Memory returns the bytes of all slabs: live items, dead ones and room for
// more. The index takes 24 to 34 bytes for each key on top.
func (s *Store) Memory() int64 { return s.memory }

func refuse(dst, command []byte, err error) []byte {
	code := wire.CodeBadRequest
	switch {
	case errors.Is(err, wire.ErrTooLarge):
		code = wire.CodeTooLarge
	case len(command) > 0 && (command[0] == 0 || wire.Op(command[0]) > wire.OpBatch):
		code = wire.CodeUnknownType
	}
	return binary.LittleEndian.AppendUint16(append(dst, byte(wire.StatusRefused)), uint16(code))
}

// batch carries out the commands of a batch that was parsed as a whole.
func (s *Store) batch(index wire.Index, c *wire.Command, dst []byte) []byte {
	le := binary.LittleEndian
	dst = append(dst, byte(wire.StatusOK))
	dst = le.AppendUint32(dst, uint32(c.Count))
	rest := c.Batch
	for range c.Count {
		var item wire.Command
		var err error
		if item, rest, err = wire.NextBatchItem(rest); err != nil {
			panic(fmt.Sprintf("BUG: batch changed while it was applied: %v", err))
		}
		at := len(dst)
		dst = s.command(index, &item, append(dst, 0, 0, 0, 0))
		if status := wire.Status(dst[at+4]); item.Op == wire.OpCAS && status == wire.StatusConditionFailed {
			dst = append(dst[:at+5], 0)
		}
		le.PutUint32(dst[at:], uint32(len(dst)-at-4))
	}
	return dst
}

// command carries out one command that is not a batch.
func (s *Store) command(index wire.Index, c *wire.Command, dst []byte) []byte {
	switch c.Op {
	case wire.OpPut:
		s.put(index, c.Key, c.Value)
	case wire.OpDelete:
		if !s.remove(c.Key) {
			return append(dst, byte(wire.StatusNotFound))
		}
	case wire.OpCAS:
		if it, found := s.get(c.Key); !holds(c, &it, found) {
			return appendFailed(dst, &it, found)
		}
		s.put(index, c.Key, c.Value)
	default:
		panic(fmt.Sprintf("BUG: op %d passed the parser", c.Op))
	}
	return append(dst, byte(wire.StatusOK))
}

// get returns the item of key, if there is one.
func (s *Store) get(key []byte) (it item, found bool) {
	r, found := s.find(key)
	if found {
		it = s.item(r)
	}
	return it, found
}

// holds says whether a compare-and-set's condition holds for the item, if one
// was found.
func holds(c *wire.Command, it *item, found bool) bool {
	switch {
	case c.Mode == wire.CASAbsent:
		return !found
	case !found:
		return false
	case c.Mode == wire.CASValue:
		return bytes.Equal(it.value(), c.Expected)
	default:
		return wire.Index(it.mod) == c.Revision()
	}
}

func appendFailed(dst []byte, it *item, found bool) []byte {
	if !found {
		return append(dst, byte(wire.StatusConditionFailed), 0)
	}
	return it.append(append(dst, byte(wire.StatusConditionFailed), 1), true)
}

// put makes the key's item as long as it may become, so that one descent both
// enters it and finds the old one, whose history it takes over and which decides
// how long it is.
func (s *Store) put(index wire.Index, key, value []byte) {
	it := wire.Item{CreateRevision: index, ModRevision: index, Version: 1, Key: key, Value: value}
	r := ref{prefix: prefix(key)}
	var b []byte
	r.slab, r.off, b = s.alloc(hashBytes + headBytes + len(key) + len(value) + maxTailBytes)
	body := storeBody(b[hashBytes:], &it)
	if old, replaced := s.tree.Set(r); replaced {
		was := s.item(old)
		it.CreateRevision, it.Version = wire.Index(was.create), was.version+1
		s.hash -= s.drop(old.slab, old.off)
	}
	n := hashBytes + storeTail(b[hashBytes:], &it)
	s.shrink(r.slab, len(b)-n)
	h := hashItem(&it, body)
	binary.LittleEndian.PutUint64(b, h)
	s.hash += h
}

func (s *Store) remove(key []byte) bool {
	r, ok := s.take(key)
	if ok {
		s.hash -= s.drop(r.slab, r.off)
	}
	return ok
}
