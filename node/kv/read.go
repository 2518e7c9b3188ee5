package kv

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// Read answers a query from the state after the last Apply and appends the
// result to dst, in the layout written down in package wire. On an error,
// which wraps wire.ErrMalformed or wire.ErrTooLarge, dst comes back as it was.
func (s *Store) Read(query, dst []byte) ([]byte, error) {
	q, err := wire.ParseQuery(query)
	if err != nil {
		return dst, fmt.Errorf("cannot read: %w", err)
	}
	if q.Op == wire.QueryScan {
		return s.scan(q, dst), nil
	}
	it, found := s.get(q.Key)
	if !found {
		return append(dst, byte(wire.StatusNotFound)), nil
	}
	return it.append(append(dst, byte(wire.StatusOK)), true), nil
}

// aheadItems are loaded before the first of them is copied, so that the waits for
// memory overlap.
const aheadItems = 16

// page collects the result of one scan.
type page struct {
	index *index
	next  func(ref) bool // visit, bound once so that a scan allocates nothing
	dst   []byte
	start int // where the items begin in dst
	query wire.Query
	count uint32
	more  bool
	ahead [aheadItems]item
	loads int // items in ahead
}

func (s *Store) scan(q wire.Query, dst []byte) []byte {
	p := &s.page
	at := len(dst) + 1
	p.dst = append(dst, byte(wire.StatusOK), 0, 0, 0, 0, 0)
	p.start, p.query, p.count, p.more = len(p.dst), q, 0, false
	s.ascend(q.Start, p.next)
	p.flush()
	dst = p.dst
	if p.more {
		dst[at] = 1
	}
	binary.LittleEndian.PutUint32(dst[at+1:], p.count)
	p.dst, p.query = nil, wire.Query{} // keep nothing that is the caller's,
	clear(p.ahead[:])                  // nor slabs
	return dst
}

// visit loads the next item, and reports whether to go on.
func (p *page) visit(r ref) bool {
	p.ahead[p.loads] = p.index.item(r)
	p.loads++
	if p.loads < aheadItems && uint32(p.loads) <= p.query.Limit-p.count {
		return true
	}
	return p.flush()
}

// flush adds the loaded items to the page, and reports whether to go on.
func (p *page) flush() bool {
	n := p.loads
	p.loads = 0
	for i := range p.ahead[:n] {
		if !p.add(&p.ahead[i]) {
			return false
		}
	}
	return true
}

// add adds the next item to the page, and reports whether to go on.
func (p *page) add(it *item) bool {
	q := &p.query
	if len(q.End) > 0 && bytes.Compare(it.key(), q.End) >= 0 {
		return false
	}
	countOnly := q.Flags&wire.ScanCountOnly != 0
	if p.count == q.Limit {
		p.more = true
		if countOnly {
			p.dst = it.append(p.dst, false)
		}
		return false
	}
	if countOnly {
		p.count++
		return true
	}
	values := q.Flags&wire.ScanKeysOnly == 0
	size := wire.ItemHeaderBytes + it.keyLen
	if values {
		size = wire.ItemHeaderBytes + len(it.body)
	}
	if p.count > 0 && len(p.dst)-p.start+size > wire.ScanPageBytes {
		p.more = true
		return false
	}
	p.count++
	p.dst = it.append(p.dst, values)
	return true
}
